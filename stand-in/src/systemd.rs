//! A machine where systemd runs, imitated: a `systemctl` for a scratch root, which the stand-in release knows
//! for one, so that from 1.18 on it installs the unit `kasm` and is started and stopped by it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Makes `root` a machine where systemd runs, and returns the directory with its `systemctl`: to go first in
/// the `PATH` of whatever works on that machine.
///
/// # Panics
/// If the root cannot be written to.
pub fn install(root: &Path) -> PathBuf {
    fs::create_dir_all(root.join("run/systemd/system")).expect("the root can be written to");
    let bin = root.join("usr/local/stand-in");
    fs::create_dir_all(&bin).expect("the root can be written to");
    let root = root.to_str().expect("a scratch root's path is text");
    let script = include_str!("../release/systemctl").replace("@ROOT@", root);
    let path = bin.join("systemctl");
    fs::write(&path, script).expect("the root can be written to");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    bin
}

/// What `systemctl` was asked below this root, one call a line.
pub fn calls(root: &Path) -> Vec<String> {
    // Not there: it was never asked.
    let text = fs::read_to_string(root.join("run/stand-in-units/calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
