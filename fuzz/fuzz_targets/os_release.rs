//! No text of the machine's makes the machine room panic: os-release, mountinfo, what `/proc` tells of its
//! pressure, the process id in a lock file.

#![no_main]

use kasm_bootstrap::machine::{mounts, os_release, pressure, reboot};
use kasm_bootstrap::packages::locks;
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
    if let Some(memory) = pressure::parse_meminfo(&text) {
        assert!(memory.available <= memory.total && memory.swap_free <= memory.swap_total);
    }
    pressure::parse_loadavg(&text);
    pressure::parse_uptime(&text);
    pressure::parse_counter(&text, "oom_kill");
    reboot::packages(&text);
    assert!(locks::parse_pid(bytes).is_none_or(|pid| pid > 0 && i32::try_from(pid).is_ok()));
});
