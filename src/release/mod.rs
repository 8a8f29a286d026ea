//! A kasm_release tarball: downloaded, verified, unpacked, kept.
