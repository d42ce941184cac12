//! Limits on what a server may say during a connection.
//!
//! The driver answers a request for a cleartext password (AuthenticationCleartextPassword; manual, "Message Formats")
//! with the password. Without TLS anyone on the path could send that request, so it is refused there. Over verified TLS the
//! server itself sends it, if pg_hba.conf has a `password` line.
//!
//! The driver buffers a message until it is complete, and a message may announce up to 2 GB. It keeps every message of an answer, and
//! one of seven bytes takes hundreds. So messages are counted where they are read: inside TLS, if there is any.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// How many bytes may come on one connection beneath TLS. What comes inside has a narrower limit.
const MOST_BYTES: usize = 16 << 20;
/// How much memory the messages of one connection may take. A rotation's answers take tens of kilobytes, and a megabyte for a role with
/// thousands of settings and memberships. A Lambda function has at least 128 MB.
const MOST_MEMORY: usize = 32 << 20;
/// What a message takes besides its text: the driver's structure for a row, with two allocations, or for a parameter.
const MESSAGE: usize = 256;
/// How often a byte of a message is in memory. The worst are rows of NULLs: four bytes become a range of 24, and are kept themselves.
const TIMES: usize = 8;

/// `R`, length 8, request 3.
const CLEARTEXT_REQUEST: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];
/// A message's type and length. The length counts itself.
const HEAD: usize = 5;
const SHORTEST: usize = 4;

/// The server asked for the password in clear.
#[derive(Debug)]
pub(crate) struct CleartextRequested;

impl std::fmt::Display for CleartextRequested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the server asked for the password in clear")
    }
}

impl std::error::Error for CleartextRequested {}

/// Whether a connection ended because the server said too much, or something that is no message. The driver does not pass that on to
/// whoever waits for an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strange(Arc<AtomicBool>);

impl Strange {
    pub(crate) fn seen(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn found(&self) -> io::Error {
        self.0.store(true, Ordering::Relaxed);
        io::Error::other("the server says too much, or what is no message")
    }
}

/// A stream that fails if the server sends too much or, without TLS, asks for the password in clear.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    stream: S,
    /// How many bytes of [`CLEARTEXT_REQUEST`] have come as the first message; `None` once it is another message.
    seen: Option<usize>,
    limit: Limit,
    strange: Strange,
}

#[derive(Debug)]
enum Limit {
    /// Of bytes that are encrypted.
    Bytes { left: usize },
    /// Of messages.
    Memory { left: usize, head: Vec<u8>, body: usize, first: bool },
}

impl<S> Guarded<S> {
    /// For a connection that stays in plaintext.
    pub(crate) fn plaintext(stream: S, strange: Strange) -> Self {
        Self { seen: Some(0), ..Self::inside_tls(stream, strange) }
    }

    /// For the encrypted side of a connection under TLS.
    pub(crate) fn beneath_tls(stream: S, strange: Strange) -> Self {
        Self { stream, seen: None, limit: Limit::Bytes { left: MOST_BYTES }, strange }
    }

    /// For the decrypted side.
    fn inside_tls(stream: S, strange: Strange) -> Self {
        let limit = Limit::Memory { left: MOST_MEMORY, head: Vec::with_capacity(HEAD), body: 0, first: true };
        Self { stream, seen: None, limit, strange }
    }

    fn inspect(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.limit.take(bytes).is_none() {
            let error = if self.limit.is_text() { io::Error::other("no session") } else { self.strange.found() };
            return Err(error);
        }
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

impl Limit {
    /// Whether a limit was reached because the server could not begin a session. It says so in a text of an older protocol, an `E` and no
    /// length (PostgreSQL manual, 54.2 "Message Flow", "Start-up").
    fn is_text(&self) -> bool {
        matches!(self, Self::Memory { head, first: true, .. } if head.first() == Some(&b'E'))
    }

    /// `None` once the limit is reached, or where no message can begin.
    fn take(&mut self, mut bytes: &[u8]) -> Option<()> {
        match self {
            Self::Bytes { left } => *left = left.checked_sub(bytes.len())?,
            Self::Memory { left, head, body, first } => {
                while !bytes.is_empty() {
                    let skipped = (*body).min(bytes.len());
                    *body -= skipped;
                    bytes = bytes.get(skipped..)?;
                    let (next, rest) = bytes.split_at_checked((HEAD - head.len()).min(bytes.len()))?;
                    bytes = rest;
                    head.extend_from_slice(next);
                    if let [_, length @ ..] = head.as_slice()
                        && let Ok(length) = <[u8; 4]>::try_from(length)
                    {
                        *body = usize::try_from(u32::from_be_bytes(length)).ok()?.checked_sub(SHORTEST)?;
                        // Before the body comes, so that it is not waited for.
                        *left = left.checked_sub(body.checked_mul(TIMES)?.checked_add(MESSAGE)?)?;
                        head.clear();
                        *first = false;
                    }
                }
            }
        }
        Some(())
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

impl<S: TlsStream + Unpin> TlsStream for Guarded<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// Makes TLS connections whose decrypted side is guarded.
pub(crate) struct GuardedTls<C>(pub(crate) C, pub(crate) Strange);

impl<S, C> TlsConnect<S> for GuardedTls<C>
where
    C: TlsConnect<S, Future: Send + 'static, Stream: 'static, Error: 'static>,
{
    type Stream = Guarded<C::Stream>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let Self(connector, strange) = self;
        let connecting = connector.connect(stream);
        Box::pin(async move { Ok(Guarded::inside_tls(connecting.await?, strange)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plaintext() -> Guarded<()> {
        Guarded::plaintext((), Strange::default())
    }

    #[test]
    fn only_a_request_for_the_password_itself_is_refused() {
        assert!(plaintext().inspect(&CLEARTEXT_REQUEST).is_err());
        assert!(plaintext().inspect(&[b'R', 0, 0, 0, 8, 0, 0, 0, 0]).is_ok());
        assert!(plaintext().inspect(&[b'R', 0, 0, 0, 12, 0, 0, 0, 5, 1, 2, 3, 4]).is_ok());
    }

    #[test]
    fn a_server_that_cannot_begin_a_session_is_not_strange() {
        let fails = |bytes: &[u8]| {
            let strange = Strange::default();
            assert!(Guarded::plaintext((), strange.clone()).inspect(bytes).is_err());
            strange.seen()
        };
        assert!(!fails(b"Ecould not fork new process for connection: Cannot allocate memory\n\0"));
        assert!(fails(b"Rcould not fork"));
        assert!(fails(b"N\0\0\0\x04Ecould not fork"));
    }

    #[test]
    fn the_request_is_seen_when_it_comes_in_pieces() {
        let mut guarded = plaintext();
        let (last, first) = CLEARTEXT_REQUEST.split_last().unwrap();
        for byte in first {
            guarded.inspect(&[*byte]).unwrap();
        }
        assert!(guarded.inspect(&[*last]).is_err());
        assert!(!guarded.strange.seen());
    }

    #[test]
    fn a_server_that_never_stops_is_stopped() {
        let mut guarded = Guarded::beneath_tls((), Strange::default());
        assert!(guarded.inspect(&vec![0; MOST_BYTES]).is_ok());
        assert!(guarded.inspect(&[0]).is_err());
        assert!(guarded.strange.seen());
    }

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let (empty, most) = ([b'D', 0, 0, 0, 4], MOST_MEMORY / MESSAGE);
        for pieces in [1, 3, 5, 5000] {
            let mut guarded = plaintext();
            let all = empty.repeat(most);
            assert!(all.chunks(pieces).all(|piece| guarded.inspect(piece).is_ok()), "{pieces}");
            assert!(guarded.inspect(&empty).is_err());
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_not_waited_for() {
        let length = |length: u32| [&b"D"[..], &length.to_be_bytes()].concat();
        let longest = u32::try_from((MOST_MEMORY - MESSAGE) / TIMES + SHORTEST).unwrap();
        assert!(plaintext().inspect(&length(longest)).is_ok());
        for other in [longest + 1, u32::MAX, 0, 3] {
            assert!(plaintext().inspect(&length(other)).is_err(), "{other}");
        }
    }
}
