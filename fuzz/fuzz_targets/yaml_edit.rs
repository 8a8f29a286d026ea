//! Whatever file is edited: the new value reads back exactly, every other value of a section stays, what was
//! added and is taken away again leaves the bytes as they were, and no refusal shows the file.

#![no_main]

use kasm_bootstrap::kasm::yaml::Document;
use kasm_bootstrap::kasm::yaml_edit::{New, put, remove, set};
use kasm_bootstrap::secret::Secret;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The new value, a NUL, the file.
    let Some(at) = bytes.iter().position(|byte| *byte == 0) else { return };
    let (value, yaml) = (String::from_utf8_lossy(&bytes[..at]).into_owned(), &bytes[at + 1..]);
    let secret = Secret::new(value.clone());
    let Ok(before) = Document::read(yaml) else { return };
    for section in before.sections().map(str::to_owned).collect::<Vec<_>>() {
        for key in ["auth_token", "hostnames", "token"] {
            for result in [set(yaml, &section, key, New::Text(&secret)), put(yaml, &section, key, New::Text(&secret))] {
                let new = match result {
                    Ok(new) => new,
                    Err(refusal) => {
                        assert!(refusal.to_string().len() < 100);
                        continue;
                    }
                };
                let after = Document::read(new.expose().as_bytes()).unwrap();
                assert_eq!(after.list(&section, key).first().cloned().unwrap_or_default(), value);
                for other in ["id", "port", "zone"] {
                    assert_eq!(before.list(&section, other), after.list(&section, other));
                }
                if !before.has(&section, key) {
                    let back = remove(new.expose().as_bytes(), &section, key).unwrap();
                    assert!(back.expose().as_bytes() == yaml);
                }
            }
        }
    }
});
