//! Ways into this room's inside for the fuzz targets. Not part of the interface: nothing else calls them.

use super::classify::Finding;
use super::output::{Log, Output};
use super::run::Mask;
use crate::observe::Observer;

/// An installer's output, read in these pieces: lines go to the observer, masked; returns the last words
/// and the findings.
pub fn output(
    pieces: &[&[u8]],
    mask: &Mask<'_>,
    longest_secret: usize,
    observer: &dyn Observer,
) -> (String, Vec<Finding>) {
    let mut output = Output::new(Log::nowhere(), mask, longest_secret, observer);
    for piece in pieces {
        output.push(piece);
    }
    let summary = output.finish();
    (summary.tail, summary.findings)
}
