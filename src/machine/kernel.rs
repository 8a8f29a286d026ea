//! What the running kernel can do: modules, control groups, security modules.

use super::facts::read_small;
use crate::paths::Paths;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

/// No list of modules is read beyond this; a distribution's is below 1 MiB.
const LIST_LIMIT: u64 = 16 << 20;

/// The kernel's identifier of this boot (random(4)); empty where it does not tell. It is the running kernel's, whatever
/// `--root` says.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Where a module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// Loaded, or part of the kernel itself.
    Here,
    /// To be loaded when it is needed.
    Loadable,
    /// Neither.
    Missing,
}

/// Where a kernel module is, for the kernel of this release (`uname -r`): among the modules that are
/// loaded or built in and have parameters (`/sys/module`), built in, or on the disk (modprobe's lists in
/// `/lib/modules/RELEASE`, modules.builtin(5) and modules.dep(5)).
///
/// # Errors
/// It is not loaded and there is no list of what there is.
pub fn module(paths: &Paths, release: &str, name: &str) -> io::Result<Module> {
    if paths.at("/sys/module").join(name).is_dir() {
        return Ok(Module::Here);
    }
    let lists = paths.at("/lib/modules").join(release);
    // Compressed modules end in .ko.xz, .ko.zst, .ko.gz.
    let file = format!("/{name}.ko");
    let named = |line: &str| {
        let path = line.split(':').next().unwrap_or_default();
        path.rfind(&file).is_some_and(|at| !path[at + 1..].contains('/'))
    };
    let mut found = Err(io::ErrorKind::NotFound.into());
    for (list, module) in [("modules.builtin", Module::Here), ("modules.dep", Module::Loadable)] {
        let file = match File::open(lists.join(list)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file.take(LIST_LIMIT)).lines() {
            if named(&line?) {
                return Ok(module);
            }
        }
        found = Ok(Module::Missing);
    }
    found
}

/// The control groups that are mounted at `/sys/fs/cgroup` (cgroups(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cgroups {
    /// The one hierarchy of version 2.
    V2,
    /// Version 1, or both side by side.
    V1,
}

/// Which control groups there are; `None` if none are mounted.
pub fn cgroups(paths: &Paths) -> Option<Cgroups> {
    let directory = paths.at("/sys/fs/cgroup");
    if directory.join("cgroup.controllers").exists() {
        Some(Cgroups::V2)
    } else if directory.join("memory").is_dir() {
        Some(Cgroups::V1)
    } else {
        None
    }
}

/// True if SELinux denies what its policy does not allow, false if it only writes it down; `None`
/// without SELinux (selinux(8), `/sys/fs/selinux/enforce`).
pub fn selinux_enforces(paths: &Paths) -> Option<bool> {
    Some(read_small(&paths.at("/sys/fs/selinux/enforce")).ok()?.trim() == "1")
}

/// True if AppArmor is at work (the kernel's admin-guide/LSM/apparmor).
pub fn apparmor(paths: &Paths) -> bool {
    read_small(&paths.at("/sys/module/apparmor/parameters/enabled")).is_ok_and(|text| text.trim() == "Y")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(paths: &Paths, path: &str, text: &str) {
        let path = paths.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_module_is_found_loaded_built_in_on_the_disk_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        let look = || module(&paths, "6.1.0-18", "wireguard");
        assert_eq!(look().unwrap_err().kind(), io::ErrorKind::NotFound);
        write(&paths, "/lib/modules/6.1.0-18/modules.builtin", "kernel/net/ipv4/tunnel4.ko\n");
        let dep = "kernel/drivers/net/wireguard/wireguard_extra.ko: kernel/net/wireguard.ko.d/udp.ko\n";
        write(&paths, "/lib/modules/6.1.0-18/modules.dep", dep);
        assert_eq!(look().unwrap(), Module::Missing);
        for end in ["", ".xz", ".zst"] {
            let line = format!("{dep}kernel/drivers/net/wireguard/wireguard.ko{end}: kernel/net/udp.ko\n");
            write(&paths, "/lib/modules/6.1.0-18/modules.dep", &line);
            assert_eq!(look().unwrap(), Module::Loadable);
        }
        write(&paths, "/lib/modules/6.1.0-18/modules.builtin", "kernel/drivers/net/wireguard/wireguard.ko\n");
        assert_eq!(look().unwrap(), Module::Here);
        std::fs::create_dir_all(paths.at("/sys/module/wireguard")).unwrap();
        assert_eq!(module(&paths, "another", "wireguard").unwrap(), Module::Here);
    }

    #[test]
    fn control_groups_and_security_modules_are_told() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        assert_eq!((cgroups(&paths), selinux_enforces(&paths), apparmor(&paths)), (None, None, false));
        std::fs::create_dir_all(paths.at("/sys/fs/cgroup/memory")).unwrap();
        write(&paths, "/sys/fs/selinux/enforce", "0");
        assert_eq!((cgroups(&paths), selinux_enforces(&paths)), (Some(Cgroups::V1), Some(false)));
        write(&paths, "/sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
        write(&paths, "/sys/fs/selinux/enforce", "1");
        write(&paths, "/sys/module/apparmor/parameters/enabled", "Y\n");
        assert_eq!(
            (cgroups(&paths), selinux_enforces(&paths), apparmor(&paths)),
            (Some(Cgroups::V2), Some(true), true)
        );
    }
}
