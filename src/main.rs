//! The binary: run one command line, end with its exit code.

use std::ffi::{c_char, c_int, c_void};
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(kasm_bootstrap::cli::run(std::env::args_os()).code())
}

/// The C library's resolver, which a static program must not use: it would load the machine's own modules for it,
/// made for another C library (nss(5), "Name Service Switch"). Names are resolved in the room `net` alone. What the
/// standard library and the HTTP client could call, and never do, is told that it failed for good; the resolver
/// itself, with its modules' loader and its tables, some 100 kB, is not linked in.
// SAFETY: no other object defines this symbol in a static program, or it takes the place of the shared library's, with
// the same signature (getaddrinfo(3)). It reads and writes nothing.
#[unsafe(no_mangle)]
pub extern "C" fn getaddrinfo(_: *const c_char, _: *const c_char, _: *const c_void, _: *mut *mut c_void) -> c_int {
    const EAI_FAIL: c_int = -4;
    EAI_FAIL
}

/// There is nothing to free.
// SAFETY: as above; it is only called with what `getaddrinfo` has given out, which is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn freeaddrinfo(_: *mut c_void) {}
