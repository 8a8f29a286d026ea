//! What lies on the way out: a proxy, and the release's mirrors at its end.

use super::{Context, Mode, Verdict};
use crate::error::{Exit, Explain};
use crate::intent::Source;
use crate::net::{self, proxy};
use crate::words;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, RANGE};
use std::path::Path;
use std::time::Duration;

/// How long a mirror may take to say that it is there: less than a check may.
const MIRROR_TIME: Duration = Duration::from_secs(8);

pub(super) fn proxy(context: &Context) -> BoxFuture<'_, Verdict> {
    async move {
        if let Some(variable) = proxy::misunderstood() {
            return Verdict::Warn {
                detail: format!("{variable} is set to what is no proxy's URL, so that no proxy is used"),
                remedy: format!("set {variable}=http://HOST:PORT, or unset it"),
            };
        }
        let Some(manager) = &context.manager else { return Verdict::Skipped(super::manager::NO_MANAGER.into()) };
        let Some(through) = &context.look(manager).await.through else {
            return Verdict::Skipped("no proxy is on the way to the manager".into());
        };
        match &through.tunnel {
            Ok(()) => Verdict::Pass(format!("proxy {} connects to the manager", through.proxy)),
            Err(error) if context.mode == Mode::Wait && error.heals() => super::manager::not_yet(error),
            Err(error) => Verdict::Fail {
                detail: error.to_string(),
                remedy: error.help(),
                reason: error.reason(),
                exit: error.exit(),
            },
        }
    }
    .boxed()
}

/// Asks every source for its first byte, all at once.
pub(super) fn mirror(context: &Context) -> BoxFuture<'_, Verdict> {
    async move {
        if context.cached {
            return Verdict::Skipped("the release is here already".into());
        }
        if context.mode == Mode::Wait {
            return Verdict::Skipped("the download itself follows".into());
        }
        if context.sources.is_empty() {
            return Verdict::Skipped("no release is given".into());
        }
        let client = match net::client(&context.paths, &context.network) {
            Ok(client) => client,
            Err(error) => return Verdict::fail(&error),
        };
        let asked = join_all(context.sources.iter().map(|source| ask(&client, source))).await;
        let bad: Vec<String> = asked.iter().filter_map(|answer| answer.as_ref().err().cloned()).collect();
        let good = asked.into_iter().find_map(Result::ok);
        let remedy = "open it from this machine with curl -v; check the address, the proxy and the certificate, or \
                      give another mirror with --release-url";
        match good {
            Some(good) if bad.is_empty() => Verdict::Pass(good),
            Some(good) => Verdict::Warn { detail: format!("{}; but {good}", bad.join("; ")), remedy: remedy.into() },
            None => Verdict::Fail {
                detail: format!("the release cannot be downloaded: {}", bad.join("; ")),
                remedy: remedy.into(),
                reason: "preflight.release-mirror",
                exit: Exit::Download,
            },
        }
    }
    .boxed()
}

/// What a source says, as a clause: `https://mirror.example/x.tar.gz has 152.0 MB`.
async fn ask(client: &reqwest::Client, source: &Source) -> Result<String, String> {
    let text = match source {
        Source::File(path) => return file(path),
        Source::Url(text) => text,
    };
    let shown = net::redact(text);
    let url = reqwest::Url::parse(text).map_err(|error| format!("{shown} is no URL ({error})"))?;
    if let Some(path) = (url.scheme() == "file").then(|| url.to_file_path().ok()).flatten() {
        return file(&path);
    }
    let request = client.get(url).header(RANGE, "bytes=0-0").send();
    let response = match tokio::time::timeout(MIRROR_TIME, request).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(format!("{shown}: {}", net::describe(&error))),
        Err(_) => return Err(format!("{shown}: it did not answer within {} s", MIRROR_TIME.as_secs())),
    };
    if !response.status().is_success() {
        return Err(format!("{shown}: it answered {}", response.status()));
    }
    let headers = response.headers();
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.to_ascii_lowercase().starts_with("text/html") {
        return Err(format!(
            "{shown}: it answered with a web page instead of the tarball (a captive portal or a login page?)"
        ));
    }
    let whole = (response.status() == reqwest::StatusCode::OK).then(|| response.content_length()).flatten();
    Ok(match total(headers).or(whole) {
        Some(bytes) => format!("{shown} has {}", words::bytes(bytes)),
        None => format!("{shown} answers"),
    })
}

fn file(path: &Path) -> Result<String, String> {
    let shown = path.display();
    match std::fs::File::open(path).and_then(|file| file.metadata()) {
        Ok(data) if data.is_file() => Ok(format!("{shown} has {}", words::bytes(data.len()))),
        Ok(_) => Err(format!("{shown} is no file")),
        Err(error) => Err(format!("{shown} cannot be read: {error}")),
    }
}

/// The length of the whole in `Content-Range` (RFC 9110, 14.4).
fn total(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_RANGE)?.to_str().ok()?.rsplit_once('/')?.1.parse().ok()
}
