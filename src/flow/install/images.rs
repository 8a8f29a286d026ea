//! Container images that were baked into this machine's image: the installer takes them as they are, so their
//! digest is looked at before.

use super::{Error, INSTALLED, Install};
use crate::blocking;
use crate::error::Failure;
use crate::release::{self, Digest, Verified};
use crate::step::{Context, Finish};
use crate::words;
use std::path::{Path, PathBuf};

impl Install {
    /// Files of our cache among those that are handed to the installer. Their names are their digests.
    pub(super) fn baked_images(&self) -> Vec<(PathBuf, Digest)> {
        let cache = self.paths.shown(&self.paths.cache_dir());
        let files = self.intent.installer.values.iter().filter_map(|(_, value)| {
            let shown = self.paths.shown(Path::new(value));
            let name = shown.strip_prefix(&cache).ok()?.to_str()?.strip_suffix(".tar.gz")?;
            Some((PathBuf::from(value), name.parse().ok()?))
        });
        files.collect()
    }
}

/// Verifies them.
pub async fn verify(work: &Install, cx: Context<'_>) -> Result<Finish, Failure> {
    if work.installed.get() {
        return Ok(Finish::Skipped(INSTALLED.into()));
    }
    let mut bytes = 0;
    for (path, digest) in work.baked_images() {
        let shown = work.paths.shown(&path);
        cx.observer.note(&format!("verifying {}", shown.display()));
        match blocking::run(move || Verified::read(&path, digest)).await {
            Ok(found) => bytes += found.length(),
            Err(release::Error::Mismatch { found, .. }) => {
                return Err(Error::OtherImages { path: shown, digest, found }.into());
            }
            Err(other) => return Err(other.into()),
        }
    }
    Ok(Finish::Done(format!("{}, SHA-256 verified", words::bytes(bytes))))
}
