//! Packs the pages of `docs/errors` for `explain`, says for `--version` what is built, and leaves the unwind tables out of the release binary;
//! `packaging/link/no-unwind-tables.ld` says why that is sound.

use flate2::{Compression, GzBuilder};
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> io::Result<()> {
    pack_pages(Path::new("docs/errors"))?;
    unwind_tables();
    println!("cargo::rustc-env=BUILT_FROM={}", commit());
    println!("cargo::rustc-env=BUILT_FOR={}", env::var("TARGET").unwrap_or_default());
    Ok(())
}

/// All pages in the order of their names, each after a record separator (ASCII 30), as one gzip member. It holds no
/// time and no name, so that the same pages are always the same bytes.
fn pack_pages(directory: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", directory.display());
    let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    let is_page = |path: &PathBuf| path.extension().is_some_and(|end| end == "md") && !path.ends_with("README.md");
    let mut pages: Vec<PathBuf> = names.into_iter().filter(is_page).collect();
    // By their reasons: with the ending on, "key-private" would stand before "key".
    pages.sort_by(|one, other| one.file_stem().cmp(&other.file_stem()));
    let packed = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("reasons.gz");
    let mut gzip = GzBuilder::new().write(File::create(packed)?, Compression::best());
    for page in pages {
        println!("cargo::rerun-if-changed={}", page.display());
        gzip.write_all(b"\x1e")?;
        gzip.write_all(&fs::read(page)?)?;
    }
    gzip.finish().map(drop)
}

/// What `--version` says of the sources: `abcdef0123 2026-11-22`, with `-dirty` where something that goes into the binary
/// is not as it was committed. From the variable SOURCE_COMMIT, else from git, else from the file COMMIT, which
/// `git archive` fills. Only of a release build: any other one would be built anew for each commit.
fn commit() -> String {
    println!("cargo::rerun-if-env-changed=SOURCE_COMMIT");
    if let Ok(given) = env::var("SOURCE_COMMIT") {
        return given.chars().filter(|c| c.is_ascii_alphanumeric() || " .-".contains(*c)).take(60).collect();
    }
    if env::var("PROFILE").is_ok_and(|profile| profile != "release") {
        return "development build".into();
    }
    // Not that of a repository somewhere above unpacked sources.
    if Path::new(".git").exists()
        && let Some(commit) = git(&["log", "-1", "--format=%H %cs"])
    {
        let head = git(&["symbolic-ref", "-q", "HEAD"]).unwrap_or_default();
        for name in ["HEAD", "logs/HEAD", &head].into_iter().filter(|name| !name.is_empty()) {
            let path = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists());
            path.iter().for_each(|path| println!("cargo::rerun-if-changed={path}"));
        }
        let sources = ["src", "build.rs", "Cargo.toml", "Cargo.lock", "docs/errors", "packaging/link", ".cargo"];
        sources.iter().for_each(|path| println!("cargo::rerun-if-changed={path}"));
        let changed = git(&[["status", "--porcelain", "--"].as_slice(), &sources].concat());
        return short(&commit, changed.is_none_or(|changed| !changed.is_empty()));
    }
    println!("cargo::rerun-if-changed=COMMIT");
    match fs::read_to_string("COMMIT") {
        Ok(text) if !text.starts_with('$') => short(text.trim(), false),
        _ => "unknown commit".into(),
    }
}

/// Always of one length: git's own abbreviation depends on what else is in the clone.
fn short(commit: &str, dirty: bool) -> String {
    let (hash, date) = commit.split_once(' ').unwrap_or((commit, ""));
    let hash: String = hash.chars().filter(char::is_ascii_hexdigit).take(10).collect();
    format!("{hash}{} {date}", if dirty { "-dirty" } else { "" }).trim().to_owned()
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn unwind_tables() {
    let script = Path::new("packaging/link/no-unwind-tables.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    // Only there a panic aborts: tests unwind.
    let aborts = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if aborts && let Some(root) = env::var_os("CARGO_MANIFEST_DIR") {
        let script = Path::new(&root).join(script);
        println!("cargo::rustc-link-arg-bin=kasm-bootstrap=-Wl,-T,{}", script.display());
    }
}
