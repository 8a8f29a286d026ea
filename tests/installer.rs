//! The supervisor against real scripts that misbehave in every way an installer can.

use kasm_bootstrap::deadline::Deadline;
use kasm_bootstrap::error::{Explain, Failure};
use kasm_bootstrap::kasm::classify::{Ended, Marker};
use kasm_bootstrap::kasm::command_line::{Arg, CommandLine};
use kasm_bootstrap::kasm::error::Error;
use kasm_bootstrap::kasm::run::{Finished, RunOptions, run};
use kasm_bootstrap::kasm::session::{Leftover, end_leftover, end_leftovers};
use kasm_bootstrap::observe::{Observer, Silent};
use kasm_bootstrap::secret::Secret;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;

const TOKEN: &str = "hunter2-Sup3r_Secret.Token~0123456789";

fn mask(text: &str) -> String {
    text.replace(TOKEN, "[secret]")
}

/// Keeps everything it is told; a line can set something off.
#[derive(Default)]
struct Ear<'a> {
    heard: Mutex<Vec<String>>,
    on_line: Option<&'a (dyn Fn(&str) + Send + Sync)>,
}

impl Ear<'_> {
    fn text(&self) -> String {
        self.heard.lock().unwrap().join("\n")
    }

    fn keep(&self, kind: &str, text: &str) {
        self.heard.lock().unwrap().push(format!("{kind}: {text}"));
    }
}

impl Observer for Ear<'_> {
    fn note(&self, text: &str) {
        self.keep("note", text);
    }
    fn warn(&self, text: &str) {
        self.keep("warn", text);
    }
    fn output(&self, line: &str) {
        self.keep("output", line);
        if let Some(on_line) = self.on_line {
            on_line(line);
        }
    }
}

struct Case {
    directory: TempDir,
}

impl Case {
    fn new(script: &str) -> Case {
        let directory = tempfile::tempdir().unwrap();
        let case = Case { directory };
        fs::create_dir(case.release()).unwrap();
        fs::write(case.script(), format!("#!/bin/bash\nset -e\n{script}\n")).unwrap();
        case
    }

    fn release(&self) -> PathBuf {
        self.directory.path().join("kasm_release")
    }

    fn script(&self) -> PathBuf {
        self.release().join("install.sh")
    }

    fn attempt(&self) -> PathBuf {
        self.directory.path().join("attempts/1")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.attempt().join("installer.log")).unwrap()
    }

    fn command(&self) -> CommandLine {
        let plain = |text: &str| Arg::Plain(text.to_owned());
        let args = vec![
            plain("--role"),
            plain("agent"),
            plain("--manager-token"),
            Arg::Secret(Secret::new(TOKEN)),
            plain("it's  two\\n words"),
        ];
        CommandLine { script: self.script(), args }
    }

    fn options(&self) -> RunOptions<'static> {
        RunOptions::new(self.release(), &self.attempt(), Deadline::after(Duration::from_secs(120)), &mask)
    }

    fn run_with(&self, options: RunOptions<'_>, observer: &dyn Observer) -> Result<Finished, Error> {
        block_on(run(&self.command(), options, observer))
    }

    fn run(&self, observer: &dyn Observer) -> Finished {
        let finished = self.run_with(self.options(), observer).unwrap();
        assert!(!self.attempt().join("installer.pid").exists());
        finished
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// True while a process of this number that is no zombie is there.
fn lives(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'))
}

fn pids(case: &Case) -> Vec<String> {
    fs::read_to_string(case.release().join("pids")).unwrap().split_whitespace().map(str::to_owned).collect()
}

/// Everything below the directory that holds the token, but for the script's own secrets file.
fn files_with_token(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with_token(&path));
        } else if fs::read(&path).unwrap().windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()) {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_script_sees_itself_as_if_bash_had_been_given_it_and_no_argument_vector_shows_the_token() {
    let case = Case::new(
        r#"
        echo "zero=$0 source=${BASH_SOURCE[0]} dir=$(cd "$(dirname "$0")" && pwd) pwd=$PWD count=$#"
        for arg in "$@"; do printf '<%s>\n' "$arg"; done
        [ "${BASH_SOURCE[0]}" = "$0" ] && echo "not sourced, as far as it can tell"
        [ "$4" = "hunter2-Sup3r_Secret.Token~0123456789" ] && echo "the token is right"
        # Spelled in two halves, so that this very search is not what it finds.
        needle="hunter2-Sup3r_Sec"; needle+="ret.Token~0123456789"
        for file in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do
          if tr '\0' ' ' 2>/dev/null < "$file" | grep -qF -f <(printf '%s\n' "$needle"); then echo "SHOWN in $file"; fi
        done 2>/dev/null || true
        tr '\0' ' ' < /proc/$$/cmdline | tail -n1; echo
        echo "count=${KASM_BOOTSTRAP_COUNT-unset} argument=${KASM_BOOTSTRAP_ARGUMENT-unset}"
        if read -r line; then echo "stdin said $line"; else echo "stdin is empty"; fi
        echo "stdin=$(readlink /proc/$$/fd/0)"
        ps -o sid= -p $$ | grep -qw $$ && echo "own session"
        "#,
    );
    let ear = Ear::default();
    let finished = case.run(&ear);
    let directory = fs::canonicalize(case.directory.path()).unwrap();
    let heard = ear.text().replace(directory.to_str().unwrap(), "DIR");
    assert_eq!(finished.exit, Ended::Code(0));
    insta::assert_snapshot!(heard, @r#"
    output: zero=DIR/kasm_release/install.sh source=DIR/kasm_release/install.sh dir=DIR/kasm_release pwd=DIR/kasm_release count=5
    output: <--role>
    output: <agent>
    output: <--manager-token>
    output: <[secret]>
    output: <it's  two\n words>
    output: not sourced, as far as it can tell
    output: the token is right
    output: . "$0" DIR/kasm_release/install.sh --role agent --manager-token [secret] it's  two\n words 
    output: count=unset argument=unset
    output: stdin is empty
    output: stdin=/dev/null
    output: own session
    "#);
}

#[test]
fn the_token_reaches_neither_observer_nor_log_and_the_installers_own_log_is_removed() {
    let case = Case::new(
        r#"
        echo "Setting Default Manager Token as $4" | tee kasm_install_1700000000.log
        printf 'x%.0s' {1..9000}; echo "$4$4"
        printf '\e[1m%s\e[0m%s\n' "${4:0:10}" "${4:10}"
        echo "E: Unable to lock directory for $4" >&2
        exit 3
        "#,
    );
    let ear = Ear::default();
    let finished = case.run(&ear);
    assert_eq!(finished.exit, Ended::Code(3));
    assert!(ear.text().contains("output: Setting Default Manager Token as [secret]"));
    assert!(ear.text().contains("note: removed the installer's own log kasm_install_1700000000.log"));
    assert!(case.log().contains("[secret]"));
    assert!(!ear.text().contains("hunter2") && !finished.tail.contains("hunter2"));
    assert_eq!(files_with_token(case.directory.path()), [] as [PathBuf; 0]);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(case.attempt().join("installer.log")), 0o600);
    assert_eq!(mode(case.attempt()), 0o700);
    let error = finished.check().unwrap_err();
    assert!(error.lost_lock_race());
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

#[test]
fn a_failure_is_explained_by_its_words() {
    let case = Case::new("echo Checking; echo 'Port 443 is in use. Installation cannot continue.'; exit 255");
    let failure = Failure::from(case.run(&Silent).check().unwrap_err());
    insta::assert_snapshot!(kasm_bootstrap::cli::answer::text(&failure), @r#"
    error: the installer failed with exit code 255: a port it needs is in use ("Port 443 is in use. Installation cannot continue.") [installer.port-in-use]
      because: the installer's last words were
               Checking
               Port 443 is in use. Installation cannot continue.
    help: `ss -ltnp` names the program on the port: stop it, or choose another port with --proxy-port
    "#);
    assert_eq!(failure.code, 18);
}

#[test]
fn a_failure_without_a_known_word_has_its_exit_code_and_the_last_words() {
    let case = Case::new("seq 1 5000; false");
    let failure = Failure::from(case.run(&Silent).check().unwrap_err());
    assert_eq!(
        (failure.reason.as_str(), failure.message.as_str()),
        ("installer.failed", "the installer failed with exit code 1")
    );
    assert!(failure.causes[0].ends_with("\n4999\n5000") && failure.causes[0].len() < 4300);
}

#[test]
fn a_script_that_is_killed_says_by_what() {
    let case = Case::new("kill -KILL $$");
    let error = case.run(&Silent).check().unwrap_err();
    assert_eq!(error.to_string(), "the installer was killed by SIGKILL");
    assert_eq!(error.reason(), "installer.killed");
    assert!(error.help().contains("out of memory") && !error.lost_lock_race());
}

#[test]
fn a_marker_far_above_the_last_words_is_found() {
    let case = Case::new("echo 'toomanyrequests: slow down'; seq 1 20000; exit 1");
    let error = case.run(&Silent).check().unwrap_err();
    assert_eq!(error.reason(), "installer.rate-limited");
}

#[test]
fn a_script_that_ignores_term_is_killed_at_the_deadline_with_all_its_children() {
    let case = Case::new(
        r#"
        trap '' TERM HUP
        ( trap '' TERM; echo $BASHPID >> pids; while :; do sleep 1000 || true; done ) &
        setsid bash -c 'trap "" TERM; echo $$ >> pids; while :; do sleep 1000; done' &
        echo $$ >> pids
        while [ "$(wc -l < pids)" -lt 3 ]; do sleep 0.01; done
        echo ready
        while :; do sleep 1000 || true; done
        "#,
    );
    // The deadline is reached by calling the run off, so that nothing here depends on the clock.
    let (off, cancel) = tokio::sync::watch::channel(false);
    let call_off = |line: &str| {
        if line == "ready" {
            off.send_replace(true);
        }
    };
    let ear = Ear { on_line: Some(&call_off), ..Ear::default() };
    let mut options = case.options();
    options.cancel = Some(cancel);
    options.grace = Duration::from_millis(300);
    let error = case.run_with(options, &ear).unwrap_err();
    assert_eq!(error.reason(), "installer.cancelled");
    let pids = pids(&case);
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|pid| !lives(pid)), "{pids:?}");
    assert!(!case.attempt().join("installer.pid").exists());
}

#[test]
fn a_script_that_hangs_is_ended_at_the_deadline_and_may_clean_up() {
    let case = Case::new("trap 'echo cleaned up; exit 1' TERM; echo 'No space left on device'; sleep 1000 & wait");
    let mut options = case.options();
    options.deadline = Deadline::after(Duration::from_secs(1));
    let ear = Ear::default();
    let error = case.run_with(options, &ear).unwrap_err();
    assert_eq!(error.reason(), "installer.timeout");
    assert!(matches!(&error, Error::TimedOut { findings, .. } if findings[0].marker == Marker::DiskFull));
    assert!(ear.text().contains("output: cleaned up"), "{}", ear.text());
}

#[test]
fn nothing_is_started_after_the_deadline() {
    let case = Case::new("touch started");
    let mut options = case.options();
    options.deadline = Deadline::after(Duration::ZERO);
    assert_eq!(case.run_with(options, &Silent).unwrap_err().reason(), "installer.timeout");
    assert!(!case.release().join("started").exists());
}

#[test]
fn a_dropped_run_leaves_nobody() {
    let case = Case::new("trap '' TERM; sleep 1000 & echo $! $$ > pids; echo ready; wait; wait");
    let (tell, ready) = tokio::sync::watch::channel(false);
    let on_line = |_: &str| {
        tell.send_replace(true);
    };
    let ear = Ear { on_line: Some(&on_line), ..Ear::default() };
    let mut ready = ready;
    block_on(async {
        let command = case.command();
        tokio::select! {
            _ = run(&command, case.options(), &ear) => panic!("it does not end by itself"),
            _ = ready.wait_for(|ready| *ready) => {}
        }
    });
    assert!(pids(&case).iter().all(|pid| !lives(pid)));
    assert!(!case.attempt().join("installer.pid").exists());
}

#[test]
fn a_daemon_that_keeps_the_pipe_open_does_not_hold_the_run_up() {
    let case = Case::new(
        "setsid bash -c 'echo $$ > pids; exec sleep 1000' & while [ ! -s pids ]; do sleep 0.01; done; echo done; exit 0",
    );
    let ear = Ear::default();
    assert!(case.run(&ear).exit.is_success());
    assert_eq!(ear.text(), "output: done");
    let pid = &pids(&case)[0];
    assert!(lives(pid), "what a script that succeeded has started stays");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.parse().unwrap()), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
}

#[test]
fn a_script_that_closes_its_output_and_works_on_is_waited_for() {
    let case = Case::new("echo first; exec >&- 2>&-; sleep 0.5; echo x > worked || true; exit 7");
    assert_eq!(case.run(&Silent).exit, Ended::Code(7));
    assert!(case.release().join("worked").exists());
}

#[test]
fn the_last_lines_of_a_tee_are_not_lost() {
    let case = Case::new("exec > >(sleep 0.1; sed 's/^/tee: /') 2>&1; for i in 1 2 3; do echo $i; done; exit 4");
    let ear = Ear::default();
    assert_eq!(case.run(&ear).exit, Ended::Code(4));
    assert_eq!(ear.text(), "output: tee: 1\noutput: tee: 2\noutput: tee: 3");
}

#[test]
fn a_flood_of_100_megabytes_passes_and_the_log_stays_bounded() {
    let case = Case::new("yes \"$(printf 'x%.0s' {1..999})\" | head -c 100000000; echo; echo end");
    let finished = case.run(&Silent);
    assert!(finished.exit.is_success() && finished.bytes >= 100_000_000);
    assert!(finished.tail.ends_with("end\n"));
    let log = fs::metadata(case.attempt().join("installer.log")).unwrap().len();
    assert!((60 << 20..=(64 << 20) + 100).contains(&log), "{log}");
}

#[test]
fn a_line_without_end_and_bytes_that_are_no_text_pass() {
    let case = Case::new("head -c 3000000 /dev/zero | tr '\\0' 'y'; printf '\\xff\\xfe caf\\xc3'");
    let ear = Ear::default();
    let finished = case.run(&ear);
    assert!(ear.text().ends_with("\u{fffd}\u{fffd} caf\u{fffd}"));
    assert!(ear.heard.lock().unwrap().iter().all(|line| line.len() <= 8 * 1024 + 8));
    assert_eq!(finished.bytes, 3_000_007);
}

#[test]
fn the_environment_is_ours_without_secrets_and_with_what_was_added() {
    let case = Case::new("env | grep -E '^(KASM_BOOTSTRAP|ADDED|PATH|CREDENTIALS)' | sort | sed 's/^PATH=.*/PATH/'");
    let mut options = case.options();
    options.env = vec![("ADDED".into(), "yes".into()), ("KASM_BOOTSTRAP_ROOT".into(), "/scratch".into())];
    let ear = Ear::default();
    case.run_with(options, &ear).unwrap();
    assert_eq!(ear.text(), "output: ADDED=yes\noutput: KASM_BOOTSTRAP_ROOT=/scratch\noutput: PATH");
}

#[test]
fn without_bash_or_script_the_error_says_so_and_nothing_is_left() {
    let case = Case::new("");
    let mut options = case.options();
    options.bash = PathBuf::from("/nowhere/bash");
    let failure = Failure::from(case.run_with(options, &Silent).unwrap_err());
    insta::assert_snapshot!(kasm_bootstrap::cli::answer::text(&failure), @r"
    error: bash cannot be started, and Kasm's installer needs it [installer.no-bash]
      because: No such file or directory (os error 2)
    help: install the bash package
    ");
    fs::remove_file(case.script()).unwrap();
    assert_eq!(case.run_with(case.options(), &Silent).unwrap_err().reason(), "installer.no-script");
    assert!(!case.attempt().join("installer.pid").exists());
}

#[test]
fn the_script_begins_only_once_it_is_on_record() {
    let case = Case::new("cat ../attempts/1/installer.pid; echo; echo $$");
    let ear = Ear::default();
    case.run(&ear);
    let text = ear.text().replace("output: ", "");
    let (record, pid) = text.split_once('\n').unwrap();
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    assert_eq!(record["pid"].to_string(), pid);
    assert_eq!(record["session"].to_string(), pid);
    assert!(record["start_ticks"].as_u64().unwrap() > 0);
    assert_eq!(
        record["boot_id"].as_str().unwrap(),
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim()
    );
}

#[test]
fn what_a_killed_run_left_behind_is_ended_by_the_next_one() {
    // A session whose leader is gone already, as after our own death.
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("installer.pid");
    let pids = directory.path().join("pids");
    let script =
        format!("sleep 1000 & echo $! > {0}; cut -d' ' -f22 /proc/$$/stat >> {0}; echo $$ >> {0}", pids.display());
    assert!(std::process::Command::new("setsid").args(["--wait", "bash", "-c", &script]).status().unwrap().success());
    let text = fs::read_to_string(&pids).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    let (sleeper, ticks, leader) = (words[0], words[1], words[2]);
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let text = |boot_id: &str| {
        format!(r#"{{"pid":{leader},"start_ticks":{ticks},"boot_id":"{}","session":{leader}}}"#, boot_id.trim())
    };
    let end = |observer: &dyn Observer| block_on(end_leftover(&record, Duration::from_secs(10), observer)).unwrap();

    fs::write(&record, text("another-boot")).unwrap();
    assert_eq!(end(&Silent), Leftover::Gone);
    assert!(lives(sleeper), "a number from another boot is not touched");

    fs::write(&record, text(&boot_id)).unwrap();
    let ear = Ear::default();
    assert_eq!(end(&ear), Leftover::Ended { pid: leader.parse().unwrap() });
    assert!(!lives(sleeper));
    assert_eq!(
        ear.text(),
        format!("warn: an installer of a run that was cut short was still at work (pid {leader}) and was ended")
    );
    assert_eq!(end(&Silent), Leftover::None);

    fs::write(&record, "{\"pid\": ").unwrap();
    assert_eq!(end(&Silent), Leftover::Gone);
}

#[test]
fn a_process_that_only_has_the_number_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("installer.pid");
    let mut child = std::process::Command::new("setsid").args(["sleep", "1000"]).spawn().unwrap();
    // setsid(1) makes the session itself where it leads no process group, and else in a child.
    let pid = child.id();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(&record, format!(r#"{{"pid":{pid},"start_ticks":1,"boot_id":"{}","session":{pid}}}"#, boot_id.trim()))
        .unwrap();
    assert_eq!(block_on(end_leftover(&record, Duration::from_secs(1), &Silent)).unwrap(), Leftover::Gone);
    assert!(lives(&pid.to_string()));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Not a test of its own: the supervisor that the next test kills, in a process of its own.
#[test]
#[ignore = "started by the next test"]
fn a_supervisor_to_be_killed() {
    let Ok(directory) = std::env::var("SUPERVISED") else { return };
    let release = PathBuf::from(directory).join("kasm_release");
    let attempt = release.join("../attempts/1");
    let command = CommandLine { script: release.join("install.sh"), args: vec![Arg::Secret(Secret::new(TOKEN))] };
    let options = RunOptions::new(release, &attempt, Deadline::after(Duration::from_secs(60)), &mask);
    drop(block_on(run(&command, options, &Silent)));
}

#[test]
fn a_supervisor_that_is_killed_takes_the_script_along_and_its_children_wait_for_the_next_run() {
    let case = Case::new(
        r#"
        trap '' HUP PIPE TERM
        bash -c 'trap "" HUP PIPE; exec sleep 1000' &
        echo "$1" > kasm_install_1.log
        echo $$ $! > pids.new; mv pids.new pids
        while :; do sleep 1000; done
        "#,
    );
    let mut supervisor = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_supervisor_to_be_killed", "--ignored"])
        .env("SUPERVISED", case.directory.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Other processes' deeds have no event that a test could wait for.
    let until = |done: &dyn Fn() -> bool| {
        while !done() {
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    until(&|| case.release().join("pids").exists());
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    let pids = pids(&case);
    until(&|| !lives(&pids[0]));
    assert!(lives(&pids[1]), "a child at work is not cut down");
    let ear = Ear::default();
    let attempts = case.directory.path().join("attempts");
    // It ignores TERM: what is waited for is that it is killed.
    let leftovers = block_on(end_leftovers(&attempts, Duration::from_millis(500), &ear)).unwrap();
    assert_eq!(leftovers, [Leftover::Ended { pid: pids[0].parse().unwrap() }]);
    assert!(!lives(&pids[1]));
    assert!(!case.attempt().join("installer.pid").exists());
    // And the log it could not remove any more goes with the next attempt.
    fs::write(case.script(), "true").unwrap();
    case.run(&ear);
    assert_eq!(files_with_token(case.directory.path()), [] as [PathBuf; 0]);
}
