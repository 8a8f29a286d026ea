//! Ways into this room's inside for the fuzz targets. Not part of the interface: nothing else calls them.

use super::entry::{Kind, walk};
use super::signature::{Key, Seal};
use super::tree::Tree;
use super::unpack::{Bounded, write_entries};
use super::{Error, Limits, Unpacked};
use std::os::fd::OwnedFd;
use std::path::Path;

/// An entry that was let in: the components of its path, and where it leads if it is a symbolic link.
pub type Admitted = (Vec<Vec<u8>>, Option<Vec<u8>>);

/// The entries that were let in, and how the walk over this uncompressed tar ended.
pub fn entries(tar: &[u8], limits: &Limits) -> (Vec<Admitted>, Result<(), Error>) {
    let mut entries = Vec::new();
    let ended = walk(tar, limits, &mut |entry, content| {
        let target = match &entry.kind {
            Kind::Link { target } => Some(target.clone()),
            Kind::Directory | Kind::File { .. } => None,
        };
        // A reader that fails is the walk's business at the next entry.
        let _ = std::io::copy(content, &mut std::io::sink());
        entries.push((entry.path.clone(), target));
        Ok(())
    });
    (entries, ended.map(|_| ()))
}

/// Writes the entries of this uncompressed tar below an open directory, as unpacking does.
pub fn write(tar: &[u8], directory: OwnedFd, limits: &Limits) -> Result<Unpacked, Error> {
    let reader = Bounded::new(tar, limits.bytes);
    write_entries(reader, &mut Tree::new(directory), Path::new("."), limits, |_| Ok(()))
}

/// True if the text is a usable signature of this key, be it of whatever.
pub fn is_of_key(key: &Key, signature: &[u8]) -> bool {
    Seal::new(key, signature.to_vec()).is_ok()
}
