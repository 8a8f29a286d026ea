//! What watching a node costs while nothing happens: the real binary with its real probes, against stand-ins.
//!
//! `bench watch --binary FILE [--seconds N]`: installs on a scratch machine, starts the service again as after a
//! reboot, and measures it for N seconds (300 if not given) at its usual intervals.

use crate::Fallible;
use kasm_stand_in::docker::{Docker, Script};
use kasm_stand_in::manager::{Behaviour, Manager};
use kasm_stand_in::mirror::Mirror;
use kasm_stand_in::release::{Options as Shape, Release};
use kasm_stand_in::tls;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long an installation may take, and a start.
const PATIENCE: Duration = Duration::from_secs(60);
/// The bounds that the project has set itself.
const MOST_CPU: f64 = 0.2;
const MOST_MIB: f64 = 12.0;

struct Options {
    binary: PathBuf,
    seconds: u64,
}

impl Options {
    fn read(words: &[&str]) -> Fallible<Options> {
        let value = |name: &str| words.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
        let binary = value("--binary").map(PathBuf::from).ok_or("--binary is missing")?;
        Ok(Options { binary, seconds: value("--seconds").unwrap_or("300").parse()? })
    }
}

/// A running service; it ends with this.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the kernel says of a process (proc_pid_stat(5), proc_pid_status(5)).
struct Look {
    /// Seconds of processor time so far.
    cpu: f64,
    /// MiB in memory now, and at the most so far.
    rss: f64,
    most: f64,
}

impl Look {
    fn at(pid: u32) -> Fallible<Look> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no stat")?.1.split_whitespace().collect();
        let ticks = |at: usize| -> Fallible<f64> { Ok(fields.get(at).ok_or("a short stat")?.parse::<f64>()?) };
        let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.ok_or("no ticks")? as f64;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let mib = |name: &str| -> Fallible<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("a short status")?;
            Ok(line.split_whitespace().next().unwrap_or_default().parse::<f64>()? / 1024.0)
        };
        // utime and stime are the fields 14 and 15; what follows the name begins with field 3.
        Ok(Look { cpu: (ticks(11)? + ticks(12)?) / hertz, rss: mib("VmRSS:")?, most: mib("VmHWM:")? })
    }
}

pub fn run(words: &[&str]) -> Fallible<()> {
    let options = Options::read(words)?;
    let scratch = tempfile::tempdir()?;
    let root = scratch.path().join("machine");
    let _machine = machine(&root)?;
    let service = start(&options.binary, &root)?;
    let installed = Look::at(service.0.id())?;
    drop(service);
    // What the kernel tells of this machine's memory and load is asked for, too.
    symlink("/proc", root.join("proc"))?;
    let service = start(&options.binary, &root)?;
    // All probes have been asked once.
    std::thread::sleep(Duration::from_secs(10));
    let (before, begun) = (Look::at(service.0.id())?, Instant::now());
    std::thread::sleep(Duration::from_secs(options.seconds));
    let (after, took) = (Look::at(service.0.id())?, begun.elapsed().as_secs_f64());
    let cpu = (after.cpu - before.cpu) / took * 100.0;
    println!(
        "watching an agent for {took:.0} s, nothing happens: {cpu:.3} % of one processor ({:.2} s); {:.1} MiB in memory, \
         at the most {:.1} MiB\nwatching right after it has installed: {:.1} MiB in memory, at the most {:.1} MiB",
        after.cpu - before.cpu,
        after.rss,
        after.most,
        installed.rss,
        installed.most
    );
    match cpu < MOST_CPU && after.rss < MOST_MIB {
        true => Ok(()),
        false => Err(format!("that is more than {MOST_CPU} % and {MOST_MIB} MiB").into()),
    }
}

/// A scratch machine and its world, configured.
fn machine(root: &Path) -> Fallible<(Manager, Docker, Mirror)> {
    for path in ["etc/kasm-bootstrap", "run"] {
        fs::create_dir_all(root.join(path))?;
    }
    fs::write(root.join("etc/os-release"), "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n")?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    fs::write(root.join("etc/fstab"), "# nothing\n")?;
    let release = Release::build(&Shape::default());
    let manager = Manager::start(Some(tls::self_signed(&["127.0.0.1"]).config), Behaviour::default());
    let docker = Docker::scripted(root, Script { looks: 0, ..Script::default() });
    let path = format!("/kasm_release_{}.tar.gz", release.version);
    let mirror = Mirror::plain(&[(&path, &release.tar_gz)]);
    let text = format!(
        "role = \"agent\"\n[release]\nurls = [\"{}\"]\nsha256 = \"{}\"\n[manager]\naddress = \"{}\"\n\
         token = \"Zq7Wk3Rt9Xv5Lm1Pn8Bd\"\n[agent]\nserver_id = \"server-7\"\nprovider = \"harvester\"\n",
        mirror.url(&path),
        release.sha256,
        manager.address()
    );
    let file = root.join("etc/kasm-bootstrap/config.toml");
    fs::write(&file, text)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    Ok((manager, docker, mirror))
}

/// Starts the service, and waits until it has found the node healthy.
fn start(binary: &Path, root: &Path) -> Fallible<Service> {
    let state = root.join("var/lib/kasm-bootstrap/health.json");
    // Of the start before, it says nothing of this one.
    let old = fs::read(&state).unwrap_or_default();
    let mut command = Command::new(binary);
    command.arg("--quiet").arg("--root").arg(root).arg("run");
    let mut service = Service(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
    let begun = Instant::now();
    loop {
        let now = fs::read(&state).unwrap_or_default();
        let healthy = String::from_utf8_lossy(&now).contains("\"verdict\": \"healthy\"");
        // A second start writes nothing where nothing has changed: then its own answer to a question has to do.
        if healthy && (now != old || begun.elapsed() > Duration::from_secs(5)) {
            return Ok(service);
        }
        if let Some(status) = service.0.try_wait()? {
            return Err(format!("the service has ended: {status}").into());
        }
        if begun.elapsed() > PATIENCE {
            return Err("the node does not become healthy".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
