//! Files with container images: Kasm's companions for machines without a registry in reach
//! (docs/kasm-facts.md, 1), as an operator names them.

use crate::config::{catalog, value};
use crate::intent::Source;
use crate::release::Digest;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a file with images is for: which of the installer's flags takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Kasm's own services, `--offline-service`.
    Service,
    /// Workspaces, `--offline-workspaces`.
    Workspaces,
    /// Network plugins, `--offline-plugin`.
    Plugin,
}

impl Kind {
    /// By the file's name; Kasm's services where it says nothing else.
    fn of(name: &str) -> Kind {
        match name {
            _ if name.contains("workspace_images") => Kind::Workspaces,
            _ if name.contains("plugin_images") => Kind::Plugin,
            _ => Kind::Service,
        }
    }

    /// The setting that hands it to the installer, in the table `installer`.
    pub fn setting(self) -> &'static str {
        match self {
            Kind::Service => "offline_service",
            Kind::Workspaces => "offline_workspaces",
            Kind::Plugin => "offline_plugin",
        }
    }
}

/// A file with images that is to be in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name, without what stood before and behind it in the URL.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// Where it comes from.
    pub source: Source,
    /// Its SHA-256.
    pub digest: Digest,
}

impl Image {
    /// `URL#sha256=HEX` or `FILE#sha256=HEX`; the digest may be left out where Kasm publishes it.
    ///
    /// # Errors
    /// One sentence in words.
    pub fn parse(text: &str) -> Result<Image, String> {
        let (place, digest) = match text.rsplit_once("#sha256=") {
            Some((place, digest)) => (place, Some(digest)),
            None => (text, None),
        };
        let Some(digest) = digest.or_else(|| catalog::published_images_digest(place)) else {
            return Err("Kasm publishes no digest for it: add #sha256=HEX, 64 hexadecimal digits".into());
        };
        let digest: Digest = digest.parse().map_err(|_| "what follows #sha256= must be 64 hexadecimal digits")?;
        let source = if place.contains("://") {
            Source::Url(value::url(place).map_err(|wrong| format!("it {}; {}", wrong.problem, wrong.help))?)
        } else {
            Source::File(std::path::absolute(Path::new(place)).unwrap_or_else(|_| PathBuf::from(place)))
        };
        let path = place.split(['?', '#']).next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Image { kind: Kind::of(&name), name, source, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "c8697a7d6db6d6c2cd685cf431977e79bb4adfa35d91d6fab455e70f4441e46d";

    #[test]
    fn a_file_with_images_is_known_by_its_digest_and_what_it_is_for_by_its_name() {
        let official = Image::parse("https://k.example/kasm_release_service_images_amd64_1.19.0.tar.gz").unwrap();
        assert_eq!((official.digest.to_string().as_str(), official.kind), (HEX, Kind::Service));
        let of = |name: &str| Image::parse(&format!("/images/{name}#sha256={HEX}")).unwrap();
        assert_eq!(of("kasm_release_workspace_images_arm64_1.18.1.tar.gz").kind, Kind::Workspaces);
        assert_eq!(of("kasm_release_plugin_images_amd64_1.18.1.tar.gz").kind, Kind::Plugin);
        assert_eq!(of("ours.tar.gz").kind, Kind::Service);
        assert_eq!(of("ours.tar.gz").source, Source::File("/images/ours.tar.gz".into()));
        for wrong in
            ["", "https://k.example/a.tar.gz", "/a#sha256=", "/a#sha256=12", &format!("ftp://k/a#sha256={HEX}")]
        {
            assert!(Image::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,40}|(https://|[a-z/?#=.]|#sha256=|[0-9a-f]{64}){0,8}") {
            if let Ok(image) = Image::parse(&text) {
                prop_assert!(text.contains(&image.name));
            }
        }
    }
}
