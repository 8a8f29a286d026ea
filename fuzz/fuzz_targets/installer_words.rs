//! No output of an installer makes its supervisor panic, no secret gets through, lines are clean, and it
//! makes no difference how the pipe cut the bytes. The first byte says how.

#![no_main]

use kasm_bootstrap::kasm::classify::decisive;
use kasm_bootstrap::kasm::fuzzing::output;
use kasm_bootstrap::observe::Observer;
use kasm_bootstrap::secret::Secret;
use kasm_bootstrap::token::Masker;
use libfuzzer_sys::fuzz_target;
use std::sync::Mutex;

/// The token in the seeds.
const TOKEN: &str = "Zq7Wk3Rt9Xv5Lm1Pn8Bd";
/// Below this no line is so long that it has to be cut.
const SHORT: usize = 4096;

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Observer for Lines {
    fn output(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((stride, bytes)) = bytes.split_first() else { return };
    let masker = Masker::new([&Secret::new(TOKEN)]);
    let mask = |text: &str| masker.mask(text).into_owned();
    let pass = |pieces: &[&[u8]]| {
        let lines = Lines::default();
        let (tail, findings) = output(pieces, &mask, TOKEN.len(), &lines);
        (lines.0.into_inner().unwrap(), tail, findings)
    };
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(*stride) * 8 + 1).collect();
    let (lines, tail, findings) = pass(&pieces);
    for text in lines.iter().chain([&tail]).chain(findings.iter().map(|finding| &finding.line)) {
        assert!(!text.contains(TOKEN));
        assert!(!text.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n')));
    }
    assert!(lines.iter().all(|line| !line.contains('\n') && line.len() <= 8192));
    assert!(tail.len() <= 4096);
    decisive(&findings);
    if bytes.len() <= SHORT {
        assert_eq!((lines, tail, findings), pass(&[bytes]));
    }
});
