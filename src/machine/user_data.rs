//! User-data that was meant for this program: from EC2's metadata service, or from a disk that a
//! hypervisor attached. What was found is kept for this boot where [`crate::config`] reads it.

pub mod decode;
mod disk;
#[cfg(test)]
mod tests;

use super::cloud::service::Service;
use super::cloud::{self, Error, ec2};
use crate::blocking;
use crate::deadline::Deadline;
use crate::durable;
use crate::intent::{Cloud, MetadataOptions, UserDataFrom};
use crate::observe::Observer;
use crate::paths::Paths;
use crate::secret::Secret;
use decode::Decoded;

/// User-data for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserData {
    /// The configuration, as TOML. There may be tokens in it.
    pub text: Secret,
    /// Where it is from: `EC2 instance metadata`, `NoCloud disk`, `config drive`.
    pub source: &'static str,
    /// The instance it was given to, where the source says so.
    pub instance_id: Option<String>,
}

/// What one source has.
struct Found {
    user_data: Option<Vec<u8>>,
    instance_id: Option<String>,
}

/// Looks for user-data that is meant for us; `None` where there is none, or only some for others. What is
/// passed over is told to the observer.
///
/// With `auto` the firmware decides who is asked: EC2's metadata service on EC2, a labelled disk where one
/// is there, nobody else.
///
/// # Errors
/// A source is there and cannot be read, or what it has for us is broken. [`Error::may_pass`] tells what a
/// later try may mend.
pub async fn find(
    paths: &Paths,
    options: &MetadataOptions,
    deadline: Deadline,
    observer: &dyn Observer,
) -> Result<Option<UserData>, Error> {
    use UserDataFrom::{Auto, ConfigDrive, Ec2, NoCloud, Off};
    let from = options.user_data;
    if from == Off {
        return Ok(None);
    }
    if from == Ec2 || (from == Auto && cloud::recognise(paths) == Some(Cloud::Ec2)) {
        let service = Service::new(Cloud::Ec2, &options.endpoint, deadline, observer)?;
        let ec2::Given { instance_id, user_data } = ec2::Session::new(&service).given().await?;
        let found = Found { user_data, instance_id };
        if let Some(ours) = ours("EC2 instance metadata", found, observer)? {
            return Ok(Some(ours));
        }
    }
    for kind in [disk::NO_CLOUD, disk::CONFIG_DRIVE] {
        let wanted = match from {
            Auto => true,
            NoCloud => kind == disk::NO_CLOUD,
            ConfigDrive => kind == disk::CONFIG_DRIVE,
            Ec2 | Off => false,
        };
        let Some(device) = wanted.then(|| kind.device(paths)).flatten() else { continue };
        let (link, paths, name) = (paths.shown(&device), paths.clone(), kind.name);
        // A thread of its own, because it leaves the file system that all others see. A disk that hangs keeps it, and
        // nobody else.
        let read = blocking::begin("user-data".into(), move || kind.read(&paths, &device))
            .map_err(|_| disk::unread(name, &link, "there is no thread to read it"))?;
        let found = match tokio::time::timeout_at(deadline.instant().into(), read).await {
            Ok(Ok(found)) => found?,
            Ok(Err(_)) => return Err(disk::unread(name, &link, "reading it broke off")),
            Err(_) => return Err(disk::unread(name, &link, "it does not answer")),
        };
        if let Some(ours) = ours(name, found, observer)? {
            return Ok(Some(ours));
        }
    }
    Ok(None)
}

fn ours(source: &'static str, found: Found, observer: &dyn Observer) -> Result<Option<UserData>, Error> {
    let Some(bytes) = found.user_data else {
        observer.note(&format!("there is no user-data ({source})"));
        return Ok(None);
    };
    match decode::decode(&bytes).map_err(|problem| Error::Broken { source_name: source, problem })? {
        Decoded::Ours(text) => Ok(Some(UserData { text, source, instance_id: found.instance_id })),
        Decoded::Others(what) => {
            observer.note(&format!("user-data ({source}) is not for kasm-bootstrap: it is {what}"));
            Ok(None)
        }
    }
}

impl UserData {
    /// Writes it where the configuration is read from, mode 0600, with its source in a comment before it.
    pub fn keep(&self, paths: &Paths) -> Result<(), Error> {
        let path = paths.user_data();
        let text = Secret::new(format!("# user-data ({})\n{}", self.source, self.text.expose()));
        let written = path.parent().map_or(Ok(()), |parent| durable::directory(parent, 0o700));
        let written = written.and_then(|()| durable::write(&path, text.expose().as_bytes(), 0o600));
        written.map_err(|source| Error::Keep { path, source })
    }
}

/// Removes what was kept: there is no user-data for us any more.
pub fn forget(paths: &Paths) -> Result<(), Error> {
    let path = paths.user_data();
    durable::remove(&path).map(drop).map_err(|source| Error::Keep { path, source })
}
