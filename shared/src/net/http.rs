//! One request and its whole answer over HTTP/1, with a limit for each: for hosts that are no AWS service.

use crate::clock::{Deadline, since_epoch};
use crate::error::{Code, Error, Result};
use crate::net::tls;
use http::response::Parts;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Secures a connection to this host.
///
/// # Errors
/// Those of [`tls::failure`]; [`Code::ConnectionLost`], [`Code::ServerSilent`].
pub async fn secured(
    connector: &TlsConnector,
    host: &str,
    tcp: TcpStream,
    deadline: Deadline,
) -> Result<TlsStream<TcpStream>> {
    // Only a URL has brackets around an IPv6 address.
    let name = tls::server_name(host.trim_start_matches('[').trim_end_matches(']'))?;
    match deadline.limit(connector.connect(name, tcp)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(tls::failure(&error).unwrap_or_else(|| Error::new(Code::ConnectionLost))),
        Err(_) => Err(Error::new(Code::ServerSilent)),
    }
}

/// Sends a message over a connection, and reads the whole answer, of which `largest` bytes are taken.
///
/// # Errors
/// [`Code::ConnectionLost`], [`Code::AnswerTooLarge`].
pub async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    message: Request<Full<Bytes>>,
    largest: usize,
) -> Result<(Parts, Bytes), Code> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| Code::ConnectionLost)?;
    let exchange = async {
        let response = sender.send_request(message).await.map_err(|_| Code::ConnectionLost)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, largest).collect().await.map_err(|error| {
            let too_large = error.is::<LengthLimitError>();
            if too_large { Code::AnswerTooLarge } else { Code::ConnectionLost }
        })?;
        Ok((head, body.to_bytes()))
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    let mut open = true;
    loop {
        tokio::select! {
            answer = &mut exchange => return answer,
            // The connection moves the bytes. The exchange reports how it ended.
            _ = &mut connection, if open => open = false,
        }
    }
}

/// How long a server asks to wait, `longest` at most: `Retry-After` (RFC 9110, section 10.2.3) is a number of seconds or a date.
pub fn retry_after(headers: &HeaderMap, longest: Duration) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds).min(longest));
    }
    let moment = httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(moment.saturating_sub(since_epoch()).min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LONGEST: Duration = Duration::from_secs(3600);

    fn wait(text: &str) -> Option<Duration> {
        let headers = [(header::RETRY_AFTER, text.parse().unwrap())].into_iter().collect();
        retry_after(&headers, LONGEST)
    }

    #[test]
    fn a_wait_is_a_number_or_a_date() {
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let soon = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_epoch() + Duration::from_secs(30));
        let left = wait(&soon).unwrap();
        assert!(left > Duration::from_secs(20) && left <= Duration::from_secs(30), "{left:?}");
        assert_eq!(wait("99999999999"), Some(LONGEST));
        for nothing in ["", "-1", "1.5", "soon"] {
            assert_eq!(wait(nothing), None, "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn any_wait_is_read_or_not_and_has_a_limit(text in "[ -~]{0,40}|[0-9]{1,30}|(Sun|Mon), [0-9]{2} (Jan|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT") {
            if let Some(wait) = wait(&text) {
                // Callers add to it, so it must not overflow.
                prop_assert!(wait <= LONGEST, "{wait:?}");
            }
        }
    }
}
