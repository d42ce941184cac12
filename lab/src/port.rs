//! Loopback ports that stay reserved, also while no server listens on them.

use std::io;
use std::net::Ipv4Addr;
use tokio::net::TcpSocket;

/// A port that the system gives to no other process while this lives. Until a server listens on it, connections are refused.
///
/// Its socket is bound and does not listen. Where both sides set `SO_REUSEADDR`, as servers do, Linux lets a server bind
/// such an address (socket(7)). But Linux chooses it neither for a request for any port nor for an outgoing connection.
#[derive(Debug)]
pub struct Reserved {
    number: u16,
    #[expect(dead_code, reason = "held so that nobody else gets the port")]
    socket: TcpSocket,
}

impl Reserved {
    /// Reserves a free port.
    ///
    /// # Errors
    /// Fails where none is free.
    pub fn new() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(Self { number: socket.local_addr()?.port(), socket })
    }

    /// The port.
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn it_refuses_and_is_nobody_elses_before_and_after_a_server_listens() {
        let port = Reserved::new().unwrap();
        let address = (Ipv4Addr::LOCALHOST, port.number());
        for _ in 0..2 {
            // A process that another test starts has the last listener, too, until it runs its own program.
            let refused = (0..200).any(|_| {
                let refused =
                    TcpStream::connect(address).is_err_and(|it| it.kind() == io::ErrorKind::ConnectionRefused);
                if !refused {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                refused
            });
            assert!(refused);
            let other = TcpSocket::new_v4().unwrap();
            assert_eq!(other.bind(address.into()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            // The standard library sets SO_REUSEADDR.
            let server = TcpListener::bind(address).unwrap();
            TcpStream::connect(address).unwrap();
            drop(server);
        }
    }
}
