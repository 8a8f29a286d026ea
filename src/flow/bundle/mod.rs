//! What a support ticket needs of this node, in one file: gathered, bounded, masked, packed.
//!
//! ```text
//! table ─> gather (a deadline and a bound each) ─> mask ─> archive ─> output
//!            │ what cannot be had                      known secrets, and whatever looks like one
//!            └──────────────> manifest.json
//! ```
//!
//! Nothing on the machine is changed, nobody beyond it is asked, and no source can fail the bundle or hold it up:
//! what is not in it is said in its manifest.

mod archive;
mod docker;
mod error;
mod facts;
mod gather;
mod manifest;
mod output;
mod secrets;
mod table;

pub use super::read::ROOT_ONLY;
pub use error::Error;
pub use manifest::{Entry, Summary};
pub use output::Output;
pub use table::{ITEMS, Item, documentation};

use crate::config::Loaded;
use crate::observe::Observer;
use crate::paths::Paths;
use archive::Archive;
use gather::Gatherer;
use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

/// No bundle holds more than this, before it is compressed, in bytes.
pub const TOTAL_LIMIT: u64 = 24 << 20;
/// All of them together are not waited for any longer.
const BUDGET: Duration = Duration::from_secs(120);

/// What the caller knows, and this room may not ask itself.
#[derive(Debug, Clone)]
pub struct Given {
    /// The item it is for: a name of the table.
    pub name: &'static str,
    /// Its text, or why there is none.
    pub text: Result<String, String>,
}

/// What a bundle is made of.
pub struct Ask<'a> {
    /// Where everything lies.
    pub paths: &'a Paths,
    /// The configuration, or why it cannot be read.
    pub configuration: Result<&'a Loaded, String>,
    /// The environment: proxies are named in it, and its secrets are masked.
    pub environment: Vec<(OsString, OsString)>,
    /// Items that come from above.
    pub given: Vec<Given>,
    /// Who is told what is being gathered.
    pub observer: &'a dyn Observer,
}

/// Writes the bundle: a gzip-compressed tar archive with one directory of this name in it.
///
/// # Errors
/// [`Error::Write`] if it cannot be written. What cannot be gathered is no error: it is in the summary.
pub async fn write(ask: &Ask<'_>, directory: &str, out: &mut dyn Write) -> Result<Summary, Error> {
    let now = crate::words::now();
    let mut archive = Archive::new(out, directory, &now);
    let mut gatherer = Gatherer::prepare(ask).await;
    let mut summary = Summary::new(&now);
    for item in ITEMS {
        gatherer.gather(item, &mut archive, &mut summary).await?;
    }
    let manifest = gatherer.mask(&summary.manifest());
    archive.add("manifest.json", manifest.as_bytes())?;
    archive.finish()?;
    Ok(summary)
}
