//! The `.sha256sum` beside a tarball, for those who chose to trust it.

use super::attempt::{Asked, fault_of, fault_of_status};
use super::digest::in_sidecar;
use super::mirror::{Fault, Place};
use super::{Digest, Error};
use reqwest::{StatusCode, Url};
use std::io::Read;
use std::path::Path;

/// No sidecar is read further.
const MAX_SIDECAR: usize = 64 * 1024;
/// What is added to the tarball's name.
const ENDING: &str = ".sha256sum";

/// The digest that the sidecar of this source promises.
pub(super) async fn digest(asked: &Asked<'_>, place: &Place) -> Result<Result<Digest, Fault>, Error> {
    let (bytes, name) = match place {
        Place::File(path) => match beside_file(path) {
            Ok(bytes) => (bytes, path.file_name().unwrap_or_default().to_string_lossy().into_owned()),
            Err(error) => return Ok(Err(Fault::last(format!("{}{ENDING} cannot be read: {error}", path.display())))),
        },
        Place::Url(url) => match download(asked, url).await {
            Ok(bytes) => (bytes, url.path().rsplit('/').next().unwrap_or_default().to_owned()),
            Err(fault) => return Ok(Err(Fault { text: format!("its {ENDING}: {}", fault.text), ..fault })),
        },
    };
    Ok(in_sidecar(&bytes, &name).ok_or_else(|| Fault::last(format!("its {ENDING} holds no SHA-256 for {name}"))))
}

fn beside_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut name = path.as_os_str().to_owned();
    name.push(ENDING);
    let mut bytes = Vec::new();
    std::fs::File::open(name)?.take(MAX_SIDECAR as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

async fn download(asked: &Asked<'_>, url: &Url) -> Result<Vec<u8>, Fault> {
    let mut url = url.clone();
    url.set_path(&format!("{}{ENDING}", url.path()));
    let work = async {
        let mut response = asked.client.get(url).send().await.map_err(|error| fault_of(&error))?;
        if response.status() != StatusCode::OK {
            return Err(fault_of_status(response.status(), response.headers()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| fault_of(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_SIDECAR {
                return Err(Fault::last("is longer than a checksum file can be"));
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
