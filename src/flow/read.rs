//! How a source is read: so many bytes of it and no more, in so much time and no longer, and whole lines, because half
//! a line may hold half a token.

use super::tree::Spot;
use crate::blocking;
use crate::paths::{self, environment_for_children};
use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

/// No source is waited for any longer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Why a source was not read that another user might read.
pub const ROOT_ONLY: &str = "only root may read it";

/// What a source said.
#[derive(Debug, Default)]
pub struct Text {
    /// Its text, or the part of it that fits.
    pub text: String,
    /// There was more of it.
    pub truncated: bool,
}

/// Why a source said nothing.
#[derive(Debug)]
pub enum Fault {
    /// There is no such thing here.
    Missing(String),
    /// It is there, or may be, and cannot be had.
    Error(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::NotFound => Fault::Missing("it is not there".into()),
            io::ErrorKind::PermissionDenied => Fault::Error(ROOT_ONLY.into()),
            _ => Fault::Error(error.to_string()),
        }
    }
}

/// Does work that may block on a thread of its own, and does not wait for it beyond its time: the thread is left
/// behind, and goes with the process.
pub async fn patiently<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let read = blocking::begin("read".into(), work);
    let read = read.map_err(|error| Fault::Error(format!("no thread for it: {error}")))?;
    match timeout(PATIENCE, read).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Fault::Error("the thread that read it is gone".into())),
        Err(_) => Err(Fault::Error(format!("it did not come within {} s", PATIENCE.as_secs()))),
    }
}

/// The end of a file.
pub fn tail(spot: &Spot, limit: u64) -> Result<Text, Fault> {
    let mut file = spot.open()?;
    let length = file.metadata().map_err(Fault::from)?.len();
    let truncated = length > limit;
    if truncated {
        file.seek(SeekFrom::Start(length - limit))?;
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(lines(&bytes, truncated))
}

/// A small file. One that is longer is no text at all: the end of a document makes no sense.
pub fn whole(spot: &Spot, limit: u64) -> Result<Text, Fault> {
    let mut bytes = Vec::new();
    spot.open()?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Fault::Error(format!("it is longer than {limit} bytes")));
    }
    Ok(Text { text: String::from_utf8_lossy(&bytes).into_owned(), truncated: false })
}

/// The end of what a program says on its standard output. How it ends says nothing: `systemctl status` ends with 3 for
/// a service that is down.
pub async fn program(words: &[&str], limit: u64) -> Result<Text, Fault> {
    let (name, args) = words.split_first().ok_or_else(|| Fault::Missing("nothing to run".into()))?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = paths::program(name, std::env::split_paths(&path))
        .ok_or_else(|| Fault::Missing(format!("there is no {name}")))?;
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(environment_for_children()).env("LC_ALL", "C").env("SYSTEMD_COLORS", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let mut output = child.stdout.take().ok_or_else(|| Fault::Error("its output is closed".into()))?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let said = async {
        let mut kept: VecDeque<u8> = VecDeque::new();
        let mut truncated = false;
        let mut piece = vec![0; 64 * 1024];
        loop {
            let count = output.read(&mut piece).await?;
            if count == 0 {
                break;
            }
            kept.extend(&piece[..count]);
            let beyond = kept.len().saturating_sub(limit);
            truncated |= beyond > 0;
            kept.drain(..beyond);
        }
        // Killed with its handle if it stays.
        let _ = timeout(Duration::from_secs(1), child.wait()).await;
        Ok::<_, io::Error>(lines(&Vec::from(kept), truncated))
    };
    match timeout(PATIENCE, said).await {
        Ok(said) => Ok(said?),
        Err(_) => Err(Fault::Error(format!("it did not come to its end within {} s", PATIENCE.as_secs()))),
    }
}

/// Text of which the front may be missing: then it begins with a whole line.
fn lines(bytes: &[u8], truncated: bool) -> Text {
    let from = match truncated {
        true => bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1),
        false => 0,
    };
    Text { text: String::from_utf8_lossy(&bytes[from..]).into_owned(), truncated }
}

/// The same for text that is there already.
pub fn bounded(text: String, limit: u64) -> Text {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    match text.len() > limit {
        true => lines(&text.as_bytes()[text.len() - limit..], true),
        false => Text { text, truncated: false },
    }
}
