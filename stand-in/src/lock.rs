//! Locks on whole files, as apt, dpkg and rpm take them (fcntl_locking(2)).

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::File;
use std::io;

/// Takes the lock for this process, until it gives it back or closes any handle of the file.
///
/// # Errors
/// Somebody else has it, or the file is not open for writing.
pub fn take(file: &File) -> io::Result<()> {
    Ok(fcntl(file, FcntlArg::F_SETLK(&whole(libc::F_WRLCK))).map(drop)?)
}

/// Gives it back.
///
/// # Errors
/// What the kernel says.
pub fn give_back(file: &File) -> io::Result<()> {
    Ok(fcntl(file, FcntlArg::F_SETLK(&whole(libc::F_UNLCK))).map(drop)?)
}

/// Takes the lock for this open file: one of this process's own would never stand in its own way.
///
/// # Errors
/// As of [`take`].
pub fn take_for_the_file(file: &File) -> io::Result<()> {
    Ok(fcntl(file, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))).map(drop)?)
}

fn whole(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}
