//! Disks that fill up, go read-only or break while a run is at work: made for real, by file systems of our
//! own over single directories of the scratch machine. Only root can mount them; others are told so.
//!
//! Each run ends with the contract's exit code and a remedy, leaves nothing half-made, and the next run,
//! with a good disk again, ends well.

mod common;
mod faults;

use common::{Scene, run, spoken, start};
use faults::disk::Disk;
use faults::{ended_well, exit_code, is_ended, is_started, nothing_left_behind, until, with_timers};
use kasm_stand_in::manager::Behaviour;
use kasm_stand_in::mirror::Fault::Stall;
use kasm_stand_in::release::{Fault, Options, Padding, Point};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

const STATE: &str = "var/lib/kasm-bootstrap";
fn scene(faults: &[Fault]) -> Scene {
    // Incompressible: a download of some length, with all but its end on the disk when it is held.
    let padding = Padding { files: 3, bytes: 300_000, compressible: false };
    Scene::new(&Options { faults: faults.to_vec(), padding, ..Options::default() })
}

/// An installer that waits, before it has changed anything, until it is told to go on.
fn patient() -> Fault {
    let lines = "echo ready\nuntil [ -e \"$KASM_BOOTSTRAP_ROOT/run/go\" ]; do sleep 0.05; done";
    Fault::Bash { at: Point::Apt, lines: lines.into() }
}

fn go_on(scene: &Scene) {
    File::create(scene.root.join("run/go")).unwrap();
}

fn install(scene: &Scene) -> Command {
    let mut command = scene.install(&[]);
    with_timers(scene, &mut command);
    command
}

fn said(scene: &Scene) -> String {
    fs::read_to_string(scene.root.join("said.txt")).unwrap()
}

/// Starts a run and holds it while it downloads; all else that can be done by then is done.
fn hold_at_the_download(scene: &Scene) -> Child {
    scene.mirror.script([Stall(800_000)]);
    let child = start(&mut install(scene), &scene.root.join("said.txt"));
    assert!(scene.mirror.wait_for_stall(Duration::from_secs(60)), "{}", said(scene));
    for step in ["address", "packages", "swap"] {
        until(scene, |entry| is_ended(entry, step));
    }
    child
}

/// Starts a run and holds it while its installer works.
fn hold_at_the_installer(scene: &Scene) -> Child {
    let child = start(&mut install(scene), &scene.root.join("said.txt"));
    until(scene, |entry| entry["line"] == "ready");
    child
}

/// Every file below, opened: what the run removes gives a full disk no room while somebody has it open.
fn opened(directory: &Path) -> Vec<File> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files.extend(opened(&entry.path())),
            kind if kind.is_file() => files.push(File::open(entry.path()).unwrap()),
            _ => {}
        }
    }
    files
}

/// The run fails with this code and these words, and leaves nothing.
fn fails(scene: &Scene, mut child: Child, code: i32, words: &[&str]) {
    let ended = exit_code(&mut child);
    let said = said(scene);
    assert_eq!(ended, Some(code), "{said}");
    for word in words.iter().chain(&["\nhelp: "]) {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    nothing_left_behind(scene);
}

/// The next run brings the node up.
fn then_ends_well(scene: &Scene) {
    go_on(scene);
    let (code, _, err) = spoken(&run(&mut install(scene)));
    assert_eq!(code, 0, "{err}");
    ended_well(scene);
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "filler").collect()
}

#[test]
fn a_journal_that_fills_up_ends_the_run_and_stops_what_is_at_work() {
    let scene = scene(&[]);
    let Some(state) = Disk::over(&scene, STATE) else { return };
    scene.mirror.script([Stall(1000)]);
    scene.manager.behave(Behaviour { down_for: usize::MAX, ..Behaviour::default() });
    let child = start(&mut install(&scene), &scene.root.join("said.txt"));
    assert!(scene.mirror.wait_for_stall(Duration::from_secs(60)));
    until(&scene, |entry| entry["event"] == "step.waiting" && entry["step"] == "manager");
    until(&scene, |entry| is_ended(entry, "packages"));
    state.fill();
    scene.mirror.release();
    fails(
        &scene,
        child,
        1,
        &[
            "[run.journal]",
            "journal.jsonl cannot be written",
            "No space left on device",
            "see to it that /var/lib/kasm-bootstrap is on a writable filesystem with free space",
        ],
    );
    // What was put back has freed a page: whether the end itself fits into it is all the same.
    let status = scene.status();
    assert!(["interrupted", "failed"].contains(&status["state"].as_str().unwrap()), "{status:#}");
    state.has_room_again();
    scene.manager.behave(Behaviour::default());
    then_ends_well(&scene);
}

#[test]
fn a_journal_that_is_full_from_the_beginning_keeps_a_run_from_touching_anything() {
    let scene = scene(&[]);
    let Some(state) = Disk::over(&scene, STATE) else { return };
    state.fill();
    let child = start(&mut install(&scene), &scene.root.join("said.txt"));
    fails(&scene, child, 1, &["[run.journal]", "No space left on device"]);
    assert!(scene.mirror.requests().is_empty() && scene.manager.requests().is_empty());
    state.has_room_again();
    then_ends_well(&scene);
}

#[test]
fn a_journal_that_fills_up_while_the_installer_works_does_not_cut_it_down_nor_have_it_run_again() {
    let scene = scene(&[patient()]);
    // On a disk of its own, so that the receipt can be written and the journal cannot.
    let Some(disk) = Disk::over(&scene, "journal-disk") else { return };
    fs::create_dir_all(scene.root.join(STATE)).unwrap();
    let (there, journal) = (disk.path.join("journal.jsonl"), scene.root.join(STATE).join("journal.jsonl"));
    File::create(&there).unwrap();
    File::create(&journal).unwrap();
    let none: Option<&str> = None;
    mount(Some(&there), &journal, none, MsFlags::MS_BIND, none).unwrap();
    let _journal = Disk { path: journal };
    let child = hold_at_the_installer(&scene);
    disk.fill();
    go_on(&scene);
    fails(&scene, child, 1, &["[run.journal]", "No space left on device"]);
    disk.has_room_again();
    then_ends_well(&scene);
    assert_eq!(names(&scene.root.join(STATE).join("attempts")), ["1"], "an installed node was installed again");
}

#[test]
fn a_receipt_that_cannot_be_written_is_named_and_the_installer_has_ended() {
    let scene = scene(&[patient()]);
    let Some(state) = Disk::over(&scene, STATE) else { return };
    let child = hold_at_the_installer(&scene);
    let _kept = opened(&state.path);
    state.fill();
    go_on(&scene);
    fails(
        &scene,
        child,
        18,
        &[
            "[installer.record]",
            "installed.json cannot be written",
            "No space left on device",
            "help: free space below /var/lib/kasm-bootstrap",
        ],
    );
    state.has_room_again();
    then_ends_well(&scene);
}

#[test]
fn an_installer_that_cannot_be_put_on_record_is_not_begun() {
    let scene = scene(&[]);
    let Some(attempts) = Disk::over(&scene, "var/lib/kasm-bootstrap/attempts") else { return };
    let child = hold_at_the_download(&scene);
    attempts.fill();
    scene.mirror.release();
    fails(&scene, child, 18, &["[installer.record]", "installer.pid cannot be written", "No space left on device"]);
    assert!(!scene.root.join("opt").exists());
    attempts.has_room_again();
    then_ends_well(&scene);
}

#[test]
fn an_installers_log_that_fills_up_is_a_warning() {
    let scene = scene(&[patient()]);
    let Some(attempts) = Disk::over(&scene, "var/lib/kasm-bootstrap/attempts") else { return };
    let mut child = hold_at_the_installer(&scene);
    attempts.fill();
    // The rest of the log's last page is not to be had either.
    let log = attempts.path.join("1/installer.log");
    let mut file = File::options().append(true).open(log).unwrap();
    while file.write_all(b"\n").is_ok() {}
    go_on(&scene);
    assert_eq!(exit_code(&mut child), Some(0), "{}", said(&scene));
    assert!(said(&scene).contains("the installer's log cannot be written any more, it goes on without: No space left"));
    attempts.has_room_again();
    ended_well(&scene);
}

#[test]
fn a_cache_that_fills_up_during_the_download_is_named_and_what_is_there_is_kept() {
    let scene = scene(&[]);
    let Some(cache) = Disk::over(&scene, "var/cache/kasm-bootstrap") else { return };
    let child = hold_at_the_download(&scene);
    // Held at the mirror; what was sent must also have come to the disk, or there is nothing to continue.
    let partial = cache.path.join(format!("{}.partial", scene.release.sha256));
    while fs::metadata(&partial).map_or(0, |data| data.len()) == 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    cache.fill();
    scene.mirror.release();
    fails(
        &scene,
        child,
        15,
        &["[download.disk-full]", ".partial cannot be written", "help: free space (or inodes) where"],
    );
    assert!(!names(&cache.path).iter().any(|name| name.ends_with(".tar.gz")));
    cache.has_room_again();
    then_ends_well(&scene);
    assert_eq!(scene.whole_downloads(), 1, "it was not continued");
}

#[test]
fn a_download_that_cannot_be_given_its_name_is_kept_for_the_next_run() {
    let scene = scene(&[]);
    let cache = scene.root.join("var/cache/kasm-bootstrap");
    let taken = cache.join(format!("{}.tar.gz", scene.release.sha256));
    fs::create_dir_all(taken.join("inside")).unwrap();
    let child = start(&mut install(&scene), &scene.root.join("said.txt"));
    fails(&scene, child, 15, &["[download.write]", ".tar.gz cannot be written"]);
    fs::remove_dir_all(&taken).unwrap();
    then_ends_well(&scene);
    assert_eq!(scene.whole_downloads(), 1);
}

#[test]
fn a_disk_that_fills_up_while_unpacking_is_named_and_nothing_is_left_of_the_tree() {
    let scene = scene(&[]);
    let Some(releases) = Disk::over(&scene, "var/lib/kasm-bootstrap/releases") else { return };
    let child = hold_at_the_download(&scene);
    releases.fill();
    scene.mirror.release();
    fails(&scene, child, 1, &["[unpack.disk-full]", "No space left on device", "df -h and df -i show it"]);
    assert_eq!(names(&releases.path), Vec::<String>::new());
    assert!(!scene.root.join("opt").exists());
    releases.has_room_again();
    then_ends_well(&scene);
    assert_eq!(scene.whole_downloads(), 1);
}

#[test]
fn a_disk_that_becomes_read_only_before_unpacking_is_named() {
    let scene = scene(&[]);
    let Some(releases) = Disk::over(&scene, "var/lib/kasm-bootstrap/releases") else { return };
    let child = hold_at_the_download(&scene);
    releases.read_only(true);
    scene.mirror.release();
    fails(&scene, child, 1, &["[unpack.write]", "Read-only file system", "writable"]);
    releases.read_only(false);
    then_ends_well(&scene);
}

#[test]
fn a_disk_that_fills_up_or_becomes_read_only_under_the_installer_is_told_in_its_own_words() {
    for (reason, words) in
        [("[installer.disk-full]", "No space left on device"), ("[installer.failed]", "Read-only file system")]
    {
        let scene = scene(&[patient()]);
        let Some(opt) = Disk::over(&scene, "opt") else { return };
        let child = hold_at_the_installer(&scene);
        match reason {
            "[installer.failed]" => opt.read_only(true),
            _ => opt.fill(),
        }
        go_on(&scene);
        fails(&scene, child, 18, &[reason, words]);
        match reason {
            "[installer.failed]" => opt.read_only(false),
            _ => opt.has_room_again(),
        }
        then_ends_well(&scene);
    }
}

#[test]
fn a_full_disk_under_apts_snippet_or_the_swap_file_is_a_warning() {
    let snippet = scene(&[]);
    let Some(etc) = Disk::over(&snippet, "etc/apt/apt.conf.d") else { return };
    let mut child = hold_at_the_download(&snippet);
    etc.fill();
    snippet.mirror.release();
    assert_eq!(exit_code(&mut child), Some(0), "{}", said(&snippet));
    assert!(said(&snippet).contains("99kasm-bootstrap cannot be written: No space left on device"));
    ended_well(&snippet);

    let swap = scene(&[]);
    let before = swap.root.join("var");
    fs::rename(&before, swap.root.join("var.before")).unwrap();
    let Some(var) = Disk::over(&swap, "var") else { return };
    for directory in ["lib/dpkg", "lib/apt/lists", "cache/apt/archives"] {
        fs::create_dir_all(var.path.join(directory)).unwrap();
    }
    var.remount(MsFlags::empty(), "size=2g");
    let (code, _, err) = spoken(&run(install(&swap).args(["--swap-size", "1500"])));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("1500 MiB of swap and 1024 MiB to spare do not fit"), "{err}");
    assert!(!var.path.join("swap.1").exists());
    ended_well(&swap);
}

/// An ext4 on a loop device. It can be broken as a disk breaks: from then on every access to it that is not
/// answered from memory ends in EIO (ext4's shutdown ioctl, made for such tests).
struct Breakable {
    image: PathBuf,
    disk: Disk,
}

impl Breakable {
    fn over(scene: &Scene, directory: &str) -> Option<Breakable> {
        let image = scene.root.with_file_name("disk.img");
        File::create(&image).unwrap().set_len(3 << 30).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F", "-N", "50000"]).arg(&image).output();
        if !made.is_ok_and(|output| output.status.success()) {
            println!("skipped: there is no mkfs.ext4");
            return None;
        }
        let path = scene.root.join(directory);
        fs::create_dir_all(&path).unwrap();
        Breakable::mount(&image, &path).then(|| Breakable { image, disk: Disk { path } })
    }

    fn mount(image: &Path, path: &Path) -> bool {
        let output = Command::new("mount").args(["-o", "loop"]).arg(image).arg(path).output().unwrap();
        if !output.status.success() {
            println!("skipped: no loop device can be mounted: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        output.status.success()
    }

    fn breaks(&self) {
        // linux/fs.h, FS_IOC_SHUTDOWN (ext4 has it as EXT4_IOC_SHUTDOWN); 2: without writing anything back.
        const SHUTDOWN: nix::libc::Ioctl = 0x8004_587d_u32 as nix::libc::Ioctl;
        let directory = File::open(&self.disk.path).unwrap();
        let how: u32 = 2;
        // SAFETY: the descriptor is open during the call, and the kernel reads one u32 through the pointer.
        let result = unsafe { nix::libc::ioctl(directory.as_raw_fd(), SHUTDOWN, &raw const how) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }

    /// As after a restart of the machine.
    fn is_mended(&self) {
        umount2(&self.disk.path, MntFlags::empty()).unwrap();
        assert!(Breakable::mount(&self.image, &self.disk.path));
    }
}

#[test]
fn a_disk_that_breaks_ends_the_run_and_one_that_is_mended_lets_the_next_go_on() {
    for at_the_installer in [false, true] {
        let faults = if at_the_installer { vec![patient()] } else { Vec::new() };
        let scene = scene(&faults);
        let Some(state) = Breakable::over(&scene, STATE) else { return };
        let mut child = match at_the_installer {
            true => hold_at_the_installer(&scene),
            false => hold_at_the_download(&scene),
        };
        let before = scene.journal();
        state.breaks();
        go_on(&scene);
        scene.mirror.release();
        let ended = exit_code(&mut child);
        let said = said(&scene);
        let (code, reason) = if at_the_installer { (18, "[installer.failed]") } else { (1, "[run.journal]") };
        assert_eq!(ended, Some(code), "{said}");
        assert!(said.contains(reason) && said.contains("Input/output error"), "{said}");
        assert!(said.contains("/var/lib/kasm-bootstrap") && !said.contains("panicked"), "{said}");
        assert_eq!(faults::processes_below(&scene), Vec::<String>::new());
        state.is_mended();
        // What was on record as begun or ended is still there; lines of output may not be.
        let lasting = |entry: &&serde_json::Value| is_started(entry, "fetch") || is_ended(entry, "preflight");
        let after = scene.journal();
        assert!(before.iter().filter(lasting).eq(after.iter().filter(lasting)), "{after:#?}");
        then_ends_well(&scene);
    }
}
