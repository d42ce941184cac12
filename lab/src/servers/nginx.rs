//! A throwaway nginx, which ends TLS with the certificate that it is given, and loads another one without refusing a client.

use super::error::{Result, blocking};
use super::home::Home;
use super::launch::{Launchable, Running, launch};
use crate::port::Reserved;
use crate::process::Process;
use crate::provision;
use rustix::process::Signal;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

const CHAIN: &str = "fullchain.pem";
const KEY: &str = "key.pem";

/// A running nginx. Dropping it stops it and removes its directory.
#[derive(Debug)]
pub struct Nginx {
    // Before the server, whose directory goes last: fields are dropped in order.
    running: Running,
    port: Arc<Reserved>,
    server: Server,
}

#[derive(Debug)]
struct Server {
    program: PathBuf,
    home: Home,
}

impl Nginx {
    /// Starts one on a free port of 127.0.0.1, with this chain and this key as PEM text. Its program is obtained first if need be.
    ///
    /// # Errors
    /// [`Error::Provision`](super::Error::Provision) if there is no program to be had; [`Error::NotReady`](super::Error::NotReady) if it
    /// does not start.
    pub async fn start(chain: &str, key: &str) -> Result<Self> {
        let (chain, key) = (chain.to_owned(), key.to_owned());
        blocking(move || {
            let server = Server { program: provision::nginx()?, home: Home::new("nginx")? };
            server.has(&chain, &key)?;
            let (running, port) = launch(&server)?;
            Ok(Self { running, port, server })
        })
        .await
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Has it load another certificate, as a person does with `nginx -s reload`. It does so a moment later.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn load(&self, chain: &str, key: &str) -> Result<()> {
        self.server.has(chain, key)?;
        self.running.reload(&"nginx").map(drop)
    }
}

impl Server {
    fn has(&self, chain: &str, key: &str) -> Result<()> {
        self.home.write_private(&self.home.path().join(CHAIN), chain)?;
        self.home.write_private(&self.home.path().join(KEY), key)
    }

    fn configuration(&self, port: u16) -> String {
        let home = self.home.path().display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary: String = temporary.map(|kind| format!("  {kind}_temp_path {home}/{kind};\n")).concat();
        format!(
            "daemon off;\nworker_processes 2;\npid {home}/nginx.pid;\nerror_log stderr notice;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n  access_log off;\n{temporary}  \
             server {{\n    listen 127.0.0.1:{port} ssl;\n    ssl_certificate {home}/{CHAIN};\n    \
             ssl_certificate_key {home}/{KEY};\n    location / {{ return 200 \"served\"; }}\n  }}\n}}\n"
        )
    }
}

impl Launchable for Server {
    const STOP: Signal = Signal::TERM;

    fn title(&self) -> String {
        "nginx".to_owned()
    }

    fn home(&self) -> &Home {
        &self.home
    }

    fn program(&self, port: u16) -> Result<Command> {
        let settings = self.home.path().join("nginx.conf");
        self.home.write_private(&settings, &self.configuration(port))?;
        let mut nginx = self.home.command(&self.program);
        // Without `-e` it opens a log of the machine's first.
        nginx.args(["-e", "stderr", "-c"]).arg(settings);
        Ok(nginx)
    }

    fn is_ready(&self, _: &Process, news: &str) -> bool {
        // The master listens before it starts workers.
        news.contains("start worker process")
    }
}
