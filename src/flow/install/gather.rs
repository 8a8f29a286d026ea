//! What can wait at the same time waits at the same time: the release, the manager, the package
//! manager, swap.

use super::super::packages;
use super::{INSTALLED, Install};
use crate::blocking;
use crate::error::Failure;
use crate::intent::AddressChoice;
use crate::machine::{address, cloud, swap};
use crate::observe::Silent;
use crate::packages::{locks, timers, wait};
use crate::release::{self, Tarball, Verified};
use crate::step::{Context, Finish};
use crate::words;

/// The verified tarball, from the cache or a mirror.
pub async fn fetch(work: &Install, cx: Context<'_>) -> Result<Finish, Failure> {
    if work.installed.get() {
        return Ok(Finish::Skipped(INSTALLED.into()));
    }
    let tarball = get(work, cx).await?;
    let size = words::bytes(tarball.length());
    let proof = if tarball.signature().is_some() { "signature and SHA-256 verified" } else { "SHA-256 verified" };
    *work.tarball.borrow_mut() = Some(tarball);
    Ok(Finish::Done(format!("{size}, {proof}")))
}

async fn get(work: &Install, cx: Context<'_>) -> Result<Verified<Tarball>, Failure> {
    let request = release::Request::try_from(&work.intent.release)?;
    let cache = release::Cache::new(&work.paths);
    let tarball = release::fetch(&request, &work.client, &cache, cx.deadline, cx.observer).await?;
    *work.learned.borrow_mut() = Some(tarball.digest().to_string());
    Ok(tarball)
}

/// A manager that says it is healthy.
pub async fn manager(work: &Install, cx: Context<'_>) -> Result<Finish, Failure> {
    let health = work.manager.wait(cx.deadline, cx.observer).await?;
    let words = format!("{} is healthy, answers in {} ms", work.manager.name(), health.latency.as_millis());
    Ok(match health.warning() {
        Some(warning) => Finish::Warned(format!("{words}, but {warning}")),
        None => Finish::Done(words),
    })
}

/// A package manager that nobody uses, and timers that will not start it.
pub async fn quiet(work: &Install, cx: Context<'_>) -> Result<Finish, Failure> {
    if work.installed.get() {
        return Ok(Finish::Skipped(INSTALLED.into()));
    }
    let Some(manager) = packages::manager(&work.paths) else {
        return Ok(Finish::Skipped(packages::nobody()));
    };
    let paused = timers::pause(manager, &work.paths, packages::systemctl().as_ref(), cx.observer).await;
    let quiet = wait::until_quiet(manager, &work.paths, cx.deadline, cx.observer).await?;
    let paused = match paused.is_empty() {
        true => String::new(),
        false => format!("; {} paused for this run", paused.join(" and ")),
    };
    let done = match quiet.holders.is_empty() {
        true => format!("{} are free{paused}", manager.both),
        false => {
            let (waited, holders) = (words::span(quiet.waited), quiet.holders.join(", then "));
            format!("free after {waited}, held by {holders}{paused}")
        }
    };
    let stale = locks::stale(manager, &work.paths);
    if stale.is_empty() {
        return Ok(Finish::Done(done));
    }
    let stale = stale.iter().map(|(path, holder)| {
        let (path, name) = (work.paths.shown(path), manager.name);
        format!(
            "; {} names {holder}, which is none of {name}'s: {name} would wait for it, remove the file",
            path.display()
        )
    });
    Ok(Finish::Warned(done + &stale.collect::<String>()))
}

/// Swap, where it was asked for and the machine has none. Missing swap does not keep a node from coming
/// up, so a failure is a warning.
pub async fn swap(work: &Install, cx: Context<'_>) -> Result<Finish, Failure> {
    let Some(mib) = work.intent.swap_mib else {
        return Ok(Finish::Skipped("none was asked for".into()));
    };
    if work.installed.get() {
        return Ok(Finish::Skipped(INSTALLED.into()));
    }
    let tools = swap::Tools::find(std::env::var_os("PATH").as_deref());
    match swap::ensure(&work.paths, mib, &tools, cx.deadline).await {
        Ok(outcome @ swap::Outcome::Present { .. }) => Ok(Finish::Skipped(outcome.to_string())),
        Ok(outcome) => Ok(Finish::Done(outcome.to_string())),
        Err(error) => {
            let Failure { message, causes, reason, help, .. } = Failure::from(error);
            let causes: String = causes.iter().map(|cause| format!(": {cause}")).collect();
            Ok(Finish::Warned(format!("{message}{causes} [{reason}]; {help}")))
        }
    }
}

/// Where this node is reached.
pub async fn address(work: &Install, cx: Context<'_>) -> Result<Finish, Failure> {
    let manager = &work.intent.manager.address;
    let addresses = match &work.intent.address {
        AddressChoice::Auto => work.manager.first_hop(cx.deadline).await?,
        AddressChoice::Interface(_) | AddressChoice::Cloud(_) | AddressChoice::Given(_) => Vec::new(),
    };
    let found = match &work.intent.address {
        AddressChoice::Cloud(method) => {
            cloud::address(&work.paths, *method, &work.intent.metadata, cx.deadline, cx.observer).await?
        }
        choice => address::find(choice, &addresses, manager.port_or_https())?,
    };
    let story = found.story();
    let warning = found.warning.clone();
    *work.address.borrow_mut() = Some(found);
    Ok(match warning {
        Some(warning) => Finish::Warned(format!("{story}; {warning}")),
        None => Finish::Done(story),
    })
}

/// The release, unpacked where programs may be run.
pub async fn unpack(work: &Install, cx: Context<'_>) -> Result<Finish, Failure> {
    if work.installed.get() {
        return Ok(Finish::Skipped(INSTALLED.into()));
    }
    let kept = work.tarball.borrow_mut().take();
    let tarball = match kept {
        Some(tarball) => tarball,
        // Fetched by an earlier run: the cache has it, and verifies it again.
        None => get(work, cx).await?,
    };
    let destination = work.paths.unpacked_dir().join(tarball.digest().to_string());
    let unpacking = move || release::unpack(&tarball, &destination, &release::Limits::default(), &Silent);
    let unpacked = blocking::run(unpacking).await?;
    Ok(Finish::Done(format!("{} in {} files", words::bytes(unpacked.bytes), unpacked.files)))
}
