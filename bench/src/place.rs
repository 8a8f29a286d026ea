//! Where releases are unpacked: a filesystem made anew for each run, because names made and removed
//! before slow down the next ones on some of them.

use crate::Fallible;
use crate::measure::must;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a fresh place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ext4 in a file in memory, mounted for the run.
    Ext4,
    /// A directory made for the run.
    Directory,
}

/// Big enough for a release and its tarball.
const SIZE: u64 = 3 << 30;

/// Makes fresh places below one directory.
pub struct Places {
    directory: PathBuf,
    /// What they are.
    pub kind: Kind,
}

impl Places {
    /// Tries what this machine allows.
    pub fn new(directory: &Path) -> Places {
        let mut places = Places { directory: directory.to_owned(), kind: Kind::Ext4 };
        if let Err(error) = places.fresh() {
            eprintln!("note: no fresh ext4 for each run ({error}): a fresh directory instead");
            places.kind = Kind::Directory;
        }
        places
    }

    /// In words, for the report.
    pub fn name(&self) -> String {
        let below = filesystem(&self.directory);
        match self.kind {
            Kind::Ext4 => format!("ext4 made anew for each run, its image in memory ({below})"),
            Kind::Directory => format!("a directory made anew for each run on {below}"),
        }
    }

    /// A fresh place.
    pub fn fresh(&self) -> Fallible<Place> {
        let path = self.directory.join("place");
        fs::create_dir(&path)?;
        let mut place = Place { path, image: None, mounted: false };
        if self.kind == Kind::Ext4 {
            let image = self.directory.join("place.ext4");
            File::create(&image)?.set_len(SIZE)?;
            place.image = Some(image.clone());
            // Whole at once: the kernel would else go on with it while we measure.
            let whole = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
            must(Command::new("mkfs.ext4").args(["-q", "-F", "-E", whole]).arg(&image))?;
            must(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&place.path))?;
            place.mounted = true;
        }
        Ok(place)
    }
}

/// A fresh place; gone when dropped.
pub struct Place {
    /// The directory.
    pub path: PathBuf,
    image: Option<PathBuf>,
    mounted: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.mounted && must(Command::new("umount").arg(&self.path)).is_err() {
            eprintln!("note: {} stays mounted", self.path.display());
            return;
        }
        // The scratch directory that holds both is removed in the end; the next fresh place says if these stay.
        let _ = fs::remove_dir_all(&self.path);
        if let Some(image) = &self.image {
            let _ = fs::remove_file(image); // as above
        }
    }
}

/// The name of the filesystem a directory is on.
pub fn filesystem(directory: &Path) -> String {
    let output = Command::new("stat").args(["-f", "-c", "%T"]).arg(directory).output();
    output.map_or_else(|_| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
