//! The snippet that makes every apt wait for dpkg's locks while the installer runs.
//!
//! A file in `apt.conf.d` and not `APT_CONFIG`, because the installer calls apt through `sudo`, which
//! drops the environment. `DPkg::Lock::Timeout` counts seconds. Tried with apt 2.6.1: it covers dpkg's
//! two locks, not those of the package lists and the downloads, nor a plain `dpkg -i`.

use crate::durable;
use crate::paths::Paths;
use std::fs;
use std::io;
use std::time::Duration;

/// Puts the snippet there, or in place of an earlier one. False, and nothing done, on a machine without
/// `apt.conf.d`. `timeout` counts in whole seconds, at least one.
///
/// # Errors
/// The file cannot be written; nothing is left of it then.
pub fn place(paths: &Paths, timeout: Duration) -> io::Result<bool> {
    if !paths.apt_conf_dir().is_dir() {
        return Ok(false);
    }
    // apt reads the number as a C int.
    let seconds = timeout.as_secs().clamp(1, i32::MAX as u64);
    let text = format!(
        "// kasm-bootstrap put this here while Kasm's installer runs, and removes it afterwards:\n\
         // the installer's apt is to wait for dpkg's locks instead of failing.\n\
         DPkg::Lock::Timeout \"{seconds}\";\n"
    );
    durable::write(&paths.apt_snippet(), text.as_bytes(), 0o644)?;
    Ok(true)
}

/// Removes the snippet, and what a crash in the middle of placing it left. True if anything was there.
///
/// # Errors
/// Something is there and cannot be removed.
pub fn remove(paths: &Paths) -> io::Result<bool> {
    let mut removed = durable::remove(&paths.apt_snippet())?;
    let entries = match fs::read_dir(paths.apt_conf_dir()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(removed),
        Err(error) => return Err(error),
    };
    let snippet = paths.apt_snippet();
    let name = snippet.file_name().unwrap_or_default().to_string_lossy();
    for entry in entries {
        let entry = entry?;
        // The name under which `durable` writes; apt itself passes over names that begin with a dot.
        let beside = entry.file_name();
        let beside = beside.to_string_lossy();
        if beside.starts_with(&format!(".{name}.")) && beside.ends_with(".new") {
            removed |= durable::remove(&entry.path())?;
        }
    }
    Ok(removed)
}
