//! Packs the pages of `docs/errors` for `explain`, and leaves the unwind tables out of the release binary;
//! `packaging/link/no-unwind-tables.ld` says why that is sound.

use flate2::{Compression, GzBuilder};
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    pack_pages(Path::new("docs/errors"))?;
    unwind_tables();
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
