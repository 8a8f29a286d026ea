//! What can go wrong with a release.

use super::Digest;
use super::signature::Flaw;
use crate::durable;
use crate::error::{Exit, Explain};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a release is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not 64 hexadecimal digits.
    #[error("{text:?} is not a SHA-256")]
    NotADigest {
        /// What was given, shortened.
        text: String,
    },
    /// No source is left to ask.
    #[error("the release cannot be downloaded from {}", sources(*.count))]
    NoSource {
        /// How many there are.
        count: usize,
        /// One line a source.
        #[source]
        causes: Causes,
    },
    /// The time is over.
    #[error("the release was not downloaded in time")]
    Deadline {
        /// One line a source.
        #[source]
        causes: Causes,
    },
    /// What was found is not what was wanted.
    #[error("the SHA-256 does not match: wanted {wanted}, found {found}")]
    Mismatch {
        /// The one that was wanted.
        wanted: Digest,
        /// The one that was found, by the last source that had a wrong one.
        found: Digest,
        /// One line a source.
        #[source]
        causes: Causes,
    },
    /// The signature is not what the operator's key demands.
    #[error("{}", flaw_words(*.flaw))]
    Signature {
        /// What is wrong with it.
        flaw: Flaw,
        /// One line a source.
        #[source]
        causes: Causes,
    },
    /// Not a minisign public key.
    #[error("{place} is not a minisign public key")]
    NotAKey {
        /// Where it was.
        place: String,
    },
    /// The file with the minisign public key cannot be read.
    #[error("the minisign public key {path} cannot be read")]
    KeyUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file changed after it was verified.
    #[error("{path} was changed while it was used, after it had been verified")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file of the operator's cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The cache or the file to write cannot be used.
    #[error("{path} cannot be written")]
    Spool {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The archive is not let in.
    #[error("the archive is refused: {refusal}")]
    Refused {
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// Unpacking failed for a reason outside the archive.
    #[error("{path} cannot be unpacked")]
    Unpack {
        /// What was being written.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::NotADigest { .. } => "digest.malformed",
            Error::NoSource { .. } => "download.no-source",
            Error::Deadline { .. } => "download.deadline",
            Error::Mismatch { .. } => "digest.mismatch",
            Error::Signature { flaw: Flaw::Missing, .. } => "signature.missing",
            Error::Signature { flaw: Flaw::OtherKey, .. } => "signature.key",
            Error::Signature { flaw: Flaw::Mismatch, .. } => "signature.mismatch",
            Error::NotAKey { .. } => "signature.malformed-key",
            Error::KeyUnreadable { .. } => "signature.unreadable-key",
            Error::Changed { .. } => "digest.changed",
            Error::Unreadable { .. } => "release.unreadable",
            Error::Spool { source, .. } if durable::is_full(source) => "download.disk-full",
            Error::Spool { .. } => "download.write",
            Error::Refused { refusal } => refusal.reason,
            Error::Unpack { source, .. } if durable::is_full(source) => "unpack.disk-full",
            Error::Unpack { .. } => "unpack.write",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::NotADigest { .. } => "give 64 hexadecimal digits, as sha256sum prints them".into(),
            Error::NoSource { causes, .. } if causes.any(|line| line.contains("not trusted here")) => {
                "where the mirror is your own, give its authority's certificate (or its self-signed one) with \
                 --ca-cert, or pin its key with --tls-pin"
                    .into()
            }
            Error::NoSource { .. } => {
                "open its URL from this machine with curl -v; check the name, the proxy and the certificate, or name \
                 another mirror (release.urls, --release-url)"
                    .into()
            }
            Error::Deadline { .. } => {
                "run again: what was downloaded is kept and continued; a nearer mirror (--release-url) or a release \
                 baked into the image (--release-file) is faster"
                    .into()
            }
            Error::Mismatch { .. } => {
                "do not use this file; compare the digest with the one Kasm publishes, and find out who changed the \
                 tarball; where it was rebuilt on purpose, take the new digest with kasm-bootstrap release digest URL"
                    .into()
            }
            Error::Signature { flaw: Flaw::Missing, .. } => {
                "sign the tarball (minisign -Sm TARBALL) and put the TARBALL.minisig beside it, or do not give a \
                 minisign key"
                    .into()
            }
            Error::Signature { flaw: Flaw::OtherKey, .. } => {
                "compare the minisign key given here with the minisign.pub of whoever signs your releases, and give \
                 the right one with --minisign-key"
                    .into()
            }
            Error::Signature { flaw: Flaw::Mismatch, .. } => {
                "do not use this file; find out who changed the tarball or its .minisig; where it was rebuilt on \
                 purpose, sign it again: minisign -Sm TARBALL"
                    .into()
            }
            Error::NotAKey { .. } | Error::KeyUnreadable { .. } => {
                "give the line of minisign.pub that begins with RW, or the path of that file".into()
            }
            Error::Changed { .. } => "make sure that nobody else writes to this file, then run again".into(),
            Error::Unreadable { .. } => "give the path of a readable tarball".into(),
            Error::Spool { path, source } | Error::Unpack { path, source } if durable::is_full(source) => {
                format!("free space (or inodes) where {} lies: df -h and df -i show it", path.display())
            }
            Error::Spool { path, source } if source.kind() == io::ErrorKind::Other => {
                format!("see `ls -l {}`: remove it, and use a directory that is yours alone", path.display())
            }
            Error::Spool { path, .. } | Error::Unpack { path, .. } => {
                format!("make {} writable, or run as root", path.display())
            }
            Error::Refused { refusal } if refusal.reason == "archive.not-a-release" => {
                "give the tarball kasm_release_VERSION.tar.gz itself, not one of its companions".into()
            }
            Error::Refused { .. } => {
                "do not use this archive; take an original kasm_release tarball from Kasm and pin its SHA-256".into()
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::NotADigest { .. } | Error::NotAKey { .. } | Error::KeyUnreadable { .. } => Exit::Configuration,
            Error::NoSource { .. } | Error::Deadline { .. } | Error::Unreadable { .. } | Error::Spool { .. } => {
                Exit::Download
            }
            Error::Mismatch { .. } | Error::Signature { .. } | Error::Changed { .. } => Exit::Digest,
            Error::Refused { .. } => Exit::Archive,
            Error::Unpack { .. } => Exit::Unexpected,
        }
    }
}

fn sources(count: usize) -> String {
    match count {
        1 => "its only source".into(),
        count => format!("any of its {count} sources"),
    }
}

fn flaw_words(flaw: Flaw) -> &'static str {
    match flaw {
        Flaw::Missing => "the release has no usable signature",
        Flaw::OtherKey => "the signature of the release was made with another key",
        Flaw::Mismatch => "the signature does not match the release",
    }
}

/// Why an archive is not let in, and which entry it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable reason code, `archive.…`.
    pub reason: &'static str,
    /// A clause about the entry or the archive.
    pub why: String,
    /// The entry's name, safe to print.
    pub entry: Option<String>,
}

impl Refusal {
    /// About the archive as a whole.
    pub(super) fn archive(reason: &'static str, why: impl Into<String>) -> Error {
        Error::Refused { refusal: Refusal { reason, why: why.into(), entry: None } }
    }

    /// About one entry.
    pub(super) fn entry(reason: &'static str, why: impl Into<String>, name: &[u8]) -> Error {
        Error::Refused { refusal: Refusal { reason, why: why.into(), entry: Some(shown(name)) } }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(entry) => write!(f, "{entry:?} {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// Bytes of unknown origin as a short text; what a terminal could act on is escaped where it is printed
/// with `{:?}`.
pub(super) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// What each source said, one line a source, as a chain of causes.
#[derive(Debug)]
pub struct Causes {
    line: String,
    next: Option<Box<Causes>>,
}

impl Causes {
    /// From lines. Without any, one that says so.
    pub(super) fn new(lines: Vec<String>) -> Causes {
        let chain = lines.into_iter().rev().fold(None, |next, line| Some(Box::new(Causes { line, next })));
        chain.map_or_else(|| Causes { line: "no source was asked".into(), next: None }, |first| *first)
    }

    fn any(&self, is: impl Fn(&str) -> bool) -> bool {
        std::iter::successors(Some(self), |causes| causes.next.as_deref()).any(|causes| is(&causes.line))
    }
}

impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for Causes {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.next.as_deref().map(|next| next as &(dyn std::error::Error + 'static))
    }
}
