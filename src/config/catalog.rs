//! What is known of Kasm's published releases: their names in the official bucket and, where Kasm
//! publishes one, their digest (docs/kasm-facts.md, 1).

/// Where Kasm keeps its releases.
const BUCKET: &str = "https://kasm-static-content.s3.amazonaws.com/";

/// Version, and the build in the tarball's name where it has one.
const KNOWN: [(&str, Option<&str>); 10] = [
    ("1.13.0", Some("002947")),
    ("1.13.1", Some("421524")),
    ("1.14.0", Some("3a7abb")),
    ("1.15.0", Some("06fdc8")),
    ("1.16.0", Some("a1d5b7")),
    ("1.16.1", Some("98d6fa")),
    ("1.17.0", Some("7f020d")),
    ("1.18.0", Some("09f70a")),
    ("1.18.1", None),
    ("1.19.0", None),
];

/// Version, and the SHA-256 that Kasm publishes.
const DIGESTS: [(&str, &str); 1] = [("1.19.0", "7b801cb0579a7867df46b6da873fe8dd631db07d4c05349e5bd1aea27130c37d")];

/// A companion of a release, by its name in Kasm's bucket, and the SHA-256 that Kasm publishes.
const COMPANIONS: [(&str, &str); 1] = [(
    "kasm_release_service_images_amd64_1.19.0.tar.gz",
    "c8697a7d6db6d6c2cd685cf431977e79bb4adfa35d91d6fab455e70f4441e46d",
)];

/// A release's place in Kasm's bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Official {
    /// The URL.
    pub url: String,
    /// True if the tarball was seen under this name; false if the name is only what Kasm's newer releases
    /// are called.
    pub seen: bool,
}

/// The official URL of a version (`1.18.1`), or of one build of it (`1.17.0.bbc15c`).
pub fn official(version: &str) -> Official {
    let known = KNOWN.iter().find(|(known, _)| *known == version);
    let name = match known {
        Some((version, Some(build))) => format!("{version}.{build}"),
        _ => version.to_owned(),
    };
    let seen = known.is_some()
        || KNOWN.iter().any(|(known, build)| build.is_some_and(|build| version == format!("{known}.{build}")));
    Official { url: format!("{BUCKET}kasm_release_{name}.tar.gz"), seen }
}

/// The digest Kasm publishes for a version.
pub fn published_digest(version: &str) -> Option<&'static str> {
    DIGESTS.iter().find(|(known, _)| *known == version).map(|(_, digest)| *digest)
}

/// The digest Kasm publishes for a file with images, by the name at the end of its URL or path.
pub fn published_images_digest(url: &str) -> Option<&'static str> {
    let name = url.split(['?', '#']).next()?.rsplit('/').next()?;
    COMPANIONS.iter().find(|(known, _)| *known == name).map(|(_, digest)| *digest)
}

/// The version, with its build if there is one, that a tarball's name or URL tells:
/// `…/kasm_release_1.17.0.7f020d.tar.gz`.
pub fn version_in_name(name: &str) -> Option<&str> {
    let name = name.split(['?', '#']).next()?.rsplit('/').next()?;
    let version = name.strip_prefix("kasm_release_")?.strip_suffix(".tar.gz")?;
    split_version(version).map(|_| version)
}

/// Three numbers, and the build behind them: `1.17.0.7f020d` is `1.17.0` and `7f020d`.
pub fn split_version(version: &str) -> Option<(&str, Option<&str>)> {
    let number = |part: &str| (1..=5).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = version.splitn(4, '.').collect();
    let (numbers, build) = parts.split_at_checked(3)?;
    if !numbers.iter().all(|part| number(part)) {
        return None;
    }
    match build.first() {
        None => Some((version, None)),
        Some(build) if (1..=16).contains(&build.len()) && build.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Some((&version[..version.len() - build.len() - 1], Some(build)))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_versions_have_their_build_and_others_the_new_name() {
        assert!(official("1.16.1").url.ends_with("/kasm_release_1.16.1.98d6fa.tar.gz"));
        assert!(official("1.17.0.bbc15c").url.ends_with("/kasm_release_1.17.0.bbc15c.tar.gz"));
        assert_eq!(official("1.19.0").url, format!("{BUCKET}kasm_release_1.19.0.tar.gz"));
        assert!(official("1.19.0").seen && !official("2.0.0").seen);
        assert_eq!(published_digest("1.19.0").map(str::len), Some(64));
        assert_eq!(published_digest("1.18.1"), None);
        let images = format!("{BUCKET}kasm_release_service_images_amd64_1.19.0.tar.gz");
        assert_eq!(published_images_digest(&images).map(str::len), Some(64));
        assert_eq!(published_images_digest(&images.replace("amd64", "arm64")), None);
    }

    #[test]
    fn a_version_is_three_numbers_and_perhaps_a_build() {
        assert_eq!(split_version("1.18.1"), Some(("1.18.1", None)));
        assert_eq!(split_version("1.17.0.7f020d"), Some(("1.17.0", Some("7f020d"))));
        for wrong in ["", "1.18", "1.18.x", "v1.18.1", "1.18.1.", "1.18.1.a.b", "latest", "1..2", "1.18.1/.."] {
            assert_eq!(split_version(wrong), None, "{wrong}");
        }
        assert_eq!(version_in_name("https://m/x/kasm_release_1.18.1.tar.gz?x=1"), Some("1.18.1"));
        assert_eq!(version_in_name("kasm_release_service_images_amd64_1.19.0.tar.gz"), None);
    }
}
