//! Plaintext connections, on which a server must not be given the password itself.
//!
//! The driver answers a request for a cleartext password (AuthenticationCleartextPassword; manual, "Message Formats")
//! with the password. On a connection without TLS anyone on the path could ask for it, so the request is refused here.
//! Over verified TLS it is the server itself that asks, and LDAP or PAM users have no other way.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

/// A stream that fails if the server's first message asks for the password in clear.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    stream: S,
    /// How many bytes of [`CLEARTEXT_REQUEST`] were seen; `None` once another message came.
    seen: Option<usize>,
}

impl<S> Guarded<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, seen: Some(0) }
    }

    fn inspect(&mut self, bytes: &[u8]) -> io::Result<()> {
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
        assert!(Guarded::new(()).inspect(&CLEARTEXT_REQUEST).is_err());
        assert!(Guarded::new(()).inspect(&[b'R', 0, 0, 0, 8, 0, 0, 0, 0]).is_ok());
        assert!(Guarded::new(()).inspect(&[b'R', 0, 0, 0, 12, 0, 0, 0, 5, 1, 2, 3, 4]).is_ok());
    }

    #[test]
    fn the_request_is_seen_when_it_comes_in_pieces() {
        let mut guarded = Guarded::new(());
        let (last, first) = CLEARTEXT_REQUEST.split_last().unwrap();
        for byte in first {
            guarded.inspect(&[*byte]).unwrap();
        }
        assert!(guarded.inspect(&[*last]).is_err());
    }
}
