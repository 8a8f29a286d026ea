//! No text makes the token room panic, no refusal shows the token, and a token that one kind accepts as a
//! JSON Web Token all kinds accept. `cargo +nightly fuzz run token` in this repository.

#![no_main]

use kasm_bootstrap::error::Failure;
use kasm_bootstrap::secret::Secret;
use kasm_bootstrap::token::{self, Context, Form, Format, Kind, Masker, PublicKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // A key that cannot be read is an answer too.
    let _ = PublicKey::from_pem(bytes);
    let Ok(text) = str::from_utf8(bytes) else { return };
    let secret = Secret::new(text);
    let context = Context::at(jiff::Timestamp::UNIX_EPOCH);
    // The fuzzer learns our messages' own words; those are no secrets.
    let has = |class: fn(&u8) -> bool| bytes.iter().any(class);
    let is_tellable = has(u8::is_ascii_digit)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && !text.contains(' ')
        && text.len() >= token::MIN_OPAQUE;
    let mut forms = Vec::new();
    for kind in [Kind::Manager, Kind::Registration, Kind::CheckIn, Kind::Auth] {
        match token::check(kind, Format::Auto, &secret, &context) {
            Ok(accepted) => forms.push(accepted.form),
            Err(error) => {
                let failure = Failure::from(error);
                let may_show = failure.reason == "token.placeholder" || !is_tellable;
                assert!(may_show || !failure.message.contains(text) && !failure.help.contains(text));
            }
        }
    }
    assert!(!forms.contains(&Form::Jwt) || forms == [Form::Jwt; 4]);
    let masked = Masker::new([&secret]).mask(text).into_owned();
    assert!(text.len() < token::SHORTEST_MASKED || token::MASK.contains(text) || !masked.contains(text));
});
