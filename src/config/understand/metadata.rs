//! Where user-data and the cloud's metadata come from: known before the rest of the intent is, because
//! user-data is a part of it.

use super::reader::Reader;
use crate::config::error::Error;
use crate::config::merged::Merged;
use crate::config::value;
use crate::intent::{MetadataOptions, UserDataFrom};

impl Merged {
    /// Where user-data and metadata come from. Nothing else has to be there or right.
    pub fn metadata(&self) -> Result<MetadataOptions, Error> {
        self.read(Reader::metadata)
    }
}

impl Reader<'_> {
    pub(super) fn metadata(&mut self) -> MetadataOptions {
        let defaults = MetadataOptions::default();
        MetadataOptions {
            user_data: self.choice("run.user_data", &UserDataFrom::ALL).unwrap_or(defaults.user_data),
            endpoint: self.parsed("metadata.endpoint", value::endpoint).unwrap_or(defaults.endpoint),
        }
    }
}
