//! Signing keys: a bucket that the public parts are published in, a secret without keys yet, and what must hold after a rotation.

use super::client::Client;
use super::proof::{Credentials, Opened, Proof};
use super::screen::Screen;
use super::setup::{Bench, bind, create_secret, function, setup};
use super::stop::Stop;
use super::target::Function;
use crate::Lab;
use crate::servers::moto::Moto;
use crate::stack::Builder;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rotation::secret::Password;
use serde_json::{Value, json};
use signing_key::key::SigningKey;
use signing_key::key::algorithm::Algorithm;
use signing_key::key::jwk::Material;
use std::time::Duration;
use tokio::time::sleep;

/// The function's package, and the name of its binary.
pub(super) const PACKAGE: &str = "lockstep-signing-key";
/// The secret that rotates.
pub(super) const SECRET: &str = "lab/signing-key";
const BUCKET: &str = "keys";
const OBJECT: &str = "jwks.json";
/// Both times are as short as they can be, so that a person need not wait for the next rotation: one second each.
const LIFETIME: u64 = 1;
const CACHE: u64 = 1;
/// Until the next rotation, so that the key that has signed is past its time in it.
const INTERVAL: Duration = Duration::from_millis((LIFETIME + CACHE) * 1000 + 100);
/// What the tokens of this demonstration say.
const TOKEN: &[u8] = b"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzb21lYm9keSJ9";

/// Where the keys are published.
pub(super) struct Published {
    moto: Moto,
}

/// A token that an application has signed with `current`.
#[derive(Clone)]
pub(super) struct Token {
    kid: String,
    signature: Option<String>,
    next: String,
}

/// Builds the function if need be, starts S3 and the lab, and rotates once: there is no key before that.
pub(super) async fn set_up(screen: &Screen, which: &Function) -> Result<Bench<Published>, Stop> {
    let bound = bind(0).await?;
    let binary = function(screen, PACKAGE, which).await?;
    let opened = start(screen).await?;
    let lab = opened.settings(Lab::builder(binary).name(PACKAGE)).start_on(bound).map_err(setup)?;
    let bench = Bench::new(screen, lab, opened, SECRET);
    bench.opened.store(screen, &bench.client).await?;
    let report = bench.lab.rotate(SECRET).await.map_err(setup)?;
    if !report.rotated() {
        let why = report.error().map(|error| error.error_message).unwrap_or_default();
        return Err(Stop::Setup(format!("the first rotation failed: {why}")));
    }
    sleep(INTERVAL).await;
    Ok(bench)
}

/// Starts S3 with a bucket.
pub(super) async fn start(screen: &Screen) -> Result<Published, Stop> {
    let published = Published { moto: Moto::start().await.map_err(setup)? };
    make_bucket(&published.moto).await.map_err(setup)?;
    screen.fact("published", &format!("{}, by moto", published.url()));
    Ok(published)
}

/// Everybody may read it, as behind a web server.
async fn make_bucket(moto: &Moto) -> Result<(), reqwest::Error> {
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{BUCKET}/*"),
    }]});
    for (query, body) in [("", String::new()), ("?policy", policy.to_string())] {
        let put = reqwest::Client::new().put(format!("{}/{BUCKET}{query}", moto.url())).body(body);
        put.send().await?.error_for_status()?;
    }
    Ok(())
}

impl Published {
    /// What the function for signing keys has to be told.
    pub(super) fn settings(&self, function: Builder) -> Builder {
        // Whoever runs the lab is its deployer.
        let function = function.env("ALLOW_RECOVER", "true").env("ALLOW_ROTATE_NOW", "true");
        self.moto.environment().fold(function, |function, (name, url)| function.env(name, url))
    }

    /// Stores a secret without keys: its first rotation makes them.
    pub(super) async fn store(&self, screen: &Screen, client: &Client) -> Result<(), Stop> {
        let value = json!({
            "algorithm": "ES256", "maxTokenLifetime": LIFETIME, "maxCache": CACHE,
            "rotation": {"publish": [format!("s3://{BUCKET}/{OBJECT}")]},
        });
        create_secret(client, SECRET, &value).await?;
        screen.fact("secret", &format!("{SECRET}: ES256, its first rotation makes the keys"));
        Ok(())
    }

    /// Where verifiers get the published keys.
    pub(super) fn url(&self) -> String {
        format!("{}/{BUCKET}/{OBJECT}", self.moto.url())
    }

    /// The published keys, as verifiers get them.
    async fn keys(&self) -> Result<Vec<Value>, String> {
        let answer = reqwest::get(self.url()).await;
        let answer = answer.and_then(reqwest::Response::error_for_status).map_err(|error| error.to_string())?;
        let set: Value = answer.json().await.map_err(|error| error.to_string())?;
        Ok(set.get("keys").and_then(Value::as_array).cloned().unwrap_or_default())
    }
}

impl Opened for Published {
    type Credential = Token;

    const USES: &'static str = "verifications";
    const USED: &'static str = "had its token verified";
    const PAUSE: Duration = Duration::from_millis(50);

    fn strategy(&self) -> String {
        "overlap".to_owned()
    }

    fn keeps_previous(&self) -> bool {
        true
    }

    fn credential(value: &Value) -> Token {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let pem = Password::from(text("/current/privateKey"));
        let key = SigningKey::read(&pem, Algorithm::Es256, None, 0);
        let signature = key.and_then(|key| key.sign(TOKEN)).map(|signature| URL_SAFE_NO_PAD.encode(signature));
        Token { kid: text("/current/kid").to_owned(), signature: signature.ok(), next: text("/next/kid").to_owned() }
    }

    async fn opens(&self, token: &Token) -> Result<bool, String> {
        let keys = self.keys().await?;
        let key = keys.iter().find(|key| key.get("kid").and_then(Value::as_str) == Some(&token.kid));
        let signature = token.signature.as_ref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let Some((material, signature)) = key.and_then(Material::of).zip(signature) else { return Ok(false) };
        Ok(material.verifies(Algorithm::Es256, TOKEN, &signature))
    }

    async fn prove(&self, credentials: Credentials<'_, Token>) -> Vec<Proof> {
        let Credentials { current, previous, earlier } = credentials;
        let mut proofs = vec![
            self.verified(&current, true, "a token of the new key verifies with what is published").await,
            self.verified(previous, true, "a token of the previous key still verifies").await,
            self.next(&current, previous).await,
        ];
        if let Some(earlier) = earlier {
            proofs.push(
                self.verified(earlier, false, "a token of the key before that is refused: its time is over").await,
            );
        }
        // A rotation sooner than `maxCache` after this one would be refused.
        sleep(INTERVAL).await;
        proofs
    }
}

impl Published {
    async fn verified(&self, token: &Token, expected: bool, text: &str) -> Proof {
        match self.opens(token).await {
            Ok(verified) if verified == expected => Proof::holds(text),
            Ok(_) => Proof::fails(format!("it does not hold that {text} ({})", token.kid)),
            Err(error) => Proof::fails(format!("the published keys could not be read: {error}")),
        }
    }

    async fn next(&self, current: &Token, previous: &Token) -> Proof {
        let keys = match self.keys().await {
            Ok(keys) => keys,
            Err(error) => return Proof::fails(format!("the published keys could not be read: {error}")),
        };
        let is_public = keys.iter().any(|key| key.get("kid").and_then(Value::as_str) == Some(&current.next));
        if current.kid == previous.next && is_public {
            return Proof::holds("the new key was public before, and the next one is public already");
        }
        Proof::fails("the new key is not the one that was public before, or the next one is not public")
    }
}
