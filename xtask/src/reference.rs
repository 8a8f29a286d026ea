//! The references of the book, from what the program itself goes by: settings, command line, exit codes, paths. And
//! the reasons in the book's contents.

use crate::man::meaning;
use clap::Command;
use kasm_bootstrap::config::schema::{self, Kind, SETTINGS, Setting};
use kasm_bootstrap::error::Exit;
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::reasons;
use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

/// The line of the contents behind which the reasons stand.
const REASONS: &str = "- [Reasons](errors/README.md)\n";
/// The directories that are this program's own.
const OURS: [&str; 4] =
    ["/etc/kasm-bootstrap", "/var/lib/kasm-bootstrap", "/var/cache/kasm-bootstrap", "/run/kasm-bootstrap"];

/// Writes the references and the contents' reasons, and returns how many files that were.
pub fn write(docs: &Path) -> io::Result<usize> {
    let pages = pages();
    fs::create_dir_all(docs.join("reference"))?;
    for (name, text) in &pages {
        fs::write(docs.join("reference").join(name), text)?;
    }
    write_contents(docs)?;
    Ok(pages.len() + 1)
}

/// Writes the reasons into the book's contents.
pub fn write_contents(docs: &Path) -> io::Result<()> {
    let path = docs.join("SUMMARY.md");
    fs::write(&path, contents(&fs::read_to_string(&path)?)?)
}

/// Every page: its name and its text.
fn pages() -> Vec<(&'static str, String)> {
    vec![
        ("configuration.md", configuration()),
        ("cli.md", cli()),
        ("exit-codes.md", exit_codes()),
        ("files.md", files()),
    ]
}

fn contents(summary: &str) -> io::Result<String> {
    let (before, _) = summary.split_once(REASONS).ok_or_else(|| io::Error::other("the contents have no reasons"))?;
    let row = |page: reasons::Page| format!("  - [{0}](errors/{0}.md)\n", page.reason);
    Ok(reasons::pages().into_iter().fold(format!("{before}{REASONS}"), |text, page| text + &row(page)))
}

/// What stands between `|` in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn configuration() -> String {
    let mut text = String::from(
        "# Configuration\n\nMade from the table that the program itself goes by (`cargo xtask reference`). \
         `kasm-bootstrap config example` prints the same as a file, `kasm-bootstrap config schema` as a JSON Schema, and \
         `kasm-bootstrap config show` says what holds on a machine, and where each value came from.\n\nLater sources win: \
         what is built in, `/etc/kasm-bootstrap/config.toml`, `config.d/*.toml` in the order of their names, user-data, \
         the environment, flags. A key that is not here is an error. An empty value, `None` and a `{placeholder}` of a \
         template that nothing replaced count as not set where a value is optional; where it is not, they are an error.\n\n\
         A secret comes, best first, from a systemd credential, from the file that `..._file` names, or from the \
         configuration itself (mode 0600).\n",
    );
    let without: Vec<&Setting> = SETTINGS.iter().filter(|setting| setting.split().0.is_none()).collect();
    section(&mut text, "Without a table", &without);
    let mut tables = schema::tables();
    tables.sort_by_key(|table| SETTINGS.iter().position(|setting| setting.split().0 == Some(table)));
    tables.dedup();
    for table in tables {
        let settings: Vec<&Setting> = SETTINGS.iter().filter(|setting| setting.split().0 == Some(table)).collect();
        section(&mut text, &format!("`[{table}]`"), &settings);
    }
    text
}

fn section(text: &mut String, title: &str, settings: &[&Setting]) {
    let _infallible = write!(text, "\n## {title}\n");
    for setting in settings {
        let (_, name) = setting.split();
        let _infallible = write!(text, "\n### `{name}`\n\n{}.\n\n", setting.doc);
        let _infallible = writeln!(text, "- {}; without it: {}", shape(setting.kind), setting.default);
        if !setting.flag_only {
            let _infallible = writeln!(text, "- in a file: `{name} = {}`", setting.example);
            let _infallible = writeln!(text, "- in the environment: `{}`", setting.variable());
        }
        if let Some(flag) = setting.flag {
            let only = if setting.flag_only { " (the one way to give it)" } else { "" };
            let _infallible = writeln!(text, "- flag: `{flag}`{only}");
        }
        if let Some(credential) = setting.credential {
            let _infallible = writeln!(text, "- systemd credential: `{credential}`");
        }
    }
}

/// What a value looks like.
fn shape(kind: Kind) -> String {
    match kind {
        Kind::Choice(words) => words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(" or "),
        Kind::Word => "a word of letters, digits, `.`, `_` and `-`".into(),
        Kind::Version => "a version".into(),
        Kind::HostPort => "a name or an address, with `:PORT` where it is another one".into(),
        Kind::Address => "`auto`, `interface:NAME`, a cloud's method, a name or an address".into(),
        Kind::Boolean => "`true` or `false`".into(),
        Kind::Endpoint => "`http://ADDRESS:PORT`".into(),
        Kind::Port => "a TCP port".into(),
        Kind::Count => "a whole number".into(),
        Kind::Duration => "a span of time: `\"90s\"`, `\"2m\"`, `\"1h30m\"`, or seconds as a number".into(),
        Kind::Mebibytes => "MiB as a number, or with a unit: `\"8G\"`".into(),
        Kind::Digest => "64 hexadecimal digits, or `\"sidecar\"`".into(),
        Kind::Pin => "a SHA-256 in hexadecimal digits or base64".into(),
        Kind::MinisignKey => "a minisign public key, or the file it is in".into(),
        Kind::Path => "a file, from `/` on".into(),
        Kind::Paths => "a list of files, from `/` on".into(),
        Kind::Urls => "a list of URLs".into(),
        Kind::Url => "a URL".into(),
        Kind::Texts => "a list of texts".into(),
        Kind::Secret => "a secret".into(),
        Kind::SecretFile => "a file with a secret in it, from `/` on".into(),
    }
}

fn cli() -> String {
    let mut command = kasm_bootstrap::cli::command().term_width(80);
    command.build();
    let mut text = String::from(
        "# Command line\n\nMade from the command line itself (`cargo xtask reference`): what `--help` prints, without the \
         global options, which every command takes and which stand here once. The packages bring the same as man pages \
         (`man kasm-bootstrap-install`) and the completions of bash, zsh and fish.\n",
    );
    add(&mut command, "kasm-bootstrap", true, &mut text);
    text
}

fn add(command: &mut Command, name: &str, first: bool, text: &mut String) {
    let help = command.render_long_help().to_string();
    let (mut shown, mut skip) = (String::new(), false);
    for line in help.lines() {
        // A heading stands at the margin, and ends with a colon; its options are indented.
        if !line.starts_with(' ') && !line.is_empty() {
            skip = !first && line == "Global options:";
        }
        if !skip {
            shown.extend([line.trim_end(), "\n"]);
        }
    }
    let mut even = shown.trim_end().to_owned();
    while even.contains("\n\n\n") {
        even = even.replace("\n\n\n", "\n\n");
    }
    let _infallible = write!(text, "\n## {name}\n\n```text\n{even}\n```\n");
    for below in command.get_subcommands_mut().filter(|below| !below.is_hide_set()) {
        let name = format!("{name} {}", below.get_name());
        add(below, &name, false, text);
    }
}

fn exit_codes() -> String {
    let mut text = String::from(
        "# Exit codes\n\nMade from the program's own table (`cargo xtask reference`). The numbers never change their \
         meaning. \"again\" says whether the same command may end better a while later without anybody's doing: then \
         systemd starts the service again. The others stay as they are until somebody changes something \
         (`RestartPreventExitStatus=`).\n\nEach error ends with a line `help:` and carries a reason in brackets; \
         `kasm-bootstrap explain REASON` prints its page.\n\n| exit | meaning | again | reasons |\n| --- | --- | --- | --- |\n",
    );
    let pages = reasons::pages();
    for exit in Exit::ALL {
        let begins = format!("Exit {} ", exit.code());
        let own = pages.iter().filter(|page| page.exit.starts_with(&begins));
        let own: Vec<String> = own.map(|page| format!("[{0}](../errors/{0}.md)", page.reason)).collect();
        let again = if exit.may_pass() { "yes" } else { "" };
        let _infallible =
            writeln!(text, "| {} | {} | {again} | {} |", exit.code(), cell(meaning(exit)), own.join(", "));
    }
    text
}

fn files() -> String {
    let mut text = String::from(
        "# Files and directories\n\nMade from the program's own list (`cargo xtask reference`). With `--root DIR` each of \
         them is below `DIR`.\n",
    );
    let is_ours = |path: &str| {
        OURS.iter().any(|home| path.starts_with(home)) || path.contains("kasm-bootstrap") || path == "/var/swap.1"
    };
    let (mut ours, mut theirs): (Vec<_>, Vec<_>) = Paths::described().into_iter().partition(|(path, _)| is_ours(path));
    ours.sort();
    theirs.sort();
    for (title, paths) in [("What this program writes", ours), ("What it looks at or hands on", theirs)] {
        let _infallible = write!(text, "\n## {title}\n\n| path | what |\n| --- | --- |\n");
        for (path, what) in paths {
            let _infallible = writeln!(text, "| `{path}` | {} |", cell(&what));
        }
    }
    text.push_str(
        "\nWhat holds tokens is its owner's alone (0600, its directory 0700): snapshots, what a repair keeps, and the \
         configuration if a token stands in it. No other file of ours has one in it.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_references_are_what_the_program_says() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        for (name, text) in pages() {
            let there = fs::read_to_string(docs.join("reference").join(name)).unwrap_or_default();
            assert!(there == text, "docs/reference/{name}: run `cargo xtask reference`");
        }
        let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
        assert!(contents(&summary).unwrap() == summary, "docs/SUMMARY.md: run `cargo xtask reference`");
    }

    #[test]
    fn every_setting_command_exit_and_path_has_its_place() {
        let (configuration, cli, exits, files) = (configuration(), cli(), exit_codes(), files());
        for setting in schema::lasting() {
            assert!(configuration.contains(&format!("`{}`\n", setting.variable())), "{}", setting.key);
        }
        for name in ["install", "token check", "release fetch", "config show"] {
            assert!(cli.contains(&format!("\n## kasm-bootstrap {name}\n")), "{name}");
        }
        assert_eq!(cli.matches("Global options:").count(), 1);
        assert!(exits.contains("| 11 | a token was refused |  | [checkin.token-refused]"));
        assert!(files.contains("| `/var/lib/kasm-bootstrap/journal.jsonl` | The journal"));
    }
}
