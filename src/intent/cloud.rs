//! The clouds an operator can name: where a node's own address is asked for, and its user-data.

use std::fmt;

/// A cloud that tells its machines by their firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon EC2.
    Ec2,
    /// Google Compute Engine.
    Gcp,
    /// Microsoft Azure.
    Azure,
    /// Oracle Cloud Infrastructure.
    Oci,
    /// DigitalOcean.
    DigitalOcean,
    /// OpenStack, whoever runs it.
    OpenStack,
    /// KubeVirt, which is what Harvester runs its machines with. It has no metadata service.
    KubeVirt,
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cloud::Ec2 => "Amazon EC2",
            Cloud::Gcp => "Google Compute Engine",
            Cloud::Azure => "Microsoft Azure",
            Cloud::Oci => "Oracle Cloud",
            Cloud::DigitalOcean => "DigitalOcean",
            Cloud::OpenStack => "OpenStack",
            Cloud::KubeVirt => "KubeVirt",
        })
    }
}

/// Which of a machine's addresses its cloud is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloudAddress {
    /// Who is asked.
    pub cloud: Cloud,
    /// The address that the internet knows this machine by, and not the one in the cloud's own network.
    pub public: bool,
}

impl CloudAddress {
    /// Every method, by the word for it in the configuration.
    pub const ALL: [(&'static str, CloudAddress); 11] = [
        ("ec2-private", CloudAddress { cloud: Cloud::Ec2, public: false }),
        ("ec2-public", CloudAddress { cloud: Cloud::Ec2, public: true }),
        ("gcp-private", CloudAddress { cloud: Cloud::Gcp, public: false }),
        ("gcp-public", CloudAddress { cloud: Cloud::Gcp, public: true }),
        ("azure-private", CloudAddress { cloud: Cloud::Azure, public: false }),
        ("azure-public", CloudAddress { cloud: Cloud::Azure, public: true }),
        // Its metadata does not have the public one.
        ("oci-private", CloudAddress { cloud: Cloud::Oci, public: false }),
        ("digitalocean-private", CloudAddress { cloud: Cloud::DigitalOcean, public: false }),
        ("digitalocean-public", CloudAddress { cloud: Cloud::DigitalOcean, public: true }),
        ("openstack-private", CloudAddress { cloud: Cloud::OpenStack, public: false }),
        ("openstack-public", CloudAddress { cloud: Cloud::OpenStack, public: true }),
    ];

    /// The method of this word.
    pub fn parse(text: &str) -> Option<CloudAddress> {
        CloudAddress::ALL.into_iter().find(|(word, _)| *word == text).map(|(_, method)| method)
    }

    /// `public` or `private`.
    pub fn kind(self) -> &'static str {
        if self.public { "public" } else { "private" }
    }
}

impl fmt::Display for CloudAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = CloudAddress::ALL.into_iter().find(|(_, method)| method == self);
        f.write_str(found.map(|(word, _)| word).unwrap_or_default())
    }
}

/// Where a configuration of ours is looked for beside the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserDataFrom {
    /// Where the firmware says that one may be.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// EC2's instance metadata service.
    Ec2,
    /// A disk labelled `cidata`.
    NoCloud,
    /// A disk labelled `config-2`.
    ConfigDrive,
}

impl UserDataFrom {
    /// Every choice, by its word.
    pub const ALL: [(&'static str, UserDataFrom); 5] = [
        ("auto", UserDataFrom::Auto),
        ("off", UserDataFrom::Off),
        ("ec2", UserDataFrom::Ec2),
        ("nocloud", UserDataFrom::NoCloud),
        ("config-drive", UserDataFrom::ConfigDrive),
    ];
}

/// What is asked of the machine's surroundings, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataOptions {
    /// Where user-data is looked for.
    pub user_data: UserDataFrom,
    /// Where the cloud's metadata service answers: `http://ADDRESS` or `http://ADDRESS:PORT`.
    pub endpoint: String,
}

impl MetadataOptions {
    /// The link-local address that all clouds with such a service have it at.
    pub const ENDPOINT: &'static str = "http://169.254.169.254";
}

impl Default for MetadataOptions {
    fn default() -> MetadataOptions {
        MetadataOptions { user_data: UserDataFrom::Auto, endpoint: MetadataOptions::ENDPOINT.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_word_that_is_read_back() {
        for (word, method) in CloudAddress::ALL {
            assert_eq!((CloudAddress::parse(word), method.to_string().as_str()), (Some(method), word));
        }
        assert_eq!(CloudAddress::parse("ec2"), None);
    }
}
