//! `cargo xtask docs [DIR]`: the man pages and the shells' completions, from the command line as the binary
//! itself has it. They are in the packages and not in the binary. `cargo xtask faults DIR`: the tables of
//! `docs/faults.md`, from what the tests saw. `cargo xtask errors`: the index of `docs/errors`, from its pages, there and in
//! the book's contents. `cargo xtask reference`: the book's references, `docs/reference`. `cargo xtask dist`: a release.

mod dist;
mod errors;
mod faults;
mod man;
mod reference;

use clap_complete::Shell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let directory = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["docs"] => PathBuf::from("target/docs"),
        ["docs", directory] => PathBuf::from(directory),
        ["faults", records] => {
            return report(faults::write(Path::new("docs/faults.md"), Path::new(records)), "cells in docs/faults.md");
        }
        ["errors"] => {
            let written = errors::write(Path::new("docs/errors/README.md"));
            let listed = written.and_then(|count| reference::write_contents(Path::new("docs")).map(|()| count));
            return report(listed, "reasons in docs/errors");
        }
        ["reference"] => return report(reference::write(Path::new("docs")), "files of references in docs"),
        ["dist", ref words @ ..] => match dist::Options::parse(words) {
            Some(options) => return release(&options),
            None => return usage(),
        },
        _ => return usage(),
    };
    match write(&directory) {
        Ok(count) => {
            println!("{count} files in {}", directory.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {} cannot be written: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: cargo xtask docs [DIR]    (target/docs where none is given)\n       cargo xtask faults DIR\n       \
         cargo xtask errors\n       cargo xtask reference\n       {}",
        dist::USAGE
    );
    ExitCode::from(2)
}

fn release(options: &dist::Options) -> ExitCode {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match top.canonicalize().and_then(|top| dist::make(&top, options)) {
        Ok(directory) => {
            println!("{}", directory.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(written: io::Result<usize>, what: &str) -> ExitCode {
    match written {
        Ok(count) => {
            println!("{count} {what}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes everything anew and returns the number of files.
fn write(directory: &Path) -> io::Result<usize> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let pages = man::pages(kasm_bootstrap::cli::command())?;
    for page in &pages {
        fs::write(man.join(format!("{}.1", page.name)), &page.text)?;
    }
    // The names under which each shell looks for them.
    let shells =
        [(Shell::Bash, "kasm-bootstrap.bash"), (Shell::Zsh, "_kasm-bootstrap"), (Shell::Fish, "kasm-bootstrap.fish")];
    for (shell, name) in shells {
        let mut file = Vec::new();
        clap_complete::generate(shell, &mut kasm_bootstrap::cli::command(), "kasm-bootstrap", &mut file);
        fs::write(completions.join(name), file)?;
    }
    Ok(pages.len() + shells.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn made() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let docs = directory.path().join("docs");
        write(&docs).unwrap();
        (directory, docs)
    }

    #[test]
    fn every_command_has_a_page_that_names_itself_and_what_it_belongs_to() {
        let (_directory, docs) = made();
        let page = |name: &str| fs::read_to_string(docs.join("man").join(format!("{name}.1"))).unwrap();
        for name in ["kasm-bootstrap", "kasm-bootstrap-install", "kasm-bootstrap-token-check", "kasm-bootstrap-bake"] {
            let text = page(name);
            assert!(text.contains(&format!(".TH {} 1", name.to_uppercase())), "{text}");
            assert!(text.contains(".SH NAME"), "{text}");
        }
        let main = page("kasm-bootstrap");
        for words in [".SH \"EXIT STATUS\"", ".SH FILES", "config.toml", "kasm\\-bootstrap\\-install(1)"] {
            assert!(main.contains(words), "no {words} in {main}");
        }
        assert!(page("kasm-bootstrap-release-fetch").contains("kasm\\-bootstrap release fetch"));
    }

    #[test]
    fn every_page_has_examples_and_groff_takes_it_without_a_warning() {
        let (_directory, docs) = made();
        for page in fs::read_dir(docs.join("man")).unwrap() {
            let page = page.unwrap().path();
            let text = fs::read_to_string(&page).unwrap();
            for heading in [".SH EXAMPLES", "EXIT STATUS"] {
                assert!(text.contains(heading), "no {heading} in {}", page.display());
            }
            match Command::new("groff").args(["-man", "-ww", "-Tutf8", "-z"]).arg(&page).output() {
                Ok(said) => {
                    let words = String::from_utf8_lossy(&said.stderr).into_owned();
                    assert!(said.status.success() && words.is_empty(), "{}: {words}", page.display());
                }
                Err(error) => println!("skipped: no groff here ({error})"),
            }
        }
    }

    #[test]
    fn zsh_and_fish_read_their_completions() {
        let (_directory, docs) = made();
        for (shell, file) in [("zsh", "_kasm-bootstrap"), ("fish", "kasm-bootstrap.fish")] {
            match Command::new(shell).arg("-n").arg(docs.join("completions").join(file)).output() {
                Ok(said) => {
                    assert!(said.status.success(), "{shell}: {}", String::from_utf8_lossy(&said.stderr));
                }
                Err(error) => println!("skipped: no {shell} here ({error})"),
            }
        }
    }

    #[test]
    fn the_same_command_line_gives_the_same_bytes() {
        let ((_one, one), (_two, two)) = (made(), made());
        let read = |directory: &Path| {
            let mut files: Vec<(PathBuf, Vec<u8>)> = ["man", "completions"]
                .iter()
                .flat_map(|name| fs::read_dir(directory.join(name)).unwrap().flatten())
                .map(|entry| (entry.file_name().into(), fs::read(entry.path()).unwrap()))
                .collect();
            files.sort();
            files
        };
        assert_eq!(read(&one), read(&two));
    }

    #[test]
    fn bash_takes_its_completions_and_knows_the_commands_by_them() {
        let (_directory, docs) = made();
        let script = r#"
            set -eu
            . "$1"
            COMP_WORDS=(kasm-bootstrap ins) COMP_CWORD=1
            # complete -p prints: complete OPTIONS -F FUNCTION kasm-bootstrap
            completion=$(complete -p kasm-bootstrap)
            completion=${completion##*-F }
            "${completion%% *}" kasm-bootstrap ins kasm-bootstrap
            echo "${COMPREPLY[@]}"
        "#;
        let bash = Command::new("bash")
            .args(["-c", script, "bash"])
            .arg(docs.join("completions/kasm-bootstrap.bash"))
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&bash.stdout).trim(),
            "install",
            "{}",
            String::from_utf8_lossy(&bash.stderr)
        );
    }
}
