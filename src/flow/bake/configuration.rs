//! What machines made from the image are told: which release is in it, and where its images are.

use super::{Bake, Error, Record, left_out};
use crate::durable;
use crate::error::Failure;
use crate::step::{Context, Finish};
use std::fmt::Write;

/// The longest file that is compared with what would be written, bytes.
const LIMIT: u64 = 64 * 1024;

pub(super) fn about(work: &Bake) -> String {
    format!("write {}", work.shown(&work.paths.baked_config()))
}

/// Docker's rclone plugin does not start without them and does not make them (docs/kasm-facts.md, 7).
pub(super) async fn rclone(work: &Bake, _cx: Context<'_>) -> Result<Finish, Failure> {
    if work.skips("rclone") {
        return left_out();
    }
    let directories = ["config", "cache"].map(|name| work.paths.rclone_dir().join(name));
    if directories.iter().all(|directory| directory.is_dir()) {
        return Ok(Finish::Skipped("the directories are there".into()));
    }
    for directory in directories {
        durable::directory(&directory, 0o755).map_err(|source| Error::File { path: directory, source })?;
    }
    work.changed.set(true);
    Ok(Finish::Done(format!("made {}/{{config,cache}}", work.shown(&work.paths.rclone_dir()))))
}

/// Writes the configuration, unless it says so already.
pub(super) async fn write(work: &Bake, _cx: Context<'_>) -> Result<Finish, Failure> {
    if work.skips("configuration") {
        return left_out();
    }
    let Some(text) = text(&work.record.borrow()) else {
        return Ok(Finish::Skipped("neither a release nor container images are in the image".into()));
    };
    let path = work.paths.baked_config();
    let shown = work.shown(&path);
    if durable::read(&path, LIMIT).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(Finish::Skipped(format!("{shown} says so already")));
    }
    let directory = work.paths.config_dir();
    durable::directory(&directory, 0o755)
        .and_then(|()| durable::write(&path, text.as_bytes(), 0o644))
        .map_err(|source| Error::File { path, source })?;
    work.changed.set(true);
    Ok(Finish::Done(format!("wrote {shown}")))
}

/// The configuration as TOML; `None` where there is nothing to say.
fn text(record: &Record) -> Option<String> {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut text = String::from(
        "# Written by `kasm-bootstrap bake`: what is in this image. User-data, the environment and flags can say otherwise.\n",
    );
    let begun = text.len();
    // Writing into a String cannot fail.
    if let Some(release) = record.releases.first() {
        let _ = writeln!(text, "[release]");
        if let Some(version) = &release.version {
            let _ = writeln!(text, "version = {}", quoted(version));
        }
        let _ = writeln!(text, "sha256 = {}", quoted(&release.sha256));
        match release.urls.is_empty() {
            // Somewhere it has to come from, even if the cache has it.
            true => writeln!(text, "file = {}", quoted(&release.path)),
            false => writeln!(text, "urls = {}", toml::Value::from(release.urls.clone())),
        }
        .unwrap_or_default();
    }
    for (at, images) in record.images.iter().enumerate() {
        let heading = if at == 0 { "[installer]\n" } else { "" };
        let _ = writeln!(text, "{heading}{} = {}", images.kind.setting(), quoted(&images.path));
    }
    (text.len() > begun).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;
    use crate::flow::bake::{Baked, BakedImages, Kind};
    use std::path::Path;

    #[test]
    fn the_configuration_is_one_that_is_read_back() {
        assert_eq!(text(&Record::default()), None);
        let hex = "c8697a7d6db6d6c2cd685cf431977e79bb4adfa35d91d6fab455e70f4441e46d";
        let release = Baked {
            version: Some("1.19.0".into()),
            sha256: hex.into(),
            bytes: 1,
            path: format!("/var/cache/kasm-bootstrap/{hex}.tar.gz"),
            urls: vec!["https://m.example/a \"b\".tar.gz".into()],
        };
        let images = BakedImages {
            name: "a.tar.gz".into(),
            kind: Kind::Service,
            sha256: hex.into(),
            bytes: 1,
            path: release.path.clone(),
        };
        let hidden = Baked { urls: Vec::new(), version: None, ..release.clone() };
        let record = Record { releases: vec![release], images: vec![images], ..Record::default() };
        let written = text(&record).unwrap();
        let layer = file::layer(Path::new("/x.toml"), &written);
        assert!(layer.errors.is_empty() && layer.warnings.is_empty(), "{:?}", layer.errors);
        insta::assert_snapshot!(written, @r#"
        # Written by `kasm-bootstrap bake`: what is in this image. User-data, the environment and flags can say otherwise.
        [release]
        version = "1.19.0"
        sha256 = "c8697a7d6db6d6c2cd685cf431977e79bb4adfa35d91d6fab455e70f4441e46d"
        urls = ['https://m.example/a "b".tar.gz']
        [installer]
        offline_service = "/var/cache/kasm-bootstrap/c8697a7d6db6d6c2cd685cf431977e79bb4adfa35d91d6fab455e70f4441e46d.tar.gz"
        "#);
        insta::assert_snapshot!(text(&Record { releases: vec![hidden], ..Record::default() }).unwrap(), @r#"
        # Written by `kasm-bootstrap bake`: what is in this image. User-data, the environment and flags can say otherwise.
        [release]
        sha256 = "c8697a7d6db6d6c2cd685cf431977e79bb4adfa35d91d6fab455e70f4441e46d"
        file = "/var/cache/kasm-bootstrap/c8697a7d6db6d6c2cd685cf431977e79bb4adfa35d91d6fab455e70f4441e46d.tar.gz"
        "#);
    }
}
