//! User-data on disks that a hypervisor attached: real file systems on real loop devices. Needs root.

use kasm_bootstrap::deadline::Deadline;
use kasm_bootstrap::error::{Explain, Failure};
use kasm_bootstrap::intent::{MetadataOptions, UserDataFrom};
use kasm_bootstrap::machine::cloud::Error;
use kasm_bootstrap::machine::user_data::{self, UserData};
use kasm_bootstrap::observe::Silent;
use kasm_bootstrap::paths::Paths;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TEXT: &str = "#kasm-bootstrap\nrole = \"agent\"\n";

/// A machine with one disk.
struct Machine {
    paths: Paths,
    device: PathBuf,
    directory: tempfile::TempDir,
}

/// Runs a program; what it prints, if it is there and goes well.
fn program(name: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(name).args(args).stdin(Stdio::null()).output().ok()?;
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(printed)
}

/// Makes the image of a file system with these files and this label.
fn image(kind: &str, label: &str, files: &Path, image: &Path) -> Option<()> {
    let (files, image) = (files.to_str()?, image.to_str()?);
    match kind {
        "iso9660" => program("genisoimage", &["-quiet", "-J", "-r", "-V", label, "-o", image, files])?,
        "vfat" => {
            program("mkfs.vfat", &["-C", "-n", label, image, "4096"])?;
            let inside = fs::read_dir(files).ok()?.flatten().map(|entry| entry.path().display().to_string());
            let args: Vec<String> =
                ["-s", "-i", image].map(str::to_owned).into_iter().chain(inside).chain(["::/".into()]).collect();
            program("mcopy", &args.iter().map(String::as_str).collect::<Vec<_>>())?
        }
        _ => program("mke2fs", &["-q", "-t", "ext4", "-L", label, "-d", files, image, "4M"])?,
    };
    Some(())
}

/// A machine with a disk, or why there can be none here, said on standard error.
fn machine(kind: &str, label: &str, files: &[(&str, &str)]) -> Option<Machine> {
    let skip = |why: String| {
        eprintln!("SKIPPED for {kind}: {why}");
        None
    };
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can mount".into());
    }
    let known = || fs::read_to_string("/proc/filesystems").unwrap_or_default().contains(&format!("\t{kind}\n"));
    if !known() && program("modprobe", &[kind]).is_none() | !known() {
        return skip("this kernel does not have it".into());
    }
    let directory = tempfile::tempdir().unwrap();
    let content = directory.path().join("content");
    for (name, text) in files {
        let path = content.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match text.strip_prefix("-> ") {
            Some(target) => symlink(target, path).unwrap(),
            None => fs::write(path, text).unwrap(),
        }
    }
    let file = directory.path().join("disk.img");
    if image(kind, label, &content, &file).is_none() {
        return skip("the programs that make one are not here (genisoimage, mkfs.vfat and mcopy, mke2fs)".into());
    }
    let Some(device) = program("losetup", &["--read-only", "--find", "--show", file.to_str().unwrap()]) else {
        return skip("there is no loop device".into());
    };
    let paths = Paths::below(directory.path().join("root"));
    fs::create_dir_all(paths.disks_by_label()).unwrap();
    symlink(&device, paths.disks_by_label().join(label)).unwrap();
    Some(Machine { paths, device: device.into(), directory })
}

impl Machine {
    async fn find(&self, from: UserDataFrom) -> Result<Option<UserData>, Error> {
        let options = MetadataOptions { user_data: from, ..MetadataOptions::default() };
        user_data::find(&self.paths, &options, Deadline::after(Duration::from_secs(30)), &Silent).await
    }

    /// Lets the device go. A loop device that is mounted anywhere, in whatever namespace, stays bound.
    fn is_let_go(&self) -> bool {
        let name = self.device.file_name().unwrap();
        let file = Path::new("/sys/block").join(name).join("loop/backing_file");
        let ours = self.directory.path().join("disk.img");
        let bound = || fs::read_to_string(&file).is_ok_and(|text| Path::new(text.trim()).starts_with(&ours));
        // Once it was let go, another test may have taken the device.
        if bound() {
            // Told below: it is bound then.
            let _ = program("losetup", &["--detach", self.device.to_str().unwrap()]);
        }
        let until = Instant::now() + Duration::from_secs(20);
        while bound() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        !bound()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Gone already where the test let it go.
        let _ = program("losetup", &["--detach", self.device.to_str().unwrap()]);
    }
}

fn is_mounted(machine: &Machine) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.contains(machine.directory.path().to_str().unwrap()) || mounts.contains(machine.device.to_str().unwrap())
}

#[tokio::test]
async fn a_nocloud_disk_is_read_and_unmounted() {
    let files = [("user-data", TEXT), ("meta-data", "instance-id: vm-7\nlocal-hostname: a\n")];
    for (kind, label) in [("iso9660", "cidata"), ("vfat", "CIDATA"), ("ext4", "cidata")] {
        let Some(machine) = machine(kind, label, &files) else { continue };
        for from in [UserDataFrom::Auto, UserDataFrom::NoCloud] {
            let found = machine.find(from).await.unwrap().unwrap();
            assert_eq!(found.text.expose(), TEXT);
            assert_eq!((found.source, found.instance_id.as_deref()), ("NoCloud disk", Some("vm-7")));
        }
        assert_eq!(machine.find(UserDataFrom::ConfigDrive).await.unwrap(), None);
        assert_eq!(machine.find(UserDataFrom::Off).await.unwrap(), None);
        assert!(!is_mounted(&machine));
        assert!(!machine.paths.user_data_disk().exists(), "the directory it was mounted on is left");
        assert!(machine.is_let_go());
    }
}

#[tokio::test]
async fn a_config_drive_is_read_with_the_instances_identifier() {
    let meta = r#"{"hostname": "a", "instance_id": "i-9", "uuid": "d8e02d56-2648-49a3-bf97-6be8f1204f38"}"#;
    let files = [("openstack/latest/user_data", TEXT), ("openstack/latest/meta_data.json", meta)];
    for kind in ["iso9660", "ext4"] {
        let Some(machine) = machine(kind, "config-2", &files) else { continue };
        let found = machine.find(UserDataFrom::Auto).await.unwrap().unwrap();
        assert_eq!(found.instance_id.as_deref(), Some("d8e02d56-2648-49a3-bf97-6be8f1204f38"));
        assert_eq!((found.text.expose(), found.source), (TEXT, "config drive"));
        assert!(machine.is_let_go());
    }
}

#[tokio::test]
async fn no_link_on_a_disk_leads_outside() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), TEXT).unwrap();
    let absolute = format!("-> {}", secret.path().display());
    let relative = format!("-> ../../../../../../../..{}", secret.path().display());
    for target in [absolute, relative] {
        let Some(machine) = machine("ext4", "cidata", &[("user-data", &target)]) else { continue };
        assert_eq!(machine.find(UserDataFrom::Auto).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_disk_that_is_none_is_named_with_what_was_tried() {
    let Some(machine) = machine("ext4", "cidata", &[("user-data", TEXT)]) else { return };
    assert!(machine.is_let_go());
    let empty = machine.directory.path().join("empty.img");
    fs::write(&empty, vec![0; 1 << 20]).unwrap();
    let Some(device) = program("losetup", &["--find", "--show", empty.to_str().unwrap()]) else { return };
    let link = machine.paths.disks_by_label().join("cidata");
    fs::remove_file(&link).unwrap();
    symlink(&device, link).unwrap();
    let error = machine.find(UserDataFrom::Auto).await.unwrap_err();
    let detached = program("losetup", &["--detach", &device]);
    assert_eq!(error.reason(), "machine.user-data-disk");
    let failure = Failure::from(error);
    assert_eq!(failure.message, "the NoCloud disk /dev/disk/by-label/cidata cannot be mounted");
    assert!(failure.causes[0].contains("iso9660: ") && failure.causes[0].contains("ext4: "), "{failure:?}");
    assert!(detached.is_some() && !is_mounted(&machine) && !machine.paths.user_data_disk().exists());
}

/// No test of its own: what `a_kill_in_the_middle_leaves_nothing_mounted` kills.
#[test]
#[ignore = "run by another test"]
fn reads_the_disk_it_is_given() {
    let Some(root) = std::env::var_os("TEST_DISK_ROOT") else { return };
    let paths = Paths::below(root);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = MetadataOptions::default();
    let found = user_data::find(&paths, &options, Deadline::after(Duration::from_secs(60)), &Silent);
    eprintln!("{:?}", runtime.block_on(found).map_err(Failure::from));
}

#[test]
fn a_kill_in_the_middle_leaves_nothing_mounted() {
    let Some(machine) = machine("ext4", "cidata", &[("user-data", TEXT)]) else { return };
    // The disk is mounted when the thread is about to make it its root; there it is held.
    let log = machine.directory.path().join("strace");
    let mut tracer = Command::new("strace")
        .args(["-f", "-e", "trace=chroot", "-e", "inject=chroot:delay_enter=60000000", "-o"])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "reads_the_disk_it_is_given", "--ignored", "--test-threads=1"])
        .env("TEST_DISK_ROOT", machine.paths.root())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace is among the programs the tests need");
    let children = PathBuf::from(format!("/proc/{0}/task/{0}/children", tracer.id()));
    let place = machine.paths.user_data_disk();
    let until = Instant::now() + Duration::from_secs(30);
    let reader = loop {
        let reader = fs::read_to_string(&children).unwrap().split_whitespace().next().map(str::to_owned);
        let mounted = |task: PathBuf| {
            fs::read_to_string(task.join("mountinfo")).is_ok_and(|text| text.contains(place.to_str().unwrap()))
        };
        if let Some(reader) = reader
            && let Ok(tasks) = fs::read_dir(format!("/proc/{reader}/task"))
            && tasks.flatten().any(|task| mounted(task.path()))
        {
            break reader;
        }
        assert!(Instant::now() < until, "{}", fs::read_to_string(&log).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(!is_mounted(&machine), "others see it");
    let reader = nix::unistd::Pid::from_raw(reader.parse().unwrap());
    nix::sys::signal::kill(reader, nix::sys::signal::Signal::SIGKILL).unwrap();
    // It would hold on to what it traced until the delay is over.
    tracer.kill().unwrap();
    tracer.wait().unwrap();
    assert!(!is_mounted(&machine));
    assert!(machine.is_let_go(), "it is still mounted somewhere");
}
