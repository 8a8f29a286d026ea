//! The swap file below a scratch root, made by the real `mkswap`.

use kasm_bootstrap::deadline::Deadline;
use kasm_bootstrap::error::{Explain, Failure};
use kasm_bootstrap::machine::swap::{Outcome, SwapError, Tools, ensure};
use kasm_bootstrap::paths::Paths;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const LINE: &str = "/var/swap.1 none swap sw 0 0\n";

fn root() -> (tempfile::TempDir, Paths) {
    let directory = tempfile::tempdir().unwrap();
    let paths = Paths::below(directory.path());
    fs::create_dir(paths.at("/etc")).unwrap();
    fs::create_dir(paths.at("/var")).unwrap();
    (directory, paths)
}

fn tools() -> Tools {
    Tools::find(std::env::var_os("PATH").as_deref())
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn machine_swaps() -> String {
    fs::read_to_string("/proc/swaps").unwrap_or_default()
}

async fn refused(paths: &Paths, mib: u64) -> SwapError {
    ensure(paths, mib, &tools(), soon()).await.unwrap_err()
}

#[tokio::test]
async fn below_a_root_the_file_is_made_once_and_not_switched_on() {
    let (_directory, paths) = root();
    let before = machine_swaps();
    fs::write(paths.fstab(), "/dev/vda1 / ext4 defaults 0 1\n# no newline at the end").unwrap();
    fs::set_permissions(paths.fstab(), fs::Permissions::from_mode(0o640)).unwrap();
    let outcome = ensure(&paths, 2, &tools(), soon()).await.unwrap();
    insta::assert_snapshot!(outcome, @"made a swap file of 2 MiB, not switched on below --root");
    let file = fs::metadata(paths.swap_file()).unwrap();
    assert_eq!((file.len(), file.mode() & 0o7777), (2 << 20, 0o600));
    assert!(file.blocks() * 512 >= file.len(), "a swap file must not have holes");
    let fstab = format!("/dev/vda1 / ext4 defaults 0 1\n# no newline at the end\n{LINE}");
    assert_eq!(fs::read_to_string(paths.fstab()).unwrap(), fstab);
    assert_eq!(fs::metadata(paths.fstab()).unwrap().mode() & 0o7777, 0o640);

    let outcome = ensure(&paths, 2, &tools(), soon()).await.unwrap();
    insta::assert_snapshot!(outcome, @"the swap file is there already, not switched on below --root");
    assert_eq!(fs::metadata(paths.swap_file()).unwrap().ino(), file.ino());
    assert_eq!(fs::read_to_string(paths.fstab()).unwrap(), fstab);
    assert_eq!(machine_swaps(), before);
}

#[tokio::test]
async fn a_file_that_a_crash_left_half_made_is_made_anew() {
    let (_directory, paths) = root();
    for (length, mode) in [(1 << 20, 0o600), (2 << 20, 0o600), (0, 0o644)] {
        let file = fs::File::create(paths.swap_file()).unwrap();
        file.set_len(length).unwrap();
        file.set_permissions(fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(ensure(&paths, 2, &tools(), soon()).await.unwrap(), Outcome::Made { mib: 2, on: false });
        fs::remove_file(paths.swap_file()).unwrap();
    }
    assert_eq!(fs::read_to_string(paths.fstab()).unwrap(), LINE);
}

#[tokio::test]
async fn a_machine_with_swap_gets_no_more() {
    let (_directory, paths) = root();
    fs::create_dir(paths.proc_dir()).unwrap();
    let swaps = "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0\tpartition\t999420\t0\t100\n";
    fs::write(paths.proc_dir().join("swaps"), swaps).unwrap();
    let outcome = ensure(&paths, 2, &tools(), soon()).await.unwrap();
    insta::assert_snapshot!(outcome, @"this machine has swap already: /dev/zram0");
    assert!(!paths.swap_file().exists() && !paths.fstab().exists());
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_nothing_is_left() {
    let (_directory, paths) = root();
    fs::write(paths.fstab(), "# mine\n").unwrap();
    assert_eq!(refused(&paths, 0).await.reason(), "swap.size");
    assert_eq!(refused(&paths, u64::MAX).await.reason(), "swap.size");
    // 4 EiB: a size a file may have, on no disk there is.
    assert_eq!(refused(&paths, 1 << 42).await.reason(), "swap.no-space");
    assert!(!paths.swap_file().exists());
    std::os::unix::fs::symlink("elsewhere", paths.swap_file()).unwrap();
    assert_eq!(refused(&paths, 1).await.reason(), "swap.in-the-way");
    assert!(!paths.at("/var/elsewhere").exists());
    fs::remove_file(paths.swap_file()).unwrap();
    fs::remove_dir(paths.at("/var")).unwrap();
    assert_eq!(refused(&paths, 1).await.reason(), "swap.make");
    assert_eq!(fs::read_to_string(paths.fstab()).unwrap(), "# mine\n");
}

#[tokio::test]
async fn a_mkswap_that_does_not_end_is_ended_and_the_file_removed() {
    let (directory, paths) = root();
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // `cat` of a pipe that nobody writes to waits for ever, under mkswap's name.
    let mkswap = directory.path().join("mkswap");
    let write = "printf '#!/bin/sh\\nexec cat %s\\n' \"$1\" > \"$0\" && chmod 755 \"$0\"";
    let status = std::process::Command::new("sh").args(["-c", write]).args([&mkswap, &fifo]).status().unwrap();
    assert!(status.success());
    let tools = Tools { mkswap: Some(mkswap), swapon: None };
    let error = ensure(&paths, 1, &tools, Deadline::after(Duration::from_millis(100))).await.unwrap_err();
    assert_eq!(Failure::from(error).causes, ["it did not end in time"]);
    assert!(!paths.swap_file().exists() && !paths.fstab().exists());
}

#[test]
fn each_refusal_says_what_to_do() {
    let path = || PathBuf::from("/var/swap.1");
    let cause = || std::io::Error::other("swapon: /var/swap.1: swapon failed: Invalid argument (exit status: 255)");
    let refusals = [
        SwapError::Space { path: Path::new("/var").into(), free: 900, mib: 8192 },
        SwapError::Program { name: "swapon", path: path(), filesystem: Some("btrfs"), source: cause() },
        SwapError::Program { name: "swapon", path: path(), filesystem: None, source: cause() },
        SwapError::Missing { name: "mkswap" },
        SwapError::InTheWay { path: path() },
        SwapError::Size { mib: 0 },
        SwapError::Kernel { path: "/proc/swaps".into() },
        SwapError::Make { path: path(), source: std::io::Error::other("Read-only file system") },
        SwapError::Fstab { path: "/etc/fstab".into(), source: std::io::Error::other("it is not a regular file") },
    ];
    let said: Vec<String> = refusals
        .into_iter()
        .map(Failure::from)
        .map(|failure| format!("{}: {}\n    {}", failure.reason, failure.message, failure.help))
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    swap.no-space: /var has 900 MiB free, and 8192 MiB of swap and 1024 MiB to spare do not fit
        give the machine a larger disk, or ask for less swap
    swap.switch-on: swapon failed on /var/swap.1, which lies on btrfs
        use a swap partition or a /var on ext4 or xfs; swapon(8), NOTES, says which files can be swap
    swap.switch-on: swapon failed on /var/swap.1
        the cause above is its own; inside a container swap is the host's business: do not ask for it there
    swap.program-missing: this machine has no mkswap
        install util-linux into the image, or do not ask for swap
    swap.in-the-way: /var/swap.1 is in the way: it is not a regular file
        move /var/swap.1 away, or do not ask for swap
    swap.size: a swap file of 0 MiB cannot be made
        ask for at least 1 MiB, or for no swap
    swap.kernel: this kernel has no swap: /proc/swaps is missing
        do not ask for swap on this machine
    swap.make: /var/swap.1 cannot be made
        look at `df -h /var` and `mount`; /var must be writable
    swap.fstab: /etc/fstab cannot be given its line for the swap file
        add the line `/var/swap.1 none swap sw 0 0` by hand
    ");
}
