//! `token check` as operators and scripts meet it, and our verdicts beside PyJWT's.

use kasm_bootstrap::error::Explain;
use kasm_bootstrap::secret::Secret;
use kasm_bootstrap::token::{self, Context, Format, Kind, PublicKey};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const NOW: &str = "2026-01-01T00:00:00Z";
const OPAQUE: &str = "Zq7Rk2mXw9Lp4Tn8Vb3s";

#[derive(serde::Deserialize)]
struct Table {
    now: i64,
    leeway: u64,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    token: String,
    key: Option<String>,
    verdicts: BTreeMap<String, Option<Verdict>>,
}

#[derive(serde::Deserialize)]
struct Verdict {
    message: String,
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/token").join(name)
}

fn table() -> Table {
    serde_json::from_slice(&std::fs::read(data("pyjwt.json")).unwrap()).unwrap()
}

fn case(name: &str) -> String {
    table().cases.into_iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no case {name}")).token
}

fn key(name: &str) -> PublicKey {
    PublicKey::from_pem(&std::fs::read(data(name)).unwrap()).unwrap()
}

/// What PyJWT takes and we do not, on purpose.
const STRICTER: [(&str, &str); 21] = [
    ("alg None", "token.none-algorithm"),
    ("alg a number", "token.algorithm"),
    ("alg a sentence", "token.algorithm"),
    ("alg empty", "token.algorithm"),
    ("alg none", "token.none-algorithm"),
    ("alg none without signature", "token.none-algorithm"),
    ("exp digits in a string", "token.claim-type"),
    ("header in UTF-16", "token.header-json"),
    ("header padded rightly", "token.header-padding"),
    ("header with a byte order mark", "token.header-json"),
    ("header with a duplicate key", "token.duplicate-key"),
    ("iat digits in a string", "token.claim-type"),
    ("iat true", "token.claim-type"),
    ("nbf digits in a string", "token.claim-type"),
    ("nbf true", "token.claim-type"),
    ("no alg", "token.algorithm"),
    ("no signature", "token.signature-missing"),
    ("payload nested deep", "token.payload-json"),
    ("payload with NaN", "token.payload-json"),
    ("payload with a duplicate key", "token.duplicate-key"),
    ("payload with a duplicate key within", "token.duplicate-key"),
];

/// Where we refuse for a reason that PyJWT has other words for, or says only after something else.
const OTHER_WORDS: [(&str, &str); 8] = [
    // Python takes `true` for the number 1.
    ("exp true", "Expiration Time claim (exp) must be an integer."),
    // Not JSON, and Python's parser takes it.
    ("exp infinite", "Invalid payload string"),
    ("nbf infinite", "Invalid payload string"),
    ("iat infinite", "Invalid payload string"),
    // A number that no double holds.
    ("exp beyond a double", "Invalid payload string"),
    ("nbf beyond a double", "Invalid payload string"),
    ("iat beyond a double", "Invalid payload string"),
    // A claim of the wrong type is wrong whatever the time is.
    ("exp wrong and nbf early", "Expiration Time claim (exp) must be an integer."),
];

#[test]
fn whatever_pyjwt_refuses_is_refused_in_its_words_and_more_only_on_purpose() {
    let table = table();
    let mut stricter = Vec::new();
    for case in &table.cases {
        let key = case.key.as_ref().map(|name| key(&format!("test-only-{name}.pub.pem")));
        let context = Context {
            key: key.as_ref(),
            leeway: std::time::Duration::from_secs(table.leeway),
            ..Context::at(jiff::Timestamp::from_second(table.now).unwrap())
        };
        let ours = token::check(Kind::CheckIn, Format::Auto, &Secret::new(case.token.as_str()), &context);
        if case.verdicts.values().any(Option::is_some) {
            assert!(ours.is_err(), "{}: accepted, although a PyJWT refuses it", case.name);
        }
        match (&case.verdicts["2.15.1"], ours) {
            (Some(theirs), Err(ours)) => {
                let words = match OTHER_WORDS.iter().find(|(name, _)| *name == case.name) {
                    Some((_, words)) => words,
                    None => words(&theirs.message),
                };
                let said = format!("(PyJWT: \"{words}\")");
                assert!(ours.to_string().contains(&said), "{}: no {said} in: {ours}", case.name);
            }
            (None, Err(ours)) => stricter.push((case.name.as_str(), ours.reason())),
            (Some(_), Ok(_)) => unreachable!("asserted above"),
            (None, Ok(_)) => {}
        }
    }
    stricter.sort_unstable();
    assert_eq!(stricter, STRICTER);
}

/// The part of PyJWT's message that does not depend on Python.
fn words(message: &str) -> &str {
    match message.split_once(": ") {
        Some((words @ ("Invalid header string" | "Invalid payload string"), detail)) if !detail.starts_with("must") => {
            words
        }
        Some(("Unsupported critical extension", _)) => "Unsupported critical extension",
        _ => message,
    }
}

fn run(arguments: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"))
        .args(["token", "check"])
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A refusal may come before all of the input is read.
    child.stdin.take().unwrap().write_all(stdin).ok();
    child.wait_with_output().unwrap()
}

/// Everything a person sees, after a look that no token is in it.
fn told(arguments: &[&str], stdin: &str) -> String {
    let output = run(arguments, stdin.as_bytes());
    let text = format!(
        "exit {}\n{}{}",
        output.status.code().unwrap(),
        str::from_utf8(&output.stdout).unwrap(),
        str::from_utf8(&output.stderr).unwrap()
    );
    for part in stdin.trim().split(['.', '\n']).filter(|part| part.len() > 11 && !part.starts_with('[')) {
        assert!(!text.contains(part), "the token shows: {text}");
    }
    text
}

fn path(name: &str) -> String {
    data(name).into_os_string().into_string().unwrap()
}

#[test]
fn an_opaque_token_is_accepted_from_a_file_and_from_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    for content in [OPAQUE.to_owned(), format!("{OPAQUE}\n"), format!("{OPAQUE}\r\n")] {
        std::fs::write(&file, &content).unwrap();
        let wanted = "exit 0\nmanager token accepted: opaque\n";
        assert_eq!(told(&[file.to_str().unwrap()], &content), wanted);
        assert_eq!(told(&["-"], &content), wanted);
        assert_eq!(told(&[], &content), wanted);
    }
    assert!(told(&[], &format!("{OPAQUE}\n\n")).contains("token.not-one-line"));
    insta::assert_snapshot!(told(&["--kind", "registration", "--json"], OPAQUE), @r#"
    exit 0
    {
      "accepted": true,
      "kind": "registration",
      "form": "opaque",
      "algorithm": null,
      "expires": null,
      "not_before": null,
      "issued": null,
      "authorizations": null,
      "connection_proxy_id": null,
      "signature": "not-checked",
      "warnings": []
    }
    "#);
}

#[test]
fn a_signed_token_is_accepted_with_the_key_in_every_dress() {
    let token = case("RS256");
    let at = ["--kind", "auth", "--at", NOW];
    for key in ["test-only-rsa.pub.pem", "test-only-rsa.cert.pem", "test-only-rsa.pkcs1.pem"] {
        let told = told(&[&at[..], &["--key", &path(key)]].concat(), &token);
        assert!(told.starts_with("exit 0\n") && told.contains("signature verified"), "{told}");
    }
    for key in ["test-only-ec.pub.pem", "test-only-ec.cert.pem"] {
        let told = told(&[&at[..], &["--key", &path(key)]].concat(), &case("ES256"));
        assert!(told.starts_with("exit 0\n") && told.contains("signature verified"), "{told}");
    }
    insta::assert_snapshot!(told(&[&at[..], &["--key", &path("test-only-rsa.cert.pem")]].concat(), &token), @"
    exit 0
    component auth token accepted: JSON Web Token, RS256
    expires 2026-01-01T02:00:00Z, in 2 hours
    signature verified
    ");
    insta::assert_snapshot!(told(&at, &token), @"
    exit 0
    component auth token accepted: JSON Web Token, RS256
    expires 2026-01-01T02:00:00Z, in 2 hours
    signature not checked: no --key was given
    ");
    insta::assert_snapshot!(told(&[&at[..], &["--key", &path("test-only-ec.pub.pem"), "--json"]].concat(), &case("ES256")), @r#"
    exit 0
    {
      "accepted": true,
      "kind": "auth",
      "form": "jwt",
      "algorithm": "ES256",
      "expires": "2026-01-01T02:00:00Z",
      "not_before": null,
      "issued": null,
      "authorizations": [
        80
      ],
      "connection_proxy_id": "x",
      "signature": "verified",
      "warnings": []
    }
    "#);
}

#[test]
fn a_token_of_another_key_or_algorithm_is_refused() {
    let with = |key: &str, name: &str| {
        let told = told(&["--kind", "auth", "--at", NOW, "--key", &path(key)], &case(name));
        assert!(told.starts_with("exit 11\n"), "{told}");
        told
    };
    insta::assert_snapshot!(with("test-only-rsa-other.pub.pem", "RS256"), @r#"
    exit 11
    error: the component auth token was not signed with this key, or was changed since (PyJWT: "Signature verification failed") [token.signature-mismatch]
    help: make sure that the key belongs to the manager that issued the token; `kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one without any token must be redeployed
    "#);
    insta::assert_snapshot!(with("test-only-rsa.pub.pem", "HS256 with the public key as secret"), @r#"
    exit 11
    error: the component auth token is signed with HS256, but the key is for RS256 (PyJWT: "The specified alg value is not allowed") [token.algorithm]
    help: make sure that the key belongs to the manager that issued the token; `kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one without any token must be redeployed
    "#);
    insta::assert_snapshot!(with("test-only-ec.pub.pem", "RS256"), @r#"
    exit 11
    error: the component auth token is signed with RS256, but the key is for ES256 (PyJWT: "The specified alg value is not allowed") [token.algorithm]
    help: make sure that the key belongs to the manager that issued the token; `kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one without any token must be redeployed
    "#);
    assert!(with("test-only-rsa.pub.pem", "RS256, payload exchanged").contains("[token.signature-mismatch]"));
    assert!(with("test-only-ec-other.pub.pem", "ES256").contains("[token.signature-mismatch]"));
    assert!(with("test-only-rsa.pub.pem", "none for an RS256 key").contains("[token.none-algorithm]"));
    let opaque = told(&["--key", &path("test-only-rsa.pub.pem")], OPAQUE);
    assert!(opaque.contains("[token.nothing-signed]"), "{opaque}");
}

#[test]
fn the_token_of_issue_816_is_refused_with_what_to_do() {
    insta::assert_snapshot!(told(&["--kind", "registration"], "[COMPONENT_REGISTRATION_TOKEN]\n"), @r#"
    exit 11
    error: the component registration token is the placeholder [COMPONENT_REGISTRATION_TOKEN] out of an example, not a token (PyJWT: "Not enough segments") [token.placeholder]
    help: copy the Component Registration Token from the Admin UI: Settings, Global, Authentication
    "#);
    insta::assert_snapshot!(told(&["--kind", "registration", "--json"], "[COMPONENT_REGISTRATION_TOKEN]\n"), @r#"
    exit 11
    {
      "error": {
        "reason": "token.placeholder",
        "message": "the component registration token is the placeholder [COMPONENT_REGISTRATION_TOKEN] out of an example, not a token (PyJWT: \"Not enough segments\")",
        "causes": [],
        "help": "copy the Component Registration Token from the Admin UI: Settings, Global, Authentication",
        "exit": 11
      }
    }
    "#);
}

#[test]
fn an_expired_token_is_refused_as_of_the_moment_given() {
    let token = case("exp at +3600");
    let at = |moment: &str| told(&["--kind", "checkin", "--at", moment], &token);
    insta::assert_snapshot!(at("2026-01-01T00:55:00Z"), @"
    exit 0
    check-in token accepted: JSON Web Token, RS256
    expires 2026-01-01T01:00:00Z, in 5 minutes
    signature not checked: no --key was given
    warning: the token expires in 5 minutes, and the work ahead may take 10 minutes
    warning: the signature has 9 bytes where RS256 has at least 128: the token may have been cut
    ");
    insta::assert_snapshot!(at("2026-01-01T04:00:00+01:00"), @r#"
    exit 11
    error: the check-in token expired 2 hours ago, at 2026-01-01T01:00:00Z, as of 2026-01-01T03:00:00Z (PyJWT: "Signature has expired") [token.expired]
    help: use what Kasm puts in place of {checkin_jwt} in a server pool's startup script; it is valid for 4 hours
    "#);
    insta::assert_snapshot!(told(&["--kind", "checkin"], &case("exp at -1000000000")).lines().next().unwrap(), @"exit 11");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for arguments in [
        &["--kind", "ssh"][..],
        &["--format", "xml"],
        &["--at", "yesterday"],
        &["--at", "2026-01-01"],
        &["one", "two"],
        &["--kind", "auth", "--format", "opaque"],
        &["--kind", "checkin", "--format", "opaque"],
    ] {
        let told = told(arguments, OPAQUE);
        assert!(told.starts_with("exit 2\n"), "{arguments:?}: {told}");
    }
    insta::assert_snapshot!(told(&["--kind", "auth", "--format", "opaque"], OPAQUE), @"
    exit 2
    error: a component auth token is always a JSON Web Token and cannot be checked as an opaque one [token.always-jwt]
    help: leave out --format opaque
    ");
}

#[test]
fn a_file_that_cannot_be_read_is_not_a_refused_token() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let missing = missing.to_str().unwrap();
    for arguments in [
        &[missing][..],
        &[directory.path().to_str().unwrap()],
        &["--key", missing],
        &["--key", &path("pyjwt.json")],
        &["--key", &path("test-only-rsa.key.pem")],
        &["--key", &path("test-only-rsa-small.pub.pem")],
        &["--key", &path("test-only-ec-p384.pub.pem")],
    ] {
        let told = told(arguments, OPAQUE);
        assert!(told.starts_with("exit 10\n") && told.contains("help: "), "{arguments:?}: {told}");
    }
    insta::assert_snapshot!(told(&["--key", &path("test-only-rsa.key.pem")], OPAQUE), @"
    exit 10
    error: the key cannot be used: it is a private key, which does not belong here [token.key-private]
    help: give a PEM file with a public key (RSA of 2048 bits or more, or EC P-256) or a certificate, such as the public_jwt_cert of a component's configuration
    ");
    insta::assert_snapshot!(told(&["--key", &path("test-only-rsa-small.pub.pem")], OPAQUE), @"
    exit 10
    error: the key cannot be used: its RSA modulus has 1024 bits, not 2048 to 8192 [token.key-unsupported]
    help: give a PEM file with a public key (RSA of 2048 bits or more, or EC P-256) or a certificate, such as the public_jwt_cert of a component's configuration
    ");
}

#[test]
fn a_token_given_as_an_argument_is_not_shown() {
    for token in [OPAQUE.to_owned(), case("RS256")] {
        let output = run(&[&token], b"");
        assert_eq!(output.status.code(), Some(10));
        assert!(!String::from_utf8_lossy(&output.stderr).contains(&token));
    }
    insta::assert_snapshot!(told(&[OPAQUE], ""), @"
    exit 10
    error: the token file cannot be read: No such file or directory (os error 2) [token.unreadable]
    help: give a readable file, or the token on standard input; a token itself is never an argument
    ");
}

#[test]
fn input_that_is_no_token_at_all_is_refused() {
    let output = run(&[], b"\xff\xfe\x00Z");
    assert_eq!(output.status.code(), Some(11));
    assert!(String::from_utf8_lossy(&output.stderr).contains("[token.character]"));
    let long = vec![b'x'; 1 << 20];
    let output = run(&["--json"], &long);
    assert_eq!(output.status.code(), Some(11));
    assert!(String::from_utf8_lossy(&output.stdout).contains("token.too-long"));
    assert!(told(&[], "").contains("[token.empty]"));
    assert!(told(&[], "\n").contains("[token.empty]"));
    insta::assert_snapshot!(told(&["/dev/zero"], ""), @"
    exit 11
    error: the manager token is too long: 16385 bytes, and a JSON Web Token has at most 8192 [token.too-long]
    help: take the manager token from the Admin UI, or let Kasm put it in place of {manager_token} in a startup script
    ");
}

#[test]
fn a_key_is_found_among_other_blocks_and_shows_nothing_of_itself() {
    let public = std::fs::read_to_string(data("test-only-ec.pub.pem")).unwrap();
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let windows = format!("a comment\n{parameters}{public}").replace('\n', "\r\n");
    let key = PublicKey::from_pem(windows.as_bytes()).unwrap();
    assert_eq!(format!("{key:?}"), "PublicKey(ES256)");
    assert!(PublicKey::from_pem(public.replace("MFk", "MFl").as_bytes()).is_err());
    assert!(PublicKey::from_pem(&public.as_bytes()[..100]).is_err());
}
