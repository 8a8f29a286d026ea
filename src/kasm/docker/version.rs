//! Which Docker this is, and which one Kasm asks for.

/// Major, minor, patch.
pub type Version = (u32, u32, u32);

/// The oldest Docker that Kasm's documentation for 1.17 and later allows (docs/kasm-facts.md, 2).
pub const OLDEST: Version = (25, 0, 5);

/// `27.5.1`, `v2.5.0`, `20.10.24+dfsg1`, `29.0.0-rc.1`; what is left out is 0.
pub fn version(text: &str) -> Option<Version> {
    let text = text.trim();
    let mut parts = text.strip_prefix('v').unwrap_or(text).split('.').map(|part| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..digits].parse::<u32>().ok()
    });
    let major = parts.next()??;
    Some((major, parts.next().flatten().unwrap_or(0), parts.next().flatten().unwrap_or(0)))
}
