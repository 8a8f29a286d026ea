use super::*;
use proptest::prelude::*;
use std::sync::Mutex;

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Observer for Lines {
    fn output(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

const SECRET: &str = "s3cr3t-T0ken-0123456789";

fn mask(text: &str) -> String {
    text.replace(SECRET, "[secret]")
}

fn pass(pieces: &[&[u8]]) -> (Vec<String>, Summary, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("installer.log");
    let lines = Lines::default();
    let mut output = Output::new(Log::open(&path).unwrap(), &mask, SECRET.len(), &lines);
    pieces.iter().for_each(|piece| output.push(piece));
    let summary = output.finish();
    (lines.0.into_inner().unwrap(), summary, std::fs::read_to_string(&path).unwrap())
}

#[test]
fn lines_are_cleaned_and_carriage_returns_end_them() {
    let (lines, summary, log) = pass(&[
        b"one\r\ntwo\x1b[1;3",
        b"1m red\x1b[0m\x07\n10%\r20%\r\x1b]0;title\x07done\xff\n\tcaf\xc3",
        b"\xa9 \x1b[unfinished\nlast",
    ]);
    assert_eq!(lines, ["one", "two red", "10%", "20%", "done\u{fffd}", "\tcafé nfinished", "last"]);
    assert_eq!(log, lines.join("\n") + "\n");
    assert_eq!(summary.lines, 7);
}

#[test]
fn a_secret_in_a_line_without_end_is_masked_wherever_it_stands() {
    for offset in [0, 1, 8, 15, 22, 23, 24, 40] {
        let mut text = "x".repeat(PIECE - offset);
        for _ in 0..5 {
            text.push_str(SECRET);
            text.push_str(&"y".repeat(PIECE - SECRET.len()));
        }
        for stride in [1000, 4096, text.len()] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(stride).collect();
            let (lines, summary, log) = pass(&pieces);
            let all = lines.concat();
            assert_eq!(all, mask(&text), "{offset} {stride}");
            assert!(lines.iter().all(|line| line.len() <= PIECE));
            assert!(!log.contains("s3cr3t") && !summary.tail.contains("s3cr3t"));
        }
    }
}

#[test]
fn a_line_that_masking_makes_longer_still_comes_in_pieces() {
    let mask = |text: &str| text.replace("key", "[a mask that is longer than what it hides]");
    let lines = Lines::default();
    let mut output = Output::new(Log::nowhere(), &mask, 3, &lines);
    output.push("a key and ".repeat(5000).as_bytes());
    output.finish();
    let lines = lines.0.into_inner().unwrap();
    assert!(lines.iter().all(|line| line.len() <= PIECE), "{:?}", lines.iter().map(String::len).collect::<Vec<_>>());
    assert_eq!(lines.concat(), mask(&"a key and ".repeat(5000)));
}

#[test]
fn a_line_that_cannot_be_cut_is_left_out_and_the_next_one_is_back() {
    let text = format!("{}\nafter\n", SECRET.repeat(3000));
    let (lines, ..) = pass(&text.as_bytes().chunks(777).collect::<Vec<_>>());
    assert!(lines.iter().all(|line| !line.contains("3cr3t") && !line.contains("T0ken")), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "after");
}

#[test]
fn the_tail_is_the_last_four_kibibytes_and_the_log_keeps_its_mode() {
    let text: String = (0..10_000).map(|number| format!("line {number}\n")).collect();
    let (_, summary, log) = pass(&[text.as_bytes()]);
    assert_eq!(summary.tail, text[text.len() - TAIL..]);
    assert_eq!(log, text);
    assert_eq!(summary.bytes, text.len() as u64);
}

#[test]
fn a_full_log_says_so_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("installer.log");
    File::create(&path).unwrap().set_len(LOG - 10).unwrap();
    let mut log = Log::open(&path).unwrap();
    ["12345", "too long for it", "not any more"].iter().for_each(|line| log.line(line));
    log.close(&crate::observe::Silent);
    use std::io::{Read, Seek};
    let mut file = File::open(&path).unwrap();
    file.seek(io::SeekFrom::Start(LOG - 10)).unwrap();
    let mut end = String::new();
    file.read_to_string(&mut end).unwrap();
    assert_eq!(end, "12345\n[the output goes on; the log is cut at 64 MiB]\n");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_in_any_pieces_give_the_same_clean_lines(
        bytes in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(b'\x1b'), Just(b'\n'), Just(b'\r'), Just(0xc3)],
            0..600,
        ),
        stride in 1usize..50,
    ) {
        let (whole, ..) = pass(&[&bytes]);
        let (pieces, ..) = pass(&bytes.chunks(stride).collect::<Vec<_>>());
        prop_assert_eq!(&whole, &pieces);
        prop_assert!(whole.iter().all(|line| !line.contains(|c: char| c.is_control() && c != '\t')));
    }

    #[test]
    fn a_secret_never_gets_through(before in 0usize..20_000, between in 0usize..9_000, stride in 1usize..9_000) {
        let text = format!("{}{SECRET}{}{SECRET}{SECRET}", "a".repeat(before), "é".repeat(between));
        let (lines, summary, log) = pass(&text.as_bytes().chunks(stride).collect::<Vec<_>>());
        prop_assert_eq!(lines.concat(), mask(&text));
        prop_assert!(!log.contains("T0ken") && !summary.tail.contains("T0ken"));
    }
}
