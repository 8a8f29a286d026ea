//! `kasm-bootstrap token`.

pub(super) mod list;
mod repair;

use super::{Global, answer::Answer};
use crate::error::{Exit, Failure};
use crate::secret::Secret;
use crate::token::{self, Accepted, Context, Form, Format, Kind, MAX_KEY_FILE, PublicKey, Refusal, Signature};
use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::json;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The most that is read of a token, in bytes. More than that is not a token.
const MAX_INPUT: u64 = 16 * 1024;

/// The command's flags.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a token's structure, claims and signature, without showing it
    Check(Check),
    /// Every token this node holds, and what each is worth; never the token
    List(list::Args),
    /// Give a component whose token does not work a new one
    Repair(Box<repair::Args>),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// What the token is for
    #[arg(long, value_enum, default_value_t = KindArg::Manager)]
    kind: KindArg,
    /// What it must look like; checkin and auth tokens are always JSON Web Tokens
    #[arg(long, value_enum, default_value_t = FormatArg::Auto)]
    format: FormatArg,
    /// Public key or certificate that must have signed it (RS256 or ES256)
    #[arg(long, value_name = "PEM")]
    key: Option<PathBuf>,
    /// Judge it as of this moment instead of now, for example 2026-01-31T12:00:00Z
    #[arg(long, value_name = "RFC3339")]
    at: Option<Timestamp>,
    /// The file that holds the token; - or nothing: standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindArg {
    Manager,
    Registration,
    Checkin,
    Auth,
}

impl From<KindArg> for Kind {
    fn from(kind: KindArg) -> Kind {
        match kind {
            KindArg::Manager => Kind::Manager,
            KindArg::Registration => Kind::Registration,
            KindArg::Checkin => Kind::CheckIn,
            KindArg::Auth => Kind::Auth,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatArg {
    Auto,
    Jwt,
    Opaque,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Format {
        match format {
            FormatArg::Auto => Format::Auto,
            FormatArg::Jwt => Format::Jwt,
            FormatArg::Opaque => Format::Opaque,
        }
    }
}

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    let check = match args.command {
        Command::Check(check) => check,
        Command::List(args) => return list::run(global, &args),
        Command::Repair(args) => return repair::run(global, &args).await,
    };
    // Standard input may be a terminal or a pipe that nobody writes to.
    tokio::task::spawn_blocking(move || run_check(&check)).await.unwrap_or_else(|error| {
        Err(Failure::new(Exit::Unexpected, "token.panic", error.to_string(), "report this as a bug"))
    })
}

fn run_check(args: &Check) -> Result<Answer, Failure> {
    let kind = Kind::from(args.kind);
    let key = args.key.as_deref().map(read_key).transpose()?;
    let token = read_token(kind, args.file.as_deref())?;
    let now = args.at.unwrap_or_else(Timestamp::now);
    let context = Context { key: key.as_ref(), is_assumed: args.at.is_some(), ..Context::at(now) };
    let accepted = token::check(kind, args.format.into(), &token, &context)?;
    Ok(answer(kind, &accepted, now))
}

fn read_key(path: &Path) -> Result<PublicKey, Failure> {
    let mut pem = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_KEY_FILE as u64 + 1).read_to_end(&mut pem)).map_err(|error| {
        unreadable("token.key-unreadable", "key", path, &error, "give a readable PEM file to --key")
    })?;
    Ok(PublicKey::from_pem(&pem)?)
}

fn read_token(kind: Kind, file: Option<&Path>) -> Result<Secret, Failure> {
    let path = file.unwrap_or(Path::new("-"));
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_INPUT as usize + 1));
    let read = if path == Path::new("-") {
        io::stdin().lock().take(MAX_INPUT + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_INPUT + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| {
        let help = "give a readable file, or the token on standard input; a token itself is never an argument";
        unreadable("token.unreadable", "token", path, &error, help)
    })?;
    let refuse = |refusal| Failure::from(token::Error::Refused { kind, refusal, words: None });
    if bytes.len() as u64 > MAX_INPUT {
        return Err(refuse(Refusal::TooLong { length: bytes.len(), most: token::MAX_JWT }));
    }
    // One line feed at the end is how files end, and what `echo` adds.
    let bytes = bytes.strip_suffix(b"\n").map_or(&bytes[..], |line| line.strip_suffix(b"\r").unwrap_or(line));
    match str::from_utf8(bytes) {
        Ok(text) => Ok(Secret::new(text)),
        Err(error) => Err(refuse(Refusal::NotText { position: error.valid_up_to() + 1 })),
    }
}

fn unreadable(reason: &str, what: &str, path: &Path, error: &io::Error, help: &str) -> Failure {
    // Somebody may have given the token where its file belongs. Only what is surely a path is shown.
    let shown = path.to_str().filter(|text| text.contains('/') || path.exists() || text.len() < token::MIN_OPAQUE);
    let message = match shown {
        Some("-") => format!("the {what} cannot be read from standard input: {error}"),
        Some(path) => format!("the {what} file {path} cannot be read: {error}"),
        None => format!("the {what} file cannot be read: {error}"),
    };
    Failure::new(Exit::Configuration, reason, message, help)
}

fn answer(kind: Kind, accepted: &Accepted, now: Timestamp) -> Answer {
    let claims = accepted.claims.as_ref();
    let algorithm = claims.map(|claims| claims.alg.as_str());
    let expires = claims.and_then(|claims| claims.exp);
    let mut text = match algorithm {
        Some(algorithm) => format!("{kind} accepted: JSON Web Token, {algorithm}\n"),
        None => format!("{kind} accepted: opaque\n"),
    };
    if accepted.form == Form::Jwt {
        text += &match expires {
            Some(at) => match now.duration_until(at) {
                left if left.is_positive() => format!("expires {at}, in {}\n", token::in_words(left.unsigned_abs())),
                past => format!("expired {at}, {} ago\n", token::in_words(past.unsigned_abs())),
            },
            None => "expires never\n".to_owned(),
        };
        text += match accepted.signature {
            Signature::Verified => "signature verified\n",
            Signature::NotChecked => "signature not checked: no --key was given\n",
        };
    }
    for warning in &accepted.warnings {
        text += &format!("warning: {warning}\n");
    }
    let json = json!({
        "accepted": true,
        "kind": kind.as_str(),
        "form": accepted.form.as_str(),
        "algorithm": algorithm,
        "expires": expires.map(|at| at.to_string()),
        "not_before": claims.and_then(|claims| claims.nbf).map(|at| at.to_string()),
        "issued": claims.and_then(|claims| claims.iat).map(|at| at.to_string()),
        "authorizations": claims.map(|claims| &claims.authorizations),
        "connection_proxy_id": claims.and_then(|claims| claims.connection_proxy_id.as_deref()),
        "signature": accepted.signature.as_str(),
        "warnings": accepted.warnings,
    });
    Answer::new(text.trim_end(), json)
}
