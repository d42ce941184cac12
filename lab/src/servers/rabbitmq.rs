//! A throwaway RabbitMQ, with its management API over TLS.

use super::Password;
use super::certificates::{Certificate, TestCa};
use super::error::{Result, blocking};
use super::home::Home;
use super::launch::{Launchable, Running, launch};
use super::web::Web;
use crate::port::Reserved;
use crate::process::Process;
use crate::provision::{self, RabbitMq as Programs};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// The administrator.
const SUPERUSER: &str = "root";
/// The log's line once all listeners are open.
const READY: &str = "Server startup complete";

/// A throwaway RabbitMQ. Dropping it stops it.
#[derive(Debug)]
pub struct RabbitMq {
    // Dropped in this order: the server before what it needs.
    running: Running,
    server: Arc<Server>,
    port: Arc<Reserved>,
    web: Web,
}

#[derive(Debug)]
struct Server {
    programs: Programs,
    certificate: Certificate,
    superuser: Password,
    /// Of AMQP, of Erlang's distribution, and of its port mapper.
    ports: [Reserved; 3],
    epmd: Option<Process>,
    home: Home,
}

impl RabbitMq {
    /// Starts a server that has no users but its administrator, and a virtual host, `/`.
    ///
    /// # Errors
    /// If it cannot be obtained or does not start.
    pub async fn start() -> Result<Self> {
        blocking(|| {
            let programs = provision::rabbitmq()?;
            let certificate = TestCa::new("Lockstep lab CA")?.issue(&["localhost", "127.0.0.1"])?;
            let home = Home::new("rabbitmq")?;
            let port = || Reserved::new().map_err(provision::Error::io("find a free port on", Path::new("127.0.0.1")));
            let ports = [port()?, port()?, port()?];
            let superuser = Password::random();
            let server = Server { programs, certificate, superuser, ports, epmd: None, home };
            let server = server.prepared()?;
            let (running, port) = launch(&server)?;
            let web = Web::new(port.number(), server.certificate.ca_pem())?;
            Ok(Self { running, server: Arc::new(server), port, web })
        })
        .await
    }

    /// The port of the management API.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The CA of the server's certificate.
    pub fn ca_pem(&self) -> &str {
        self.server.certificate.ca_pem()
    }

    /// The administrator's name and password.
    pub fn superuser(&self) -> (&str, &Password) {
        (SUPERUSER, &self.server.superuser)
    }

    /// The management API.
    pub fn web(&self) -> &Web {
        &self.web
    }

    /// Calls the management API as the administrator.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn admin(&self, method: &str, path: &str, json: Value) -> Result<(u16, Value)> {
        self.call_as((SUPERUSER, self.server.superuser.expose()), method, path, json).await
    }

    /// Whether the server accepts this password of a user, with or without the right to use the management API.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn accepts(&self, user: &str, password: &str) -> Result<bool> {
        let (status, answer) = self.call_as((user, password), "GET", "/api/whoami", Value::Null).await?;
        Ok(status == 200 || answer.get("error") == Some(&json!("not_authorised")))
    }

    async fn call_as(&self, by: (&str, &str), method: &str, path: &str, json: Value) -> Result<(u16, Value)> {
        let credentials = format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", by.0, by.1)));
        self.web.call(method, path, &[("authorization", &credentials)], &json).await
    }

    /// Stops the server.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn stop(&self) -> Result<()> {
        self.running.down(&"RabbitMQ")
    }
}

impl Server {
    /// Writes the server's files, and starts Erlang's port mapper, which the server would start as a daemon.
    fn prepared(mut self) -> Result<Self> {
        let file = |name: &str, content: &str| self.home.write_private(&self.home.path().join(name), content);
        file("ca.pem", self.certificate.ca_pem())?;
        file("cert.pem", self.certificate.cert_pem())?;
        file("key.pem", self.certificate.key_pem())?;
        file("plugins", "[rabbitmq_management].\n")?;
        let [_, _, mapper] = &self.ports;
        let mut epmd = self.home.command(&self.programs.epmd());
        epmd.args(["-port", &mapper.number().to_string(), "-address", "127.0.0.1"]);
        let (path, log) = self.home.log("epmd.log")?;
        let too = log.try_clone().map_err(provision::Error::io("open", &path))?;
        let spawned = Process::spawn_server(epmd.stdout(log).stderr(too), Signal::TERM);
        self.epmd = Some(spawned.map_err(provision::Error::io("start", &self.programs.epmd()))?);
        Ok(self)
    }

    fn configuration(&self, port: u16) -> String {
        let [amqp, _, _] = &self.ports;
        let (directory, amqp) = (self.home.path().display(), amqp.number());
        format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}
management.ssl.port = {port}
management.ssl.ip = 127.0.0.1
management.ssl.cacertfile = {directory}/ca.pem
management.ssl.certfile = {directory}/cert.pem
management.ssl.keyfile = {directory}/key.pem
default_user = {SUPERUSER}
default_pass = {}
",
            self.superuser.expose()
        )
    }
}

impl Launchable for Server {
    const STOP: Signal = Signal::KILL;

    fn title(&self) -> String {
        "RabbitMQ".to_owned()
    }

    fn home(&self) -> &Home {
        &self.home
    }

    fn program(&self, port: u16) -> Result<Command> {
        let directory = self.home.path();
        self.home.write_private(&directory.join("rabbitmq.conf"), &self.configuration(port))?;
        let [_, distribution, mapper] = &self.ports;
        let mut command = self.home.command(&self.programs.home().join("sbin/rabbitmq-server"));
        let path = format!("{}/bin:/usr/bin:/bin", self.programs.erlang().display());
        let variables = [
            ("PATH", path),
            ("HOME", directory.display().to_string()),
            ("ERL_EPMD_PORT", mapper.number().to_string()),
            ("RABBITMQ_HOME", self.programs.home().display().to_string()),
            ("RABBITMQ_NODENAME", "lab@localhost".to_owned()),
            ("RABBITMQ_DIST_PORT", distribution.number().to_string()),
            ("RABBITMQ_LOGS", "-".to_owned()),
            ("RABBITMQ_MNESIA_BASE", directory.join("mnesia").display().to_string()),
            ("RABBITMQ_LOG_BASE", directory.join("log").display().to_string()),
            ("RABBITMQ_PID_FILE", directory.join("pid").display().to_string()),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", directory.join("plugins").display().to_string()),
            ("RABBITMQ_CONFIG_FILE", directory.join("rabbitmq.conf").display().to_string()),
            // One scheduler is enough for a server with one client, and the port mapper runs already.
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1 -start_epmd false".to_owned()),
            // The script becomes the server. Otherwise it would start it as a child, which would outlive it.
            ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
        ];
        command.envs(variables);
        Ok(command)
    }

    fn is_ready(&self, _: &Process, news: &str) -> bool {
        news.contains(READY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_user_is_accepted_with_its_password_alone() {
        let server = RabbitMq::start().await.unwrap();
        let user = json!({"password": "first", "tags": ""});
        assert_eq!(server.admin("PUT", "/api/users/app", user).await.unwrap().0, 201);
        assert!(server.accepts("app", "first").await.unwrap());
        assert!(!server.accepts("app", "other").await.unwrap());
        assert!(!server.accepts("nobody", "first").await.unwrap());
        server.stop().unwrap();
        assert!(server.accepts("app", "first").await.is_err());
    }
}
