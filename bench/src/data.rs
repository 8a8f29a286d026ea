//! Releases to measure with: the size and the mixture of a real one, made on the spot, the same bytes on
//! every machine.

use crate::Fallible;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// What a release for measuring is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// As a real one: some thousands of files of all sizes, text, code, tables and pictures; about 3:1.
    Many,
    /// The same bytes in one file.
    Big,
    /// So many MB that no compressor can shorten, in a few files: for looking at memory.
    Weight(u64),
}

/// A release on the disk.
pub struct Release {
    /// The tarball.
    pub tar_gz: PathBuf,
    /// The same, not compressed.
    pub tar: Option<PathBuf>,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// Bytes of the tarball.
    pub compressed: u64,
    /// Bytes in files.
    pub unpacked: u64,
    /// Entries of the archive.
    pub entries: u64,
}

/// How many bytes the two usual shapes unpack to.
const UNPACKED: u64 = 450_000_000;
const FILES: u64 = 4_000;
const DIRECTORIES: u64 = 300;
/// Bytes are made in pieces of this size.
const PIECE: usize = 256 * 1024;

/// Makes one below `directory`.
pub fn make(shape: Shape, directory: &Path, scale: f64) -> Fallible<Release> {
    let name = match shape {
        Shape::Many => "many".to_owned(),
        Shape::Big => "big".to_owned(),
        Shape::Weight(megabytes) => format!("weight-{megabytes}"),
    };
    let tar_gz = directory.join(format!("{name}.tar.gz"));
    let level = if matches!(shape, Shape::Weight(_)) { Compression::fast() } else { Compression::new(6) };
    let gzip = GzEncoder::new(BufWriter::with_capacity(PIECE, File::create(&tar_gz)?), level);
    let mut archive = tar::Builder::new(gzip);
    let sizes = sizes(shape, scale);
    let mut maker = Maker::new();
    let mut entries = 1;
    add(&mut archive, tar::EntryType::Directory, "kasm_release/", 0o755, 0, io::empty())?;
    let script = b"#!/bin/bash\necho 'made for measuring'\n";
    add(&mut archive, tar::EntryType::Regular, "kasm_release/install.sh", 0o755, script.len() as u64, &script[..])?;
    entries += 1;
    let mut last = u64::MAX;
    for (number, &(size, kind)) in sizes.iter().enumerate() {
        let place = number as u64 * DIRECTORIES / sizes.len() as u64;
        let below = format!("kasm_release/www/part-{place:03}/");
        if place != last {
            if entries == 2 {
                add(&mut archive, tar::EntryType::Directory, "kasm_release/www/", 0o755, 0, io::empty())?;
                entries += 1;
            }
            add(&mut archive, tar::EntryType::Directory, &below, 0o755, 0, io::empty())?;
            last = place;
            entries += 1;
        }
        let content = Content { maker: &mut maker, kind, left: size, ready: Vec::new(), at: 0 };
        add(&mut archive, tar::EntryType::Regular, &format!("{below}file-{number:05}.bin"), 0o644, size, content)?;
        entries += 1;
    }
    archive.into_inner()?.finish()?.flush()?;

    let sha256 = Sha256::digest(std::fs::read(&tar_gz)?).iter().map(|byte| format!("{byte:02x}")).collect();
    let compressed = std::fs::metadata(&tar_gz)?.len();
    let tar = match shape {
        Shape::Weight(_) => None,
        Shape::Many | Shape::Big => {
            let plain = directory.join(format!("{name}.tar"));
            let mut inflated = GzDecoder::new(BufReader::with_capacity(PIECE, File::open(&tar_gz)?));
            let mut written = BufWriter::with_capacity(PIECE, File::create(&plain)?);
            io::copy(&mut inflated, &mut written)?;
            written.flush()?;
            Some(plain)
        }
    };
    let unpacked = sizes.iter().map(|(size, _)| size).sum();
    Ok(Release { tar_gz, tar, sha256, compressed, unpacked, entries })
}

/// Inflates a file and throws the bytes away: what our own inflating costs at least.
pub fn inflate(path: &Path) -> Fallible<()> {
    let compressed = BufReader::with_capacity(PIECE, File::open(path)?);
    let mut inflated = flate2::bufread::GzDecoder::new(compressed);
    let mut buffer = vec![0; PIECE];
    while inflated.read(&mut buffer)? > 0 {}
    Ok(())
}

fn add<W: Write>(
    archive: &mut tar::Builder<W>,
    kind: tar::EntryType,
    path: &str,
    mode: u32,
    size: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(1_700_000_000);
    archive.append_data(&mut header, path, content)
}

/// What a file's bytes are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Words, the frequent ones often.
    Text,
    /// Lines that are much like each other.
    Code,
    /// Records with fields that change little.
    Table,
    /// Pictures, fonts, archives: no compressor shortens them.
    Packed,
    /// All of these in turn.
    Mixed,
}

/// In this proportion, which makes about 3:1.
const MIXTURE: [Kind; 11] = [
    Kind::Text,
    Kind::Code,
    Kind::Packed,
    Kind::Table,
    Kind::Code,
    Kind::Text,
    Kind::Code,
    Kind::Text,
    Kind::Code,
    Kind::Code,
    Kind::Text,
];

/// The files' sizes and kinds.
fn sizes(shape: Shape, scale: f64) -> Vec<(u64, Kind)> {
    let unpacked = (UNPACKED as f64 * scale) as u64;
    match shape {
        Shape::Big => vec![(unpacked, Kind::Mixed)],
        Shape::Weight(megabytes) => vec![(megabytes * 125_000, Kind::Packed); 8],
        Shape::Many => {
            // Many small files and few large ones, as everywhere: two decades above and below the middle.
            let mut random = Random(7);
            let files = (FILES as f64 * scale.max(0.01)) as usize;
            let weights: Vec<f64> = (0..files).map(|_| 10_f64.powf(random.below(4000) as f64 / 1000.0 - 2.0)).collect();
            let whole: f64 = weights.iter().sum();
            let mix = MIXTURE.iter().cycle();
            weights.iter().zip(mix).map(|(w, kind)| ((w / whole * unpacked as f64) as u64, *kind)).collect()
        }
    }
}

/// xorshift64: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }

    /// Small numbers much more often than large ones.
    fn rank(&mut self, limit: usize) -> usize {
        let share = self.below(1 << 20) as f64 / (1 << 20) as f64;
        ((limit as f64).powf(share) as usize).saturating_sub(1).min(limit - 1)
    }
}

/// Makes bytes of each kind.
struct Maker {
    random: Random,
    words: Vec<String>,
    turn: usize,
}

impl Maker {
    fn new() -> Maker {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let letters = b"etaoinshrdlucmfwypvbgkjqxz";
        let word = |random: &mut Random| {
            let length = 2 + random.below(9);
            (0..length).map(|_| char::from(letters[random.rank(letters.len())])).collect::<String>()
        };
        let words = (0..1200).map(|_| word(&mut random)).collect();
        Maker { random, words, turn: 0 }
    }

    fn word(&mut self) -> usize {
        self.random.rank(self.words.len())
    }

    fn piece(&mut self, kind: Kind, bytes: &mut Vec<u8>) {
        bytes.clear();
        match kind {
            Kind::Mixed => {
                self.turn += 1;
                self.piece(MIXTURE[self.turn % MIXTURE.len()], bytes);
            }
            Kind::Packed => {
                while bytes.len() < PIECE {
                    bytes.extend_from_slice(&self.random.next().to_le_bytes());
                }
            }
            Kind::Text => {
                while bytes.len() < PIECE {
                    let word = self.word();
                    bytes.extend_from_slice(self.words[word].as_bytes());
                    bytes.push(if self.random.below(12) == 0 { b'\n' } else { b' ' });
                }
            }
            Kind::Code => {
                while bytes.len() < PIECE {
                    let (name, value, line) = (self.word(), self.word(), self.random.rank(40));
                    let (name, value) = (&self.words[name], &self.words[value]);
                    let text = match line % 4 {
                        0 => format!("    this.{name} = options.{value} || defaults[{line}];\n"),
                        1 => format!("  if (typeof {name} !== 'undefined') {{ return {value}({line}); }}\n"),
                        2 => format!("export function {name}(element, {value}) {{\n"),
                        _ => format!("<div class=\"{name} panel-{line}\" data-{value}=\"true\"></div>\n"),
                    };
                    bytes.extend_from_slice(text.as_bytes());
                }
            }
            Kind::Table => {
                let mut number = self.random.below(1 << 30) as u32;
                while bytes.len() < PIECE {
                    number = number.wrapping_add(self.random.below(64) as u32);
                    bytes.extend_from_slice(&number.to_le_bytes());
                    bytes.extend_from_slice(&(self.random.rank(256) as u32).to_le_bytes());
                    bytes.extend_from_slice(&[0, 0, 1, self.random.below(256) as u8, 0xff, 0, 0, 0]);
                }
            }
        }
        bytes.truncate(PIECE);
    }
}

/// A file's content, as it is read.
struct Content<'a> {
    maker: &'a mut Maker,
    kind: Kind,
    left: u64,
    ready: Vec<u8>,
    at: usize,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() {
            self.maker.piece(self.kind, &mut self.ready);
            self.at = 0;
        }
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = wanted.min(self.ready.len() - self.at);
        buffer[..read].copy_from_slice(&self.ready[self.at..self.at + read]);
        self.at += read;
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_for_measuring_compresses_as_a_real_one_does() {
        let directory = tempfile::tempdir().unwrap();
        let made = make(Shape::Many, directory.path(), 0.02).unwrap();
        let ratio = made.unpacked as f64 / made.compressed as f64;
        assert!((2.7..3.4).contains(&ratio), "{ratio}");
        assert!(made.entries > 80, "{}", made.entries);
        inflate(&made.tar_gz).unwrap();
    }

    #[test]
    fn weight_is_what_was_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let made = make(Shape::Weight(1), directory.path(), 1.0).unwrap();
        assert_eq!(made.unpacked, 1_000_000);
        assert!(made.compressed > 990_000, "{}", made.compressed);
    }
}
