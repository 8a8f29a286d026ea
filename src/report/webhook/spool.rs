//! What is still to be told, on the disk: one file an event, so that neither a restart nor a power cut loses it.
//!
//! Every process puts its own events in; only the one that holds the lock sends. A file's name says all that is known
//! without reading it: its place in the order, the event's identifier and its kind.

use crate::durable;
use crate::paths::Paths;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// So many events may wait.
pub const MOST: usize = 256;
/// So many bytes may wait.
pub const MOST_BYTES: u64 = 1 << 20;
/// No event is longer, in bytes.
pub const LONGEST: u64 = 64 * 1024;

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something on the way.
    Event,
    /// How something ended: what is wanted most.
    End,
    /// The form that cloud-init's `phone_home` sends.
    PhoneHome,
}

impl Kind {
    const ALL: [(&'static str, Kind); 3] =
        [("event", Kind::Event), ("end", Kind::End), ("phone-home", Kind::PhoneHome)];

    fn as_str(self) -> &'static str {
        match self {
            Kind::Event => "event",
            Kind::End => "end",
            Kind::PhoneHome => "phone-home",
        }
    }

    /// True for what is given up last.
    pub fn is_final(self) -> bool {
        self != Kind::Event
    }

    /// What its body is (RFC 9110, 8.3).
    pub fn content_type(self) -> &'static str {
        match self {
            Kind::Event | Kind::End => "application/json",
            Kind::PhoneHome => "application/x-www-form-urlencoded",
        }
    }
}

/// One event that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its place in the order.
    pub place: u64,
    /// Its identifier: 32 hexadecimal digits.
    pub id: String,
    /// What it is.
    pub kind: Kind,
}

impl Item {
    fn name(&self) -> String {
        format!("{:016}-{}.{}", self.place, self.id, self.kind.as_str())
    }

    /// From a file's name; `None` for anything else that lies there.
    pub fn parse(name: &str) -> Option<Item> {
        let (place, rest) = name.split_once('-')?;
        let (id, kind) = rest.split_once('.')?;
        let digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
        let (_, kind) = Kind::ALL.into_iter().find(|(word, _)| *word == kind)?;
        let place = place.parse().ok().filter(|_| place.len() == 16 && place.bytes().all(|b| b.is_ascii_digit()))?;
        digits(id, 32).then(|| Item { place, id: id.to_owned(), kind })
    }
}

/// The directory.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    lock: Option<File>,
}

impl Spool {
    /// The spool; nothing is made yet.
    pub fn new(paths: &Paths) -> Spool {
        Spool { directory: paths.spool_dir(), lock: None }
    }

    /// What waits, in its order. No spool: nothing.
    pub fn list(&self) -> Vec<Item> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let mut items: Vec<Item> =
            entries.flatten().filter_map(|entry| Item::parse(entry.file_name().to_str()?)).collect();
        items.sort_by(|a, b| (a.place, &a.id).cmp(&(b.place, &b.id)));
        items
    }

    /// Puts an event in, behind all others; it survives a power cut then. Returns how many others had to go for it:
    /// the oldest first, ends last.
    ///
    /// # Errors
    /// It is not there: the disk is full or broken.
    pub fn push(&self, id: &str, kind: Kind, body: &[u8]) -> io::Result<usize> {
        durable::private_directory(&self.directory)?;
        let items = self.list();
        let place = items.last().map_or(0, |last| last.place.saturating_add(1));
        let item = Item { place, id: id.to_owned(), kind };
        let dropped = self.make_room(items, body.len() as u64);
        durable::write(&self.directory.join(item.name()), body, 0o600)?;
        Ok(dropped)
    }

    fn make_room(&self, mut items: Vec<Item>, length: u64) -> usize {
        let size = |item: &Item| fs::metadata(self.path(item)).map_or(0, |data| data.len());
        let mut bytes = items.iter().map(size).sum::<u64>().saturating_add(length);
        let mut dropped = 0;
        while !items.is_empty() && (items.len() >= MOST || bytes > MOST_BYTES) {
            let at = items.iter().position(|item| !item.kind.is_final()).unwrap_or(0);
            let item = items.remove(at);
            bytes = bytes.saturating_sub(size(&item));
            // What another process has sent and removed meanwhile was not lost.
            if fs::remove_file(self.path(&item)).is_ok() {
                dropped += 1;
            }
        }
        dropped
    }

    /// An event's body, byte for byte as it was put in.
    ///
    /// # Errors
    /// It cannot be read, is gone, or is longer than any event.
    pub fn body(&self, item: &Item) -> io::Result<Vec<u8>> {
        durable::read(&self.path(item), LONGEST)
    }

    /// Takes an event out: it was told, or nobody wants it.
    ///
    /// # Errors
    /// It may still be there.
    pub fn remove(&self, item: &Item) -> io::Result<()> {
        durable::remove(&self.path(item)).map(drop)
    }

    /// True if this process may send: it holds the lock, or has just taken it. The lock is the kernel's and ends with
    /// the process.
    pub fn take(&mut self) -> bool {
        if self.lock.is_none() {
            let mut options = OpenOptions::new();
            options.write(true).create(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK);
            let file = options.open(self.directory.join("lock")).ok();
            self.lock = file.filter(|file| file.try_lock().is_ok());
            if self.lock.is_some() {
                // Whoever was killed while he wrote has left half a file.
                durable::sweep(&self.directory, None);
            }
        }
        self.lock.is_some()
    }

    /// Lets others send.
    pub fn release(&mut self) {
        self.lock = None;
    }

    fn path(&self, item: &Item) -> PathBuf {
        self.directory.join(item.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    fn id(number: usize) -> String {
        format!("{number:032x}")
    }

    fn spool() -> (tempfile::TempDir, Spool) {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(&Paths::below(directory.path()));
        (directory, spool)
    }

    #[test]
    fn what_is_put_in_comes_out_as_it_was_and_is_for_roots_eyes_alone() {
        let (_directory, spool) = spool();
        assert!(spool.list().is_empty());
        spool.push(&id(2), Kind::Event, b"{\"a\": 1}").unwrap();
        spool.push(&id(1), Kind::End, b"\xff\x00").unwrap();
        let items = spool.list();
        assert_eq!(
            items.iter().map(|item| (item.id.clone(), item.kind)).collect::<Vec<_>>(),
            [(id(2), Kind::Event), (id(1), Kind::End)]
        );
        assert_eq!(spool.body(&items[1]).unwrap(), b"\xff\x00");
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(spool.directory.clone()), mode(spool.path(&items[0]))), (0o700, 0o600));
        spool.remove(&items[0]).unwrap();
        spool.remove(&items[0]).unwrap();
        assert_eq!(spool.list(), [items[1].clone()]);
    }

    #[test]
    fn a_full_spool_gives_up_what_is_oldest_and_no_end_before_all_else() {
        let (_directory, spool) = spool();
        spool.push(&id(0), Kind::End, b"the end").unwrap();
        for number in 1..MOST {
            assert_eq!(spool.push(&id(number), Kind::Event, b"x").unwrap(), 0);
        }
        assert_eq!(spool.push(&id(MOST), Kind::Event, b"x").unwrap(), 1);
        let items = spool.list();
        assert_eq!(items.len(), MOST);
        assert_eq!((&items[0].id, &items[1].id), (&id(0), &id(2)));
    }

    #[test]
    fn a_spool_has_a_bound_in_bytes_too() {
        let (_directory, spool) = spool();
        let large = vec![b'x'; 300 * 1024];
        let dropped: usize = (0..5).map(|number| spool.push(&id(number), Kind::End, &large).unwrap()).sum();
        assert_eq!((dropped, spool.list().len()), (2, 3));
    }

    #[test]
    fn only_one_may_send_and_after_him_another() {
        let (directory, mut spool) = spool();
        spool.push(&id(0), Kind::Event, b"x").unwrap();
        let mut other = Spool::new(&Paths::below(directory.path()));
        assert!(spool.take() && spool.take() && !other.take());
        spool.release();
        assert!(other.take() && !spool.take());
        assert_eq!(other.list().len(), 1);
    }

    proptest! {
        #[test]
        fn only_names_of_ours_are_events(name in "[0-9a-f.-]{0,60}|[0-9]{16}-[0-9a-f]{32}\\.(event|end|phone-home|new)") {
            if let Some(item) = Item::parse(&name) {
                prop_assert_eq!(item.name(), name);
            }
        }
    }
}
