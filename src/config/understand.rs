//! From what the sources say to the intent: every value understood, everything that is wrong said at
//! once.

mod known;
mod metadata;
mod repair;
mod reporting;
mod run_options;
mod settings;

pub use known::Known;
pub use run_options::{Ready, Remedies, RunOptions};

use super::catalog;
use super::error::Error;
use super::layer::{Entry, Origin, Raw};
use super::meaning::{self, Meaning};
use super::merged::Merged;
use super::schema::{Kind, SETTINGS};
use super::value::{self, Wrong};
use crate::intent::{
    AddressChoice, AgentIntent, Digest, GuacIntent, HostPort, InstallerIntent, Intent, ManagerIntent, ReleaseIntent,
    Role, Source,
};
use crate::net;
use crate::secret::Secret;
use crate::token::Format;
use std::path::PathBuf;
use std::time::Duration;

/// The intent, and what there is to say about it.
#[derive(Debug, Clone)]
pub struct Understood {
    /// What the operator asked for.
    pub intent: Intent,
    /// What is not as it should be, but can be worked with.
    pub notes: Vec<String>,
}

impl Merged {
    /// The intent. All that is wrong is in the one error.
    pub fn intent(&self) -> Result<Intent, Error> {
        self.understand().map(|understood| understood.intent)
    }

    /// The intent, and what there is to say about it. All that is wrong is in the one error.
    pub fn understand(&self) -> Result<Understood, Error> {
        let mut reader = Reader { merged: self, errors: Vec::new(), notes: Vec::new() };
        let intent = reader.intent();
        let Reader { errors, notes, .. } = reader;
        match (Error::of(errors), intent) {
            (None, Some(intent)) => Ok(Understood { intent, notes }),
            (Some(error), _) => Err(error),
            (None, None) => Err(Error::Missing { key: "role", help: ROLE_HELP.into(), emptied: None }),
        }
    }
}

const ROLE_HELP: &str = "write role = \"agent\" or role = \"guac\" into the configuration, or give --role";

/// Reads settings one by one and keeps what is wrong with them.
struct Reader<'a> {
    merged: &'a Merged,
    errors: Vec<Error>,
    notes: Vec<String>,
}

/// A value and where it was found.
struct Found<'a> {
    text: String,
    origin: &'a Origin,
}

impl<'a> Reader<'a> {
    /// `None` only if there are errors.
    fn intent(&mut self) -> Option<Intent> {
        self.eula();
        // The service's own settings are no part of the intent, but must be right as well.
        self.run_options();
        let role = self.role();
        let release = self.release();
        let manager = self.manager(role);
        let address = self.parsed("agent.address", value::address).unwrap_or(AddressChoice::Auto);
        let agent = AgentIntent {
            server_id: self.parsed("agent.server_id", value::word),
            provider: self.parsed("agent.provider", value::word),
        };
        if role == Some(Role::Agent) && agent.server_id.is_some() != agent.provider.is_some() {
            self.notes.push(
                "only one of agent.server_id and agent.provider is set; Kasm's autoscaler recognises its machines by both"
                    .into(),
            );
        }
        let intent = Intent {
            address,
            proxy_port: self.parsed("proxy_port", value::port),
            agent,
            guac: GuacIntent { zone: self.parsed("guac.zone", value::word) },
            token_format: self.token_format(),
            swap_mib: self.parsed("swap.size", value::mebibytes).filter(|size| *size > 0),
            apt_wait: self.parsed("apt.wait", value::duration).unwrap_or(Intent::APT_WAIT),
            network: self.network(),
            metadata: self.metadata(),
            budget: self.budget(),
            installer: self.installer(),
            settle: self.parsed("health.settle", value::duration).unwrap_or(Intent::SETTLE),
            skip: self.list("preflight.skip", |name| Ok(name.to_owned())),
            force: self.parsed("force", value::boolean).unwrap_or(false),
            reporting: self.reporting(),
            settings: self.settings(role),
            // Last, so that what is wrong with any setting is said although one of these is missing.
            ..Intent::new(role?, release?, manager?)
        };
        Some(intent)
    }

    fn eula(&mut self) {
        if self.parsed("accept_eula", value::boolean) == Some(false) {
            let origin = self.origin("accept_eula");
            self.errors.push(Error::Eula { origin });
        }
    }

    fn role(&mut self) -> Option<Role> {
        let role = |text: &str| match text {
            "agent" => Ok(Role::Agent),
            "guac" => Ok(Role::Guac),
            other => Err(Wrong {
                problem: format!("is {}, and this program installs only agent and guac", super::error::quoted(other)),
                help: match other {
                    "proxy" | "rdp" => "Kasm's connection proxy is the role guac".into(),
                    _ => ROLE_HELP.into(),
                },
            }),
        };
        self.mandatory("role", ROLE_HELP, role)
    }

    fn manager(&mut self, role: Option<Role>) -> Option<ManagerIntent> {
        let wait = self.parsed("manager.wait", value::duration).unwrap_or(ManagerIntent::WAIT);
        let key = self.manager_key(role);
        let help = match role {
            Some(Role::Guac) => "give --api-hostname HOST, or manager.address in the configuration",
            _ => "give --manager-hostname HOST, or manager.address in the configuration",
        };
        let address = self.manager_address(key, help);
        let token = role.and_then(|role| self.token(role));
        Some(ManagerIntent { address: address?, token: token?, wait })
    }

    /// Which setting names the manager for this role.
    fn manager_key(&mut self, role: Option<Role>) -> &'static str {
        match role {
            Some(Role::Guac) if self.text("guac.api_host").is_some() => "guac.api_host",
            _ => "manager.address",
        }
    }

    fn manager_address(&mut self, key: &'static str, help: &'static str) -> Option<HostPort> {
        match self.merged.get(key) {
            Some(Entry { raw: Raw::Text(text), origin, .. }) if value::is_request_host(text) => {
                self.errors.push(Error::RequestHost { key, origin: origin.clone() });
                None
            }
            _ => self.mandatory(key, help, value::host_port),
        }
    }

    fn token(&mut self, role: Role) -> Option<Secret> {
        let (key, other, flag, credential) = match role {
            Role::Agent => ("manager.token", "guac.registration_token", "--manager-token-file", "manager-token"),
            Role::Guac => {
                ("guac.registration_token", "manager.token", "--registration-token-file", "registration-token")
            }
        };
        match self.merged.secret(key) {
            Some(Ok(token)) => Some(token.clone()),
            Some(Err(error)) => {
                self.errors.push(error);
                None
            }
            None => {
                let other_given = self.merged.secret(other).is_some();
                self.errors.push(Error::TokenMissing { key, role: role.as_str(), flag, credential, other_given });
                None
            }
        }
    }

    /// Where the release comes from, as given or as Kasm keeps it, and its full version where that is known.
    fn sources(&mut self) -> (Option<String>, Vec<Source>) {
        let named = self.parsed("release.version", |text| match catalog::split_version(text) {
            Some(_) => Ok(text.to_owned()),
            None => Err(Wrong {
                problem: format!("is {}, which is no version of Kasm", super::error::quoted(text)),
                help: "write three numbers such as 1.18.1".into(),
            }),
        });
        let mut sources: Vec<Source> = Vec::new();
        sources.extend(self.text("release.file").map(|found| Source::File(PathBuf::from(found.text))));
        sources.extend(self.list("release.urls", value::url).into_iter().map(Source::Url));
        let told = sources.iter().find_map(|source| match source {
            Source::Url(url) => catalog::version_in_name(url).map(str::to_owned),
            Source::File(path) => path.to_str().and_then(catalog::version_in_name).map(str::to_owned),
        });
        let full = named.or(told);
        if let (true, Some(full)) = (sources.is_empty(), &full) {
            let official = catalog::official(full);
            if !official.seen {
                self.notes.push(format!(
                    "where Kasm keeps release {full} is a guess from its newer names: {}; give release.urls if it is elsewhere",
                    official.url
                ));
            }
            sources.push(Source::Url(official.url));
        }
        (full, sources)
    }

    fn release(&mut self) -> Option<ReleaseIntent> {
        let (full, sources) = self.sources();
        let digest = self.parsed("release.sha256", value::digest);
        let minisign_key = self.parsed("release.minisign_key", value::minisign_key);
        let faulty = ["release.version", "release.urls", "release.sha256", "release.minisign_key"]
            .iter()
            .any(|key| self.errors.iter().any(|error| matches!(error, Error::Value { key: wrong, .. } | Error::Placeholder { key: wrong, .. } if wrong == key)));
        let version = full.as_deref().and_then(catalog::split_version).map(|(version, _)| version.to_owned());
        if faulty {
            return None;
        }
        if sources.is_empty() {
            let help =
                "give --release VERSION, --release-url URL or --release-file FILE, or [release] in the configuration";
            self.errors.push(Error::Missing { key: "release.version", help: help.into(), emptied: None });
            return None;
        }
        let published = || full.as_deref().and_then(catalog::published_digest).map(|hex| Digest::Pinned(hex.into()));
        let signed = || minisign_key.is_some().then_some(Digest::Sidecar);
        let Some(digest) = digest.or_else(published).or_else(signed) else {
            let source_shown = match sources.first() {
                Some(Source::Url(url)) => net::redact(url),
                Some(Source::File(path)) => path.display().to_string(),
                None => String::new(),
            };
            self.errors.push(Error::DigestMissing { version: full, source_shown });
            return None;
        };
        Some(ReleaseIntent { version, sources, digest, minisign_key })
    }

    fn token_format(&mut self) -> Format {
        let format = |text: &str| match text {
            "auto" => Ok(Format::Auto),
            "jwt" => Ok(Format::Jwt),
            "opaque" => Ok(Format::Opaque),
            other => Err(Wrong {
                problem: format!("is {}", super::error::quoted(other)),
                help: "write auto, jwt or opaque".into(),
            }),
        };
        self.parsed("token_format", format).unwrap_or_default()
    }

    fn budget(&mut self) -> Duration {
        let budget = self.parsed("deadline", |text| match value::duration(text)? {
            Duration::ZERO => Err(Wrong {
                problem: "is 0, and nothing can be done in no time".into(),
                help: "write a number with a unit, such as 570s".into(),
            }),
            span => Ok(span),
        });
        budget.unwrap_or(Intent::BUDGET)
    }

    fn network(&mut self) -> net::Options {
        let ca_certs = self.list("network.ca_certs", |path| Ok(PathBuf::from(path)));
        let pin = self.parsed("network.tls_pin", value::pin);
        let insecure = self.parsed("network.insecure", value::boolean).unwrap_or(false);
        net::Options { ca_certs, pin, insecure }
    }

    fn installer(&mut self) -> InstallerIntent {
        let mut installer = InstallerIntent::default();
        for setting in SETTINGS.iter().filter(|setting| setting.key.starts_with("installer.")) {
            let Some(flag) = setting.flag.and_then(|flag| flag.strip_prefix("--")) else { continue };
            match setting.kind {
                Kind::Boolean if self.parsed(setting.key, value::boolean) == Some(true) => {
                    installer.flags.push(flag.to_owned());
                }
                Kind::Path => {
                    if let Some(found) = self.text(setting.key) {
                        installer.values.push((flag.to_owned(), found.text));
                    }
                }
                // The operator's own words for the installer: a placeholder in them is theirs to answer for.
                Kind::Texts => {
                    if let Some(Entry { raw: Raw::List(items), .. }) = self.merged.get(setting.key) {
                        installer.extra.extend(items.iter().cloned());
                    }
                }
                _ => {}
            }
        }
        installer
    }

    /// A setting's text, if it is set. A placeholder inside a longer text is an error.
    fn text(&mut self, key: &'static str) -> Option<Found<'a>> {
        let entry = self.merged.get(key)?;
        let text = match &entry.raw {
            Raw::Text(text) => text.clone(),
            Raw::Integer(number) => number.to_string(),
            Raw::Boolean(value) => value.to_string(),
            Raw::List(_) | Raw::Secret(_) => return None,
        };
        match meaning::of(&text) {
            Meaning::Given(given) => Some(Found { text: given.to_owned(), origin: &entry.origin }),
            Meaning::Empty | Meaning::Left(_) => None,
            // What the installer gets as it is may look as it likes.
            Meaning::Torn(_) if entry.setting.kind == Kind::Path => {
                Some(Found { text: text.trim().to_owned(), origin: &entry.origin })
            }
            Meaning::Torn(placeholder) => {
                self.torn(key, &entry.origin, placeholder);
                None
            }
        }
    }

    fn torn(&mut self, key: &'static str, origin: &Origin, placeholder: &str) {
        let error = Error::Placeholder { key, origin: origin.clone(), placeholder: placeholder.to_owned() };
        self.errors.push(error);
    }

    /// An optional setting, understood.
    fn parsed<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
        let found = self.text(key)?;
        match parse(&found.text) {
            Ok(value) => Some(value),
            Err(Wrong { problem, help }) => {
                self.errors.push(Error::Value { key, origin: found.origin.clone(), problem, help });
                None
            }
        }
    }

    /// A setting that must be set, understood.
    fn mandatory<T>(&mut self, key: &'static str, help: &str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
        let before = self.errors.len();
        let parsed = self.parsed(key, parse);
        if parsed.is_some() || self.errors.len() > before {
            return parsed;
        }
        let entry = self.merged.get(key);
        match entry.map(|entry| (&entry.raw, &entry.origin)) {
            Some((Raw::Text(text), origin)) => match meaning::of(text) {
                Meaning::Left(placeholder) => self.torn(key, origin, placeholder),
                _ => self.missing(key, help, Some(origin.clone())),
            },
            _ => self.missing(key, help, None),
        }
        None
    }

    fn missing(&mut self, key: &'static str, help: &str, emptied: Option<Origin>) {
        self.errors.push(Error::Missing { key, help: help.to_owned(), emptied });
    }

    /// A list, each of its items understood. Items that a template left empty are not there.
    fn list<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Vec<T> {
        let Some(Entry { raw: Raw::List(items), origin, .. }) = self.merged.get(key) else { return Vec::new() };
        let mut values = Vec::new();
        for item in items {
            match meaning::of(item) {
                Meaning::Empty | Meaning::Left(_) => {}
                Meaning::Torn(placeholder) => self.torn(key, origin, placeholder),
                Meaning::Given(given) => match parse(given) {
                    Ok(value) => values.push(value),
                    Err(Wrong { problem, help }) => {
                        self.errors.push(Error::Value { key, origin: origin.clone(), problem, help });
                    }
                },
            }
        }
        values
    }

    fn origin(&self, key: &str) -> Origin {
        self.merged.get(key).map_or(Origin::Default, |entry| entry.origin.clone())
    }
}
