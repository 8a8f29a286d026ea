//! One component after the other: backed up, changed, restarted, and looked at until it is certain how that
//! ended.

use super::case::Case;
use super::diagnose::Cure;
use super::error::{Error, Said};
use super::evidence::Log;
use super::open::{self, GRACE, Open, Phase, Settled};
use super::{ASK, Repair, context, here};
use crate::error::{Exit, Failure};
use crate::kasm::docker;
use crate::kasm::layout::Installed;
use crate::kasm::manager::Manager;
use crate::kasm::snapshot::Snapshot;
use crate::machine::changes::Changes;
use crate::observe::Wait;
use crate::record::Record as _;
use crate::step::{self, Finish};
use crate::token::Kind;
use crate::words;
use std::time::{Duration, Instant};

/// How long a component may take to register: a proxy asks ten times (docs/kasm-facts.md, 5), and is started
/// again by Docker after that.
const REGISTERS: Duration = Duration::from_secs(3 * 60);
/// A refusal in the log that no token has followed after so long is the manager's last word. Before it registers
/// anew, a component may have shown the manager its old token.
const LAST_WORD: Duration = Duration::from_secs(30);
/// So long an agent is listened to after it has come up: its first report goes out soon.
const LISTEN: Duration = Duration::from_secs(10);
/// How often a component is looked at, when nothing tells that it has changed.
const LOOK: Duration = Duration::from_millis(500);

/// An engine that is up answers sooner.
const ANSWER: Duration = Duration::from_secs(2);

/// Mends every case, in their order. The first that cannot be mended ends it.
pub(super) async fn repair(work: &Repair, cx: step::Context<'_>) -> Result<Finish, Failure> {
    let cases = work.cases.borrow().clone();
    let mut mended: Vec<String> = Vec::new();
    for case in &cases {
        match mend(work, case, cx).await {
            Ok(words) => mended.push(words),
            Err(mut failure) => {
                if !mended.is_empty() {
                    failure.causes.push(format!("before it, {}", mended.join("; ")));
                }
                return Err(failure);
            }
        }
    }
    Ok(Finish::Done(mended.join("; ")))
}

async fn mend(work: &Repair, case: &Case, cx: step::Context<'_>) -> Result<String, Failure> {
    let (paths, container) = (&work.paths, case.container);
    let docker = |cause| Error::Docker { container, cause };
    let restarts = case.cure != Cure::Clean;
    // Also the question whether Docker answers and has it at all, before anything is changed.
    let log = match restarts {
        true => Some(Log::from_now(paths, container).await.map_err(docker)?),
        false => None,
    };
    Snapshot::take(paths, &paths.repair_backup(), &case.files())?;
    let mut open = Open {
        schema: Open::SCHEMA,
        container: container.into(),
        config: paths.shown(&case.config),
        section: case.section.clone(),
        phase: if restarts { Phase::Prepared } else { Phase::Proved },
        at: words::now(),
    };
    open::write(paths, &open)?;
    cx.observer
        .note(&format!("{container}: its files are backed up in {}", paths.shown(&paths.repair_backup()).display()));
    let Some(log) = log else {
        return settle(work, cx).await;
    };
    let done = async {
        case.write()?;
        cx.observer.note(&format!("{container}: its configuration is written"));
        open.phase = Phase::Restarted;
        open::write(paths, &open)?;
        docker::restart(&paths.docker_socket(), container, GRACE).await.map_err(docker)?;
        cx.observer.note(&format!("{container}: restarted"));
        come_up(work, case, &log, cx).await
    };
    match done.await {
        Ok(()) => {
            open.phase = Phase::Proved;
            open::write(paths, &open)?;
            let words = settle(work, cx).await?;
            Ok(format!("{words}{}", afterwards(work, case, cx).await))
        }
        // The token came, and is kept: what keeps the component from being well is something else.
        Err(error @ Error::Unhealthy { .. }) => {
            open.phase = Phase::Proved;
            open::write(paths, &open)?;
            settle(work, cx).await?;
            Err(error.into())
        }
        Err(error) => {
            let mut failure = Failure::from(error);
            match open::settle(paths, cx.observer).await {
                Ok(Some(Settled::PutBack { .. }) | None) => failure.message += "; everything is as it was",
                Ok(Some(Settled::Finished { .. })) => failure.message += "; but its token has come, and is kept",
                Err(mut worse) => {
                    let more = std::mem::take(&mut worse.causes);
                    failure = worse.caused_by(failure);
                    failure.causes.extend(more);
                    failure.code = Exit::Unhealthy.code();
                }
            }
            Err(failure)
        }
    }
}

/// What an agent's manager says afterwards: its silence undoes nothing. What it makes of the agent, only the Admin UI
/// tells.
async fn afterwards(work: &Repair, case: &Case, cx: step::Context<'_>) -> String {
    let Some(address) = case.manager.as_ref().filter(|_| case.cure == Cure::ManagerToken) else { return String::new() };
    let manager = Manager::new(&work.paths, address, &work.intent.network);
    match manager.healthcheck(cx.deadline.within(ASK)).await {
        Ok(_) => format!(", and {} is healthy; the Admin UI shows the agent when it has reported", manager.name()),
        Err(error) => {
            cx.observer.warn(&format!("the manager was well before, and is not now: {error}"));
            String::new()
        }
    }
}

async fn settle(work: &Repair, cx: step::Context<'_>) -> Result<String, Failure> {
    let settled = open::settle(&work.paths, cx.observer).await?;
    let words = settled.map(|settled| settled.words()).unwrap_or_default();
    cx.observer.note(&words);
    Ok(words)
}

/// Waits until the component has what it needs and is up.
async fn come_up(work: &Repair, case: &Case, log: &Log, cx: step::Context<'_>) -> Result<(), Error> {
    let begun = Instant::now();
    let container = case.container;
    // What is left must suffice to put everything back.
    let left = cx.deadline.remaining().mul_f32(0.75);
    let deadline = cx.deadline.within(REGISTERS.min(left));
    let (last_word, listen) = (LAST_WORD.min(left / 4), LISTEN.min(left / 8));
    let mut refused: Option<(Instant, Said)> = None;
    let mut up_since: Option<Instant> = None;
    let mut told = String::new();
    loop {
        let changes = Changes::of(&[case.config.parent().unwrap_or(&case.config).to_owned()]);
        let trouble = trouble(work, container, ANSWER.min(deadline.remaining().max(LOOK))).await;
        let token = token(work, case);
        up_since = trouble.is_none().then(|| up_since.unwrap_or_else(Instant::now));
        let listened = up_since.is_some_and(|since| case.cure != Cure::ManagerToken || since.elapsed() >= listen);
        if case.cure == Cure::ManagerToken
            && let Some(said) = log.refusal(&work.paths, &work.masker).await
        {
            return Err(Error::Refused { container, kind: Kind::Manager, said });
        }
        let holder = match (&token, &trouble) {
            (None, None) if listened => return Ok(()),
            (None, None) => "it is up, and is listened to for a moment".to_owned(),
            (Some(verdict), _) => verdict.clone(),
            (None, Some(trouble)) => trouble.clone(),
        };
        if token.is_some() && refused.is_none() {
            refused = log.refusal(&work.paths, &work.masker).await.map(|said| (Instant::now(), said));
        }
        if let (Some(_), Some((since, _))) = (&token, &refused)
            && since.elapsed() >= last_word
            && let Some((_, said)) = refused.take()
        {
            return Err(Error::Refused { container, kind: case.kind(), said });
        }
        if deadline.is_over() {
            let said = log.last(&work.paths, &work.masker).await;
            let waited = words::span(begun.elapsed());
            return Err(match (token, trouble, case.cure) {
                (Some(verdict), ..) => Error::NotRegistered { container, waited, verdict, said },
                (None, Some(trouble), Cure::ManagerToken) => Error::NotUp { container, trouble, said },
                (None, trouble, _) => Error::Unhealthy { container, trouble: trouble.unwrap_or_default() },
            });
        }
        if told != holder {
            cx.observer.waiting(&Wait {
                what: format!("{container} to work with its token"),
                holder: Some(holder.clone()),
                deadline,
            });
            told = holder;
        }
        // Whichever comes first; a container's health changes no file.
        drop(tokio::time::timeout(LOOK.min(deadline.remaining()), changes.next()).await);
    }
}

/// What is wrong with the container, if anything is: the end of a sentence beginning with its name.
async fn trouble(work: &Repair, container: &str, patience: Duration) -> Option<String> {
    let socket = work.paths.docker_socket();
    let list = match tokio::time::timeout(patience, docker::containers(&socket)).await {
        Ok(Ok(list)) => list,
        Ok(Err(error)) => return Some(format!("cannot be looked at: {error}")),
        Err(_) => return Some("cannot be looked at: Docker does not answer".into()),
    };
    match list.iter().find(|one| one.is_named(container)) {
        None => Some("is not there".into()),
        Some(one) if one.is_up() => None,
        Some(one) => Some(format!("is {}", one.describe())),
    }
}

/// What is wrong with the component's auth token, if anything is. What an agent's token is worth, its file does
/// not tell.
fn token(work: &Repair, case: &Case) -> Option<String> {
    if case.cure == Cure::ManagerToken {
        return None;
    }
    let read = Installed::read(&work.paths).map(|installed| here(&work.paths, &installed, &context(work)));
    // It may be about to be written.
    let Some(Ok(list)) = read else { return Some("its configuration cannot be read".into()) };
    match open::auth_of(&list, &case.config) {
        None => Some("its configuration is not there".into()),
        Some(one) if one.verdict.is_good() => None,
        Some(one) => Some(format!("{} {}", one.key, one.verdict)),
    }
}
