//! Docker that starts beside us: at boot its service may wait for the network, and ours does not.

use super::Install;
use crate::deadline::Deadline;
use crate::kasm::docker::{self, Error};
use crate::machine::changes::Changes;
use crate::observe::{Observer, Wait};
use crate::paths::Paths;
use crate::preflight;
use crate::step::Context;
use std::pin::pin;
use std::time::Duration;

/// How long Docker may take to start: `network-online.target`, which its service comes after, gives up after two
/// minutes (systemd-networkd-wait-online.service(8)).
const STARTS: Duration = Duration::from_secs(150);
/// An engine that is up answers sooner.
const QUICK: Duration = Duration::from_secs(1);

/// At boot, waits until the Docker that is installed answers. What it answers, and what it means if it does
/// not, is for the check to say.
pub async fn started(work: &Install, cx: Context<'_>) {
    if work.at_boot {
        awaited(&work.paths, cx.deadline, cx.observer).await;
    }
}

/// Waits until the Docker that is installed answers, as long as it may take to start.
pub(in crate::flow) async fn awaited(paths: &Paths, deadline: Deadline, observer: &dyn Observer) {
    let socket = paths.docker_socket();
    if !preflight::has_docker(paths) {
        return;
    }
    let deadline = deadline.within(STARTS);
    let say = |why: String| observer.waiting(&Wait { what: "Docker".into(), holder: Some(why), deadline });
    loop {
        let changes = Changes::of(&[socket.parent().unwrap_or(&socket).to_owned()]);
        let mut asked = pin!(docker::info(&socket));
        let answer = match tokio::time::timeout(QUICK, asked.as_mut()).await {
            Ok(answer) => Ok(answer),
            Err(_) => {
                // systemd holds the socket, and starts the engine behind it.
                say("its engine does not answer yet".into());
                tokio::time::timeout_at(deadline.instant().into(), asked).await
            }
        };
        match answer {
            Ok(Err(error @ (Error::NoSocket(_) | Error::Unreachable { .. }))) => say(error.to_string()),
            _ => return,
        }
        // The socket comes, or is made anew.
        if tokio::time::timeout_at(deadline.instant().into(), changes.next()).await.is_err() {
            return;
        }
    }
}
