//! Downloads from real servers on loopback that misbehave in every way a mirror can.

use futures_util::future::join_all;
use kasm_bootstrap::deadline::Deadline;
use kasm_bootstrap::error::{Exit, Failure};
use kasm_bootstrap::intent::Source;
use kasm_bootstrap::net;
use kasm_bootstrap::observe::Silent;
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::release::{self, Cache, Digest, Request, Wanted, fetch};
use kasm_stand_in::mirror::{Fault, Mirror};
use kasm_stand_in::tls::{self, Identity};
use sha2::Digest as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

const NAME: &str = "/kasm_release_1.18.1.tar.gz";

/// Bytes that nobody can guess and that look like gzip at the beginning.
fn blob(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0x1f, 0x8b];
    bytes.resize_with(length, || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    bytes
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::new(sha2::Sha256::digest(bytes).into())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

struct Bench {
    directory: tempfile::TempDir,
    options: net::Options,
    idle: Duration,
    deadline: Duration,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            directory: tempfile::tempdir().unwrap(),
            options: net::Options::default(),
            idle: Duration::from_secs(20),
            deadline: Duration::from_secs(60),
        }
    }

    fn cache(&self) -> Cache {
        Cache::below(self.directory.path().join("cache"))
    }

    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.directory.path().join("cache")) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    async fn try_fetch(&self, urls: &[String], wanted: Wanted) -> Result<PathBuf, Failure> {
        let sources = urls.iter().map(|url| Source::Url(url.clone())).collect();
        let request = Request { idle: self.idle, ..Request::new(sources, wanted) };
        let client = net::client(&Paths::below(self.directory.path()), &self.options)?;
        let found = fetch(&request, &client, &self.cache(), Deadline::after(self.deadline), &Silent).await?;
        Ok(found.path().to_owned())
    }

    fn fetch(&self, urls: &[String], wanted: Digest) -> Result<PathBuf, Failure> {
        run(self.try_fetch(urls, Wanted::Pinned(wanted)))
    }

    /// Fetches from one mirror and demands these bytes.
    fn gets(&self, mirror: &Mirror, bytes: &[u8]) {
        let path = self.fetch(&[mirror.url(NAME)], digest(bytes)).unwrap();
        assert!(fs::read(&path).unwrap() == bytes, "the file is not what was served");
        assert_eq!(self.names(), [format!("{}.tar.gz", digest(bytes))]);
    }

    /// The words of a failure, with ports and digests made equal.
    fn words(&self, failure: &Failure) -> String {
        let text = kasm_bootstrap::cli::answer::text(failure);
        let mut out = String::new();
        for word in text.split_inclusive([' ', '\n', '/']) {
            let bare = word.trim_end_matches([' ', '\n', '/', ',']);
            out.push_str(&match bare.strip_prefix("127.0.0.1:") {
                Some(_) => word.replace(bare, "127.0.0.1:PORT"),
                None if bare.len() == 64 => word.replace(bare, &format!("{}…", &bare[..4])),
                None => word.to_owned(),
            });
        }
        out
    }
}

fn mirror(bytes: &[u8], script: impl IntoIterator<Item = Fault>) -> Mirror {
    let mirror = Mirror::plain(&[(NAME, bytes)]);
    mirror.script(script);
    mirror
}

#[test]
fn a_release_is_downloaded_once_and_then_taken_from_the_cache() {
    let (bench, bytes) = (Bench::new(), blob(3_000_000, 1));
    let mirror = mirror(&bytes, []);
    bench.gets(&mirror, &bytes);
    bench.gets(&mirror, &bytes);
    assert_eq!(mirror.requests().len(), 1);
    assert_eq!(mirror.requests()[0].header("accept-encoding"), Some("identity"));
}

#[test]
fn a_cut_connection_is_continued_where_it_ended() {
    let (bench, bytes) = (Bench::new(), blob(2_000_000, 2));
    let mirror = mirror(&bytes, [Fault::Cut(700_000), Fault::Cut(600_000)]);
    bench.gets(&mirror, &bytes);
    assert_eq!(mirror.ranges().len(), 3);
    assert!(mirror.ranges()[1..].iter().all(Option::is_some));
    assert!(mirror.requests()[1].header("if-range").is_some_and(|etag| etag.starts_with('"')));
    assert!(mirror.sent() < 2 * bytes.len() as u64);
}

#[test]
fn a_mirror_that_falls_silent_is_left_after_the_idle_time_and_continued() {
    let (mut bench, bytes) = (Bench::new(), blob(1_000_000, 3));
    bench.idle = Duration::from_millis(300);
    let mirror = mirror(&bytes, [Fault::Stall(500_000), Fault::Stall(0)]);
    bench.gets(&mirror, &bytes);
    assert!(mirror.ranges()[1].is_some());
}

#[test]
fn a_slow_mirror_is_not_a_silent_one() {
    let (mut bench, bytes) = (Bench::new(), blob(60_000, 4));
    bench.idle = Duration::from_secs(5);
    let mirror = mirror(&bytes, [Fault::Trickle { size: 4000, pause: Duration::from_millis(30) }]);
    bench.gets(&mirror, &bytes);
    assert_eq!(mirror.requests().len(), 1);
}

#[test]
fn a_busy_mirror_is_asked_again_after_the_time_it_names() {
    let (bench, bytes) = (Bench::new(), blob(10_000, 5));
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
    let mirror = mirror(
        &bytes,
        [
            Fault::Status("429 Too Many Requests", vec![("Retry-After", "1".into())]),
            Fault::Status("503 Service Unavailable", vec![("Retry-After", date)]),
            Fault::Status("500 Internal Server Error", vec![]),
        ],
    );
    bench.gets(&mirror, &bytes);
    assert_eq!(mirror.requests().len(), 4);
}

#[test]
fn a_mirror_that_wants_to_be_asked_after_the_deadline_is_given_up_at_once() {
    let (bench, bytes) = (Bench::new(), blob(10_000, 6));
    let mirror = mirror(&bytes, [Fault::Status("429 Too Many Requests", vec![("Retry-After", "3600".into())])]);
    let failure = bench.fetch(&[mirror.url(NAME)], digest(&bytes)).unwrap_err();
    insta::assert_snapshot!(bench.words(&failure), @r"
    error: the release cannot be downloaded from its only source [download.no-source]
      because: http://127.0.0.1:PORT/kasm_release_1.18.1.tar.gz: it answered 429 Too Many Requests, and asks to come back in 3600 s, which is too late
    help: open its URL from this machine with curl -v; check the name, the proxy and the certificate, or name another mirror (release.urls, --release-url)
    ");
    assert_eq!(mirror.requests().len(), 1);
}

#[test]
fn mirrors_are_asked_in_order_until_one_has_it() {
    let (bench, bytes) = (Bench::new(), blob(200_000, 7));
    let (gone, wrong, right) = (mirror(&bytes, []), mirror(&bytes, [Fault::WrongBytes]), mirror(&bytes, []));
    let urls = [gone.url("/elsewhere.tar.gz"), wrong.url(NAME), right.url(NAME)];
    bench.fetch(&urls, digest(&bytes)).unwrap();
    for mirror in [gone, wrong, right] {
        assert_eq!(mirror.requests().len(), 1);
    }
}

#[test]
fn mirrors_that_all_fail_are_all_named() {
    let (bench, bytes) = (Bench::new(), blob(10_000, 8));
    let mirror = mirror(
        &bytes,
        [
            Fault::Status("404 Not Found", vec![]),
            Fault::Status("403 Forbidden", vec![]),
            Fault::Html,
            Fault::HtmlInDisguise,
            Fault::Redirect("ftp://elsewhere.example/".into()),
        ],
    );
    let urls: Vec<String> = ["a?signature=secret", "b", "c", "d", "e"]
        .iter()
        .map(|name| mirror.url(&format!("/{name}")).replace("http://", "http://user:secret@"))
        .chain(["gopher://mirror.example/x".into(), "no url at all".into(), "file:///nowhere/at/all.tar.gz".into()])
        .collect();
    let failure = bench.fetch(&urls, digest(&bytes)).unwrap_err();
    insta::assert_snapshot!(bench.words(&failure), @r"
    error: the release cannot be downloaded from any of its 8 sources [download.no-source]
      because: http://127.0.0.1:PORT/a: it answered 404 Not Found
      because: http://127.0.0.1:PORT/b: it answered 403 Forbidden
      because: http://127.0.0.1:PORT/c: it answered with a web page instead of the tarball (a captive portal or a login page?)
      because: http://127.0.0.1:PORT/d: it answered with a web page instead of the tarball (a captive portal or a login page?)
      because: http://127.0.0.1:PORT/e: it redirects to ftp://elsewhere.example/, which is neither https nor http
      because: gopher://mirror.example/x: gopher URLs are not supported, only https, http and file
      because: no url at all: this is not a URL (relative URL without a base)
      because: file:///nowhere/at/all.tar.gz: it cannot be read: No such file or directory (os error 2)
    help: open its URL from this machine with curl -v; check the name, the proxy and the certificate, or name another mirror (release.urls, --release-url)
    ");
    assert_eq!(failure.exit(), Exit::Download);
    assert!(!format!("{failure:?}").contains("secret"));
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let (bench, bytes) = (Bench::new(), blob(10_000, 9));
    let target = mirror(&bytes, []);
    let way = mirror(&bytes, []);
    way.script([Fault::Redirect(target.url(NAME))]);
    bench.gets(&way, &bytes);

    let bench = Bench::new();
    way.always(Fault::Redirect(way.url(NAME)));
    let failure = bench.fetch(&[way.url(NAME)], digest(&bytes)).unwrap_err();
    assert!(failure.causes[0].ends_with("it redirects more than 5 times"), "{:?}", failure.causes);
}

#[test]
fn a_promise_of_more_bytes_than_there_are_is_seen_through() {
    let (bench, bytes) = (Bench::new(), blob(100_000, 10));
    let mirror = mirror(&bytes, [Fault::Longer(77)]);
    bench.gets(&mirror, &bytes);
}

#[test]
fn a_file_that_changes_on_the_mirror_is_taken_from_the_beginning() {
    let (bench, old, new) = (Bench::new(), blob(500_000, 11), blob(500_000, 12));
    let mirror = mirror(&old, [Fault::Cut(300_000), Fault::Changed(new.clone())]);
    bench.gets(&mirror, &new);
    assert!(mirror.ranges()[1].is_some());
}

#[test]
fn a_file_that_changes_behind_equal_validators_is_still_found_out() {
    let (bench, old, new) = (Bench::new(), blob(500_000, 13), blob(500_000, 14));
    let mirror = mirror(&old, [Fault::Cut(300_000), Fault::Changed(new.clone())]);
    mirror.forget_validators();
    bench.gets(&mirror, &new);
    assert_eq!(mirror.ranges().last().unwrap(), &None);
}

#[test]
fn servers_that_cannot_do_ranges_are_no_problem() {
    for fault in [Fault::NoRanges, Fault::WrongRange(0), Fault::WrongRange(100_001), Fault::Unsatisfiable] {
        let (bench, bytes) = (Bench::new(), blob(300_000, 15));
        let mirror = mirror(&bytes, [Fault::Cut(100_000), fault]);
        bench.gets(&mirror, &bytes);
    }
}

#[test]
fn a_body_without_a_length_is_taken() {
    let (bench, bytes) = (Bench::new(), blob(300_000, 16));
    let mirror = mirror(&bytes, [Fault::NoLength]);
    bench.gets(&mirror, &bytes);
}

#[test]
fn wrong_bytes_end_with_both_digests_and_nothing_kept() {
    let (bench, bytes) = (Bench::new(), blob(100_000, 17));
    let first = mirror(&bytes, []);
    let second = mirror(&bytes, []);
    first.always(Fault::WrongBytes);
    second.always(Fault::WrongBytes);
    let failure = bench.fetch(&[first.url(NAME), second.url(NAME)], digest(&bytes)).unwrap_err();
    insta::assert_snapshot!(bench.words(&failure), @r"
    error: the SHA-256 does not match: wanted c045…, found c74e… [digest.mismatch]
      because: http://127.0.0.1:PORT/kasm_release_1.18.1.tar.gz: SHA-256 is c74e…
      because: http://127.0.0.1:PORT/kasm_release_1.18.1.tar.gz: SHA-256 is c74e…
    help: do not use this file; compare the digest with the one Kasm publishes, and find out who changed the tarball; where it was rebuilt on purpose, take the new digest with kasm-bootstrap release digest URL
    ");
    assert_eq!(failure.exit(), Exit::Digest);
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
    assert!(bench.names().is_empty(), "{:?}", bench.names());
}

#[test]
fn a_download_that_has_not_begun_is_not_whole_where_the_digest_of_nothing_is_wanted() {
    let bench = Bench::new();
    let mirror = mirror(&blob(10_000, 40), []);
    let failure = bench.fetch(&[mirror.url(NAME)], digest(&[])).unwrap_err();
    assert_eq!(failure.exit(), Exit::Digest);
    assert!(bench.names().is_empty(), "{:?}", bench.names());
}

#[test]
fn a_bad_beginning_from_one_mirror_does_not_spoil_the_good_one() {
    let (bench, bytes) = (Bench::new(), blob(400_000, 18));
    let evil = Mirror::plain(&[(NAME, &blob(400_000, 19))]);
    evil.script([Fault::Cut(30_000)]);
    evil.always(Fault::Status("503 Service Unavailable", vec![]));
    let good = mirror(&bytes, []);
    bench.fetch(&[evil.url(NAME), good.url(NAME)], digest(&bytes)).unwrap();
}

#[test]
fn a_mirror_that_is_not_up_yet_is_waited_for() {
    let (bench, bytes) = (Bench::new(), blob(10_000, 20));
    let address = mirror(&bytes, []).address();
    let url = format!("http://{address}{NAME}");
    run(async {
        let late = async {
            tokio::time::sleep(Duration::from_millis(600)).await; // the mirror boots
            Mirror::at(address, &[(NAME, &bytes)])
        };
        let urls = [url];
        let (found, _mirror) =
            futures_util::future::join(bench.try_fetch(&urls, Wanted::Pinned(digest(&bytes))), late).await;
        found.unwrap();
    });
}

#[test]
fn the_deadline_ends_it_and_says_what_was_the_matter() {
    let (mut bench, bytes) = (Bench::new(), blob(100_000, 21));
    bench.deadline = Duration::from_millis(900);
    let mirror = mirror(&bytes, []);
    mirror.always(Fault::Stall(50_000));
    let failure = bench.fetch(&[mirror.url(NAME)], digest(&bytes)).unwrap_err();
    insta::assert_snapshot!(bench.words(&failure), @r"
    error: the release was not downloaded in time [download.deadline]
      because: http://127.0.0.1:PORT/kasm_release_1.18.1.tar.gz: the time was over, after 50000 of 100000 bytes
    help: run again: what was downloaded is kept and continued; a nearer mirror (--release-url) or a release baked into the image (--release-file) is faster
    ");
    assert_eq!(bench.names().len(), 2, "what came is kept: {:?}", bench.names());
    // The next run continues it.
    mirror.release();
    bench.deadline = Duration::from_secs(30);
    mirror.always(Fault::None);
    bench.gets(&mirror, &bytes);
    assert!(mirror.ranges().last().unwrap().is_some());
}

#[test]
fn two_at_once_download_once() {
    let (bench, bytes) = (Bench::new(), blob(500_000, 22));
    let mirror = mirror(&bytes, [Fault::Trickle { size: 50_000, pause: Duration::from_millis(20) }]);
    let urls = [mirror.url(NAME)];
    let found = run(join_all((0..3).map(|_| bench.try_fetch(&urls, Wanted::Pinned(digest(&bytes))))));
    assert!(found.iter().all(Result::is_ok), "{found:?}");
    assert_eq!(mirror.requests().len(), 1);
}

#[test]
fn a_damaged_file_in_the_cache_is_replaced() {
    let (bench, bytes) = (Bench::new(), blob(100_000, 23));
    let mirror = mirror(&bytes, []);
    bench.gets(&mirror, &bytes);
    fs::write(bench.cache().path(&digest(&bytes)), b"\x1f\x8bdamaged").unwrap();
    bench.gets(&mirror, &bytes);
    assert_eq!(mirror.requests().len(), 2);
}

#[test]
fn a_partial_file_that_is_whole_or_too_long_is_judged_by_its_digest() {
    let (bench, bytes) = (Bench::new(), blob(100_000, 24));
    let partial = bench.directory.path().join(format!("cache/{}.partial", digest(&bytes)));
    fs::create_dir(bench.directory.path().join("cache")).unwrap();
    fs::write(&partial, &bytes).unwrap();
    let mirror = mirror(&bytes, []);
    bench.gets(&mirror, &bytes);
    assert!(mirror.requests().is_empty(), "nothing was missing");

    fs::remove_file(bench.cache().path(&digest(&bytes))).unwrap();
    fs::write(&partial, [bytes.as_slice(), b"more"].concat()).unwrap();
    bench.gets(&mirror, &bytes);
}

#[test]
fn the_sidecar_is_trusted_only_when_asked_for_and_the_file_is_held_to_it() {
    let (bench, bytes) = (Bench::new(), blob(100_000, 25));
    let line = format!("{}  {}\n", digest(&bytes), &NAME[1..]);
    let sidecar = format!("{NAME}.sha256sum");
    let mirror = Mirror::plain(&[(NAME, &bytes), (&sidecar, line.as_bytes())]);
    run(bench.try_fetch(&[mirror.url(NAME)], Wanted::Sidecar)).unwrap();
    assert_eq!(mirror.requests()[0].target, sidecar);

    let bench = Bench::new();
    let mirror = Mirror::plain(&[(NAME, &blob(100, 26)), (&sidecar, line.as_bytes())]);
    let failure = run(bench.try_fetch(&[mirror.url(NAME)], Wanted::Sidecar)).unwrap_err();
    assert_eq!(failure.exit(), Exit::Digest);

    let mirror = Mirror::plain(&[(NAME, &bytes)]);
    let failure = run(bench.try_fetch(&[mirror.url(NAME)], Wanted::Sidecar)).unwrap_err();
    assert_eq!(failure.exit(), Exit::Download);
    assert!(failure.causes[0].ends_with("its .sha256sum: it answered 404 Not Found"), "{:?}", failure.causes);
}

#[test]
fn a_file_on_this_machine_is_used_where_it_lies() {
    let (bench, bytes) = (Bench::new(), blob(100_000, 27));
    let path = bench.directory.path().join("given.tar.gz");
    fs::write(&path, &bytes).unwrap();
    let url = format!("file://{}", path.display());
    assert_eq!(bench.fetch(&[url], digest(&bytes)).unwrap(), path);
    assert!(bench.names().is_empty());
    let failure = bench.fetch(&[format!("file://{}", path.display())], digest(b"other")).unwrap_err();
    assert_eq!(failure.exit(), Exit::Digest);
}

#[test]
fn a_tarball_beyond_the_limit_is_not_downloaded() {
    let (bench, bytes) = (Bench::new(), blob(500_000, 28));
    for fault in [Fault::None, Fault::NoLength] {
        let mirror = mirror(&bytes, [fault]);
        let sources = vec![Source::Url(mirror.url(NAME))];
        let request = Request { max_bytes: 400_000, ..Request::new(sources, Wanted::Pinned(digest(&bytes))) };
        let client = net::client(&Paths::default(), &net::Options::default()).unwrap();
        let found = run(fetch(&request, &client, &bench.cache(), Deadline::after(bench.deadline), &Silent));
        assert_eq!(Failure::from(found.unwrap_err()).exit(), Exit::Download);
    }
}

#[test]
fn a_digest_can_be_taken_without_keeping_anything() {
    let bytes = blob(800_000, 29);
    let mirror = mirror(&bytes, [Fault::Cut(300_000), Fault::Cut(300_000)]);
    let client = net::client(&Paths::default(), &net::Options::default()).unwrap();
    let source = Source::Url(mirror.url(NAME));
    let deadline = Deadline::after(Duration::from_secs(60));
    let found = run(release::measure(&source, &client, deadline, &Silent)).unwrap();
    assert_eq!(found, (digest(&bytes), bytes.len() as u64));
}

#[test]
fn whatever_goes_wrong_in_whatever_order_the_right_bytes_come_out() {
    let bytes = blob(400_000, 30);
    let faults = |seed: u64| {
        blob(10, seed + 100).into_iter().skip(2).map(u64::from).map(|byte| match byte % 8 {
            0 | 1 => Fault::Cut(byte * 1500),
            2 => Fault::NoRanges,
            3 => Fault::WrongRange(byte * 1000),
            4 => Fault::Longer(byte),
            5 => Fault::Unsatisfiable,
            6 => Fault::Status("502 Bad Gateway", vec![]),
            _ => Fault::Cut(0),
        })
    };
    let benches: Vec<(Bench, Mirror, Mirror)> =
        (0..24).map(|seed| (Bench::new(), mirror(&bytes, faults(seed)), mirror(&bytes, faults(seed + 50)))).collect();
    run(join_all(benches.iter().map(|(bench, one, two)| async {
        let urls = [one.url(NAME), two.url(NAME)];
        let path = bench.try_fetch(&urls, Wanted::Pinned(digest(&bytes))).await.unwrap();
        assert!(fs::read(path).unwrap() == bytes);
    })));
}

#[test]
fn a_full_disk_is_said_plainly() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can mount the small file system this needs");
        return;
    }
    let (bench, bytes) = (Bench::new(), blob(3_000_000, 31));
    let place = bench.directory.path().join("cache");
    fs::create_dir(&place).unwrap();
    let options = Some("size=1m");
    if let Err(errno) = nix::mount::mount(Some("tmpfs"), &place, Some("tmpfs"), nix::mount::MsFlags::empty(), options) {
        println!("skipped: no file system can be mounted here ({errno})");
        return;
    }
    let mirror = mirror(&bytes, []);
    let failure = bench.fetch(&[mirror.url(NAME)], digest(&bytes)).unwrap_err();
    nix::mount::umount2(&place, nix::mount::MntFlags::MNT_DETACH).unwrap();
    assert_eq!((failure.reason.as_str(), failure.exit()), ("download.disk-full", Exit::Download));
    assert!(failure.help.starts_with("free space"), "{}", failure.help);
}

fn tls_mirror(identity: &Identity, bytes: &[u8]) -> Mirror {
    Mirror::tls(identity.config.clone(), &[(NAME, bytes)])
}

fn trusting(pem: &str) -> Bench {
    let mut bench = Bench::new();
    let path = bench.directory.path().join("ca.pem");
    fs::write(&path, pem).unwrap();
    bench.options.ca_certs.push(path);
    bench
}

#[test]
fn an_unknown_issuer_is_refused_and_accepted_when_it_is_named() {
    let bytes = blob(100_000, 32);
    let identity = tls::issued(&["localhost", "127.0.0.1"]);
    let mirror = tls_mirror(&identity, &bytes);
    let bench = Bench::new();
    let failure = bench.fetch(&[mirror.url(NAME)], digest(&bytes)).unwrap_err();
    insta::assert_snapshot!(bench.words(&failure), @r"
    error: the release cannot be downloaded from its only source [download.no-source]
      because: https://127.0.0.1:PORT/kasm_release_1.18.1.tar.gz: its certificate's issuer is not trusted here
    help: where the mirror is your own, give its authority's certificate (or its self-signed one) with --ca-cert, or pin its key with --tls-pin
    ");
    trusting(&identity.trust_pem).gets(&mirror, &bytes);
}

#[test]
fn a_self_signed_certificate_is_trusted_when_it_is_given_itself() {
    let bytes = blob(100_000, 33);
    let (identity, other) = (tls::self_signed(&["localhost", "127.0.0.1"]), tls::self_signed(&["127.0.0.1"]));
    let mirror = tls_mirror(&identity, &bytes);
    trusting(&identity.trust_pem).gets(&mirror, &bytes);
    for bench in [Bench::new(), trusting(&other.trust_pem)] {
        assert_eq!(bench.fetch(&[mirror.url(NAME)], digest(&bytes)).unwrap_err().exit(), Exit::Download);
    }
}

#[test]
fn a_certificate_as_kasm_makes_it_is_trusted_when_it_is_given_itself_and_names_the_host() {
    let bytes = blob(100_000, 38);
    let identity = tls::kasm_like("127.0.0.1");
    let mirror = tls_mirror(&identity, &bytes);
    let failure = Bench::new().fetch(&[mirror.url(NAME)], digest(&bytes)).unwrap_err();
    assert!(failure.causes[0].ends_with("its certificate is self-signed and not trusted here"), "{failure:?}");
    trusting(&identity.trust_pem).gets(&mirror, &bytes);

    let identity = tls::kasm_like("kasm.example.com");
    let mirror = tls_mirror(&identity, &bytes);
    let failure = trusting(&identity.trust_pem).fetch(&[mirror.url(NAME)], digest(&bytes)).unwrap_err();
    assert!(failure.causes[0].ends_with("is not for 127.0.0.1, but for: kasm.example.com"), "{failure:?}");
}

#[test]
fn a_mirror_whose_name_cannot_be_resolved_does_not_hold_up_the_next_one() {
    let bench = Bench::new();
    fs::create_dir(bench.directory.path().join("etc")).unwrap();
    // Nobody listens at this name server: no answer is a fault that may pass, so the next mirror has its turn.
    fs::write(bench.directory.path().join("etc/resolv.conf"), "nameserver 127.0.0.254\noptions timeout:1 attempts:1\n")
        .unwrap();
    let bytes = blob(10_000, 39);
    let mirror = mirror(&bytes, []);
    bench.fetch(&["http://mirror.invalid/x.tar.gz".into(), mirror.url(NAME)], digest(&bytes)).unwrap();
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let bytes = blob(100_000, 34);
    for identity in [tls::self_signed(&["kasm.example.com"]), tls::issued(&["kasm.example.com"])] {
        let mirror = tls_mirror(&identity, &bytes);
        let bench = trusting(&identity.trust_pem);
        let failure = bench.fetch(&[mirror.url(NAME)], digest(&bytes)).unwrap_err();
        assert!(failure.causes[0].contains("its certificate is not for 127.0.0.1, but for:"), "{:?}", failure.causes);
    }
}

#[test]
fn a_pin_accepts_its_certificate_or_key_and_no_other() {
    let bytes = blob(100_000, 35);
    let identity = tls::self_signed(&["kasm.example.com"]);
    let mirror = tls_mirror(&identity, &bytes);
    for pin in [net::Pin::of(&identity.certificate), net::Pin::of(&identity.public_key)] {
        let mut bench = Bench::new();
        bench.options.pin = Some(pin);
        bench.gets(&mirror, &bytes);
    }
    let mut bench = Bench::new();
    bench.options.pin = Some(net::Pin::of(b"another"));
    let failure = bench.fetch(&[mirror.url(NAME)], digest(&bytes)).unwrap_err();
    assert!(failure.causes[0].contains("its certificate is not the pinned one"), "{:?}", failure.causes);
    bench.options = net::Options { insecure: true, ..net::Options::default() };
    bench.gets(&mirror, &bytes);
}

#[test]
fn https_never_becomes_http_on_the_way() {
    let bytes = blob(100_000, 36);
    let identity = tls::issued(&["127.0.0.1"]);
    let (secure, plain) = (tls_mirror(&identity, &bytes), mirror(&bytes, []));
    secure.script([Fault::Redirect(format!("{}?token=secret", plain.url(NAME)))]);
    let bench = trusting(&identity.trust_pem);
    let failure = bench.fetch(&[secure.url(NAME)], digest(&bytes)).unwrap_err();
    insta::assert_snapshot!(bench.words(&failure), @r"
    error: the release cannot be downloaded from its only source [download.no-source]
      because: https://127.0.0.1:PORT/kasm_release_1.18.1.tar.gz: it redirects from https to unprotected http://127.0.0.1:PORT/kasm_release_1.18.1.tar.gz, which is refused
    help: open its URL from this machine with curl -v; check the name, the proxy and the certificate, or name another mirror (release.urls, --release-url)
    ");
    assert!(plain.requests().is_empty());
}

#[test]
fn http_on_a_tls_port_is_called_by_its_name() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}{NAME}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 16]).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    });
    let failure = Bench::new().fetch(&[url], digest(b"x")).unwrap_err();
    assert!(failure.causes[0].ends_with("it does not speak TLS on this port"), "{:?}", failure.causes);
}

#[test]
fn a_ca_file_without_a_certificate_is_a_configuration_error() {
    let failure = trusting("nothing here").fetch(&["https://127.0.0.1:1/x".into()], digest(b"")).unwrap_err();
    assert_eq!((failure.reason.as_str(), failure.exit()), ("net.ca-file", Exit::Configuration));
}
