//! A loopback port that is served at one more address.

use super::Subnet;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Connections that wait to be accepted. A function makes a few at a time.
const BACKLOG: i32 = 128;

/// Serves a port of the loopback interface at another address of this machine, under the same number. Dropping it closes all its
/// connections.
#[derive(Debug)]
pub struct Forward(JoinHandle<()>);

impl Forward {
    /// Binds `port` of `address`, and of no other address. Only clients in `clients` are served, if that is given: this machine
    /// answers at a bridge's address on its other networks, too.
    ///
    /// The address may still be missing: Podman makes its bridge with the first container and removes it with the last one.
    ///
    /// # Errors
    /// The port is taken there.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(address: Ipv4Addr, port: u16, clients: Option<Subnet>) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        // IP_FREEBIND of ip(7): an address that the machine does not have yet.
        socket.set_freebind_v4(true)?;
        socket.bind(&SocketAddr::from((address, port)).into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket.into())?;
        Ok(Self(tokio::spawn(accept(listener, port, clients))))
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn accept(listener: TcpListener, port: u16, clients: Option<Subnet>) {
    let served = |address: IpAddr| match (address, clients) {
        (IpAddr::V4(address), Some(clients)) => clients.contains(address),
        (_, clients) => clients.is_none(),
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) if served(peer.ip()) => drop(connections.spawn(forward(stream, port))),
                Ok(_) => {}
                // Probably out of file descriptors, which is temporary.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn forward(mut client: TcpStream, port: u16) {
    // Without a server behind it, the client sees its connection close.
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    // An error concerns only the two sides: one of them hung up.
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Another address of the loopback interface, as a bridge's is another address of the machine.
    const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

    /// A server on 127.0.0.1 that says back what it hears.
    async fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reading, mut writing) = stream.split();
                    tokio::io::copy(&mut reading, &mut writing).await
                });
            }
        });
        port
    }

    async fn answered(address: Ipv4Addr, port: u16) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect((address, port)).await?;
        stream.write_all(b"hello").await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_port_is_served_at_the_address_and_at_no_other() {
        let port = echo().await;
        let forward = Forward::start(OTHER, port, None).unwrap();
        assert_eq!(answered(OTHER, port).await.unwrap(), b"hello");
        let elsewhere = answered(Ipv4Addr::new(127, 0, 0, 3), port).await.unwrap_err();
        assert_eq!(elsewhere.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(Forward::start(OTHER, port, None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(forward);
        tokio::task::yield_now().await;
        assert_eq!(answered(OTHER, port).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn clients_from_elsewhere_get_no_answer() {
        let port = echo().await;
        let _forward = Forward::start(OTHER, port, Some("10.88.0.0/16".parse().unwrap())).unwrap();
        assert_ne!(answered(OTHER, port).await.ok().as_deref(), Some(&b"hello"[..]));
    }

    #[tokio::test]
    async fn an_address_that_is_not_there_yet_is_bound() {
        // TEST-NET-1 of RFC 5737: no machine has it.
        Forward::start(Ipv4Addr::new(192, 0, 2, 77), echo().await, None).unwrap();
    }
}
