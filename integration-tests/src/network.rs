//! What stands in the way of a connection, or listens to it.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Passes bytes on to a local server, and keeps what its clients said.
pub struct Tap {
    /// Where it listens.
    pub port: u16,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tap {
    /// In front of this port.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::<Vec<u8>>::new()));
        let record = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut from_client, mut to_client) = client.into_split();
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let (mut from_server, mut to_server) = server.into_split();
                let record = Arc::clone(&record);
                let number = record.lock().unwrap().len();
                record.lock().unwrap().push(Vec::new());
                tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                        record.lock().unwrap()[number].extend(&buffer[..length]);
                        let _ = to_server.write_all(&buffer[..length]).await;
                    }
                });
            }
        });
        Self { port, heard }
    }

    /// What each client said.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }
}

/// A listener whose queue is full: Linux drops the SYNs of further clients, as a firewall would.
pub async fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut guests = Vec::new();
    while let Ok(guest) = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        guests.push(guest.unwrap());
        assert!(guests.len() < 100, "the queue does not fill");
    }
    (listener, guests)
}
