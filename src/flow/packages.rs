//! Which package manager this machine has. Everybody above the rooms of the package managers asks here.

use crate::apt;
use crate::deadline::Deadline;
use crate::dnf;
use crate::machine::facts;
use crate::observe::Observer;
use crate::packages::{Error, Manager, timers, wait};
use crate::paths::Paths;
use crate::system::systemctl::Systemctl;

/// The machine's package manager, if it has one that is known here.
pub fn manager(paths: &Paths) -> Option<&'static Manager> {
    let (apt, dnf) = (&apt::MANAGER, &dnf::MANAGER);
    // Either may be there as a mere tool: the family's own is the one that an installer calls.
    let order = if facts::os(paths).is_some_and(|os| os.is_red_hat()) { [dnf, apt] } else { [apt, dnf] };
    order.into_iter().find(|manager| manager.is_there(paths))
}

/// What a step is about that pauses the package manager's timers and waits for it.
pub fn about(paths: &Paths) -> String {
    match manager(paths) {
        Some(manager) => format!("pause {}'s timers and wait until {} are free", manager.name, manager.both),
        None => "wait until the package manager is free".into(),
    }
}

/// The end of a step that found no package manager.
pub fn nobody() -> String {
    "this machine has neither apt nor dnf".into()
}

/// Waits until nobody uses the machine's package manager; `None` where it has none.
///
/// # Errors
/// Those of [`wait::until_quiet`].
pub async fn until_quiet(
    paths: &Paths,
    deadline: Deadline,
    observer: &dyn Observer,
) -> Result<Option<wait::Quiet>, Error> {
    match manager(paths) {
        Some(manager) => wait::until_quiet(manager, paths, deadline, observer).await.map(Some),
        None => Ok(None),
    }
}

/// Starts again what this run has paused: see [`timers::restore`].
pub async fn restore(paths: &Paths, observer: &dyn Observer) -> Vec<String> {
    timers::restore(owner(paths), paths, systemctl().as_ref(), observer).await
}

/// Starts again what a run that died has paused: see [`timers::restore_leftovers`].
pub async fn restore_leftovers(paths: &Paths, observer: &dyn Observer) -> Vec<String> {
    timers::restore_leftovers(owner(paths), paths, systemctl().as_ref(), observer).await
}

/// Whose timers a record is about, and whose locks a script lost: there is either only where there was one.
pub fn owner(paths: &Paths) -> &'static Manager {
    manager(paths).unwrap_or(&apt::MANAGER)
}

/// The `systemctl` on PATH.
pub fn systemctl() -> Option<Systemctl> {
    Systemctl::find(std::env::var_os("PATH").as_deref())
}
