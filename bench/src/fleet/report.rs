//! What a fleet did to its mirror and its manager: a table, and whether it is as it should be.

use super::world::{Counted, World};
use super::{Ended, Options};
use crate::{Fallible, machine};
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between these lines of a document the table stands.
const BEGIN: &str = "<!-- fleet: begin (scripts/bench-fleet) -->";
const END: &str = "<!-- fleet: end -->";
/// No second has so many times the mean of requests that come again.
const MOST_PEAK: f64 = 4.0;
/// The mirror sends at most so many times what is needed.
const MOST_BYTES: f64 = 1.25;

/// The load of one server by those who came again.
struct Load {
    name: &'static str,
    requests: usize,
    refused: usize,
    cut: usize,
    again: usize,
    /// Requests that came again, a second: in the mean of the time in which nine tenths of them came, and the most.
    mean: f64,
    peak: usize,
}

impl Load {
    fn of(name: &'static str, counted: &Counted, nodes: usize) -> Load {
        let (requests, mut again) = counted.arrivals(nodes);
        again.sort();
        let at = |share: f64| again.get(((again.len() as f64 * share) as usize).min(again.len().saturating_sub(1)));
        let span = match (at(0.05), at(0.95)) {
            (Some(from), Some(to)) => (*to - *from).as_secs_f64().max(1.0),
            _ => 1.0,
        };
        let peak = (0..)
            .map(Duration::from_secs)
            .take_while(|second| again.last().is_some_and(|last| second <= last))
            .map(|second| again.iter().filter(|at| at.as_secs() == second.as_secs()).count())
            .max()
            .unwrap_or(0);
        let count = |number: &std::sync::atomic::AtomicUsize| number.load(Ordering::Relaxed);
        Load {
            name,
            requests,
            refused: count(&counted.refused),
            cut: count(&counted.cut),
            again: again.len(),
            mean: again.len() as f64 * 0.9 / span,
            peak,
        }
    }

    fn ratio(&self) -> f64 {
        if self.mean > 0.0 { self.peak as f64 / self.mean } else { 0.0 }
    }

    fn row(&self) -> String {
        format!(
            "| {} | {} | {} | {} | {} | {:.1} | {} | {:.1} |",
            self.name,
            self.requests,
            self.refused,
            self.cut,
            self.again,
            self.mean,
            self.peak,
            self.ratio()
        )
    }
}

pub(crate) struct Results {
    nodes: usize,
    bytes: usize,
    slots: usize,
    answers: usize,
    loads: [Load; 2],
    sent: usize,
    /// How long the nodes took, shortest first.
    took: Vec<Duration>,
    troubles: Vec<String>,
}

impl Results {
    pub(crate) fn of(options: &Options, world: &World, ended: &[Ended]) -> Results {
        let mut took: Vec<Duration> = ended.iter().map(|one| one.after).collect();
        took.sort();
        Results {
            nodes: options.nodes,
            bytes: options.bytes,
            slots: world.slots,
            answers: world.answers,
            loads: [
                Load::of("mirror", &world.at_mirror, options.nodes),
                Load::of("manager", &world.at_manager, options.nodes),
            ],
            sent: world.at_mirror.sent.load(Ordering::Relaxed),
            took,
            troubles: ended.iter().filter_map(|one| one.trouble.clone()).collect(),
        }
    }

    fn multiplied(&self) -> f64 {
        self.sent as f64 / (self.nodes * self.bytes) as f64
    }

    pub(crate) fn text(&self) -> String {
        let seconds = |at: usize| self.took.get(at).map_or(0.0, Duration::as_secs_f64);
        let (middle, last) = (seconds(self.took.len() / 2), seconds(self.took.len().saturating_sub(1)));
        let rows = self.loads.iter().map(Load::row).collect::<Vec<_>>().join("\n");
        format!(
            "{} nodes start in the same moment; the release has {} kB. The mirror serves {} at a time, two seconds each, \
             and cuts one answer in ten; the manager starts after 20 s and then answers {} a second. Both turn all others \
             away, with 429 or 503, every second time with `Retry-After: 10`.\n\n\
             | | requests | turned away | cut | came again | mean a second | peak a second | peak / mean |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- |\n{rows}\n\n\
             - {} of {} nodes ended well, half of them within {middle:.0} s, the last after {last:.0} s.\n\
             - The mirror sent {:.2} times the bytes that were needed.\n\n\
             Measured on {}.",
            self.nodes,
            self.bytes / 1000,
            self.slots,
            self.answers,
            self.nodes - self.troubles.len(),
            self.nodes,
            self.multiplied(),
            on_this(),
        )
    }

    pub(crate) fn verdict(&self) -> Fallible<()> {
        if let Some(first) = self.troubles.first() {
            return Err(format!("{} nodes did not end well; the first: {first}", self.troubles.len()).into());
        }
        if let Some(load) = self.loads.iter().find(|load| load.again > 20 && load.ratio() > MOST_PEAK) {
            return Err(
                format!("retries come together at the {}: {:.1} times the mean", load.name, load.ratio()).into()
            );
        }
        match self.multiplied() <= MOST_BYTES {
            true => Ok(()),
            false => Err(format!("the mirror sent {:.2} times what was needed", self.multiplied()).into()),
        }
    }
}

/// The machine, in short.
fn on_this() -> String {
    let machine = machine::Machine::look();
    format!("{} cores of {}, {}, at {}, {}", machine.cores, machine.cpu, machine.system, machine.commit, machine.date)
}

/// Puts the text between the marks of a document.
pub(crate) fn put_into(document: &Path, text: &str) -> Fallible<()> {
    let old = fs::read_to_string(document)?;
    let (before, rest) = old.split_once(BEGIN).ok_or("the document has no place for the table")?;
    let (_, after) = rest.split_once(END).ok_or("the table's place has no end")?;
    Ok(fs::write(document, format!("{before}{BEGIN}\n\n{text}\n\n{END}{after}"))?)
}
