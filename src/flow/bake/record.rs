//! What is in the image, on record: for whoever builds images, and for the next run of `bake`.

use super::{Bake, Error, Kind};
use crate::apt::packages::Package;
use crate::error::Failure;
use crate::paths::Paths;
use crate::record;
use crate::step::{Context, Finish};
use crate::words;
use serde::{Deserialize, Serialize};

/// `baked.json`. Holds no secret; 0600 all the same, like all state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The form of this file.
    pub schema: u32,
    /// When something was changed last, RFC 3339.
    pub at: String,
    /// The version of this program that did it.
    pub by: String,
    /// The distribution, in words.
    pub os: Option<String>,
    /// Releases, verified, in the cache; the first is what machines install unless they are told otherwise.
    #[serde(default)]
    pub releases: Vec<Baked>,
    /// Files with container images, verified, in the cache.
    #[serde(default)]
    pub images: Vec<BakedImages>,
    /// Packages that Kasm's installer would have to install, and their versions.
    #[serde(default)]
    pub packages: Vec<Package>,
    /// What is not on this machine any more.
    #[serde(default)]
    pub cleaned: Vec<String>,
}

/// A release in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baked {
    /// Kasm's version, where it is known.
    pub version: Option<String>,
    /// Its SHA-256.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// Where it is.
    pub path: String,
    /// Where it came from, as far as that is no secret.
    pub urls: Vec<String>,
}

/// A file with container images in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BakedImages {
    /// The name it had.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// Its SHA-256.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// Where it is.
    pub path: String,
}

impl Default for Record {
    fn default() -> Record {
        Record {
            schema: <Record as record::Record>::SCHEMA,
            at: String::new(),
            by: String::new(),
            os: None,
            releases: Vec::new(),
            images: Vec::new(),
            packages: Vec::new(),
            cleaned: Vec::new(),
        }
    }
}

impl record::Record for Record {
    const SCHEMA: u32 = 1;
    const LIMIT: u64 = 1 << 20;
}

impl Record {
    /// The record, or `None` where nothing was baked yet.
    ///
    /// # Errors
    /// [`Error::File`], also for one that another version of this program wrote in another form.
    pub fn read(paths: &Paths) -> Result<Option<Record>, Error> {
        record::read(&paths.baked()).map_err(|source| Error::File { path: paths.baked(), source })
    }
}

/// Writes the record, unless it says so already.
pub async fn write(work: &Bake, _cx: Context<'_>) -> Result<Finish, Failure> {
    let mut record = work.record.borrow_mut();
    record.os = crate::machine::facts::Facts::gather(&work.paths).os.map(|os| os.name());
    if work.earlier.as_ref() == Some(&record) && !work.changed.get() {
        return Ok(Finish::Complete("everything was there already".into()));
    }
    record.at = words::now();
    record.by = env!("CARGO_PKG_VERSION").into();
    let path = work.paths.baked();
    record::write(&path, &*record).map_err(|source| Error::File { path: path.clone(), source })?;
    let of =
        |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
    let parts = [
        of(record.releases.len(), "release"),
        of(record.images.len(), "file").map(|files| format!("{files} of container images")),
        of(record.packages.len(), "package"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let what = if parts.is_empty() { "nothing of Kasm's".to_owned() } else { parts.join(", ") };
    Ok(Finish::Done(format!("in the image: {what}; see {}", work.shown(&path))))
}
