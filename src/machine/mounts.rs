//! Where a path lies: the file system, the room left on it, what it allows.

use super::facts::read_small;
use nix::sys::statvfs::{FsFlags, statvfs};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file system below a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path that was looked at: the one asked for, or its nearest parent that is there.
    pub at: PathBuf,
    /// Tells file systems apart (stat(2), `st_dev`).
    pub device: u64,
    /// Bytes it has in all.
    pub total_bytes: u64,
    /// Bytes left for an unprivileged process.
    pub free_bytes: u64,
    /// Inodes it has in all; `None` where the file system does not count them.
    pub total_inodes: Option<u64>,
    /// Inodes left; `None` where the file system does not count them (btrfs).
    pub free_inodes: Option<u64>,
    /// Mounted read-only.
    pub read_only: bool,
    /// Mounted `noexec`: programs on it cannot be run.
    pub noexec: bool,
    /// Where it is mounted and what kind it is, where /proc says so.
    pub mount: Option<Mount>,
}

/// One line of /proc/PID/mountinfo (proc(5)), as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// `ext4`, `tmpfs`, …
    pub kind: String,
}

impl Place {
    /// Where it is mounted; the path that was looked at, where that is not known.
    pub fn point(&self) -> String {
        self.mount.as_ref().map_or(&self.at, |mount| &mount.point).display().to_string()
    }

    /// `/var (ext4)`, `the file system of /var/lib`.
    pub fn name(&self) -> String {
        match &self.mount {
            Some(mount) => format!("{} ({})", mount.point.display(), mount.kind),
            None => format!("the file system of {}", self.at.display()),
        }
    }
}

/// Looks at the file system that a file at `path` would be made on: at the path itself, or where it is
/// not there yet at its nearest parent that is.
pub fn look(path: &Path) -> io::Result<Place> {
    let at = nearest(path)?;
    let device = std::fs::metadata(&at)?.dev();
    let stat = statvfs(&at)?;
    // Only where it is called and what kind it is; both are left out where /proc is not there.
    let mount = std::fs::canonicalize(&at).ok().and_then(|real| {
        let mounts = parse_mountinfo(read_small(Path::new("/proc/self/mountinfo")).ok()?.as_str());
        // The last of several mounts over one point is the one that is seen.
        mounts.into_iter().filter(|mount| real.starts_with(&mount.point)).max_by_key(|mount| {
            mount.point.as_os_str().len() // `max_by_key` keeps the last of equals
        })
    });
    Ok(Place {
        at,
        device,
        total_bytes: (stat.blocks() as u64).saturating_mul(stat.fragment_size()),
        total_inodes: (stat.files() > 0).then(|| stat.files() as u64),
        free_bytes: (stat.blocks_available() as u64).saturating_mul(stat.fragment_size()),
        free_inodes: (stat.files() > 0).then(|| stat.files_available() as u64),
        read_only: stat.flags().contains(FsFlags::ST_RDONLY),
        noexec: stat.flags().contains(FsFlags::ST_NOEXEC),
        mount,
    })
}

fn nearest(path: &Path) -> io::Result<PathBuf> {
    for parent in path.ancestors() {
        match std::fs::metadata(parent) {
            Ok(_) => return Ok(parent.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Reads the text of a mountinfo file; lines that are not as proc(5) has them are passed over.
pub fn parse_mountinfo(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            // 36 35 98:0 /root /point rw,noatime optional… - ext4 /dev/root rw
            let (front, back) = line.split_once(" - ")?;
            let point = front.split(' ').nth(4).filter(|point| point.starts_with('/'))?;
            let kind = back.split(' ').next().filter(|kind| !kind.is_empty())?;
            Some(Mount { point: unescape(point), kind: kind.to_owned() })
        })
        .collect()
}

/// proc(5) writes space, tab, line feed and backslash as a backslash and three octal digits.
fn unescape(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let mut result = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if byte == b'\\' => {
                result.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                result.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(result))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStrExt;

    /// How the kernel writes a path there.
    fn escape(path: &Path) -> String {
        let mut text = Vec::new();
        for &byte in path.as_os_str().as_bytes() {
            match byte {
                b' ' | b'\t' | b'\n' | b'\\' => text.extend(format!("\\{byte:03o}").bytes()),
                _ => text.push(byte),
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn a_path_that_is_not_there_yet_is_judged_by_its_nearest_parent() {
        let directory = tempfile::tempdir().unwrap();
        let place = look(&directory.path().join("not/yet/there")).unwrap();
        assert_eq!(place.at, directory.path());
        assert_eq!(place.device, std::fs::metadata(directory.path()).unwrap().dev());
        assert!(!place.read_only && place.free_bytes > 0);
    }

    #[test]
    fn proc_is_its_own_file_system() {
        let mount = look(Path::new("/proc/self")).unwrap().mount.unwrap();
        assert_eq!((mount.point.as_path(), mount.kind.as_str()), (Path::new("/proc"), "proc"));
    }

    #[test]
    fn mounts_are_read_with_their_escapes() {
        let text = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
                    36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n\
                    nonsense\n";
        let mounts = parse_mountinfo(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[1], Mount { point: "/mnt/a b".into(), kind: "ext3".into() });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_mount_point_is_read_back(point in "/[^\\x00\\r]{0,40}", kind in "[a-z0-9.]{1,12}") {
            let line = format!("36 35 98:0 / {} rw,noatime shared:2 - {kind} /dev/root rw", escape(Path::new(&point)));
            prop_assume!(line.lines().count() == 1);
            prop_assert_eq!(parse_mountinfo(&line), [Mount { point: point.into(), kind }]);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(?s)[ \\-\\\\/0-9a-z\\n\u{e9}]{0,120}") {
            for mount in parse_mountinfo(&text) {
                prop_assert!(mount.point.starts_with("/"));
            }
        }
    }
}
