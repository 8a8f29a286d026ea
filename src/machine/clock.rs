//! Who keeps this machine's clock in time.

use crate::paths::Paths;

/// Whether somebody keeps the clock in time; `None` where nobody says. systemd-timesyncd leaves a file
/// (systemd-timesyncd.service(8)); whoever else keeps the time tells the kernel (adjtimex(2)), which is asked on the
/// machine itself only.
pub fn kept_in_time(paths: &Paths) -> Option<bool> {
    if paths.timesync().exists() {
        return Some(true);
    }
    paths.is_machine().then(kernel_says).flatten()
}

fn kernel_says() -> Option<bool> {
    // SAFETY: `timex` is plain numbers, for which zero is a value; modes 0 asks and sets nothing.
    let state = unsafe {
        let mut question: nix::libc::timex = std::mem::zeroed();
        nix::libc::adjtimex(&mut question)
    };
    match state {
        -1 => None, // not allowed in some containers
        state => Some(state != nix::libc::TIME_ERROR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_can_be_asked() {
        kernel_says(); // any answer is fine; that it is one is what counts
    }

    #[test]
    fn below_a_scratch_root_only_its_own_file_tells() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        assert_eq!(kept_in_time(&paths), None);
        std::fs::create_dir_all(paths.timesync().parent().unwrap()).unwrap();
        std::fs::write(paths.timesync(), "").unwrap();
        assert_eq!(kept_in_time(&paths), Some(true));
    }
}
