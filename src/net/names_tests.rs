//! Names, resolved against a real name server on loopback.

use super::*;
use std::net::UdpSocket;

#[test]
fn hosts_lines_are_read_as_hosts_5_says() {
    let text = "127.0.0.1 localhost\n# 10.0.0.9 kasm\n10.0.0.1\tKasm.example.com kasm # 10.0.0.2 x\nnonsense kasm\n\
                fd00::1 kasm\n10.0.0.1 kasm\n";
    assert_eq!(in_hosts(text, "kasm"), ["10.0.0.1".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
    assert_eq!(in_hosts(text, "kasm.example.com").len(), 1);
    assert!(in_hosts(text, "10.0.0.2").is_empty());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
    #[test]
    fn no_hosts_file_and_no_resolv_conf_makes_it_panic(text in "(?s).{0,200}") {
        in_hosts(&text, "kasm");
        let _ = configuration(Some(&text), 53); // any verdict is fine
        is_name(&text);
    }
}

/// A name server that knows `kasm.lan.example` (A only; NXDOMAIN for AAAA, as some really answer).
fn name_server() -> (u16, std::thread::JoinHandle<()>, Arc<std::sync::atomic::AtomicBool>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let port = socket.local_addr().unwrap().port();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || {
        let mut packet = [0; 512];
        while !stopped.load(std::sync::atomic::Ordering::SeqCst) {
            let Ok((length, from)) = socket.recv_from(&mut packet) else { continue };
            socket.send_to(&answer(&packet[..length]), from).unwrap();
        }
    });
    (port, thread, stop)
}

fn answer(query: &[u8]) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let known = query[12..end].eq_ignore_ascii_case(b"\x04kasm\x03lan\x07example\x00") && query[end + 1] == 1;
    let mut reply = query[..end + 4].to_vec();
    reply[2] = 0x85;
    reply[3] = if known { 0x80 } else { 0x83 };
    reply[6..12].copy_from_slice(&[0, u8::from(known), 0, 0, 0, 0]);
    if known {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, 3]);
    }
    reply
}

fn scratch(hosts: &str, resolv: &str) -> (tempfile::TempDir, Paths) {
    let directory = tempfile::tempdir().unwrap();
    let paths = Paths::below(directory.path());
    fs::create_dir(directory.path().join("etc")).unwrap();
    fs::write(paths.hosts(), hosts).unwrap();
    fs::write(paths.resolv_conf(), resolv).unwrap();
    (directory, paths)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_name_is_found_through_the_search_domain_although_its_aaaa_does_not_exist() {
    let (port, thread, stop) = name_server();
    let (_directory, paths) = scratch("", "search other.example lan.example\nnameserver 127.0.0.1\n");
    let found = run(async { Names::at_port(&paths, port).lookup("kasm").await });
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    thread.join().unwrap();
    assert_eq!(found, Ok(vec!["10.1.2.3".parse().unwrap()]));
}

#[test]
fn a_name_that_does_not_exist_is_told_with_the_server_that_said_so() {
    let (port, thread, stop) = name_server();
    let (_directory, paths) = scratch("", "nameserver 127.0.0.1\n");
    let error = run(async { Names::at_port(&paths, port).lookup("kasn.lan.example").await }).unwrap_err();
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    thread.join().unwrap();
    insta::assert_snapshot!(error, @"the name kasn.lan.example does not exist, says name server 127.0.0.1");
    assert!(error.may_pass());
}

#[test]
fn resolv_conf_is_read_again_when_it_appears_after_a_failure() {
    let (port, thread, stop) = name_server();
    let (_directory, paths) = scratch("", "options timeout:1 attempts:1\nnameserver 127.0.0.2\n");
    let names = Names::at_port(&paths, port);
    run(async {
        assert!(names.lookup("kasm.lan.example").await.is_err());
        fs::write(paths.resolv_conf(), "nameserver 127.0.0.1\n").unwrap();
        assert_eq!(names.lookup("kasm.lan.example").await, Ok(vec!["10.1.2.3".parse().unwrap()]));
    });
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    thread.join().unwrap();
}

#[test]
fn localhost_addresses_and_hosts_never_ask_the_network() {
    let (_directory, paths) = scratch("10.9.8.7 kasm.example.com kasm\n", "nameserver 192.0.2.1\n");
    let names = Names::new(&paths);
    run(async {
        for (host, address) in [
            ("localhost", "127.0.0.1"),
            ("manager.localhost", "127.0.0.1"),
            ("LOCALHOST.", "127.0.0.1"),
            ("192.0.2.7", "192.0.2.7"),
            ("[fd00::1]", "fd00::1"),
            ("KASM", "10.9.8.7"),
            ("kasm.example.com.", "10.9.8.7"),
        ] {
            assert_eq!(names.lookup(host).await.unwrap()[0], address.parse::<IpAddr>().unwrap(), "{host}");
        }
        for host in ["", ".", "a b", "a..b", "$request_host$", &"a".repeat(64), &"a.".repeat(140)] {
            let error = names.lookup(host).await.unwrap_err();
            assert!(matches!(error, ResolveError::NotAName { .. }) && !error.may_pass(), "{host}");
        }
    });
}
