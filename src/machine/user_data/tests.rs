use super::decode::{Decoded, MOST_IN, decode};
use super::disk::identifier;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use std::io::Write;

const TEXT: &str = "#kasm-bootstrap\nrole = \"agent\"\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    let line = STANDARD.encode(bytes);
    let lines: Vec<&[u8]> = line.as_bytes().chunks(76).collect();
    lines.join(&b"\r\n"[..])
}

/// The text that is for us.
fn ours(bytes: &[u8]) -> String {
    match decode(bytes) {
        Ok(Decoded::Ours(text)) => text.expose().to_owned(),
        other => panic!("{other:?}: {}", String::from_utf8_lossy(bytes)),
    }
}

fn others(bytes: impl AsRef<[u8]>) -> &'static str {
    match decode(bytes.as_ref()) {
        Ok(Decoded::Others(what)) => what,
        other => panic!("{other:?}"),
    }
}

fn message(parts: &[&str]) -> Vec<u8> {
    let parts: String = parts.iter().map(|part| format!("--=b=\n{part}\n")).collect();
    format!(
        "Content-Type: multipart/mixed;\n boundary=\"=b=\"\nMIME-Version: 1.0\n\nnobody reads this\n{parts}--=b=--\n"
    )
    .into_bytes()
}

#[test]
fn plain_text_is_ours_by_its_first_line_alone() {
    assert_eq!(ours(TEXT.as_bytes()), TEXT);
    assert_eq!(ours(format!("\u{feff}\n  \n{TEXT}").as_bytes()), TEXT);
    assert_eq!(ours(b"#kasm-bootstrap \r\nrole = 1"), "#kasm-bootstrap \r\nrole = 1");
    assert_eq!(others("#kasm-bootstrap2\n"), "text of another kind");
    assert_eq!(others("role = \"agent\"\n"), "text of another kind");
}

#[test]
fn what_is_for_others_is_called_by_its_name() {
    let said = [
        others("#cloud-config\nusers: []\n"),
        others("#!/bin/sh\n"),
        others("## template: jinja\n#cloud-config\n"),
        others("{\"ignition\": {}}"),
        others(""),
        others(" \n\n"),
        others(b"\x00\xff\x00"),
        others(message(&["Content-Type: text/x-shellscript\n\n#!/bin/sh"])),
        others("Content-Type: multipart/mixed\n\n"),
        others(base64(b"#!/bin/sh\necho long enough\n")),
    ];
    insta::assert_snapshot!(said.join("\n"), @"
    cloud-config
    a script
    a cloud-init template
    JSON
    empty
    empty
    binary data
    a MIME message without a part for it
    a MIME message without a boundary
    a script
    ");
}

#[test]
fn packages_in_packages_are_unpacked() {
    let text = TEXT.as_bytes();
    let part = |encoding: &str, body: &[u8]| {
        let head =
            format!("Content-Type: text/x-kasm-bootstrap; charset=utf-8\nContent-Transfer-Encoding: {encoding}\n\n");
        message(&["Content-Type: text/cloud-config\n\n#cloud-config\n", &(head + std::str::from_utf8(body).unwrap())])
    };
    let quoted = b"#kasm-b=6Fotstrap\nrole =3D =\n\"agent\"\n";
    for packed in [
        gzip(text),
        base64(text),
        base64(&gzip(text)),
        gzip(&base64(text)),
        message(&[&format!("Content-Type: text/plain\n\n{TEXT}")]),
        message(&[&format!("\n{TEXT}")]),
        part("7bit", text),
        part("BASE64", &base64(text)),
        part("base64", &base64(&gzip(text))),
        part("quoted-printable", quoted),
        gzip(&part("8bit", text)),
        base64(&gzip(&part("base64", &base64(&gzip(text))))),
        message(&[std::str::from_utf8(&part("7bit", text)).unwrap().replace("=b=", "=c=").as_str()]),
    ] {
        assert_eq!(ours(&packed), TEXT);
    }
    let crlf = String::from_utf8(part("7bit", text)).unwrap().replace('\n', "\r\n");
    assert_eq!(ours(crlf.as_bytes()), TEXT.replace('\n', "\r\n"));
}

#[test]
fn a_part_of_our_type_needs_no_first_line_and_stands_alone_too() {
    assert_eq!(ours(&message(&["Content-Type: text/x-kasm-bootstrap\n\nrole = 1"])), "role = 1");
    assert_eq!(ours(b"MIME-Version: 1.0\nContent-Type: Text/X-Kasm-Bootstrap\n\nrole = 1\n"), "role = 1\n");
    // Cut before its last boundary.
    assert_eq!(
        ours(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n#kasm-bootstrap\nx = 1"),
        "#kasm-bootstrap\nx = 1"
    );
}

#[test]
fn bombs_and_riddles_are_refused() {
    let mut onion = TEXT.as_bytes().to_vec();
    for _ in 0..17 {
        onion = gzip(&onion);
    }
    let many = vec!["Content-Type: text/x-shellscript\n\nx"; 101];
    let two = ["Content-Type: text/x-kasm-bootstrap\n\na = 1"; 2];
    let broken = "Content-Type: text/x-kasm-bootstrap\nContent-Transfer-Encoding: base64\n\n!!!";
    let cut = gzip(TEXT.as_bytes());
    let said: Vec<_> = [
        decode(&gzip(&vec![b'#'; 2 << 20])),
        decode(&vec![b'#'; MOST_IN + 1]),
        decode(&onion),
        decode(&message(&many)),
        decode(&message(&two)),
        decode(&message(&[broken])),
        decode(&cut[..cut.len() - 6]),
        decode(b"#kasm-bootstrap\nname = \"\xff\"\n"),
    ]
    .into_iter()
    .map(Result::unwrap_err)
    .collect();
    insta::assert_snapshot!(said.join("\n"), @"
    unpacks to more than 1 MiB
    is longer than 64 KiB
    is packed into itself too often
    has more than 100 MIME parts
    has more than one part for kasm-bootstrap
    has a part that is not base64
    is broken gzip
    is not UTF-8 text
    ");
}

#[test]
fn what_is_broken_beside_us_is_not_our_business() {
    let bomb = String::from_utf8(base64(&gzip(&vec![0; 2 << 20]))).unwrap();
    let broken = format!("Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n{bomb}");
    let odd = "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n!!!";
    assert_eq!(ours(&message(&[&broken, odd, &format!("Content-Type: text/plain\n\n{TEXT}")])), TEXT);
}

#[test]
fn an_identifier_is_found_in_json_and_in_simple_yaml() {
    let keys = ["instance-id", "instance_id"];
    let found = |text: &str| identifier(text.as_bytes(), &keys);
    assert_eq!(found("{\"instance-id\": \"i-1\", \"local-hostname\": \"x\"}").as_deref(), Some("i-1"));
    assert_eq!(found("local-hostname: x\ninstance-id: \"i-2\"\n").as_deref(), Some("i-2"));
    assert_eq!(found("instance_id : i-3").as_deref(), Some("i-3"));
    for none in ["", "{}", "instance-id:\n", "instance-id: a b", "{\"instance-id\": 7}", "x-instance-id: a"] {
        assert_eq!(found(none), None, "{none}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_configuration_comes_out_of_any_package_as_it_went_in(
        body in "[ -~\u{e9}\n]{0,200}",
        layers in proptest::collection::vec(0..3_u8, 0..4),
    ) {
        let text = format!("#kasm-bootstrap\n{body}");
        let mut packed = text.clone().into_bytes();
        for layer in layers {
            packed = match layer {
                0 => gzip(&packed),
                1 => base64(&packed),
                _ => {
                    let head = "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n";
                    let body = String::from_utf8(base64(&packed)).unwrap();
                    message(&["Content-Type: text/cloud-config\n\n#cloud-config", &format!("{head}{body}")])
                }
            };
        }
        prop_assert_eq!(ours(&packed), text);
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            "(Content-Type: (multipart/mixed; boundary=b|text/x-kasm-bootstrap|text/plain)\r?\n|Content-Transfer-Encoding: (base64|quoted-printable)\n|\n|--b(--)?\n|#kasm-bootstrap\n|[=A-F0-9 \t\u{e9}]{0,8}){0,12}"
                .prop_map(String::into_bytes),
        ],
    ) {
        if let Ok(Decoded::Ours(text)) = decode(&bytes) {
            prop_assert!(text.expose().len() <= super::decode::MOST_OUT);
        }
    }
}
