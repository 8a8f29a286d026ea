//! No file and no environment makes the configuration room panic, and the token shows nowhere. The part
//! before a line `%%` is a configuration file, the part after it is `NAME=VALUE` lines of the environment.

#![no_main]

use kasm_bootstrap::config::{Merged, environment, file};
use kasm_bootstrap::error::Failure;
use libfuzzer_sys::fuzz_target;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// The token in the seeds.
const TOKEN: &str = "Zq7Wk3Rt9Xv5Lm1Pn8Bd";

fuzz_target!(|bytes: &[u8]| {
    let split = bytes.windows(4).position(|window| window == b"\n%%\n");
    let (text, variables) = split.map_or((bytes, &b""[..]), |at| (&bytes[..=at], &bytes[at + 4..]));
    let variables: Vec<(OsString, OsString)> = variables
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let at = line.iter().position(|byte| *byte == b'=')?;
            Some((OsString::from_vec(line[..at].to_vec()), OsString::from_vec(line[at + 1..].to_vec())))
        })
        .collect();

    let layers = [file::layer_from_bytes(Path::new("/etc/x.toml"), text), environment::layer(&variables)];
    let mut said = String::new();
    for layer in &layers {
        said.push_str(&format!("{layer:?} {:?}", layer.warnings));
        for error in &layer.errors {
            said.push_str(&format!("{:?}", Failure::from(error.clone())));
        }
    }
    let merged = Merged::of(&layers);
    said.push_str(&format!("{:?}", merged.shown()));
    match merged.understand() {
        Ok(understood) => {
            assert!(!understood.intent.release.sources.is_empty());
            said.push_str(&format!("{understood:?}"));
        }
        Err(error) => said.push_str(&format!("{:?}", Failure::from(error))),
    }
    if let Err(error) = merged.known() {
        said.push_str(&format!("{:?}", Failure::from(error)));
    }
    // Where the fuzzer puts it into another value too, that one may be shown.
    let is_token = [&merged.secret("manager.token"), &merged.secret("guac.registration_token")]
        .iter()
        .any(|secret| matches!(secret, Some(Ok(secret)) if secret.expose() == TOKEN));
    if is_token && bytes.windows(TOKEN.len()).filter(|window| *window == TOKEN.as_bytes()).count() == 1 {
        assert!(!said.contains(TOKEN), "{said}");
    }
});
