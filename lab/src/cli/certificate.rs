//! Certificates: a CA that speaks ACME, a hosted zone, an account's secret and one without a certificate yet, and what must hold after a
//! rotation.

use super::client::Client;
use super::proof::{Credentials, Opened, Proof};
use super::screen::Screen;
use super::setup::{Bench, bind, create_secret, function, setup};
use super::stop::Stop;
use super::target::Function;
use crate::Lab;
use crate::disturb::Disturb;
use crate::issuer::Https;
use crate::route53::{Names, Route53};
use crate::servers::pebble::{Options, Pebble};
use crate::stack::Builder;
use rotation::net::tls::Verifier;
use rotation::secret::SecretText;
use serde_json::{Value, json};
use std::time::Duration;
use tls::certificate::{Chain, Facts};

/// The function's package, and the name of its binary.
pub(super) const PACKAGE: &str = "lockstep-tls";
/// The secret that rotates.
pub(super) const SECRET: &str = "lab/certificate";
/// The secret with the key of the account at the CA.
pub(super) const ACCOUNT_SECRET: &str = "lab/ca-account";
/// What the certificate is for. Both names are validated at the same record.
const NAMES: [&str; 2] = ["app.example.com", "*.app.example.com"];
const ZONE: &str = "example.com";
/// The CA looks at once, and answers that it is not done yet at most once.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A CA and a hosted zone.
pub(super) struct Certified {
    // Dropped in this order: first who asks the CA.
    api: Https,
    route53: Route53,
    pebble: Pebble,
    root: String,
}

/// A certificate with its key, as a server has them. Not `Debug`: it holds the key.
#[derive(Clone)]
pub(super) struct Served {
    chain: String,
    key: SecretText,
}

/// Builds the function if need be, starts the CA and the lab, and rotates both secrets once: there is no certificate before that.
pub(super) async fn set_up(screen: &Screen, which: &Function) -> Result<Bench<Certified>, Stop> {
    let bound = bind(0).await?;
    let binary = function(screen, PACKAGE, which).await?;
    let disturb = Disturb::new();
    let opened = start(screen, &disturb).await?;
    let builder = Lab::builder(binary).name(PACKAGE).disturb(disturb);
    let lab = opened.settings(builder).start_on(bound).map_err(setup)?;
    let bench = Bench::new(screen, lab, opened, SECRET);
    bench.opened.store(screen, &bench.client).await?;
    for secret in [ACCOUNT_SECRET, SECRET] {
        let report = bench.lab.rotate(secret).await.map_err(setup)?;
        if !report.rotated() {
            let why = report.error().map(|error| error.error_message).unwrap_or_default();
            return Err(Stop::Setup(format!("the first rotation of {secret} failed: {why}")));
        }
    }
    Ok(bench)
}

/// Starts a CA, and Route 53 with a zone that the CA looks at.
pub(super) async fn start(screen: &Screen, disturb: &Disturb) -> Result<Certified, Stop> {
    let pebble = Pebble::start(Options::default()).await.map_err(setup)?;
    let root = pebble.root().await.map_err(setup)?;
    let route53 = Route53::new().answering(Names::new(pebble.names_management()));
    route53.zones().add("Z0LAB", ZONE, false);
    let api = Https::without_tls(route53.router(), disturb.clone()).map_err(setup)?;
    let certified = Certified { api, route53, pebble, root };
    screen.fact("CA", &format!("Pebble, {}; its names are in the lab's Route 53", certified.directory()));
    Ok(certified)
}

impl Certified {
    /// What the function for certificates has to be told.
    pub(super) fn settings(&self, function: Builder) -> Builder {
        function
            .timeout(TIMEOUT)
            .env("CA_BUNDLE", self.pebble.ca_pem())
            // The CA is on this machine, where no other directory may be.
            .env("DIRECTORIES", self.directory())
            .env("AWS_ENDPOINT_URL_ROUTE_53", self.api.url())
            // Whoever runs the lab is its deployer.
            .env("ALLOW_RECOVER", "true")
            .env("ALLOW_ROTATE_NOW", "true")
    }

    /// The CA of the certificate that the ACME server itself has, in PEM.
    pub(super) fn ca_pem(&self) -> &str {
        self.pebble.ca_pem()
    }

    fn directory(&self) -> String {
        format!("https://localhost:{}{}", self.pebble.port(), Pebble::DIRECTORY)
    }

    /// Stores an account's secret without a key, and one without a certificate.
    pub(super) async fn store(&self, screen: &Screen, client: &Client) -> Result<(), Stop> {
        let account = json!({"directory": self.directory(), "contact": ["mailto:certificates@example.com"]});
        let account = create_secret(client, ACCOUNT_SECRET, &account).await?;
        let value = json!({
            "directory": self.directory(), "names": NAMES,
            "rotation": {"accountSecretArn": account, "roots": self.root},
        });
        create_secret(client, SECRET, &value).await?;
        screen.fact("secret", &format!("{SECRET}: {}", NAMES.join(", ")));
        screen.fact("account", &format!("{ACCOUNT_SECRET}: its first rotation registers it"));
        Ok(())
    }

    /// What a client that trusts the CA finds out about a server with this certificate.
    fn proved(&self, served: &Served) -> Result<Facts, String> {
        let trusted = Verifier::with_roots(&[], &[("root", &self.root)]).map_err(|error| error.to_string())?;
        let names = NAMES.map(str::to_owned);
        let chain = Chain::read(&served.chain).map_err(|error| error.to_string())?;
        chain.prove(&served.key, &names, &trusted).map_err(|error| error.to_string())
    }
}

impl Opened for Certified {
    type Credential = Served;

    const USES: &'static str = "handshakes";
    const USED: &'static str = "was served with it";
    const PAUSE: Duration = Duration::from_millis(100);

    fn strategy(&self) -> String {
        "certificate".to_owned()
    }

    fn keeps_previous(&self) -> bool {
        true
    }

    fn credential(value: &Value) -> Served {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        Served { chain: text("fullChain").to_owned(), key: SecretText::from(text("privateKey")) }
    }

    async fn opens(&self, served: &Served) -> Result<bool, String> {
        Ok(self.proved(served).is_ok())
    }

    async fn prove(&self, credentials: Credentials<'_, Served>) -> Vec<Proof> {
        let Credentials { current, previous, .. } = credentials;
        vec![self.served(&current), self.superseded(&current, previous).await, self.clean()]
    }
}

impl Certified {
    fn served(&self, current: &Served) -> Proof {
        match self.proved(current) {
            Ok(_) => {
                Proof::holds(format!("a client that trusts the CA completes a handshake for {}", NAMES.join(" and ")))
            }
            Err(error) => Proof::fails(format!("a client refuses the new certificate: {error}")),
        }
    }

    async fn superseded(&self, current: &Served, previous: &Served) -> Proof {
        let (new, old) = match (self.proved(current), self.proved(previous)) {
            (Ok(new), Ok(old)) => (new, old),
            (_, Err(error)) | (Err(error), _) => {
                return Proof::fails(format!("a client refuses a certificate: {error}"));
            }
        };
        if new.serial == old.serial || current.key.expose() == previous.key.expose() {
            return Proof::fails("the new certificate is the previous one, or has its key");
        }
        match self.pebble.status(&old.serial).await {
            Ok(status) if status == "Valid" => Proof::holds("the previous certificate, of another key, is still valid"),
            Ok(status) => Proof::fails(format!("the CA says of the previous certificate: {status}")),
            Err(error) => Proof::fails(format!("the CA could not be asked: {error}")),
        }
    }

    fn clean(&self) -> Proof {
        match self.route53.zones().count() {
            0 => Proof::holds("no TXT record is left in the zone"),
            left => Proof::fails(format!("{left} record sets are left in the zone")),
        }
    }
}
