//! Where user-data and the cloud's metadata come from: known before the rest of the intent is, because
//! user-data is a part of it.

use super::super::error::{Error, quoted};
use super::super::merged::Merged;
use super::super::value::{self, Wrong};
use super::Reader;
use crate::intent::{MetadataOptions, UserDataFrom};

impl Merged {
    /// Where user-data and metadata come from. Nothing else has to be there or right.
    pub fn metadata(&self) -> Result<MetadataOptions, Error> {
        let mut reader = Reader { merged: self, errors: Vec::new(), notes: Vec::new() };
        let options = reader.metadata();
        Error::of(reader.errors).map_or(Ok(options), Err)
    }
}

impl Reader<'_> {
    pub(super) fn metadata(&mut self) -> MetadataOptions {
        let from = |text: &str| match UserDataFrom::ALL.iter().find(|(word, _)| *word == text) {
            Some((_, from)) => Ok(*from),
            None => Err(Wrong {
                problem: format!("is {}", quoted(text)),
                help: "write auto, off, ec2, nocloud or config-drive".into(),
            }),
        };
        let defaults = MetadataOptions::default();
        MetadataOptions {
            user_data: self.parsed("run.user_data", from).unwrap_or(defaults.user_data),
            endpoint: self.parsed("metadata.endpoint", value::endpoint).unwrap_or(defaults.endpoint),
        }
    }
}
