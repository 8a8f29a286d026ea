//! Releases and files with images: into the cache, under the name of their digest.

use super::{Bake, Baked, BakedImages, Error, left_out};
use crate::blocking;
use crate::durable;
use crate::error::Failure;
use crate::intent::Source;
use crate::net;
use crate::release::{self, Cache, Request, Tarball, Verified, Wanted};
use crate::step::{Context, Finish};
use crate::words;
use std::fs::File;

/// No file with images is longer, in bytes.
const LONGEST: u64 = 64 << 30;

pub(super) fn releases_about(work: &Bake) -> String {
    let names = work.wants.releases.iter().map(|release| match &release.version {
        Some(version) => format!("Kasm {version}"),
        None => "a release known by its digest".into(),
    });
    match names.collect::<Vec<_>>() {
        names if names.is_empty() => "no release was named".into(),
        names => format!("fetch and verify {}", names.join(", ")),
    }
}

pub(super) fn images_about(work: &Bake) -> String {
    let names: Vec<&str> = work.wants.images.iter().map(|image| image.name.as_str()).collect();
    match names.is_empty() {
        true => "no container images were named".into(),
        false => format!("fetch and verify {}", names.join(", ")),
    }
}

/// Every release that was asked for.
pub(super) async fn releases(work: &Bake, cx: Context<'_>) -> Result<Finish, Failure> {
    if work.skips("releases") {
        return left_out();
    }
    if work.wants.releases.is_empty() {
        return Ok(Finish::Skipped("no release was named: give --release VERSION".into()));
    }
    let mut baked: Vec<Baked> = Vec::new();
    let mut fetched = 0;
    for wanted in &work.wants.releases {
        let request = Request::try_from(wanted)?;
        let (tarball, new) = keep(work, &request, cx).await?;
        fetched += usize::from(new);
        let sha256 = tarball.digest().to_string();
        if baked.iter().any(|other| other.sha256 == sha256) {
            continue;
        }
        let path = Cache::new(&work.paths).path(&tarball.digest());
        // With credentials or a query in it, a URL is a secret.
        let open = |source: &Source| match source {
            Source::Url(url) if net::redact(url) == *url && !url.starts_with("file:") => Some(url.clone()),
            _ => None,
        };
        baked.push(Baked {
            version: wanted.version.clone(),
            sha256,
            bytes: tarball.length(),
            path: work.shown(&path),
            urls: wanted.sources.iter().filter_map(open).collect(),
        });
    }
    let words = told(baked.iter().map(|one| one.bytes), fetched);
    work.record.borrow_mut().releases = baked;
    Ok(words)
}

/// Every file with images that was asked for.
pub(super) async fn images(work: &Bake, cx: Context<'_>) -> Result<Finish, Failure> {
    if work.skips("images") {
        return left_out();
    }
    if work.wants.images.is_empty() {
        return Ok(Finish::Skipped("none were asked for: give --fetch URL#sha256=HEX".into()));
    }
    let mut baked = Vec::new();
    let mut fetched = 0;
    for image in &work.wants.images {
        let mut request = Request::new(vec![image.source.clone()], Wanted::Pinned(image.digest));
        request.max_bytes = LONGEST;
        let (tarball, new) = keep(work, &request, cx).await.map_err(|failure| {
            // The words are about a release.
            Failure { message: format!("container images {}: {}", image.name, failure.message), ..failure }
        })?;
        fetched += usize::from(new);
        let path = Cache::new(&work.paths).path(&tarball.digest());
        baked.push(BakedImages {
            name: image.name.clone(),
            kind: image.kind,
            sha256: image.digest.to_string(),
            bytes: tarball.length(),
            path: work.shown(&path),
        });
    }
    let words = told(baked.iter().map(|one| one.bytes), fetched);
    work.record.borrow_mut().images = baked;
    Ok(words)
}

fn told(lengths: impl ExactSizeIterator<Item = u64>, fetched: usize) -> Finish {
    let count = lengths.len();
    let words = format!("{count} verified, {} in the cache", words::bytes(lengths.sum()));
    match fetched {
        0 => Finish::Skipped(format!("there already: {words}")),
        _ => Finish::Done(format!("{words}; {fetched} fetched")),
    }
}

/// The verified file in the cache, and whether it was fetched now.
async fn keep(work: &Bake, request: &Request, cx: Context<'_>) -> Result<(Verified<Tarball>, bool), Failure> {
    let cache = Cache::new(&work.paths);
    let directory = work.paths.cache_dir();
    durable::directory(&directory, 0o755).map_err(|source| Error::File { path: directory.clone(), source })?;
    let before = cache.list()?;
    let tarball = release::fetch(request, &work.client, &cache, cx.deadline, cx.observer).await?;
    let path = cache.path(&tarball.digest());
    let here = tarball.path() == path;
    if here && before.iter().any(|kept| kept.path == path && !kept.partial) {
        return Ok((tarball, false));
    }
    work.changed.set(true);
    // A file was only verified where it lies. And an image is often taken of a disk that was not unmounted.
    let lasting = move || -> Result<Verified<Tarball>, Failure> {
        if !here {
            tarball.copy_to(&path)?;
        }
        let synced =
            File::open(&path).and_then(|file| file.sync_all()).and_then(|()| durable::sync_directory(&directory));
        synced.map_err(|source| Error::File { path, source })?;
        Ok(tarball)
    };
    Ok((blocking::run(lasting).await?, true))
}
