use super::super::{Masker, announced as announced_secrets};
use super::is_secret;
use crate::secret::Secret;
use proptest::prelude::*;
use std::borrow::Cow;

fn mask(text: &str) -> String {
    let none: [Secret; 0] = [];
    Masker::new(&none).thorough().mask(text).into_owned()
}

/// How a form writes a text.
type Write = fn(&str) -> String;

/// Where a secret stands in text of others; `@` is the secret. Each form takes it as the form itself writes it.
const FORMS: &[(&str, Write)] = &[
    ("password: @", same),
    ("  password: @\nuser: x", same),
    ("- secret: @", same),
    ("password: '@'", yaml_single),
    ("  api_key: \"@\"", json),
    ("{\"password\": \"@\", \"n\": 1}", json),
    ("{\"a\":{\"client_secret\":\"@\"}}", json),
    ("\"{\\\"apiKey\\\": \\\"@\\\"}\"", json_twice),
    ("PGPASSWORD=@", same),
    ("export KASM_MANAGER_TOKEN=@", same),
    ("api_key = \"@\"", json),
    ("\"DB_PASSWORD=@\",", word),
    ("key: |\n  @\nnext: 1", same),
    ("tokens:\n  - @\nnext: 1", same),
    ("secrets: [\"@\"]", word),
    ("GET /x?api_key=@&y=1", word),
    ("GET /x?y=1&sig=@", word),
    ("next=%2Fx%3Faccess_token%3D@", word),
    ("connect to postgres://kasm:@@db:5432/kasm", word),
    ("http://@@proxy.example:3128", word),
    ("proxy is kasm:@@proxy.example:3128", word),
    ("Authorization: Bearer @", word),
    ("Proxy-Authorization: Basic @", word),
    ("Set-Cookie: @; Path=/", word),
    ("X-Api-Key: @", word),
    ("2026-01-02 INFO login with password: @ failed", word),
    ("mount -t cifs -o username=x,password=@,vers=3 //nas/x /mnt", word),
    ("+ bash install.sh -S agent -M @ -p 10.0.0.5", word),
    ("+ bash upgrade.sh --role guac -k @", word),
    ("myapp --db-password @ --verbose", word),
    ("[\"--api-key\", \"@\"]", word),
    ("[\n  \"--secret-token\",\n  \"@\"\n]", word),
    ("curl -u admin:@ https://x", word),
    ("-----BEGIN RSA PRIVATE KEY-----\n@\n-----END RSA PRIVATE KEY-----", same),
    ("{\"k\": \"-----BEGIN PRIVATE KEY-----\\n@\\n-----END PRIVATE KEY-----\\n\"}", word),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\n@", same),
    ("@\n-----END EC PRIVATE KEY-----\nmore", same),
    ("id AKIA@ x", upper),
    ("pushed with ghp_@", alnum),
    ("pushed with glpat-@", alnum),
    ("{\"log\": \"token: @\\npassword=@\\n\"}", word),
    ("data: {\"SecretAccessKey\" : \"@\", \"Token\" : \"@\"}", json),
];

fn same(secret: &str) -> String {
    secret.to_owned()
}

fn json(secret: &str) -> String {
    let quoted = serde_json::to_string(secret).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

fn json_twice(secret: &str) -> String {
    json(&json(secret))
}

fn yaml_single(secret: &str) -> String {
    secret.replace('\'', "''")
}

/// What may stand in a word of a line, a URL or a list.
fn word(secret: &str) -> String {
    secret.chars().filter(|c| c.is_ascii_alphanumeric() || "._~!$*+%^#".contains(*c)).collect::<String>() + "Zz9Zz9Zz9"
}

fn alnum(secret: &str) -> String {
    word(secret).chars().filter(char::is_ascii_alphanumeric).collect::<String>() + "Zz9Zz9Zz9Zz9"
}

fn upper(secret: &str) -> String {
    alnum(secret).to_uppercase()
}

#[test]
fn a_secret_is_hidden_in_every_form_it_travels_in() {
    for (form, write) in FORMS {
        let secret = write("pT7/k\"w'9 x\\Qv3}rM5,yB2;a&b");
        let masked = mask(&form.replace('@', "\u{1}").replace("\u{1}\u{1}", "\u{1}@").replace('\u{1}', &secret));
        for piece in secret.split([' ', ',', ';', '&', '"', '\'', '\\', '/']).filter(|piece| piece.len() > 2) {
            assert!(!masked.contains(piece), "{form}: {piece} is left in {masked}");
        }
        assert!(masked.contains("[masked]"), "{form}: {masked}");
    }
}

#[test]
fn what_stands_around_a_secret_stays() {
    for (text, masked) in [
        ("db: {password: \"x y\", port: 5432}", "db: {password: \"[masked]\", port: 5432}"),
        ("{\"token\": \"abc\", \"n\": 1}", "{\"token\": \"[masked]\", \"n\": 1}"),
        ("{\"pin\":1,\"password\":123456,\"b\":2}", "{\"pin\":1,\"password\":[masked],\"b\":2}"),
        ("https://user:pa/ss@host/path?x=1", "https://[masked]@host/path?x=1"),
        ("http://10.0.0.1:3128/a@b", "http://10.0.0.1:3128/a@b"),
        ("GET /x?token=abc&y=1 200", "GET /x?token=[masked]&y=1 200"),
        ("password: 'it''s me' # x", "password: '[masked]' # x"),
        (
            "a\n-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\nb",
            "a\n-----BEGIN PRIVATE KEY[masked]PRIVATE KEY-----\nb",
        ),
        ("secret:\n  name: x\n  password: y\n", "secret:\n  name: x\n  password: [masked]\n"),
        ("-o user=x,password=y,vers=3", "-o user=x,password=[masked],vers=3"),
        ("-o user=x,password=\"y\",vers=3", "-o user=x,password=\"[masked]\",vers=3"),
        ("{\"password\":\"x\",\"n\":1},{\"a\":2}", "{\"password\":\"[masked]\",\"n\":1},{\"a\":2}"),
        ("{\"password\":\"\",\"n\":1}", "{\"password\":\"\",\"n\":1}"),
        ("password='x': refused", "password='[masked]': refused"),
        ("password: {\":aAaa!1", "password: [masked]"),
        ("token: {\\\"a\\\":\\\"b\\\"}", "token: {\\\"a\\\":\\\"b\\\"}"),
        ("PGPASSWORD=[]\"A0a0A", "PGPASSWORD=[masked]"),
        // Shells join what is written together.
        ("PGPASSWORD=\"\":!aa0! x", "PGPASSWORD=\"[masked] x"),
        ("PGPASSWORD='a'}bcdefgh1 x", "PGPASSWORD='[masked] x"),
        ("PGPASSWORD='']'!A0A x", "PGPASSWORD='[masked] x"),
        ("PGPASSWORD=\"\";'!00! x", "PGPASSWORD=\"[masked] x"),
        ("PGPASSWORD=[]}aa!0A", "PGPASSWORD=[masked]"),
        ("{\"tokens\":[\"x\"],\"n\":1}", "{\"tokens\":[[masked]],\"n\":1}"),
        ("{\"tokens\":[],\"n\":1}", "{\"tokens\":[],\"n\":1}"),
    ] {
        assert_eq!(mask(text), masked);
    }
}

#[test]
fn ordinary_text_stays_as_it_is() {
    for line in [
        "Jan 02 03:04:05 node kasm-bootstrap[812]: Error while decoding token: Not enough segments",
        "2026-01-02T03:04:05.678Z  INFO token: expired",
        "docker.io/kasmweb/agent:1.18.1@sha256:7b801cb0579a7867df46b6da873fe8dd631db07d4c05349e5bd1aea27130c37d",
        "https://kasm-static-content.s3.amazonaws.com/kasm_release_1.19.0.tar.gz",
        "systemd[1]: Started user@1000.service - User Manager for UID 1000.",
        "tmpfs on /run type tmpfs (rw,nosuid,nodev,size=401032k,mode=755)",
        "0.0.0.0:443->8443/tcp, [::]:443->8443/tcp",
        "manager.token_file: /etc/kasm-bootstrap/manager-token",
        "token_format = \"auto\"",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI",
        "PWD=/root",
        "\"token\": null, \"password\": false",
        "password: [secret]",
        "manager.token  [secret]  /etc/kasm-bootstrap/config.toml:4",
        "mail to admin@example.com",
        "if secret == given",
        "the password is wrong, and no token was given",
        "default via 10.0.0.1 dev eth0 proto dhcp src 10.0.0.5 metric 100",
        "",
    ] {
        let none: [Secret; 0] = [];
        let masker = Masker::new(&none).thorough();
        assert!(matches!(masker.mask(line), Cow::Borrowed(_)), "{line} became {}", masker.mask(line));
    }
}

#[test]
fn names_are_told_apart() {
    for name in ["DB_PASSWORD", "password", "aws.secretAccessKey", "registration_token", "apiKey", "X-Api-Key", "key"] {
        assert!(is_secret(name), "{name}");
    }
    for name in ["token_file", "public_key", "PWD", "monkey", "keyboard", "PATH", "tokenizer", "password_policy", ""] {
        assert!(!is_secret(name), "{name}");
    }
}

#[test]
fn what_a_configuration_announces_is_found_by_value() {
    let yaml = "manager:\n  token: aVeryOpaqueToken1234\n  port: 443\napi:\n  auth_token: 'x9.y8.z7'\n  key: true\n";
    let found: Vec<String> = announced_secrets(yaml).iter().map(|secret| secret.expose().to_owned()).collect();
    assert_eq!(found, ["aVeryOpaqueToken1234", "x9.y8.z7"]);
}

#[test]
fn long_bait_is_masked_in_linear_time() {
    for bait in
        ["key=[", "token='", "key: |\n", "tokens:\n- ", "://", "a:b@c", "--key ", "PRIVATE KEY", "key=\\\"", "-M "]
    {
        let text = bait.repeat(200_000 / bait.len());
        mask(&text);
    }
}

/// `"x","...`, `[x],{...`: nobody can tell such a secret from a value that has ended, with the next one behind.
fn reads_as_two(raw: &str) -> bool {
    let next = |pair: &[u8]| pair[0] == b',' && b"\"'\\{[".contains(&pair[1]);
    raw.starts_with(['"', '\'', '[']) && raw.as_bytes().windows(2).any(next)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_secret_of_any_shape_survives(
        form in 0..FORMS.len(),
        raw in "[!-~]{8,40}",
        before in "([a-z ]{0,20}\n){0,3}",
        after in "(\n[a-z ]{0,20}){0,3}",
    ) {
        let (form, write) = FORMS[form];
        let secret = write(&raw);
        prop_assume!(!reads_as_two(&raw));
        // What it ends with may be what separates values.
        prop_assume!(!secret.contains("[masked") && !"[masked]".contains(&secret));
        let whole = form.replace('@', "\u{1}").replace("\u{1}\u{1}", "\u{1}@").replace('\u{1}', &secret);
        let masked = mask(&format!("{before}{whole}{after}"));
        prop_assert!(!masked.contains(&secret), "{} in {}", secret, masked);
        // Nor any long part of it.
        let chars: Vec<char> = secret.chars().collect();
        for piece in chars.windows(6) {
            let piece: String = piece.iter().collect();
            prop_assert!(form.contains(&piece) || !masked.contains(&piece), "{piece:?} of {secret:?} in {masked}");
        }
    }

    #[test]
    fn text_without_names_and_marks_is_untouched(text in "[a-z ,./é()0-9\n]{0,300}") {
        prop_assume!(!text.contains("token") && !text.contains("bearer"));
        prop_assert_eq!(mask(&text), text);
    }

    #[test]
    fn any_text_is_taken(text in "(?s)(.|password: |key=|\\[|'|\"|@|://){0,40}") {
        mask(&text);
    }
}

#[test]
fn a_word_too_long_to_look_back_on_is_cut_between_characters() {
    for letter in ["é", "\u{fffd}", "🔑"] {
        for shift in 0..4 {
            let text = format!("{}{}user:hunter2@proxy", "x".repeat(shift), letter.repeat(200));
            assert!(!mask(&text).contains("hunter2"), "{text}");
        }
    }
}
