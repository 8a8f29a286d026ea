//! Opaque tokens: random strings. Little can be said of them, but a cut or a dummy one shows.

use super::refusal::Refusal;

/// The shortest opaque token: the least that Kasm's own deployments ask for (`docs/kasm-facts.md`, 5).
pub const MIN_OPAQUE: usize = 12;
/// The longest opaque token. Kasm's are up to 36 characters; more is surely something else.
pub const MAX_OPAQUE: usize = 128;

/// Checks length and variety. The alphabet has been checked before.
pub(super) fn check(text: &str) -> Result<(), Refusal> {
    let length = text.chars().count();
    if length < MIN_OPAQUE {
        return Err(Refusal::TooShort { length });
    }
    if length > MAX_OPAQUE {
        return Err(Refusal::TooLong { length, most: MAX_OPAQUE });
    }
    let mut characters = text.chars();
    let first = characters.next();
    if characters.all(|character| Some(character) == first) {
        return Err(Refusal::Repeated);
    }
    Ok(())
}
