//! Limits on what a server may say during a connection.
//!
//! The driver answers a request for a cleartext password (AuthenticationCleartextPassword; manual, "Message Formats")
//! with the password. Without TLS anyone on the path could send that request, so it is refused there. Over verified TLS the
//! server itself sends it, if pg_hba.conf has a `password` line.
//!
//! The driver also buffers a message until it is complete. A message may announce up to 2 GB.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes a server may send on one connection. A rotation's answers take kilobytes, and tens of kilobytes for a role
/// with hundreds of settings and memberships. A Lambda function has at least 128 MB.
const MOST_BYTES: usize = 16 << 20;

/// `R`, length 8, request 3.
const CLEARTEXT_REQUEST: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];

/// The server asked for the password in clear.
#[derive(Debug)]
pub(crate) struct CleartextRequested;

impl std::fmt::Display for CleartextRequested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the server asked for the password in clear")
    }
}

impl std::error::Error for CleartextRequested {}

/// A stream that fails if the server sends too much or, without TLS, asks for the password in clear.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    stream: S,
    /// How many bytes of [`CLEARTEXT_REQUEST`] have come as the first message; `None` once it is another message.
    seen: Option<usize>,
    left: usize,
}

impl<S> Guarded<S> {
    /// For a connection that stays in plaintext.
    pub(crate) fn plaintext(stream: S) -> Self {
        Self { stream, seen: Some(0), left: MOST_BYTES }
    }

    /// For a connection under TLS.
    pub(crate) fn tls(stream: S) -> Self {
        Self { stream, seen: None, left: MOST_BYTES }
    }

    fn inspect(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes.len()).ok_or_else(|| io::Error::other("the server says too much"))?;
        for byte in bytes {
            let Some(seen) = self.seen else { return Ok(()) };
            self.seen = CLEARTEXT_REQUEST.get(seen).filter(|expected| *expected == byte).map(|_| seen + 1);
            if self.seen == Some(CLEARTEXT_REQUEST.len()) {
                return Err(io::Error::other(CleartextRequested));
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        Poll::Ready(self.inspect(fresh))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_for_the_password_itself_is_refused() {
        assert!(Guarded::plaintext(()).inspect(&CLEARTEXT_REQUEST).is_err());
        assert!(Guarded::plaintext(()).inspect(&[b'R', 0, 0, 0, 8, 0, 0, 0, 0]).is_ok());
        assert!(Guarded::plaintext(()).inspect(&[b'R', 0, 0, 0, 12, 0, 0, 0, 5, 1, 2, 3, 4]).is_ok());
    }

    #[test]
    fn the_request_is_seen_when_it_comes_in_pieces() {
        let mut guarded = Guarded::plaintext(());
        let (last, first) = CLEARTEXT_REQUEST.split_last().unwrap();
        for byte in first {
            guarded.inspect(&[*byte]).unwrap();
        }
        assert!(guarded.inspect(&[*last]).is_err());
    }

    #[test]
    fn a_server_that_never_stops_is_stopped() {
        let mut guarded = Guarded::tls(());
        assert!(guarded.inspect(&vec![0; MOST_BYTES]).is_ok());
        assert!(guarded.inspect(&[0]).is_err());
    }
}
