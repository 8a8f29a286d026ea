//! The sockets: made so that nobody else can speak to them, and that one which a killed process has left is replaced
//! and one which is in use is not.

use super::super::status_file::run_directory;
use crate::machine::sockets;
use crate::paths::Paths;
use crate::system::holder::Holder;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::sys::stat::{Mode, fchmod};
use std::fs::{self, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

/// A socket's path has to fit into `sockaddr_un.sun_path` with a NUL behind it (unix(7)).
const SOCKET_PATH: usize = 107;
/// So many may wait to be accepted.
const WAITING: i32 = 64;

/// The unix socket. Its file is gone when this is.
pub(super) struct Unix {
    pub listener: UnixListener,
    path: PathBuf,
    inode: u64,
    /// Locked: whoever has the lock of the directory has the socket in it. The kernel ends it with the process.
    _directory: File,
}

/// Listens on this machine's socket; only its owner can connect (unix(7): that needs the right to write).
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] while another process does, or where something else has the name.
pub(super) fn unix(paths: &Paths) -> io::Result<Unix> {
    run_directory(paths)?;
    let in_use = |why: &str| io::Error::new(io::ErrorKind::AddrInUse, why.to_owned());
    let directory = File::open(paths.run_dir())?;
    match directory.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use("another kasm-bootstrap serves it")),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let path = paths.http_socket();
    match fs::symlink_metadata(&path) {
        // Nobody serves it: we have the lock.
        Ok(found) if found.file_type().is_socket() => fs::remove_file(&path)?,
        Ok(_) => return Err(in_use("something that is no socket has its name")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let address = match path.file_name() {
        Some(name) if path.as_os_str().len() > SOCKET_PATH => {
            PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name)
        }
        _ => path.clone(),
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // Linux gives the file the mode of the socket, less the umask (its net/unix/af_unix.c): from birth.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(&address)?)?;
    listen(&socket, Backlog::new(WAITING)?)?;
    let inode = fs::symlink_metadata(&path)?.ino();
    Ok(Unix { listener: UnixListener::from(socket), path, inode, _directory: directory })
}

impl Drop for Unix {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            // One that stays is replaced by the next process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on TCP.
pub(super) fn tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Why an address cannot be had, with the process that has it.
pub(super) fn why_not(paths: &Paths, address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            // The network is the machine's own, whatever root there is.
            let found = sockets::listening(&Paths::default().proc_dir(), address.port()).ok().flatten();
            let holder = found.and_then(|found| sockets::holder(&Paths::default().proc_dir(), found.inode));
            match holder.map(|pid| Holder::of(pid).to_string()) {
                Some(holder) => format!("the port is taken by {holder}"),
                None => "the port is taken".into(),
            }
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address (yet)".into(),
        _ => format!("{error} ({})", paths.root().display()),
    }
}
