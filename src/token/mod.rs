//! Tokens: what they must look like before anything is touched, and how they are kept out of sight.

/// How a token must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// By its look, strictly.
    #[default]
    Auto,
    /// A JSON Web Token.
    Jwt,
    /// A random string.
    Opaque,
}
