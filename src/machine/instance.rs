//! Which instance this machine is, so that a copy of a disk is told from the machine it was copied from.
//!
//! A cloud gives each instance an identifier of its own, which cloud-init or the metadata tell; firmware has
//! a UUID; and a system that was installed has its machine-id. They come in this order, because a copied
//! disk brings its machine-id along. Different kinds cannot be compared with each other: what was recorded
//! as one kind is compared with what the same kind is now, and a kind that says nothing any more proves
//! nothing.

use super::facts::read_small;
use crate::durable;
use crate::paths::Paths;
use serde_json::Value;
use std::fmt;

/// instance-data.json is not read beyond this: it holds all of a cloud's metadata.
const LIMIT: u64 = 8 << 20;
/// No identifier is longer.
const LONGEST: usize = 200;

/// What cloud-init says where no cloud has told it anything (its datasources None and NoCloud).
const NOBODY: [&str; 2] = ["iid-datasource-none", "nocloud"];

/// Where an identifier comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// cloud-init, from the cloud's metadata.
    CloudInit,
    /// The cloud's metadata, read by ourselves.
    Metadata,
    /// The firmware: SMBIOS's system UUID.
    Firmware,
    /// machine-id(5).
    MachineId,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::CloudInit, Kind::Metadata, Kind::Firmware, Kind::MachineId];

    /// Its name in a record.
    fn as_str(self) -> &'static str {
        match self {
            Kind::CloudInit => "cloud-init",
            Kind::Metadata => "metadata",
            Kind::Firmware => "firmware",
            Kind::MachineId => "machine-id",
        }
    }

    /// What cloud-init tells is what the metadata says.
    fn is_comparable_with(self, other: Kind) -> bool {
        let metadata = |kind| matches!(kind, Kind::CloudInit | Kind::Metadata);
        self == other || (metadata(self) && metadata(other))
    }
}

/// One identifier. As text, and so in records: `cloud-init:i-0abc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Where it comes from.
    pub kind: Kind,
    /// The identifier: not empty, without blanks and control characters.
    pub id: String,
}

impl Instance {
    fn new(kind: Kind, id: &str) -> Option<Instance> {
        let id = id.trim();
        let sound = !id.is_empty() && id.len() <= LONGEST && id.chars().all(|c| c.is_ascii_graphic());
        sound.then(|| Instance { kind, id: id.to_owned() })
    }

    /// From a record; `None` for what is none.
    pub fn parse(text: &str) -> Option<Instance> {
        let (kind, id) = text.split_once(':')?;
        Instance::new(Kind::ALL.into_iter().find(|one| one.as_str() == kind)?, id)
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.id)
    }
}

/// What a record has to do with this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// It is this machine's.
    Same,
    /// It is another one's: this machine is the one named here.
    Other(Instance),
    /// It cannot be told.
    Unknown,
}

/// Everything that identifies this machine, best first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity(Vec<Instance>);

impl Identity {
    /// Gathers it. `told`: the identifier that came with user-data, where we have read that ourselves.
    pub fn find(paths: &Paths, told: Option<&str>) -> Identity {
        let firmware = read_small(&paths.product_uuid()).ok();
        let machine = read_small(&paths.machine_id()).ok();
        let found = [
            cloud_init(paths),
            told.and_then(|told| from_cloud(Kind::Metadata, told)),
            firmware.and_then(|text| uuid(Kind::Firmware, &text)),
            machine.and_then(|text| uuid(Kind::MachineId, &text)),
        ];
        Identity(found.into_iter().flatten().collect())
    }

    /// The best there is, for the record.
    pub fn best(&self) -> Option<&Instance> {
        self.0.first()
    }

    /// What a recorded instance has to do with this machine.
    pub fn relation(&self, recorded: Option<&str>) -> Relation {
        let Some(recorded) = recorded.and_then(Instance::parse) else { return Relation::Unknown };
        match self.0.iter().find(|instance| instance.kind.is_comparable_with(recorded.kind)) {
            None => Relation::Unknown,
            Some(instance) if instance.id.eq_ignore_ascii_case(&recorded.id) => Relation::Same,
            Some(instance) => Relation::Other(instance.clone()),
        }
    }
}

/// cloud-init's documentation, "Instance metadata": `v1.instance_id`.
fn cloud_init(paths: &Paths) -> Option<Instance> {
    let bytes = durable::read(&paths.cloud_init().join("instance-data.json"), LIMIT).ok()?;
    parse_instance_data(&bytes)
}

/// The instance that cloud-init's instance-data.json names; `None` if it names none.
pub fn parse_instance_data(bytes: &[u8]) -> Option<Instance> {
    let data: Value = serde_json::from_slice(bytes).ok()?;
    from_cloud(Kind::CloudInit, data["v1"]["instance_id"].as_str()?)
}

fn from_cloud(kind: Kind, id: &str) -> Option<Instance> {
    Instance::new(kind, id).filter(|instance| !NOBODY.contains(&instance.id.as_str()))
}

/// 32 hexadecimal digits, perhaps with hyphens. Digits that are all alike, and the one that mainboards are
/// sold with, identify nothing.
fn uuid(kind: Kind, text: &str) -> Option<Instance> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect::<String>().to_ascii_lowercase();
    let sound = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let alike = digits.bytes().all(|byte| digits.as_bytes().first() == Some(&byte));
    (sound && !alike && digits != "03000200040005000006000700080009").then(|| Instance::new(kind, text))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    const UUID: &str = "EC2A1B2C-0000-4111-8222-333344445555";

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Machine {
            Machine(tempfile::tempdir().unwrap())
        }

        fn paths(&self) -> Paths {
            Paths::below(self.0.path())
        }

        fn write(&self, path: std::path::PathBuf, text: &str) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn cloud(&self, id: &str) {
            let path = self.paths().cloud_init().join("instance-data.json");
            self.write(path, &format!(r#"{{"v1": {{"instance_id": "{id}", "cloud_name": "aws"}}}}"#));
        }

        fn identity(&self, told: Option<&str>) -> Identity {
            Identity::find(&self.paths(), told)
        }

        fn best(&self, told: Option<&str>) -> String {
            self.identity(told).best().map(Instance::to_string).unwrap_or_default()
        }
    }

    #[test]
    fn the_best_that_is_there_identifies_a_machine() {
        let machine = Machine::new();
        assert_eq!(machine.best(None), "");
        machine.write(machine.paths().machine_id(), "0123456789abcdef0123456789abcdef\n");
        assert_eq!(machine.best(None), "machine-id:0123456789abcdef0123456789abcdef");
        machine.write(machine.paths().product_uuid(), &format!("{UUID}\n"));
        assert_eq!(machine.best(None), format!("firmware:{UUID}"));
        assert_eq!(machine.best(Some("i-0told")), "metadata:i-0told");
        machine.cloud("i-0abc");
        assert_eq!(machine.best(Some("i-0told")), "cloud-init:i-0abc");
    }

    #[test]
    fn what_every_machine_could_say_identifies_none() {
        let machine = Machine::new();
        for nothing in ["iid-datasource-none", "nocloud", "", " ", "two words"] {
            machine.cloud(nothing);
            assert_eq!(machine.best(None), "", "{nothing}");
        }
        for nothing in ["00000000-0000-0000-0000-000000000000", "03000200-0400-0500-0006-000700080009", "None"] {
            machine.write(machine.paths().product_uuid(), nothing);
            assert_eq!(machine.best(None), "", "{nothing}");
        }
        machine.write(machine.paths().machine_id(), "uninitialized\n");
        assert_eq!(machine.best(None), "");
    }

    #[test]
    fn a_record_is_compared_with_its_own_kind_and_silence_proves_nothing() {
        let machine = Machine::new();
        machine.write(machine.paths().product_uuid(), UUID);
        machine.cloud("i-0abc");
        let identity = machine.identity(None);
        assert_eq!(identity.relation(Some("cloud-init:i-0abc")), Relation::Same);
        assert_eq!(identity.relation(Some("metadata:i-0abc")), Relation::Same);
        assert_eq!(identity.relation(Some(&format!("firmware:{}", UUID.to_lowercase()))), Relation::Same);
        let Relation::Other(now) = identity.relation(Some("cloud-init:i-0old")) else { panic!() };
        assert_eq!(now.to_string(), "cloud-init:i-0abc");
        for unknown in [None, Some("machine-id:0123456789abcdef0123456789abcdef"), Some("i-0abc"), Some(""), Some(":")]
        {
            assert_eq!(identity.relation(unknown), Relation::Unknown, "{unknown:?}");
        }
        assert_eq!(Identity::default().relation(Some("cloud-init:i-0old")), Relation::Unknown);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), id in "\\PC{0,20}") {
            parse_instance_data(&bytes);
            let json = serde_json::json!({ "v1": { "instance_id": id } });
            if let Some(instance) = parse_instance_data(json.to_string().as_bytes()) {
                prop_assert_eq!(Instance::parse(&instance.to_string()), Some(instance));
            }
        }
    }
}
