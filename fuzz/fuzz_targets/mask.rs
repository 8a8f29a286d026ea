//! Whatever stands around it, a known secret does not get past the mask, and neither does one that a name announces or
//! that stands between the ends of a private key. `cargo +nightly fuzz run mask` in this repository.

#![no_main]

use kasm_bootstrap::secret::Secret;
use kasm_bootstrap::token::{MASK, Masker, announced};
use libfuzzer_sys::fuzz_target;

const KNOWN: &str = "Zq7Wk3Rt9Xv5Lm1Pn8Bd";
const UNKNOWN: &str = "Hj4Ys6Uc2Ie0Ob8Ng3Vf";

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    // Where nothing announces it, nobody can know it for a secret.
    if text.contains(UNKNOWN) {
        return;
    }
    let masker = Masker::new(&[Secret::new(KNOWN)]).thorough();
    let (before, behind) =
        text.split_at(text.len() / 2 - (0..4).find(|at| text.is_char_boundary(text.len() / 2 - at)).unwrap_or(0));
    for whole in [format!("{before}{KNOWN}{behind}"), format!("{before}{KNOWN}")] {
        assert!(!masker.mask(&whole).contains(KNOWN));
    }
    for form in [
        format!("{text}\npassword: \"{UNKNOWN}\"\n{text}"),
        format!("{text}\nDB_PASSWORD={UNKNOWN}\n{text}"),
        format!("{text}\n-----BEGIN PRIVATE KEY-----\n{UNKNOWN}\n-----END PRIVATE KEY-----\n{text}"),
    ] {
        assert!(!masker.mask(&form).contains(UNKNOWN));
    }
    // Nothing is added but the mask.
    let masked = masker.mask(&text);
    assert!(masked.len() <= text.len() + masked.matches(MASK).count() * MASK.len());
    announced(&text);
});
