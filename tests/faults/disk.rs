//! Disks that fill up or go read-only: file systems of our own over single directories of a scratch machine.

use crate::common::Scene;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::statvfs;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

/// More than preflight wants; none of it is taken.
const ROOMY: &str = "size=4g,nr_inodes=100000,mode=0755";

/// A file system over one directory; gone when dropped. It must be dropped before the scene.
pub struct Disk {
    /// The directory.
    pub path: PathBuf,
}

impl Disk {
    /// A tmpfs; `None` where it may not be mounted.
    pub fn over(scene: &Scene, directory: &str) -> Option<Disk> {
        let path = scene.root.join(directory);
        fs::create_dir_all(&path).unwrap();
        match mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some(ROOMY)) {
            Ok(()) => Some(Disk { path }),
            Err(errno) => {
                println!("skipped: no file system can be mounted here: {errno}");
                None
            }
        }
    }

    pub fn remount(&self, flags: MsFlags, options: &str) {
        let none: Option<&str> = None;
        mount(none, &self.path, none, MsFlags::MS_REMOUNT | flags, Some(options)).unwrap();
    }

    /// Not a byte more, not even behind the last one of the journal.
    pub fn fill(&self) {
        let stat = statvfs(&self.path).unwrap();
        let used = (stat.blocks() - stat.blocks_free()) as u64 * stat.fragment_size() as u64;
        // No size at all would mean no limit.
        self.remount(MsFlags::empty(), &format!("size={}", used.max(4096)));
        let mut filler = File::create(self.path.join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        if let Ok(mut journal) = File::options().append(true).open(self.path.join("journal.jsonl")) {
            // Empty lines are passed over by every reader.
            while journal.write_all(b"\n").is_ok() {}
        }
    }

    /// Fills the disk while a script that has said `ready` waits for `run/go`, lets it go on, and returns what the work
    /// around it ends with.
    pub fn fill_during<T: Send>(&self, scene: &Scene, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|threads| {
            let work = threads.spawn(work);
            super::until(scene, |entry| entry["line"] == "ready");
            self.fill();
            fs::write(scene.root.join("run/go"), "").unwrap();
            work.join().unwrap()
        })
    }

    pub fn has_room_again(&self) {
        self.remount(MsFlags::empty(), ROOMY);
        fs::remove_file(self.path.join("filler")).unwrap();
    }

    pub fn read_only(&self, yes: bool) {
        self.remount(if yes { MsFlags::MS_RDONLY } else { MsFlags::empty() }, ROOMY);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(errno) = umount2(&self.path, MntFlags::MNT_DETACH) {
            println!("{} cannot be unmounted: {errno}", self.path.display());
        }
    }
}
