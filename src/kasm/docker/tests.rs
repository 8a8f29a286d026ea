//! Docker's words and answers, good and bad.

use super::*;
use proptest::prelude::*;

fn container(state: &str, status: &str) -> Container {
    Container { names: vec!["x".into()], state: state.into(), status: status.into() }
}

#[test]
fn dockers_time_is_not_quoted() {
    assert_eq!(without_time("2026-01-02T03:04:05.123456789Z some words"), "some words");
    assert_eq!(without_time("some words"), "some words");
}

#[test]
fn dockers_words_are_understood() {
    let table = [
        ("running", "Up 3 seconds (healthy)", true, "healthy"),
        ("running", "Up 2 hours", true, "running"),
        ("running", "Up 3 seconds (health: starting)", false, "starting, its health check has not decided yet"),
        ("running", "Up 3 minutes (unhealthy)", false, "running but unhealthy"),
        ("restarting", "Restarting (1) 5 seconds ago", false, "restarting (exit 1)"),
        ("exited", "Exited (137) 2 minutes ago", false, "exited (exit 137)"),
        ("created", "Created", false, "created"),
        ("", "", false, "in a state that Docker does not tell"),
    ];
    for (state, status, up, words) in table {
        let one = container(state, status);
        assert_eq!((one.is_up(), one.describe().as_str()), (up, words), "{status}");
    }
}

#[test]
fn missing_fields_are_no_error_and_other_answers_are() {
    let list = parse(br#"[{}, {"Names": ["/a", 1], "State": "running"}, 3, {"Names": "x", "Status": null}]"#).unwrap();
    assert_eq!(list.len(), 4);
    assert_eq!(list[1], Container { names: vec!["a".into()], state: "running".into(), status: String::new() });
    assert!(parse(b"{\"message\": \"no\"}").is_err() && parse(b"<html>").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_status_can_be_described(state in "[a-z]{0,10}", status in "\\PC{0,20}\\(?\\PC{0,20}\\)?") {
        container(&state, &status).describe();
        container("running", &status).is_up();
    }
}

#[test]
fn sessions_are_the_containers_with_kasms_label() {
    let list = parse_sessions(
        br#"[{"Names": ["/user_a1"], "Image": "kasmweb/desktop:1.18.0", "State": "Running", "Status": "Up 3 hours",
              "Labels": {"kasm.kasmid": "a1b2", "x": "y"}},
             {"Id": "0123456789abcdef", "State": "exited", "Labels": {"kasm.kasmid": "c3\u001b[2J"}},
             {"Names": ["/kasm_agent"], "Labels": {}}, {"Names": ["/x"], "Labels": null}, 3]"#,
    )
    .unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!((list[0].name.as_str(), list[0].kasm_id.as_str(), list[0].is_active()), ("user_a1", "a1b2", true));
    assert_eq!((list[1].name.as_str(), list[1].kasm_id.as_str()), ("0123456789ab", "c3 [2J"));
    assert!(!list[1].is_active());
    assert!(parse_sessions(b"{}").is_err());
}

#[test]
fn a_closer_look_tells_restarts_and_ends() {
    let details = parse_details(
        br#"{"Id": "abc", "RestartCount": 4, "State": {"Status": "restarting", "OOMKilled": true, "ExitCode": 137,
             "StartedAt": "2026-01-02T03:04:05.678901234Z"}}"#,
    )
    .unwrap();
    assert_eq!((details.restarts, details.out_of_memory, details.exit_code), (4, true, Some(137)));
    assert_eq!(details.started.unwrap().to_string(), "2026-01-02T03:04:05.678901234Z");
    let bare = parse_details(br#"{"Id": "abc", "State": {"StartedAt": "0001-01-01T00:00:00Z"}}"#).unwrap();
    assert_eq!((bare.restarts, bare.started, bare.state.as_str()), (0, None, ""));
    assert!(parse_details(b"{}").is_err() && parse_details(b"[]").is_err());
}

/// A piece of a log as Docker frames it.
fn piece(output: u8, text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[output, 0, 0, 0][..], &length, text].concat()
}

#[test]
fn a_log_is_read_with_and_without_its_headers() {
    let framed = [piece(1, b"one\n"), piece(2, b"two\n"), piece(1, b"")].concat();
    assert_eq!(demultiplex(&framed), "one\ntwo\n");
    assert_eq!(demultiplex(b"of a terminal\n"), "of a terminal\n");
    assert_eq!(demultiplex(b"short"), "short");
    assert_eq!(demultiplex(b""), "");
    // Cut in the middle of a piece, or of a header.
    assert_eq!(demultiplex(&framed[..10]), "on");
    assert_eq!(demultiplex(&framed[..15]), "one\n");
    let long = "0123456789\n".repeat(300_000);
    let kept = demultiplex(&piece(1, long.as_bytes()));
    assert!(kept.len() <= 1 << 20 && long.ends_with(&kept) && kept.starts_with('0'));
}

#[test]
fn names_that_are_none_do_not_reach_docker() {
    for name in ["", "-a", "a b", "a?b", "a/../b", "a%2e", "ä"] {
        assert!(matches!(change::part(name), Err(Error::Unknown(_))), "{name}");
    }
    for name in ["kasm_guac", "kasmweb/sidecar:1.2", "registry.example:5000/a/b@sha256:00"] {
        assert_eq!(change::part(name).unwrap(), name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn however_a_log_is_cut_it_reads_the_same(
        pieces in proptest::collection::vec((0u8..=2, "\\PC{0,20}\n"), 1..8),
        cuts in proptest::collection::vec(1usize..20, 0..20),
    ) {
        let stream: Vec<u8> = pieces.iter().flat_map(|(output, text)| piece(*output, text.as_bytes())).collect();
        let expected: String = pieces.iter().map(|(_, text)| text.as_str()).collect();
        let (mut tail, mut rest) = (logs::Tail::default(), stream.as_slice());
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            tail.push(now);
            rest = later;
        }
        tail.push(rest);
        prop_assert_eq!(tail.text(), expected);
    }

    #[test]
    fn any_bytes_can_be_a_log(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        demultiplex(&bytes);
        drop((parse(&bytes), parse_sessions(&bytes), parse_details(&bytes)));
    }
}
