//! Microsoft Azure ("Azure Instance Metadata Service for virtual machines").

use super::Dmi;
use super::service::Question;

/// The same on every machine there (cloud-init's `tools/ds-identify`).
pub(super) fn is_here(dmi: &Dmi) -> bool {
    dmi.asset_tag == "7783-7084-3265-9085-8269-3286-77"
}

/// The public one is empty where it belongs to a load balancer.
pub(super) fn address(public: bool) -> Question {
    const HEADER: Option<(&str, &str)> = Some(("Metadata", "true"));
    match public {
        true => Question::plain(
            "/metadata/instance/network/interface/0/ipv4/ipAddress/0/publicIpAddress?api-version=2021-02-01&format=text",
            HEADER,
        ),
        false => Question::plain(
            "/metadata/instance/network/interface/0/ipv4/ipAddress/0/privateIpAddress?api-version=2021-02-01&format=text",
            HEADER,
        ),
    }
}
