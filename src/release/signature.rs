//! Minisign signatures, for an operator's own mirror: `TARBALL.minisig` beside the tarball, made with the
//! key whose public half the operator gave. <https://jedisct1.github.io/minisign/#signature-format>

use super::Error;
use super::attempt::Asked;
use super::mirror::{Fault, Place};
use super::sidecar::{self, beside};
use super::verified::each_chunk;
use crate::durable;
use crate::intent::MinisignKey;
use minisign_verify::{PublicKey, Signature};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// No signature file is read further: two comments and 138 bytes in base64 have ample room.
const MAX_SIGNATURE: u64 = 8 * 1024;
/// No key file is read further.
const MAX_KEY: u64 = 8 * 1024;
/// What is added to the tarball's name.
pub(super) const ENDING: &str = ".minisig";

/// A minisign public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(PublicKey);

impl FromStr for Key {
    type Err = Error;

    /// The line beginning with `RW`, or the whole text of `minisign.pub`.
    fn from_str(text: &str) -> Result<Key, Error> {
        let line = match text.trim().split_once('\n') {
            Some((comment, line)) if comment.starts_with("untrusted comment:") => line.trim(),
            _ => text.trim(),
        };
        PublicKey::from_base64(line).map(Key).map_err(|_| Error::NotAKey { place: "the given text".into() })
    }
}

impl TryFrom<&MinisignKey> for Key {
    type Error = Error;

    /// Reads the file, where it is one; blocking.
    fn try_from(key: &MinisignKey) -> Result<Key, Error> {
        let path = match key {
            MinisignKey::Text(text) => return text.parse(),
            MinisignKey::File(path) => path,
        };
        let text = durable::read(path, MAX_KEY)
            .and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other))
            .map_err(|source| Error::KeyUnreadable { path: path.clone(), source })?;
        text.parse().map_err(|_| Error::NotAKey { place: path.display().to_string() })
    }
}

/// What is wrong with a signature; the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// There is none, or none that can be used.
    Missing,
    /// It was made with another key.
    OtherKey,
    /// It does not fit the tarball, or was tampered with.
    Mismatch,
}

/// A signature that claims to be of this key. Whether it fits a tarball is for [`Seal::fits`] to say.
#[derive(Debug, Clone)]
pub(super) struct Seal {
    key: Key,
    text: Vec<u8>,
}

impl Seal {
    /// From the bytes of a `.minisig`. All that can be said without the tarball is said here.
    pub fn new(key: &Key, text: Vec<u8>) -> Result<Seal, Fault> {
        let flawed = |flaw, text: &str| Err(Fault { flaw: Some(flaw), ..Fault::last(format!("its {ENDING} {text}")) });
        let Some(signature) = decoded(&text) else { return flawed(Flaw::Missing, "holds no minisign signature") };
        match key.0.verify_stream(&signature) {
            Ok(_) => Ok(Seal { key: key.clone(), text }),
            Err(minisign_verify::Error::UnexpectedKeyId) => flawed(Flaw::OtherKey, "was made with another key"),
            Err(_) => flawed(Flaw::Missing, "is of the old kind that is not prehashed: sign without -l"),
        }
    }

    /// The signature as its file has it.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// A name for what is signed, while its digest is not known: the signature's own.
    pub fn name(&self) -> super::Digest {
        super::Digest::new(Sha256::digest(&self.text).into())
    }

    /// True if it is the signature of these bytes, and its trusted comment is the signer's; blocking.
    pub fn fits(&self, file: &File) -> io::Result<bool> {
        let Some(signature) = decoded(&self.text) else { return Ok(false) };
        let Ok(mut verifier) = self.key.0.verify_stream(&signature) else { return Ok(false) };
        each_chunk(file, |chunk| {
            verifier.update(chunk);
            Ok(())
        })?;
        Ok(verifier.finalize().is_ok())
    }
}

fn decoded(text: &[u8]) -> Option<Signature> {
    Signature::decode(std::str::from_utf8(text).ok()?).ok()
}

/// The seal beside a source, before a byte of its tarball is asked for.
pub(super) async fn fetch(asked: &Asked<'_>, place: &Place, key: &Key) -> Result<Seal, Fault> {
    match beside(asked, place, ENDING, MAX_SIGNATURE).await {
        Ok(text) => Seal::new(key, text),
        Err(fault) if fault.again => Err(fault),
        Err(fault) => Err(Fault { flaw: Some(Flaw::Missing), ..fault }),
    }
}

/// The seal beside a file; blocking.
pub(super) fn beside_file(path: &Path, key: &Key) -> Result<Seal, Fault> {
    match sidecar::beside_file(path, ENDING, MAX_SIGNATURE) {
        Ok(text) => Seal::new(key, text),
        Err(fault) => Err(Fault { flaw: Some(Flaw::Missing), ..fault }),
    }
}

/// `FILE.minisig`.
pub(super) fn path(file: &Path) -> PathBuf {
    sidecar::path(file, ENDING)
}

/// What `FILE.minisig` says, where it can be read; blocking.
pub(super) fn kept_with(file: &Path) -> Option<Vec<u8>> {
    durable::read(&path(file), MAX_SIGNATURE).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // The example in minisign-verify's documentation: the file holds `test`.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835\tfile:test\tprehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==
";

    fn fits(key: &str, signature: &str, content: &[u8]) -> Result<bool, Option<Flaw>> {
        let seal = Seal::new(&key.parse().unwrap(), signature.into()).map_err(|fault| fault.flaw)?;
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, content).unwrap();
        Ok(seal.fits(&file).unwrap())
    }

    #[test]
    fn a_signature_of_the_real_tool_fits_its_file_and_no_other() {
        assert_eq!(fits(KEY, SIGNATURE, b"test"), Ok(true));
        assert_eq!(fits(KEY, SIGNATURE, b"tesT"), Ok(false));
        assert_eq!(fits(KEY, SIGNATURE, b""), Ok(false));
        assert_eq!(fits(KEY, &SIGNATURE.replace("file:test", "file:tesu"), b"test"), Ok(false));
        assert_eq!(fits(KEY, &SIGNATURE.replace("\n", "\r\n"), b"test"), Ok(true));
    }

    #[test]
    fn what_is_no_signature_of_this_key_is_said_before_any_download() {
        assert_eq!(fits(KEY, &SIGNATURE.replace("RUQf6L", "RUQf6M"), b"test"), Err(Some(Flaw::OtherKey)));
        assert_eq!(fits(KEY, &SIGNATURE.replace("RUQf6L", "RWQf6L"), b"test"), Err(Some(Flaw::Missing)));
        for text in ["", "<html>", &SIGNATURE[..200], KEY] {
            assert_eq!(fits(KEY, text, b"test"), Err(Some(Flaw::Missing)), "{text}");
        }
    }

    #[test]
    fn a_key_is_its_line_or_its_file_and_nothing_else() {
        let key: Key = KEY.parse().unwrap();
        assert_eq!(
            format!("untrusted comment: minisign public key E7620F1842B4E81F\n{KEY}\n").parse::<Key>().unwrap(),
            key
        );
        assert_eq!(format!(" {KEY}\n").parse::<Key>().unwrap(), key);
        for text in ["", "RW", &KEY[1..], &format!("{KEY}A"), &KEY.replace("RW", "XX"), &format!("x\n{KEY}"), SIGNATURE]
        {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_bytes_whatever_make_a_seal_or_a_key_panic(bytes: Vec<u8>, at in 0usize..300, byte: u8) {
            let key: Key = KEY.parse().unwrap();
            prop_assert!(Seal::new(&key, bytes.clone()).is_err());
            drop(String::from_utf8_lossy(&bytes).parse::<Key>()); // any verdict is fine
            let mut signature = SIGNATURE.as_bytes().to_vec();
            signature[at % SIGNATURE.len()] = byte;
            drop(Seal::new(&key, signature)); // any verdict is fine
        }
    }
}
