//! A webhook: what happens here, told to somebody elsewhere by HTTP (docs/webhook.md).
//!
//! ```text
//! hub ─> view ─> queue ─┐ a thread of its own
//!                       └─> spool on the disk ─> receiver ─> out of the spool
//! ```
//!
//! A view only puts into the queue. Nothing ever waits for the receiver but the very end of a process, for a bounded
//! time; what was not told by then is told by whoever comes next. A receiver that is dead changes nothing else.

pub mod body;
mod deliver;
pub mod send;
pub mod spool;

use crate::deadline::Deadline;
use crate::intent::Reporting;
use crate::observe::Observer;
use crate::paths::Paths;
use crate::step::{Entry, Event, View};
use spool::Spool;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// So many events may wait to be put on the disk. The last few places are for ends.
const QUEUE: usize = 512;
const FOR_ENDS: usize = 32;

/// What the thread is told.
enum Order {
    Tell(Box<Entry>),
    /// This is the end: tell what can be told by then, and say what is left.
    Finish(Deadline, oneshot::Sender<Left>),
}

/// What could not be told by the end of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// So many events wait on the disk, for the next process.
    pub waiting: usize,
    /// So many are lost: neither the receiver nor the disk has them.
    pub lost: u64,
}

/// A handle on the sender. Clones are the same sender, which lives as long as any of them.
#[derive(Clone)]
pub struct Webhook {
    orders: mpsc::Sender<Order>,
    overflow: Arc<AtomicU64>,
    paths: Paths,
}

impl Webhook {
    /// Starts the sender, if there is a webhook to be told; what an earlier process has left is told too.
    /// `observer` is told what an operator should know of it.
    pub fn start(paths: &Paths, reporting: &Reporting, observer: Arc<dyn Observer>) -> Option<Webhook> {
        let webhook = reporting.webhook.clone()?;
        let (orders, queue) = mpsc::channel(QUEUE);
        let overflow = Arc::new(AtomicU64::new(0));
        let sender = deliver::Sender::new(paths, webhook, reporting.clone(), overflow.clone(), observer);
        super::on_a_thread("webhook", move || sender.run(queue))?;
        Some(Webhook { orders, overflow, paths: paths.clone() })
    }

    /// A view for one run.
    pub fn view(&self) -> Box<dyn View> {
        Box::new(self.clone())
    }

    /// Waits until everything is told, at most so long.
    pub async fn finish(&self, limit: Duration) -> Left {
        let deadline = Deadline::after(limit);
        let (reply, left) = oneshot::channel();
        let asked = async {
            self.orders.send(Order::Finish(deadline, reply)).await.ok()?;
            left.await.ok()
        };
        // The thread keeps the time itself; this is for one that hangs in a disk.
        let late = deadline.remaining() + Duration::from_secs(2);
        match tokio::time::timeout(late, asked).await {
            Ok(Some(left)) => left,
            _ => {
                let waiting = Spool::new(&self.paths).list().len();
                let queued = QUEUE.saturating_sub(self.orders.capacity());
                Left { waiting, lost: self.overflow.load(Ordering::Relaxed).saturating_add(queued as u64) }
            }
        }
    }
}

impl View for Webhook {
    fn event(&mut self, entry: &Entry) {
        let is_end = matches!(entry.event, Event::RunEnded { .. });
        if matches!(entry.event, Event::StepOutput { .. }) {
            return;
        }
        let full = !is_end && self.orders.capacity() <= FOR_ENDS;
        if full || self.orders.try_send(Order::Tell(Box::new(entry.clone()))).is_err() {
            self.overflow.fetch_add(1, Ordering::Relaxed);
        }
    }
}
