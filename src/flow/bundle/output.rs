//! The file a bundle is written to: whole or not there, for its owner's eyes alone from its birth, and never in the
//! place of another.

use super::Error;
use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2};
use nix::libc::O_TMPFILE;
use nix::unistd::linkat;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that gets its name when it is whole.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: File,
    /// The name it has until then, where the file system cannot do without.
    temporary: Option<PathBuf>,
    written: u64,
}

impl Output {
    /// Begins the file `path`, mode 0600.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is something of this name, [`Error::Output`] if no file can be made there.
    pub fn new(path: &Path) -> Result<Output, Error> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(Error::Exists(path.to_owned()));
        }
        let fail = |source| Error::Output { path: path.to_owned(), source };
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        // Such a file is gone with its process, however that ends.
        if let Ok(file) = options.clone().custom_flags(O_TMPFILE).open(directory) {
            return Ok(Output { path: path.to_owned(), file, temporary: None, written: 0 });
        }
        let name = path.file_name().ok_or_else(|| fail(io::ErrorKind::IsADirectory.into()))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.new", std::process::id()));
        let temporary = path.with_file_name(hidden);
        let file = options.create_new(true).open(&temporary).map_err(fail)?;
        Ok(Output { path: path.to_owned(), file, temporary: Some(temporary), written: 0 })
    }

    /// Gives it its name, and returns its size.
    ///
    /// # Errors
    /// As [`Output::new`]; then nothing is left of it.
    pub fn finish(mut self) -> Result<u64, Error> {
        let named = self.file.sync_all().and_then(|()| {
            match &self.temporary {
                Some(temporary) => {
                    match renameat2(AT_FDCWD, temporary, AT_FDCWD, &self.path, RenameFlags::RENAME_NOREPLACE) {
                        // A file system that cannot promise it: it was not there a moment ago.
                        Err(nix::Error::EINVAL) if fs::symlink_metadata(&self.path).is_err() => {
                            return fs::rename(temporary, &self.path);
                        }
                        other => other,
                    }
                }
                None => {
                    let ours = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                    linkat(AT_FDCWD, ours.as_str(), AT_FDCWD, &self.path, AtFlags::AT_SYMLINK_FOLLOW)
                }
            }
            .map_err(io::Error::from)
        });
        match named {
            Ok(()) => {
                self.temporary = None;
                Ok(self.written)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Exists(self.path.clone())),
            Err(source) => Err(Error::Output { path: self.path.clone(), source }),
        }
    }

    /// Where it will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An error of writing, with this file's name.
    pub fn blame(&self, error: Error) -> Error {
        error.at(&self.path)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // The error that led here is the one to tell of.
            let _ = fs::remove_file(temporary);
        }
    }
}
