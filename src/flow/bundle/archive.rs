//! The archive: one directory, files for their owner's eyes alone, nothing in it that differs from one bundle of the
//! same node to the next but what the node says and when.

use super::Error;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};
use tar::{Builder, EntryType, Header};

/// An archive that is being written.
pub struct Archive<'a> {
    tar: Builder<GzEncoder<&'a mut dyn Write>>,
    directory: String,
    time: u64,
}

impl<'a> Archive<'a> {
    /// All files will be below `directory`, and of this time (RFC 3339).
    pub fn new(out: &'a mut dyn Write, directory: &str, time: &str) -> Archive<'a> {
        let time = time.parse::<jiff::Timestamp>().map_or(0, |time| time.as_second().max(0).unsigned_abs());
        let tar = Builder::new(GzEncoder::new(out, Compression::default()));
        Archive { tar, directory: directory.to_owned(), time }
    }

    /// Adds a file. Names are made of letters, digits and `.-_/`, whatever was asked for, and lead nowhere else.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.time);
        header.set_uid(0);
        header.set_gid(0);
        let path = format!("{}/{}", self.directory, tame(name));
        self.tar.append_data(&mut header, path, bytes).map_err(Error::Write)
    }

    /// Ends it.
    pub fn finish(self) -> Result<(), Error> {
        let end = || -> io::Result<()> { self.tar.into_inner()?.finish()?.flush() };
        end().map_err(Error::Write)
    }
}

/// A name that no program stumbles over.
pub fn tame(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let parts = name.split('/').map(|part| part.chars().take(100).map(safe).collect::<String>());
    parts.filter(|part| !matches!(part.as_str(), "" | "." | "..")).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::tame;

    #[test]
    fn names_stay_inside_and_harmless() {
        assert_eq!(tame("kasm/1.18.1/log/../../etc/p w\n\u{202e}"), "kasm/1.18.1/log/etc/p_w__");
        assert_eq!(tame("/a//./b"), "a/b");
    }
}
