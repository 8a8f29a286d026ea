//! Requests that carry a secret. The plain client has no way to be handed a [`Secret`]; this one takes
//! nothing but a verified connection.

use super::{Error, Options, tls};
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
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(options)?)
            .dns_resolver(super::names::Names::new(paths))
            .connect_timeout(super::CONNECT_TIMEOUT)
            .https_only(true)
            .redirect(Policy::none());
        builder.build().map(Confidential).map_err(Error::Client)
    }

    /// A `POST` whose headers or body are going to carry the secret.
    ///
    /// # Errors
    /// [`Error::Unverified`] where the URL is not an https one.
    pub fn to(&self, url: &str) -> Result<RequestBuilder, Error> {
        let url = Url::parse(url).ok().filter(|url| url.scheme() == "https").ok_or(Error::Unverified)?;
        Ok(self.0.post(url))
    }

    /// A `POST` with the secret as this parameter of the query. What comes of it must not show the URL:
    /// errors are told by `net::describe`, which does not.
    ///
    /// # Errors
    /// [`Error::Unverified`] where the URL is not an https one.
    pub fn post(&self, url: &str, parameter: &str, secret: &Secret) -> Result<RequestBuilder, Error> {
        let mut url = Url::parse(url).ok().filter(|url| url.scheme() == "https").ok_or(Error::Unverified)?;
        url.query_pairs_mut().append_pair(parameter, secret.expose());
        Ok(self.0.post(url))
    }
}
