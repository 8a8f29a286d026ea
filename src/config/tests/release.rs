//! The release: which version, from where, and how it is verified.

use super::*;

#[test]
fn another_version_drops_what_belonged_to_the_one_before() {
    let baked = layer(&format!("{AGENT}\n").replace(
        "version = \"1.19.0\"",
        &format!(
            "version = \"1.18.1\"\nurls = [\"https://mirror.example/kasm_release_1.18.1.tar.gz\"]\nsha256 = \"{HEX}\""
        ),
    ));
    let release = intent(&[&baked]).unwrap().release;
    assert_eq!((release.version.as_deref(), release.digest), (Some("1.18.1"), Digest::Pinned(HEX.into())));

    let newer = intent(&[&baked, &flag("release.version", "1.19.0")]).unwrap().release;
    assert_eq!(newer.sources, [Source::Url(catalog::official("1.19.0").url)]);
    assert_eq!(newer.digest, Digest::Pinned(catalog::published_digest("1.19.0").unwrap().into()));

    let same = intent(&[&baked, &flag("release.version", "1.18.1")]).unwrap().release;
    assert_eq!(same.digest, Digest::Pinned(HEX.into()));

    let mirror = later("[release]\nfile = \"/srv/x.tar.gz\"\nurls = \"http://other.example/y.tar.gz\"");
    let mirrored = intent(&[&baked, &mirror]).unwrap().release;
    assert_eq!(
        mirrored.sources,
        [Source::File("/srv/x.tar.gz".into()), Source::Url("http://other.example/y.tar.gz".into())]
    );
    assert_eq!((mirrored.version.as_deref(), mirrored.digest), (Some("1.18.1"), Digest::Pinned(HEX.into())));

    let whole = later("[release]\nurls = \"http://other.example/y.tar.gz\"\nsha256 = \"sidecar\"");
    let whole = intent(&[&baked, &whole]).unwrap().release;
    assert_eq!((whole.version, whole.digest), (None, Digest::Sidecar));
}

#[test]
fn a_minisign_key_takes_the_place_of_a_digest_and_stays_with_every_mirror() {
    let signed = later(&format!(
        "[release]\nversion = \"1.18.1\"\nurls = \"http://a.example/x.tar.gz\"\nminisign_key = \"{KEY}\""
    ));
    let release = intent(&[&layer(AGENT), &signed]).unwrap().release;
    assert_eq!((release.digest, release.minisign_key), (Digest::Sidecar, Some(MinisignKey::Text(KEY.into()))));

    // Another mirror, or another digest, does not take the key away.
    let mirror = later(&format!("[release]\nurls = \"http://b.example/y.tar.gz\"\nsha256 = \"{HEX}\""));
    let release = intent(&[&layer(AGENT), &signed, &mirror]).unwrap().release;
    assert_eq!(
        (release.digest, release.minisign_key),
        (Digest::Pinned(HEX.into()), Some(MinisignKey::Text(KEY.into())))
    );

    let broken = later("[release]\nminisign_key = \"RWx\"");
    assert_eq!(intent(&[&layer(AGENT), &broken]).unwrap_err().reason(), "config.value");
    let file = later("[release]\nminisign_key = \"/etc/minisign.pub\"");
    let release = intent(&[&layer(AGENT), &file]).unwrap().release;
    assert_eq!(release.minisign_key, Some(MinisignKey::File("/etc/minisign.pub".into())));
    assert!(matches!(release.digest, Digest::Pinned(_)), "the published digest counts beside the key");
}

#[test]
fn a_release_without_a_digest_is_refused_with_the_command_that_takes_it() {
    let text = layer(&AGENT.replace("1.19.0", "1.18.1"));
    insta::assert_snapshot!(failure(intent(&[&text]).unwrap_err()), @"
    error: release.sha256 is not set, and Kasm publishes no digest for 1.18.1 [config.digest-missing]
    help: take the digest once, when you bake the image: kasm-bootstrap release digest https://kasm-static-content.s3.amazonaws.com/kasm_release_1.18.1.tar.gz
    ");
    let nowhere = layer(&AGENT.replace("version = \"1.19.0\"", ""));
    insta::assert_snapshot!(failure(intent(&[&nowhere]).unwrap_err()), @"
    error: release.version is not set [config.missing]
    help: give --release VERSION, --release-url URL or --release-file FILE, or [release] in the configuration
    ");
    let unknown = layer(&AGENT.replace("\"1.19.0\"", &format!("\"7.0.0\"\nsha256 = \"{HEX}\"")));
    let understood = Merged::of([&unknown]).understand().unwrap();
    assert_eq!(understood.notes.len(), 1, "a guessed URL is told");
    let told = layer(&AGENT.replace("version = \"1.19.0\"", "urls = \"http://m.example/kasm_release_1.19.0.tar.gz\""));
    assert_eq!(intent(&[&told]).unwrap().release.version.as_deref(), Some("1.19.0"));
}
