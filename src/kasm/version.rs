//! Versions, of Kasm and of Docker, so far as they are compared.

/// Major, minor, patch.
pub type Version = (u32, u32, u32);

/// `1.18.1`, `27.5.1`, `v2.5.0`, `20.10.24+dfsg1`, `29.0.0-rc.1`; what is left out is 0. `None` for what begins with no
/// number.
pub fn version(text: &str) -> Option<Version> {
    let text = text.trim();
    let mut parts = text.strip_prefix('v').unwrap_or(text).split('.').map(|part| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..digits].parse::<u32>().ok()
    });
    let major = parts.next()??;
    Some((major, parts.next().flatten().unwrap_or(0), parts.next().flatten().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (text, numbers) in [
            ("1.17.0", (1, 17, 0)),
            ("1.18.1.abc", (1, 18, 1)),
            ("2", (2, 0, 0)),
            ("v2.5.0", (2, 5, 0)),
            ("20.10.24+dfsg1", (20, 10, 24)),
            ("29.0.0-rc.1", (29, 0, 0)),
        ] {
            assert_eq!(version(text), Some(numbers), "{text}");
        }
        for text in ["", "develop", "v", "-1.2", "99999999999.1"] {
            assert_eq!(version(text), None, "{text}");
        }
    }
}
