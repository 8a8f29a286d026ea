//! The man pages: one of the program, one of each command.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use kasm_bootstrap::error::Exit;
use kasm_bootstrap::paths::Paths;
use std::io;
use std::path::Path;

/// One page of section 1.
pub struct Page {
    /// Its name, which is its file's without the section.
    pub name: String,
    /// Its text, in roff.
    pub text: Vec<u8>,
}

/// Every page. Hidden commands have none.
pub fn pages(mut command: Command) -> io::Result<Vec<Page>> {
    command.build();
    let mut pages = Vec::new();
    page(&command, command.get_name(), &mut pages)?;
    Ok(pages)
}

fn page(command: &Command, name: &str, pages: &mut Vec<Page>) -> io::Result<()> {
    let man = Man::new(command.clone()).section("1").manual("Kasm Workspaces");
    // Without a date: the same sources give the same bytes.
    let man = man.title(name.to_uppercase()).date("").source(concat!("kasm-bootstrap ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let below: Vec<&Command> = command.get_subcommands().filter(|below| !below.is_hide_set()).collect();
    if !below.is_empty() {
        man.render_subcommands_section(&mut text)?;
    }
    let is_main = !name.contains("bootstrap-");
    told_after(command).to_writer(&mut text)?;
    if is_main {
        main_sections().to_writer(&mut text)?;
    } else {
        let mut roff = Roff::new();
        roff.control("SH", ["EXIT STATUS, FILES, ENVIRONMENT"]);
        roff.text([roman("As in "), bold("kasm-bootstrap"), roman("(1).")]);
        roff.to_writer(&mut text)?;
    }
    see_also(name, is_main, &below).to_writer(&mut text)?;
    pages.push(Page { name: name.to_owned(), text });
    for below in below {
        page(below, &format!("{name}-{}", below.get_name()), pages)?;
    }
    Ok(())
}

/// What its help says behind the options: notes, and examples.
fn told_after(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let told = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (notes, examples) = told.split_once("Examples:\n").unwrap_or((&told, ""));
    for (heading, lines) in [("NOTES", notes), ("EXAMPLES", examples)] {
        if !lines.trim().is_empty() {
            roff.control("SH", [heading]);
            // As they stand: commands are to be copied.
            roff.control("nf", []);
            for line in lines.trim_end().lines() {
                roff.text([roman(line)]);
            }
            roff.control("fi", []);
        }
    }
    roff
}

/// What holds for every command.
fn main_sections() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for exit in Exit::ALL {
        roff.control("TP", []);
        roff.text([bold(exit.code().to_string())]);
        roff.text([roman(meaning(exit))]);
    }
    let paths = Paths::default();
    roff.control("SH", ["FILES"]);
    let told = [
        paths.config_file(),
        paths.config_dir(),
        paths.journal(),
        paths.attempts_dir(),
        paths.baked(),
        paths.cache_dir(),
        paths.status_file(),
    ];
    for (path, what) in Paths::described().iter().filter(|(path, _)| told.iter().any(|told| told == Path::new(path))) {
        roff.control("TP", []);
        roff.text([bold(*path)]);
        roff.text([roman(what.as_str())]);
    }
    roff.control("SH", ["ENVIRONMENT"]);
    roff.text([roman(
        "Every setting of the configuration has a variable: KASM_BOOTSTRAP_ and its name in capitals, with _ for the \
         dot, such as KASM_BOOTSTRAP_MANAGER_ADDRESS for manager.address. HTTP_PROXY, HTTPS_PROXY, NO_PROXY and \
         NO_COLOR are heeded.",
    )]);
    roff
}

/// The words of the contract.
pub fn meaning(exit: Exit) -> &'static str {
    match exit {
        Exit::Done => "done, or already done",
        Exit::Unexpected => "unexpected",
        Exit::Usage => "the command line makes no sense",
        Exit::Configuration => "the configuration is invalid",
        Exit::Token => "a token was refused",
        Exit::Preflight => "a preflight check failed",
        Exit::Manager => "the manager was not reachable",
        Exit::PackageManager => "the package manager was busy past its deadline",
        Exit::Download => "the download failed",
        Exit::Digest => "a digest or signature does not match",
        Exit::Archive => "the archive was refused: unsafe, or not a kasm_release",
        Exit::Installer => "Kasm's installer failed",
        Exit::Unhealthy => "installed, but not healthy",
        Exit::RolledBack => "the upgrade failed; the version before is back and healthy",
        Exit::Locked => "another run holds the lock",
        Exit::Budget => "the boot budget ran out",
    }
}

/// The pages above and below this one.
fn see_also(name: &str, is_main: bool, below: &[&Command]) -> Roff {
    let above = name.rsplit_once('-').map(|(above, _)| above.to_owned()).filter(|_| !is_main);
    // `apt-wait` is one word, and nothing stands above it but the program.
    let above = above.map(|above| if above.ends_with("-apt") { "kasm-bootstrap".into() } else { above });
    let names = above.into_iter().chain(below.iter().map(|below| format!("{name}-{}", below.get_name())));
    let names: Vec<String> = names.map(|name| format!("{name}(1)")).collect();
    let mut roff = Roff::new();
    if !names.is_empty() {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([roman(names.join(", "))]);
    }
    roff
}
