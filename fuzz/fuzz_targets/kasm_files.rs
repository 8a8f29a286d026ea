//! No file of a release or an installation makes Kasm's room panic: its YAML, the flags of install.sh; nor
//! do the checksum file and the signature beside a tarball, or a minisign key.

#![no_main]

use kasm_bootstrap::kasm::script::ScriptFlags;
use kasm_bootstrap::kasm::yaml::Document;
use kasm_bootstrap::release::digest::in_sidecar;
use kasm_bootstrap::release::fuzzing::is_of_key;
use kasm_bootstrap::release::signature::Key;
use libfuzzer_sys::fuzz_target;

/// The one in minisign's documentation.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

fuzz_target!(|bytes: &[u8]| {
    if let Ok(document) = Document::read(bytes) {
        for section in document.sections().map(str::to_owned).collect::<Vec<_>>() {
            document.text(&section, "token");
            document.secret(&section, "token");
            document.port(&section, "public_port");
            document.list(&section, "hosts");
        }
    }
    let flags = ScriptFlags::read(bytes);
    flags.knows("--role");
    in_sidecar(bytes, "kasm_release_1.19.0.tar.gz");
    let key: Key = KEY.parse().unwrap();
    is_of_key(&key, bytes);
    // Most texts are no key.
    drop(String::from_utf8_lossy(bytes).parse::<Key>());
});
