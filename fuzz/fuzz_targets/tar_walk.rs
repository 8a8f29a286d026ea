//! No tar makes the walk panic, nothing that is let in leads outside, and what is written stays inside.
//! Checksums are put right first, since no fuzzer guesses them; the bytes as they came are tried too.

#![no_main]

use kasm_bootstrap::release::Limits;
use kasm_bootstrap::release::fuzzing::{entries, write};
use libfuzzer_sys::fuzz_target;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 500, depth: 16, ratio: 100 };
const BLOCK: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    judge(bytes);
    judge(&healed(bytes));
});

fn judge(tar: &[u8]) {
    let (admitted, ended) = entries(tar, &LIMITS);
    for (path, target) in &admitted {
        assert_eq!(path[0], b"kasm_release");
        assert!(path.len() <= LIMITS.depth);
        assert!(path.iter().all(|part| !matches!(part.as_slice(), b"" | b"." | b"..")));
        assert!(path.iter().all(|part| part.len() <= 255 && !part.contains(&b'/') && !part.contains(&0)));
        if let Some(target) = target {
            assert_eq!(followed(path, target).first().map(Vec::as_slice), Some(b"kasm_release".as_slice()));
        }
    }
    if !admitted.is_empty() {
        let written = in_scratch(|directory| write(tar, File::open(directory).unwrap().into(), &LIMITS).is_ok());
        assert!(ended.is_ok() || !written, "what the walk refuses is written");
    }
}

/// Where a link leads, by the letter.
fn followed(path: &[Vec<u8>], target: &[u8]) -> Vec<Vec<u8>> {
    assert!(!target.starts_with(b"/"));
    let mut place = path[..path.len() - 1].to_vec();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => assert!(place.pop().is_some()),
            name => place.push(name.to_vec()),
        }
    }
    place
}

/// Works in an empty directory in memory, and sees that nothing is left beside it and no link leads out.
fn in_scratch(work: impl FnOnce(&Path) -> bool) -> bool {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    let outer = SCRATCH.get_or_init(|| {
        let path = PathBuf::from(format!("/dev/shm/kasm-bootstrap-fuzz.{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path.canonicalize().unwrap()
    });
    let inner = outer.join("inner");
    fs::create_dir(&inner).unwrap();
    let result = work(&inner);
    let names = |path: &Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(outer), ["inner"]);
    assert!(names(&inner).iter().all(|name| name == "kasm_release"));
    look(&inner.join("kasm_release"), &inner);
    fs::remove_dir_all(&inner).unwrap();
    result
}

fn look(place: &Path, inner: &Path) {
    let Ok(meta) = fs::symlink_metadata(place) else { return };
    if meta.is_symlink() {
        // One that leads nowhere, or in a circle, leads nowhere else either.
        assert!(place.canonicalize().is_ok_and(|end| end.starts_with(inner)) || !place.exists());
    } else if meta.is_dir() {
        fs::read_dir(place).unwrap().for_each(|entry| look(&entry.unwrap().path(), inner));
    } else {
        assert!(meta.is_file());
    }
}

/// The same tar with the checksum that each of its headers should have.
fn healed(bytes: &[u8]) -> Vec<u8> {
    let mut tar = bytes.to_vec();
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..).and_then(|rest| rest.get_mut(..BLOCK)) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = tar::Header::from_byte_slice(header).entry_size().unwrap_or(0);
        let Some(next) = usize::try_from(size).ok().and_then(|size| size.checked_next_multiple_of(BLOCK)) else {
            break;
        };
        let Some(after) = at.checked_add(BLOCK).and_then(|at| at.checked_add(next)) else { break };
        at = after;
    }
    tar
}
