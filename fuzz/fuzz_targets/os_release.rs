//! No text of the machine's makes the machine room panic: os-release, mountinfo.

#![no_main]

use kasm_bootstrap::machine::{mounts, os_release};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let os = os_release::parse(&text);
    assert!(!os.id.is_empty() && !os.name().is_empty());
    os.is_like(&["debian", "rhel"]);
    let again = format!("ID='{}'\n", os.id);
    if !os.id.contains(['\'', '\\', '\n', '\r']) {
        assert_eq!(os_release::parse(&again).id, os.id);
    }
    mounts::parse_mountinfo(&text);
});
