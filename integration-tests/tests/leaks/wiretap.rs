//! Keeps what a function sends to Secrets Manager: the only place where a `RotationToken` is to be seen.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Forwards connections to the lab.
pub struct Wiretap {
    address: SocketAddr,
    lab: Arc<OnceLock<SocketAddr>>,
    heard: Arc<Mutex<Vec<Connection>>>,
}

type Connection = Arc<Mutex<Vec<u8>>>;

impl Wiretap {
    /// Takes a port. What connects before [`forward_to`](Self::forward_to) is hung up on.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let tap = Self { address, lab: Arc::default(), heard: Arc::default() };
        let (lab, heard) = (Arc::clone(&tap.lab), Arc::clone(&tap.heard));
        // Ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((function, _)) = listener.accept().await {
                let Some(address) = lab.get().copied() else { continue };
                let said = Connection::default();
                heard.lock().expect("nobody panicked").push(Arc::clone(&said));
                tokio::spawn(forward(function, address, said));
            }
        });
        tap
    }

    /// What to give to the function as Secrets Manager's address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Forwards to this URL of a lab.
    pub fn forward_to(&self, url: &str) {
        let address = url.trim_start_matches("http://").parse().expect("host and port");
        self.lab.set(address).expect("it forwards to one lab");
    }

    /// All values of `RotationToken` that were sent.
    pub fn rotation_tokens(&self) -> BTreeSet<String> {
        let connections = self.heard.lock().expect("nobody panicked");
        let texts = connections.iter().map(|said| String::from_utf8_lossy(&said.lock().expect("same")).into_owned());
        texts.flat_map(|text| tokens(&text)).collect()
    }
}

fn tokens(text: &str) -> Vec<String> {
    let values = text.split("\"RotationToken\":\"").skip(1);
    values.filter_map(|rest| rest.split_once('"')).map(|(value, _)| value.to_owned()).collect()
}

async fn forward(function: TcpStream, lab: SocketAddr, said: Connection) -> std::io::Result<()> {
    let (mut from_function, mut to_function) = function.into_split();
    let (mut from_lab, mut to_lab) = TcpStream::connect(lab).await?.into_split();
    let answers = tokio::spawn(async move { tokio::io::copy(&mut from_lab, &mut to_function).await });
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from_function.read(&mut buffer).await?;
        if length == 0 {
            break;
        }
        said.lock().expect("nobody panicked").extend_from_slice(&buffer[..length]);
        to_lab.write_all(&buffer[..length]).await?;
    }
    to_lab.shutdown().await?;
    answers.await.map(drop).map_err(std::io::Error::other)
}
