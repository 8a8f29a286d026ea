//! Whether the machine waits to be restarted, as far as that can be known without running a package manager.

use super::facts::read_small;
use super::os_release::Os;
use super::pressure;
use crate::paths::Paths;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

/// So many packages are named.
const NAMED: usize = 3;
/// So many kernels are looked at.
const KERNELS: usize = 64;

/// Why the machine should be restarted, as a noun phrase (`linux-image-6.8.0-48-generic and libc6`); `None` where nothing
/// says that it should.
///
/// Debian's and Ubuntu's packages say it by a file (Ubuntu's update-notifier-common, `notify-reboot-required`; Debian's
/// unattended-upgrades and others have it too). Red Hat's say nothing: there, a kernel that was installed since the
/// machine was started is what can be seen (Red Hat's `kernel-core` has `/lib/modules/RELEASE/vmlinuz`).
///
/// # Errors
/// What would tell is there and cannot be read.
pub fn wanted_by(paths: &Paths, os: Option<&Os>) -> io::Result<Option<String>> {
    if paths.at("/run/reboot-required").exists() {
        let list = read_small(&paths.at("/run/reboot-required.pkgs")).unwrap_or_default();
        return Ok(Some(packages(&list).unwrap_or_else(|| "packages that were upgraded".into())));
    }
    match os.is_some_and(Os::is_red_hat) {
        true => newer_kernel(paths),
        false => Ok(None),
    }
}

/// The packages in the list, each once; `None` for an empty one.
pub fn packages(list: &str) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for line in list.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !names.contains(&line) {
            names.push(line);
        }
    }
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let shown = crate::words::one_line(&names.join(", "));
    match (names.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(shown),
        (false, more) => Some(format!("{shown} and {more} more")),
    }
}

fn newer_kernel(paths: &Paths) -> io::Result<Option<String>> {
    let running = nix::sys::utsname::uname().map_err(io::Error::from)?;
    let stat = read_small(&paths.proc_dir().join("stat"))?;
    let Some(started) = pressure::parse_counter(&stat, "btime").and_then(|at| i64::try_from(at).ok()) else {
        return Ok(None);
    };
    let mut newest: Option<(i64, String)> = None;
    for entry in fs::read_dir(paths.at("/lib/modules"))?.flatten().take(KERNELS) {
        // ctime(stat(2)): when it came onto this disk; a package brings its own mtime.
        let Ok(kernel) = fs::metadata(entry.path().join("vmlinuz")) else { continue };
        let name = entry.file_name();
        let is_newer = kernel.ctime() > started && newest.as_ref().is_none_or(|(at, _)| kernel.ctime() > *at);
        if is_newer && name.as_os_str() != running.release() {
            newest = Some((kernel.ctime(), name.to_string_lossy().into_owned()));
        }
    }
    Ok(newest.map(|(_, name)| format!("kernel {}", crate::words::one_line(&name))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::os_release;

    fn write(paths: &Paths, path: &str, text: &str) {
        let path = paths.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn debians_file_says_it_with_the_packages_in_the_other_one() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        assert_eq!(wanted_by(&paths, None).unwrap(), None);
        write(&paths, "/run/reboot-required", "*** System restart required ***\n");
        assert_eq!(wanted_by(&paths, None).unwrap().unwrap(), "packages that were upgraded");
        write(&paths, "/run/reboot-required.pkgs", "linux-base\nlibc6\nlinux-base\n\ndbus\nlibssl3\n");
        assert_eq!(wanted_by(&paths, None).unwrap().unwrap(), "linux-base, libc6, dbus and 1 more");
    }

    #[test]
    fn on_red_hats_systems_a_kernel_that_came_after_the_start_says_it() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        let rocky = os_release::parse("ID=rocky\nID_LIKE=\"rhel centos fedora\"\n");
        assert!(wanted_by(&paths, Some(&rocky)).is_err());
        write(&paths, "/proc/stat", "cpu 1 2\nbtime 99999999999\n");
        write(&paths, "/lib/modules/5.14.0-503.el9/vmlinuz", "");
        assert_eq!(wanted_by(&paths, Some(&rocky)).unwrap(), None);
        write(&paths, "/proc/stat", "cpu 1 2\nbtime 1000\n");
        assert_eq!(wanted_by(&paths, Some(&rocky)).unwrap().unwrap(), "kernel 5.14.0-503.el9");
        let running = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
        fs::rename(paths.at("/lib/modules/5.14.0-503.el9"), paths.at("/lib/modules").join(running)).unwrap();
        assert_eq!(wanted_by(&paths, Some(&rocky)).unwrap(), None);
    }
}
