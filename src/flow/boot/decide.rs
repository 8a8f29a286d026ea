//! What is to be done on this boot: install, or only watch what is there.

use super::Watched;
use crate::intent::{Digest, Intent};
use crate::kasm::layout::Installed;
use crate::kasm::receipt::Receipt;
use crate::machine::instance::{Identity, Relation};
use crate::observe::Supervisor;
use crate::paths::Paths;
use std::time::Duration;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Decision {
    /// Run the whole job: it finds out itself how much of it is left.
    Install(Box<Intent>),
    /// It is all done: see within so much time that the node is up, and watch it.
    Watch(Watched, Duration),
}

/// With a configuration that is complete.
pub(super) fn with(paths: &Paths, intent: Box<Intent>, identity: &Identity, supervisor: &dyn Supervisor) -> Decision {
    match proved(paths) {
        Some((receipt, installed)) if is_wanted(&receipt, &installed, &intent) && !is_copy(&receipt, identity) => {
            say(&receipt, "and proved: it is only watched", supervisor);
            Decision::Watch(Watched::of(&intent), intent.budget)
        }
        // Somebody has upgraded it by hand, or went back; or the configuration is ahead of it. Whatever it is, a
        // node that was proved here is not wiped for it, and an upgrade is for somebody to ask for.
        Some((receipt, installed))
            if is_another_version(&receipt, &installed, &intent) && !is_copy(&receipt, identity) =>
        {
            let (is, wanted) = (installed.version.unwrap_or_default(), intent.release.version.unwrap_or_default());
            supervisor.warn(&format!(
                "the configuration names Kasm {wanted}, and Kasm {is} is installed here and proved: it is only watched; \
                 `kasm-bootstrap upgrade --release {wanted}` upgrades it, or put {is} into the configuration"
            ));
            Decision::Watch(Watched::plain(receipt.role), intent.budget)
        }
        _ => Decision::Install(intent),
    }
}

/// True for another version of the same role.
fn is_another_version(receipt: &Receipt, installed: &Installed, intent: &Intent) -> bool {
    let wanted = intent.release.version.as_deref();
    wanted.is_some_and(|wanted| !installed.is_version(wanted)) && receipt.role == intent.role
}

/// While the configuration lacks something: a node that was proved on this very instance needs none. A
/// silent metadata service must not keep it from being watched.
pub(super) fn without(
    paths: &Paths,
    identity: &Identity,
    lacking: &str,
    supervisor: &dyn Supervisor,
) -> Option<Decision> {
    let (receipt, _) = proved(paths).filter(|(receipt, _)| is_here(receipt, identity))?;
    say(&receipt, &format!("and proved: it is watched without a configuration ({lacking})"), supervisor);
    Some(Decision::Watch(Watched::plain(receipt.role), Intent::BUDGET))
}

/// The receipt of an installation that was proved and is still there.
fn proved(paths: &Paths) -> Option<(Receipt, Installed)> {
    // One that cannot be read is for the installation to refuse, in its own words.
    let receipt = Receipt::read(paths).ok().flatten().filter(|receipt| receipt.proved)?;
    let installed = Installed::read(paths).filter(|installed| installed.version == receipt.version)?;
    Some((receipt, installed))
}

fn is_wanted(receipt: &Receipt, installed: &Installed, intent: &Intent) -> bool {
    let release = match (&intent.release.digest, &intent.release.version) {
        (Digest::Pinned(digest), _) => receipt.digest.eq_ignore_ascii_case(digest),
        (Digest::Sidecar, Some(version)) => installed.is_version(version),
        // Nothing says which release it should be: then it is no other.
        (Digest::Sidecar, None) => true,
    };
    release && receipt.role == intent.role
}

/// True if a node was proved on this very instance.
pub(super) fn is_proved_here(paths: &Paths, identity: &Identity) -> bool {
    proved(paths).is_some_and(|(receipt, _)| is_here(&receipt, identity))
}

fn is_here(receipt: &Receipt, identity: &Identity) -> bool {
    identity.relation(receipt.instance.as_deref()) == Relation::Same
}

fn is_copy(receipt: &Receipt, identity: &Identity) -> bool {
    matches!(identity.relation(receipt.instance.as_deref()), Relation::Other(_))
}

fn say(receipt: &Receipt, so: &str, supervisor: &dyn Supervisor) {
    let version = receipt.version.as_deref().map(|version| format!("Kasm {version}"));
    supervisor.note(&format!("{} was installed at {} {so}", version.unwrap_or_else(|| "Kasm".into()), receipt.at));
}

#[cfg(test)]
mod tests;
