//! From a stream of tar blocks to entries that may be written, or a refusal. Nothing here touches the
//! file system.
//!
//! The `tar` crate reads the headers, in raw mode: long names and pax records are read here, so that they
//! are bounded and so that whatever could mean two things is refused.

use super::error::{Error, Refusal};
use super::unpack::Limits;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read};
use tar::EntryType;

/// The one directory that a release consists of.
pub(super) const ROOT: &[u8] = b"kasm_release";
/// No long name and no pax header is longer, in bytes.
const MAX_EXTENSION: u64 = 64 * 1024;
const MAX_NAME: usize = 1024;
const MAX_COMPONENT: usize = 255;
const BLOCK: usize = 512;

/// What an entry is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File {
        executable: bool,
    },
    /// A symbolic link to this text, which stays inside [`ROOT`].
    Link {
        target: Vec<u8>,
    },
}

/// An entry that may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The path's components; the first is [`ROOT`]. None is empty, `.`, `..` or holds a slash.
    pub path: Vec<Vec<u8>>,
    pub kind: Kind,
    /// Bytes of a file.
    pub size: u64,
}

impl Entry {
    /// The path as one text.
    pub fn name(&self) -> Vec<u8> {
        self.path.join(&b'/')
    }
}

/// Calls `visit` for each entry, in order, and demands a proper end. Returns the reader, which has been
/// read to its end.
pub(super) fn walk<R: Read>(
    reader: R,
    limits: &Limits,
    visit: &mut dyn FnMut(&Entry, &mut dyn Read) -> Result<(), Error>,
) -> Result<R, Error> {
    let mut archive = tar::Archive::new(Ended { inner: reader, at_end: false });
    let mut extensions = Extensions::default();
    for (count, entry) in archive.entries().map_err(broken)?.raw(true).enumerate() {
        let mut raw = entry.map_err(broken)?;
        if count as u64 >= limits.entries {
            return Err(Refusal::archive("archive.too-many", format!("it has more than {} entries", limits.entries)));
        }
        let kind = raw.header().entry_type();
        let size = size(raw.header())?;
        if extensions.take_in(kind, &mut raw, size)? {
            continue;
        }
        let name = extensions.name(&raw)?;
        let link = extensions.link(&raw)?;
        let mode = raw.header().mode().unwrap_or(0);
        let extended = std::mem::take(&mut extensions);
        extended.agree_on_size(size, &name)?;
        if let Some(entry) = admit(kind, &name, link, mode, size, limits)? {
            visit(&entry, &mut raw)?;
        }
    }
    if !extensions.is_empty() {
        return Err(Refusal::archive("archive.broken", "it ends after a header that announces another entry"));
    }
    let mut reader = archive.into_inner();
    if reader.at_end {
        return Err(Refusal::archive("archive.truncated", "it has no end-of-archive mark: a part of it is missing"));
    }
    end_of_archive(&mut reader.inner)?;
    Ok(reader.inner)
}

/// The first block of zeros has been read: another one must follow, and nothing but zeros after it.
fn end_of_archive(reader: &mut impl Read) -> Result<(), Error> {
    let mut block = [0; BLOCK * 16];
    let mut seen = 0;
    loop {
        let read = match reader.read(&mut block) {
            Ok(0) if seen < BLOCK => {
                return Err(Refusal::archive("archive.truncated", "its end-of-archive mark is cut off"));
            }
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(error)),
        };
        if block[..read].iter().any(|byte| *byte != 0) {
            return Err(Refusal::archive("archive.trailing-data", "there is more after its end-of-archive mark"));
        }
        seen = (seen + read).min(BLOCK);
    }
}

/// A read error as a refusal; one of the machine's own disk keeps its cause.
pub(super) fn broken(error: io::Error) -> Error {
    if let Some(limit) = error.get_ref().and_then(|inner| inner.downcast_ref::<OverLimit>()) {
        return Refusal::archive("archive.too-big", limit.to_string());
    }
    if error.raw_os_error().is_some() {
        return Error::Unreadable { path: "the tarball".into(), source: error };
    }
    let reason = match error.kind() {
        io::ErrorKind::UnexpectedEof => "archive.truncated",
        _ => "archive.broken",
    };
    Refusal::archive(reason, format!("it is damaged ({error})"))
}

/// More came out of the compressed stream than is allowed.
#[derive(Debug, thiserror::Error)]
#[error("it unpacks to more than the {0} bytes allowed for its size")]
pub(super) struct OverLimit(pub u64);

struct Ended<R> {
    inner: R,
    at_end: bool,
}

impl<R: Read> Read for Ended<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.at_end |= read == 0 && !buffer.is_empty();
        Ok(read)
    }
}

/// What headers before an entry say about it.
#[derive(Debug, Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<HashMap<Vec<u8>, Vec<u8>>>,
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.name.is_none() && self.link.is_none() && self.pax.is_none()
    }

    /// True if the entry was such a header.
    fn take_in(&mut self, kind: EntryType, raw: &mut tar::Entry<'_, impl Read>, size: u64) -> Result<bool, Error> {
        let twice = match kind {
            EntryType::GNULongName => self.name.replace(text(read(raw, size)?)).is_some(),
            EntryType::GNULongLink => self.link.replace(text(read(raw, size)?)).is_some(),
            EntryType::XHeader => self.pax.replace(pax(&read(raw, size)?)?).is_some(),
            EntryType::XGlobalHeader => {
                // Comments are let in. What would change every later entry for some readers is not.
                let records = pax(&read(raw, size)?)?;
                if [b"path".as_slice(), b"linkpath", b"size"].iter().any(|key| records.contains_key(*key)) {
                    return Err(Refusal::archive("archive.broken", "it has one name or size for all its entries"));
                }
                false
            }
            _ => return Ok(false),
        };
        if twice {
            return Err(Refusal::archive("archive.broken", "two headers of one kind announce the same entry"));
        }
        Ok(true)
    }

    fn name(&mut self, raw: &tar::Entry<'_, impl Read>) -> Result<Vec<u8>, Error> {
        let header = raw.header().path_bytes().into_owned();
        one_of(self.name.take(), self.value(b"path"), Some(header)).map(Option::unwrap_or_default)
    }

    fn link(&mut self, raw: &tar::Entry<'_, impl Read>) -> Result<Option<Vec<u8>>, Error> {
        let header = raw.header().link_name_bytes().map(Cow::into_owned);
        one_of(self.link.take(), self.value(b"linkpath"), header)
    }

    fn value(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.pax.as_mut().and_then(|pax| pax.remove(key))
    }

    /// Two sizes make two archives out of one: what one reader skips another one parses.
    fn agree_on_size(&self, size: u64, name: &[u8]) -> Result<(), Error> {
        match self.pax.as_ref().and_then(|pax| pax.get(b"size".as_slice())) {
            Some(text) if text != size.to_string().as_bytes() => {
                Err(Refusal::entry("archive.broken", "has two different sizes", name))
            }
            _ => Ok(()),
        }
    }
}

fn one_of(gnu: Option<Vec<u8>>, pax: Option<Vec<u8>>, header: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Error> {
    if let (Some(name), Some(_)) = (&gnu, &pax) {
        return Err(Refusal::entry("archive.broken", "has two different names", name));
    }
    Ok(gnu.or(pax).or(header))
}

/// The size in a header. Of GNU's binary numbers the tar crate reads the last eight of twelve bytes, and
/// would see a small size where other readers see a huge or a negative one.
fn size(header: &tar::Header) -> Result<u64, Error> {
    let field = &header.as_old().size;
    if field[0] & 0x80 != 0 && (field[0] != 0x80 || field[1..4] != [0; 3]) {
        return Err(Refusal::archive("archive.broken", "it has an entry whose size is beyond all measure"));
    }
    header.entry_size().map_err(broken)
}

fn read(raw: &mut tar::Entry<'_, impl Read>, size: u64) -> Result<Vec<u8>, Error> {
    if size > MAX_EXTENSION {
        return Err(Refusal::archive("archive.long-name", format!("it has a header of {size} bytes")));
    }
    let mut bytes = Vec::new();
    raw.read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() as u64 != size {
        return Err(Refusal::archive("archive.truncated", "it ends inside a header"));
    }
    Ok(bytes)
}

/// GNU's long names end with a NUL.
fn text(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

/// The records of a pax header (POSIX.1-2017, pax, Extended Header): `LENGTH KEY=VALUE\n`.
fn pax(bytes: &[u8]) -> Result<HashMap<Vec<u8>, Vec<u8>>, Error> {
    let bad = || Refusal::archive("archive.broken", "it has a pax header that makes no sense");
    let mut records = HashMap::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let space = rest.iter().take(8).position(|byte| *byte == b' ').ok_or_else(bad)?;
        let length: usize =
            std::str::from_utf8(&rest[..space]).ok().and_then(|text| text.parse().ok()).ok_or_else(bad)?;
        if length <= space + 1 || length > rest.len() {
            return Err(bad());
        }
        let (record, after) = rest.split_at(length);
        let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(bad)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        if key.starts_with(b"GNU.sparse.") {
            return Err(Refusal::archive("archive.unsafe-type", "it has sparse files"));
        }
        if records.insert(key.to_vec(), value.to_vec()).is_some() {
            return Err(bad());
        }
        rest = after;
    }
    Ok(records)
}

/// The entry, if it may be written; `None` for one that says nothing (`./`).
fn admit(
    kind: EntryType,
    name: &[u8],
    link: Option<Vec<u8>>,
    mode: u32,
    size: u64,
    limits: &Limits,
) -> Result<Option<Entry>, Error> {
    let refused = |what: &str| Err(Refusal::entry("archive.unsafe-type", format!("is {what}"), name));
    let path = path(name, limits)?;
    let kind = match kind {
        EntryType::Directory => Kind::Directory,
        EntryType::Regular if name.ends_with(b"/") => {
            return Err(Refusal::entry("archive.unsafe-path", "is a file with the name of a directory", name));
        }
        EntryType::Regular => Kind::File { executable: mode & 0o100 != 0 },
        EntryType::Symlink => Kind::Link { target: link.unwrap_or_default() },
        EntryType::Link => return refused("a hard link"),
        EntryType::Char | EntryType::Block => return refused("a device"),
        EntryType::Fifo => return refused("a named pipe"),
        EntryType::GNUSparse => return refused("a sparse file"),
        other => return refused(&format!("of the unknown type {:?}", char::from(other.as_byte()))),
    };
    match (&path[..], &kind) {
        ([], Kind::Directory) => return Ok(None),
        ([], _) => return Err(Refusal::entry("archive.unsafe-path", "has no name", name)),
        ([root, ..], _) if root != ROOT => {
            let why = "lies outside kasm_release/: this is not a kasm_release tarball";
            return Err(Refusal::entry("archive.not-a-release", why, name));
        }
        ([_], Kind::File { .. } | Kind::Link { .. }) => {
            return Err(Refusal::entry("archive.not-a-release", "is not a directory", name));
        }
        _ => {}
    }
    if let Kind::Link { target } = &kind
        && !stays_inside(target, path.len() - 1)
    {
        let why = format!("is a symbolic link that leads outside, to {:?}", super::error::shown(target));
        return Err(Refusal::entry("archive.unsafe-link", why, name));
    }
    if size != 0 && !matches!(kind, Kind::File { .. }) {
        return Err(Refusal::entry("archive.broken", "has content although it is no file", name));
    }
    Ok(Some(Entry { path, kind, size }))
}

fn path(name: &[u8], limits: &Limits) -> Result<Vec<Vec<u8>>, Error> {
    let refused = |why: &str| Err(Refusal::entry("archive.unsafe-path", why, name));
    if name.is_empty() {
        return refused("is an entry without a name");
    }
    if name.len() > MAX_NAME {
        return Err(Refusal::entry("archive.long-name", format!("is longer than {MAX_NAME} bytes"), name));
    }
    if name.starts_with(b"/") {
        return refused("is an absolute path");
    }
    if name.iter().any(u8::is_ascii_control) {
        return refused("has control characters in its name");
    }
    let parts = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let path: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
    if path.iter().any(|part| part == b"..") {
        return refused("climbs out with ..");
    }
    if path.iter().any(|part| part.len() > MAX_COMPONENT) {
        return Err(Refusal::entry("archive.long-name", "has a component longer than 255 bytes", name));
    }
    if path.len() > limits.depth {
        return Err(Refusal::entry("archive.too-deep", format!("is deeper than {} directories", limits.depth), name));
    }
    Ok(path)
}

/// True if a link in a directory `depth` levels deep (1: in `kasm_release` itself) stays inside, whatever
/// else is linked there. `..` counts only at the beginning: after a name it would climb from wherever that
/// name leads, if it is a link too.
fn stays_inside(target: &[u8], depth: usize) -> bool {
    if target.is_empty() || target.len() > MAX_NAME || target.starts_with(b"/") || target.contains(&0) {
        return false;
    }
    let mut parts = target.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").peekable();
    let mut climbed = 0;
    while parts.next_if(|part| *part == b"..").is_some() {
        climbed += 1;
    }
    climbed < depth && parts.all(|part| part != b"..")
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
