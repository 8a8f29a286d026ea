//! The installer's command line, built from the intent and from what the release's script knows.

use super::error::Error;
use super::script::ScriptFlags;
use crate::intent::{Intent, Role};
use crate::secret::Secret;
use std::path::PathBuf;

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// May be seen by anybody.
    Plain(String),
    /// Must reach no argument vector of ours.
    Secret(Secret),
}

impl Arg {
    /// The argument as it may be shown.
    pub fn shown(&self) -> &str {
        match self {
            Arg::Plain(text) => text,
            Arg::Secret(_) => "[secret]",
        }
    }

    /// The argument itself; see [`Secret::expose`].
    pub fn expose(&self) -> &str {
        match self {
            Arg::Plain(text) => text,
            Arg::Secret(secret) => secret.expose(),
        }
    }
}

/// A script of a release and what it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The script, an absolute path.
    pub script: PathBuf,
    /// Its arguments, in order.
    pub args: Vec<Arg>,
}

/// Kasm's options: long names, newest first, and the short form (docs/kasm-facts.md, 2). What was
/// renamed between releases stands in one line.
const OPTIONS: &[(&[&str], Option<&str>)] = &[
    (&["role"], Some("-S")),
    (&["accept-eula"], Some("-e")),
    (&["public-hostname"], Some("-p")),
    (&["manager-hostname"], Some("-m")),
    (&["manager-token"], Some("-M")),
    (&["agent-server-id"], Some("-i")),
    (&["agent-provider"], Some("-r")),
    (&["proxy-port"], Some("-L")),
    (&["no-swap-check"], Some("-H")),
    (&["swap-size"], Some("-J")),
    (&["api-hostname"], Some("-n")),
    (&["registration-token"], Some("-k")),
    (&["server-zone"], Some("-z")),
    (&["offline-service"], Some("-s")),
    (&["offline-workspaces"], Some("-w")),
    (&["offline-network-plugin", "offline-plugin"], Some("-x")),
    (&["use-rolling-images"], Some("-O")),
    (&["use-static-images"], Some("-f")),
    (&["skip-v4l2loopback"], Some("-X")),
    (&["no-check-disk"], Some("-b")),
    (&["no-check-ports"], Some("-B")),
    (&["skip-connection-test"], Some("-N")),
    (&["no-start"], Some("-D")),
    (&["verbose"], Some("-v")),
];

/// Words that install.sh replaces in the proxies' configuration after our values stand in it (docs/kasm-facts.md, 2).
pub const SUBSTITUTED: [&str; 5] = ["APIHOSTNAME", "ZONE", "SERVER_ADDRESS", "SERVER_PORT", "REGISTRATION_TOKEN"];

impl CommandLine {
    /// The command line of `install.sh` for this intent. `address` is this node's own, as resolved;
    /// `release` is the release's version where it is known.
    ///
    /// Long forms are preferred, short ones used where the script knows only those.
    ///
    /// # Errors
    /// [`Error::UnknownFlag`] for an option the script does not know, [`Error::BadValue`] for a value it
    /// would misread.
    pub fn install(
        script: PathBuf,
        intent: &Intent,
        address: &str,
        flags: &ScriptFlags,
        release: Option<&str>,
    ) -> Result<CommandLine, Error> {
        let mut line = Builder { script: "install.sh", flags, release, role: intent.role, args: Vec::new() };
        line.value("role", intent.role.as_str())?;
        line.flag("accept-eula")?;
        line.pasted("public-hostname", "the node's address", address)?;
        let manager = intent.manager.address.to_string();
        match intent.role {
            Role::Agent => {
                line.pasted("manager-hostname", "the manager's address", &manager)?;
                line.secret("manager-token", "the manager token", &intent.manager.token)?;
                if let Some(id) = &intent.agent.server_id {
                    line.pasted("agent-server-id", "the server id", id)?;
                }
                if let Some(provider) = &intent.agent.provider {
                    line.pasted("agent-provider", "the provider name", provider)?;
                }
            }
            Role::Guac => {
                line.pasted("api-hostname", "the manager's address", &manager)?;
                line.secret("registration-token", "the registration token", &intent.manager.token)?;
                if let Some(zone) = &intent.guac.zone {
                    line.pasted("server-zone", "the zone", zone)?;
                }
            }
        }
        if let Some(port) = intent.proxy_port {
            line.value("proxy-port", &port.to_string())?;
        }
        // Swap is made before the installer starts. A release without the option does not ask for swap.
        if line.find("no-swap-check").is_some() {
            line.flag("no-swap-check")?;
        }
        for flag in &intent.installer.flags {
            if flag != "accept-eula" && flag != "no-swap-check" {
                line.flag(flag)?;
            }
        }
        for (name, value) in &intent.installer.values {
            line.value(name, value)?;
        }
        for extra in &intent.installer.extra {
            line.extra(extra)?;
        }
        Ok(CommandLine { script, args: line.args })
    }

    /// The command line of `upgrade.sh` (docs/kasm-facts.md, 3), and the installer's settings that this script
    /// does not take and that are left out. It reads everything else from the old configuration; `address` and
    /// `api_host` are given only where that lacks them.
    ///
    /// # Errors
    /// As of [`CommandLine::install`].
    pub fn upgrade(
        script: PathBuf,
        intent: &Intent,
        (address, api_host): (Option<&str>, Option<&str>),
        flags: &ScriptFlags,
    ) -> Result<(CommandLine, Vec<String>), Error> {
        let release = intent.release.version.as_deref();
        let mut line = Builder { script: "upgrade.sh", flags, release, role: intent.role, args: Vec::new() };
        line.value("role", intent.role.as_str())?;
        if intent.role == Role::Guac {
            line.secret("registration-token", "the registration token", &intent.manager.token)?;
        }
        if let Some(address) = address {
            line.pasted("public-hostname", "the node's address", address)?;
        }
        if let Some(api_host) = api_host {
            line.pasted("api-hostname", "the manager's address", api_host)?;
        }
        let mut left_out = Vec::new();
        for flag in intent.installer.flags.iter().filter(|flag| *flag != "accept-eula" && *flag != "no-swap-check") {
            match line.find(flag) {
                Some(_) => line.flag(flag)?,
                None => left_out.push(format!("--{flag}")),
            }
        }
        for (name, value) in &intent.installer.values {
            match line.find(name) {
                Some(_) => line.value(name, value)?,
                None => left_out.push(format!("--{name}")),
            }
        }
        for extra in &intent.installer.extra {
            line.extra(extra)?;
        }
        Ok((CommandLine { script, args: line.args }, left_out))
    }

    /// The arguments as they may be shown.
    pub fn shown_args(&self) -> Vec<String> {
        self.args.iter().map(|arg| arg.shown().to_owned()).collect()
    }

    /// The whole command as it may be shown in a plan or a journal, quoted for a shell.
    pub fn shown(&self) -> String {
        let mut text = format!("bash {}", quoted(&self.script.display().to_string()));
        for arg in &self.args {
            text.push(' ');
            match arg {
                Arg::Plain(plain) => text.push_str(&quoted(plain)),
                Arg::Secret(_) => text.push_str(arg.shown()),
            }
        }
        text
    }

    /// The secrets among the arguments.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.args.iter().filter_map(|arg| match arg {
            Arg::Plain(_) => None,
            Arg::Secret(secret) => Some(secret),
        })
    }
}

struct Builder<'a> {
    script: &'static str,
    flags: &'a ScriptFlags,
    release: Option<&'a str>,
    role: Role,
    args: Vec<Arg>,
}

impl Builder<'_> {
    /// The form of this option that the script knows.
    fn find(&self, name: &str) -> Option<String> {
        let known = OPTIONS.iter().find(|(names, _)| names.contains(&name));
        let (names, short) = match known {
            Some((names, short)) => (names.to_vec(), *short),
            None => (vec![name], None),
        };
        // The name that was asked for goes before its renames.
        let own = std::iter::once(name).chain(names);
        let long = own.map(|name| format!("--{name}")).find(|long| self.flags.knows(long));
        long.or_else(|| short.filter(|short| self.flags.knows(short)).map(str::to_owned))
    }

    fn flag(&mut self, name: &str) -> Result<(), Error> {
        match self.find(name) {
            Some(form) => {
                self.args.push(Arg::Plain(form));
                Ok(())
            }
            None => Err(self.unknown(format!("--{name}"))),
        }
    }

    fn value(&mut self, name: &str, value: &str) -> Result<(), Error> {
        check(&format!("the value of --{name}"), value)?;
        self.flag(name)?;
        self.args.push(Arg::Plain(value.to_owned()));
        Ok(())
    }

    /// A value that Kasm pastes into its configuration with `sed`.
    fn pasted(&mut self, name: &str, what: &str, value: &str) -> Result<(), Error> {
        self.check_pasted(what, value)?;
        self.flag(name)?;
        self.args.push(Arg::Plain(value.to_owned()));
        Ok(())
    }

    fn secret(&mut self, name: &str, what: &str, secret: &Secret) -> Result<(), Error> {
        self.check_pasted(what, secret.expose())?;
        self.flag(name)?;
        self.args.push(Arg::Secret(secret.clone()));
        Ok(())
    }

    fn extra(&mut self, arg: &str) -> Result<(), Error> {
        if arg.contains(char::is_control) {
            return Err(Error::BadValue { what: "an --installer-arg".into(), why: "holds a control character" });
        }
        if arg.starts_with('-') && !self.flags.knows(arg) {
            return Err(self.unknown(arg.to_owned()));
        }
        self.args.push(Arg::Plain(arg.to_owned()));
        Ok(())
    }

    fn check_pasted(&self, what: &str, value: &str) -> Result<(), Error> {
        check(what, value)?;
        let bad = |why| Err(Error::BadValue { what: what.to_owned(), why });
        if value.contains(['/', '&', '\\']) {
            return bad("holds one of / & \\, which Kasm's scripts paste into sed and mangle");
        }
        if value.contains(char::is_whitespace) {
            return bad("holds a blank");
        }
        if self.role == Role::Guac && SUBSTITUTED.iter().any(|word| value.contains(word)) {
            return bad("holds a word in capitals that Kasm's scripts replace in the proxies' configuration");
        }
        Ok(())
    }

    fn unknown(&self, flag: String) -> Error {
        let release = self.release.map_or_else(|| "this release".to_owned(), |version| format!("release {version}"));
        Error::UnknownFlag { script: self.script, flag, release }
    }
}

fn check(what: &str, value: &str) -> Result<(), Error> {
    let bad = |why| Err(Error::BadValue { what: what.to_owned(), why });
    if value.is_empty() {
        return bad("is empty");
    }
    if value.starts_with('-') {
        return bad("starts with a dash, and Kasm's scripts take it for an option");
    }
    if value.contains(char::is_control) {
        return bad("holds a control character");
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+[]~".contains(c);
    if !text.is_empty() && text.chars().all(safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
