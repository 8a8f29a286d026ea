//! The synthetic release keeps its promises: it behaves to its caller as `docs/kasm-facts.md`, 1 to 4,
//! says a real one does.

use kasm_stand_in::release::{Built, Fault, LISTS_LOCKED, Options, Padding, Point, Release};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const TOKEN: &str = "kZ7TokenTokenTokenQ9";
const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjF9.c2ln";

/// A release, unpacked, and a root to install into.
struct Bench {
    directory: TempDir,
    release: PathBuf,
}

impl Bench {
    fn new(options: &Options) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let release = Release::build(options).unpack(directory.path()).unwrap();
        fs::create_dir(directory.path().join("cwd")).unwrap();
        Bench { directory, release }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn run(&self, script: &str, args: &[&str]) -> Output {
        self.command(script, args).stdin(Stdio::null()).output().unwrap()
    }

    fn command(&self, script: &str, args: &[&str]) -> Command {
        let mut command = Command::new("bash");
        command.arg(self.release.join(script)).args(args);
        command.current_dir(self.directory.path().join("cwd")).env("KASM_BOOTSTRAP_ROOT", self.root());
        command
    }

    fn installed(&self, path: &str) -> String {
        let path = self.root().join("opt/kasm/current").join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn containers(&self) -> Vec<String> {
        let text = fs::read_to_string(self.root().join("run/stand-in-containers")).unwrap_or_default();
        text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    /// The logs left in the working directory.
    fn logs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path().join("cwd")).unwrap();
        entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn agent() -> Vec<&'static str> {
    vec![
        "-S",
        "agent",
        "-e",
        "-p",
        "10.0.0.5",
        "-m",
        "kasm.example.com",
        "-M",
        TOKEN,
        "-i",
        "id-1",
        "-r",
        "harvester",
        "-H",
    ]
}

fn guac() -> Vec<&'static str> {
    vec!["-S", "guac", "-e", "-p", "10.0.0.6", "-n", "kasm.example.com", "-k", TOKEN, "-z", "zone-1", "-H"]
}

fn version(version: &str) -> Options {
    Options { version: version.into(), ..Options::default() }
}

fn with(fault: Fault) -> Options {
    Options { faults: vec![fault], ..Options::default() }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn an_agent_is_installed_configured_and_started() {
    let bench = Bench::new(&Options::default());
    let output = bench.run("install.sh", &agent());
    assert!(output.status.success(), "{}", text(&output));
    let yaml = bench.installed("conf/app/agent/agent.app.config.yaml");
    for line in [
        "  server_id: id-1",
        "  public_hostname: 10.0.0.5",
        "  public_port: 443",
        "  provider: harvester",
        "  hostnames: ['kasm.example.com']",
        &format!("  token: {TOKEN}"),
    ] {
        assert!(yaml.lines().any(|found| found == line), "{line} in\n{yaml}");
    }
    assert_eq!(bench.containers(), ["kasm_agent", "kasm_proxy"]);
    let kasm = bench.root().join("opt/kasm");
    assert_eq!(fs::read_link(kasm.join("current")).unwrap(), kasm.join("1.18.1"));
    assert_eq!(fs::read_link(kasm.join("bin")).unwrap(), kasm.join("1.18.1/bin"));
    for directory in ["bin", "certs", "conf", "docker", "log", "tmp", "www"] {
        assert!(kasm.join("1.18.1").join(directory).is_dir(), "{directory}");
    }
    assert!(bench.installed("docker/docker-compose.yaml").contains("stand-in/agent:1.18.1"));
    assert_eq!(mode(&kasm.join("current/certs/kasm_nginx.key")), 0o600);
}

#[test]
fn a_connection_proxy_is_installed_configured_and_started() {
    let bench = Bench::new(&Options::default());
    let output = bench.run("install.sh", &guac());
    assert!(output.status.success(), "{}", text(&output));
    for (file, key) in [
        ("guac/kasmguac", "kasmguac:"),
        ("rdp_gateway/passthrough", "rdp-gateway:"),
        ("rdp_https_gateway/rdp_https_gateway", "rdp-gateway:"),
    ] {
        let yaml = bench.installed(&format!("conf/app/{file}.app.config.yaml"));
        let token = format!("  registration_token: {TOKEN}");
        for line in [
            key,
            "  server_address: 10.0.0.6",
            "  server_port: 443",
            "  zone: zone-1",
            &token,
            "  hostnames: ['kasm.example.com']",
        ] {
            assert!(yaml.lines().any(|found| found == line), "{line} in\n{yaml}");
        }
    }
    assert_eq!(bench.containers(), ["kasm_guac", "kasm_rdp_gateway", "kasm_rdp_https_gateway", "kasm_proxy"]);
}

#[test]
fn up_to_1_16_the_configuration_lies_in_one_directory() {
    let bench = Bench::new(&version("1.16.1.98d6fa"));
    assert!(bench.run("install.sh", &agent()).status.success());
    assert!(bench.installed("conf/app/agent.app.config.yaml").contains("id-1"));
    assert!(fs::read_link(bench.root().join("opt/kasm/current")).unwrap().ends_with("1.16.1"));
    let bench = Bench::new(&version("1.16.1"));
    assert!(bench.run("install.sh", &guac()).status.success());
    for name in ["kasmguac", "passthrough", "rdp_https_gateway"] {
        assert!(bench.installed(&format!("conf/app/{name}.app.config.yaml")).contains(TOKEN), "{name}");
    }
}

#[test]
fn long_flags_mean_what_short_ones_do() {
    let args = "--role agent --accept-eula --public-hostname a.example --manager-hostname m.example --agent-server-id id-2 \
                --agent-provider ec2 --proxy-port 8443 --no-swap-check --use-rolling-images --skip-v4l2loopback --skip-egress \
                --skip-custom-rclone --no-check-disk --no-check-ports --skip-connection-test --no-start --verbose --manager-token";
    let args: Vec<&str> = args.split_whitespace().chain([TOKEN]).collect();
    let bench = Bench::new(&Options::default());
    let output = bench.run("install.sh", &args);
    assert!(output.status.success(), "{}", text(&output));
    let yaml = bench.installed("conf/app/agent/agent.app.config.yaml");
    assert!(yaml.contains("public_hostname: a.example\n  public_port: 8443\n  provider: ec2\n"), "{yaml}");
    assert!(bench.containers().is_empty(), "--no-start starts nothing");
    let args = "--role guac --accept-eula --public-hostname g.example --api-hostname m.example --server-zone z --swap-size 1024 \
                --registration-token";
    let args: Vec<&str> = args.split_whitespace().chain([TOKEN]).collect();
    let output = bench.run("install.sh", &args);
    assert!(output.status.success(), "{}", text(&output));
    assert!(bench.installed("conf/app/guac/kasmguac.app.config.yaml").contains("server_address: g.example"));
}

#[test]
fn flags_drift_from_version_to_version() {
    let knows = |wanted: &str, flag: &str| {
        let output = Bench::new(&version(wanted)).run("install.sh", &[flag, "--help"]);
        if !output.status.success() {
            assert_eq!(output.status.code(), Some(1));
            assert_eq!(text(&output), format!("Unknown option {flag}\n"));
        }
        assert!(text(&output).contains(&format!("{flag}\n")));
        output.status.success()
    };
    for (flag, first, last) in [
        ("--offline-plugin", 0, 16),
        ("--offline-network-plugin", 17, 99),
        ("--use-static-images", 19, 99),
        ("--role", 0, 99),
    ] {
        for minor in 16..=20 {
            assert_eq!(knows(&format!("1.{minor}.0"), flag), (first..=last).contains(&minor), "{flag} in 1.{minor}");
        }
    }
}

#[test]
fn a_release_can_lack_a_flag() {
    let bench = Bench::new(&Options { missing_flags: vec!["agent-provider".into()], ..Options::default() });
    let output = bench.run("install.sh", &agent());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output), "Unknown option -r\n");
    assert!(!fs::read_to_string(bench.release.join("install.sh")).unwrap().contains("agent-provider"));
}

#[test]
fn a_value_that_begins_with_a_dash_is_taken_for_an_option() {
    let bench = Bench::new(&Options::default());
    let output = bench.run("install.sh", &["-S", "agent", "-e", "-M", "-secret"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output), "Unknown option -secret\n");
    assert!(!bench.root().exists());
}

#[test]
fn a_slash_breaks_the_configuration_midway_and_an_ampersand_mangles_it() {
    let bench = Bench::new(&Options::default());
    let mut args = agent();
    args[8] = "a/b";
    let output = bench.run("install.sh", &args);
    assert_eq!(output.status.code(), Some(1), "sed's own code");
    assert_eq!(bench.logs().len(), 1, "an error the script does not handle leaves the log");
    args[8] = "a&b";
    assert!(bench.run("install.sh", &args).status.success());
    assert!(bench.installed("conf/app/agent/agent.app.config.yaml").contains("token: atoken: unsetb"));
}

#[test]
fn values_that_hold_a_placeholder_are_substituted_again() {
    let bench = Bench::new(&Options::default());
    let mut args = guac();
    args[4] = "ZONE.example";
    assert!(bench.run("install.sh", &args).status.success());
    assert!(bench.installed("conf/app/guac/kasmguac.app.config.yaml").contains("server_address: zone-1.example"));
}

#[test]
fn without_e_it_asks_and_without_an_answer_it_ends() {
    let bench = Bench::new(&Options::default());
    let mut args = agent();
    args.retain(|arg| *arg != "-e");
    let output = bench.run("install.sh", &args);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).starts_with("Do you accept the licence agreement (y/n)? "), "{}", text(&output));
    assert!(bench.logs().is_empty());

    use std::io::Write;
    let mut child = bench.command("install.sh", &args).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"y\n").unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn without_a_word_about_swap_it_asks() {
    let bench = Bench::new(&Options::default());
    let mut args = agent();
    args.retain(|arg| *arg != "-H");
    let output = bench.run("install.sh", &args);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("How much swap"), "{}", text(&output));
}

#[test]
fn errors_it_handles_end_with_1_and_leave_no_log() {
    let without = |args: Vec<&'static str>, flag: &str| -> Vec<&'static str> {
        let at = args.iter().position(|arg| *arg == flag).unwrap();
        [&args[..at], &args[at + 2..]].concat()
    };
    for (args, words) in [
        (without(agent(), "-S"), "Invalid Role Defined"),
        (without(agent(), "-M"), "FATAL:"),
        (without(guac(), "-n"), "FATAL:"),
        (without(guac(), "-k"), "FATAL:"),
        ([agent(), vec!["-s", "/nowhere.tar.gz"]].concat(), "no such file"),
    ] {
        let bench = Bench::new(&Options::default());
        let output = bench.run("install.sh", &args);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains(words), "{}", text(&output));
        assert!(bench.logs().is_empty());
        assert!(!bench.root().join("opt").exists());
    }
}

#[test]
fn the_token_is_echoed_and_stays_in_a_log_that_an_unhandled_error_leaves() {
    let bench = Bench::new(&with(Fault::Fail { at: Point::Linked, words: "No space left on device".into(), code: 28 }));
    let output = bench.run("install.sh", &agent());
    assert_eq!(output.status.code(), Some(28));
    let line = format!("Setting Default Manager Token as {TOKEN}\n");
    assert!(text(&output).contains(&line));
    let logs = bench.logs();
    assert_eq!(logs.len(), 1);
    assert!(logs[0].contains(&line) && logs[0].ends_with("No space left on device\n"), "{}", logs[0]);
}

#[test]
fn success_and_handled_failures_leave_no_log() {
    let bench = Bench::new(&Options::default());
    assert!(bench.run("install.sh", &agent()).status.success());
    assert!(bench.logs().is_empty());
    let words = "Port 443 is in use. Installation cannot continue.";
    let bench = Bench::new(&with(Fault::Fail { at: Point::Start, words: words.into(), code: 255 }));
    let output = bench.run("install.sh", &agent());
    assert_eq!(output.status.code(), Some(255));
    assert_eq!(text(&output), format!("{words}\n"));
    assert!(bench.logs().is_empty());
}

#[test]
fn a_second_install_of_a_version_wipes_the_first() {
    let bench = Bench::new(&Options::default());
    assert!(bench.run("install.sh", &agent()).status.success());
    let mine = bench.root().join("opt/kasm/1.18.1/conf/mine");
    fs::write(&mine, "kept?").unwrap();
    assert!(bench.run("install.sh", &agent()).status.success());
    assert!(!mine.exists());
    assert_eq!(bench.containers(), ["kasm_agent", "kasm_proxy"], "started twice, running once");
}

#[test]
fn a_lost_race_for_apt_happens_so_often_and_no_more() {
    let bench = Bench::new(&with(Fault::AptLocked { at: Point::Apt, times: 2, words: LISTS_LOCKED.into() }));
    for _ in 0..2 {
        let output = bench.run("install.sh", &agent());
        assert_eq!(output.status.code(), Some(100));
        assert!(text(&output).contains("Could not get lock /var/lib/apt/lists/lock"));
        assert!(!bench.root().join("opt").exists(), "nothing was installed yet");
    }
    assert!(bench.run("install.sh", &agent()).status.success());
}

#[test]
fn a_hanging_installer_hangs_until_it_is_killed() {
    use std::io::{BufRead, BufReader};
    let words = "about to hang".to_owned();
    let faults = vec![
        Fault::Fail { at: Point::Started, words: "never reached".into(), code: 3 },
        Fault::NoLineFeed { at: Point::Apt, words: format!("{words}\n") },
        Fault::Hang { at: Point::Apt, ignore_term: true },
    ];
    let bench = Bench::new(&Options { faults, ..Options::default() });
    use std::os::unix::process::CommandExt;
    let mut child = bench
        .command("install.sh", &agent())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == words));
    assert!(child.try_wait().unwrap().is_none());
    let group = format!("-{}", child.id());
    assert!(Command::new("kill").args(["-KILL", "--", &group]).status().unwrap().success());
    assert!(!child.wait().unwrap().success());
}

#[test]
fn the_remaining_faults_do_what_they_say() {
    use std::os::unix::process::ExitStatusExt;
    let run = |fault: Fault| Bench::new(&with(fault)).run("install.sh", &agent());
    let output = run(Fault::NoLineFeed { at: Point::Started, words: "it's over".into() });
    assert!(text(&output).contains("it's overInstallation complete\n"));
    let output = run(Fault::Flood { at: Point::Apt, lines: 500 });
    assert!(text(&output).contains("line 1 of 500\n") && text(&output).contains("line 500 of 500\n"));
    let output = run(Fault::EchoToken { at: Point::Files });
    assert!(text(&output).contains(&format!("{TOKEN} and {TOKEN}\nx{TOKEN}x\n{TOKEN}\n")), "{}", text(&output));
    let output = run(Fault::Signal { at: Point::Wiped, signal: "KILL" });
    assert_eq!(output.status.signal(), Some(9));

    let bench = Bench::new(&with(Fault::LeaveBehind { at: Point::Linked, seconds: 1 }));
    assert!(bench.run("install.sh", &agent()).status.success());
    assert!(bench.root().join("run/stand-in-left-behind.pid").exists());

    let bench = Bench::new(&with(Fault::Ask { at: Point::Apt, question: "Install wireguard?".into() }));
    use std::io::Write;
    let mut child = bench.command("install.sh", &agent()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"yes\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(text(&output).contains("Install wireguard? "));
}

#[test]
fn a_manager_that_does_not_answer_fails_an_agent_late() {
    let options = Options { manager_test: Some((2, std::time::Duration::from_millis(10))), ..Options::default() };
    let bench = Bench::new(&options);
    let mut args = agent();
    // Nothing listens on port 1 of loopback.
    args[6] = "127.0.0.1:1";
    let output = bench.run("install.sh", &args);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("FATAL: the manager at https://127.0.0.1:1/api/__healthcheck does not answer."));
    assert!(bench.root().join("opt/kasm/1.18.1/conf/app/agent/agent.app.config.yaml").exists());
    assert!(!bench.root().join("opt/kasm/current").exists());
    args.push("-N");
    assert!(bench.run("install.sh", &args).status.success());
}

#[test]
fn a_registered_connection_proxy_has_its_own_token_and_no_other() {
    let bench = Bench::new(&Options { auth_token: Some(JWT.into()), ..Options::default() });
    assert!(bench.run("install.sh", &guac()).status.success());
    let yaml = bench.installed("conf/app/guac/kasmguac.app.config.yaml");
    assert!(yaml.contains(&format!("auth_token: {JWT}")) && !yaml.contains("registration_token"), "{yaml}");
}

#[test]
fn an_upgrade_takes_its_values_from_the_old_configuration_and_leaves_the_old_version() {
    for (role, args, token, file) in [
        ("agent", agent(), None, "agent/agent.app.config.yaml"),
        ("guac", guac(), Some("kZ7OtherOtherOtherQ9"), "guac/kasmguac.app.config.yaml"),
    ] {
        let mut bench = Bench::new(&version("1.16.1"));
        assert!(bench.run("install.sh", &args).status.success());
        let next = tempfile::tempdir_in(bench.directory.path()).unwrap();
        bench.release = Release::build(&version("1.18.1")).unpack(next.path()).unwrap();
        if role == "guac" {
            let output = bench.run("upgrade.sh", &["--role", "guac"]);
            assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        }
        let output = match token {
            None => bench.run("upgrade.sh", &["--role", role]),
            Some(token) => bench.run("upgrade.sh", &["--role", role, "--registration-token", token]),
        };
        assert!(output.status.success(), "{}", text(&output));
        let yaml = bench.installed(&format!("conf/app/{file}"));
        assert!(yaml.contains("10.0.0.") && yaml.contains("kasm.example.com"), "{yaml}");
        assert!(yaml.contains(token.unwrap_or(TOKEN)), "{yaml}");
        assert!(bench.root().join("opt/kasm/1.16.1/conf/app").exists());
        assert!(fs::read_link(bench.root().join("opt/kasm/current")).unwrap().ends_with("1.18.1"));
        assert!(!bench.containers().is_empty());
        assert_eq!(bench.run("upgrade.sh", &["--role", role, "-e"]).status.code(), Some(1), "it has no -e");
    }
}

#[test]
fn without_a_root_nothing_is_touched() {
    let bench = Bench::new(&Options::default());
    let output = bench.command("install.sh", &agent()).env_remove("KASM_BOOTSTRAP_ROOT").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("KASM_BOOTSTRAP_ROOT is not set"));
}

#[test]
fn the_tarball_is_the_same_every_time_and_as_heavy_as_asked() {
    let padding =
        |compressible| Options { padding: Padding { files: 3, bytes: 100_000, compressible }, ..version("1.19.0") };
    let heavy = Release::build(&padding(false));
    assert_eq!(heavy, Release::build(&padding(false)));
    assert!(heavy.tar_gz.len() > 300_000);
    assert!(Release::build(&padding(true)).tar_gz.len() < 30_000);
    let Built { sha256, version, .. } = heavy;
    assert_eq!((sha256.len(), version.as_str()), (64, "1.19.0"));
    assert!(sha256.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
}

#[test]
fn everything_lies_below_kasm_release() {
    let built = Release::build(&Options::default());
    let directory = tempfile::tempdir().unwrap();
    let release = built.unpack(directory.path()).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    for name in ["install.sh", "upgrade.sh", "install_dependencies.sh", "bin/start", "bin/stop", "bin/utils/yq_x86_64"]
    {
        assert_eq!(mode(&release.join(name)), 0o755, "{name}");
    }
    let path = built.write(directory.path()).unwrap();
    assert!(path.ends_with("kasm_release_1.18.1.tar.gz") && path.exists());
}
