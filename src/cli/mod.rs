//! The command line: one file a command. It reads flags, calls one flow, and returns the answer; only
//! this room prints.

pub mod answer;
pub mod apt_wait;
pub mod bake;
pub mod bundle;
pub mod checkin;
mod colour;
pub mod config;
pub mod doctor;
pub mod duration;
mod examples;
pub mod explain;
pub mod health;
pub mod install;
pub mod kasm_flags;
pub mod plan;
pub mod preflight;
pub mod release;
pub mod reports;
pub mod rollback;
pub mod run;
mod screen;
pub mod status;
pub mod teller;
pub mod timeline;
pub mod token;
pub mod upgrade;
mod usage;
pub mod views;

use crate::config::{Layer, Sources};
use crate::error::{Exit, Failure};
use crate::paths::Paths;
use answer::Answer;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::path::PathBuf;

/// Version, commit and target; build.rs knows the last two.
const LONG_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILT_FROM"), ", ", env!("BUILT_FOR"), ")");

/// Brings a Kasm Workspaces node up on a fresh machine, and proves it.
#[derive(Debug, Parser)]
#[command(name = "kasm-bootstrap", version, long_version = LONG_VERSION, max_term_width = crate::words::CONSOLE, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Configuration file [default: /etc/kasm-bootstrap/config.toml, then config.d/*.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Every path below DIR (for tests and images)
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub root: Option<PathBuf>,
    /// Say more; twice: say everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
    /// Say nothing but the answer and errors
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// The answer as one JSON document
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// No colour, whatever the terminal can do
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_color: bool,
}

impl Global {
    /// Every path, below `--root` if one was given.
    pub fn paths(&self) -> Paths {
        match &self.root {
            Some(root) => Paths::below(std::path::absolute(root).unwrap_or_else(|_| root.clone())),
            None => Paths::default(),
        }
    }

    /// Where the configuration comes from, the command line's part of it last.
    pub fn sources<'a>(&'a self, paths: &'a Paths, flags: Layer) -> Sources<'a> {
        Sources { paths, file: self.config.as_deref(), environment: std::env::vars_os().collect(), flags }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install: one shot, safe to repeat
    Install(install::Args),
    /// Upgrade: to another version, or back to where it was
    Upgrade(upgrade::Args),
    /// Back to the version before
    Rollback(rollback::Args),
    /// The service: install if needed, then watch
    Run(run::Args),
    /// What would happen, without doing it
    Plan(plan::Args),
    /// The checks alone
    Preflight(preflight::Args),
    /// What the last run did and where the time went
    Status(status::Args),
    /// Where the time of the last run went, as text or a picture
    Timeline(timeline::Args),
    /// How the node is now: what is wrong first, each with its remedy
    Health(health::Args),
    /// What is wrong here: preflight, health and tokens, causes first
    Doctor(doctor::Args),
    /// What a reason code means, and what to do
    Explain(explain::Args),
    /// Tokens: check one, list this node's, repair what does not work
    Token(token::Args),
    /// Tell the manager of a server pool how far this machine is
    Checkin(checkin::Args),
    /// Wait until apt or dnf is free
    #[command(visible_alias = "dnf-wait")]
    AptWait(apt_wait::Args),
    /// Fetch, verify and unpack a kasm_release
    Release(release::Args),
    /// The configuration: check, show, schema, example
    Config(config::Args),
    /// Put into an image what its machines would fetch and install
    Bake(bake::Args),
    /// One file for a support ticket: logs and facts, masked
    Bundle(bundle::Args),
}

/// The command line as clap knows it: what man pages and completions are made from.
pub fn command() -> clap::Command {
    let command = Cli::command()
        .mut_subcommand("upgrade", upgrade::reworded)
        .mut_subcommand("plan", |plan| plan.mut_subcommand("upgrade", upgrade::reworded));
    examples::with(command)
}

/// Runs one command line to its end and returns the exit class. Everything that is printed is printed
/// here.
pub fn run(args: impl IntoIterator<Item = std::ffi::OsString>) -> Exit {
    // A token must not end up in a core dump, nor be read by another process of the same user. Where the
    // kernel refuses, things are as they were.
    let _ = nix::sys::prctl::set_dumpable(false);
    let args: Vec<_> = args.into_iter().collect();
    // What is printed about a command line that was not understood, help too, obeys it all the same.
    let no_color = args.iter().any(|arg| arg == "--no-color");
    let parsed = command().try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            usage::print(&error, no_color);
            // Help and version are answers, all else is a usage error.
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure =
                Failure::new(Exit::Unexpected, "runtime.start", error.to_string(), "free memory or file descriptors");
            return answer::fail(&cli.global, &failure);
        }
    };
    let global = cli.global.clone();
    match runtime.block_on(dispatch(cli)) {
        Ok(answer) => answer::give(&global, &answer),
        Err(failure) => answer::fail(&global, &failure),
    }
}

async fn dispatch(cli: Cli) -> Result<Answer, Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Install(args) => install::run(global, args).await,
        Command::Upgrade(args) => upgrade::run(global, args).await,
        Command::Rollback(args) => rollback::run(global, args).await,
        Command::Run(args) => run::run(global, args).await,
        Command::Plan(args) => plan::run(global, args).await,
        Command::Preflight(args) => preflight::run(global, args).await,
        Command::Status(args) => status::run(global, args).await,
        Command::Timeline(args) => timeline::run(global, args).await,
        Command::Health(args) => health::run(global, args).await,
        Command::Doctor(args) => doctor::run(global, args).await,
        Command::Explain(args) => explain::run(global, args),
        Command::Token(args) => token::run(global, args).await,
        Command::Checkin(args) => checkin::run(global, args).await,
        Command::AptWait(args) => apt_wait::run(global, args).await,
        Command::Release(args) => release::run(global, args).await,
        Command::Config(args) => config::run(global, args).await,
        Command::Bake(args) => bake::run(global, args).await,
        Command::Bundle(args) => bundle::run(global, args).await,
    }
}
