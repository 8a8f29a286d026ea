//! Whether the parts of a connection proxy have the tokens they work with: each is registered, its auth
//! token is good, and nothing of the registration token is left (docs/kasm-facts.md, 5).

use super::error::Error;
use crate::intent::Role;
use crate::kasm::held::{self, Held, REGISTRATION_FILE, Verdict};
use crate::kasm::layout::{Installed, PROXIES};
use crate::paths::Paths;
use crate::token::{Context, Kind};

/// What a look at a connection proxy's tokens found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens {
    /// Every token.
    pub held: Vec<Held>,
    /// Auth tokens that are missing or no good, whose component still has a registration token: it has to
    /// register, and has not.
    pub unregistered: Vec<Held>,
    /// What is wrong beside, one sentence's part each.
    pub troubles: Vec<String>,
    /// Its components' files that are not there, where the release has the component.
    pub missing: Vec<String>,
}

impl Tokens {
    /// Reads and judges them. What is in `known` was wrong before, and is not held against anybody.
    ///
    /// # Errors
    /// [`Error::Configuration`] if a file is there and cannot be read.
    pub fn read(paths: &Paths, installed: &Installed, known: &[Held], context: &Context<'_>) -> Result<Tokens, Error> {
        let held = held::read(installed, Some(Role::Guac), context).map_err(Error::Configuration)?;
        let mut tokens = Tokens::default();
        let expected = installed.containers(Role::Guac);
        for proxy in PROXIES {
            let is_there = held.iter().any(|one| one.component == proxy.component);
            if expected.contains(&proxy.container) && !is_there {
                tokens.missing.push(format!("the connection proxy's {} is not there", proxy.file));
            }
        }
        for one in &held {
            if one.kind == Kind::Auth && !one.verdict.is_good() {
                let waits = held.iter().any(|other| {
                    let is_its = other.component == one.component || other.key == REGISTRATION_FILE;
                    other.kind == Kind::Registration && is_its && (other.file.parent() == one.file.parent())
                });
                match waits {
                    true => tokens.unregistered.push(one.clone()),
                    false if was_so(known, one) => {}
                    false => tokens.troubles.push(one.describe(paths)),
                }
            }
        }
        let registered = |one: &Held| !tokens.unregistered.iter().any(|other| other.component == one.component);
        let left: Vec<String> = held
            .iter()
            .filter(|one| one.kind == Kind::Registration && registered(one) && !was_so(known, one))
            .map(|one| format!("{} is still there, although the component is registered", one.place(paths)))
            .collect();
        tokens.troubles.extend(left);
        tokens.held = held;
        Ok(tokens)
    }

    /// True if every component is registered, and every token as it must be.
    pub fn are_good(&self) -> bool {
        self.unregistered.is_empty() && self.troubles.is_empty() && self.missing.is_empty()
    }

    /// True if it was a clock that decided about one of them.
    pub fn are_about_time(&self) -> bool {
        self.held.iter().any(|one| matches!(&one.verdict, Verdict::Refused(error) if error.is_about_time()))
    }

    /// What the operator should know of tokens that are good.
    pub fn warnings(&self, paths: &Paths) -> Vec<String> {
        let of = |one: &Held| -> Vec<String> {
            let accepted = one.verdict.accepted().map(|accepted| accepted.warnings.clone()).unwrap_or_default();
            accepted.into_iter().map(|warning| format!("{}: {warning}", one.place(paths))).collect()
        };
        self.held.iter().flat_map(of).collect()
    }
}

/// The same thing was wrong with the same token before. Its file may be another version's.
fn was_so(known: &[Held], one: &Held) -> bool {
    known.iter().any(|before| {
        before.component == one.component && before.key == one.key && before.verdict.reason() == one.verdict.reason()
    })
}
