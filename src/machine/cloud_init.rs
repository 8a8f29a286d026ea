//! How far cloud-init is on this boot, and waiting for its network stage: the one in which it makes users
//! and writes files.
//!
//! Facts, from cloud-init's documentation ("Boot stages", "CLI commands": `status`; the files below
//! `/run/cloud-init`): `enabled` is there from the generator on if cloud-init runs on this boot;
//! `status.json` has for each stage when it began and ended, and is a link to where it is kept; `result.json`
//! comes when all is over. The network stage is called `init`. Its final stage is never waited for: it
//! runs what users gave it to run, which may be waiting for us.

use super::changes::Changes;
use super::facts::read_small;
use crate::deadline::Deadline;
use crate::observe::{Observer, Wait};
use crate::paths::Paths;
use serde_json::Value;

/// The stages after the network stage: when one of these has begun, that one is over.
const LATER: [&str; 2] = ["modules-config", "modules-final"];

/// How far cloud-init is with its network stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is over, well or not; or cloud-init does nothing on this boot.
    Over,
    /// It is not, and what cloud-init does meanwhile.
    Before(String),
}

/// Waits until the network stage is over. False, with a warning, if it is not by the deadline.
pub async fn network_stage(paths: &Paths, deadline: Deadline, observer: &dyn Observer) -> bool {
    let mut told = None;
    loop {
        let changes = Changes::of(&watched(paths));
        let Progress::Before(holder) = progress(paths) else { return true };
        if told.as_ref() != Some(&holder) {
            let what = "cloud-init's network stage".to_owned();
            observer.waiting(&Wait { what, holder: Some(holder.clone()), deadline });
            told = Some(holder);
        }
        if tokio::time::timeout_at(deadline.instant().into(), changes.next()).await.is_err() {
            observer.warn(
                "cloud-init's network stage is not over in time: going on without it; `cloud-init status --long` says \
                 why",
            );
            return false;
        }
    }
}

/// Where changes show: below `/run`, and where the link there leads.
fn watched(paths: &Paths) -> Vec<std::path::PathBuf> {
    let mut watched = vec![paths.cloud_init()];
    let kept = std::fs::canonicalize(paths.cloud_init().join("status.json")).ok();
    watched.extend(kept.and_then(|kept| Some(kept.parent()?.to_owned())));
    watched
}

/// How far it is now.
pub fn progress(paths: &Paths) -> Progress {
    let directory = paths.cloud_init();
    if !directory.join("enabled").exists() || directory.join("result.json").exists() {
        return Progress::Over;
    }
    match read_small(&directory.join("status.json")) {
        Ok(text) => parse(text.as_bytes()),
        Err(_) => Progress::Before("it has not begun".into()),
    }
}

/// What `status.json` says. What cannot be understood says that it is not over.
pub fn parse(bytes: &[u8]) -> Progress {
    let status: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let stages = &status["v1"];
    let is = |stage: &str, moment: &str| !stages[stage][moment].is_null();
    let failed = stages["init"]["errors"].as_array().is_some_and(|errors| !errors.is_empty());
    if is("init", "finished") || failed || LATER.iter().any(|stage| is(stage, "start")) {
        return Progress::Over;
    }
    let named = |stage: &&str| stage.len() <= 32 && stage.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    Progress::Before(match stages["stage"].as_str().filter(named) {
        Some(stage) => format!("it is in its stage {stage}"),
        None if is("init-local", "finished") => "it has not begun, the network may not be up yet".into(),
        None => "it has not begun".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Silent;
    use proptest::prelude::*;
    use std::fs;
    use std::time::Duration;

    /// As cloud-init 22.4.2 writes it, shortened.
    const LOCAL: &str = r#"{"v1": {"datasource": null, "init": {"errors": [], "finished": null, "start": null},
        "init-local": {"errors": [], "finished": null, "start": 1700000000.1},
        "modules-config": {"errors": [], "finished": null, "start": null},
        "modules-final": {"errors": [], "finished": null, "start": null}, "stage": "init-local"}}"#;

    fn before(words: &str) -> Progress {
        Progress::Before(words.into())
    }

    #[test]
    fn each_stage_of_a_boot_is_told() {
        assert_eq!(parse(LOCAL.as_bytes()), before("it is in its stage init-local"));
        let mut status: Value = serde_json::from_str(LOCAL).unwrap();
        let mut then = |path: &str, value: Value| {
            *status.pointer_mut(path).unwrap() = value;
            parse(status.to_string().as_bytes())
        };
        then("/v1/stage", Value::Null);
        let between = before("it has not begun, the network may not be up yet");
        assert_eq!(then("/v1/init-local/finished", 1700000001.5.into()), between);
        then("/v1/init/start", 1700000009.5.into());
        assert_eq!(then("/v1/stage", "init".into()), before("it is in its stage init"));
        assert_eq!(then("/v1/init/finished", 1700000010.5.into()), Progress::Over);
        then("/v1/init/finished", Value::Null);
        assert_eq!(then("/v1/modules-config/start", 1.into()), Progress::Over);
        then("/v1/modules-config/start", Value::Null);
        assert_eq!(then("/v1/init/errors", vec!["no metadata"].into()), Progress::Over);
        then("/v1/init/errors", Vec::<Value>::new().into());
        assert_eq!(then("/v1/stage", "a\u{1b}[31m".into()), between);
    }

    #[test]
    fn only_a_cloud_init_that_runs_on_this_boot_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        assert_eq!(progress(&paths), Progress::Over);
        fs::create_dir_all(paths.cloud_init()).unwrap();
        fs::write(paths.cloud_init().join("disabled"), "").unwrap();
        assert_eq!(progress(&paths), Progress::Over);
        fs::write(paths.cloud_init().join("enabled"), "").unwrap();
        assert_eq!(progress(&paths), before("it has not begun"));
        fs::write(paths.cloud_init().join("result.json"), "{}").unwrap();
        assert_eq!(progress(&paths), Progress::Over);
    }

    #[tokio::test]
    async fn the_end_is_seen_where_the_link_leads() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        let kept = paths.at("/var/lib/cloud/data/status.json");
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        fs::create_dir_all(paths.cloud_init()).unwrap();
        fs::write(paths.cloud_init().join("enabled"), "").unwrap();
        let waiting = network_stage(&paths, Deadline::after(Duration::from_secs(60)), &Silent);
        let boot = async {
            fs::write(&kept, LOCAL).unwrap();
            std::os::unix::fs::symlink("../../var/lib/cloud/data/status.json", paths.cloud_init().join("status.json"))
                .unwrap();
            tokio::task::yield_now().await;
            let over = LOCAL.replacen("\"finished\": null", "\"finished\": 1.5", 1);
            fs::write(kept.with_extension("new"), over).unwrap();
            fs::rename(kept.with_extension("new"), &kept).unwrap();
        };
        assert!(tokio::join!(waiting, boot).0);
    }

    #[tokio::test]
    async fn a_stage_that_does_not_end_is_not_waited_for_without_end() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        fs::create_dir_all(paths.cloud_init()).unwrap();
        fs::write(paths.cloud_init().join("enabled"), "").unwrap();
        assert!(!network_stage(&paths, Deadline::after(Duration::from_millis(20)), &Silent).await);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,80}") {
            parse(&bytes);
            if let Progress::Before(words) = parse(format!("{{\"v1\": {{\"stage\": {text:?}}}}}").as_bytes()) {
                prop_assert!(words.len() < 80);
            }
        }
    }
}
