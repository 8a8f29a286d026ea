//! Requests that carry a secret. The plain client has no way to be handed a [`Secret`]; this one takes
//! nothing but a verified connection.

use super::{Error, Options};
use crate::paths::Paths;
use crate::secret::Secret;
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Url};

/// A client that may carry a secret: https only, the other side has proved who it is, and no redirect
/// takes the secret elsewhere.
#[derive(Debug, Clone)]
pub struct Confidential(reqwest::Client);

impl Confidential {
    /// # Errors
    /// [`Error::Unverified`] where the options do not verify.
    pub fn new(paths: &Paths, options: &Options) -> Result<Confidential, Error> {
        if !options.verifies() {
            return Err(Error::Unverified);
        }
        let builder = super::remote(paths, options)?.https_only(true).redirect(Policy::none());
        builder.build().map(Confidential).map_err(Error::Client)
    }

    /// A `POST` whose headers or body are going to carry the secret.
    ///
    /// # Errors
    /// [`Error::Unverified`] where the URL is not an https one.
    pub fn to(&self, url: &str) -> Result<RequestBuilder, Error> {
        Ok(self.0.post(protected(url)?))
    }

    /// A `POST` with the secret as this parameter of the query. What comes of it must not show the URL:
    /// errors are told by `net::describe`, which does not.
    ///
    /// # Errors
    /// [`Error::Unverified`] where the URL is not an https one.
    pub fn post(&self, url: &str, parameter: &str, secret: &Secret) -> Result<RequestBuilder, Error> {
        let mut url = protected(url)?;
        url.query_pairs_mut().append_pair(parameter, secret.expose());
        Ok(self.0.post(url))
    }
}

fn protected(url: &str) -> Result<Url, Error> {
    Url::parse(url).ok().filter(|url| url.scheme() == "https").ok_or(Error::Unverified)
}
