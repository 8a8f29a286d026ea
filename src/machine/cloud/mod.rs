//! Which cloud this machine is in, told by its firmware and never by asking services in turn, and what
//! that cloud's metadata service says of it: one file a cloud.

mod azure;
mod digitalocean;
pub(super) mod ec2;
mod error;
mod gcp;
mod oci;
mod openstack;
pub(super) mod service;
#[cfg(test)]
mod tests;

pub use error::Error;

use super::address::Found;
use super::facts::read_small;
use crate::deadline::Deadline;
use crate::intent::{Cloud, CloudAddress, MetadataOptions};
use crate::observe::Observer;
use crate::paths::Paths;
use service::{Question, Service};
use std::net::IpAddr;
use std::time::Duration;

/// A metadata service that does not answer for so long is not there.
const MOST_WAIT: Duration = Duration::from_secs(60);

/// What the firmware says, empty where it says nothing. As cloud-init's `tools/ds-identify` reads it.
struct Dmi {
    vendor: String,
    product: String,
    serial: String,
    uuid: String,
    asset_tag: String,
    xen_uuid: String,
}

impl Dmi {
    fn read(paths: &Paths) -> Dmi {
        let text = |path: &std::path::Path| read_small(path).unwrap_or_default().trim().to_owned();
        let field = |name| text(&paths.dmi_dir().join(name));
        Dmi {
            vendor: field("sys_vendor"),
            product: field("product_name"),
            // Only root may read this one and the next.
            serial: field("product_serial"),
            uuid: field("product_uuid"),
            asset_tag: field("chassis_asset_tag"),
            xen_uuid: text(&paths.xen_uuid()),
        }
    }
}

/// The cloud that the firmware names; `None` where it names none that is known here. Nothing is asked.
pub fn recognise(paths: &Paths) -> Option<Cloud> {
    let dmi = Dmi::read(paths);
    // First those that have a mark of their own: vendor and product may be the hypervisor's.
    let known = [
        (Cloud::Azure, azure::is_here(&dmi)),
        (Cloud::Oci, oci::is_here(&dmi)),
        (Cloud::Ec2, ec2::is_here(&dmi)),
        (Cloud::Gcp, gcp::is_here(&dmi)),
        (Cloud::DigitalOcean, digitalocean::is_here(&dmi)),
        (Cloud::OpenStack, openstack::is_here(&dmi)),
        (Cloud::KubeVirt, dmi.vendor == "KubeVirt"),
    ];
    known.into_iter().find(|(_, here)| *here).map(|(cloud, _)| cloud)
}

/// Asks the metadata service for this machine's address, again until it answers or the deadline is over,
/// for a minute at most.
///
/// # Errors
/// The firmware names another cloud: then nobody is asked. The service does not answer, or has no such
/// address.
pub async fn address(
    paths: &Paths,
    method: CloudAddress,
    options: &MetadataOptions,
    deadline: Deadline,
    observer: &dyn Observer,
) -> Result<Found, Error> {
    if let Some(here) = recognise(paths).filter(|here| *here != method.cloud) {
        return Err(Error::OtherCloud { method, here });
    }
    let question = match method.cloud {
        Cloud::Ec2 => ec2::address(method.public),
        Cloud::Gcp => gcp::address(method.public),
        Cloud::Azure => azure::address(method.public),
        Cloud::Oci => oci::address(),
        Cloud::DigitalOcean => digitalocean::address(method.public),
        Cloud::OpenStack => openstack::address(method.public),
        Cloud::KubeVirt => return Err(Error::NoAddress { method }),
    };
    let service = Service::new(method.cloud, &options.endpoint, deadline.within(MOST_WAIT), observer)?;
    let answer = match method.cloud {
        Cloud::Ec2 => ec2::Session::new(&service).get(question.path).await?,
        _ => service.get(&question).await?,
    };
    let text = String::from_utf8(answer.unwrap_or_default()).unwrap_or_else(|_| "?".into());
    let text = (question.pick)(text.trim()).filter(|text| !text.is_empty()).ok_or(Error::NoAddress { method })?;
    if text.parse::<IpAddr>().is_err() {
        return Err(service.odd(question.path, format!("`{}`, which is no address", shown(&text))));
    }
    let why = format!("the metadata of {} has it as the {} one", method.cloud, method.kind());
    Ok(Found { address: text, why, others: Vec::new(), warning: None })
}

/// The answer as it is, for services that answer with nothing but the address.
fn all(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn shown(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

impl Question {
    /// One whose answer is the address.
    const fn plain(path: &'static str, header: Option<(&'static str, &'static str)>) -> Question {
        Question { path, header, pick: all }
    }
}
