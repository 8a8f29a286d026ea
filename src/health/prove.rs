//! The proof that an installation has come up: it is there, it is what was asked for, its containers are up
//! in Docker's own judgement and stay up, and a connection proxy is registered.

use super::containers::{ASK_AGAIN, Settling, Up, look};
use super::error::{Error, NotRegistered};
use super::evidence::Evidence;
use super::ids::Ids;
use super::tokens::Tokens;
use crate::deadline::Deadline;
use crate::intent::{InstallerIntent, Intent, Role};
use crate::kasm::held::Held;
use crate::kasm::layout::Installed;
use crate::kasm::manager::Manager;
use crate::observe::{Observer, Wait};
use crate::paths::Paths;
use crate::token::Context;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// See [`Expectations::patience`]: longer than a component takes to write its file.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the manager may take to tell the time, when a token looks expired.
const ASK_TIME: Duration = Duration::from_secs(5);

/// What was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The version installed, where the layout tells it.
    pub version: Option<String>,
    /// Where, below the root.
    pub dir: PathBuf,
    /// The containers that are up, in Docker's words; empty if they were not to be started.
    pub containers: Vec<(String, String)>,
    /// True if the containers were left out because `--no-start` was asked for.
    pub not_started: bool,
    /// How long they were watched without a restart. Less than what was asked for only where the deadline came
    /// first.
    pub settled: Duration,
    /// The tokens of a connection proxy; empty for an agent.
    pub tokens: Vec<Held>,
    /// What the operator should know although the node is proven: lower-case sentences.
    pub warnings: Vec<String>,
}

/// What is expected of an installation beside its being up. By default: nothing.
#[derive(Debug)]
pub struct Expectations<'a> {
    /// The version that must be installed.
    pub version: Option<String>,
    /// The components' identifiers before: those that had one then must have the same now.
    pub ids: Ids,
    /// The tokens before: what was wrong with one then is not held against the node now. For a version that was
    /// put back.
    pub known: Vec<Held>,
    /// How long the containers must stay up without a restart; zero: that they are up once is enough.
    pub settle: Duration,
    /// Nothing was to be started: containers and tokens are not looked at.
    pub not_started: bool,
    /// The manager, to be asked for the time where a token looks expired, and whether it answers where a
    /// component does not register.
    pub manager: Option<&'a Manager>,
    /// How long tokens that nothing will mend may stay as they are before the proof gives up on them; twice as long
    /// where a manager that is healthy refuses to register a component, which says so in its log. Without such
    /// evidence the proof waits until its deadline.
    pub patience: Duration,
}

impl Default for Expectations<'_> {
    fn default() -> Self {
        Expectations {
            version: None,
            ids: Ids::default(),
            known: Vec::new(),
            settle: Duration::ZERO,
            not_started: false,
            manager: None,
            patience: PATIENCE,
        }
    }
}

/// Proves a node that was installed as `intent` says, or says what is missing. What is wrong on the disk is
/// told at once; containers, and the registration of a connection proxy, get until the deadline. `address` is
/// this node's own, as resolved.
pub async fn prove(
    paths: &Paths,
    intent: &Intent,
    address: &str,
    deadline: Deadline,
    observer: &dyn Observer,
) -> Result<Proof, Error> {
    let installed = installed(paths)?;
    is_version(&installed, intent.release.version.as_deref())?;
    let differences = installed.differences(paths, intent, Some(address)).map_err(Error::Configuration)?;
    if !differences.is_empty() {
        return Err(Error::OtherConfiguration { differences });
    }
    let manager = Manager::new(paths, &intent.manager.address, &intent.network);
    let expectations = Expectations {
        version: intent.release.version.clone(),
        settle: intent.settling(),
        not_started: !is_started(intent),
        manager: Some(&manager),
        ..Expectations::default()
    };
    prove_installed(paths, intent.role, &expectations, deadline, observer).await
}

/// Proves whatever is installed, by what is expected of it: also a version that was put back.
///
/// # Errors
/// See [`Error::is_remote`] for those that say nothing against the node itself.
pub async fn prove_installed(
    paths: &Paths,
    role: Role,
    expectations: &Expectations<'_>,
    deadline: Deadline,
    observer: &dyn Observer,
) -> Result<Proof, Error> {
    let installed = installed(paths)?;
    is_version(&installed, expectations.version.as_deref())?;
    let changed = Ids::of(&installed, role)?.changed_since(&expectations.ids);
    if !changed.is_empty() {
        return Err(Error::OtherIdentity { changed });
    }
    let proof = Proof {
        version: installed.version.clone(),
        dir: installed.dir.clone(),
        containers: Vec::new(),
        not_started: expectations.not_started,
        settled: Duration::ZERO,
        tokens: Vec::new(),
        warnings: Vec::new(),
    };
    if expectations.not_started {
        return Ok(proof);
    }
    Proving {
        paths,
        role,
        installed: &installed,
        expectations,
        deadline,
        observer,
        evidence: Evidence::default(),
        ahead: None,
        asked_time: false,
        hopeless: None,
        told: None,
    }
    .run(proof)
    .await
}

fn installed(paths: &Paths) -> Result<Installed, Error> {
    Installed::read(paths).ok_or_else(|| Error::NotInstalled {
        current: "/opt/kasm/current".into(),
        why: match std::fs::symlink_metadata(paths.kasm_current()) {
            Ok(_) => "leads nowhere",
            Err(_) => "is not there",
        },
    })
}

fn is_version(installed: &Installed, wanted: Option<&str>) -> Result<(), Error> {
    match (&installed.version, wanted) {
        (Some(found), Some(wanted)) if !installed.is_version(wanted) => {
            Err(Error::OtherVersion { found: found.clone(), wanted: wanted.to_owned() })
        }
        _ => Ok(()),
    }
}

/// False if the installer was told not to start anything.
pub fn is_started(intent: &Intent) -> bool {
    starts(&intent.installer)
}

/// The same of the installer's part of an intent.
pub fn starts(installer: &InstallerIntent) -> bool {
    !installer.flags.iter().any(|flag| flag == "no-start")
        && !installer.extra.iter().any(|extra| extra == "--no-start" || extra == "-D")
}

/// The waiting for containers and tokens.
struct Proving<'a> {
    paths: &'a Paths,
    role: Role,
    installed: &'a Installed,
    expectations: &'a Expectations<'a>,
    deadline: Deadline,
    observer: &'a dyn Observer,
    evidence: Evidence,
    /// How far the manager's clock is ahead of ours.
    ahead: Option<jiff::SignedDuration>,
    asked_time: bool,
    /// Since when it is as it is, and nothing will mend it.
    hopeless: Option<(Instant, Vec<String>)>,
    told: Option<Wait>,
}

impl Proving<'_> {
    async fn run(mut self, mut proof: Proof) -> Result<Proof, Error> {
        let mut settling = Settling::over(self.expectations.settle);
        let (mut last, mut well) = (None, false);
        loop {
            let trouble = match self.look(&mut settling, &mut proof).await {
                Ok(true) => return Ok(proof),
                // Up, and only watched for a while: the deadline is no reason to call that a failure.
                Ok(false) if self.deadline.is_over() => return self.cut_short(&settling, proof),
                Ok(false) => {
                    (last, well) = (None, true);
                    self.say(settling.wait(self.deadline));
                    self.rest().await;
                    continue;
                }
                Err(trouble @ (Error::NotInstalled { .. } | Error::Configuration(_))) => return Err(trouble),
                // What was seen before says more than that the last question came too late.
                Err(trouble) if trouble.is_late() && well => return self.cut_short(&settling, proof),
                Err(trouble) if trouble.is_late() => return Err(last.unwrap_or(trouble)),
                Err(trouble) if self.deadline.is_over() || self.is_hopeless(&trouble) => return Err(trouble),
                Err(trouble) => trouble,
            };
            settling.interrupt();
            self.say(trouble.wait(self.deadline));
            (last, well) = (Some(trouble), false);
            self.rest().await;
        }
    }

    async fn rest(&self) {
        tokio::time::sleep(ASK_AGAIN.min(self.deadline.remaining())).await;
    }

    fn say(&mut self, wait: Wait) {
        if self.told.as_ref() != Some(&wait) {
            self.observer.waiting(&wait);
            self.told = Some(wait);
        }
    }

    /// One look at everything. False: all is well, but was not watched long enough.
    async fn look(&mut self, settling: &mut Settling, proof: &mut Proof) -> Result<bool, Error> {
        let up = look(self.paths, self.role, self.deadline).await;
        if self.role == Role::Guac {
            let tokens = self.tokens().await?;
            if !tokens.are_good() {
                return Err(self.judge(tokens, up).await);
            }
            self.evidence.forget();
            proof.warnings = tokens.warnings(self.paths);
            proof.tokens = tokens.held;
        }
        let up: Up = up?;
        let settled = settling.look(&self.paths.docker_socket(), &up, self.deadline).await?;
        proof.containers = up;
        proof.settled = settling.calm();
        Ok(settled)
    }

    async fn tokens(&mut self) -> Result<Tokens, Error> {
        let read = |ahead| Tokens::read(self.paths, self.installed, &self.expectations.known, &Context::now(ahead));
        let found = read(self.ahead)?;
        let Some(manager) = self.expectations.manager else { return Ok(found) };
        if self.asked_time || !found.are_about_time() {
            return Ok(found);
        }
        // Is it the token or this machine's clock? The manager's clock tells.
        self.asked_time = true;
        self.ahead = manager.clocks(self.deadline.within(ASK_TIME)).await.and_then(|clocks| clocks.ahead());
        read(self.ahead)
    }

    /// What is wrong, where the tokens are not as they must be.
    async fn judge(&mut self, tokens: Tokens, up: Result<Up, Error>) -> Error {
        let down = match up {
            Ok(_) => Vec::new(),
            Err(Error::Containers { troubles, .. }) => troubles,
            Err(other) => return other,
        };
        if !tokens.missing.is_empty() {
            return Error::Tokens { troubles: tokens.missing };
        }
        let Some(first) = tokens.unregistered.first() else {
            // A component without a good token may not even stay up: that is the cause, and not the other way round.
            return Error::Tokens { troubles: tokens.troubles };
        };
        let secrets = self.secrets();
        self.evidence.gather(self.paths, self.expectations.manager, first.container, &secrets, self.deadline).await;
        Error::NotRegistered(Box::new(NotRegistered {
            components: tokens.unregistered.iter().map(|one| one.component).collect(),
            manager: self.manager(),
            answer: self.evidence.manager.clone(),
            words: self.evidence.words.clone(),
            down,
            first: first.container,
        }))
    }

    /// Who is waited for.
    fn manager(&self) -> String {
        let written = || {
            let proxies = self.installed.proxies().unwrap_or_default();
            proxies.into_iter().flat_map(|proxy| proxy.api_hostnames).next()
        };
        self.expectations.manager.map(Manager::name).or_else(written).unwrap_or_else(|| "that is not named".into())
    }

    /// What a component's log may hold and nobody may see.
    fn secrets(&self) -> Vec<crate::secret::Secret> {
        let proxies = self.installed.proxies().unwrap_or_default();
        proxies.into_iter().flat_map(|proxy| [proxy.registration_token, proxy.auth_token]).flatten().collect()
    }

    /// True if it has been like this for long, and nothing will mend it.
    fn is_hopeless(&mut self, trouble: &Error) -> bool {
        let patience = self.expectations.patience;
        let (what, patience) = match trouble {
            Error::Tokens { troubles } => (troubles.clone(), patience),
            Error::NotRegistered(who) if who.words.is_some() && matches!(who.answer, Some(Ok(()))) => {
                (who.components.iter().map(|one| (*one).to_owned()).collect(), 2 * patience)
            }
            _ => {
                self.hopeless = None;
                return false;
            }
        };
        match &self.hopeless {
            Some((since, same)) if *same == what => since.elapsed() >= patience,
            _ => {
                self.hopeless = Some((Instant::now(), what));
                patience.is_zero()
            }
        }
    }

    fn cut_short(&self, settling: &Settling, mut proof: Proof) -> Result<Proof, Error> {
        if let Some((container, times)) = settling.worst() {
            return Err(Error::Restarts { container: container.clone(), times: *times });
        }
        proof.warnings.push(format!(
            "the containers were watched for {} only, not for {}: the time was up",
            crate::words::span(proof.settled),
            crate::words::span(self.expectations.settle)
        ));
        Ok(proof)
    }
}
