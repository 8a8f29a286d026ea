//! What journald's catalogue explains (`journalctl -x`): one identifier for each kind of event that somebody would
//! search for (`journalctl MESSAGE_ID=…`). The explanations are in `systemd/kasm-bootstrap.catalog`.

use crate::error::Exit;
use crate::health::{Level, Verdict};
use crate::step::error::INTERRUPTED;
use crate::step::{Ending, Event};

/// The kinds, each with its identifier: chosen at random once, never changed, never used for anything else (systemd's
/// "Message Catalog Developer Documentation").
pub const KINDS: [(&str, &str); 13] = [
    ("run started", RUN_STARTED),
    ("run ended well", RUN_DONE),
    ("run failed", RUN_FAILED),
    ("run stopped", RUN_STOPPED),
    ("token refused", TOKEN_REFUSED),
    ("waited too long", WAITED_TOO_LONG),
    ("upgrade rolled back", ROLLED_BACK),
    ("step failed", STEP_FAILED),
    ("probe fails", PROBE_FAILS),
    ("node healthy", NODE_HEALTHY),
    ("node degraded", NODE_DEGRADED),
    ("node failed", NODE_FAILED),
    ("node mended", NODE_MENDED),
];

const RUN_STARTED: &str = "db4ff39a8215484693c2e0b5a7772834";
const RUN_DONE: &str = "9892dcaefe9a446ebe4255a5815a4395";
const RUN_FAILED: &str = "b099d7fbba0642c9994b533a23c4c423";
const RUN_STOPPED: &str = "01e711c16ee44b038a99593961796cbf";
const TOKEN_REFUSED: &str = "a5f9d8d3180049dcbab862d224b54eb4";
const WAITED_TOO_LONG: &str = "a723e7a0887643a7af688f983a7cbb09";
const ROLLED_BACK: &str = "9f20dfbb7d944799bb96e71ba0e9656a";
const STEP_FAILED: &str = "d51167504a664223a9206f8b48a56146";
const PROBE_FAILS: &str = "9b1e27a4a86b45dba1a8db8d729997d9";
const NODE_HEALTHY: &str = "753f9c1db0cb405b931c4d6bd2342be8";
const NODE_DEGRADED: &str = "83204e9c041941d7b8607ca933c208f2";
const NODE_FAILED: &str = "e37e3103bea748c6ba32654116170752";
const NODE_MENDED: &str = "d3dcbb6f92f341f39f81bb5c37b39000";

/// The identifier of an event's kind, if it is one that is explained.
pub fn id(event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::RunStarted { .. } => RUN_STARTED,
        Event::RunEnded { exit: 0, .. } => RUN_DONE,
        Event::RunEnded { failure: Some(failure), .. } if failure.reason == INTERRUPTED => RUN_STOPPED,
        Event::RunEnded { exit, .. } => match Exit::from_code(*exit) {
            Exit::Token => TOKEN_REFUSED,
            Exit::PackageManager | Exit::Budget => WAITED_TOO_LONG,
            Exit::RolledBack => ROLLED_BACK,
            _ => RUN_FAILED,
        },
        Event::StepEnded { ending: Ending::Failed, .. } => STEP_FAILED,
        Event::ProbeChanged { now: Level::Warn | Level::Fail, .. } => PROBE_FAILS,
        Event::HealthChanged { now, .. } => match now {
            Verdict::Healthy => NODE_HEALTHY,
            Verdict::Degraded => NODE_DEGRADED,
            Verdict::Failed => NODE_FAILED,
            Verdict::Starting => return None,
        },
        Event::HealthMended { done: true, .. } => NODE_MENDED,
        _ => return None,
    })
}
