//! A throwaway OpenBao, with the API of Vault over TLS. It keeps everything in memory.

use super::Password;
use super::error::{Result, blocking};
use super::home::Home;
use super::launch::{Launchable, Running, launch};
use super::web::Web;
use crate::port::Reserved;
use crate::process::Process;
use crate::provision;
use rustix::process::Signal;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// The log's line once requests are answered.
const READY: &str = "OpenBao server started!";
/// The CA that the server makes for itself.
const CA: &str = "vault-ca.pem";

/// A throwaway OpenBao. Dropping it stops it.
#[derive(Debug)]
pub struct OpenBao {
    // Dropped in this order: the server before its directory.
    running: Running,
    server: Arc<Server>,
    port: Arc<Reserved>,
    ca_pem: String,
    web: Web,
}

#[derive(Debug)]
struct Server {
    program: PathBuf,
    token: Password,
    home: Home,
}

impl OpenBao {
    /// Starts a server that is unsealed and empty.
    ///
    /// # Errors
    /// If it cannot be obtained or does not start.
    pub async fn start() -> Result<Self> {
        blocking(|| {
            let server =
                Server { program: provision::openbao()?, token: Password::random(), home: Home::new("openbao")? };
            let (running, port) = launch(&server)?;
            let ca = server.home.path().join(CA);
            let ca_pem = std::fs::read_to_string(&ca).map_err(provision::Error::io("read", &ca))?;
            let web = Web::new(port.number(), &ca_pem)?;
            Ok(Self { running, server: Arc::new(server), port, ca_pem, web })
        })
        .await
    }

    /// The port of its API.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The CA of the server's certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The root token.
    pub fn token(&self) -> &Password {
        &self.server.token
    }

    /// The API.
    pub fn web(&self) -> &Web {
        &self.web
    }

    /// Calls the API with the root token.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn root(&self, method: &str, path: &str, json: Value) -> Result<(u16, Value)> {
        self.web.call(method, path, &[("X-Vault-Token", self.server.token.expose())], &json).await
    }

    /// Calls the API without a token.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn call(&self, method: &str, path: &str, json: Value) -> Result<(u16, Value)> {
        self.web.call(method, path, &[], &json).await
    }

    /// Stops the server.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn stop(&self) -> Result<()> {
        self.running.down(&"OpenBao")
    }
}

impl Launchable for Server {
    const STOP: Signal = Signal::KILL;

    fn title(&self) -> String {
        "OpenBao".to_owned()
    }

    fn home(&self) -> &Home {
        &self.home
    }

    fn program(&self, port: u16) -> Result<Command> {
        let directory = self.home.path().display().to_string();
        let mut command = self.home.command(&self.program);
        command.args(["server", "-dev-tls", "-dev-no-store-token"]);
        command.arg(format!("-dev-tls-cert-dir={directory}")).arg(format!("-dev-listen-address=127.0.0.1:{port}"));
        // Not an argument: those are shown to everybody on the machine.
        command.env("BAO_DEV_ROOT_TOKEN_ID", self.token.expose()).env("HOME", directory);
        Ok(command)
    }

    fn is_ready(&self, _: &Process, news: &str) -> bool {
        news.contains(READY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_answers_its_root_token_and_nobody_else() {
        let server = OpenBao::start().await.unwrap();
        let mount = json!({"type": "approle"});
        assert_eq!(server.call("POST", "/v1/sys/auth/approle", mount.clone()).await.unwrap().0, 403);
        assert_eq!(server.root("POST", "/v1/sys/auth/approle", mount).await.unwrap().0, 204);
        server.stop().unwrap();
        assert!(server.root("GET", "/v1/sys/auth", Value::Null).await.is_err());
    }
}
