//! Leaves the unwind tables out of the release binary; `packaging/link/no-unwind-tables.ld` says why that is sound.

use std::env;
use std::path::Path;

fn main() {
    let script = Path::new("packaging/link/no-unwind-tables.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    // Only there a panic aborts: tests unwind.
    let aborts = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if aborts && let Some(root) = env::var_os("CARGO_MANIFEST_DIR") {
        let script = Path::new(&root).join(script);
        println!("cargo::rustc-link-arg-bin=kasm-bootstrap=-Wl,-T,{}", script.display());
    }
}
