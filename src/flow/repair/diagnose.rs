//! What is wrong with an installed node's tokens, told as the story it has, and what mends it.

use crate::kasm::held::{Held, Verdict};
use crate::token::{Error, Kind, Refusal};
use std::path::PathBuf;

/// What mends a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    /// Nothing has to be mended.
    Nothing,
    /// What is left of a registration token that was used is to be removed.
    Clean,
    /// It registers again, with a good registration token.
    Register,
    /// It is given a manager token.
    ManagerToken,
}

/// How one component is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The component.
    pub component: &'static str,
    /// Its container.
    pub container: &'static str,
    /// Its configuration file.
    pub config: PathBuf,
    /// What it needs.
    pub cure: Cure,
    /// How it came to be as it is, where that is known: whole sentences.
    pub story: Option<String>,
}

/// One diagnosis a component, in the order of the files.
pub fn diagnose(held: &[Held]) -> Vec<Diagnosis> {
    let mut list: Vec<Diagnosis> = Vec::new();
    for main in held.iter().filter(|one| matches!(one.kind, Kind::Manager | Kind::Auth)) {
        let is_beside = |one: &&Held| one.component == main.component && one.kind == Kind::Registration;
        let registration: Vec<&Held> = held.iter().filter(is_beside).collect();
        list.push(Diagnosis {
            component: main.component,
            container: main.container,
            config: main.file.clone(),
            cure: cure(main, &registration),
            story: story(main, &registration),
        });
    }
    list
}

fn cure(main: &Held, registration: &[&Held]) -> Cure {
    match (&main.verdict, main.kind) {
        // Without a certificate nobody here can say whether the token is right, so nothing is taken away.
        (Verdict::Accepted(_) | Verdict::Unverified { .. }, Kind::Auth) if !registration.is_empty() => Cure::Clean,
        (Verdict::Accepted(_) | Verdict::Unverified { .. }, _) => Cure::Nothing,
        (_, Kind::Manager) => Cure::ManagerToken,
        _ => Cure::Register,
    }
}

fn story(main: &Held, registration: &[&Held]) -> Option<String> {
    let name = main.container;
    if main.kind == Kind::Manager {
        return (!main.verdict.is_good()).then(|| {
            format!("The manager cannot know {name} by this token: the node shows as missing, and takes no sessions.")
        });
    }
    let never = registration
        .iter()
        .any(|held| matches!(&held.verdict, Verdict::Refused(Error::Refused { refusal: Refusal::Placeholder(_), .. })));
    match &main.verdict {
        Verdict::Accepted(_) | Verdict::Unverified { .. } => (!registration.is_empty())
            .then(|| format!("{name} is registered; what is left of its registration token is not needed any more.")),
        _ if never => Some(format!(
            "A placeholder was given in place of the registration token, so {name} could not register. The manager \
             answers it with \"Not enough segments\", and no session can be opened through it."
        )),
        Verdict::Missing if registration.is_empty() => Some(format!(
            "{name} has never had a token or has lost it. Kasm documents that such a component must be redeployed; \
             with a good registration token, registering again can be tried first."
        )),
        Verdict::Missing => {
            Some(format!("{name} has not registered: its registration token was not accepted, or not tried yet."))
        }
        Verdict::Refused(Error::Refused { refusal: Refusal::Placeholder(_), .. }) => Some(format!(
            "A word stands where {name} keeps its token; the upgrade to Kasm 1.16.0 was known to write \"false\" \
             there. The manager answers it with \"Not enough segments\"."
        )),
        Verdict::Refused(Error::Refused { refusal: Refusal::Expired { .. }, .. }) => Some(format!(
            "{name} did not refresh its token in time, so the manager refuses it. It has to register again."
        )),
        Verdict::Refused(_) => Some(format!("The manager cannot take this for a token of {name}.")),
        Verdict::WrongClass { .. } | Verdict::Foreign { .. } => {
            Some(format!("The token was made for something else than {name}, perhaps copied from another node."))
        }
    }
}

/// What a token of this kind is good for, in this component's hands.
pub fn purpose(held: &Held) -> String {
    match held.kind {
        Kind::Manager => format!("lets {} report to the manager", held.container),
        Kind::Registration => format!("lets {} register with the manager once", held.container),
        Kind::Auth => format!("goes with every call of {} to the manager", held.container),
        Kind::CheckIn => "reports a new machine to the manager".into(),
    }
}
