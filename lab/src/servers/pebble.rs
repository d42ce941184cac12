//! A throwaway ACME server, Pebble, and the name server that it asks.

use super::Error;
use super::certificates::TestCa;
use super::error::{Result, blocking};
use super::home::Home;
use super::launch::{Launchable, Running, launch};
use super::tls::{CONTAINERS_HOST, HOST};
use super::web::Web;
use crate::port::Reserved;
use crate::process::Process;
use crate::provision;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// How Pebble is to behave.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Options {
    bindings: BTreeMap<String, String>,
    nonce_rejects: u8,
    reuse: u8,
    blocked: Vec<String>,
    slow: bool,
    brief: bool,
}

impl Options {
    /// An account needs an external account binding with this id and this key, in base64url.
    pub fn binding(mut self, id: &str, key: &str) -> Self {
        self.bindings.insert(id.to_owned(), key.to_owned());
        self
    }

    /// How many percent of all nonces are refused; none unless given.
    pub fn nonce_rejects(mut self, percent: u8) -> Self {
        self.nonce_rejects = percent;
        self
    }

    /// How many percent of all orders get authorizations that are valid already; none unless given.
    pub fn reuse(mut self, percent: u8) -> Self {
        self.reuse = percent;
        self
    }

    /// A domain that gets no certificate.
    pub fn blocked(mut self, domain: &str) -> Self {
        self.blocked.push(domain.to_owned());
        self
    }

    /// There is a third profile, `brief`, whose certificates live for thirty hours. A secret without a profile may get it.
    pub fn brief(mut self) -> Self {
        self.brief = true;
        self
    }

    /// Validations take up to 15 seconds, as they do elsewhere.
    pub fn slow(mut self) -> Self {
        self.slow = true;
        self
    }
}

/// A throwaway Pebble. Dropping it stops it.
#[derive(Debug)]
pub struct Pebble {
    // Dropped in this order: the servers before their directories.
    running: Running,
    _names_running: Running,
    server: Arc<Server>,
    _names: Arc<Names>,
    port: Arc<Reserved>,
    _names_port: Arc<Reserved>,
    ca_pem: String,
    web: Web,
    management: Web,
    names_management: u16,
}

#[derive(Debug)]
struct Server {
    program: provision::Pebble,
    options: Options,
    names_port: u16,
    management: Reserved,
    home: Home,
}

#[derive(Debug)]
struct Names {
    program: provision::Pebble,
    management: Reserved,
    home: Home,
}

impl Pebble {
    /// Starts a server without accounts.
    ///
    /// # Errors
    /// If it cannot be obtained or does not start.
    pub async fn start(options: Options) -> Result<Self> {
        blocking(move || {
            let program = provision::pebble()?;
            let free = || Reserved::new().map_err(provision::Error::io("find a free port on", Path::new("127.0.0.1")));
            let names = Names { program: program.clone(), management: free()?, home: Home::new("names")? };
            let (names_running, names_port) = launch(&names)?;
            let home = Home::new("pebble")?;
            let certificate = TestCa::new("Lockstep lab CA")?.issue(&[HOST, "127.0.0.1", CONTAINERS_HOST])?;
            home.write_private(&home.path().join("cert.pem"), certificate.cert_pem())?;
            home.write_private(&home.path().join("key.pem"), certificate.key_pem())?;
            let names_number = names_port.number();
            let server = Server { program, options, names_port: names_number, management: free()?, home };
            let (running, port) = launch(&server)?;
            let ca_pem = certificate.ca_pem().to_owned();
            let web = Web::new(port.number(), &ca_pem)?;
            let management = Web::new(server.management.number(), &ca_pem)?;
            let names_management = names.management.number();
            Ok(Self {
                running,
                _names_running: names_running,
                server: Arc::new(server),
                _names: Arc::new(names),
                port,
                _names_port: names_port,
                ca_pem,
                web,
                management,
                names_management,
            })
        })
        .await
    }

    /// The port of the ACME server.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The CA of the server's own certificate, which is not the one that issues.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The directory's path.
    pub const DIRECTORY: &'static str = "/dir";

    /// The ACME server.
    pub fn web(&self) -> &Web {
        &self.web
    }

    /// The certificate of the CA that issues, as PEM.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn root(&self) -> Result<String> {
        let request = axum::http::Request::get("/roots/0").body(axum::body::Body::empty());
        let request = request.map_err(|error| failed("/roots/0", &error))?;
        let (_, body) = self.management.send(request).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Sets what the server says about the renewal of a certificate, which is given as PEM.
    ///
    /// # Errors
    /// If there is no answer, or the server does not know the certificate.
    pub async fn set_renewal(&self, certificate: &str, start: &str, end: &str) -> Result<()> {
        let answer = json!({"suggestedWindow": {"start": start, "end": end}}).to_string();
        let body = json!({"certificate": certificate, "ariResponse": answer});
        let path = "/set-renewal-info/";
        // Pebble refuses requests without one.
        let agent = (axum::http::header::USER_AGENT, "lockstep");
        let request = axum::http::Request::post(path).header(agent.0, agent.1);
        let request = request.body(axum::body::Body::from(body.to_string()));
        let (status, said) = self.management.send(request.map_err(|error| failed(path, &error))?).await?;
        let said = String::from_utf8_lossy(&said);
        if status.is_success() { Ok(()) } else { Err(failed(path, &format!("{status}: {said}"))) }
    }

    /// The status of the certificate with this serial number, in hexadecimal: `Valid` or `Revoked`.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn status(&self, serial: &str) -> Result<String> {
        let path = format!("/cert-status-by-serial/{serial}");
        let (_, answer) = self.management.call("GET", &path, &[], &Value::Null).await?;
        Ok(answer.get("Status").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// The port where the name server takes what it is to answer, over HTTP.
    pub fn names_management(&self) -> u16 {
        self.names_management
    }

    /// The port where the name server answers.
    pub fn names_port(&self) -> u16 {
        self.server.names_port
    }

    /// Stops the ACME server.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn stop(&self) -> Result<()> {
        self.running.down(&"Pebble")
    }

    /// Starts the ACME server again. It has forgotten everything.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn again(&self) -> Result<()> {
        self.running.up(&self.server, &self.port).await
    }
}

impl Launchable for Server {
    const STOP: Signal = Signal::KILL;

    fn title(&self) -> String {
        "Pebble".to_owned()
    }

    fn home(&self) -> &Home {
        &self.home
    }

    fn program(&self, port: u16) -> Result<Command> {
        let Options { bindings, nonce_rejects, reuse, blocked, slow, brief } = &self.options;
        let path = |name: &str| self.home.path().join(name);
        let profile = |seconds: u32| json!({"description": "for tests", "validityPeriod": seconds});
        let mut profiles = json!({"default": profile(90 * 86_400), "shortlived": profile(6 * 86_400)});
        if let (true, Some(profiles)) = (*brief, profiles.as_object_mut()) {
            profiles.insert("brief".to_owned(), profile(30 * 3_600));
        }
        let configuration = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{}", self.management.number()),
            "certificate": path("cert.pem"),
            "privateKey": path("key.pem"),
            "httpPort": 5002,
            "tlsPort": 5001,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": !bindings.is_empty(),
            "externalAccountMACKeys": bindings,
            "domainBlocklist": blocked,
            "retryAfter": {"authz": 1, "order": 1},
            "profiles": profiles,
        }});
        self.home.write_private(&path("pebble.json"), &configuration.to_string())?;
        let mut command = self.home.command(&self.program.server);
        command.arg("-config").arg(path("pebble.json"));
        command.args(["-dnsserver", &format!("127.0.0.1:{}", self.names_port)]);
        command.env("PEBBLE_WFE_NONCEREJECT", nonce_rejects.to_string());
        command.env("PEBBLE_AUTHZREUSE", reuse.to_string());
        command.env("PEBBLE_VA_NOSLEEP", if *slow { "0" } else { "1" });
        Ok(command)
    }

    fn is_ready(&self, _: &Process, news: &str) -> bool {
        // It says so before it listens.
        let own = news.lines().find_map(|line| line.split_once("Listening on: 127.0.0.1:")?.1.trim().parse().ok());
        let answers = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
        own.is_some_and(answers) && answers(self.management.number())
    }
}

impl Launchable for Names {
    const STOP: Signal = Signal::KILL;

    fn title(&self) -> String {
        "Pebble's name server".to_owned()
    }

    fn home(&self) -> &Home {
        &self.home
    }

    fn program(&self, port: u16) -> Result<Command> {
        let mut command = self.home.command(&self.program.names);
        command.args(["-dnsserver", &format!("127.0.0.1:{port}")]);
        command.args(["-management", &format!("127.0.0.1:{}", self.management.number())]);
        command.args(["-doh", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
        command.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
        Ok(command)
    }

    fn is_ready(&self, _: &Process, _: &str) -> bool {
        TcpStream::connect(("127.0.0.1", self.management.number())).is_ok()
    }
}

fn failed(doing: &str, found: &(impl std::fmt::Display + ?Sized)) -> Error {
    Error::Http { doing: doing.to_owned(), found: found.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_has_a_directory_with_renewal_information_and_profiles() {
        let server = Pebble::start(Options::default()).await.unwrap();
        let (status, directory) =
            server.web().call("GET", Pebble::DIRECTORY, &[("user-agent", "lockstep")], &Value::Null).await.unwrap();
        assert_eq!(status, 200);
        assert!(directory["renewalInfo"].is_string(), "{directory}");
        assert!(directory["meta"]["profiles"]["shortlived"].is_string(), "{directory}");
        assert!(server.root().await.unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
        server.stop().unwrap();
        assert!(
            server.web().call("GET", Pebble::DIRECTORY, &[("user-agent", "lockstep")], &Value::Null).await.is_err()
        );
    }
}
