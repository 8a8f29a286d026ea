//! Every command block of the guides and of the README is run, page by page and in order, on a scratch machine, and
//! prints what the page says. What cannot be run on a test machine says why, and is at least read: by bash, by
//! shellcheck, and by our own command line.
//!
//! Comments on a page say how (`tests/pages`):
//!
//! - `<!-- test: world=NAME -->` before a block: from here on, this machine (`tests/guides/world.rs`);
//! - `<!-- test: exit=11 -->`: so it ends; `stdin=manager-token`: that is typed;
//! - `<!-- test: syntax-only: why -->`: it is read and not run; `shown: why`: what is printed elsewhere;
//! - `<!-- test: fragment -->`: a part of a configuration, to be put into a whole one.
//!
//! A block of text directly behind a command block is what that prints (`tests/guides/told.rs`). With
//! `GUIDES_SHOW=1` what blocks print is shown.

mod common;
mod nodes;
mod pages;
mod signing;
#[path = "guides/told.rs"]
mod told;
#[path = "guides/whole.rs"]
mod whole;
#[path = "guides/words.rs"]
mod words;
#[path = "guides/world.rs"]
mod world;

use kasm_bootstrap::cli;
use pages::{Block, blocks, files, read};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use world::World;

/// Each page is a test of its own, so that they run beside one another.
macro_rules! pages {
    ($($name:ident = $path:literal;)*) => {
        const RUN: &[&str] = &[$($path),*];
        mod every_command_prints_what_the_page_says {
            $(#[test] fn $name() { super::follow($path); })*
        }
    };
}

pages! {
    readme = "README.md";
    start_up_script = "docs/guide/start-up-script.md";
    harvester = "docs/guide/harvester.md";
    ec2 = "docs/guide/ec2.md";
    images = "docs/guide/images.md";
    air_gapped = "docs/guide/air-gapped.md";
    mirrors = "docs/guide/mirrors.md";
    upgrade_guac = "docs/guide/upgrade-guac.md";
    broken_token = "docs/guide/broken-token.md";
    proxies_and_cas = "docs/guide/proxies-and-cas.md";
    status = "docs/guide/status.md";
    metrics = "docs/guide/metrics.md";
    rhel = "docs/rhel.md";
}

/// Pages whose blocks are read and not run: each command stands for itself there, or is a part of the build.
const READ: [&str; 7] =
    ["SECURITY.md", "cloud-init", "docs/bundle.md", "docs/errors", "docs/webhook.md", "packaging", "tests/vm"];

/// Follows a page from its beginning to its end.
fn follow(page: &str) {
    let mut world: Option<World> = None;
    let mut before: Option<String> = None;
    for block in blocks(&read(Path::new(page))) {
        let place = format!("{page}:{}", block.line);
        if let Some(name) = block.mark("world") {
            world = Some(World::named(name));
        }
        let printed = before.take().filter(|_| block.follows);
        match block.kind.as_str() {
            "sh" if block.mark("syntax-only").is_some() => {}
            "sh" => {
                let world = world.as_ref().unwrap_or_else(|| panic!("{place}: in which world?"));
                let ended = world.run(&block.text, block.mark("stdin"));
                if std::env::var_os("GUIDES_SHOW").is_some() {
                    println!("--- {place}: {}\n{}{}", ended.code, block.text, ended.said);
                }
                let wanted: i32 = block.mark("exit").map_or(0, |code| code.parse().unwrap());
                assert_eq!(ended.code, wanted, "{place}:\n{}\n{}", block.text, ended.said);
                before = Some(ended.said);
            }
            "text" if block.mark("shown").is_none() => {
                let said = printed.unwrap_or_else(|| panic!("{place}: of which command is this what it prints?"));
                assert!(told::is_told(&block.text, &said), "{place}: the page has\n{}\nit was\n{said}", block.text);
            }
            _ => {}
        }
    }
}

/// Every command block of these documents, with its page.
fn commands() -> Vec<(PathBuf, Block)> {
    let of = |page: PathBuf| {
        let all = blocks(&read(&page));
        all.into_iter().filter(|block| block.kind == "sh").map(move |block| (page.clone(), block)).collect::<Vec<_>>()
    };
    files("", "md").into_iter().flat_map(of).collect()
}

#[test]
fn every_command_block_is_run_or_says_why_it_is_only_read() {
    let (mut run, mut reads, mut wrong) = (0, 0, Vec::new());
    for (page, block) in commands() {
        let name = page.to_str().unwrap();
        if block.mark("syntax-only").is_some_and(|why| why.len() > 10) || READ.iter().any(|read| name.starts_with(read))
        {
            reads += 1;
        } else if RUN.contains(&name) && block.mark("syntax-only").is_none() {
            run += 1;
        } else {
            wrong.push(format!("{name}:{}", block.line));
        }
    }
    println!("{run} blocks are run, {reads} are only read");
    assert!(wrong.is_empty(), "neither run nor said why not: {wrong:?}");
    let listed: BTreeSet<PathBuf> = RUN.iter().map(PathBuf::from).collect();
    let missing: Vec<_> = files("docs/guide", "md").into_iter().filter(|page| !listed.contains(page)).collect();
    assert!(missing.is_empty(), "guides that nobody follows: {missing:?}");
}

#[test]
fn every_block_is_shell_that_shellcheck_takes() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (at, (page, block)) in commands().into_iter().enumerate() {
        let file = directory.path().join(format!("{at}.sh"));
        fs::write(&file, format!("#!/usr/bin/env bash\n# {}:{}\n{}", page.display(), block.line, block.text)).unwrap();
        let bash = Command::new("bash").arg("-n").arg(&file).output().unwrap();
        assert!(bash.status.success(), "{}:{}: {}", page.display(), block.line, String::from_utf8_lossy(&bash.stderr));
        files.push(file);
    }
    // Blocks are run by a shell that ends at the first failure (SC2164), and short words of digits are no list (SC2046).
    let taste = ["--severity=warning", "--exclude=SC2164,SC2046", "--format=gcc"];
    let Ok(said) = Command::new("shellcheck").args(taste).args(&files).output() else {
        return eprintln!("skipped: there is no shellcheck here (scripts/test installs it)");
    };
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}

#[test]
fn every_command_line_of_the_guides_is_one_of_ours() {
    let mut count = 0;
    for (page, block) in commands().into_iter().filter(|(page, _)| RUN.contains(&page.to_str().unwrap())) {
        for line in words::calls(&block.text, "kasm-bootstrap") {
            count += 1;
            // What a page writes for a digest is one.
            let read = cli::command().try_get_matches_from(&line);
            let fault = read.err().filter(clap::Error::use_stderr);
            assert!(fault.is_none(), "{}:{}: {line:?}: {}", page.display(), block.line, fault.unwrap());
        }
    }
    println!("{count} command lines");
    assert!(count > 10, "only {count} were found");
}

#[test]
fn every_configuration_is_a_right_one() {
    let mut count = 0;
    for page in RUN {
        for block in blocks(&read(Path::new(page))) {
            let place = format!("{page}:{}", block.line);
            match block.kind.as_str() {
                "toml" => whole::check_toml(&place, &block.text, block.mark("fragment").is_some()),
                "yaml" => whole::check_yaml(&place, &block.text),
                "json" => drop(serde_json::from_str::<serde_json::Value>(&block.text).unwrap()),
                "sh" | "text" => continue,
                kind => panic!("{place}: what is {kind:?}, and who checks it?"),
            }
            count += 1;
        }
    }
    assert!(count > 2, "only {count} were found");
}
