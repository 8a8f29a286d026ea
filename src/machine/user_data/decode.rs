//! User-data, unpacked: plain text, MIME messages, gzip and base64 around any of it. Pure and bounded.

use crate::secret::Secret;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::bufread::GzDecoder;
use std::io::Read;

/// The most that is taken in, in bytes.
pub const MOST_IN: usize = 64 * 1024;
/// The most that comes out of all unpacking together, in bytes.
pub const MOST_OUT: usize = 1024 * 1024;
/// How deep packages may be in packages.
const DEEPEST: u32 = 16;
/// How many parts of all messages together are looked at.
const MOST_PARTS: u32 = 100;
/// What plain user-data for us begins with.
const MARK: &[u8] = b"#kasm-bootstrap";
/// What a part for us is called.
const OUR_TYPE: &str = "text/x-kasm-bootstrap";
/// RFC 1952, 2.3.1.
const GZIP: &[u8] = &[0x1f, 0x8b];
/// With or without `=` at its end: both are in use.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What user-data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Meant for us: TOML.
    Ours(Secret),
    /// Meant for others, or for nobody; what it is, as a noun phrase.
    Others(&'static str),
}

/// What is wrong with user-data, as a verb phrase. It never quotes it.
pub type Broken = &'static str;

/// Unpacks user-data. Only what may be meant for us can be broken.
pub fn decode(bytes: &[u8]) -> Result<Decoded, Broken> {
    if bytes.len() > MOST_IN {
        return Err("is longer than 64 KiB");
    }
    Decoder { left: MOST_OUT, parts: MOST_PARTS }.any(bytes, DEEPEST)
}

/// What may still be done.
struct Decoder {
    left: usize,
    parts: u32,
}

impl Decoder {
    /// Something that shows only by its beginning what it is.
    fn any(&mut self, bytes: &[u8], deeper: u32) -> Result<Decoded, Broken> {
        let Some(deeper) = deeper.checked_sub(1) else { return Err("is packed into itself too often") };
        if bytes.starts_with(GZIP) {
            let plain = self.inflate(bytes)?;
            return self.any(&plain, deeper);
        }
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes).trim_ascii_start();
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
        if first == MARK {
            return ours(bytes);
        }
        if first.is_empty() {
            return Ok(Decoded::Others("empty"));
        }
        if let Some(what) = others(first) {
            return Ok(Decoded::Others(what));
        }
        if let Some((headers, body)) = headers(bytes)
            && headers.get("content-type").is_some()
        {
            return self.entity(&headers, body, deeper);
        }
        if let Some(plain) = unbase64(bytes).filter(|plain| plain.len() >= MARK.len()) {
            self.spend(plain.len())?;
            return self.any(&plain, deeper);
        }
        let text = std::str::from_utf8(bytes).is_ok();
        Ok(Decoded::Others(if text { "text of another kind" } else { "binary data" }))
    }

    /// A MIME message or a part of one (RFC 2045, RFC 2046).
    fn entity(&mut self, headers: &Headers, body: &[u8], deeper: u32) -> Result<Decoded, Broken> {
        let Some(deeper) = deeper.checked_sub(1) else { return Err("is packed into itself too often") };
        let value = headers.get("content-type").unwrap_or("text/plain");
        let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind.starts_with("multipart/") {
            return match boundary(value) {
                Some(boundary) => self.parts(body, &boundary, deeper),
                None => Ok(Decoded::Others("a MIME message without a boundary")),
            };
        }
        let is_ours = kind == OUR_TYPE;
        let by_content = ["text/plain", "application/octet-stream", "application/gzip", "application/x-gzip"];
        if !is_ours && !by_content.contains(&kind.as_str()) {
            return Ok(Decoded::Others("a MIME part of another type"));
        }
        let encoding = headers.get("content-transfer-encoding").unwrap_or("7bit").trim().to_ascii_lowercase();
        let unpacked;
        let body = match encoding.as_str() {
            "base64" => {
                let Some(plain) = unbase64(body) else {
                    return if is_ours { Err("has a part that is not base64") } else { Ok(Decoded::Others("broken")) };
                };
                unpacked = plain;
                &unpacked
            }
            "quoted-printable" => {
                unpacked = unquote(body);
                &unpacked
            }
            _ => body,
        };
        if !is_ours {
            // What others have broken is theirs to mend.
            return Ok(self.any(body, deeper).unwrap_or(Decoded::Others("broken")));
        }
        if body.starts_with(GZIP) {
            return ours(&self.inflate(body)?);
        }
        ours(body)
    }

    /// The parts of a message. One of them may be for us.
    fn parts(&mut self, body: &[u8], boundary: &[u8], deeper: u32) -> Result<Decoded, Broken> {
        let mut found = None;
        for part in split(body, boundary) {
            let Some(left) = self.parts.checked_sub(1) else { return Err("has more than 100 MIME parts") };
            self.parts = left;
            let none = Headers(Vec::new());
            // A part without headers begins with the empty line.
            let (headers, body) = headers(part).unwrap_or((none, part));
            if let Decoded::Ours(text) = self.entity(&headers, body, deeper)?
                && found.replace(text).is_some()
            {
                return Err("has more than one part for kasm-bootstrap");
            }
        }
        Ok(found.map_or(Decoded::Others("a MIME message without a part for it"), Decoded::Ours))
    }

    fn inflate(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut plain = Vec::new();
        let most = self.left as u64 + 1;
        GzDecoder::new(bytes).take(most).read_to_end(&mut plain).map_err(|_| "is broken gzip")?;
        self.spend(plain.len())?;
        Ok(plain)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Broken> {
        self.left = self.left.checked_sub(bytes).ok_or("unpacks to more than 1 MiB")?;
        Ok(())
    }
}

fn ours(bytes: &[u8]) -> Result<Decoded, Broken> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Decoded::Ours(Secret::new(text))),
        Err(_) => Err("is not UTF-8 text"),
    }
}

/// What cloud-init knows by its first line ("User-data formats" in its documentation).
fn others(first: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&str, &str); 9] = [
        ("#!", "a script"),
        ("#cloud-config-archive", "a cloud-config archive"),
        ("#cloud-config", "cloud-config"),
        ("#cloud-boothook", "a boot hook"),
        ("#include", "a list of URLs"),
        ("#part-handler", "a part handler"),
        ("## template:", "a cloud-init template"),
        ("<powershell>", "a script for Windows"),
        ("{", "JSON"),
    ];
    KNOWN.iter().find(|(start, _)| first.starts_with(start.as_bytes())).map(|(_, what)| *what)
}

/// Header fields, their names in lower case.
struct Headers(Vec<(String, String)>);

impl Headers {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Header fields and what follows the empty line behind them (RFC 5322, 2.1); `None` if it does not begin
/// with headers.
fn headers(bytes: &[u8]) -> Option<(Headers, &[u8])> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() && fields.len() < 100 {
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(end);
        rest = after;
        let line = std::str::from_utf8(line).ok()?.trim_end();
        if line.is_empty() {
            break;
        }
        match (line.starts_with([' ', '\t']), fields.last_mut()) {
            (true, Some((_, value))) => value.push_str(line),
            (true, None) => return None,
            (false, _) => {
                let (name, value) = line.split_once(':')?;
                let sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                if name.is_empty() || !name.bytes().all(sound) {
                    return None;
                }
                fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
    }
    Some((Headers(fields), rest))
}

/// The parameter `boundary` (RFC 2046, 5.1.1), with the two hyphens that stand before it in the message.
fn boundary(content_type: &str) -> Option<Vec<u8>> {
    let named = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').trim_end())
    })?;
    (1..=70).contains(&named.len()).then(|| [b"--", named.as_bytes()].concat())
}

/// What stands between the boundary's lines. The line feed before such a line belongs to it.
fn split<'a>(body: &'a [u8], boundary: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let (mut at, mut begin) = (0, None);
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let mark = line.strip_prefix(boundary).map(<[u8]>::trim_ascii_end);
        if let Some(rest @ (b"" | b"--")) = mark {
            let part = begin.and_then(|begin| body.get(begin..at));
            parts.extend(part.map(|part| {
                let part = part.strip_suffix(b"\n").unwrap_or(part);
                part.strip_suffix(b"\r").unwrap_or(part)
            }));
            begin = rest.is_empty().then_some(at + line.len());
            if begin.is_none() {
                return parts;
            }
        }
        at += line.len();
    }
    // The last boundary is missing: what is there may be cut, but TOML will tell.
    parts.extend(begin.and_then(|begin| body.get(begin..)));
    parts
}

/// RFC 2045, 6.8. Only where nothing but base64 is there.
fn unbase64(bytes: &[u8]) -> Option<Vec<u8>> {
    let compact: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(compact).ok()
}

/// RFC 2045, 6.7. What is no escape stays as it is.
fn unquote(bytes: &[u8]) -> Vec<u8> {
    let hex = |byte: u8| char::from(byte).to_digit(16);
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'=', [b'\n', after @ ..] | [b'\r', b'\n', after @ ..]) => after,
            (b'=', [high, low, beyond @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    plain.push((high << 4 | low) as u8);
                    beyond
                }
                _ => {
                    plain.push(byte);
                    after
                }
            },
            _ => {
                plain.push(byte);
                after
            }
        };
    }
    plain
}
