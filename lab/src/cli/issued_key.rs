//! API keys: the lab's issuer with the manners of a real one, a secret with a key of it, and what must hold after a rotation.

use super::client::Client;
use super::proof::{Credentials, Opened, Proof};
use super::screen::Screen;
use super::setup::{Bench, bind, create_secret, function, setup};
use super::stop::Stop;
use super::target::Function;
use crate::Lab;
use crate::disturb::Disturb;
use crate::issuer::{Consumer, DESCRIPTION, Https, Issuer, Options, Says};
use crate::stack::Builder;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// The function's package, and the name of its binary.
pub(super) const PACKAGE: &str = "lockstep-api-key";
/// The secret that rotates.
pub(super) const SECRET: &str = "lab/api-key";
/// The secret with the issuer's admin token.
pub(super) const ADMIN_SECRET: &str = "lab/issuer-admin";

/// A new key is tried once a second until it is known; AWS's limit for a function is fifteen minutes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The limit for a revoked key to be refused: many times its lag, as this machine may be busy.
const UNTIL_REFUSED: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// How many keys there may be where one secret rotates: the current one, the previous one, and in between the next.
const KEYS_OF_ONE_SECRET: usize = 3;
/// The same where people add secrets of their own.
pub(super) const KEYS_OF_MANY_SECRETS: usize = 100;

/// The traits of real issuers: a new key works only after a while, a revoked one works on for a while, the number of keys is
/// limited, lists come in pages, and frequent requests are throttled.
fn manners(max_keys: usize) -> Options {
    Options {
        max_keys: Some(max_keys),
        propagation: Duration::from_millis(300),
        revocation_lag: Duration::from_millis(200),
        // With a consumer that asks ten times in a second, the function meets the limit now and then.
        rate_limit: Some(12),
        latency: Duration::from_millis(5),
        // So that the few keys of one secret take several pages.
        page_size: 1,
        unique_names: true,
    }
}

/// A key of the lab's issuer.
pub(super) struct IssuedKey {
    issuer: Issuer,
    consumer: Consumer,
    https: Https,
}

/// A key as its consumers have it. Not `Debug`: it holds its secret.
#[derive(Clone)]
pub(super) struct Credential {
    id: String,
    secret: String,
}

/// Builds the function if need be, starts the issuer and the lab, and stores a key that was made by hand.
pub(super) async fn set_up(screen: &Screen, which: &Function) -> Result<Bench<IssuedKey>, Stop> {
    let bound = bind(0).await?;
    let function = function(screen, PACKAGE, which).await?;
    let disturb = Disturb::new();
    let opened = start(screen, &disturb, KEYS_OF_ONE_SECRET)?;
    let function = Lab::builder(function).name(PACKAGE).disturb(disturb);
    let lab = opened.settings(function).start_on(bound).map_err(setup)?;
    let bench = Bench::new(screen, lab, opened, SECRET);
    bench.opened.store(screen, &bench.client).await?;
    Ok(bench)
}

/// Starts the issuer, under the rules of `disturb`, with a limit of keys. Its first key is made with its secret.
pub(super) fn start(screen: &Screen, disturb: &Disturb, max_keys: usize) -> Result<IssuedKey, Stop> {
    let manners = manners(max_keys);
    let issuer = Issuer::new(manners.clone());
    let https = Https::start(issuer.router(), disturb.clone()).map_err(setup)?;
    let consumer = Consumer::new(https.port(), https.ca_pem()).map_err(setup)?;
    screen.fact("issuer", &format!("{}, {}", https.url(), described(&manners)));
    Ok(IssuedKey { issuer, consumer, https })
}

fn described(manners: &Options) -> String {
    let most = manners.max_keys.unwrap_or_default();
    let rate = manners.rate_limit.unwrap_or_default();
    let known = manners.propagation.as_millis();
    format!("at most {most} keys, new ones known after {known} ms, {rate} requests in a second")
}

impl IssuedKey {
    /// What the function for API keys has to be told.
    pub(super) fn settings(&self, function: Builder) -> Builder {
        function
            .timeout(TIMEOUT)
            .env("ISSUERS", format!("file:{DESCRIPTION}"))
            .env("ISSUER_ENDPOINT_URL", self.https.url())
            .env("CA_BUNDLE", self.https.ca_pem())
            // Whoever runs the lab is its deployer.
            .env("ALLOW_RECOVER", "true")
            .env("ALLOW_ROTATE_NOW", "true")
            .env("ALLOW_RETIRE", "true")
    }

    /// Where the issuer answers.
    pub(super) fn url(&self) -> String {
        self.https.url()
    }

    /// The CA of its certificate, in PEM.
    pub(super) fn ca_pem(&self) -> &str {
        self.https.ca_pem()
    }

    /// Makes a key, and stores it and the issuer's admin token.
    pub(super) async fn store(&self, screen: &Screen, client: &Client) -> Result<(), Stop> {
        let issuer = &self.issuer;
        let admin = json!({ "issuer": "lab", "token": issuer.admin_token() });
        let admin = create_secret(client, ADMIN_SECRET, &admin).await?;
        let (id, secret) = issuer.mint("made by hand");
        let value = json!({
            "issuer": "lab",
            "apiKey": secret,
            "apiKeyId": id,
            "rotation": { "adminSecretArn": admin },
        });
        create_secret(client, SECRET, &value).await?;
        screen.fact("secret", &format!("{SECRET}: key {id}, made by hand"));
        Ok(())
    }
}

impl Opened for IssuedKey {
    type Credential = Credential;

    const USES: &'static str = "requests";
    const USED: &'static str = "used it";
    const PAUSE: Duration = Duration::from_millis(100);

    fn strategy(&self) -> String {
        // What the description says; see DESCRIPTION.
        "create_revoke".to_owned()
    }

    fn keeps_previous(&self) -> bool {
        true
    }

    fn credential(value: &Value) -> Credential {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Credential { id: text("apiKeyId"), secret: text("apiKey") }
    }

    fn remark(&self) -> Option<String> {
        let throttled = self.https.record().iter().filter(|request| request.status == Some(429)).count();
        Some(format!("{throttled} requests were told to come back later"))
    }

    async fn opens(&self, credential: &Credential) -> Result<bool, String> {
        Ok(self.consumer.use_key(&credential.secret).await? != Says::Refused)
    }

    async fn prove(&self, credentials: Credentials<'_, Credential>) -> Vec<Proof> {
        let Credentials { current, previous, earlier } = credentials;
        let mut proofs = vec![self.new_key(&current).await, self.previous_key(previous).await];
        if let Some(earlier) = earlier {
            proofs.push(self.earlier_key(earlier).await);
        }
        proofs.push(self.no_other(&current, previous).await);
        proofs
    }
}

impl IssuedKey {
    async fn new_key(&self, current: &Credential) -> Proof {
        match self.consumer.use_key(&current.secret).await {
            Ok(Says::Works { id }) if id == current.id => {
                Proof::holds(format!("the new key answers as {id}, which is the id in the secret"))
            }
            Ok(Says::Works { id }) => Proof::fails(format!("the new key answers as {id}, not as {}", current.id)),
            Ok(Says::Refused) => Proof::fails("the new key is refused"),
            Err(error) => Proof::fails(format!("the new key could not be used: {error}")),
        }
    }

    async fn previous_key(&self, previous: &Credential) -> Proof {
        match self.opens(previous).await {
            Ok(true) => Proof::holds(format!("the previous key ({}) still works", previous.id)),
            Ok(false) => Proof::fails(format!("the previous key ({}) is refused", previous.id)),
            Err(error) => Proof::fails(format!("the previous key could not be used: {error}")),
        }
    }

    async fn earlier_key(&self, earlier: &Credential) -> Proof {
        let until = Instant::now() + UNTIL_REFUSED;
        loop {
            match self.opens(earlier).await {
                Ok(false) => return Proof::holds(format!("the key before that ({}) is refused", earlier.id)),
                Ok(true) if Instant::now() < until => tokio::time::sleep(BETWEEN_LOOKS).await,
                Ok(true) => return Proof::fails(format!("the key before that ({}) still works", earlier.id)),
                Err(error) => return Proof::fails(format!("the key before that could not be used: {error}")),
            }
        }
    }

    /// Proves that every living key of the issuer is in the secret.
    async fn no_other(&self, current: &Credential, previous: &Credential) -> Proof {
        let expected = BTreeSet::from([current.id.clone(), previous.id.clone()]);
        let until = Instant::now() + UNTIL_REFUSED;
        loop {
            let live: BTreeSet<_> = self.issuer.live().into_iter().map(|key| key.id).collect();
            if live == expected {
                return Proof::holds("two keys live at the issuer: the current and the previous one, and no other");
            }
            if Instant::now() >= until {
                let live: Vec<_> = live.into_iter().collect();
                return Proof::fails(format!("these keys live at the issuer: {}", live.join(", ")));
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }
}
