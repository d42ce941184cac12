//! A lab with the real function for certificates, an ACME server, and the double of Route 53 that the ACME server asks.

use crate::{OVERTIME, merged, uuid};
use lab::Lab;
use lab::disturb::Disturb;
use lab::issuer::Https;
use lab::relay::Relay;
use lab::route53::{Names, Route53};
use lab::servers::moto::Moto;
use lab::servers::pebble::{Options, Pebble};
use lab::stack::Builder;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::OnceCell;

/// The release binary, built once per test process.
pub async fn function() -> PathBuf {
    static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
    let build = || async { lab::build::release_binary("lockstep-tls").await.expect("the function builds") };
    BINARY.get_or_init(build).await.clone()
}

/// A directory that the deployer has listed, and where nobody is.
pub const OTHER_DIRECTORY: &str = "https://ca.example/dir";

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
    /// A CA's port where somebody listens and nobody answers.
    silent: TcpListener,
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
        let relay = Relay::start(pebble.port(), disturb.clone()).await.expect("the relay starts");
        let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let silent_port = silent.local_addr().expect("its address").port();
        let api = Https::without_tls(route53.router(), disturb.clone()).expect("Route 53 is served");
        let function = Lab::builder(function().await)
            .overtime(OVERTIME)
            .disturb(disturb)
            // CAs take their time, and tests wait for them.
            .timeout(Duration::from_secs(60))
            .env("CA_BUNDLE", pebble.ca_pem())
            // A CA on this machine has to be listed. The third one is not there.
            .env("DIRECTORIES", format!("{},{},{OTHER_DIRECTORY}", directory(relay.port()), directory(silent_port)))
            .env("AWS_ENDPOINT_URL_ROUTE_53", api.url());
        let lab = settings(function).start().await.expect("the lab starts");
        let root = pebble.root().await.expect("Pebble has a root");
        let account = merged(json!({"directory": directory(relay.port())}), account);
        let account = lab.create_secret("test/account", &account.to_string()).await.expect("the secret is created");
        Self { lab, relay, api, route53, pebble, root, account, silent }
    }

    /// The directory's URL.
    pub fn directory(&self) -> String {
        directory(self.relay.port())
    }

    /// The URL of a directory that does not answer.
    pub fn silent_directory(&self) -> String {
        directory(self.silent.local_addr().expect("its address").port())
    }

    /// How many connections that directory got since this was asked.
    pub fn asked_in_vain(&self) -> usize {
        self.silent.set_nonblocking(true).expect("the listener takes it");
        std::iter::from_fn(|| self.silent.accept().ok()).count()
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

    /// Deactivates the account at the CA, as whoever has its key can.
    pub async fn deactivate_account(&self) {
        let key = self.secret_of(&self.account).field("AWSCURRENT", "accountKey").await;
        let environment = [("DIRECTORY", self.directory()), ("TRUSTED", self.pebble.ca_pem().to_owned()), ("KEY", key)];
        let status = python_with(include_str!("deactivate.py"), environment).await;
        assert_eq!(status.trim(), "deactivated");
    }
}

fn directory(port: u16) -> String {
    format!("https://localhost:{port}{}", Pebble::DIRECTORY)
}

/// What a Python program with boto3 prints whose clients call moto.
pub async fn python(moto: &Moto, script: &str) -> String {
    python_with(script, moto.environment()).await
}

/// What a Python program with boto3 prints. The environment says where its clients call.
pub async fn python_with(script: &str, environment: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let program = tokio::task::spawn_blocking(lab::provision::python).await.expect("the task ends").expect("Python");
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = tokio::process::Command::new(program);
    command.args(["-c", script]).current_dir(directory.path()).env_clear().env("PATH", "/usr/bin:/bin");
    command.envs(environment).envs([
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "lab"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ]);
    let output = command.output().await.expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}
