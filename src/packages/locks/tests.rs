use super::*;
use crate::apt::MANAGER;
use crate::apt::locks::LOCKS;
use kasm_stand_in::lock;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

fn scratch() -> (tempfile::TempDir, Paths) {
    let directory = tempfile::tempdir().unwrap();
    let paths = Paths::below(directory.path());
    for lock in &LOCKS {
        let path = (lock.file)(&paths);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    (directory, paths)
}

#[test]
fn a_file_that_is_merely_open_is_not_locked() {
    let (_directory, paths) = scratch();
    let _open: Vec<File> =
        LOCKS.iter().map(|lock| File::options().write(true).open((lock.file)(&paths)).unwrap()).collect();
    assert_eq!(look(&MANAGER, &paths).unwrap(), None);
}

#[test]
fn nothing_is_made_where_there_is_nothing() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(look(&MANAGER, &Paths::below(directory.path())).unwrap(), None);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn every_lock_is_seen_on_an_open_file_description_and_its_holder_found() {
    for one in LOCKS.iter().filter(|one| one.way == Way::Fcntl) {
        let (_directory, paths) = scratch();
        let file = File::options().write(true).open((one.file)(&paths)).unwrap();
        lock::take_for_the_file(&file).unwrap();
        let held = look(&MANAGER, &paths).unwrap().expect("the lock is held");
        assert_eq!((held.obstacle, held.pid, held.kind), (Obstacle::Lock(one), None, Kind::Ofd));
        assert_eq!(held.holder(&paths).pid, Some(std::process::id()));
        // Who may not open it finds the same in the kernel's list.
        assert_eq!(listed(&(one.file)(&paths), |kind| kind != Kind::Flock).unwrap(), Some((None, Kind::Ofd)));
        drop(file);
        assert_eq!(look(&MANAGER, &paths).unwrap(), None);
    }
}

#[test]
fn a_flock_counts_on_the_daily_jobs_file_and_nowhere_else() {
    let (_directory, paths) = scratch();
    #[expect(deprecated, reason = "the owning form takes the file away, which must stay open here")]
    let lock = |file: &File| {
        use std::os::fd::AsRawFd;
        nix::fcntl::flock(file.as_raw_fd(), nix::fcntl::FlockArg::LockExclusiveNonblock).unwrap();
    };
    let dpkg = File::open(paths.dpkg_frontend_lock()).unwrap();
    lock(&dpkg);
    assert_eq!(look(&MANAGER, &paths).unwrap(), None, "dpkg itself does not see a flock there either");
    let daily = File::open(paths.apt_daily_lock()).unwrap();
    lock(&daily);
    let held = look(&MANAGER, &paths).unwrap().expect("the daily job runs");
    assert_eq!(held.obstacle, Obstacle::Lock(&LOCKS[5]));
    assert_eq!(held.holder(&paths).pid, Some(std::process::id()));
}

#[test]
fn a_link_in_a_locks_place_is_an_error_and_not_followed() {
    let (_directory, paths) = scratch();
    let path = paths.dpkg_lock();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    let error = look(&MANAGER, &paths).unwrap_err();
    assert!(error.to_string().ends_with("/var/lib/dpkg/lock is held"), "{error}");
}

#[test]
fn a_service_runs_only_while_a_process_of_apts_is_in_its_control_group() {
    let directory = tempfile::tempdir().unwrap();
    let group = directory.path().join("system.slice/apt-daily.service");
    fs::create_dir_all(&group).unwrap();
    let program = directory.path().join("apt-helper");
    // By a child, so that no other test's fork can hold the file open for writing when it is executed.
    assert!(Command::new("cp").arg("/bin/cat").arg(&program).status().unwrap().success());
    let mut helper = Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // What comes back proves that it is itself by now: until then it still bears this test's name.
    helper.stdin.as_mut().unwrap().write_all(b".").unwrap();
    helper.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    // A daemon that was left behind in the group, and one that is gone.
    fs::write(group.join("cgroup.procs"), format!("{}\n4194305\n", std::process::id())).unwrap();
    assert_eq!(running(&MANAGER, directory.path()), None);
    fs::write(group.join("cgroup.procs"), format!("{}\n{}\n", std::process::id(), helper.id())).unwrap();
    let held = running(&MANAGER, directory.path()).expect("apt-helper is one of apt's");
    assert_eq!(held.obstacle, Obstacle::Run("apt-daily.service"));
    let holder = held.holder(&Paths::default());
    assert_eq!((holder.pid, holder.command.as_deref()), (Some(helper.id()), Some("apt-helper")));
    drop(helper.stdin.take());
    helper.wait().unwrap();
    assert_eq!(running(&MANAGER, directory.path()), None);
}

#[test]
fn every_fcntl_lock_of_red_hats_family_is_seen_too() {
    for one in crate::dnf::locks::LOCKS.iter().filter(|one| one.way == Way::Fcntl) {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        let path = (one.file)(&paths);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = File::create(&path).unwrap();
        assert_eq!(look(&crate::dnf::MANAGER, &paths).unwrap(), None);
        lock::take_for_the_file(&file).unwrap();
        let held = look(&crate::dnf::MANAGER, &paths).unwrap().expect("the lock is held");
        assert_eq!((held.obstacle, held.holder(&paths).pid), (Obstacle::Lock(one), Some(std::process::id())));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]

    #[test]
    fn a_process_id_is_read_as_it_was_written_and_nothing_else_is_one(
        pid in 1u32..=4_194_304, blank in "[ \t]{0,3}", rest in "(\n.{0,9})?",
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
    ) {
        proptest::prop_assert_eq!(parse_pid(format!("{blank}{pid}{rest}").as_bytes()), Some(pid));
        if let Some(pid) = parse_pid(&bytes) {
            proptest::prop_assert!(pid >= 1 && i32::try_from(pid).is_ok());
        }
    }
}
