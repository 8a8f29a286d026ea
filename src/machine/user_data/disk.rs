//! Disks with user-data, known by their label: read where nobody else sees them, and gone with the thread
//! that read them, whatever becomes of it.

use super::super::cloud::Error;
use super::{Found, decode};
use crate::durable;
use crate::paths::Paths;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, chroot, fchdir};
use serde_json::Value;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// One kind of such disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// What it is called.
    pub name: &'static str,
    labels: [&'static str; 2],
    user_data: &'static str,
    meta_data: &'static str,
    /// What the instance's identifier is called in its metadata, the surest first.
    ids: &'static [&'static str],
}

/// "NoCloud" in cloud-init's documentation; KubeVirt's `cloudInitNoCloud`.
pub(super) const NO_CLOUD: Kind = Kind {
    name: "NoCloud disk",
    labels: ["cidata", "CIDATA"],
    user_data: "/user-data",
    meta_data: "/meta-data",
    ids: &["instance-id", "instance_id"],
};

/// "Config drive" in Nova's documentation; KubeVirt's `cloudInitConfigDrive`.
pub(super) const CONFIG_DRIVE: Kind = Kind {
    name: "config drive",
    labels: ["config-2", "CONFIG-2"],
    user_data: "/openstack/latest/user_data",
    meta_data: "/openstack/latest/meta_data.json",
    ids: &["uuid", "instance_id"],
};

/// The reading thread came to no end.
pub(super) fn unread(what: &'static str, path: &Path, why: &'static str) -> Error {
    Error::Disk { what, path: path.to_owned(), verb: "read", source: io::Error::other(why) }
}

impl Kind {
    /// The device, where one is there.
    pub fn device(self, paths: &Paths) -> Option<PathBuf> {
        let devices = self.labels.iter().map(|label| paths.disks_by_label().join(label));
        devices.into_iter().find(|path| path.metadata().is_ok_and(|data| data.file_type().is_block_device()))
    }

    /// Reads it. The calling thread leaves the file systems that all others see, so it has to end with this.
    pub fn read(self, paths: &Paths, device: &Path) -> Result<Found, Error> {
        let fail = |verb| {
            let path = paths.shown(device);
            move |source| Error::Disk { what: self.name, path, verb, source }
        };
        let place = paths.user_data_disk();
        let _mounted = Mounted::new(device, &place).map_err(fail("mounted"))?;
        self.take().map_err(fail("read"))
    }

    /// What matters on the disk, which is the root by now: no link on it leads outside.
    fn take(self) -> io::Result<Found> {
        // As long as user-data may be, and one byte, so that the decoder sees what is too long.
        let read = |path| match durable::read(Path::new(path), decode::MOST_IN as u64 + 1) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let instance_id = read(self.meta_data).ok().flatten().and_then(|bytes| identifier(&bytes, self.ids));
        Ok(Found { user_data: read(self.user_data)?, instance_id })
    }
}

/// The identifier in metadata, which is JSON or simple YAML.
pub(super) fn identifier(bytes: &[u8], keys: &[&str]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let json: Option<Value> = serde_json::from_str(text).ok();
    keys.iter().find_map(|key| {
        let found = match &json {
            Some(json) => json.get(*key)?.as_str()?,
            None => text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':'))?,
        };
        let found = found.trim().trim_matches(['"', '\'']);
        let sound = (1..=128).contains(&found.len()) && found.bytes().all(|byte| byte.is_ascii_graphic());
        sound.then(|| found.to_owned())
    })
}

/// A disk that is this thread's root directory, in a mount namespace of its own.
struct Mounted<'a> {
    place: &'a Path,
    before: File,
}

impl<'a> Mounted<'a> {
    fn new(device: &Path, place: &'a Path) -> io::Result<Mounted<'a>> {
        durable::private_directory(place)?;
        let none: Option<&str> = None;
        // From here on nobody else sees what this thread mounts, and the kernel unmounts it with the thread.
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        let before = File::open("/")?;
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let mut failed = Vec::new();
        // Without `noload` ext4 would write to the disk, whatever it was told, to replay its journal.
        for (kind, option) in [("iso9660", none), ("vfat", none), ("ext4", Some("noload"))] {
            match mount(Some(device), place, Some(kind), flags, option) {
                Ok(()) => break,
                Err(errno) => failed.push(format!("{kind}: {}", errno.desc())),
            }
        }
        if failed.len() == 3 {
            // Empty and closed to others: it does no harm if it stays.
            let _ = std::fs::remove_dir(place);
            return Err(io::Error::other(failed.join(", ")));
        }
        let mounted = Mounted { place, before };
        chroot(place)?;
        chdir("/")?;
        Ok(mounted)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // At once, and not only with the thread's end. Should it fail, that comes all the same.
        let _ = fchdir(&self.before).and_then(|()| chroot(".")).and_then(|()| umount2(self.place, MntFlags::empty()));
        let _ = std::fs::remove_dir(self.place); // does no harm if it stays
    }
}
