//! DigitalOcean ("How to Access Information about a Droplet using the Metadata API").

use super::Dmi;
use super::service::Question;

pub(super) fn is_here(dmi: &Dmi) -> bool {
    dmi.vendor == "DigitalOcean"
}

pub(super) fn address(public: bool) -> Question {
    match public {
        true => Question::plain("/metadata/v1/interfaces/public/0/ipv4/address", None),
        false => Question::plain("/metadata/v1/interfaces/private/0/ipv4/address", None),
    }
}
