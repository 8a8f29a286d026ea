//! What was measured, as a document.

use crate::data::Release;
use crate::locks;
use crate::machine::Machine;
use crate::measure::{Taken, median, most};
use crate::server::Link;
use crate::ways::{FLOORS, INFLATE, NETWORK, OURS, TODAY, UNPACK, VERIFIED, WAYS, Way};
use std::fmt::Write;

/// The two shapes, in words.
pub const SHAPES: [&str; 2] = ["many files", "one big file"];

/// What does not depend on a release.
pub struct Steady {
    /// Starts of `--version`.
    pub version: Vec<Taken>,
    /// Starts of `status`.
    pub status: Vec<Taken>,
    /// Bytes of the binary.
    pub size: u64,
    /// Lock release to first line.
    pub ours: locks::Ours,
    /// The same by polling.
    pub official: Option<Vec<f64>>,
}

/// Everything measured.
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// What it was unpacked to.
    pub place: String,
    /// Ours with small and large downloads.
    pub weights: [Vec<Taken>; 2],
    runs: u32,
    shapes: Vec<String>,
    heavy: Vec<u64>,
    taken: Vec<(usize, Link, Way, Taken)>,
}

impl Results {
    /// Nothing yet.
    pub fn new(machine: Machine, runs: u32) -> Results {
        Results {
            machine,
            place: String::new(),
            weights: [Vec::new(), Vec::new()],
            runs,
            shapes: Vec::new(),
            heavy: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// One way, gone once with the shape of this number.
    pub fn add(&mut self, shape: usize, link: Link, way: Way, taken: Taken) {
        eprintln!("  {:7.2} s  {:7.2} s cpu  {:6} KiB  {}", taken.wall, taken.cpu, taken.rss, way.name);
        self.taken.push((shape, link, way, taken));
    }

    /// Says what was unpacked.
    pub fn describe(&mut self, shapes: &[Release], weights: &[Release]) {
        self.shapes = shapes
            .iter()
            .map(|release| {
                let megabytes = |bytes: u64| bytes as f64 / 1e6;
                let (packed, unpacked) = (megabytes(release.compressed), megabytes(release.unpacked));
                format!("{} entries, {packed:.0} MB compressed, {unpacked:.0} MB unpacked", release.entries)
            })
            .collect();
        self.heavy = weights.iter().map(|release| release.compressed / 1_000_000).collect();
    }

    fn of(&self, shape: usize, link: Link, way: Way) -> impl Iterator<Item = Taken> {
        let fits = move |(its_shape, its_link, its_way, _): &&(usize, Link, Way, Taken)| {
            (*its_shape, *its_link, *its_way) == (shape, link, way)
        };
        self.taken.iter().filter(fits).map(|(.., taken)| *taken)
    }

    fn wall(&self, shape: usize, link: Link, way: Way) -> f64 {
        median(self.of(shape, link, way).map(|taken| taken.wall))
    }

    /// The round that others disturbed least.
    fn best(&self, shape: usize, link: Link, way: Way) -> f64 {
        self.of(shape, link, way).map(|taken| taken.wall).fold(f64::NAN, f64::min)
    }

    fn row(&self, shape: usize, link: Link, way: Way) -> (f64, f64, f64) {
        let cpu = median(self.of(shape, link, way).map(|taken| taken.cpu));
        (self.wall(shape, link, way), cpu, most(self.of(shape, link, way).map(|taken| taken.rss as f64)))
    }

    /// The document.
    pub fn document(&self, steady: &Steady) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(steady, &mut text);
        text
    }

    fn write(&self, steady: &Steady, out: &mut String) -> std::fmt::Result {
        let machine = &self.machine;
        writeln!(out, "# Performance\n")?;
        writeln!(out, "Written by `scripts/bench`, not by hand; run it to see your own machine's numbers.\n")?;
        writeln!(out, "| measured on | |\n| --- | --- |")?;
        writeln!(out, "| processor | {}, {} cores |", machine.cpu, machine.cores)?;
        writeln!(out, "| memory | {} MiB |", machine.memory)?;
        writeln!(out, "| system | {} |", machine.system)?;
        writeln!(out, "| unpacked to | {} |", self.place)?;
        writeln!(out, "| compiler | {} |", machine.rustc)?;
        writeln!(out, "| commit | {} |", machine.commit)?;
        writeln!(out, "| date | {} |", machine.date)?;
        writeln!(out, "| load average | {} before, {} after |\n", machine.load_before, machine.load_after)?;
        writeln!(
            out,
            "All sides take turns within one run, {} rounds, and the medians are shown (the most of all rounds where it is \
             about memory).\nA load average above the number of cores means that others used the machine meanwhile: every \
             side then waits longer,\nand single rounds differ; the ratios bear that better than the seconds do. The server \
             runs on the same machine and takes\nits share of the processor. What is unpacked is synthetic, in size and \
             mixture like a release.\n",
            self.runs
        )?;
        writeln!(
            out,
            "Ours verifies all bytes before it parses one, and syncs tarball and tree to the disk before it says that it is \
             done;\nthe shell ways leave that to the kernel, after their last line.\n"
        )?;
        self.goals(steady, out)?;
        for (shape, name) in SHAPES.iter().enumerate() {
            self.ways(shape, name, out)?;
        }
        self.steady(steady, out)
    }

    fn goals(&self, steady: &Steady, out: &mut String) -> std::fmt::Result {
        writeln!(out, "## Goals\n\nBy the medians; beside them the same of each side's best round.\n")?;
        writeln!(out, "| what | goal | measured | best rounds | |\n| --- | --- | ---: | ---: | --- |")?;
        let verdict = |met: bool| if met { "met" } else { "**not met**" };
        for (shape, name) in SHAPES.iter().enumerate() {
            let of = |above: (Link, Way), below: (Link, Way)| {
                let ratio = self.wall(shape, above.0, above.1) / self.wall(shape, below.0, below.1);
                (ratio, self.best(shape, above.0, above.1) / self.best(shape, below.0, below.1))
            };
            for link in [Link::Http, Link::Https] {
                let (ratio, best) = of((link, VERIFIED), (link, OURS));
                let (link, met) = (link.name(), verdict(ratio >= 2.5));
                writeln!(
                    out,
                    "| verified shell way / ours, {name}, {link} | ≥ 2.5 | {ratio:.2} | {best:.2} | {met} |"
                )?;
            }
            let (ratio, best) = of((Link::Http, OURS), (Link::Http, INFLATE));
            let met = verdict(ratio <= 1.5);
            writeln!(out, "| ours / inflating alone, {name} | ≤ 1.5 | {ratio:.2} | {best:.2} | {met} |")?;
        }
        let [small, large] = &self.weights;
        let peak = |taken: &[Taken]| most(taken.iter().map(|taken| taken.rss as f64));
        let (small, large) = (peak(small), peak(large));
        let (less, more) = (self.heavy.first().copied().unwrap_or(0), self.heavy.last().copied().unwrap_or(0));
        writeln!(
            out,
            "| most memory, {less} MB and {more} MB download (HTTPS) | the same within 10 % | {small:.0} and {large:.0} KiB | | {} |",
            verdict((large / small - 1.0).abs() <= 0.1)
        )?;
        writeln!(out, "| most memory | ≤ 12288 KiB | {large:.0} KiB | | {} |", verdict(large <= 12288.0))?;
        let first = median(steady.ours.install.iter().copied()) * 1e3;
        writeln!(
            out,
            "| locks free → installer's first line | ≤ 50 ms | {first:.0} ms | | {} |",
            verdict(first <= 50.0)
        )?;
        let (size, most) = (steady.size, 6 * 1024 * 1024);
        writeln!(out, "| size of the binary | ≤ {most} bytes | {size} bytes | | {} |\n", verdict(size <= most))
    }

    fn ways(&self, shape: usize, name: &str, out: &mut String) -> std::fmt::Result {
        let about = self.shapes.get(shape).map_or("", String::as_str);
        writeln!(out, "## From a URL to an unpacked release: {name}\n\n{about}. Seconds; memory in KiB.\n")?;
        let [http, https, slow] = Link::ALL;
        writeln!(out, "| way | HTTP | best | processor | HTTPS | best | processor | 25 MB/s | most memory |")?;
        writeln!(out, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for way in WAYS.iter().chain(&[NETWORK]) {
            write!(out, "| {} |", way.name)?;
            let mut memory = 0.0_f64;
            for link in [http, https] {
                let (wall, cpu, rss) = self.row(shape, link, *way);
                memory = memory.max(rss);
                write!(out, " {wall:.2} | {:.2} | {cpu:.2} |", self.best(shape, link, *way))?;
            }
            writeln!(out, " {:.2} | {memory:.0} |", self.wall(shape, slow, *way))?;
        }
        let times = |way| format!("{:.2}", self.wall(shape, http, way) / self.wall(shape, http, OURS));
        writeln!(
            out,
            "\nOn loopback HTTP ours is {} times as fast as today's way, {} times as the verified one.\n",
            times(TODAY),
            times(VERIFIED)
        )?;
        writeln!(
            out,
            "| a part alone | seconds | best | processor | most memory |\n| --- | ---: | ---: | ---: | ---: |"
        )?;
        for way in FLOORS.iter().chain(&[UNPACK]) {
            let (wall, cpu, rss) = self.row(shape, http, *way);
            let best = self.best(shape, http, *way);
            writeln!(out, "| {} | {wall:.2} | {best:.2} | {cpu:.2} | {rss:.0} |", way.name)?;
        }
        writeln!(out)
    }

    fn steady(&self, steady: &Steady, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "## From free locks to the installer's first line\n\n\
             A process holds apt's four locks and lets them go at a moment nobody can know; {} times. Ours is the whole \
             `install`\non a scratch machine with the stand-in's release (download, manager and unpacking are over by then), \
             up to the first\nline of `install.sh`. Kasm's script is imitated from [what is known of it](kasm-facts.md): `fuser` \
             once a second (how\noften the real one looks is not on record), then ten seconds of sleep.\n",
            steady.ours.install.len()
        )?;
        writeln!(out, "| way | median ms | most ms |\n| --- | ---: | ---: |")?;
        let mut row = |name: &str, values: &[f64]| {
            let (middle, top) = (median(values.iter().copied()) * 1e3, most(values.iter().copied()) * 1e3);
            writeln!(out, "| {name} | {middle:.0} | {top:.0} |")
        };
        match &steady.official {
            Some(values) => row("as Kasm's script waits", values)?,
            None => row("as Kasm's script waits (not measured: there is no fuser)", &[])?,
        }
        row("**`install`**", &steady.ours.install)?;
        row("`apt-wait && echo`", &steady.ours.apt_wait)?;
        writeln!(out, "\n## Starts, memory, size\n\n| what | median | most |\n| --- | ---: | ---: |")?;
        for (name, taken) in [("`--version`", &steady.version), ("`status`", &steady.status)] {
            let (wall, top) = (taken.iter().map(|taken| taken.wall * 1e3), taken.iter().map(|taken| taken.wall * 1e3));
            writeln!(out, "| {name}, from start to end, ms | {:.1} | {:.1} |", median(wall), most(top))?;
            let rss: Vec<f64> = taken.iter().map(|taken| taken.rss as f64).collect();
            let (middle, top) = (median(rss.iter().copied()), most(rss.iter().copied()));
            writeln!(out, "| {name}, most memory, KiB | {middle:.0} | {top:.0} |")?;
        }
        let idle = || steady.ours.idle.iter().copied();
        writeln!(out, "| memory while `install` waits for apt, KiB | {:.0} | {:.0} |", median(idle()), most(idle()))?;
        for (weight, taken) in self.heavy.iter().zip(&self.weights) {
            let rss = || taken.iter().map(|taken| taken.rss as f64);
            writeln!(
                out,
                "| memory for {weight} MB over HTTPS, fetched and unpacked, KiB | {:.0} | {:.0} |",
                median(rss()),
                most(rss())
            )?;
        }
        writeln!(out, "| size of the binary, bytes | {} | |", steady.size)?;
        writeln!(
            out,
            "\nWhat must not get worse unnoticed is held by counts instead of seconds: `tests/counts.rs` (system calls and bytes\n\
             written by a fixed fetch and unpack) runs with every other test."
        )
    }
}
