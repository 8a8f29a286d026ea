//! Reading ahead: one thread inflates while another one writes what has been inflated. On a machine with
//! two cores an unpacking then takes as long as the slower of the two, not as long as both.

use super::entry::{self, Entry};
use super::error::Error;
use super::unpack::Limits;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
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
    let (pieces, ready) = sync_channel(QUEUE);
    let (used, spare) = channel();
    let shared = &mut reader;
    thread::scope(|scope| {
        let reading = thread::Builder::new()
            .name("inflate".into())
            .spawn_scoped(scope, move || read_ahead(shared, &pieces, &spare));
        let reading = reading.map_err(|source| Error::Unpack { path: "a thread to inflate it".into(), source })?;
        // Dropped with the walk: a walk that ends early ends the reading, too.
        let walked = entry::walk(Ahead { ready, used, piece: Vec::new(), at: 0 }, limits, visit).map(drop);
        match reading.join() {
            Ok(()) => walked,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    Ok(reader)
}

/// Reads to the end, the first error, or until nobody wants more.
fn read_ahead(reader: &mut impl Read, pieces: &SyncSender<io::Result<Vec<u8>>>, spare: &Receiver<Vec<u8>>) {
    loop {
        let mut piece = spare.try_recv().unwrap_or_default();
        piece.resize(PIECE, 0);
        let (filled, end) = fill(reader, &mut piece);
        piece.truncate(filled);
        // What came before an error is seen before it, as it would be without us.
        let gone = filled > 0 && pieces.send(Ok(piece)).is_err();
        match end {
            None if !gone => {}
            Some(Err(error)) if !gone => {
                // Nobody may want to know any more.
                let _ = pieces.send(Err(error));
                return;
            }
            _ => return,
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
struct Ahead {
    ready: Receiver<io::Result<Vec<u8>>>,
    used: std::sync::mpsc::Sender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            let Ok(next) = self.ready.recv() else { return Ok(0) };
            // After the last piece nobody is there to use this one again.
            let _ = self.used.send(std::mem::replace(&mut self.piece, next?));
            self.at = 0;
        }
        let left = &self.piece[self.at..];
        let read = left.len().min(buffer.len());
        buffer[..read].copy_from_slice(&left[..read]);
        self.at += read;
        Ok(read)
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
