//! Files that other users of the machine may have put where they are: Kasm's log directories belong to Kasm's own
//! user. Each directory is held open and each name looked up in it, so that no link leads anywhere else, whenever it
//! is made; and nothing but a regular file is ever read.

use nix::libc::{O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// So many files of a tree are taken, and so many directories opened.
const MOST_FILES: usize = 128;
const MOST_DIRECTORIES: usize = 64;
/// So many names of one directory are looked at.
const MOST_NAMES: usize = 4096;
/// What cannot be masked in this form.
const PACKED: [&str; 7] = [".gz", ".xz", ".bz2", ".zst", ".zip", ".lz4", ".journal"];

/// A file that can be opened.
#[derive(Debug, Clone)]
pub struct Spot {
    /// Where it is looked up; without one, `name` is a whole path.
    directory: Option<Arc<File>>,
    name: PathBuf,
    /// A link may stand in its place.
    follows: bool,
}

impl Spot {
    /// A file of a path that only root can change, links and all.
    pub fn fixed(path: PathBuf) -> Spot {
        Spot { directory: None, name: path, follows: true }
    }

    /// The same, and no link may stand in its place.
    pub fn plain(path: PathBuf) -> Spot {
        Spot { directory: None, name: path, follows: false }
    }

    /// Opens it.
    ///
    /// # Errors
    /// What keeps it from being opened, and [`io::ErrorKind::InvalidData`] for what is no regular file.
    pub fn open(&self) -> io::Result<File> {
        let flags = if self.follows { O_NONBLOCK } else { O_NONBLOCK | O_NOFOLLOW };
        let path = match &self.directory {
            Some(directory) => within(directory).join(&self.name),
            None => self.name.clone(),
        };
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
            match error.raw_os_error() {
                Some(nix::libc::ELOOP) => odd("a link"),
                // What open(2) says of a socket, and of a device without a driver.
                Some(nix::libc::ENXIO) => odd("no regular file"),
                _ => error,
            }
        })?;
        if !file.metadata()?.is_file() {
            return Err(odd("no regular file"));
        }
        Ok(file)
    }
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is {what}, and is not read"))
}

/// What is below a directory: paths from it, and the files, or why one is not taken.
pub type Found = Vec<(String, Result<Spot, String>)>;

/// Every regular file below a directory, so many directories deep, in the order of their names.
///
/// # Errors
/// The directory cannot be read.
pub fn walk(directory: &Path, depth: usize) -> io::Result<Found> {
    let open = OpenOptions::new().read(true).custom_flags(O_DIRECTORY | O_NOFOLLOW).open(directory)?;
    let mut found = Vec::new();
    let mut left = MOST_DIRECTORIES;
    below(Arc::new(open), "", depth, &mut left, &mut found)?;
    if found.len() > MOST_FILES {
        let more = found.len() - MOST_FILES;
        found.truncate(MOST_FILES);
        found.push(("more".into(), Err(format!("{more} more files are left out"))));
    }
    Ok(found)
}

fn below(directory: Arc<File>, above: &str, depth: usize, left: &mut usize, found: &mut Found) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(within(&directory))?.take(MOST_NAMES) {
        let entry = entry?;
        names.push((entry.file_name(), entry.file_type()?));
    }
    names.sort_by(|one, other| one.0.cmp(&other.0));
    for (name, kind) in names {
        let path = format!("{above}{}", name.to_string_lossy());
        if kind.is_dir() && depth > 1 && *left > 0 {
            *left -= 1;
            let flags = O_DIRECTORY | O_NOFOLLOW;
            let deeper = OpenOptions::new().read(true).custom_flags(flags).open(within(&directory).join(&name));
            let result = deeper.and_then(|deeper| below(Arc::new(deeper), &format!("{path}/"), depth - 1, left, found));
            if let Err(error) = result {
                found.push((path, Err(error.to_string())));
            }
        } else if kind.is_dir() {
            found.push((path, Err("it is a directory too deep down".into())));
        } else if let Some(ending) = PACKED.iter().find(|ending| path.ends_with(**ending)) {
            found.push((path, Err(format!("what is packed cannot be masked ({ending})"))));
        } else {
            // What it is, is seen again when it is opened.
            let spot = Spot { directory: Some(directory.clone()), name: name.into(), follows: false };
            found.push((path, Ok(spot)));
        }
    }
    Ok(())
}

fn within(directory: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}
