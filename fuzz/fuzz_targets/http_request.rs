//! No bytes make the endpoint's reader of requests panic, and it is all the same in which pieces a head comes.

#![no_main]

use kasm_bootstrap::report::http::request::{parse, whole};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let at_once = whole(bytes, 0);
    let mut seen = 0;
    let mut in_pieces = None;
    while in_pieces.is_none() && seen < bytes.len() {
        let more = (seen + 1 + usize::from(bytes[seen]) % 7).min(bytes.len());
        in_pieces = whole(&bytes[..more], seen);
        seen = more;
    }
    assert_eq!(at_once, in_pieces);
    let head = at_once.map_or(bytes, |length| &bytes[..length]);
    if let Ok(asked) = parse(head) {
        for part in [asked.path, asked.query, asked.accept] {
            let of_head = head.windows(part.len().max(1)).any(|window| window == part.as_bytes());
            assert!(part.is_empty() || part == "/" || of_head);
        }
    }
});
