//! The checks, against real sockets, a real name server and real file systems.

use kasm_bootstrap::error::Exit;
use kasm_bootstrap::intent::{AddressChoice, HostPort};
use kasm_bootstrap::machine::facts::Facts;
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::preflight::{self, Context, Mode, Report, Verdict};
use kasm_stand_in::manager::{Answer, Behaviour, Manager};
use kasm_stand_in::tls;
use nix::mount::{MntFlags, MsFlags};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};

/// A port on which nobody listens, and which no test can be given.
const CLOSED: u16 = 1;

fn check(context: &Context) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(preflight::run(&preflight::checks(), context))
}

/// A machine in a scratch directory that passes every check of its own.
struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Scratch {
        let directory = tempfile::tempdir().unwrap();
        let scratch = Scratch { directory };
        scratch.write("/etc/os-release", "ID=ubuntu\nVERSION_ID=\"24.04\"\nPRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\n");
        scratch
    }

    fn paths(&self) -> Paths {
        Paths::below(self.directory.path())
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.paths().at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// With made-up facts, so that the answers do not depend on the machine the tests run on.
    fn context(&self) -> Context {
        let mut facts = Facts::gather(&self.paths());
        facts.euid = 0;
        facts.machine = Some("x86_64".into());
        facts.arch = Some(kasm_bootstrap::machine::facts::Arch::Amd64);
        let mut context = Context::new(self.paths(), facts);
        // Small enough for any machine that can run these tests.
        context.release_bytes = Some(1 << 20);
        context
    }

    fn context_with(&self, host: &str, port: u16) -> Context {
        let mut context = self.context();
        context.manager = Some(HostPort { host: host.into(), port: Some(port) });
        context.address = Some(AddressChoice::Auto);
        context
    }
}

fn verdict<'a>(report: &'a Report, name: &str) -> &'a Verdict {
    &report.results.iter().find(|result| result.name == name).unwrap().verdict
}

/// While it lives, snapshots are taken without what differs from run to run.
fn stable() -> impl Drop {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b\d+ ms\b", "[MS] ms");
    settings.add_filter(r"\b[\d.]+ [GM]iB free", "[SIZE] free");
    settings.add_filter(r":\d{4,5}\b", ":[PORT]");
    settings.add_filter(r"there are: [^)]*\)", "there are: [NAMES])");
    settings.bind_to_scope()
}

#[test]
fn a_machine_in_order_and_a_self_signed_manager_pass_with_one_warning() {
    let scratch = Scratch::new();
    let manager = Manager::start(Some(tls::self_signed(&["127.0.0.1"]).config), Behaviour::default());
    let mut context = scratch.context_with("127.0.0.1", manager.port());
    context.address = Some(AddressChoice::Given("agent.example.com".into()));
    context.skip = vec!["disk-docker".into()];
    let report = check(&context);
    assert_eq!(report.failure(), None);
    let _stable = stable();
    insta::assert_snapshot!(report.text(), @"
    ok    root             running as root
    ok    os               Ubuntu 24.04.1 LTS
    ok    architecture     amd64
    skip  installer-tools  not needed below --root
    ok    kasm-present     no Kasm is installed here
    ok    disk-state       [SIZE] free for /var/lib/kasm-bootstrap/releases and /var/cache/kasm-bootstrap (5 MiB needed)
    ok    disk-kasm        [SIZE] free for /opt/kasm (512 MiB needed)
    ok    exec-allowed     programs can be run below /var/lib/kasm-bootstrap/releases
    skip  disk-docker      as asked
    skip  memory           not needed below --root
    skip  cores            not needed below --root
    skip  systemd          not needed below --root
    skip  cgroups          not needed below --root
    skip  security         not needed below --root
    skip  wireguard        not needed below --root
    skip  guest-agent      not needed below --root
    skip  ports            not needed below --root
    ok    docker           Docker is not installed: install.sh installs it
    skip  compose          Docker is not installed: install.sh installs it
    skip  sidecar          Docker is not installed: install.sh installs it
    skip  rclone           not needed below --root
    ok    leftovers        nothing is left of an earlier installation
    skip  auth-tokens      no connection proxy is installed here
    ok    manager-name     127.0.0.1 is an address already
    ok    manager-tcp      127.0.0.1:[PORT] answers in [MS] ms
    warn  manager-tls      the manager's certificate is self-signed or its issuer is unknown
                           help: pass --ca-cert or --tls-pin to verify it
    ok    manager-health   healthy, answered in [MS] ms
    ok    address          agent.example.com: as given
    skip  proxy            no proxy is on the way to the manager
    skip  clock            there is nobody to compare it with
    skip  release-mirror   no release is given
    14 checks: 13 ok, 1 warned, 17 skipped
    ");
    // Four checks ask about the manager, but it is asked only once.
    assert_eq!(manager.requests().len(), 1);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let scratch = Scratch::new();
    scratch.write("/etc/os-release", "ID=debian\nVERSION_ID=13\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n");
    let mut context = scratch.context_with("127.0.0.1", CLOSED);
    context.facts.machine = Some("riscv64".into());
    context.facts.arch = None;
    context.release_bytes = Some(1 << 50);
    context.address = Some(AddressChoice::Interface("nosuch0".into()));
    context.skip = vec!["disk-state".into(), "disk-docker".into()];
    let report = check(&context);
    let _stable = stable();
    insta::assert_snapshot!(report.text(), @"
    ok    root             running as root
    warn  os               Debian GNU/Linux 13 (trixie) is not a system that Kasm's installer is known to support
                           help: install.sh refuses unknown systems unless docker and its compose plugin are there already: install both first, or use Ubuntu 22.04 or 24.04, Debian 12, or a RHEL 9 family system
    FAIL  architecture     Kasm is not built for riscv64
                           help: use a machine with an x86_64 or aarch64 processor
    skip  installer-tools  not needed below --root
    ok    kasm-present     no Kasm is installed here
    skip  disk-state       as asked
    ok    disk-kasm        [SIZE] free for /opt/kasm (512 MiB needed)
    ok    exec-allowed     programs can be run below /var/lib/kasm-bootstrap/releases
    skip  disk-docker      as asked
    skip  memory           not needed below --root
    skip  cores            not needed below --root
    skip  systemd          not needed below --root
    skip  cgroups          not needed below --root
    skip  security         not needed below --root
    skip  wireguard        not needed below --root
    skip  guest-agent      not needed below --root
    skip  ports            not needed below --root
    ok    docker           Docker is not installed: install.sh installs it
    skip  compose          Docker is not installed: install.sh installs it
    skip  sidecar          Docker is not installed: install.sh installs it
    skip  rclone           not needed below --root
    ok    leftovers        nothing is left of an earlier installation
    skip  auth-tokens      no connection proxy is installed here
    ok    manager-name     127.0.0.1 is an address already
    FAIL  manager-tcp      manager 127.0.0.1:1 refuses the connection
                           help: nothing listens at 127.0.0.1:1: check the address and port given with -m, and that Kasm's web server runs on the manager
    skip  manager-tls      there is no connection to the manager
    skip  manager-health   there is no connection to the manager
    FAIL  address          there is no network interface nosuch0 (there are: [NAMES])
                           help: name one that exists, or give the address itself (-p ADDRESS, or agent.address)
    skip  proxy            no proxy is on the way to the manager
    skip  clock            there is nobody to compare it with
    skip  release-mirror   no release is given
    11 checks: 7 ok, 1 warned, 3 failed, 20 skipped
    ");
    let failure = report.failure().unwrap();
    assert_eq!((failure.exit(), failure.reason.as_str()), (Exit::Preflight, "preflight.failed"));
    insta::assert_snapshot!(failure.message, @"3 of 11 checks failed");
    assert_eq!(failure.causes.len(), 3);
    assert_eq!(failure.causes[1], "manager-tcp: manager 127.0.0.1:1 refuses the connection");
}

#[test]
fn a_manager_that_refuses_is_exit_13_when_nothing_else_is_wrong() {
    let scratch = Scratch::new();
    let mut context = scratch.context_with("127.0.0.1", CLOSED);
    context.address = None;
    let failure = check(&context).failure().unwrap();
    assert_eq!((failure.exit(), failure.reason.as_str()), (Exit::Manager, "manager.refused"));
    assert!(failure.help.contains("nothing listens"), "{}", failure.help);
}

#[test]
fn inside_an_install_a_manager_that_may_still_come_up_is_only_a_warning() {
    let scratch = Scratch::new();
    let mut context = scratch.context_with("127.0.0.1", CLOSED);
    context.mode = Mode::Wait;
    let report = check(&context);
    assert_eq!(report.failure(), None);
    insta::assert_snapshot!(verdict(&report, "manager-tcp").detail(), @"not yet: manager 127.0.0.1:1 refuses the connection (will be waited for)");

    let manager = Manager::start(
        Some(tls::self_signed(&["127.0.0.1"]).config),
        Behaviour { answer: Answer::NotOk, ..Behaviour::default() },
    );
    let mut context = scratch.context_with("127.0.0.1", manager.port());
    context.mode = Mode::Wait;
    let report = check(&context);
    assert_eq!(report.failure(), None);
    assert_eq!(verdict(&report, "manager-health").word(), "warn");
    context = scratch.context_with("127.0.0.1", manager.port());
    assert_eq!(check(&context).failure().unwrap().reason, "manager.body");
}

#[test]
fn a_certificate_that_waiting_cannot_mend_fails_even_inside_an_install() {
    let scratch = Scratch::new();
    scratch.write("/ca.pem", &tls::issued(&["127.0.0.1"]).trust_pem);
    let manager = Manager::start(Some(tls::issued(&["127.0.0.1"]).config), Behaviour::default());
    let mut context = scratch.context_with("127.0.0.1", manager.port());
    context.network.ca_certs = vec![scratch.paths().at("/ca.pem")];
    context.mode = Mode::Wait;
    let report = check(&context);
    assert_eq!(report.failure().unwrap().reason, "manager.certificate");
    assert_eq!(verdict(&report, "manager-tls").word(), "fail");
    assert_eq!(verdict(&report, "manager-health").word(), "skipped");
}

#[test]
fn a_check_that_cannot_be_made_is_broken_and_does_not_end_the_run() {
    let scratch = Scratch::new();
    std::fs::remove_file(scratch.paths().os_release()).unwrap();
    let report = check(&scratch.context());
    assert_eq!(report.failure(), None);
    assert_eq!(verdict(&report, "os").word(), "broken");
    insta::assert_snapshot!(report.text().lines().nth(1).unwrap(), @"broke os               neither /etc/os-release nor /usr/lib/os-release can be read");
}

#[test]
fn without_root_the_running_machine_refuses_and_a_scratch_root_does_not_mind() {
    let scratch = Scratch::new();
    let mut context = scratch.context();
    context.facts.euid = 1000;
    assert_eq!(verdict(&check(&context), "root").word(), "skipped");
    context.paths = Paths::default();
    let report = check(&context);
    insta::assert_snapshot!(verdict(&report, "root").detail(), @"running as user 1000, but install.sh needs root");
    let Verdict::Fail { reason, exit, .. } = verdict(&report, "root") else { panic!() };
    assert_eq!((*reason, *exit), ("preflight.not-root", Exit::Preflight));
}

#[test]
fn checks_are_skipped_by_name_and_unknown_names_are_refused() {
    let scratch = Scratch::new();
    let mut context = scratch.context_with("127.0.0.1", CLOSED);
    context.skip = vec!["manager-tcp".into(), "address".into()];
    assert_eq!(check(&context).failure(), None);
    assert!(preflight::known(&context.skip).is_ok());
    let failure = preflight::known(&["manager-tpc".into()]).unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
    insta::assert_snapshot!(failure.message, @"there is no check named manager-tpc");
}

#[test]
fn the_version_that_is_here_already_is_told_and_a_dangling_link_warned_of() {
    let scratch = Scratch::new();
    assert_eq!(verdict(&check(&scratch.context()), "kasm-present").detail(), "no Kasm is installed here");
    std::fs::create_dir_all(scratch.paths().at("/opt/kasm/1.18.1")).unwrap();
    std::os::unix::fs::symlink("/opt/kasm/1.18.1", scratch.paths().kasm_current()).unwrap();
    let report = check(&scratch.context());
    assert_eq!(*verdict(&report, "kasm-present"), Verdict::Pass("Kasm 1.18.1 is installed here".into()));
    std::fs::remove_dir(scratch.paths().at("/opt/kasm/1.18.1")).unwrap();
    let report = check(&scratch.context());
    assert_eq!(verdict(&report, "kasm-present").word(), "warn");
    insta::assert_snapshot!(verdict(&report, "kasm-present").detail(), @"/opt/kasm/current points to /opt/kasm/1.18.1, which is not there");
}

#[test]
fn a_disk_that_is_too_small_for_the_release_is_refused_with_both_numbers() {
    let scratch = Scratch::new();
    let mut context = scratch.context();
    context.release_bytes = Some(1 << 50);
    let report = check(&context);
    let Verdict::Fail { detail, reason, .. } = verdict(&report, "disk-state") else { panic!() };
    assert_eq!(*reason, "preflight.disk-space");
    // Both needs lie on one file system here, so they add up: four times unpacked and once packed.
    assert!(
        detail.ends_with("for /var/lib/kasm-bootstrap/releases and /var/cache/kasm-bootstrap, 5242880.0 GiB needed"),
        "{detail}"
    );
}

#[test]
fn the_json_document_has_a_schema_and_one_entry_a_check() {
    let scratch = Scratch::new();
    let mut context = scratch.context_with("127.0.0.1", CLOSED);
    context.address = None;
    let report = check(&context);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["schema"], &json["ok"]), (&1.into(), &false.into()));
    let checks = json["checks"].as_array().unwrap();
    assert_eq!(checks.len(), preflight::checks().len());
    let mut tcp = checks.iter().find(|check| check["name"] == "manager-tcp").unwrap().clone();
    assert!(tcp["took_ms"].is_u64());
    tcp["took_ms"] = 0.into();
    insta::assert_snapshot!(serde_json::to_string_pretty(&tcp).unwrap(), @r#"
    {
      "name": "manager-tcp",
      "verdict": "fail",
      "detail": "manager 127.0.0.1:1 refuses the connection",
      "reason": "manager.refused",
      "help": "nothing listens at 127.0.0.1:1: check the address and port given with -m, and that Kasm's web server runs on the manager",
      "took_ms": 0
    }
    "#);
}

/// A name server on a loopback address of its own, port 53, that answers every question with these
/// header bits, or not at all. `None` where port 53 may not be bound.
fn name_server(last: u8, answer: Option<u16>) -> Option<Ipv4Addr> {
    let address = Ipv4Addr::new(127, 53, 0, last);
    let socket = match UdpSocket::bind((address, 53)) {
        Ok(socket) => socket,
        Err(error) => {
            println!("skipped: port 53 of {address} cannot be bound: {error}");
            return None;
        }
    };
    std::thread::spawn(move || {
        let mut packet = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            let Some(flags) = answer else { continue };
            // Header, then the question: labels up to the empty one, type and class.
            let question = packet[12..length].iter().position(|byte| *byte == 0).unwrap() + 12 + 5;
            let mut reply = packet[..question].to_vec();
            reply[2..4].copy_from_slice(&flags.to_be_bytes());
            reply[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
            socket.send_to(&reply, from).unwrap();
        }
    });
    Some(address)
}

/// What the text says from the first question about the manager on, without the sum.
fn manager_lines(report: &Report) -> String {
    let text = report.text();
    let text = &text[text.find("manager-name").unwrap() - "FAIL  ".len()..];
    text[..text.rfind('\n').unwrap()].to_owned()
}

#[test]
fn a_name_that_does_not_exist_says_who_was_asked() {
    // Response, recursion available, NXDOMAIN.
    let Some(server) = name_server(1, Some(0x8183)) else { return };
    let scratch = Scratch::new();
    scratch.write("/etc/resolv.conf", &format!("nameserver {server}\n"));
    scratch.write("/etc/hosts", "127.0.0.1 localhost\n");
    let report = check(&scratch.context_with("kasm.example.com", 443));
    insta::assert_snapshot!(manager_lines(&report), @"
    FAIL  manager-name     manager kasm.example.com:443 cannot be found: the name kasm.example.com does not exist, says name server 127.53.0.1
                           help: check the name in kasm.example.com:443, given with -m, and that the name servers in /etc/resolv.conf know it; an entry in /etc/hosts will do too
    skip  manager-tcp      the manager's name does not resolve
    skip  manager-tls      there is no connection to the manager
    skip  manager-health   there is no connection to the manager
    skip  address          it depends on the manager's name, which does not resolve
    skip  proxy            no proxy is on the way to the manager
    skip  clock            there is nobody to compare it with
    skip  release-mirror   no release is given
    ");
    assert_eq!(report.failure().unwrap().reason, "manager.dns");
}

#[test]
fn a_name_server_that_does_not_answer_is_told_from_a_name_that_does_not_exist() {
    let Some(server) = name_server(2, None) else { return };
    let scratch = Scratch::new();
    scratch.write("/etc/resolv.conf", &format!("nameserver {server}\noptions timeout:1 attempts:1\n"));
    scratch.write("/etc/hosts", "");
    let mut context = scratch.context_with("kasm.example.com", 443);
    insta::assert_snapshot!(verdict(&check(&context), "manager-name").detail(), @"manager kasm.example.com:443 cannot be found: the name kasm.example.com cannot be resolved: no answer from name server 127.53.0.2");
    context = scratch.context_with("kasm.example.com", 443);
    context.mode = Mode::Wait;
    let report = check(&context);
    assert_eq!((report.failure(), verdict(&report, "manager-name").word()), (None, "warn"));
}

#[test]
fn a_name_in_the_hosts_file_is_found_and_the_manager_asked_by_it() {
    let scratch = Scratch::new();
    scratch.write("/etc/hosts", "127.0.0.1 kasm.test\n");
    let identity = tls::issued(&["kasm.test"]);
    scratch.write("/ca.pem", &identity.trust_pem);
    let manager = Manager::start(Some(identity.config), Behaviour::default());
    let mut context = scratch.context_with("kasm.test", manager.port());
    context.network.ca_certs = vec![scratch.paths().at("/ca.pem")];
    let report = check(&context);
    assert!(verdict(&report, "manager-name").detail().starts_with("kasm.test is 127.0.0.1, says /etc/hosts, in "));
    assert_eq!(*verdict(&report, "manager-tls"), Verdict::Pass("the certificate is verified".into()));
    assert_eq!(manager.requests()[0].header("host"), Some(format!("kasm.test:{}", manager.port()).as_str()));
    // The manager is on this machine, so the address towards it is of use to nobody else.
    assert_eq!(verdict(&report, "address").word(), "warn");
}

/// A tmpfs over a directory, gone when dropped. `None` where it may not be mounted.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn over(path: &Path, flags: MsFlags, options: &str) -> Option<Tmpfs> {
        std::fs::create_dir_all(path).unwrap();
        match nix::mount::mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options)) {
            Ok(()) => Some(Tmpfs(path.to_owned())),
            Err(errno) => {
                println!("skipped: no tmpfs can be mounted: {errno}");
                None
            }
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        nix::mount::umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

fn without_root(report: &Report, name: &str, scratch: &Scratch) -> String {
    let verdict = verdict(report, name);
    let text = format!("{}\n{}", verdict.detail(), verdict.remedy().unwrap_or("-"));
    let real = std::fs::canonicalize(scratch.directory.path()).unwrap();
    text.replace(real.to_str().unwrap(), "")
}

#[test]
fn a_noexec_file_system_is_refused_where_the_release_is_unpacked() {
    let scratch = Scratch::new();
    let var = scratch.paths().at("/var");
    let Some(_tmpfs) = Tmpfs::over(&var, MsFlags::MS_NOEXEC, "size=512m") else { return };
    let report = check(&scratch.context());
    insta::assert_snapshot!(without_root(&report, "exec-allowed", &scratch), @"
    programs cannot be run below /var/lib/kasm-bootstrap/releases: /var (tmpfs) is mounted noexec
    mount -o remount,exec /var, and take noexec out of /etc/fstab
    ");
    assert_eq!(report.failure().unwrap().reason, "preflight.noexec");
}

#[test]
fn a_read_only_file_system_is_refused() {
    let scratch = Scratch::new();
    let var = scratch.paths().at("/var");
    let Some(_tmpfs) = Tmpfs::over(&var, MsFlags::MS_RDONLY, "size=64m") else { return };
    let report = check(&scratch.context());
    insta::assert_snapshot!(without_root(&report, "disk-state", &scratch), @"
    /var/lib/kasm-bootstrap/releases and /var/cache/kasm-bootstrap cannot be written: /var (tmpfs) is mounted read-only
    mount -o remount,rw /var; if it went read-only by itself, see `dmesg` for disk errors
    ");
    assert_eq!(verdict(&report, "exec-allowed").word(), "fail");
}

#[test]
fn a_full_file_system_and_one_without_inodes_are_told_apart() {
    let scratch = Scratch::new();
    let opt = scratch.paths().at("/opt");
    let Some(tmpfs) = Tmpfs::over(&opt, MsFlags::empty(), "size=2m") else { return };
    std::fs::write(opt.join("filler"), vec![0; 1 << 20]).unwrap();
    let report = check(&scratch.context());
    insta::assert_snapshot!(without_root(&report, "disk-kasm", &scratch), @"
    1 MiB free on /opt (tmpfs) for /opt/kasm, 512 MiB needed
    free space on /opt or give the machine a larger disk
    ");
    drop(tmpfs);
    let Some(_tmpfs) = Tmpfs::over(&opt, MsFlags::empty(), "size=2g,nr_inodes=100") else { return };
    let report = check(&scratch.context());
    insta::assert_snapshot!(without_root(&report, "disk-kasm", &scratch), @"
    99 inodes free on /opt (tmpfs) for /opt/kasm, 10000 needed
    see `df -i /opt`: remove small files there
    ");
    assert_eq!(report.failure().unwrap().reason, "preflight.inodes");
}
