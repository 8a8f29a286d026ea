//! Mirrors in their order, round after round, until one gives the release or the time is over.

use super::attempt::{Asked, Download};
use super::cache::{self, Cache};
use super::error::Causes;
use super::mirror::{Fault, Mirror, Place};
use super::request::{Request, Wanted};
use super::signature::{self, Flaw, Key, Seal};
use super::spool::Spool;
use super::verified::Proof;
use super::{Digest, Error, Tarball, Verified, measure_file, sidecar};
use crate::blocking;
use crate::deadline::Deadline;
use crate::intent::Source;
use crate::net::retry::Backoff;
use crate::observe::{Observer, Wait};
use reqwest::{Client, Url};
use std::path::PathBuf;

/// A mirror that gave at least so much before it failed is asked again at once, for the rest.
const PROGRESS: u64 = 64 * 1024;
/// How often what cannot be told apart from a change on the mirror is forgiven.
const DOUBTS: u32 = 2;

/// Fetches a release: from the cache, from a file where it lies, or from the mirrors. What was downloaded
/// before a failure is kept and continued by the next call, also of another process.
///
/// # Errors
/// [`Error::NoSource`] if all sources failed for good, [`Error::Deadline`], [`Error::Mismatch`] if the
/// sources have something else, [`Error::Signature`] if they have no signature that fits, [`Error::Spool`] if
/// this machine cannot keep it.
pub async fn fetch(
    request: &Request,
    client: &Client,
    cache: &Cache,
    deadline: Deadline,
    observer: &dyn Observer,
) -> Result<Verified<Tarball>, Error> {
    let asked = Asked { client, idle: request.idle, max_bytes: request.max_bytes, deadline, observer };
    let mut work = Work { asked, cache, wanted: None, key: None, name: None, looked: false, download: None };
    let at_hand = match &request.digest {
        Wanted::Pinned(digest) => work.want(*digest).await,
        Wanted::Sidecar => None,
        Wanted::Signed { key, digest } => {
            (work.key, work.wanted) = (Some(key.clone()), *digest);
            match digest {
                Some(digest) => cache.lookup_signed(digest, key).await.inspect(|found| work.is_there(found)),
                None => None,
            }
        }
    };
    if let Some(tarball) = at_hand {
        return Ok(tarball);
    }
    rounds(&mut work, &request.sources).await
}

/// Downloads a tarball without keeping it, to learn its digest and length: trust on first use.
pub async fn measure(
    source: &Source,
    client: &Client,
    deadline: Deadline,
    observer: &dyn Observer,
) -> Result<(Digest, u64), Error> {
    let bounds = Request::new(Vec::new(), Wanted::Sidecar);
    let asked = Asked { client, idle: bounds.idle, max_bytes: bounds.max_bytes, deadline, observer };
    let download = Download {
        spool: Spool::nowhere(),
        partial: None,
        origin: None,
        pinned: false,
        doubtful: false,
        unmixed: true,
    };
    rounds(&mut Measuring { asked, download }, std::slice::from_ref(source)).await
}

/// What is done with one source, once.
trait Task {
    type Done;
    fn asked(&self) -> &Asked<'_>;
    /// How many bytes there are.
    fn position(&self) -> u64;
    /// One try. The outer error is this machine's, the inner one the mirror's.
    async fn one_try(&mut self, mirror: &mut Mirror) -> Result<Result<Self::Done, Fault>, Error>;
    /// What was wanted, where that is known.
    fn wanted(&self) -> Option<Digest>;
    /// No source is left.
    fn give_up(&mut self) {}
}

async fn rounds<T: Task>(task: &mut T, sources: &[Source]) -> Result<T::Done, Error> {
    let deadline = task.asked().deadline;
    let mut mirrors: Vec<Mirror> = sources.iter().map(Mirror::new).collect();
    let mut backoff = Backoff::default();
    loop {
        let mut tried = false;
        for mirror in &mut mirrors {
            let mut short = Backoff::default();
            while !mirror.is_closed() && mirror.pause().is_zero() && !deadline.is_over() {
                tried = true;
                task.asked().observer.note(&format!("asking {}", mirror.shown));
                let before = task.position();
                let fault = match task.one_try(mirror).await? {
                    Ok(done) => return Ok(done),
                    Err(fault) => fault,
                };
                if mirror.wrong.is_none() {
                    mirror.note(&fault, deadline);
                }
                task.asked().observer.warn(&mirror.line());
                if task.position() < before + PROGRESS || mirror.is_closed() || !mirror.pause().is_zero() {
                    break;
                }
                backoff.reset();
                tokio::time::sleep(short.next_within(None, deadline)).await;
            }
        }
        let lines = || Causes::new(mirrors.iter().map(Mirror::line).collect());
        if mirrors.iter().all(Mirror::is_closed) {
            task.give_up();
            let wrong = mirrors.iter().rev().find_map(|mirror| mirror.wrong);
            let flaw = mirrors.iter().filter_map(|mirror| mirror.flaw).max();
            return Err(match (task.wanted(), wrong, flaw) {
                (Some(wanted), Some(found), _) => Error::Mismatch { wanted, found, causes: lines() },
                (_, _, Some(flaw)) => Error::Signature { flaw, causes: lines() },
                _ => Error::NoSource { count: mirrors.len(), causes: lines() },
            });
        }
        if deadline.is_over() {
            return Err(Error::Deadline { causes: lines() });
        }
        let open = || mirrors.iter().filter(|mirror| !mirror.is_closed());
        // Where nobody could be asked, the first to be ready again decides.
        let pause = match tried {
            true => backoff.next_within(None, deadline),
            false => open().map(Mirror::pause).min().unwrap_or_default().min(deadline.remaining()),
        };
        if let Some(first) = open().next() {
            let wait = Wait { what: "a mirror of the release".into(), holder: Some(first.line()), deadline };
            task.asked().observer.waiting(&wait);
        }
        tokio::time::sleep(pause).await;
    }
}

struct Work<'a> {
    asked: Asked<'a>,
    cache: &'a Cache,
    wanted: Option<Digest>,
    /// Whose signature is demanded beside.
    key: Option<Key>,
    /// What the download is named by: the digest that is wanted, or the seal's name where none is known.
    name: Option<Digest>,
    /// The cache was asked already, and has it not.
    looked: bool,
    download: Option<Download>,
}

impl Work<'_> {
    /// Learns which digest is wanted. Perhaps it is there already.
    async fn want(&mut self, digest: Digest) -> Option<Verified<Tarball>> {
        self.wanted = Some(digest);
        self.looked = true;
        let found = self.cache.lookup(&digest, self.asked.observer).await;
        found.inspect(|found| self.is_there(found))
    }

    fn is_there(&self, found: &Tarball) {
        self.asked.observer.note(&format!("{} is there already", found.path().display()));
    }

    /// What the cache has of what is wanted.
    async fn kept(&self, wanted: Option<Digest>, seal: Option<&Seal>) -> Option<Verified<Tarball>> {
        match (wanted, seal) {
            (wanted, Some(seal)) => self.cache.sealed(wanted, seal).await,
            (Some(wanted), None) => self.cache.lookup(&wanted, self.asked.observer).await,
            (None, None) => None,
        }
    }

    /// Makes sure that we hold the partial file. Something, if the tarball is whole already.
    async fn open(
        &mut self,
        name: Digest,
        wanted: Option<Digest>,
        seal: Option<&Seal>,
    ) -> Result<Option<Verified<Tarball>>, Error> {
        if self.download.is_some() && self.name == Some(name) {
            return Ok(None);
        }
        // The partial file of another seal stays for whoever wants it.
        self.download = None;
        if !self.looked
            && let Some(found) = self.kept(wanted, seal).await
        {
            self.is_there(&found);
            return Ok(Some(found));
        }
        let partial = self.cache.partial(&name, self.asked.deadline, self.asked.observer).await?;
        // Another process may have finished it while we waited.
        if let Some(found) = self.kept(wanted, seal).await {
            cache::discard(&partial.path());
            return Ok(Some(found));
        }
        self.name = Some(name);
        let path = partial.path();
        let (spool, origin) = partial.into_spool().await?;
        let doubtful = spool.position() > 0;
        self.download = Some(Download { spool, partial: Some(path), origin, pinned: true, doubtful, unmixed: false });
        // Of nothing there is a digest, too.
        let is_whole = |download: &Download| download.spool.position() > 0 && Some(download.spool.digest()) == wanted;
        let whole = self.download.as_ref().is_some_and(is_whole);
        match wanted {
            Some(wanted) if whole && self.is_sealed(seal).await? => self.keep(wanted, seal).map(Some),
            _ => Ok(None),
        }
    }

    /// True if the seal, where there is one, fits what was downloaded.
    async fn is_sealed(&self, seal: Option<&Seal>) -> Result<bool, Error> {
        let Some(seal) = seal.cloned() else { return Ok(true) };
        let handle = self.download.as_ref().and_then(|download| download.spool.handle());
        let Some(handle) = handle else { return Ok(false) };
        let checked = blocking::run(move || handle.and_then(|file| seal.fits(&file))).await;
        let partial = || self.download.as_ref().and_then(|download| download.partial.clone()).unwrap_or_default();
        checked.map_err(|source| Error::Spool { path: partial(), source })
    }

    fn keep(&mut self, digest: Digest, seal: Option<&Seal>) -> Result<Verified<Tarball>, Error> {
        let target = self.download.take().and_then(|download| download.spool.into_target());
        let (file, partial) = target.expect("a download of this kind has a file");
        self.cache.keep(file, &partial, digest, seal.cloned())
    }

    /// What a mirror must give, learned before a byte of its tarball is asked for.
    async fn proof(&mut self, place: &Place) -> Result<Proof, Fault> {
        match (&self.key, self.wanted) {
            (Some(key), digest) => {
                let seal = signature::fetch(&self.asked, place, key).await?;
                Ok(Proof::Sealed { seal, digest })
            }
            (None, Some(digest)) => Ok(Proof::Digest(digest)),
            (None, None) => {
                let digest = sidecar::digest(&self.asked, place).await?;
                self.wanted = Some(digest);
                Ok(Proof::Digest(digest))
            }
        }
    }
}

impl Task for Work<'_> {
    type Done = Verified<Tarball>;

    fn asked(&self) -> &Asked<'_> {
        &self.asked
    }

    fn position(&self) -> u64 {
        self.download.as_ref().map_or(0, |download| download.spool.position())
    }

    fn wanted(&self) -> Option<Digest> {
        self.wanted
    }

    async fn one_try(&mut self, mirror: &mut Mirror) -> Result<Result<Verified<Tarball>, Fault>, Error> {
        let Some(place) = mirror.place.clone() else { return Ok(Err(Fault::last("it is closed"))) };
        let proof = match self.proof(&place).await {
            Ok(proof) => proof,
            Err(fault) => return Ok(Err(fault)),
        };
        let url = match place {
            Place::File(path) => return in_place(path, proof, mirror).await,
            Place::Url(url) => url,
        };
        let (name, wanted, seal) = match &proof {
            Proof::Digest(digest) => (*digest, Some(*digest), None),
            Proof::Sealed { seal, digest } => (digest.unwrap_or_else(|| seal.name()), *digest, Some(seal)),
        };
        if let Some(tarball) = self.open(name, wanted, seal).await? {
            return Ok(Ok(tarball));
        }
        let Some(download) = self.download.as_mut() else { return Ok(Err(Fault::last("there is no partial file"))) };
        if let Err(fault) = download.attempt(&self.asked, &url).await? {
            return Ok(Err(fault));
        }
        let found = download.spool.digest();
        let (right, sealed) = (wanted.is_none_or(|wanted| wanted == found), self.is_sealed(seal).await?);
        if right && sealed {
            return self.keep(found, seal).map(Ok);
        }
        let unsealed = Fault { flaw: Some(Flaw::Mismatch), ..Fault::last("its .minisig does not match it") };
        if right && wanted.is_some() {
            // These are the right bytes: another mirror may have the right signature.
            return Ok(Err(unsealed));
        }
        let Some(download) = self.download.as_mut() else { return Ok(Err(unsealed)) };
        // Where the bytes may be of two versions or two mirrors, nobody is to blame yet.
        let (doubtful, unmixed) = (download.doubtful, download.unmixed);
        download.start_over()?;
        download.unmixed = true;
        if doubtful && unmixed {
            mirror.doubts += 1;
        }
        if doubtful && mirror.doubts < DOUBTS {
            let what = if right { "signature" } else { "SHA-256" };
            return Ok(Err(Fault::passing(format!("what was put together from several answers has a wrong {what}"))));
        }
        if right {
            return Ok(Err(unsealed));
        }
        mirror.is_wrong(found);
        Ok(Err(Fault::last("wrong SHA-256")))
    }

    fn give_up(&mut self) {
        // Bytes that were all wrong are gone already; a prefix that may be right is kept for the next run.
        if let Some(Download { partial: Some(partial), spool, .. }) = &self.download
            && spool.position() == 0
        {
            cache::discard(partial);
        }
    }
}

/// A file is used where it lies.
async fn in_place(path: PathBuf, proof: Proof, mirror: &mut Mirror) -> Result<Result<Verified<Tarball>, Fault>, Error> {
    match blocking::run(move || Verified::check(&path, proof)).await {
        Ok(tarball) => Ok(Ok(tarball)),
        Err(Error::Mismatch { found, .. }) => {
            mirror.is_wrong(found);
            Ok(Err(Fault::last("wrong SHA-256")))
        }
        Err(Error::Signature { flaw, .. }) => {
            Ok(Err(Fault { flaw: Some(flaw), ..Fault::last("its .minisig does not match it") }))
        }
        Err(Error::Unreadable { source, .. }) => Ok(Err(Fault::last(format!("it cannot be read: {source}")))),
        Err(other) => Err(other),
    }
}

struct Measuring<'a> {
    asked: Asked<'a>,
    download: Download,
}

impl Measuring<'_> {
    async fn url(&mut self, url: &Url) -> Result<Result<(Digest, u64), Fault>, Error> {
        let end = self.download.attempt(&self.asked, url).await?;
        Ok(end.map(|()| (self.download.spool.digest(), self.download.spool.position())))
    }
}

impl Task for Measuring<'_> {
    type Done = (Digest, u64);

    fn asked(&self) -> &Asked<'_> {
        &self.asked
    }

    fn position(&self) -> u64 {
        self.download.spool.position()
    }

    fn wanted(&self) -> Option<Digest> {
        None
    }

    async fn one_try(&mut self, mirror: &mut Mirror) -> Result<Result<(Digest, u64), Fault>, Error> {
        match mirror.place.clone() {
            Some(Place::Url(url)) => self.url(&url).await,
            Some(Place::File(path)) => match blocking::run(move || measure_file(&path)).await {
                Ok(found) => Ok(Ok(found)),
                Err(Error::Unreadable { source, .. }) => Ok(Err(Fault::last(format!("it cannot be read: {source}")))),
                Err(other) => Err(other),
            },
            None => Ok(Err(Fault::last("it is closed"))),
        }
    }
}
