//! OpenStack ("Metadata service" in Nova's user documentation): its EC2-compatible paths, which need no token.

use super::Dmi;
use super::service::Question;

/// As cloud-init's `tools/ds-identify` knows them: some who run it have put their own name there.
pub(super) fn is_here(dmi: &Dmi) -> bool {
    const NOVA: [&str; 2] = ["OpenStack Nova", "OpenStack Compute"];
    const OTHERS: [&str; 3] = ["OpenTelekomCloud", "SAP CCloud VM", "HUAWEICLOUD"];
    let tag = dmi.asset_tag.as_str();
    NOVA.contains(&dmi.product.as_str()) || NOVA.contains(&tag) || OTHERS.contains(&tag)
}

pub(super) fn address(public: bool) -> Question {
    Question::plain(if public { "/latest/meta-data/public-ipv4" } else { "/latest/meta-data/local-ipv4" }, None)
}
