//! Which release is wanted, where it comes from and how it is verified.

use super::reader::Reader;
use crate::config::catalog;
use crate::config::error::Error;
use crate::config::merged::Merged;
use crate::config::value;
use crate::intent::{Digest, ReleaseIntent, Source};
use crate::net;
use std::path::PathBuf;

impl Merged {
    /// The release alone, for those who fetch it long before anything else is known. `None` where nothing
    /// names one.
    pub fn release(&self) -> Result<Option<ReleaseIntent>, Error> {
        self.read(|reader| {
            let found = reader.sources();
            let is_named = !found.1.is_empty() || !reader.is_sound();
            if is_named { reader.release_from(found) } else { None }
        })
    }
}

impl Reader<'_> {
    /// Where the release comes from, as given or as Kasm keeps it, and its full version where that is known.
    pub(super) fn sources(&mut self) -> (Option<String>, Vec<Source>) {
        let named = self.parsed("release.version", value::version);
        let mut sources: Vec<Source> = Vec::new();
        sources.extend(self.text("release.file").map(|found| Source::File(PathBuf::from(found.text))));
        sources.extend(self.list("release.urls", value::url).into_iter().map(Source::Url));
        let told = sources.iter().find_map(|source| match source {
            Source::Url(url) => catalog::version_in_name(url).map(str::to_owned),
            Source::File(path) => path.to_str().and_then(catalog::version_in_name).map(str::to_owned),
        });
        let full = named.or(told);
        if let (true, Some(full)) = (sources.is_empty(), &full) {
            let official = catalog::official(full);
            if !official.seen {
                self.notes.push(format!(
                    "where Kasm keeps release {full} is a guess from its newer names: {}; give release.urls if it is \
                     elsewhere",
                    official.url
                ));
            }
            sources.push(Source::Url(official.url));
        }
        (full, sources)
    }

    pub(super) fn release(&mut self) -> Option<ReleaseIntent> {
        let found = self.sources();
        self.release_from(found)
    }

    fn release_from(&mut self, (full, sources): (Option<String>, Vec<Source>)) -> Option<ReleaseIntent> {
        let digest = self.parsed("release.sha256", value::digest);
        let minisign_key = self.parsed("release.minisign_key", value::minisign_key);
        if self.has_wrong_value_in("release") {
            return None;
        }
        if sources.is_empty() {
            let help =
                "give --release VERSION, --release-url URL or --release-file FILE, or [release] in the configuration";
            self.refuse(Error::not_set("release.version", help));
            return None;
        }
        let published = || full.as_deref().and_then(catalog::published_digest).map(|hex| Digest::Pinned(hex.into()));
        let signed = || minisign_key.is_some().then_some(Digest::Sidecar);
        let Some(digest) = digest.or_else(published).or_else(signed) else {
            let source_shown = match sources.first() {
                Some(Source::Url(url)) => net::redact(url),
                Some(Source::File(path)) => path.display().to_string(),
                None => String::new(),
            };
            self.refuse(Error::DigestMissing { version: full, source_shown });
            return None;
        };
        let version = full.as_deref().and_then(catalog::split_version).map(|(version, _)| version.to_owned());
        Some(ReleaseIntent { version, sources, digest, minisign_key })
    }
}
