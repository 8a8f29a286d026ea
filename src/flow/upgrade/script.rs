//! The change itself: what is kept before it, and the release's own upgrade.sh under supervision.

use super::record::{Open, Phase, SNAPSHOT_PREFIX};
use super::{Change, before};
use crate::deadline::Deadline;
use crate::error::Failure;
use crate::flow::install::{self, installer};
use crate::flow::packages;
use crate::health;
use crate::intent::Role;
use crate::kasm;
use crate::kasm::command_line::CommandLine;
use crate::kasm::layout::Installed;
use crate::kasm::receipt::Receipt;
use crate::kasm::snapshot::Snapshot;
use crate::record::Record;
use crate::step::{Context, Finish};
use crate::words;
use std::path::PathBuf;
use std::time::Duration;

/// How long a look at the containers may take, where no step's time is left to say so.
const LOOK_TIME: Duration = Duration::from_secs(10);

/// Keeps what must come back if this goes wrong, and puts the upgrade on record.
pub(super) async fn snapshot(work: &Change, cx: Context<'_>) -> Result<Finish, Failure> {
    let paths = work.paths();
    // Its digest may only be known now.
    before::refuse_bad(work, &work.install.digest(), cx)?;
    // Whatever upgrade.sh would stumble over is better known now.
    command_line(work)?;
    let attempt = installer::new_attempt(paths)?;
    let name = format!("{SNAPSHOT_PREFIX}{attempt}");
    let version = |installed: &Installed| installed.version.clone().unwrap_or_default();
    let to = work.install.intent.release.version.clone().unwrap_or_default();
    let open = Open {
        schema: Open::SCHEMA,
        phase: Phase::Prepared,
        role: work.role(),
        from: version(&work.old),
        to_was_there: paths.kasm_dir().join(&to).exists(),
        to,
        digest: work.install.digest(),
        attempt,
        snapshot: Some(name.clone()),
        cause: None,
        manager: work.install.intent.manager.address.to_string(),
        at: words::now(),
    };
    Snapshot::take(paths, &paths.snapshots_dir().join(name), &items(work))?;
    open.write(paths)?;
    *work.open.borrow_mut() = Some(open);
    Ok(Finish::Done(format!("what {} is made of is kept", work.from())))
}

/// Everything an upgrade can change beside the new version's own directory.
fn items(work: &Change) -> Vec<PathBuf> {
    let (paths, dir) = (work.paths(), &work.old.dir);
    vec![
        dir.join("conf"),
        dir.join("certs"),
        dir.join("docker"),
        paths.kasm_current(),
        paths.kasm_dir().join("bin"),
        paths.kasm_unit(),
        paths.kasm_unit_wanted(),
        paths.receipt(),
    ]
}

fn command_line(work: &Change) -> Result<(CommandLine, Vec<String>), Failure> {
    let (script, flags) = installer::script(&work.install, "upgrade.sh")?;
    let (mut address, mut api_host) = (None, None);
    if work.role() == Role::Guac {
        let first = work.old.proxies()?.into_iter().next();
        let lacks = |it: fn(&kasm::layout::ProxyConfig) -> bool| first.as_ref().is_none_or(it);
        address = lacks(|one| one.server_address.is_none()).then(|| work.install.own_address());
        api_host = lacks(|one| one.api_hostnames.is_empty()).then(|| work.install.intent.manager.address.to_string());
    }
    Ok(CommandLine::upgrade(script, &work.install.intent, (address.as_deref(), api_host.as_deref()), &flags)?)
}

/// Runs the release's upgrade.sh.
pub(super) async fn upgrade(work: &Change, cx: Context<'_>) -> Result<Finish, Failure> {
    let (paths, install) = (work.paths(), &work.install);
    let (command, left_out) = command_line(work)?;
    for flag in left_out {
        cx.observer.warn(&format!("{flag} is left out: this release's upgrade.sh does not take it"));
    }
    cx.observer.note(&format!("running {}", command.shown()));
    work.update(|open| open.phase = Phase::Running)?;
    let open = work.record()?;
    let mut runs = 1;
    let finished = loop {
        match installer::supervised(install, &command, open.attempt, cx).await {
            Ok(finished) => break finished,
            Err(error)
                if error.lost_lock_race()
                    && runs < installer::RUNS
                    && Installed::read(paths).as_ref() == Some(&work.old) =>
            {
                runs += 1;
                let whose = packages::owner(paths).name;
                cx.observer.warn(&format!(
                    "upgrade.sh lost a race for {whose}'s locks before the links were moved: once more"
                ));
                packages::until_quiet(paths, cx.deadline, cx.observer).await?;
            }
            Err(error) => return Err(installer::judge(install, error)),
        }
    };
    let Some(installed) = Installed::read(paths).filter(|installed| installed.is_version(&open.to)) else {
        let (script, attempt) = ("upgrade.sh", open.attempt);
        let current = format!("/opt/kasm/current does not lead to Kasm {}", open.to);
        return Err(install::Error::NothingInstalled { script, current, attempt }.into());
    };
    installer::sync(paths, cx).await;
    receipt(work, &installed, &open)?;
    // The directory may be called by a longer name than was asked for.
    let to = installed.version.clone().unwrap_or_else(|| open.to.clone());
    work.update(|open| (open.phase, open.to) = (Phase::Installed, to))?;
    Ok(Finish::Done(format!(
        "Kasm {} is installed ({} lines in attempts/{}/installer.log)",
        installed.version.unwrap_or_default(),
        finished.lines,
        open.attempt
    )))
}

/// The new version's receipt; it keeps which instance this is, and what the manager has not taken yet.
fn receipt(work: &Change, installed: &Installed, open: &Open) -> Result<(), Failure> {
    let before = Receipt::read(work.paths())?;
    let receipt = Receipt {
        schema: Receipt::SCHEMA,
        role: work.role(),
        digest: open.digest.clone(),
        version: installed.version.clone(),
        at: words::now(),
        manager: open.manager.clone(),
        address: work.install.own_address(),
        attempt: open.attempt,
        proved: false,
        owes_settings: before.as_ref().is_some_and(|before| before.owes_settings),
        instance: match before {
            Some(before) => before.instance,
            None => crate::machine::instance::Identity::find(work.paths(), None).best().map(ToString::to_string),
        },
    };
    Ok(receipt.write(work.paths())?)
}

/// Has upgrade.sh changed anything? Not if every file is as it was, nothing new is there, and the containers
/// are up.
pub(super) async fn has_changed(work: &Change, open: &Open) -> bool {
    let paths = work.paths();
    let same = open
        .snapshot_dir(paths)
        .and_then(|dir| Snapshot::open(paths, &dir).ok())
        .is_some_and(|snapshot| snapshot.differences().is_ok_and(|differences| differences.is_empty()));
    let appeared = !open.to_was_there && open.newer(paths).dir.exists();
    !same || appeared || health::look(paths, open.role, Deadline::after(LOOK_TIME)).await.is_err()
}
