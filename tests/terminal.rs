//! What stands on a screen, in colour or without, while something runs and when it has ended.

mod common;

use common::service::{self, Service};
use common::{Scene, run, spoken};
use kasm_stand_in::mirror::{
    Fault::{Stall, Trickle},
    Mirror,
};
use kasm_stand_in::release::Options;
use sha2::Digest;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// So long is waited for what must come; a test waits so long only to fail.
const PATIENCE: Duration = Duration::from_secs(20);

/// A command as a shell reads it, with the environment that was changed for it.
fn line(command: &Command) -> String {
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap().replace('\'', r"'\''"));
    let mut words = vec!["env".to_owned()];
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => words.push(format!("{}={}", name.to_str().unwrap(), quoted(value))),
            None => words.push(format!("-u {}", name.to_str().unwrap())),
        }
    }
    words.push(quoted(command.get_program()));
    words.extend(command.get_args().map(quoted));
    words.join(" ")
}

/// True where this program is there; says so where it is not.
fn is_there(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
    if !found {
        eprintln!("SKIPPED: there is no {program} here; scripts/test installs it");
    }
    found
}

mod colour {
    use super::*;
    use std::process::Output;

    /// What a terminal of this kind gets.
    fn on_a_terminal(command: &Command, kind: Option<&str>, no_color: Option<&str>) -> String {
        let mut script = Command::new("script");
        script.args(["-qec", &line(command), "/dev/null"]).stdin(Stdio::null());
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM"] {
            script.env_remove(name);
        }
        script.envs(kind.map(|kind| ("TERM", kind))).envs(no_color.map(|value| ("NO_COLOR", value)));
        let Output { stdout, stderr, .. } = script.output().unwrap();
        assert!(stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    /// Whether there is a sequence that sets colours (ECMA-48, 8.3.117: SGR).
    fn is_coloured(text: &str) -> bool {
        text.split("\x1b[")
            .skip(1)
            .any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
    }

    fn with(scene: &Scene, words: &[&str]) -> Command {
        let mut command = scene.command();
        command.args(words);
        command
    }

    #[test]
    fn is_for_terminals_alone_and_only_where_nobody_has_said_no() {
        if !is_there("script") {
            return;
        }
        let scene = Scene::new(&Options::default());
        let install = on_a_terminal(&scene.install(&[]), Some("xterm"), None);
        assert!(install.contains("\x1b[32mok  \x1b[0m  fetch"), "{install}");
        let asked: [&[&str]; 5] =
            [&["status"], &["health"], &["token", "check", "/nowhere"], &["--help"], &["status", "--nonsense"]];
        for words in asked {
            let command = with(&scene, words);
            for no_color in [None, Some("")] {
                let seen = on_a_terminal(&command, Some("xterm"), no_color);
                assert!(is_coloured(&seen), "{words:?}, NO_COLOR={no_color:?}: {seen:?}");
            }
            let mut piped = with(&scene, words);
            piped.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1").env("TERM", "xterm");
            let (_, out, err) = spoken(&run(&mut piped));
            let plain = with(&scene, &[words, &["--no-color"]].concat());
            for seen in [
                out + &err,
                on_a_terminal(&plain, Some("xterm"), None),
                on_a_terminal(&command, Some("xterm"), Some("1")),
                on_a_terminal(&command, Some("dumb"), None),
                on_a_terminal(&command, None, None),
            ] {
                assert!(!seen.is_empty() && !seen.contains('\x1b'), "{words:?}: {seen:?}");
            }
        }
        assert!(!is_coloured(&on_a_terminal(&with(&scene, &["status", "--json"]), Some("xterm"), None)));
    }

    #[test]
    fn is_not_needed_for_a_live_view_and_a_dumb_terminal_gets_plain_lines() {
        if !is_there("script") {
            return;
        }
        let scene = Scene::new(&Options::default());
        let live = on_a_terminal(&scene.install(&[]), Some("xterm"), Some("1"));
        assert!(!is_coloured(&live) && live.contains("\x1b[") && live.contains("ok    fetch"), "{live:?}");
        let again = on_a_terminal(&scene.install(&["--force"]), Some("dumb"), None);
        assert!(!again.contains('\x1b') && again.contains("s] fetch: "), "{again:?}");
    }
}

/// A terminal of tmux, with a server of its own.
struct Screen {
    directory: tempfile::TempDir,
}

impl Screen {
    /// The command on a screen that is so many columns wide and 24 lines high. When it has ended, a line says so.
    fn start(command: &Command, width: usize) -> Screen {
        let screen = Screen { directory: tempfile::tempdir().unwrap() };
        let line = format!("{}; echo \"ended with $?\"; exec sleep 600", line(command));
        let size = width.to_string();
        screen.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &size, "-y", "24", &line]);
        screen
    }

    fn tmux(&self, words: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(self.directory.path().join("socket")).args(words).stdin(Stdio::null());
        for name in ["TMUX", "NO_COLOR"] {
            tmux.env_remove(name);
        }
        let output = tmux.env("LC_ALL", "C.UTF-8").env("SHELL", "/bin/sh").output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its lines from the first of the session.
    fn lines(&self) -> Vec<String> {
        let text = self.tmux(&["capture-pane", "-p", "-S", "-"]);
        text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Its lines as soon as one of them is like this.
    fn until(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let lines = self.lines();
            if lines.iter().any(|line| wanted(line)) {
                return lines;
            }
            assert!(begun.elapsed() < PATIENCE, "{lines:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its lines when the command has ended well.
    fn end(&self) -> Vec<String> {
        let mut lines = self.until(|line| line.starts_with("ended with "));
        assert_eq!(lines.pop().as_deref(), Some("ended with 0"), "{lines:#?}");
        lines
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut tmux = Command::new("tmux");
        // What ran in it ends with it; a test that fails before it began has none.
        let _ = tmux.arg("-S").arg(self.directory.path().join("socket")).arg("kill-server").output();
    }
}

/// What only a line of progress has.
fn is_progress(line: &str) -> bool {
    line.ends_with(" left") || ["|     ", "/     ", "-     ", "\\     "].iter().any(|spin| line.starts_with(spin))
}

mod in_tmux {
    use super::*;

    fn a_download_shows_how_far_it_is(width: usize) {
        if !is_there("tmux") {
            return;
        }
        let scene = Scene::new(&Options::default());
        let bytes = [&[0x1f, 0x8b], vec![7; 7_999_998].as_slice()].concat();
        let mirror = Mirror::plain(&[("/k.tar.gz", &bytes)]);
        mirror.script([Stall(6_000_000)]);
        let digest = kasm_bootstrap::release::Digest::new(sha2::Sha256::digest(&bytes).into()).to_string();
        let mut fetch = scene.command();
        fetch.args(["release", "fetch", "--sha256", &digest, &mirror.url("/k.tar.gz")]);
        let screen = Screen::start(&fetch, width);
        // A line that does not fit has its end on the next one.
        let lines =
            screen.until(|line| line.starts_with("[=") && line.contains("MB of 8.00 MB, ") && line.ends_with(" left"));
        assert_eq!(lines.len(), 1, "{lines:#?}");
        mirror.release();
        let lines = screen.end();
        assert!(!lines.iter().any(|line| is_progress(line) || line.is_empty()), "{lines:#?}");
        // A path has no blanks where it could be broken.
        let at = lines.iter().position(|line| line.starts_with('/')).unwrap();
        let kept = PathBuf::from(lines[at..].concat());
        assert!(kept.starts_with(&scene.root) && kept.is_file(), "{lines:#?}");
    }

    #[test]
    fn a_download_shows_how_far_it_is_on_eighty_columns() {
        a_download_shows_how_far_it_is(80);
    }

    #[test]
    fn a_download_shows_how_far_it_is_on_sixty_columns() {
        a_download_shows_how_far_it_is(60);
    }

    fn an_installation_leaves_one_line_a_step(width: usize) {
        if !is_there("tmux") {
            return;
        }
        let scene = Scene::new(&Options::default());
        scene.mirror.script([Stall(scene.release.tar_gz.len() as u64 / 2)]);
        let screen = Screen::start(&scene.install(&[]), width);
        screen.until(|line| line.contains("     fetch      [") && line.ends_with(" left"));
        scene.mirror.release();
        let lines = screen.end();
        assert!(!lines.iter().any(|line| is_progress(line) || line.is_empty()), "{lines:#?}");
        let at = lines.iter().position(|line| line.starts_with("Kasm 1.18.1 ")).unwrap();
        // What the terminal itself had to break begins in the first column.
        let begins =
            |line: &String| ["ok    ", "warn  ", "skip  ", "      "].iter().any(|front| line.starts_with(front));
        assert_eq!(lines[..at].iter().find(|line| !begins(line)), None, "{lines:#?}");
        for step in ["preflight", "fetch", "unpack", "install", "prove"] {
            let told = lines.iter().filter(|line| line.split_whitespace().nth(1) == Some(step)).count();
            assert_eq!(told, 1, "{step}: {lines:#?}");
        }
        assert!(lines[at..].join(" ").contains("healthy"), "{lines:#?}");
    }

    #[test]
    fn an_installation_leaves_one_line_a_step_on_eighty_columns() {
        an_installation_leaves_one_line_a_step(80);
    }

    #[test]
    fn an_installation_leaves_one_line_a_step_on_sixty_columns() {
        an_installation_leaves_one_line_a_step(60);
    }
}

/// What cloud-init keeps in its log: a pipe, with both outputs in it.
mod in_a_log {
    use super::*;
    use std::io::Read;

    /// A line a step, one a remark, the answer; and every line of Kasm's installer, which are not counted here. More would
    /// be progress, told again and again.
    const MOST: usize = 24;

    /// Whether the command ends well, and what cloud-init would read.
    fn piped(mut command: Command) -> (bool, String) {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut child =
            command.stdout(writer.try_clone().unwrap()).stderr(writer).env("TERM", "xterm").spawn().unwrap();
        // It holds the other ends of the pipe.
        drop(command);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        (child.wait().unwrap().success(), text)
    }

    /// Its lines.
    fn is_fit_for_a_log(text: &str) -> Vec<String> {
        assert!(text.ends_with('\n') && !text.contains("\n\n"), "{text:?}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(!text.contains(common::TOKEN), "the token was printed");
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let ours = lines.iter().filter(|line| !line.contains("s] install | ")).count();
        assert!(ours <= MOST, "{ours} lines: {text}");
        // Nothing is said twice, but for the time in front.
        let mut said: Vec<&str> =
            lines.iter().map(|line| line.split_once("s] ").map_or(&**line, |(_, said)| said)).collect();
        said.sort_unstable();
        assert_eq!(said.windows(2).find(|two| two[0] == two[1]), None, "{text}");
        lines
    }

    fn tells_every_step(lines: &[String]) {
        for step in ["preflight: ", "fetch: ", "unpack: ", "install: ", "prove: "] {
            assert!(lines.iter().any(|line| line.contains(&format!("s] {step}"))), "{step}: {lines:#?}");
        }
    }

    #[test]
    fn an_installation_is_whole_lines_and_few() {
        let scene = Scene::new(&Options { pace: Duration::from_millis(20), ..Options::default() });
        let (size, pause) = (500, Duration::from_millis(10));
        scene.mirror.script([Trickle { size, pause }]);
        let (well, text) = piped(scene.install(&[]));
        let lines = is_fit_for_a_log(&text);
        assert!(well, "{lines:#?}");
        let (answer, told) = lines.split_last().unwrap();
        assert!(answer.starts_with("Kasm 1.18.1 "), "{lines:#?}");
        assert!(told.iter().all(|line| line.starts_with('[') && line.contains("s] ")), "{lines:#?}");
        tells_every_step(told);
    }

    #[test]
    fn the_service_is_whole_lines_and_few() {
        let scene = service::ready(&Options::default());
        let mut service = Service::start_with(&scene, &[("TERM", "xterm")]);
        service.until("READY=1");
        let (code, _, text) = service.stop();
        let lines = is_fit_for_a_log(&text);
        assert_eq!(code, 0, "{lines:#?}");
        tells_every_step(&lines);
    }
}
