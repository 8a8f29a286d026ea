//! Reading ahead: one thread inflates while another one writes what has been inflated. On a machine with
//! two cores an unpacking then takes as long as the slower of the two, not as long as both.

use super::entry::{self, Entry};
use super::error::Error;
use super::unpack::Limits;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How much is handed over at once. It should still be in the processor's cache when it is written.
const PIECE: usize = 128 * 1024;
/// How many pieces may wait. So many, and the two in use, are all the memory this takes.
const QUEUE: usize = 4;

/// [`entry::walk`], with the reader on a thread of its own. `visit` stays on this one.
pub(super) fn walk<R: Read + Send>(
    mut reader: R,
    limits: &Limits,
    visit: &mut dyn FnMut(&Entry, &mut dyn Read) -> Result<(), Error>,
) -> Result<R, Error> {
    let queue = Queue::default();
    let (shared, theirs) = (&mut reader, &queue);
    thread::scope(|scope| {
        let reading =
            thread::Builder::new().name("inflate".into()).spawn_scoped(scope, move || read_ahead(shared, theirs));
        let reading = reading.map_err(|source| Error::Unpack { path: "a thread to inflate it".into(), source })?;
        // Dropped with the walk: a walk that ends early ends the reading, too.
        let walked = entry::walk(Ahead { queue: &queue, piece: Vec::new(), at: 0 }, limits, visit).map(drop);
        match reading.join() {
            Ok(()) => walked,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    Ok(reader)
}

/// Pieces on their way, and empty ones on their way back. A small part of what the standard library's
/// channels can do, and a small part of their code.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ready: VecDeque<io::Result<Vec<u8>>>,
    spare: Vec<Vec<u8>>,
    /// Nothing more comes, or nobody wants more.
    over: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, condition: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.lock(), condition).unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty piece, once there is room for another; `None` if nobody wants one.
    fn empty(&self) -> Option<Vec<u8>> {
        let mut state = self.wait_while(|state| !state.over && state.ready.len() >= QUEUE);
        if state.over { None } else { Some(state.spare.pop().unwrap_or_default()) }
    }

    fn put(&self, piece: io::Result<Vec<u8>>) {
        self.lock().ready.push_back(piece);
        self.changed.notify_one();
    }

    /// The next piece, in exchange for the last one; `None` after the end.
    fn next(&self, used: Vec<u8>) -> Option<io::Result<Vec<u8>>> {
        let mut state = self.wait_while(|state| !state.over && state.ready.is_empty());
        state.spare.push(used);
        self.changed.notify_one();
        state.ready.pop_front()
    }

    fn end(&self) {
        self.lock().over = true;
        self.changed.notify_one();
    }
}

/// Ends the queue however its holder ends: the other side must not wait for it.
struct Ends<'a>(&'a Queue);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Reads to the end, the first error, or until nobody wants more.
fn read_ahead(reader: &mut impl Read, queue: &Queue) {
    let _ends = Ends(queue);
    while let Some(mut piece) = queue.empty() {
        piece.resize(PIECE, 0);
        let (filled, end) = fill(reader, &mut piece);
        piece.truncate(filled);
        // What came before an error is seen before it, as it would be without us.
        queue.put(Ok(piece));
        match end {
            None => {}
            Some(Ok(())) => return,
            Some(Err(error)) => return queue.put(Err(error)),
        }
    }
}

/// Fills a piece as far as it goes: how far, and whether that was the end, or an error.
fn fill(reader: &mut impl Read, piece: &mut [u8]) -> (usize, Option<io::Result<()>>) {
    let mut filled = 0;
    while filled < piece.len() {
        match reader.read(&mut piece[filled..]) {
            Ok(0) => return (filled, Some(Ok(()))),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(Err(error))),
        }
    }
    (filled, None)
}

/// The other end: what was read ahead, in order.
struct Ahead<'a> {
    queue: &'a Queue,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Ahead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            let used = std::mem::take(&mut self.piece);
            self.at = 0;
            match self.queue.next(used) {
                Some(next) => self.piece = next?,
                None => return Ok(0),
            }
        }
        let left = &self.piece[self.at..];
        let read = left.len().min(buffer.len());
        buffer[..read].copy_from_slice(&left[..read]);
        self.at += read;
        Ok(read)
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        self.queue.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in odd pieces, then an error or the end.
    struct Odd<'a>(&'a [u8], usize, Option<io::ErrorKind>);

    impl Read for Odd<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1 * 7 % 4099 + 1;
            let read = self.1.min(self.0.len()).min(buffer.len());
            buffer[..read].copy_from_slice(&self.0[..read]);
            self.0 = &self.0[read..];
            match (read, self.2) {
                (0, Some(kind)) => Err(kind.into()),
                (read, _) => Ok(read),
            }
        }
    }

    fn archive(bytes: usize) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes as u64);
        let content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        archive.append_data(&mut header, "kasm_release/file", content.as_slice()).unwrap();
        archive.into_inner().unwrap()
    }

    #[test]
    fn what_was_read_ahead_is_what_was_there_in_order() {
        let bytes = archive(3 * PIECE + 17);
        let mut seen = Vec::new();
        let left = walk(Odd(&bytes, 1, None), &Limits::default(), &mut |_, content| {
            content.read_to_end(&mut seen).map(drop).map_err(entry::broken)
        });
        assert!(left.unwrap().0.is_empty());
        assert_eq!(seen.len(), 3 * PIECE + 17);
        assert!(seen.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
    }

    #[test]
    fn an_error_of_the_reader_is_an_error_of_the_walk() {
        let bytes = archive(3 * PIECE);
        let cut = Odd(&bytes[..2 * PIECE], 1, Some(io::ErrorKind::UnexpectedEof));
        let error = walk(cut, &Limits::default(), &mut |_, content| {
            io::copy(content, &mut io::sink()).map(drop).map_err(entry::broken)
        });
        assert_eq!(crate::error::Explain::reason(&error.err().unwrap()), "archive.truncated");
    }

    #[test]
    fn a_walk_that_ends_early_ends_the_reading() {
        let bytes = archive(40 * PIECE);
        let refused = || super::super::error::Refusal::archive("archive.broken", "enough");
        let error = walk(Odd(&bytes, 1, None), &Limits::default(), &mut |_, _| Err(refused()));
        assert!(error.is_err());
    }
}
