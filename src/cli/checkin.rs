//! `kasm-bootstrap checkin`: tells the manager of a server pool how far this machine is.

use super::duration::parse_duration;
use super::kasm_flags::{absolute, set};
use super::teller::Teller;
use super::{Global, answer::Answer, views};
use crate::config::layer::Raw;
use crate::config::{self, Layer};
use crate::deadline::Deadline;
use crate::error::Failure;
use crate::kasm::checkin::{CheckIn, ServerStatus};
use serde_json::json;
use std::time::Duration;

/// The command's flags.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What the server is: running, or starting while it is not ready
    #[arg(long, value_name = "WORD", default_value = ServerStatus::RUNNING, value_parser = word)]
    status: String,
    /// A message for the Admin UI
    #[arg(long, value_name = "TEXT", default_value = "")]
    message: String,
    /// How much is done, in percent [default: 100 if it is running, else 0]
    #[arg(long, value_name = "0..100", value_parser = clap::value_parser!(u8).range(0..=100))]
    progress: Option<u8>,
    /// A file with the check-in token, `-` for standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// The manager: host, or host:port
    #[arg(short = 'm', long, value_name = "HOST")]
    manager_hostname: Option<String>,
    /// A further certificate authority, PEM (repeatable)
    #[arg(long, value_name = "FILE")]
    ca_cert: Vec<String>,
    /// The SHA-256 of the one certificate or public key to accept
    #[arg(long, value_name = "HEX")]
    tls_pin: Option<String>,
    /// How long to try
    #[arg(long, value_name = "SPAN", default_value = "2m", value_parser = parse_duration)]
    timeout: Duration,
}

const EXAMPLES: &str = "\
For the user-data of server pools, in place of curl: the token ({checkin_jwt})
is checked before it is used, appears in no list of processes and no log, and
goes only to a manager whose certificate is trusted. Token and manager are also
taken from the configuration (manager.checkin_token, manager.address).

Examples:
  echo '{checkin_jwt}' | kasm-bootstrap checkin --token-file - \\
      --manager-hostname '{upstream_auth_address}' --message 'Ready'
  kasm-bootstrap checkin --status starting --message 'Installing' --progress 40";

fn word(text: &str) -> Result<String, String> {
    let sound =
        (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if sound { Ok(text.to_owned()) } else { Err("write one word, such as running or starting".into()) }
}

impl Args {
    fn layer(&self) -> Layer {
        let mut layer = Layer::default();
        let text = |value: &Option<String>| value.clone().map(Raw::Text);
        let path = self.token_file.as_deref().map(|text| Raw::Text(absolute(text)));
        set(&mut layer, "manager.checkin_token_file", path);
        set(&mut layer, "manager.address", text(&self.manager_hostname));
        let certificates: Vec<String> = self.ca_cert.iter().map(|path| absolute(path)).collect();
        set(&mut layer, "network.ca_certs", (!certificates.is_empty()).then_some(Raw::List(certificates)));
        set(&mut layer, "network.tls_pin", text(&self.tls_pin));
        layer
    }
}

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    let paths = global.paths();
    let loaded = config::load(&global.sources(&paths, args.layer()))?;
    views::warn(global, &loaded.warnings);
    let (token, address) = loaded.merged.checkin()?;
    let network = loaded.merged.network()?;
    let checkin = CheckIn::new(&paths, &address, &network, token);
    // Only what is ready is done by itself: "starting, 100 %" would be read as the end of it.
    let progress = args.progress.unwrap_or(if args.status == ServerStatus::RUNNING { 100 } else { 0 });
    let status = ServerStatus::new(&args.status, &args.message, progress);
    checkin.tell_until(&status, Deadline::after(args.timeout), &Teller::new(global)).await?;
    let (manager, status) = (checkin.manager(), args.status);
    let text = format!("manager {manager} was told: {status}, {progress} %");
    let json = json!({ "result": "told", "manager": manager, "status": status, "progress": progress });
    Ok(Answer::new(text, json))
}
