//! What the cloud or the hypervisor handed this machine, beside what cloud-init made of it.

use super::configuration::Place;
use crate::deadline::Deadline;
use crate::error::{Exit, Failure};
use crate::machine::cloud::Error;
use crate::machine::user_data::{self, UserData};
use crate::observe::Supervisor;
use std::time::Duration;

/// How long user-data is looked for while nothing else says what to do: at its first boot, EC2 may have
/// none yet.
const NEEDED: Duration = Duration::from_secs(60);
/// How long while the machine could do without.
const BESIDE: Duration = Duration::from_secs(5);

/// Puts user-data that is meant for us where the configuration is read from. Returns the instance's
/// identifier where it came with it. Finding none is no error.
///
/// # Errors
/// It cannot be read, and without it nobody knows what to do; or it is meant for us and broken, like any
/// other configuration that is wrong.
pub(super) async fn take(place: &Place<'_>, supervisor: &dyn Supervisor) -> Result<Option<String>, Failure> {
    let paths = place.paths;
    if place.file.is_some() {
        // A file that is named takes the place of user-data too.
        return Ok(None);
    }
    // A configuration that is wrong is for its own reader to refuse, when everybody has written his part.
    let options = (place.load)().ok().and_then(|loaded| loaded.merged.metadata().ok()).unwrap_or_default();
    let needed = !place.is_whole();
    let deadline = Deadline::after(if needed { NEEDED } else { BESIDE });
    let taken = match user_data::find(paths, &options, deadline, supervisor).await {
        Ok(Some(found)) => keep(place, found, supervisor),
        Ok(None) => user_data::forget(paths).map(|()| None),
        Err(error) => Err(error),
    };
    match taken {
        Ok(instance) => Ok(instance),
        Err(error) if needed && error.may_pass() => {
            // The machine is in order, and somebody else is not yet: that is worth another start.
            Err(Failure { code: Exit::Unexpected.code(), ..error.into() })
        }
        Err(error) if needed || matches!(error, Error::Broken { .. }) => Err(error.into()),
        Err(error) => {
            supervisor.warn(&format!("{error}: going on without user-data"));
            Ok(None)
        }
    }
}

fn keep(place: &Place<'_>, found: UserData, supervisor: &dyn Supervisor) -> Result<Option<String>, Error> {
    found.keep(place.paths)?;
    supervisor.note(&format!("took the configuration from user-data ({})", found.source));
    Ok(found.instance_id)
}
