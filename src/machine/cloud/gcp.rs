//! Google Compute Engine ("Predefined metadata keys", "View and query VM metadata").

use super::Dmi;
use super::service::Question;

/// The product's name is not guaranteed, so the serial number counts too (cloud-init's `tools/ds-identify`).
pub(super) fn is_here(dmi: &Dmi) -> bool {
    dmi.product == "Google Compute Engine" || dmi.serial.starts_with("GoogleCloud-")
}

pub(super) fn address(public: bool) -> Question {
    const HEADER: Option<(&str, &str)> = Some(("Metadata-Flavor", "Google"));
    match public {
        true => {
            Question::plain("/computeMetadata/v1/instance/network-interfaces/0/access-configs/0/external-ip", HEADER)
        }
        false => Question::plain("/computeMetadata/v1/instance/network-interfaces/0/ip", HEADER),
    }
}
