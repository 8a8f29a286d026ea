//! What lies beside a tarball: the `.sha256sum`, for those who chose to trust it, and its like.

use super::Digest;
use super::attempt::{Asked, fault_of, fault_of_status};
use super::digest::in_sidecar;
use super::mirror::{Fault, Place};
use crate::durable;
use reqwest::{StatusCode, Url};
use std::path::{Path, PathBuf};

/// No sidecar is read further.
const MAX_SIDECAR: u64 = 64 * 1024;
/// What is added to the tarball's name.
const ENDING: &str = ".sha256sum";

/// The digest that the sidecar of this source promises.
pub(super) async fn digest(asked: &Asked<'_>, place: &Place) -> Result<Digest, Fault> {
    let bytes = beside(asked, place, ENDING, MAX_SIDECAR).await?;
    let name = match place {
        Place::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        Place::Url(url) => url.path().rsplit('/').next().unwrap_or_default().to_owned(),
    };
    in_sidecar(&bytes, &name).ok_or_else(|| Fault::last(format!("its {ENDING} holds no SHA-256 for {name}")))
}

/// A small file that lies beside a source: its name with this ending, at most so many bytes.
pub(super) async fn beside(asked: &Asked<'_>, place: &Place, ending: &str, at_most: u64) -> Result<Vec<u8>, Fault> {
    match place {
        Place::File(path) => beside_file(path, ending, at_most),
        Place::Url(url) => {
            let fetched = download(asked, url, ending, at_most).await;
            fetched.map_err(|fault| Fault { text: format!("its {ending}: {}", fault.text), ..fault })
        }
    }
}

/// The same for a file; blocking.
pub(super) fn beside_file(path: &Path, ending: &str, at_most: u64) -> Result<Vec<u8>, Fault> {
    let read = durable::read(&self::path(path, ending), at_most);
    read.map_err(|error| Fault::last(format!("{}{ending} cannot be read: {error}", path.display())))
}

/// The name of what lies beside a file.
pub(super) fn path(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

async fn download(asked: &Asked<'_>, url: &Url, ending: &str, at_most: u64) -> Result<Vec<u8>, Fault> {
    let mut url = url.clone();
    url.set_path(&format!("{}{ending}", url.path()));
    let work = async {
        let mut response = asked.client.get(url).send().await.map_err(|error| fault_of(&error))?;
        if response.status() != StatusCode::OK {
            return Err(fault_of_status(response.status(), response.headers()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| fault_of(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > at_most {
                return Err(Fault::last(format!("is longer than {at_most} bytes")));
            }
        }
        Ok(bytes)
    };
    // It is small: the idle timeout does for the whole.
    let until = asked.deadline.within(asked.idle).instant();
    tokio::time::timeout_at(until.into(), work)
        .await
        .unwrap_or_else(|_| Err(Fault::passing(format!("no answer within {} s", asked.idle.as_secs()))))
}
