//! A string that cannot be printed by accident: no `Display`, no `Serialize`, a `Debug` that tells only
//! that something is there, and memory that is wiped when it is dropped.

use std::fmt;
use zeroize::Zeroizing;

/// A token or another secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text into custody.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text itself. Every call of this is a place to look at: what it returns must not reach an
    /// argument vector, an environment, a log, the journal or an answer.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// True if there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new("hunter2hunter2");
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert_eq!(format!("{:#?}", Some(&secret)).matches("hunter2").count(), 0);
    }
}
