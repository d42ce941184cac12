//! A lab with the real function for certificates, an ACME server, and the double of Route 53 that the ACME server asks.

use crate::{OVERTIME, merged, uuid};
use lab::Lab;
use lab::disturb::Disturb;
use lab::issuer::Https;
use lab::relay::Relay;
use lab::route53::{Names, Route53};
use lab::servers::pebble::{Options, Pebble};
use lab::stack::Builder;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::OnceCell;

/// The release binary, built once per test process.
pub async fn function() -> PathBuf {
    static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
    let build = || async { lab::build::release_binary("lockstep-tls").await.expect("the function builds") };
    BINARY.get_or_init(build).await.clone()
}

/// A secret with a certificate, or an account's.
pub type Secret<'a> = crate::Secret<'a, Pebble>;

/// A lab, an ACME server and a name server, for one test.
pub struct World {
    // Dropped in this order: first who calls the servers, then the servers.
    /// The local AWS with the function.
    pub lab: Lab,
    /// What stands between the function and the ACME server: counts, and disturbs.
    pub relay: Relay,
    /// Route 53's API.
    pub api: Https,
    /// The zones `example.com` (`Z1`) and `example.net` (`Z2`).
    pub route53: Route53,
    /// The ACME server.
    pub pebble: Pebble,
    /// The certificate of the CA that issues.
    pub root: String,
    /// The account secret's ARN.
    pub account: String,
}

impl World {
    /// With an account that is registered.
    pub async fn start(options: Options) -> Self {
        Self::with(options, |function| function).await
    }

    /// The same, and more settings of the function.
    pub async fn with(options: Options, settings: impl FnOnce(Builder) -> Builder) -> Self {
        let world = Self::without_account(options, json!({}), settings).await;
        world.secret_of(&world.account).rotated().await;
        world
    }

    /// With an account secret that has these fields and was never rotated.
    pub async fn without_account(options: Options, account: Value, settings: impl FnOnce(Builder) -> Builder) -> Self {
        let pebble = Pebble::start(options).await.expect("Pebble starts");
        let route53 = Route53::new().answering(Names::new(pebble.names_management()));
        for (id, name) in [("Z1", "example.com"), ("Z2", "example.net")] {
            route53.zones().add(id, name, false);
        }
        let disturb = Disturb::new();
        let api = Https::without_tls(route53.router(), disturb.clone()).expect("Route 53 is served");
        let function = Lab::builder(function().await)
            .overtime(OVERTIME)
            .disturb(disturb)
            // CAs take their time, and tests wait for them.
            .timeout(Duration::from_secs(60))
            .env("CA_BUNDLE", pebble.ca_pem())
            .env("AWS_ENDPOINT_URL_ROUTE_53", api.url());
        let lab = settings(function).start().await.expect("the lab starts");
        let relay = lab.relay(pebble.port()).await.expect("the relay starts");
        let root = pebble.root().await.expect("Pebble has a root");
        let account = merged(json!({"directory": directory(&relay)}), account);
        let account = lab.create_secret("test/account", &account.to_string()).await.expect("the secret is created");
        Self { lab, relay, api, route53, pebble, root, account }
    }

    /// The directory's URL.
    pub fn directory(&self) -> String {
        directory(&self.relay)
    }

    /// A secret that has no certificate yet. `more` are fields beside those that it needs, and options under `rotation`.
    pub async fn secret(&self, names: &[&str], more: Value) -> Secret<'_> {
        let rotation = json!({"accountSecretArn": self.account, "roots": self.root});
        let rotation = merged(rotation, more["rotation"].clone());
        let fields = json!({"directory": self.directory(), "names": names});
        let value = merged(merged(fields, more), json!({"rotation": rotation}));
        let arn = self.lab.create_secret(&format!("test/{}", uuid()), &value.to_string()).await;
        self.secret_of(&arn.expect("the secret is created"))
    }

    /// The secret with this ARN.
    pub fn secret_of(&self, arn: &str) -> Secret<'_> {
        Secret::new(&self.lab, &self.pebble, arn.to_owned())
    }
}

fn directory(relay: &Relay) -> String {
    format!("https://localhost:{}{}", relay.port(), Pebble::DIRECTORY)
}
