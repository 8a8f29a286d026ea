//! No user-data makes the unpacker panic or lets it grow out of its bounds, and what comes out unpacks to itself.

#![no_main]

use kasm_bootstrap::machine::user_data::decode::{Decoded, MOST_IN, MOST_OUT, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Decoded::Ours(text)) = decode(bytes) else { return };
    assert!(bytes.len() <= MOST_IN && text.expose().len() <= MOST_OUT);
    assert!(!format!("{text:?}").contains("kasm"));
    let again = text.expose().as_bytes();
    if again.starts_with(b"#kasm-bootstrap\n") && again.len() <= MOST_IN {
        assert_eq!(decode(again), Ok(Decoded::Ours(text.clone())));
    }
});
