//! A TCP connection to the first address of a host that answers.

use crate::clock::Deadline;
use crate::error::{Code, Error, Result};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Connects to the first address that answers. Each address gets `each`, within the deadline.
///
/// # Errors
/// [`Code::ConnectionRefused`] or [`Code::ConnectTimeout`], whichever the last address ended in; [`Code::HostUnresolved`] if there is no
/// address.
pub async fn connect(
    addresses: impl IntoIterator<Item = SocketAddr>,
    each: Duration,
    deadline: Deadline,
) -> Result<TcpStream> {
    let mut failure = Error::new(Code::HostUnresolved);
    for address in addresses {
        match deadline.within(each).limit(TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                // A request is small, and nothing follows it.
                let _ = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                failure = Error::new(Code::ConnectionRefused);
            }
            Ok(Err(_)) | Err(_) => failure = Error::new(Code::ConnectTimeout),
        }
    }
    Err(failure)
}
