//! How this program is, told to systemd: `READY=1`, `STOPPING=1`, `STATUS=`, and the signs of life
//! `WATCHDOG=1` and `EXTEND_TIMEOUT_USEC=` (sd_notify(3), sd_watchdog_enabled(3)).
//!
//! Everything is sent by the loop that does the work, between two polls of it ([`Systemd::beside`]): a
//! loop that hangs sends no sign of life, and systemd does with the service what its unit says.
//!
//! Own code, because the usual crate knows neither abstract sockets nor sockets that must not block.

use crate::observe::{Observer, Supervisor, Wait};
use crate::step::{Entry, Event, View};
use crate::words;
use std::ffi::OsStr;
use std::future::{Future, poll_fn};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

/// A changed status is told at most so often: a download has news with every packet.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest time between two signs of life.
const BEAT: Duration = Duration::from_secs(15);
/// What each sign of life asks for while the start is not over: four missed ones, and systemd ends us.
const EXTENSION: Duration = Duration::from_secs(60);
/// What one step may say in a status, in characters.
const MOST_OF_A_STEP: usize = 160;
/// The longest status, in characters. `systemctl status` shows it in one line.
const MOST: usize = 480;

/// systemd, or nobody: then everything here does nothing. Clones speak for the same service.
#[derive(Clone)]
pub struct Systemd(Arc<Mutex<Inner>>);

struct Inner {
    line: Option<Line>,
    watchdog: Option<Duration>,
    ready: Mark,
    stopping: Mark,
    /// The steps at work, and what each said last.
    steps: Vec<(String, String)>,
    /// What is done while no step is at work.
    beside: String,
    told: String,
    told_at: Option<Instant>,
    beat_at: Instant,
}

struct Line {
    socket: UnixDatagram,
    address: SocketAddr,
}

/// What is told once. It counts as told only when systemd has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Never,
    Wanted,
    Told,
}

impl Systemd {
    /// systemd, if this process is a service that may speak to it.
    pub fn from_environment() -> Systemd {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        // The variables may be another process's, and only passed on.
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(Duration::from_micros);
        Systemd::at(std::env::var_os("NOTIFY_SOCKET").as_deref(), watchdog)
    }

    /// systemd at this socket (`NOTIFY_SOCKET`: a path, or a name behind `@`), which expects a sign of life
    /// within each span of `watchdog`.
    pub fn at(socket: Option<&OsStr>, watchdog: Option<Duration>) -> Systemd {
        Systemd(Arc::new(Mutex::new(Inner {
            line: socket.and_then(|socket| Line::to(socket).ok()),
            watchdog,
            ready: Mark::Never,
            stopping: Mark::Never,
            steps: Vec::new(),
            beside: String::new(),
            told: String::new(),
            told_at: None,
            beat_at: Instant::now(),
        })))
    }

    /// Does the work, and tells systemd what there is to tell whenever the work waits.
    pub async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        if self.lock().line.is_none() {
            return work.await;
        }
        let mut work = pin!(work);
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        poll_fn(|cx| {
            if let Poll::Ready(result) = work.as_mut().poll(cx) {
                self.lock().tell(Instant::now(), true);
                return Poll::Ready(result);
            }
            loop {
                let due = self.lock().tell(Instant::now(), false).into();
                if timer.deadline() != due {
                    timer.as_mut().reset(due);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Tells what is due, and returns when the next thing will be. `now_or_never`: a changed status does not
    /// wait for its turn.
    fn tell(&mut self, now: Instant, now_or_never: bool) -> Instant {
        let Some(line) = &self.line else { return now + BEAT };
        let status = self.status();
        let changed = status != self.told;
        let turn = self.told_at.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE);
        let wanted = [self.ready, self.stopping].contains(&Mark::Wanted);
        let news = wanted || (changed && (turn || now_or_never));
        let beats = now >= self.beat_at;
        let mut message = String::new();
        let mut add = |name: &str, value: &str| message.push_str(&format!("{name}={value}\n"));
        if news {
            if self.ready == Mark::Wanted {
                add("READY", "1");
            }
            if self.stopping == Mark::Wanted {
                add("STOPPING", "1");
            }
            add("STATUS", &status);
        }
        if beats {
            if self.watchdog.is_some() {
                add("WATCHDOG", "1");
            }
            if self.ready == Mark::Never && self.stopping == Mark::Never {
                add("EXTEND_TIMEOUT_USEC", &EXTENSION.as_micros().to_string());
            }
            self.beat_at = now + self.watchdog.map_or(BEAT, |span| BEAT.min(span / 2)).max(Duration::from_millis(1));
        }
        if news {
            // Also when it does not get through: the next try has its own turn.
            self.told_at = Some(now);
        }
        // Whatever does not get through now is told at its next turn; systemd can do without.
        if !message.is_empty() && line.send(&message) && news {
            self.told = status;
            for mark in [&mut self.ready, &mut self.stopping] {
                if *mark == Mark::Wanted {
                    *mark = Mark::Told;
                }
            }
        }
        let waits = [self.ready, self.stopping].contains(&Mark::Wanted) || self.told != self.status();
        match self.told_at {
            Some(at) if waits => self.beat_at.min(at + PAUSE),
            _ => self.beat_at,
        }
    }

    fn status(&self) -> String {
        let steps = self.steps.iter().map(|(name, says)| match says.as_str() {
            "" => name.clone(),
            says => format!("{name}: {says}"),
        });
        let mut text = steps.collect::<Vec<_>>().join("; ");
        if text.is_empty() {
            text.clone_from(&self.beside);
        }
        if self.stopping != Mark::Never {
            text = if text.is_empty() { "stopping".into() } else { format!("stopping; {text}") };
        }
        shortened(&text, MOST)
    }

    fn says(&mut self, step: &str, text: &str) {
        if let Some((_, says)) = self.steps.iter_mut().find(|(name, _)| name == step) {
            *says = shortened(text, MOST_OF_A_STEP);
        }
    }
}

impl Line {
    fn to(name: &OsStr) -> io::Result<Line> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A systemd that is busy must not hold the work up.
        socket.set_nonblocking(true)?;
        Ok(Line { socket, address })
    }

    /// True if systemd has it.
    fn send(&self, message: &str) -> bool {
        self.socket.send_to_addr(message.as_bytes(), &self.address).is_ok()
    }
}

fn shortened(text: &str, most: usize) -> String {
    let text = words::one_line(text);
    match text.char_indices().nth(most) {
        None => text,
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

fn waiting(what: &str, holder: Option<&str>) -> String {
    format!("waiting for {}", words::held_up(what, holder))
}

fn counted(done: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("{} of {}", words::bytes(done), words::bytes(total)),
        None => words::bytes(done),
    }
}

impl View for Systemd {
    fn event(&mut self, entry: &Entry) {
        let mut inner = self.lock();
        match &entry.event {
            Event::RunStarted { verb, .. } => {
                inner.steps.clear();
                inner.beside = format!("{verb} begins");
            }
            Event::StepStarted { step } => inner.steps.push((step.clone(), String::new())),
            Event::StepWaiting { step, what, holder } => inner.says(step, &waiting(what, holder.as_deref())),
            Event::StepNote { step, text, .. } => inner.says(step, text),
            Event::StepOutput { step, line } => inner.says(step, line),
            Event::StepEnded { step, detail, .. } => {
                inner.steps.retain(|(name, _)| name != step);
                // Until the next step begins, which is at once.
                inner.beside = format!("{step}: {detail}");
            }
            Event::RunEnded { detail, .. } => {
                inner.steps.clear();
                inner.beside.clone_from(detail);
            }
            Event::HealthChanged { now, words, .. } => inner.beside = format!("{now}: {words}"),
            // Whoever watches says how all of it stands.
            Event::ProbeChanged { .. } | Event::HealthMended { .. } => {}
        }
    }

    fn bytes(&mut self, step: &'static str, done: u64, total: Option<u64>) {
        self.lock().says(step, &counted(done, total));
    }
}

impl Observer for Systemd {
    fn waiting(&self, wait: &Wait) {
        self.lock().beside = waiting(&wait.what, wait.holder.as_deref());
    }

    fn bytes(&self, done: u64, total: Option<u64>) {
        self.lock().beside = counted(done, total);
    }
}

impl Supervisor for Systemd {
    fn ready(&self) {
        let mut inner = self.lock();
        if inner.ready == Mark::Never {
            inner.ready = Mark::Wanted;
            inner.tell(Instant::now(), true);
        }
    }

    fn stopping(&self) {
        let mut inner = self.lock();
        if inner.stopping == Mark::Never {
            inner.stopping = Mark::Wanted;
            inner.tell(Instant::now(), true);
        }
    }

    fn status(&self, text: &str) {
        text.clone_into(&mut self.lock().beside);
    }
}

#[cfg(test)]
mod tests;
