//! Which TCP ports are listened at, and by which process, as `/proc` tells it (proc_net(5), proc(5)).

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// No table is read beyond this: at 150 bytes a line, some 400,000 sockets.
const TABLE_LIMIT: u64 = 64 << 20;
/// How many open files of all processes together are looked at for one search.
const SEARCH_LIMIT: usize = 1 << 17;
/// `TCP_LISTEN` of the kernel's include/net/tcp_states.h, as the table writes it.
const LISTEN: &str = "0A";

/// A socket that takes connections, on whatever address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Its port.
    pub port: u16,
    /// Its inode: `/proc/PID/fd` names it in the processes that have it open.
    pub inode: u64,
}

/// One line of `/proc/net/tcp` or `tcp6`; `None` for every line that is no listening socket.
pub fn parse_line(line: &str) -> Option<Listener> {
    // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …
    let mut words = line.split_ascii_whitespace().skip(1);
    let (_, port) = words.next()?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    if words.nth(1)? != LISTEN {
        return None;
    }
    Some(Listener { port, inode: words.nth(5)?.parse().ok()? })
}

/// The kernel's tables of TCP sockets, below `/proc/net`.
pub const TABLES: [&str; 2] = ["tcp", "tcp6"];

/// The listening sockets in one of the [`TABLES`]; `proc` is where `/proc` is.
///
/// # Errors
/// The table cannot be read.
pub fn table(proc: &Path, name: &str) -> io::Result<Vec<Listener>> {
    let table = BufReader::new(File::open(proc.join("net").join(name))?.take(TABLE_LIMIT));
    table.lines().filter_map(|line| line.map(|line| parse_line(&line)).transpose()).collect()
}

/// The first socket that listens at this port, IPv4 or IPv6; `proc` is where `/proc` is.
///
/// # Errors
/// Neither table can be read. One of them is enough: a kernel without IPv6 has only the first.
pub fn listening(proc: &Path, port: u16) -> io::Result<Option<Listener>> {
    let tables = TABLES.map(|name| table(proc, name));
    let found = tables.iter().flatten().flatten().find(|found| found.port == port).copied();
    match tables {
        [Err(error), Err(_)] => Err(error),
        _ => Ok(found),
    }
}

/// A process that has the socket with this inode open. `None` where it cannot be seen: other users'
/// processes without root, other PID namespaces.
pub fn holder(proc: &Path, inode: u64) -> Option<u32> {
    let wanted = format!("socket:[{inode}]");
    let mut looked_at = 0;
    for process in fs::read_dir(proc).ok()?.flatten() {
        let Some(pid) = pid(&process) else { continue };
        // Processes come and go while they are looked at.
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            looked_at += 1;
            if looked_at > SEARCH_LIMIT {
                return None;
            }
            if fs::read_link(descriptor.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()) {
                return Some(pid);
            }
        }
    }
    None
}

/// True if a process of this name runs (its `comm`, which the kernel cuts to 15 bytes).
///
/// # Errors
/// `/proc` cannot be listed.
pub fn runs(proc: &Path, name: &str) -> io::Result<bool> {
    Ok(fs::read_dir(proc)?.flatten().filter(|process| pid(process).is_some()).any(|process| {
        let comm = super::facts::read_small(&process.path().join("comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    }))
}

fn pid(entry: &fs::DirEntry) -> Option<u32> {
    entry.file_name().to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::TcpListener;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000 100 0 0 10 0
   1: 0100007F:01BC 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4343 1 0000000000000000 20 4 30 10 -1
   2: 00000000000000000000000000000000:0D3D 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4444 1
";

    #[test]
    fn listening_sockets_are_read_and_all_other_lines_passed_over() {
        let found: Vec<Listener> = TABLE.lines().filter_map(parse_line).collect();
        assert_eq!(found, [Listener { port: 443, inode: 4242 }, Listener { port: 3389, inode: 4444 }]);
    }

    #[test]
    fn a_port_of_our_own_is_found_with_our_own_name() {
        let proc = Path::new("/proc");
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = TcpListener::bind(address) else { continue };
            let port = socket.local_addr().unwrap().port();
            let found = listening(proc, port).unwrap().unwrap();
            assert_eq!(holder(proc, found.inode), Some(std::process::id()));
            drop(socket);
        }
        assert_eq!(listening(proc, 1).unwrap(), None);
    }

    #[test]
    fn tables_that_are_not_there_are_an_error_only_if_both_are_missing() {
        let directory = tempfile::tempdir().unwrap();
        assert!(listening(directory.path(), 443).is_err());
        fs::create_dir(directory.path().join("net")).unwrap();
        fs::write(directory.path().join("net/tcp"), TABLE).unwrap();
        assert_eq!(listening(directory.path(), 443).unwrap(), Some(Listener { port: 443, inode: 4242 }));
        assert_eq!(holder(directory.path(), 4242), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_line_makes_the_reader_panic(line in "\\PC{0,80}|( *[0-9A-F]{0,9}:?[0-9A-F]{0,5} ?){0,12}") {
            parse_line(&line);
        }

        #[test]
        fn every_listening_socket_the_kernel_writes_is_read(
            slot in 0u32..100_000, address in any::<u32>(), port in any::<u16>(), inode in any::<u64>(), state in 1u8..12
        ) {
            let line = format!(
                "{slot:4}: {address:08X}:{port:04X} 00000000:0000 {state:02X} 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1 0000000000000000 100 0 0 10 0"
            );
            prop_assert_eq!(parse_line(&line), (state == 10).then_some(Listener { port, inode }));
        }
    }
}
