//! No file of a release or an installation makes Kasm's room panic: its YAML, the flags of install.sh; nor
//! does the checksum file beside a tarball.

#![no_main]

use kasm_bootstrap::kasm::script::ScriptFlags;
use kasm_bootstrap::kasm::yaml::Document;
use kasm_bootstrap::release::digest::in_sidecar;
use libfuzzer_sys::fuzz_target;

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
});
