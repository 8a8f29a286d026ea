//! Looking at a node that is installed, again and again.

use super::Watched;
use crate::config::RunOptions;
use crate::deadline::Deadline;
use crate::error::Failure;
use crate::health;
use crate::net::retry::random_fraction;
use crate::observe::Supervisor;
use crate::paths::Paths;
use std::time::Duration;

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(10);

/// Says how the node is, for ever. `until`: when it must be up at last, if it is not known to be up.
///
/// The one end this comes to is that it was not up by then.
pub(super) async fn watch(
    paths: &Paths,
    watched: &Watched,
    options: &RunOptions,
    until: Option<Deadline>,
    supervisor: &dyn Supervisor,
) -> Failure {
    if !watched.started {
        supervisor.status("installed; nothing was to be started (--no-start)");
        supervisor.ready();
        return std::future::pending().await;
    }
    let mut told = String::new();
    if let Some(until) = until {
        match health::come_up(paths, watched.role, until, supervisor).await {
            Ok(up) => tell(&mut told, healthy(&up), supervisor),
            Err(error) => return error.into(),
        }
    }
    supervisor.ready();
    loop {
        let now = match health::look(paths, watched.role, Deadline::after(LOOK)).await {
            Ok(up) => healthy(&up),
            Err(error) => degraded(error),
        };
        tell(&mut told, now, supervisor);
        tokio::time::sleep(jittered(options.watch)).await;
    }
}

fn tell(told: &mut String, now: String, supervisor: &dyn Supervisor) {
    if *told != now {
        supervisor.status(&now);
        *told = now;
    }
}

fn healthy(up: &[(String, String)]) -> String {
    let names: Vec<&str> = up.iter().map(|(name, _)| name.as_str()).collect();
    format!("healthy: {}", names.join(", "))
}

fn degraded(error: health::Error) -> String {
    let text = match &error {
        health::Error::Containers { troubles, .. } => troubles.join(", "),
        health::Error::Docker(cause) => format!("{error}: {cause}"),
        _ => error.to_string(),
    };
    format!("degraded: {text}")
}

/// The span, a tenth more or less: machines that were started together do not all ask together.
fn jittered(span: Duration) -> Duration {
    span.mul_f64(0.9 + 0.2 * random_fraction())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_two_looks_stays_near_what_was_asked_for() {
        for _ in 0..64 {
            let pause = jittered(Duration::from_secs(30));
            assert!((27.0..=33.0).contains(&pause.as_secs_f64()), "{pause:?}");
        }
    }
}
