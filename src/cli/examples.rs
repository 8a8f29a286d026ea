//! Examples for the commands whose own files have none.

use clap::Command;

/// A command by its words, and its examples.
const EXAMPLES: &[(&[&str], &str)] = &[
    (
        &[],
        "  kasm-bootstrap doctor               What is wrong here?
  kasm-bootstrap plan install         What would be done, by the configuration
  kasm-bootstrap install --help       All flags of a command",
    ),
    (
        &["install"],
        "  kasm-bootstrap install              By the configuration alone
  kasm-bootstrap install -e -S agent -p auto -m kasm.example.com -i ID \\
      -r harvester --manager-token-file /run/token --release 1.19.0
  kasm-bootstrap install --dry-run    What would be done",
    ),
    (&["plan"], "  kasm-bootstrap plan install\n  kasm-bootstrap plan upgrade --release 1.19.0"),
    (&["plan", "install"], "  kasm-bootstrap plan install\n  kasm-bootstrap plan install --json"),
    (
        &["status"],
        "  kasm-bootstrap status                         The last run
  kasm-bootstrap status -v                      With what each step has found
  kasm-bootstrap status --wait --timeout 15m    In a script: until it has ended",
    ),
    (&["token"], "  kasm-bootstrap token list\n  kasm-bootstrap token check --kind manager /run/token"),
    (
        &["token", "check"],
        "  kasm-bootstrap token check /run/token
  kasm-bootstrap token check --kind auth --key /run/jwt.pem /run/token",
    ),
    (&["apt-wait"], "  kasm-bootstrap apt-wait && apt-get update\n  kasm-bootstrap apt-wait --timeout 30s"),
    (&["release"], "  kasm-bootstrap release digest kasm_release_1.18.1.tar.gz\n  kasm-bootstrap release list"),
    (&["release", "fetch"], "  kasm-bootstrap release fetch --sha256 sidecar https://mirror.example/k.tar.gz"),
    (&["release", "verify"], "  kasm-bootstrap release verify --minisign-key release.pub k.tar.gz"),
    (&["release", "unpack"], "  kasm-bootstrap release unpack --minisign-key release.pub k.tar.gz /opt/x"),
    (&["release", "digest"], "  kasm-bootstrap release digest https://mirror.example/k.tar.gz"),
    (&["release", "list"], "  kasm-bootstrap release list\n  kasm-bootstrap release list --json"),
    (&["config"], "  kasm-bootstrap config check\n  kasm-bootstrap config show"),
    (&["config", "check"], "  kasm-bootstrap config check\n  kasm-bootstrap config check --config ./new.toml"),
    (&["config", "show"], "  kasm-bootstrap config show\n  kasm-bootstrap config show --json"),
    (&["config", "schema"], "  kasm-bootstrap config schema > schema.json"),
    (&["config", "example"], "  kasm-bootstrap config example > /etc/kasm-bootstrap/config.toml"),
    (
        &["bake"],
        "  kasm-bootstrap bake --release 1.19.0 --dry-run
  kasm-bootstrap bake --release 1.19.0 --no-clean",
    ),
];

/// The command line with them.
pub(super) fn with(mut command: Command) -> Command {
    for (words, examples) in EXAMPLES {
        command = below(command, words, examples);
    }
    command
}

fn below(command: Command, words: &[&'static str], examples: &str) -> Command {
    match words {
        [] => command.after_help(format!("Examples:\n{examples}")),
        [first, rest @ ..] => command.mut_subcommand(*first, |command| below(command, rest, examples)),
    }
}
