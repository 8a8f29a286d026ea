//! Reads settings one by one, and keeps what is wrong with them, so that all of it is said at once.

use crate::config::error::Error;
use crate::config::layer::{Entry, Origin, Raw};
use crate::config::meaning::{self, Meaning};
use crate::config::merged::Merged;
use crate::config::schema::Kind;
use crate::config::value::{self, Wrong};

impl Merged {
    /// What `read` makes of the settings. All that is wrong with those it looks at is in the one error.
    pub(super) fn read<'a, T>(&'a self, read: impl FnOnce(&mut Reader<'a>) -> T) -> Result<T, Error> {
        self.read_with_notes(read).map(|(value, _)| value)
    }

    /// [`Merged::read`], and what there is to say about it.
    pub(super) fn read_with_notes<'a, T>(
        &'a self,
        read: impl FnOnce(&mut Reader<'a>) -> T,
    ) -> Result<(T, Vec<String>), Error> {
        let mut reader = Reader::of(self);
        let value = read(&mut reader);
        Error::of(reader.errors).map_or(Ok((value, reader.notes)), Err)
    }
}

/// The settings, and what was found wrong or worth a word in those that were read.
pub(super) struct Reader<'a> {
    pub(super) merged: &'a Merged,
    pub(super) notes: Vec<String>,
    errors: Vec<Error>,
}

/// A value and where it was found.
pub(super) struct Found<'a> {
    pub(super) text: String,
    origin: &'a Origin,
}

impl<'a> Reader<'a> {
    pub(super) fn of(merged: &'a Merged) -> Reader<'a> {
        Reader { merged, notes: Vec::new(), errors: Vec::new() }
    }

    /// Keeps an error, once: a setting may be read for two things that hang on it.
    pub(super) fn refuse(&mut self, error: Error) {
        let said = error.to_string();
        if self.errors.iter().all(|other| other.to_string() != said) {
            self.errors.push(error);
        }
    }

    /// The value; an error is kept.
    pub(super) fn keep<T>(&mut self, found: Result<T, Error>) -> Option<T> {
        found.map_err(|error| self.refuse(error)).ok()
    }

    /// True if nothing is wrong with the settings that were read.
    pub(super) fn is_sound(&self) -> bool {
        self.errors.is_empty()
    }

    /// True if a value in this table is wrong.
    pub(super) fn has_wrong_value_in(&self, table: &str) -> bool {
        self.errors.iter().any(|error| match error {
            Error::Value { key, .. } | Error::Placeholder { key, .. } => {
                key.split_once('.').is_some_and(|(first, _)| first == table)
            }
            _ => false,
        })
    }

    /// A setting's text, if it is set. A placeholder inside a longer text is an error.
    pub(super) fn text(&mut self, key: &'static str) -> Option<Found<'a>> {
        let Entry { raw, origin, setting } = self.merged.get(key)?;
        let text = raw.text()?;
        let given = match meaning::of(&text) {
            Meaning::Given(given) => given,
            Meaning::Empty | Meaning::Left(_) => return None,
            // What the installer gets as it is may look as it likes.
            Meaning::Torn(_) if setting.kind == Kind::Path => text.trim(),
            Meaning::Torn(placeholder) => {
                self.refuse(Error::placeholder(key, origin, placeholder));
                return None;
            }
        };
        Some(Found { text: given.to_owned(), origin })
    }

    /// An optional setting, understood.
    pub(super) fn parsed<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
        let Found { text, origin } = self.text(key)?;
        self.keep(parse(&text).map_err(|wrong| wrong.at(key, origin)))
    }

    /// An optional setting that is one of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        self.parsed(key, |text| value::choice(words, text))
    }

    /// A setting that must be set, understood.
    pub(super) fn mandatory<T>(
        &mut self,
        key: &'static str,
        help: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let parsed = self.parsed(key, parse);
        if parsed.is_some() {
            return parsed;
        }
        let error = match self.merged.get(key).map(|entry| (entry.raw.text(), &entry.origin)) {
            Some((Some(text), origin)) => match meaning::of(&text) {
                Meaning::Left(placeholder) => Error::placeholder(key, origin, placeholder),
                Meaning::Empty => Error::Missing { key, help: help.to_owned(), emptied: Some(origin.clone()) },
                // What is wrong with it was said.
                Meaning::Given(_) | Meaning::Torn(_) => return None,
            },
            _ => Error::not_set(key, help),
        };
        self.refuse(error);
        None
    }

    /// A list, each of its items understood. Items that a template left empty are not there.
    pub(super) fn list<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Vec<T> {
        let Some(Entry { raw: Raw::List(items), origin, .. }) = self.merged.get(key) else { return Vec::new() };
        let mut values = Vec::new();
        for item in items {
            match meaning::of(item) {
                Meaning::Empty | Meaning::Left(_) => {}
                Meaning::Torn(placeholder) => self.refuse(Error::placeholder(key, origin, placeholder)),
                Meaning::Given(given) => {
                    values.extend(self.keep(parse(given).map_err(|wrong| wrong.at(key, origin))));
                }
            }
        }
        values
    }

    /// Where a setting's value comes from.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.merged.get(key).map_or(Origin::Default, |entry| entry.origin.clone())
    }
}
