//! What hostile others can and cannot do; SECURITY.md names these tests.

mod common;

use common::{Scene, TOKEN, holds, picture, run, spoken, start};
use kasm_bootstrap::observe::Silent;
use kasm_bootstrap::release::{Digest, Error, Limits, Verified, unpack};
use kasm_stand_in::manager::{Answer, Behaviour};
use kasm_stand_in::release::{Fault, Options, Point, Release};
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn faulty(fault: Fault) -> Options {
    Options { faults: vec![fault], ..Options::default() }
}

/// A program that keeps its environment and arguments, at this place.
fn confessor(program: &Path, kept: &Path, says: &str) {
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::write(program, format!("#!/bin/sh\n{{ echo \"$0 $*\"; env; }} >>{}\n{says}\n", kept.display())).unwrap();
    chmod(program, 0o755);
}

/// The scene's arguments with the token in a variable of ours instead of a file.
fn with_the_token_in_the_environment(scene: &Scene, more: &[&str]) -> Command {
    let args = scene.install_args();
    let at = args.iter().position(|arg| arg == "--manager-token-file").unwrap();
    let mut command = scene.command();
    command.arg("install").args(&args[..at]).args(&args[at + 2..]).args(more);
    command.env("KASM_BOOTSTRAP_MANAGER_TOKEN", TOKEN);
    command
}

fn read_proc(pid: &str, file: &str) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

#[test]
fn no_process_we_start_has_the_token_in_its_arguments_or_its_environment() {
    let scene = Scene::new(&faulty(Fault::Hang { at: Point::Start, ignore_term: false }));
    let mut child = start(&mut with_the_token_in_the_environment(&scene, &[]), &scene.root.join("said"));
    let ours = child.id().to_string();
    let record = scene.root.join("var/lib/kasm-bootstrap/attempts/1/installer.pid");
    let begun = Instant::now();
    let mut installers = 0;
    // From the first moment until the installer has its arguments and hangs.
    while installers < 20 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", fs::read_to_string(scene.root.join("said")).unwrap());
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let pid = process.file_name().into_string().unwrap_or_default();
            let parent = String::from_utf8_lossy(&read_proc(&pid, "stat"))
                .rsplit_once(')')
                .and_then(|(_, rest)| rest.split_whitespace().nth(1).map(str::to_owned));
            if pid != ours && parent.as_deref() != Some(&ours) {
                continue;
            }
            assert!(!holds(&read_proc(&pid, "cmdline"), TOKEN.as_bytes()), "in the arguments of {pid}");
            // Between fork and exec a child is still a copy of us.
            let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            if pid != ours && program != Path::new(env!("CARGO_BIN_EXE_kasm-bootstrap")) {
                assert!(!holds(&read_proc(&pid, "environ"), TOKEN.as_bytes()), "in the environment of {pid}");
                installers += usize::from(record.exists());
            }
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Puts an end to what the killed run left.
    run(&mut scene.install(&["--manager-token-file", "/dev/null"]));
}

#[test]
fn neither_systemctl_nor_kasms_stop_script_is_given_what_is_only_for_us() {
    let scene = Scene::new(&Options::default());
    let (bin, kept) = (scene.root.join("bin"), scene.root.join("kept"));
    confessor(&bin.join("systemctl"), &kept, "case \"$*\" in *is-active*) echo active; echo active ;; esac");
    fs::create_dir_all(scene.root.join("run/systemd/system")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut first = with_the_token_in_the_environment(&scene, &[]);
    assert_eq!(spoken(&run(first.env("PATH", &path))).0, 0);
    confessor(&scene.root.join("opt/kasm/bin/stop"), &kept, "");
    let mut second = with_the_token_in_the_environment(&scene, &["--force"]);
    let (code, _, err) = spoken(&run(second.env("PATH", &path).env("NOTIFY_SOCKET", "/run/x").env("OPERATORS", "own")));
    assert_eq!(code, 0, "{err}");
    let kept = fs::read_to_string(kept).unwrap();
    assert!(kept.contains("bin/stop") && kept.contains("systemctl --no-ask-password stop"), "{kept}");
    assert!(kept.contains("OPERATORS=own"), "{kept}");
    assert!(!kept.contains(TOKEN) && !kept.contains("KASM_BOOTSTRAP_MANAGER") && !kept.contains("NOTIFY_SOCKET"));
}

#[test]
fn a_crash_leaves_no_core_dump_with_a_token_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let script = "ulimit -c unlimited 2>/dev/null; exec \"$@\"";
    let mut child = Command::new("sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_kasm-bootstrap"), "token", "check"])
        .current_dir(&directory)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    // It reads its standard input once its arguments have been read, and that comes after the line in question.
    while !String::from_utf8_lossy(&read_proc(&child.id().to_string(), "comm")).starts_with("kasm-bootstrap")
        || !String::from_utf8_lossy(&read_proc(&child.id().to_string(), "status")).contains("Threads:\t2")
    {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGABRT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(6));
    assert!(!status.core_dumped());
}

#[test]
fn a_usage_error_does_not_repeat_what_could_be_a_token() {
    let jwt = format!("eyJhbGciOiJSUzI1NiJ9.{TOKEN}.{TOKEN}");
    let flag = format!("--manager-token{TOKEN}");
    for token in [TOKEN, &jwt] {
        for line in [
            &[token][..],
            &["status", token],
            &["install", "-M", "another-token-1", token],
            &["token", "check", "--kind", token],
            &["token", "check", "--at", token],
            &["release", "verify", "--sha256", token, "file"],
            &["release", "fetch", "--sha256", "sidecar", "--tls-pin", token, "url"],
            &["status", "--wait", "--timeout", token],
            &["install", &flag],
            &["status", "--", token],
            &["config", token],
        ] {
            let output = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap")).args(line).output().unwrap();
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.status.code(), Some(2), "{line:?}: {said}");
            assert!(!said.contains(TOKEN) && !said.contains(&token[..16]), "{line:?}: {said}");
            assert!(said.contains("not shown: it could be a token") && said.contains("--help"), "{said}");
        }
    }
    let output = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap")).args(["token", "check", "--kind", TOKEN]).output();
    insta::assert_snapshot!(String::from_utf8(output.unwrap().stderr).unwrap(), @r"
    error: invalid value for '--kind <KIND>' (20 characters, not shown: it could be a token)
      [possible values: manager, registration, checkin, auth]

    For more information, try '--help'.
    ");
    // What is a misspelt word of ours is still called by its name.
    for (line, shown) in [(["instal", "-e"], "'instal'"), (["install", "--manager-tokne"], "'--manager-tokne'")] {
        let output = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap")).args(line).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains(shown));
    }
}

#[test]
fn a_umask_of_zero_widens_nothing() {
    let scene = Scene::new(&Options::default());
    let inner = scene.install(&[]);
    let mut command = Command::new("sh");
    command.args(["-c", "umask 000; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.env_remove("KASM_BOOTSTRAP_CONFIG").stdin(Stdio::null());
    let (code, _, err) = spoken(&run(&mut command));
    assert_eq!(code, 0, "{err}");
    let state = scene.root.join("var/lib/kasm-bootstrap");
    assert_eq!(mode(&state), 0o700);
    for file in ["journal.jsonl", "lock", "installed.json", "attempts/1/installer.log"] {
        assert_eq!(mode(&state.join(file)), 0o600, "{file}");
    }
    for place in ["var/lib/kasm-bootstrap", "var/cache/kasm-bootstrap", "opt/kasm"] {
        let open: Vec<String> = picture(&scene.root.join(place))
            .into_iter()
            .filter(|line| !line.contains(" link to "))
            .filter(|line| u32::from_str_radix(line.split(' ').nth(1).unwrap(), 8).unwrap() & 0o022 != 0)
            .collect();
        assert_eq!(open, Vec::<String>::new());
    }
}

#[test]
fn others_can_read_neither_journal_nor_log_nor_receipt() {
    let scene = Scene::new(&Options::default());
    // A state directory that an image brought along, open to all readers.
    let state = scene.root.join("var/lib/kasm-bootstrap");
    fs::create_dir_all(&state).unwrap();
    chmod(&state, 0o755);
    assert_eq!(spoken(&run(&mut scene.install(&[]))).0, 0);
    assert_eq!(mode(&state), 0o700);
    if !nix::unistd::geteuid().is_root() {
        return; // only root can try it as another user
    }
    for directory in scene.root.ancestors().take(2) {
        chmod(directory, 0o755);
    }
    for file in ["journal.jsonl", "installed.json", "attempts/1/installer.log", "lock"] {
        let output = Command::new("cat").arg(state.join(file)).uid(65534).gid(65534).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{file}");
    }
    let cached = fs::read_dir(scene.root.join("var/cache/kasm-bootstrap")).unwrap().flatten().next().unwrap().path();
    let written = Command::new("dd").arg(format!("of={}", cached.display())).uid(65534).gid(65534).output().unwrap();
    assert!(!written.status.success());
}

#[test]
fn a_link_in_the_place_of_journal_or_lock_is_not_followed() {
    for name in ["journal.jsonl", "lock"] {
        let scene = Scene::new(&Options::default());
        let (state, victim) = (scene.root.join("var/lib/kasm-bootstrap"), scene.root.join("victim"));
        fs::create_dir_all(&state).unwrap();
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, state.join(name)).unwrap();
        let (code, _, err) = spoken(&run(&mut scene.install(&[])));
        assert_eq!(code, 1, "{name}: {err}");
        assert!(err.contains("[run.state]"), "{err}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(!scene.root.join("opt/kasm").exists());
    }
}

#[test]
fn a_state_directory_that_others_can_write_to_is_refused() {
    let scene = Scene::new(&Options::default());
    let state = scene.root.join("var/lib/kasm-bootstrap");
    fs::create_dir_all(&state).unwrap();
    chmod(&state, 0o1777);
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("other users can write to it") && err.contains("chmod 700"), "{err}");
    assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
    assert!(!scene.root.join("opt/kasm").exists());
}

#[test]
fn a_configuration_that_everybody_can_write_to_is_warned_of() {
    let scene = Scene::new(&Options::default());
    let file = scene.root.join("etc/kasm-bootstrap/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "role = \"agent\"\n").unwrap();
    chmod(&file, 0o666);
    let (code, _, err) = spoken(&run(&mut scene.install(&["--dry-run"])));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("every user can write to") && err.contains("chmod o-w"), "{err}");
    chmod(&file, 0o664);
    assert!(!spoken(&run(&mut scene.install(&["--dry-run"]))).2.contains("every user"));
}

/// A directory as others share it, and a fetch into it.
fn fetch_into(scene: &Scene, directory: &Path) -> Command {
    let mut command = scene.command();
    command.args(["release", "fetch", "--sha256", &scene.release.sha256, &scene.url(), "--deadline", "60s", "-o"]);
    command.arg(directory.join("release.tar.gz"));
    command
}

#[test]
fn a_partial_file_that_another_user_planted_is_not_written_to() {
    let scene = Scene::new(&Options::default());
    let shared = tempfile::tempdir().unwrap();
    let partial = shared.path().join(format!("{}.partial", scene.release.sha256));
    let victim = shared.path().join("victim");
    type Plant = fn(&Path, &Path);
    let plants: [(&str, Plant); 4] = [
        ("a link", |partial, victim| symlink(victim, partial).unwrap()),
        ("a hard link", |partial, victim| fs::hard_link(victim, partial).unwrap()),
        ("a file open to all", |partial, _| {
            fs::write(partial, "planted").unwrap();
            chmod(partial, 0o666);
        }),
        ("another user's file", |partial, _| {
            fs::write(partial, "planted").unwrap();
            if nix::unistd::geteuid().is_root() {
                std::os::unix::fs::chown(partial, Some(65534), Some(65534)).unwrap();
            } else {
                chmod(partial, 0o606); // only root can make it another's
            }
        }),
    ];
    for (what, plant) in plants {
        fs::write(&victim, "precious").unwrap();
        plant(&partial, &victim);
        let (code, _, err) = spoken(&run(&mut fetch_into(&scene, shared.path())));
        assert_eq!(code, 15, "{what}: {err}");
        assert!(err.contains("[download.write]"), "{what}: {err}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "{what}");
        fs::remove_file(&partial).unwrap();
    }
}

#[test]
fn a_pipe_in_the_place_of_a_record_holds_nobody_up() {
    let scene = Scene::new(&Options::default());
    let shared = tempfile::tempdir().unwrap();
    let origin = shared.path().join(format!("{}.partial.json", scene.release.sha256));
    nix::unistd::mkfifo(&origin, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let (code, _, err) = spoken(&run(&mut fetch_into(&scene, shared.path())));
    assert_eq!(code, 0, "{err}");
}

#[test]
fn a_good_tarball_that_others_can_change_later_is_replaced_by_one_of_ours() {
    let scene = Scene::new(&Options::default());
    let shared = tempfile::tempdir().unwrap();
    let planted = shared.path().join("release.tar.gz");
    fs::write(&planted, &scene.release.tar_gz).unwrap();
    chmod(&planted, 0o666);
    let before = fs::metadata(&planted).unwrap().ino();
    let later = OpenOptions::new().write(true).open(&planted).unwrap();
    let (code, _, err) = spoken(&run(&mut fetch_into(&scene, shared.path())));
    assert_eq!(code, 0, "{err}");
    later.write_all_at(b"changed", 0).unwrap();
    assert_ne!(fs::metadata(&planted).unwrap().ino(), before);
    assert_eq!(fs::read(&planted).unwrap(), scene.release.tar_gz);
    assert_eq!(mode(&planted), 0o644);
}

#[test]
fn bytes_changed_through_a_mapping_after_verification_are_not_installed() {
    let directory = tempfile::tempdir().unwrap();
    let release = Release::build(&Options::default());
    let path = directory.path().join("release.tar.gz");
    fs::write(&path, &release.tar_gz).unwrap();
    chmod(&path, 0o666);
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let length = release.tar_gz.len();
    // SAFETY: a new mapping of an open file, placed by the kernel; nothing else in this process uses it, and it
    // lasts until the process ends.
    let mapped = unsafe {
        let flags = nix::libc::PROT_READ | nix::libc::PROT_WRITE;
        nix::libc::mmap(std::ptr::null_mut(), length, flags, nix::libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    assert_ne!(mapped, nix::libc::MAP_FAILED);
    let mapped = mapped.cast::<u8>();
    let put = |value: u8| {
        // SAFETY: byte 9 lies inside the mapping, which is longer, and nobody else holds a reference to it.
        unsafe { mapped.add(9).write_volatile(value) }
    };
    // Once written to, the page takes further writes without telling the file's times.
    put(release.tar_gz[9]);
    let digest: Digest = release.sha256.parse().unwrap();
    let verified = Verified::read(&path, digest).unwrap();
    // The operating system in gzip's header (RFC 1952, 2.3.1): no inflater looks at it.
    put(release.tar_gz[9] ^ 1);
    let result = unpack(&verified, &directory.path().join("to"), &Limits::default(), &Silent);
    assert!(matches!(result, Err(Error::Changed { .. })), "{result:?}");
    assert!(!directory.path().join("to").exists());
}

#[test]
fn a_tarball_replaced_after_verification_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let release = Release::build(&Options::default());
    let path = directory.path().join("release.tar.gz");
    fs::write(&path, &release.tar_gz).unwrap();
    let verified = Verified::read(&path, release.sha256.parse().unwrap()).unwrap();
    let hostile = directory.path().join("hostile");
    fs::write(&hostile, b"not what was verified").unwrap();
    fs::rename(&hostile, &path).unwrap();
    let unpacked = unpack(&verified, &directory.path().join("to"), &Limits::default(), &Silent).unwrap();
    assert!(unpacked.root.join("install.sh").is_file());
}

/// Bytes that move cursors, set titles, ring, turn the direction of reading, and pretend to be lines of ours.
const HOSTILE: &str =
    "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\u{2028}\r\nerror: all is well [fake.reason]\nhelp: rm -rf /";

fn is_harmless(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || (!c.is_control() && !"\u{2028}\u{202e}\u{2066}".contains(c)))
}

#[test]
fn what_a_hostile_manager_says_moves_no_cursor_and_forges_no_line() {
    let scene = Scene::new(&Options::default());
    scene.manager.behave(Behaviour { answer: Answer::Raw(HOSTILE.into()), ..Behaviour::default() });
    let manager = scene.manager.address().to_string();
    for json in [false, true] {
        let mut command = scene.command();
        command.args(["preflight", "-m", &manager]).args(json.then_some("--json"));
        let (_, out, err) = spoken(&run(&mut command));
        assert!(is_harmless(&out) && is_harmless(&err), "{out:?} {err:?}");
        assert!(!format!("{out}{err}").lines().any(|line| line.starts_with("error: all is well")), "{out}");
        assert!(out.contains("manager-health"), "{out}");
    }
    let (code, out, err) = spoken(&run(&mut scene.install(&["--deadline", "5s"])));
    assert_eq!(code, 13, "{err}");
    assert!(is_harmless(&out) && is_harmless(&err), "{err:?}");
    assert!(!err.lines().any(|line| line.starts_with("error: all is well")), "{err}");
    let (_, status, _) = spoken(&run(scene.command().arg("status")));
    assert!(is_harmless(&status), "{status:?}");
    let (_, status, _) = spoken(&run(scene.command().args(["status", "--json"])));
    assert!(is_harmless(&status), "{status:?}");
}

#[test]
fn what_a_hostile_installer_says_forges_no_entry_of_the_journal() {
    let entry =
        r#"{"v":1,"run":"00000000","at":"2026-01-01T00:00:00Z","ms":1,"event":"run.ended","exit":0,"detail":"fine"}"#;
    let words = format!("x\n{entry}\r{entry}\u{2028}{entry}\n{HOSTILE}");
    let scene = Scene::new(&faulty(Fault::Fail { at: Point::Files, words, code: 7 }));
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 18, "{err}");
    assert!(is_harmless(&err), "{err:?}");
    let journal = scene.journal();
    let ends: Vec<_> = journal.iter().filter(|entry| entry["event"] == "run.ended").collect();
    assert_eq!((ends.len(), &ends[0]["exit"]), (1, &18.into()), "{ends:#?}");
    assert!(journal.iter().all(|entry| entry["run"] == ends[0]["run"]));
    let status = scene.status();
    assert_eq!(status["state"], "failed", "{status:#}");
}

#[test]
fn a_template_authors_values_reach_no_shell_and_no_other_line() {
    let scene = Scene::new(&Options::default());
    let before = picture(&scene.root.join("etc"));
    for (flag, value) in [
        ("-i", "x; touch /tmp/owned"),
        ("-i", "$(touch /tmp/owned)"),
        ("-r", "a\nb"),
        ("-r", "a'b"),
        ("-i", "-M"),
        ("-p", "host/../../x"),
        ("-p", "a b"),
        ("-i", "x&y"),
    ] {
        let mut command = scene.install(&[flag, value]);
        let (code, _, err) = spoken(&run(&mut command));
        assert!([2, 10].contains(&code), "{flag} {value:?}: {code} {err}");
        assert!(is_harmless(&err), "{err:?}");
    }
    assert_eq!(picture(&scene.root.join("etc")), before);
    assert!(!scene.root.join("opt/kasm").exists() && !Path::new("/tmp/owned").exists());
}

#[test]
fn a_journal_full_of_nonsense_is_read_without_harm() {
    let scene = Scene::new(&Options::default());
    let state = scene.root.join("var/lib/kasm-bootstrap");
    fs::create_dir_all(&state).unwrap();
    let max = u64::MAX;
    let lines = [
        format!(
            r#"{{"v":1,"run":"a","at":"x","ms":0,"event":"run.started","verb":"install","fingerprint":"f","version":"","boot":"","pid":1,"budget_ms":{max},"steps":["\u001b[2J"]}}"#
        ),
        format!(r#"{{"v":1,"run":"a","at":"x","ms":{max},"event":"step.started","step":"b\u009b"}}"#),
        format!(
            r#"{{"v":1,"run":"a","at":"x","ms":{max},"event":"step.ended","step":"c","ending":"done","detail":"\n\u202e","took_ms":{max}}}"#
        ),
        "[".repeat(100_000),
        "\u{0}".repeat(1000),
    ];
    fs::write(state.join("journal.jsonl"), lines.join("\n")).unwrap();
    for json in [false, true] {
        let (code, out, err) = spoken(&run(scene.command().arg("status").args(json.then_some("--json"))));
        assert_eq!(code, 0, "{err}");
        assert!(is_harmless(&out), "{out:?}");
    }
}

#[test]
fn a_look_at_the_lock_keeps_no_run_away() {
    let scene = Scene::new(&Options::default());
    let lock = scene.root.join("var/lib/kasm-bootstrap/lock");
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    chmod(lock.parent().unwrap(), 0o700);
    let held = File::create(&lock).unwrap();
    held.lock_shared().unwrap();
    // As `status` does, but for longer than any look of its.
    let looker = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(40));
        drop(held);
    });
    let (code, _, err) = spoken(&run(&mut scene.install(&["--manager-token-file", "/dev/null"])));
    assert_eq!(code, 11, "{err}");
    looker.join().unwrap();
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let top = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let security = fs::read_to_string(top.join("SECURITY.md")).unwrap();
    let mut sources = String::new();
    let mut left = vec![top.join("tests"), top.join("src"), top.join("stand-in")];
    while let Some(place) = left.pop() {
        for entry in fs::read_dir(place).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let named: Vec<&str> = security
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.matches('_').count() >= 3 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.chars().any(|c| c.is_ascii_lowercase()))
        .collect();
    assert!(named.len() > 40, "{}", named.len());
    let missing: Vec<&&str> = named.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
