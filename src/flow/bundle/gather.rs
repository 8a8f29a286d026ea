//! Gathers one item after the other, masks it, and puts it into the archive.

use super::archive::{Archive, tame};
use super::manifest::{Entry, Summary};
use super::table::{From, Item};
use super::{Ask, BUDGET, Error, TOTAL_LIMIT, docker, facts, secrets};
use crate::deadline::Deadline;
use crate::flow::read::{self, Fault, Text, patiently};
use crate::flow::tree::{self, Spot};
use crate::paths::ENV_CREDENTIALS;
use crate::token::Masker;
use std::path::PathBuf;

/// What gathering needs to know.
pub struct Gatherer<'a> {
    ask: &'a Ask<'a>,
    masker: Masker,
    docker: docker::Known,
    deadline: Deadline,
    left: u64,
}

impl<'a> Gatherer<'a> {
    /// Learns the secrets first.
    pub async fn prepare(ask: &'a Ask<'a>) -> Gatherer<'a> {
        let deadline = Deadline::after(BUDGET);
        ask.observer.note("looking for secrets, so that they can be masked");
        let docker = docker::Known::ask(ask.paths).await;
        let mut known = secrets::given(ask);
        known.extend(docker.secrets());
        let credentials = ask.environment.iter().find(|(name, _)| name == ENV_CREDENTIALS);
        let (paths, credentials) = (ask.paths.clone(), credentials.map(|(_, path)| PathBuf::from(path)));
        // What is not found here has still to get past the mask by its shape.
        known.extend(patiently(move || Ok(secrets::lying_about(&paths, credentials))).await.unwrap_or_default());
        let masker = Masker::new(&secrets::distinct(known)).thorough();
        Gatherer { ask, masker, docker, deadline, left: TOTAL_LIMIT }
    }

    /// A text as it may leave the machine.
    pub fn mask(&self, text: &str) -> String {
        self.masker.mask(text).into_owned()
    }

    /// Gathers one item.
    pub async fn gather(&mut self, item: &Item, archive: &mut Archive<'_>, summary: &mut Summary) -> Result<(), Error> {
        self.ask.observer.note(&format!("gathering {}", item.name));
        let limit = item.kib * 1024;
        if self.deadline.is_over() {
            let why = format!("all that came before took {} s", BUDGET.as_secs());
            summary.entries.push(entry(item, item.name.into(), "left-out", Some(why)));
            return Ok(());
        }
        let paths = self.ask.paths.clone();
        let text = match item.from {
            From::Log(path) => {
                let spot = Spot::plain(paths.at(path));
                patiently(move || read::tail(&spot, limit)).await
            }
            From::File(path) => {
                let spot = Spot::fixed(paths.at(path));
                patiently(move || read::whole(&spot, limit)).await
            }
            From::Program(words) if paths.systemd_booted().is_dir() => read::program(words, limit).await,
            From::Program(_) => Err(Fault::Missing("systemd does not run here".into())),
            From::Command(_) => match self.ask.given.iter().find(|given| given.name == item.name) {
                Some(given) => given.text.clone().map(|text| read::bounded(text, limit)).map_err(Fault::Error),
                None => Err(Fault::Missing("nobody asked".into())),
            },
            From::Fact(fact) => match facts::of_intent(fact, self.ask, limit) {
                Some(text) => text,
                None => patiently(move || facts::of_machine(fact, &paths, limit)).await,
            },
            From::Tree(directory, depth) => {
                let directory = paths.at(directory);
                let found = patiently(move || Ok(tree::walk(&directory, depth)?)).await;
                return self.put_tree(item, "/", found, archive, summary).await;
            }
            From::KasmLogs => {
                let trees = patiently(move || Ok(facts::kasm_logs(&paths))).await.unwrap_or_default();
                if trees.is_empty() {
                    return self.put(item, "", Err(Fault::Missing("Kasm is not installed".into())), archive, summary);
                }
                for (name, found) in trees {
                    self.put_tree(item, &name, found, archive, summary).await?;
                }
                return Ok(());
            }
            From::Docker(topic) => {
                for (name, text) in self.docker.tell(topic, limit).await {
                    self.put(item, &name, text, archive, summary)?;
                }
                return Ok(());
            }
        };
        self.put(item, "", text, archive, summary)
    }

    async fn put_tree(
        &mut self,
        item: &Item,
        below: &str,
        found: Result<tree::Found, Fault>,
        archive: &mut Archive<'_>,
        summary: &mut Summary,
    ) -> Result<(), Error> {
        let found = match found {
            Ok(found) => found,
            Err(fault) => return self.put(item, below.trim_end_matches('/'), Err(fault), archive, summary),
        };
        let limit = item.kib * 1024;
        for (name, spot) in found {
            let name = format!("{below}{name}");
            match spot {
                Ok(spot) if !self.deadline.is_over() => {
                    let text = patiently(move || read::tail(&spot, limit)).await;
                    self.put(item, &name, text, archive, summary)?;
                }
                Ok(_) => {
                    let why = "there was no time left for it".to_owned();
                    summary.entries.push(entry(item, format!("{}{name}", item.name), "left-out", Some(why)));
                }
                Err(why) => summary.entries.push(entry(item, format!("{}{name}", item.name), "left-out", Some(why))),
            }
        }
        Ok(())
    }

    /// Puts a text into the archive, masked, or into the manifest why there is none.
    fn put(
        &mut self,
        item: &Item,
        behind: &str,
        text: Result<Text, Fault>,
        archive: &mut Archive<'_>,
        summary: &mut Summary,
    ) -> Result<(), Error> {
        // File names are others' text, too.
        let name = tame(&self.mask(&format!("{}{behind}", item.name)));
        let entry = match text {
            Ok(Text { text, truncated }) => {
                let masked = self.masker.mask(&text);
                let bytes = masked.len() as u64;
                if bytes > self.left {
                    let why = format!("the bundle has reached {} MiB", TOTAL_LIMIT >> 20);
                    entry(item, name, "left-out", Some(why))
                } else {
                    self.left -= bytes;
                    archive.add(&name, masked.as_bytes())?;
                    Entry { bytes, truncated, ..entry(item, name, "ok", None) }
                }
            }
            Err(Fault::Missing(why)) => entry(item, name, "missing", Some(why)),
            Err(Fault::Error(why)) => entry(item, name, "error", Some(why)),
        };
        let why = entry.why.map(|why| self.mask(&crate::words::one_line(&why)));
        summary.entries.push(Entry { why, ..entry });
        Ok(())
    }
}

fn entry(item: &Item, name: String, result: &'static str, why: Option<String>) -> Entry {
    Entry { name, from: item.from.words(), result, bytes: 0, truncated: false, why }
}
