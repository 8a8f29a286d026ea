//! Names, links and pax records, judged.

use super::*;
use proptest::prelude::*;

#[test]
fn a_link_stays_inside_or_is_refused() {
    for (target, depth) in [("a", 1), ("../a", 2), ("../../a/b", 3), ("./a//b/", 1), ("..", 2)] {
        assert!(stays_inside(target.as_bytes(), depth), "{target}");
    }
    for (target, depth) in [("", 1), ("/etc", 1), ("..", 1), ("../a", 1), ("../../a", 2), ("a/../b", 5), ("a/..", 9)] {
        assert!(!stays_inside(target.as_bytes(), depth), "{target}");
    }
}

#[test]
fn pax_records_are_read_by_their_length() {
    let records = pax(b"12 path=a\nb\n11 size=12\n").unwrap();
    assert_eq!(records[b"path".as_slice()], b"a\nb");
    assert_eq!(records[b"size".as_slice()], b"12");
    for bytes in [b"x".as_slice(), b"5 a=b", b"6 a=b\n6 a=c\n", b"99 a=b\n", b"0 a=b\n", b"23 GNU.sparse.major=1\n\n"] {
        assert!(pax(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn a_name_is_taken_apart_or_refused() {
    let limits = Limits::default();
    assert_eq!(path(b"./kasm_release//bin/", &limits).unwrap(), [b"kasm_release".to_vec(), b"bin".to_vec()]);
    for name in ["", "/x", "a/../b", "..", "a\nb", "a\x1b[2J"] {
        assert!(path(name.as_bytes(), &limits).is_err(), "{name:?}");
    }
    assert!(path(&vec![b'a'; 1025], &limits).is_err());
    assert!(path(&vec![b'a'; 256], &limits).is_err());
    assert!(path("a/".repeat(65).as_bytes(), &limits).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_bytes_whatever_make_the_walk_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        drop(walk(bytes.as_slice(), &Limits::default(), &mut |_, _| Ok(()))); // any verdict is fine
    }

    #[test]
    fn no_damage_to_one_byte_lets_a_path_out(at in 0usize..2048, byte: u8) {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o755);
        header.set_cksum();
        builder.append_data(&mut header, "kasm_release/install.sh", b"abc".as_slice()).unwrap();
        let mut bytes = builder.into_inner().unwrap();
        bytes[at] = byte;
        let visit = &mut |entry: &Entry, _: &mut dyn Read| {
            assert_eq!(entry.path[0], ROOT);
            assert!(entry.path.iter().all(|part| !part.is_empty() && part != b".." && !part.contains(&b'/')));
            Ok(())
        };
        drop(walk(bytes.as_slice(), &Limits::default(), visit)); // any verdict is fine
    }

    #[test]
    fn no_pax_header_whatever_makes_it_panic(bytes: Vec<u8>) {
        drop(pax(&bytes)); // any verdict is fine
    }
}
