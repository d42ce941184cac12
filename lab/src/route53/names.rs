//! A name server that takes its answers over HTTP: `pebble-challtestsrv`.
//!
//! <https://github.com/letsencrypt/challtestsrv>

use axum::body::Body;
use axum::http::{Request, header};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::io;
use tokio::net::TcpStream;

/// The name server whose management listens on this port.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    port: u16,
}

impl Names {
    /// The name server whose management listens on this port of this machine.
    pub fn new(port: u16) -> Self {
        Self { port }
    }

    /// Makes the server answer with these TXT values and no others.
    ///
    /// # Errors
    /// The name server is not there.
    pub async fn answer(&self, name: &str, values: &[String]) -> io::Result<()> {
        let host = format!("{name}.");
        self.tell("/clear-txt", json!({"host": host})).await?;
        for value in values {
            self.tell("/set-txt", json!({"host": host, "value": value})).await?;
        }
        Ok(())
    }

    /// Makes the server answer with a CNAME.
    ///
    /// # Errors
    /// The name server is not there.
    pub async fn alias(&self, name: &str, target: &str) -> io::Result<()> {
        self.tell("/set-cname", json!({"host": format!("{name}."), "target": format!("{target}.")})).await
    }

    /// Makes the server answer with CAA records.
    ///
    /// # Errors
    /// The name server is not there.
    pub async fn forbid(&self, name: &str, issuer: &str) -> io::Result<()> {
        let policies = json!([{"tag": "issue", "value": issuer}]);
        self.tell("/add-caa", json!({"host": format!("{name}."), "policies": policies})).await
    }

    async fn tell(&self, path: &str, body: serde_json::Value) -> io::Result<()> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let (mut sender, connection) = handshake(TokioIo::new(tcp)).await.map_err(io::Error::other)?;
        let running = tokio::spawn(connection);
        let request = Request::post(path).header(header::HOST, "localhost").body(Body::from(body.to_string()));
        let answer = sender.send_request(request.map_err(io::Error::other)?).await.map_err(io::Error::other);
        running.abort();
        match answer?.status().as_u16() {
            200 => Ok(()),
            status => Err(io::Error::other(format!("{path}: the status {status}"))),
        }
    }
}
