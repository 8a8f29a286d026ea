//! From the moment apt's locks are free to the installer's first line: ours, and what Kasm's script does.

use crate::Fallible;
use kasm_stand_in::docker::Docker;
use kasm_stand_in::lock;
use kasm_stand_in::manager::{Behaviour, Manager};
use kasm_stand_in::mirror::Mirror;
use kasm_stand_in::release::{Options, Release};
use kasm_stand_in::tls;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

const LOCKS: [&str; 4] =
    ["var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock", "var/lib/apt/lists/lock", "var/cache/apt/archives/lock"];
/// What an installer's first line is preceded by here: the time, written without starting a program.
const STAMP: &str = r#"printf '%s\n' "$EPOCHREALTIME" >"$KASM_BOOTSTRAP_ROOT/first-line""#;
/// Written from docs/kasm-facts.md, 7: two of apt's lock files and the log of unattended-upgrades, each until
/// nobody has it open, then ten seconds. How long the script sleeps between two looks is not on record: one
/// second is what is usual. A file that is merely open counts for fuser(1), so a free lock is a closed file.
const OFFICIAL: &str = r#"
for file in var/lib/dpkg/lock var/lib/apt/lists/lock var/log/unattended-upgrades/unattended-upgrades.log; do
  while [ -e "$KASM_BOOTSTRAP_ROOT/$file" ] && fuser -s "$KASM_BOOTSTRAP_ROOT/$file"; do sleep 1; done
done
sleep 10
"#;

/// A scratch machine whose apt is busy for as long as we like.
struct Machine {
    root: PathBuf,
    directory: tempfile::TempDir,
}

impl Machine {
    fn new(below: &Path) -> Fallible<Machine> {
        let directory = tempfile::tempdir_in(below)?;
        let root = directory.path().join("machine");
        for path in
            ["etc/apt/apt.conf.d", "var/lib/dpkg", "var/lib/apt/lists", "var/cache/apt/archives", "run", "usr/bin"]
        {
            fs::create_dir_all(root.join(path))?;
        }
        for path in LOCKS.iter().chain(&["usr/bin/apt-get"]) {
            File::create(root.join(path))?;
        }
        fs::write(root.join("etc/os-release"), "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n")?;
        fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
        fs::write(root.join("etc/fstab"), "")?;
        Ok(Machine { root, directory })
    }

    /// Takes the four locks as apt does, for this process. Dropping the files lets them go.
    fn hold(&self) -> Fallible<Vec<File>> {
        let held = |path: &str| -> io::Result<File> {
            let file = File::options().read(true).write(true).open(self.root.join(path))?;
            lock::take(&file)?;
            Ok(file)
        };
        Ok(LOCKS.into_iter().map(held).collect::<io::Result<_>>()?)
    }

    /// Leaves it to whoever removes the scratch directory.
    fn keep(self) -> PathBuf {
        let Machine { root, directory } = self;
        // Its path is in the other one.
        let _ = directory.keep();
        root
    }

    /// Seconds between a moment and the first line.
    fn first_line_after(&self, freed: SystemTime) -> Fallible<f64> {
        let text = fs::read_to_string(self.root.join("first-line")).map_err(|_| "the installer was never started")?;
        let stamped = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(text.trim().replace(',', ".").parse()?);
        Ok(stamped
            .duration_since(freed)
            .map_err(|_| "the installer was started while the locks were held")?
            .as_secs_f64())
    }
}

/// Moments that have nothing to do with anybody's polling, and are the same in each run.
fn moment(number: u32) -> Duration {
    Duration::from_micros(u64::from(number.wrapping_mul(2_654_435_761) >> 12) % 1_000_000)
}

/// What waiting for the package manager costs.
pub struct Ours {
    /// Seconds from the release of the locks to the first line of install.sh, each run of `install`.
    pub install: Vec<f64>,
    /// The same for `apt-wait && echo`.
    pub apt_wait: Vec<f64>,
    /// KiB resident while `install` waited, each run.
    pub idle: Vec<f64>,
    /// The scratch machine of the last run, kept for `status` to tell about.
    pub root: PathBuf,
}

/// Ours, so many times.
pub fn ours(binary: &Path, scratch: &Path, runs: u32) -> Fallible<Ours> {
    let built = Release::build(&Options::default());
    let (tar_gz, sha256) = stamped(&built.tar_gz)?;
    let manager = Manager::start(Some(tls::self_signed(&["127.0.0.1"]).config), Behaviour::default());
    let mirror = Mirror::plain(&[("/r.tar.gz", &tar_gz)]);
    let token = scratch.join("token");
    fs::write(&token, "Zq7Wk3Rt9Xv5Lm1Pn8Bd")?;
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600))?;
    let mut found = Ours { install: Vec::new(), apt_wait: Vec::new(), idle: Vec::new(), root: PathBuf::new() };
    for run in 0..runs {
        let machine = Machine::new(scratch)?;
        let docker = Docker::start(&machine.root);
        let mut command = Command::new(binary);
        command.arg("--root").arg(&machine.root).args(["install", "-e", "-S", "agent", "-p", "auto", "-m"]);
        command.arg(manager.address().to_string()).args(["-i", "server-7", "-r", "harvester", "--insecure"]);
        command.arg("--manager-token-file").arg(&token).args(["--release-url", &mirror.url("/r.tar.gz")]);
        command.args(["--sha256", &sha256, "--deadline", "120s"]);
        let held = machine.hold()?;
        let child = start(&mut command)?;
        wait_for_unpacked(&machine.root)?;
        std::thread::sleep(moment(run));
        found.idle.push(resident(child.id())?);
        let freed = SystemTime::now();
        drop(held);
        finish(child)?;
        found.install.push(machine.first_line_after(freed)?);
        drop(docker);
        found.root = machine.keep();

        let machine = Machine::new(scratch)?;
        let held = machine.hold()?;
        let line = format!("\"$BIN\" -q --root \"$KASM_BOOTSTRAP_ROOT\" apt-wait && {STAMP}");
        let child = start(
            Command::new("bash").args(["-c", &line]).env("BIN", binary).env("KASM_BOOTSTRAP_ROOT", &machine.root),
        )?;
        std::thread::sleep(Duration::from_millis(200) + moment(run));
        let freed = SystemTime::now();
        drop(held);
        finish(child)?;
        found.apt_wait.push(machine.first_line_after(freed)?);
    }
    Ok(found)
}

/// What the official script's waiting costs, all runs at once: they sleep. `None` without fuser(1).
pub fn official(scratch: &Path, runs: u32) -> Fallible<Option<Vec<f64>>> {
    if Command::new("fuser").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return Ok(None);
    }
    let machines: Vec<Machine> = (0..runs).map(|_| Machine::new(scratch)).collect::<Fallible<_>>()?;
    let line = format!("{OFFICIAL}\n{STAMP}");
    let mut held = Vec::new();
    let mut children = Vec::new();
    for machine in &machines {
        held.push(machine.hold()?);
        children.push(start(Command::new("bash").args(["-c", &line]).env("KASM_BOOTSTRAP_ROOT", &machine.root))?);
    }
    let begun = Instant::now();
    let mut order: Vec<(Duration, usize, Vec<File>)> = held
        .into_iter()
        .enumerate()
        .map(|(number, files)| (Duration::from_secs(1) + moment(number as u32), number, files))
        .collect();
    order.sort_by_key(|(due, ..)| *due);
    let mut freed = vec![SystemTime::UNIX_EPOCH; machines.len()];
    for (due, number, files) in order {
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        freed[number] = SystemTime::now();
        drop(files);
    }
    children.into_iter().try_for_each(finish)?;
    machines
        .iter()
        .zip(freed)
        .map(|(machine, freed)| machine.first_line_after(freed))
        .collect::<Fallible<_>>()
        .map(Some)
}

/// The stand-in's release with the time written before anything else.
fn stamped(tar_gz: &[u8]) -> Fallible<(Vec<u8>, String)> {
    use sha2::Digest;
    use std::io::Read;
    let mut before = tar::Archive::new(flate2::read::GzDecoder::new(tar_gz));
    let mut after = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for entry in before.entries()? {
        let mut entry = entry?;
        let mut header = entry.header().clone();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if entry.path()?.ends_with("kasm_release/install.sh") {
            let text = String::from_utf8(bytes)?;
            let (shebang, rest) = text.split_once('\n').ok_or("install.sh has one line only")?;
            bytes = format!("{shebang}\n{STAMP}\n{rest}").into_bytes();
            header.set_size(bytes.len() as u64);
            header.set_cksum();
        }
        after.append(&header, bytes.as_slice())?;
    }
    let bytes = after.into_inner()?.finish()?;
    let sha256 = sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((bytes, sha256))
}

fn start(command: &mut Command) -> Fallible<Child> {
    // A comma in the time is a locale's.
    Ok(command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

fn finish(mut child: Child) -> Fallible<()> {
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("a run that should end well ended with {status}").into()) }
}

/// Until all that `install` can do while apt is busy is done.
fn wait_for_unpacked(root: &Path) -> Fallible<()> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let journal = fs::read_to_string(root.join("var/lib/kasm-bootstrap/journal.jsonl")).unwrap_or_default();
        let ended =
            |step: &str| journal.lines().any(|line| line.contains("ended") && line.contains(&format!("\"{step}\"")));
        if ["unpack", "address", "swap"].into_iter().all(ended) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err("install does not get as far as waiting for apt".into())
}

/// KiB in memory right now (proc(5), `VmRSS`).
fn resident(pid: u32) -> Fallible<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
