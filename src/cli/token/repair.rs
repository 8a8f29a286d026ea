//! `kasm-bootstrap token repair`: gives a component its token again.

use crate::cli::answer::Answer;
use crate::cli::kasm_flags::{absolute, secret, set, warn_of_visible};
use crate::cli::{Global, reports, views};
use crate::config::layer::Raw;
use crate::config::{self, Layer};
use crate::error::Failure;
use crate::flow::repair::{self, Preview};
use crate::secret::Secret;
use serde_json::json;

/// Flags of `token repair`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A file with the registration token, `-` for standard input
    #[arg(long, value_name = "FILE", help_heading = TOKENS)]
    registration_token_file: Option<String>,
    /// The registration token; better: --registration-token-file
    #[arg(short = 'k', long, value_name = "TOKEN", help_heading = TOKENS, allow_hyphen_values = true, value_parser = secret)]
    registration_token: Option<Secret>,
    /// A file with the manager token, `-` for standard input
    #[arg(long, value_name = "FILE", help_heading = TOKENS)]
    manager_token_file: Option<String>,
    /// The manager token (agent); better: --manager-token-file
    #[arg(short = 'M', long, value_name = "TOKEN", help_heading = TOKENS, allow_hyphen_values = true, value_parser = secret)]
    manager_token: Option<Secret>,
    /// How tokens must look: auto, jwt or opaque
    #[arg(long, value_name = "FORMAT", help_heading = TOKENS)]
    token_format: Option<String>,
    /// The manager's right address, where the agent has a wrong one: host,
    /// or host:port
    #[arg(short = 'm', long, value_name = "HOST", help_heading = MANAGER)]
    manager_hostname: Option<String>,
    /// A further certificate authority, PEM (repeatable)
    #[arg(long, value_name = "FILE", help_heading = MANAGER)]
    ca_cert: Vec<String>,
    /// The SHA-256 of the one certificate or public key to accept
    #[arg(long, value_name = "HEX", help_heading = MANAGER)]
    tls_pin: Option<String>,
    /// Accept any certificate
    #[arg(long, help_heading = MANAGER)]
    insecure: bool,
    /// How long the whole run may take [default: 570s]
    #[arg(long, value_name = "TIME", help_heading = RUN)]
    deadline: Option<String>,
    /// Show what would be changed, tokens masked, and change nothing
    #[arg(long, help_heading = RUN)]
    dry_run: bool,
}

const TOKENS: &str = "Tokens";
const MANAGER: &str = "Manager";
const RUN: &str = "This run";

const EXAMPLES: &str = "\
Looks for tokens that cannot work (`token list` shows them), checks the new one,
waits until the manager answers, backs the component's configuration up, writes
the token, restarts the component, and waits until it works. If it does not,
everything is put back. What is healthy is left alone.

Tokens are also taken from the configuration, as `install` does; repair.method
says where a registration token is written: both, file or yaml.

Examples:
  kasm-bootstrap token repair --registration-token-file /run/token
                                A connection proxy that has to register again
  kasm-bootstrap token repair --registration-token-file /run/token --dry-run
                                What that would change
  kasm-bootstrap token repair --manager-token-file /run/token
                                An agent with a wrong manager token
  kasm-bootstrap token repair --manager-hostname kasm.example.com
                                An agent with a wrong manager address";

impl Args {
    fn layer(&self) -> Layer {
        let mut layer = Layer::default();
        let mut set = |key: &str, raw: Option<Raw>| set(&mut layer, key, raw);
        let text = |value: &Option<String>| value.clone().map(Raw::Text);
        let path = |value: &Option<String>| value.as_deref().map(|text| Raw::Text(absolute(text)));
        let token = |value: &Option<Secret>| value.clone().map(Raw::Secret);
        set("guac.registration_token", token(&self.registration_token));
        set("guac.registration_token_file", path(&self.registration_token_file));
        set("manager.token", token(&self.manager_token));
        set("manager.token_file", path(&self.manager_token_file));
        set("manager.address", text(&self.manager_hostname));
        set("token_format", text(&self.token_format));
        let certificates: Vec<String> = self.ca_cert.iter().map(|path| absolute(path)).collect();
        set("network.ca_certs", (!certificates.is_empty()).then_some(Raw::List(certificates)));
        set("network.tls_pin", text(&self.tls_pin));
        set("network.insecure", self.insecure.then_some(Raw::Boolean(true)));
        set("deadline", text(&self.deadline));
        warn_of_visible(&mut layer, self.manager_token.as_ref(), self.registration_token.as_ref());
        layer
    }
}

/// Runs the command.
pub async fn run(global: &Global, args: &Args) -> Result<Answer, Failure> {
    let paths = global.paths();
    let loaded = config::load(&global.sources(&paths, args.layer()))?;
    let (intent, notes) = loaded.merged.repair()?;
    views::warn(global, &loaded.warnings);
    views::warn(global, &notes);
    if args.dry_run {
        return Ok(shown(&repair::preview(&paths, intent).await?));
    }
    let reporting = loaded.merged.reporting()?;
    let run = async |views| repair::run(&paths, intent, views).await;
    Ok(Answer::of_run(reports::told(global, &reporting, run).await?))
}

fn shown(preview: &Preview) -> Answer {
    let mut text = String::new();
    for change in &preview.changes {
        text += &format!("{}\n", change.file);
        change.lines.iter().for_each(|line| text += &format!("  {line}\n"));
    }
    text += &match (preview.changes.is_empty(), preview.restarts.as_slice()) {
        (true, _) => "nothing would be changed".to_owned(),
        (false, []) => "no container would be restarted".into(),
        (false, containers) => format!("would be restarted: {}", containers.join(", ")),
    };
    Answer::new(text, json!({ "schema": 1, "changes": preview.changes, "restarts": preview.restarts }))
}
