//! Signs tokens with a secret that lockstep-signing-key rotates, and verifies them with the published keys. To be copied.
//!
//! ```
//! let client = aws_sdk_secretsmanager::Client::new(&aws_config::load_from_env().await);
//! let signer = Signer::new(move || {
//!     let read = client.get_secret_value().secret_id("tokens").send();
//!     async move { read.await?.secret_string.ok_or_else(|| "a secret without text".into()) }
//! });
//! let token = signer.sign(&json!({"sub": "somebody"}), 900).await?;
//!
//! let web = reqwest::Client::new();
//! let verifier = Verifier::new(
//!     move || {
//!         let read = web.get("https://tokens.example.com/.well-known/jwks.json").send();
//!         async move { Ok(read.await?.error_for_status()?.text().await?) }
//!     },
//!     300,
//!     Validation::new(Algorithm::ES256),
//! );
//! let claims: Claims = verifier.verify(&token).await?;
//! ```

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Whatever went wrong, with a text that has no secret in it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long a read may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Keeps a copy of the secret for half of its maxCache.
pub struct Signer<R> {
    read: R,
    secret: Cached<Secret>,
}

/// Keeps a copy of the published keys for `seconds`.
pub struct Verifier<R> {
    read: R,
    seconds: u64,
    validation: Validation,
    keys: Cached<JwkSet>,
}

/// A copy of what was read, and until when it counts. One task at a time reads again.
struct Cached<T>(Mutex<Option<(Arc<T>, Instant)>>);

/// What a signer needs of AWSCURRENT.
struct Secret {
    header: Header,
    key: EncodingKey,
    max_token_lifetime: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    current: Current,
    max_token_lifetime: u64,
    max_cache: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Current {
    kid: String,
    algorithm: Algorithm,
    private_key: String,
}

#[derive(Serialize)]
struct Timed<'a, C> {
    #[serde(flatten)]
    claims: &'a C,
    iat: u64,
    exp: u64,
}

impl<R, F> Signer<R>
where
    R: Fn() -> F,
    F: Future<Output = Result<String, Error>>,
{
    /// `read` brings the text of AWSCURRENT.
    pub fn new(read: R) -> Self {
        Self { read, secret: Cached(Mutex::default()) }
    }

    /// A token that lives for so many seconds.
    pub async fn sign<C: Serialize>(&self, claims: &C, seconds: u64) -> Result<String, Error> {
        let Secret { header, key, max_token_lifetime } = &*self.secret.get(&self.read, Secret::read).await?;
        if seconds > *max_token_lifetime {
            return Err(format!("a token may live for {max_token_lifetime} s (maxTokenLifetime)").into());
        }
        let now = jsonwebtoken::get_current_timestamp();
        Ok(jsonwebtoken::encode(header, &Timed { claims, iat: now, exp: now + seconds }, key)?)
    }
}

impl<R, F> Verifier<R>
where
    R: Fn() -> F,
    F: Future<Output = Result<String, Error>>,
{
    /// `read` brings the text of the published set. `seconds` is half of the secret's maxCache: the other half belongs to caches on the way.
    /// `validation` has the algorithms that you expect, and what else a token has to say, such as its audience and its issuer.
    pub fn new(read: R, seconds: u64, validation: Validation) -> Self {
        Self { read, seconds, validation, keys: Cached(Mutex::default()) }
    }

    /// The claims of a token.
    pub async fn verify<C: DeserializeOwned>(&self, token: &str) -> Result<C, Error> {
        let header = jsonwebtoken::decode_header(token)?;
        if !self.validation.algorithms.contains(&header.alg) {
            return Err("a token with another algorithm".into());
        }
        let read = |text: &str| Ok((serde_json::from_str(text)?, Duration::from_secs(self.seconds)));
        let keys = self.keys.get(&self.read, read).await?;
        // An unknown id is no reason to read again: anybody can make one up, and a key is public long before it signs.
        let key = keys.find(&header.kid.ok_or("a token without the id of a key")?).ok_or("an unknown key")?;
        if key.common.key_algorithm.is_some_and(|algorithm| algorithm != header.alg.into()) {
            return Err("a key for another algorithm".into());
        }
        // The crate wants each algorithm to be one of the key's kind.
        let validation = Validation { algorithms: vec![header.alg], ..self.validation.clone() };
        Ok(jsonwebtoken::decode(token, &DecodingKey::from_jwk(key)?, &validation)?.claims)
    }
}

impl Secret {
    fn read(text: &str) -> Result<(Self, Duration), Error> {
        // serde_json may quote what it cannot read.
        let Stored { current, max_token_lifetime, max_cache } =
            serde_json::from_str(text).map_err(|_| "not a secret with signing keys")?;
        let pem = current.private_key.as_bytes();
        let key = match current.algorithm.family() {
            AlgorithmFamily::Ec => EncodingKey::from_ec_pem(pem)?,
            AlgorithmFamily::Ed => EncodingKey::from_ed_pem(pem)?,
            AlgorithmFamily::Rsa => EncodingKey::from_rsa_pem(pem)?,
            AlgorithmFamily::Hmac => return Err("not an algorithm of a private key".into()),
        };
        let header = Header { kid: Some(current.kid), ..Header::new(current.algorithm) };
        Ok((Self { header, key, max_token_lifetime }, Duration::from_secs(max_cache) / 2))
    }
}

impl<T> Cached<T> {
    /// The copy. If there is none, what `made` makes of the text, and for how long it is kept.
    async fn get<F: Future<Output = Result<String, Error>>>(
        &self,
        read: impl FnOnce() -> F,
        made: impl FnOnce(&str) -> Result<(T, Duration), Error>,
    ) -> Result<Arc<T>, Error> {
        let mut copy = self.0.lock().await;
        if let Some((value, until)) = &*copy
            && Instant::now() < *until
        {
            return Ok(Arc::clone(value));
        }
        // A copy is as old as the beginning of its read.
        let began = Instant::now();
        let (value, kept) = made(&timeout(LIMIT, read()).await??)?;
        let value = Arc::new(value);
        *copy = Some((Arc::clone(&value), began + kept));
        Ok(value)
    }
}
