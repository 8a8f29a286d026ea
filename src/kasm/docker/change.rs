//! What this program may ask Docker to do. Everything here changes something.

use super::Error;
use super::ask::plugins;
use super::socket::{Ask, PATIENCE, send};
use reqwest::Method;
use std::path::Path;
use std::time::Duration;

/// How long a plugin may take to start. Docker itself waits so long for it.
const PLUGIN_STARTS: Duration = Duration::from_secs(30);
/// No container gets longer to end than this before it is killed.
const LONGEST_GRACE: Duration = Duration::from_secs(600);

/// Restarts a container, and waits until it runs again: it is told to end, and killed if it has not ended
/// after `grace`. Whether it comes up well is another question.
///
/// # Errors
/// [`Error::Unknown`] if there is none of this name, [`Error::Refused`] with Docker's words if it fails.
pub async fn restart(socket: &Path, name: &str, grace: Duration) -> Result<(), Error> {
    let grace = grace.min(LONGEST_GRACE);
    let target = format!("/containers/{}/restart?t={}", part(name)?, grace.as_secs());
    let wrong = |status: u16, why: String| match status {
        404 => Error::Unknown(format!("container {name}")),
        _ => Error::Refused { what: format!("restart {name}"), why },
    };
    // Beside the grace: the kill, and the start.
    post(socket, target, grace.saturating_add(3 * PATIENCE), &wrong).await
}

/// Enables a plugin that is disabled. One that is enabled already stays so.
///
/// # Errors
/// [`Error::Unknown`] if there is none of this name, [`Error::Refused`] with Docker's words if it fails.
pub async fn enable_plugin(socket: &Path, name: &str) -> Result<(), Error> {
    let target = format!("/plugins/{}/enable?timeout={}", part(name)?, PLUGIN_STARTS.as_secs());
    let wrong = |status: u16, why: String| match status {
        404 => Error::Unknown(format!("plugin {name}")),
        _ => Error::Refused { what: format!("enable {name}"), why },
    };
    let result = post(socket, target, PLUGIN_STARTS + PATIENCE, &wrong).await;
    // Somebody else was quicker; Docker's status for that differs between its versions.
    if let Err(Error::Refused { .. }) = &result
        && plugins(socket).await.is_ok_and(|list| list.iter().any(|plugin| plugin.name == name && plugin.enabled))
    {
        return Ok(());
    }
    result
}

async fn post(
    socket: &Path,
    target: String,
    patience: Duration,
    wrong: &(dyn Fn(u16, String) -> Error + Sync),
) -> Result<(), Error> {
    let ask = Ask { method: Method::POST, target, patience, wrong };
    send(socket, ask, &mut |_| Ok(())).await
}

/// A name as a part of a path. Docker allows no other characters in names of containers and plugins
/// (distribution/reference, "Grammar"; container names: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`).
pub(super) fn part(name: &str) -> Result<&str, Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ':' | '@');
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= 512;
    match is_name && name.chars().all(allowed) && !name.split('/').any(|part| part == "..") {
        true => Ok(name),
        false => Err(Error::Unknown(format!("container or plugin {:?}", name.chars().take(64).collect::<String>()))),
    }
}
