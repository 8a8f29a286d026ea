//! The checks of the machine itself: held ports, real processes, real file systems, Docker's socket
//! imitated.

mod common;

use common::{Scene, run, spoken, unwrapped};
use kasm_bootstrap::intent::Role;
use kasm_bootstrap::machine::facts::Facts;
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::preflight::{self, Context, Mode, Verdict};
use kasm_stand_in::docker::{Docker, Script};
use kasm_stand_in::http::{Server, respond};
use kasm_stand_in::release::Options;
use nix::mount::{MntFlags, MsFlags};
use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Scratch {
        let scratch = Scratch(tempfile::tempdir().unwrap());
        scratch.write("/etc/os-release", "ID=ubuntu\nVERSION_ID=\"24.04\"\nPRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\n");
        scratch.directory("/run");
        scratch
    }

    fn paths(&self) -> Paths {
        Paths::below(self.0.path())
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.paths().at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn directory(&self, path: &str) {
        fs::create_dir_all(self.paths().at(path)).unwrap();
    }

    /// From now on this machine's processes and sockets are the scratch machine's.
    fn with_proc(&self) {
        symlink("/proc", self.paths().proc_dir()).unwrap();
    }

    fn context(&self) -> Context {
        let mut facts = Facts::gather(&self.paths());
        facts.euid = 0;
        facts.kernel = Some("6.1.0-18-amd64".into());
        Context::new(self.paths(), facts)
    }

    /// How one check ends on this machine.
    fn look(&self, name: &str) -> Verdict {
        look(&self.context(), name)
    }
}

fn look(context: &Context, name: &str) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let checks: Vec<_> = preflight::checks().into_iter().filter(|check| check.name == name).collect();
    let report = runtime.block_on(preflight::run(&checks, context));
    report.results.into_iter().next().unwrap_or_else(|| panic!("there is no check {name}")).verdict
}

/// What a person reads of it: the word, what was seen, what to do.
fn told(verdict: &Verdict) -> String {
    let help = verdict.remedy().map(|remedy| format!("\n{remedy}")).unwrap_or_default();
    format!("{}: {}{help}", verdict.word(), verdict.detail())
}

fn reason(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Fail { reason, .. } => reason,
        other => panic!("no failure: {other:?}"),
    }
}

/// A process of this name that does nothing, gone when dropped.
struct Idle(Child);

impl Idle {
    /// `standard_input` is what it holds open.
    fn called(name: &str, directory: &Path, standard_input: Stdio) -> Idle {
        // A process is named after the path it was started by.
        let program = directory.join(name);
        symlink("/bin/sh", &program).unwrap();
        let child = Command::new(program).args(["-c", "kill -STOP $$"]).stdin(standard_input).spawn().unwrap();
        // It has its name only a moment after it was started.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WUNTRACED)).unwrap();
        Idle(child)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn stable() -> impl Drop {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"port \d+ by (\S+, )?pid \d+, [^\n\x22]+", "port [PORT] by [HOLDER]");
    settings.add_filter(r"stop [^\n\x22]*, or give", "[STOP], or give");
    settings.add_filter(r"free: \d+", "free: [PORT]");
    settings.add_filter(r"[\d.]+ [GM]iB free", "[SIZE] free");
    settings.add_filter(r"\x22took_ms\x22: \d+", r#""took_ms": 0"#);
    settings.bind_to_scope()
}

#[test]
fn a_port_that_is_taken_is_refused_with_its_holders_name() {
    let scratch = Scratch::new();
    scratch.with_proc();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let mut context = scratch.context();
    context.proxy_port = Some(port);
    let verdict = look(&context, "ports");
    assert_eq!(reason(&verdict), "preflight.port-in-use");
    assert!(verdict.detail().contains(&format!("port {port} by")), "{verdict:?}");
    assert!(verdict.detail().contains(&format!("pid {}, preflight_host", std::process::id())), "{verdict:?}");
    let _stable = stable();
    insta::assert_snapshot!(told(&verdict), @"
    fail: in use: port [PORT] by [HOLDER]
    [STOP], or give Kasm another port with -L PORT
    ");

    context.installer.flags = vec!["no-check-ports".into()];
    insta::assert_snapshot!(told(&look(&context, "ports")), @"skipped: --no-check-ports is given");
    context.installer.flags.clear();
    context.installer.extra = vec!["-B".into()];
    assert_eq!(look(&context, "ports").word(), "skipped");
    context.installer.extra.clear();
    drop(held);
    insta::assert_snapshot!(told(&look(&context, "ports")), @"pass: free: [PORT]");
}

#[test]
fn a_connection_proxy_needs_the_port_of_rdp_too() {
    let scratch = Scratch::new();
    scratch.with_proc();
    let Ok(_held) = TcpListener::bind("127.33.89.1:3389") else {
        println!("skipped: port 3389 of 127.33.89.1 cannot be bound");
        return;
    };
    let mut context = scratch.context();
    // A port on which nobody listens, and which no test can be given.
    context.proxy_port = Some(1);
    context.role = Some(Role::Agent);
    assert_eq!(look(&context, "ports").word(), "pass");
    context.role = Some(Role::Guac);
    let verdict = look(&context, "ports");
    assert!(verdict.detail().starts_with("in use: port 3389 by "), "{verdict:?}");
    assert!(!verdict.remedy().unwrap().contains("-L"), "{verdict:?}");
}

#[test]
fn what_docker_holds_is_a_conflict_only_where_no_kasm_is() {
    let scratch = Scratch::new();
    scratch.with_proc();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut context = scratch.context();
    context.proxy_port = Some(held.local_addr().unwrap().port());
    let _proxy = Idle::called("docker-proxy", scratch.0.path(), Stdio::from(OwnedFd::from(held)));
    let verdict = look(&context, "ports");
    assert_eq!(reason(&verdict), "preflight.port-in-use");
    assert!(verdict.remedy().unwrap().contains("docker ps"), "{verdict:?}");
    scratch.directory("/opt/kasm/1.18.1");
    symlink("/opt/kasm/1.18.1", scratch.paths().kasm_current()).unwrap();
    let _stable = stable();
    insta::assert_snapshot!(told(&look(&context, "ports")), @"skipped: Kasm 1.18.1 is installed here and holds port [PORT] by [HOLDER]");
}

#[test]
fn a_machine_without_tables_of_sockets_is_not_judged() {
    let scratch = Scratch::new();
    assert_eq!(scratch.look("ports").word(), "skipped");
    scratch.directory("/proc/net");
    insta::assert_snapshot!(told(&scratch.look("ports")), @"broken: /proc/net/tcp cannot be read: No such file or directory (os error 2)");
}

#[test]
fn memory_and_processors_are_measured_by_the_role() {
    let mut context = Scratch::new().context();
    assert_eq!(look(&context, "memory").word(), "skipped");
    context.paths = Paths::default();
    context.facts.memory = Some(2 << 30);
    context.facts.cpus = Some(1);
    context.role = Some(Role::Guac);
    insta::assert_snapshot!(told(&look(&context, "memory")), @"pass: 2.0 GiB");
    context.role = Some(Role::Agent);
    insta::assert_snapshot!(told(&look(&context, "memory")), @"
    warn: 2.0 GiB of memory, an agent should have 3.4 GiB
    give the machine more memory; swap (--swap-size) keeps the installer going, not sessions
    ");
    insta::assert_snapshot!(told(&look(&context, "cores")), @"
    warn: 1 processor, an agent should have 2
    give the machine more virtual processors
    ");
    context.facts.cpus = Some(2);
    insta::assert_snapshot!(told(&look(&context, "cores")), @"pass: 2 processors");
    (context.facts.memory, context.facts.cpus) = (None, None);
    assert_eq!((look(&context, "memory").word(), look(&context, "cores").word()), ("broken", "broken"));
}

#[test]
fn a_machine_without_systemd_is_warned_of() {
    let mut context = Scratch::new().context();
    assert_eq!(look(&context, "systemd").word(), "skipped");
    context.paths = Paths::default();
    context.facts.systemd = false;
    insta::assert_snapshot!(told(&look(&context, "systemd")), @"
    warn: systemd is not the init system here
    Kasm from 1.18 on and Docker's packages are started by systemd: use a virtual machine that boots with it
    ");
    context.facts.systemd = true;
    assert_eq!(look(&context, "systemd").word(), "pass");
}

#[test]
fn a_system_that_the_installer_refuses_fails_unless_docker_and_compose_are_there() {
    let scratch = Scratch::new();
    scratch.write("/etc/os-release", "ID=ubuntu\nVERSION_ID=\"23.04\"\nPRETTY_NAME=\"Ubuntu 23.04\"\n");
    let verdict = scratch.look("os");
    assert_eq!(reason(&verdict), "preflight.os");
    insta::assert_snapshot!(told(&verdict), @"
    fail: Ubuntu 23.04 is not a system that Kasm's installer is known to support
    install.sh refuses unknown systems unless docker and its compose plugin are there already: install both first, or use Ubuntu 22.04 or 24.04, Debian 12, or a RHEL 9 family system
    ");
    scratch.write("/usr/bin/docker", "");
    assert_eq!(scratch.look("os").word(), "fail");
    scratch.write("/usr/libexec/docker/cli-plugins/docker-compose", "");
    assert_eq!(scratch.look("os").word(), "warn");
    // Newer than what is known: the release may know better.
    let newer = Scratch::new();
    newer.write("/etc/os-release", "ID=ubuntu\nVERSION_ID=\"26.04\"\n");
    assert_eq!(newer.look("os").word(), "warn");
}

#[test]
fn the_docker_that_answers_is_judged_by_its_version_and_by_where_it_lives() {
    let scratch = Scratch::new();
    insta::assert_snapshot!(told(&scratch.look("docker")), @"pass: Docker is not installed: install.sh installs it");
    let docker = Docker::start(&scratch.paths().at("/"));
    insta::assert_snapshot!(told(&scratch.look("docker")), @"pass: Docker 27.5.1");
    docker.set_script(Script { version: "20.10.24+dfsg1".into(), ..Script::default() });
    insta::assert_snapshot!(told(&scratch.look("docker")), @"
    warn: Docker 20.10.24+dfsg1 is older than 25.0.5, which Kasm from 1.17 on asks for
    upgrade Docker, or remove it: install.sh then installs a newer one
    ");
    docker.set_script(Script { root_dir: "/var/snap/docker/common/var-lib-docker".into(), ..Script::default() });
    assert_eq!(reason(&scratch.look("docker")), "preflight.docker-snap");
    docker.set_script(Script { version: "unknown".into(), ..Script::default() });
    insta::assert_snapshot!(told(&scratch.look("docker")), @r#"broken: Docker calls its version "unknown""#);
    // It is asked once for all the checks that want to know.
    let before = docker.requests().len();
    let context = scratch.context();
    for check in ["docker", "compose", "sidecar", "disk-docker"] {
        look(&context, check);
    }
    assert_eq!(docker.requests().len(), before + 2);
}

#[test]
fn a_docker_that_is_installed_and_does_not_answer_is_told_from_one_that_is_not_there() {
    let scratch = Scratch::new();
    let socket = scratch.paths().docker_socket();
    scratch.write("/usr/bin/docker", "");
    let verdict = scratch.look("docker");
    assert_eq!(reason(&verdict), "preflight.docker-down");
    insta::assert_snapshot!(told(&verdict), @"
    fail: Docker is installed, but its daemon does not answer: /run/docker.sock is not there
    systemctl start docker, and see `journalctl -u docker` for why it was not running
    ");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert_eq!(reason(&scratch.look("docker")), "preflight.docker-down");
    insta::assert_snapshot!(told(&scratch.look("sidecar")), @"skipped: Docker does not answer: see docker");
    // Without root a socket that cannot be opened says nothing of Docker.
    let mut context = scratch.context();
    context.facts.euid = 1000;
    assert_eq!(look(&context, "docker").word(), "broken");
    fs::remove_file(&socket).unwrap();
    let _server = Server::unix(&socket, Arc::new(|_, stream| respond(stream, "500 Oops", &[], b"{}")));
    insta::assert_snapshot!(told(&scratch.look("docker")), @"broken: Docker's answer makes no sense: HTTP status 500 Internal Server Error");
}

#[test]
fn a_docker_that_keeps_silent_is_down_now_and_perhaps_not_yet_up_during_a_boot() {
    let scratch = Scratch::new();
    scratch.write("/usr/bin/docker", "");
    // Takes connections into its queue and never answers.
    let _silent = std::os::unix::net::UnixListener::bind(scratch.paths().docker_socket()).unwrap();
    for (mode, word) in [(Mode::Refuse, "fail"), (Mode::Wait, "warn")] {
        let mut context = scratch.context();
        context.mode = mode;
        let checks: Vec<_> = preflight::checks().into_iter().filter(|check| check.name == "docker").collect();
        // The clock jumps to the next deadline whenever there is nothing else to do.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let report = runtime.block_on(preflight::run(&checks, &context));
        assert_eq!(report.results[0].verdict.word(), word, "{report:?}");
        assert!(report.results[0].verdict.detail().contains("within 8 s"), "{report:?}");
    }
}

#[test]
fn a_snap_of_docker_is_refused_and_one_beside_a_real_docker_is_not() {
    let scratch = Scratch::new();
    scratch.write("/snap/bin/docker", "");
    let verdict = scratch.look("docker");
    assert_eq!(reason(&verdict), "preflight.docker-snap");
    insta::assert_snapshot!(told(&verdict), @"
    fail: Docker is installed as a snap, which install.sh refuses
    snap remove docker; install.sh then installs Docker's own packages
    ");
    scratch.write("/usr/bin/docker", "");
    let _docker = Docker::start(&scratch.paths().at("/"));
    assert_eq!(scratch.look("docker").word(), "pass");
}

#[test]
fn a_docker_that_would_refuse_the_installers_own_compose_is_told() {
    let scratch = Scratch::new();
    assert_eq!(scratch.look("compose").word(), "skipped");
    scratch.write("/usr/bin/docker", "");
    let docker = Docker::start(&scratch.paths().at("/"));
    insta::assert_snapshot!(told(&scratch.look("compose")), @"
    warn: Docker has no compose plugin: install.sh brings the old compose 2.5.0
    apt-get install -y docker-compose-plugin
    ");
    docker.set_script(Script { version: "29.1.0".into(), ..Script::default() });
    let verdict = scratch.look("compose");
    assert_eq!(reason(&verdict), "preflight.compose");
    insta::assert_snapshot!(told(&verdict), @"
    fail: Docker has no compose plugin, and this Docker refuses the compose 2.5.0 that install.sh brings
    apt-get install -y docker-compose-plugin
    ");
    scratch.write("/usr/libexec/docker/cli-plugins/docker-compose", "");
    assert_eq!(scratch.look("compose").word(), "pass");
}

#[test]
fn a_sidecar_plugin_that_is_disabled_is_warned_of_with_the_command_that_enables_it() {
    let scratch = Scratch::new();
    let docker = Docker::start(&scratch.paths().at("/"));
    insta::assert_snapshot!(told(&scratch.look("sidecar")), @"pass: Docker has no sidecar plugin yet");
    let script = |enabled| Script {
        plugins: vec![("kasmweb/sidecar:1.2".into(), enabled), ("unrelated:latest".into(), false)],
        ..Script::default()
    };
    docker.set_script(script(true));
    insta::assert_snapshot!(told(&scratch.look("sidecar")), @"pass: enabled: kasmweb/sidecar:1.2");
    docker.set_script(script(false));
    insta::assert_snapshot!(told(&scratch.look("sidecar")), @"
    warn: disabled in Docker, so that kasm_proxy does not start: kasmweb/sidecar:1.2
    docker plugin enable kasmweb/sidecar:1.2
    ");
}

#[test]
fn missing_directories_of_the_rclone_plugin_are_warned_of() {
    let scratch = Scratch::new();
    assert_eq!(scratch.look("rclone").word(), "skipped");
    scratch.directory("/var/lib/docker-plugins/rclone/config");
    insta::assert_snapshot!(told(&scratch.look("rclone")), @"
    warn: not there, and the rclone plugin cannot be installed without: /var/lib/docker-plugins/rclone/cache
    mkdir -p /var/lib/docker-plugins/rclone/cache
    ");
    let mut context = scratch.context();
    context.role = Some(Role::Guac);
    assert_eq!(look(&context, "rclone").word(), "skipped");
    context.role = Some(Role::Agent);
    context.installer.flags = vec!["skip-custom-rclone".into()];
    assert_eq!(look(&context, "rclone").word(), "skipped");
    scratch.directory("/var/lib/docker-plugins/rclone/cache");
    assert_eq!(scratch.look("rclone").word(), "pass");
}

#[test]
fn a_kernel_without_wireguard_is_warned_of() {
    let scratch = Scratch::new();
    assert_eq!(scratch.look("wireguard").word(), "skipped");
    scratch.write("/lib/modules/6.1.0-18-amd64/modules.dep", "kernel/net/ipv4/udp_tunnel.ko:\n");
    insta::assert_snapshot!(told(&scratch.look("wireguard")), @"
    warn: kernel 6.1.0-18-amd64 has no WireGuard module
    install.sh asks for it: use the distribution's full kernel (on Ubuntu `apt-get install linux-modules-extra-$(uname -r)`)
    ");
    let modules = "kernel/drivers/net/wireguard/wireguard.ko.xz: kernel/net/ipv4/udp_tunnel.ko.xz\n";
    scratch.write("/lib/modules/6.1.0-18-amd64/modules.dep", modules);
    insta::assert_snapshot!(told(&scratch.look("wireguard")), @"pass: the kernel can load WireGuard");
    scratch.directory("/sys/module/wireguard");
    insta::assert_snapshot!(told(&scratch.look("wireguard")), @"pass: the kernel has WireGuard");
}

#[test]
fn control_groups_and_security_modules_are_told_without_an_opinion_where_none_is_due() {
    let scratch = Scratch::new();
    assert_eq!((scratch.look("cgroups").word(), scratch.look("security").word()), ("skipped", "skipped"));
    scratch.directory("/sys/fs/cgroup/memory");
    insta::assert_snapshot!(told(&scratch.look("cgroups")), @"
    warn: control groups are of version 1, which Docker and systemd are giving up
    boot with systemd.unified_cgroup_hierarchy=1, or use a newer distribution
    ");
    scratch.write("/sys/fs/cgroup/cgroup.controllers", "cpu\n");
    insta::assert_snapshot!(told(&scratch.look("cgroups")), @"pass: version 2");
    scratch.write("/sys/fs/selinux/enforce", "1");
    scratch.write("/sys/module/apparmor/parameters/enabled", "Y\n");
    insta::assert_snapshot!(told(&scratch.look("security")), @"pass: SELinux is enforcing (denials: `ausearch -m avc -ts boot`), AppArmor is on (denials: `journalctl -k -g apparmor=.DENIED`)");
}

#[test]
fn a_guest_agent_that_does_not_run_is_named_as_the_cause() {
    let scratch = Scratch::new();
    scratch.write("/sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
    assert_eq!(scratch.look("guest-agent").word(), "skipped");
    scratch.write("/sys/class/dmi/id/sys_vendor", "KubeVirt\n");
    insta::assert_snapshot!(told(&scratch.look("guest-agent")), @"pass: the provider asks for no guest agent");
    scratch.directory("/dev/virtio-ports");
    symlink("../vport1p1", scratch.paths().at("/dev/virtio-ports/org.qemu.guest_agent.0")).unwrap();
    assert_eq!(scratch.look("guest-agent").word(), "broken");
    scratch.write("/proc/1/comm", "systemd\n");
    insta::assert_snapshot!(told(&scratch.look("guest-agent")), @"
    warn: the provider cannot see this machine's address because qemu-guest-agent is not running
    apt-get install -y qemu-guest-agent && systemctl enable --now qemu-guest-agent
    ");
    fs::remove_dir_all(scratch.paths().proc_dir()).unwrap();
    scratch.with_proc();
    let _agent = Idle::called("qemu-ga", scratch.0.path(), Stdio::null());
    insta::assert_snapshot!(told(&scratch.look("guest-agent")), @"pass: qemu-guest-agent is running");
}

#[test]
fn what_an_installation_left_that_was_cut_off_is_told() {
    let scratch = Scratch::new();
    assert_eq!(scratch.look("leftovers").word(), "pass");
    scratch.directory("/opt/kasm/1.18.1/conf");
    scratch.directory("/opt/kasm/backups");
    insta::assert_snapshot!(told(&scratch.look("leftovers")), @"
    warn: /opt/kasm/1.18.1 is there, but /opt/kasm/current does not lead to a version; /opt/kasm/1.18.1 has no docker/docker-compose.yaml
    an installation did not come to its end: installing the same version wipes its directory; remove what else of it is not needed
    ");
    symlink("/opt/kasm/1.18.1", scratch.paths().kasm_current()).unwrap();
    scratch.write("/opt/kasm/1.18.1/docker/docker-compose.yaml", "");
    scratch.directory("/opt/kasm/1.18.1/bin");
    symlink("/opt/kasm/1.18.1/bin", scratch.paths().at("/opt/kasm/bin")).unwrap();
    insta::assert_snapshot!(told(&scratch.look("leftovers")), @"pass: nothing is left of half an installation");
    fs::remove_dir(scratch.paths().at("/opt/kasm/1.18.1/bin")).unwrap();
    insta::assert_snapshot!(told(&scratch.look("leftovers")), @"
    warn: /opt/kasm/bin points to /opt/kasm/1.18.1/bin, which is not there
    an installation did not come to its end: installing the same version wipes its directory; remove what else of it is not needed
    ");
    fs::remove_dir_all(scratch.paths().kasm_dir()).unwrap();
    scratch.write("/opt/kasm", "a file");
    assert_eq!(scratch.look("leftovers").word(), "broken");
}

/// A tmpfs over a directory, gone when dropped. `None` where it may not be mounted.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn over(path: PathBuf, flags: MsFlags, options: &str) -> Option<Tmpfs> {
        fs::create_dir_all(&path).unwrap();
        match nix::mount::mount(Some("tmpfs"), &path, Some("tmpfs"), flags, Some(options)) {
            Ok(()) => Some(Tmpfs(path)),
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

#[test]
fn file_systems_that_are_full_read_only_or_noexec_are_told_where_docker_and_kasm_lie() {
    let scratch = Scratch::new();
    let real = fs::canonicalize(scratch.0.path()).unwrap();
    let told = |verdict: Verdict| told(&verdict).replace(real.to_str().unwrap(), "");
    let docker = scratch.paths().docker_dir();
    let Some(tmpfs) = Tmpfs::over(docker.clone(), MsFlags::empty(), "size=300m") else { return };
    insta::assert_snapshot!(told(scratch.look("disk-docker")), @"
    warn: 300 MiB free on /var/lib/docker (tmpfs) for /var/lib/docker, Kasm's images take up to 2.0 GiB
    free space on /var/lib/docker or give the machine a larger disk
    ");
    fs::write(docker.join("filler"), vec![1; 100 << 20]).unwrap();
    let verdict = scratch.look("disk-docker");
    assert_eq!(reason(&verdict), "preflight.disk-space");
    insta::assert_snapshot!(told(verdict), @"
    fail: 200 MiB free on /var/lib/docker (tmpfs) for /var/lib/docker, 256 MiB needed
    free space on /var/lib/docker or give the machine a larger disk
    ");
    let mut context = scratch.context();
    context.installer.flags = vec!["no-check-disk".into()];
    assert_eq!(look(&context, "disk-docker").word(), "skipped");
    drop(tmpfs);
    // Docker says itself where its images are.
    let other = scratch.paths().at("/srv/images");
    let Some(tmpfs) = Tmpfs::over(other, MsFlags::MS_RDONLY, "size=8m") else { return };
    let server =
        Docker::scripted(&scratch.paths().at("/"), Script { root_dir: "/srv/images".into(), ..Script::default() });
    let verdict = scratch.look("disk-docker");
    assert_eq!(reason(&verdict), "preflight.read-only");
    insta::assert_snapshot!(told(verdict), @"
    fail: /srv/images cannot be written: /srv/images (tmpfs) is mounted read-only
    mount -o remount,rw /srv/images; if it went read-only by itself, see `dmesg` for disk errors
    ");
    drop((server, tmpfs));
    let Some(tmpfs) = Tmpfs::over(docker, MsFlags::empty(), "size=1g,nr_inodes=100") else { return };
    assert_eq!(reason(&scratch.look("disk-docker")), "preflight.inodes");
    drop(tmpfs);
    let Some(_tmpfs) = Tmpfs::over(scratch.paths().at("/opt"), MsFlags::MS_NOEXEC, "size=1g") else { return };
    let verdict = scratch.look("disk-kasm");
    assert_eq!(reason(&verdict), "preflight.noexec");
    insta::assert_snapshot!(told(verdict), @"
    fail: programs cannot be run below /opt/kasm: /opt (tmpfs) is mounted noexec
    mount -o remount,exec /opt, and take noexec out of /etc/fstab
    ");
}

/// `preflight` of the real binary on this machine.
fn command(scratch: &Scratch, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"));
    command.arg("--root").arg(scratch.0.path()).arg("preflight").args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KASM_BOOTSTRAP") {
            command.env_remove(name);
        }
    }
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_root_with_nothing_in_it_passes() {
    let scratch = Scratch(tempfile::tempdir().unwrap());
    let (code, text) = command(&scratch, &["--skip", "architecture", "--skip", "root"]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn the_command_tells_a_machine_that_is_mean_as_text_and_as_json() {
    let scratch = Scratch::new();
    scratch.with_proc();
    scratch.write("/etc/os-release", "ID=ubuntu\nVERSION_ID=\"23.04\"\nPRETTY_NAME=\"Ubuntu 23.04\"\n");
    scratch.write("/snap/bin/docker", "");
    scratch.write("/sys/class/dmi/id/sys_vendor", "QEMU\n");
    scratch.directory("/sys/fs/cgroup/memory");
    scratch.directory("/var/lib/docker-plugins");
    scratch.directory("/opt/kasm/1.16.1");
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let mine = ["-S", "agent", "-L", &port];
    // What depends on the machine that the tests run on.
    let skipped: Vec<&str> = ["architecture", "root", "disk-state", "disk-kasm", "disk-docker", "exec-allowed"]
        .iter()
        .flat_map(|name| ["--skip", name])
        .collect();
    let args: Vec<&str> = mine.iter().chain(&skipped).copied().collect();
    let (code, text) = command(&scratch, &args);
    assert_eq!(code, 12, "{text}");
    let _stable = stable();
    insta::assert_snapshot!(unwrapped(&text), @"
    FAIL  os               Ubuntu 23.04 is not a system that Kasm's installer is known to support
                           help: install.sh refuses unknown systems unless docker and its compose plugin are there already: install both first, or use Ubuntu 22.04 or 24.04, Debian 12, or a RHEL 9 family system
    FAIL  ports            in use: port [PORT] by [HOLDER]
                           help: [STOP], or give Kasm another port with -L PORT
    FAIL  docker           Docker is installed as a snap, which install.sh refuses
                           help: snap remove docker; install.sh then installs Docker's own packages
    warn  cgroups          control groups are of version 1, which Docker and systemd are giving up
                           help: boot with systemd.unified_cgroup_hierarchy=1, or use a newer distribution
    warn  rclone           not there, and the rclone plugin cannot be installed without: /var/lib/docker-plugins/rclone/config, /var/lib/docker-plugins/rclone/cache
                           help: mkdir -p /var/lib/docker-plugins/rclone/config /var/lib/docker-plugins/rclone/cache
    warn  leftovers        /opt/kasm/1.16.1 is there, but /opt/kasm/current does not lead to a version; /opt/kasm/1.16.1 has no docker/docker-compose.yaml
                           help: an installation did not come to its end: installing the same version wipes its directory; remove what else of it is not needed
    ok    kasm-present, guest-agent
    skip  root, architecture, disk-state, disk-kasm, exec-allowed, disk-docker: as asked
    skip  installer-tools, memory, cores, systemd, security, wireguard: not needed below --root
    skip  compose: Docker is a snap: see docker
    skip  sidecar: Docker does not answer: see docker
    skip  auth-tokens: no connection proxy is installed here
    skip  manager-name, manager-tcp, manager-tls, manager-health, address, proxy: no manager is given
    skip  clock: there is nobody to compare it with
    skip  release-mirror: no release is given
    `kasm-bootstrap preflight --fix` mends: rclone
    8 checks: 2 ok, 3 warned, 3 failed, 23 skipped
    ");
    let (_, every) = command(&scratch, &[args.as_slice(), &["-v"]].concat());
    assert!(every.contains("\nskip  security         not needed below --root\n"), "{every}");
    let (code, json) = command(&scratch, &[args.as_slice(), &["--json"]].concat());
    assert_eq!(code, 12);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&report["schema"], &report["ok"]), (&1.into(), &false.into()));
    let ports = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "ports").unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(ports).unwrap(), @r#"
    {
      "name": "ports",
      "verdict": "fail",
      "detail": "in use: port [PORT] by [HOLDER]",
      "reason": "preflight.port-in-use",
      "help": "[STOP], or give Kasm another port with -L PORT",
      "took_ms": 0
    }
    "#);
}

#[test]
fn an_unknown_check_cannot_be_left_out_whoever_asks() {
    let scratch = Scratch::new();
    assert_eq!(command(&scratch, &["--skip", "portz"]).0, 2);
    scratch.write("/etc/kasm-bootstrap/config.toml", "[preflight]\nskip = [\"portz\"]\n");
    assert_eq!(command(&scratch, &[]).0, 2);
}

#[test]
fn an_install_is_refused_before_anything_is_fetched_and_goes_on_when_the_check_is_left_out() {
    let scene = Scene::new(&Options::default());
    fs::write(scene.root.join("usr/bin/docker"), "").unwrap();
    scene.containers(Script { version: "29.1.0".into(), ..Script::default() });
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 12, "{err}");
    assert!(err.contains("[preflight.compose]"), "{err}");
    assert!(scene.whole_downloads() == 0 && !scene.root.join("opt").exists());
    let (code, _, err) = spoken(&run(&mut scene.install(&["--skip", "compose"])));
    assert_eq!(code, 0, "{err}");
}
