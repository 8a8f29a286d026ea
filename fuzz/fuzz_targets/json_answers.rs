//! No answer and no file in JSON makes its reader panic, and what was read can be written and read again:
//! the manager's health check and its answer to a check-in, Docker's containers, cloud-init's records, the journal, the receipt, the health
//! document. A certificate, which is no JSON, is read here too.

#![no_main]

use kasm_bootstrap::health::Health;
use kasm_bootstrap::kasm::receipt::Receipt;
use kasm_bootstrap::kasm::{checkin, docker, manager};
use kasm_bootstrap::machine::{cloud_init, instance};
use kasm_bootstrap::record;
use kasm_bootstrap::report::{Status, lines};
use kasm_bootstrap::step::journal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(came) = manager::came_instead(bytes) {
        assert!(came.chars().count() < 120 && !came.contains(|c: char| c.is_control()));
    }
    if let Some((said, _)) = checkin::objection(200, bytes) {
        assert!(said.chars().count() <= 200 && !said.contains(|c: char| c.is_control()));
    }
    for container in docker::parse(bytes).into_iter().flatten() {
        assert!(!container.describe().is_empty());
        container.is_up();
    }
    for session in docker::parse_sessions(bytes).into_iter().flatten() {
        assert!(!session.name.contains(|c: char| c.is_control()));
    }
    drop(docker::parse_details(bytes));
    manager::Validity::of(bytes);
    if let Ok(health) = serde_json::from_slice::<Health>(bytes) {
        serde_json::to_vec(&health).unwrap();
    }
    assert!(docker::demultiplex(bytes).len() <= 3 << 20);
    cloud_init::parse(bytes);
    if let Some(found) = instance::parse_instance_data(bytes) {
        assert_eq!(instance::Instance::parse(&found.to_string()), Some(found));
    }
    if let Ok(receipt) = record::parse::<Receipt>(bytes) {
        assert_eq!(record::parse::<Receipt>(&serde_json::to_vec(&receipt).unwrap()).unwrap(), receipt);
    }
    let entries = journal::parse(bytes);
    let mut text = Vec::new();
    for entry in &entries {
        lines::sentence(&entry.event);
        serde_json::to_writer(&mut text, entry).unwrap();
        text.push(b'\n');
    }
    assert_eq!(journal::parse(&text), entries);
    journal::earlier(&entries, "install", "0011223344556677");
    for at_work in [false, true] {
        let status = Status::of(&entries, at_work);
        status.text();
        serde_json::to_value(&status).unwrap();
    }
});
