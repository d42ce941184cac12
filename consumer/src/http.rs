//! API keys in HTTP headers, for any HTTP client.
//!
//! ```no_run
//! # async fn send(_: http::HeaderValue) -> Result<http::Response<()>, std::io::Error> { unimplemented!() }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use lockstep_secret::RotatingSecret;
//! use lockstep_secret::http::KeyHeader;
//! use lockstep_secret::source::SecretsManager;
//!
//! let secret = RotatingSecret::builder(SecretsManager::from_env("app/payments").await).start().await?;
//! let header = KeyHeader::bearer("apiKey");
//! let answer = header
//!     .send(&secret, |authorization| send(authorization), |answer| answer.status() == 401)
//!     .await?;
//! # Ok(()) }
//! ```

use crate::error::ConnectError;
use crate::secret::{Attempt, RotatingSecret};
use crate::snapshot::Snapshot;
use crate::value::ValueError;
pub use http::HeaderValue;
use std::future::Future;
use zeroize::Zeroizing;

/// How a key becomes the value of a header.
#[derive(Clone, Debug)]
pub struct KeyHeader {
    field: String,
    before: String,
}

/// Why a request was of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError<R, E> {
    /// The issuer refused the key. The answer is here, to be handed on.
    #[error("the key is refused")]
    Refused(R),
    /// The client's own error.
    #[error(transparent)]
    Client(E),
}

impl KeyHeader {
    /// `Bearer ` and the key, for the header `Authorization`. The key is in this field of the secret.
    pub fn bearer(field: impl Into<String>) -> Self {
        Self { field: field.into(), before: "Bearer ".to_owned() }
    }

    /// The key alone, for headers such as `X-Api-Key`.
    pub fn bare(field: impl Into<String>) -> Self {
        Self { field: field.into(), before: String::new() }
    }

    /// The header's value for a version. It is marked as sensitive, so that HTTP clients print a placeholder.
    ///
    /// # Errors
    /// The version does not have the field, or there is a character in it that no header may have.
    pub fn value(&self, snapshot: &Snapshot) -> Result<HeaderValue, ValueError> {
        let text = Zeroizing::new(format!("{}{}", self.before, snapshot.field(&self.field)?));
        let mut value = HeaderValue::from_str(&text).map_err(|_| snapshot.not_a_header(&self.field))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Sends a request with the version in use. If the issuer refuses the key (`refused` says so of the answer: with most issuers the
    /// status 401), looks for the version that it accepts, and sends the request with that.
    ///
    /// A request may be sent several times. An issuer that refuses a key has not acted on the request.
    ///
    /// # Errors
    /// [`ConnectError`]. If no version works, the last answer is in it.
    pub async fn send<R, E, F>(
        &self,
        secret: &RotatingSecret,
        mut send: impl FnMut(HeaderValue) -> F,
        refused: impl Fn(&R) -> bool,
    ) -> Result<R, ConnectError<SendError<R, E>>>
    where
        F: Future<Output = Result<R, E>>,
    {
        let refused = &refused;
        let attempt = |snapshot: Snapshot| {
            let sent = self.value(&snapshot).map(&mut send);
            async move {
                match sent?.await {
                    Ok(answer) if refused(&answer) => Err(Attempt::Refused(SendError::Refused(answer))),
                    Ok(answer) => Ok(answer),
                    Err(error) => Err(Attempt::Failed(SendError::Client(error))),
                }
            }
        };
        secret.attempt_with(attempt).await
    }
}
