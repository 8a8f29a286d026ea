//! SHA-256 digests, as people and `sha256sum` write them.

use super::error::Error;
use crate::words;
use std::fmt;
use std::str::FromStr;

/// A SHA-256. Written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// From its 32 bytes.
    pub fn new(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// Its 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// Exactly 64 hexadecimal digits, upper or lower case.
    fn from_str(text: &str) -> Result<Digest, Error> {
        let bytes = words::parse_hex(text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Digest).ok_or_else(|| Error::NotADigest { text: super::error::shown(text.as_bytes()) })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words::hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The digest a `sha256sum` file has for `name`: from a line `HEX  name` or `HEX *name` (directories
/// before the name do not count), or from a file that is nothing but the digest. `None` if there is none
/// for it, or two that differ.
pub fn in_sidecar(text: &[u8], name: &str) -> Option<Digest> {
    let text = std::str::from_utf8(text).ok()?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if let [line] = lines.as_slice()
        && let Ok(digest) = line.parse()
    {
        return Some(digest);
    }
    let mut found = lines.iter().filter_map(|line| {
        let (digest, rest) = line.split_once(' ')?;
        let rest = rest.strip_prefix([' ', '*'])?;
        let base = rest.rsplit('/').next()?;
        if base == name { digest.parse::<Digest>().ok() } else { None }
    });
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "7b801cb0579a7867df46b6da873fe8dd631db07d4c05349e5bd1aea27130c37d";
    const OTHER: &str = "c8697a7d6db6d6c2cd685cf431977e79bb4adfa35d91d6fab455e70f4441e46d";

    #[test]
    fn sixty_four_hexadecimal_digits_are_a_digest_and_nothing_else_is() {
        assert_eq!(HEX.parse::<Digest>().unwrap().to_string(), HEX);
        assert_eq!(HEX.to_uppercase().parse::<Digest>().unwrap().to_string(), HEX);
        for text in
            ["", "abc", &HEX[1..], &format!("{HEX}0"), &format!(" {}", &HEX[1..]), &"é".repeat(32), &"+1".repeat(32)]
        {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_line_of_the_right_file_is_taken_from_a_sidecar() {
        let digest = Some(HEX.parse().unwrap());
        let name = "kasm_release_1.19.0.tar.gz";
        for text in [
            format!("{HEX}  {name}\n"),
            format!("{HEX} *{name}"),
            format!("{HEX}\n"),
            format!("{OTHER}  another.tar.gz\r\n{HEX}  ./build/{name}\r\n"),
            format!("{HEX}  {name}\n{HEX}  {name}\n"),
        ] {
            assert_eq!(in_sidecar(text.as_bytes(), name), digest, "{text}");
        }
        for text in [
            String::new(),
            "<html>not found</html>".into(),
            format!("{HEX}  another.tar.gz\n"),
            format!("{HEX} {name}\n"),
            format!("{HEX}  {name}\n{OTHER}  {name}\n"),
            format!("{HEX}\n{OTHER}\n"),
        ] {
            assert_eq!(in_sidecar(text.as_bytes(), name), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn every_digest_survives_being_written_and_read(bytes: [u8; 32]) {
            let digest = Digest::new(bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        }

        #[test]
        fn no_sidecar_whatever_makes_it_panic(bytes: Vec<u8>, name in ".{0,10}") {
            in_sidecar(&bytes, &name);
        }
    }
}
