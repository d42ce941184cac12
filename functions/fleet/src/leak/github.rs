//! Fetches the value of an alert from GitHub, whose webhook does not send it.
//!
//! <https://docs.github.com/en/rest/secret-scanning/secret-scanning#get-a-secret-scanning-alert>

use super::found::LONGEST;
use http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::Full;
use hyper::body::Bytes;
use rotation::clock::Deadline;
use rotation::environment::Environment;
use rotation::error::{Code, Error, Fact, Result};
use rotation::net::http::{converse, secured};
use rotation::net::tls::Verifier;
use rotation::net::{address, tcp};
use rotation::secret::SecretText;
use serde_json::Value;
use std::fmt;
use std::time::Duration;
use tokio_rustls::TlsConnector;

/// Where GitHub answers. Enterprise Server does at `https://HOST/api/v3`.
const PUBLIC: &str = "https://api.github.com";
/// The version of the API that is asked for. <https://docs.github.com/en/rest/about-the-rest-api/api-versions>
const VERSION: &str = "2022-11-28";
/// An alert has some thousand bytes, most of them about its repository.
const MAX_ANSWER: usize = 256 * 1024;
/// GitHub waits ten seconds for the answer to a webhook, and the search comes afterwards.
const LIMIT: Duration = Duration::from_secs(5);
/// The time for connecting to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads alerts, with the deployer's token and at the deployer's host.
pub(super) struct GitHub {
    /// `GITHUB_TOKEN_SECRET`: the secret whose text is a token that may read alerts of secret scanning.
    pub(super) token: String,
    host: String,
    port: u16,
    /// The path before that of each request.
    base: String,
    /// Whether the deployer has named the host, which may be in the function's network then.
    named: bool,
    tls: TlsConnector,
}

/// The address of an alert.
///
/// **Invariant:** it adds names and a number to the deployer's address, and nothing else. Whoever forges a delivery otherwise has the
/// token sent to another host or path. Test: `only_names_and_a_number_make_an_address`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alert {
    owner: String,
    repository: String,
    number: u64,
}

impl Alert {
    /// The alert `number` of a repository such as `octo-org/octo-repo`. `None` if these are no names.
    pub(super) fn of(full_name: &str, number: u64) -> Option<Self> {
        let (owner, repository) = full_name.split_once('/')?;
        let plain = |name: &str, more: &[char]| {
            let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || more.contains(&c);
            (1..=100).contains(&name.len()) && name.chars().all(known)
        };
        let dots = matches!(repository, "." | "..");
        let valid = plain(owner, &[]) && plain(repository, &['.']) && !dots && number > 0;
        valid.then(|| Self { owner: owner.to_owned(), repository: repository.to_owned(), number })
    }
}

impl GitHub {
    /// Reads `GITHUB_TOKEN_SECRET`, without which no alert is fetched, `GITHUB_API_URL` and `CA_BUNDLE`.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`]; [`Code::CaBundleInvalid`].
    pub(super) fn new(environment: &Environment) -> Result<Option<Self>> {
        let Some(token) = environment.text("GITHUB_TOKEN_SECRET")? else { return Ok(None) };
        let url = environment.text("GITHUB_API_URL")?;
        let (host, port, base) = url.as_deref().map_or_else(|| place(PUBLIC), place).ok_or_else(|| {
            let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, "GITHUB_API_URL");
            let expected = "https:// and a host, perhaps with a port and a path: https://github.example.com/api/v3";
            error.with(Fact::Found, "something else").with(Fact::Expected, expected)
        })?;
        let bundle = environment.ca_bundle()?;
        let extra: Vec<_> = bundle.iter().map(|pem| ("CA_BUNDLE", pem.as_str())).collect();
        let tls = TlsConnector::from(Verifier::with_roots(webpki_roots::TLS_SERVER_ROOTS, &extra)?.config());
        Ok(Some(Self { token, host, port, base, named: url.is_some(), tls }))
    }

    /// The leaked value that an alert is about.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`] for a token that GitHub refuses; [`Code::AlertUnread`]; those of reaching the host.
    pub(super) async fn value(&self, alert: &Alert, token: &SecretText, deadline: Deadline) -> Result<SecretText> {
        let placed = |error: Error| {
            let error = error.with_default(Fact::Host, &self.host).with_default(Fact::Port, self.port);
            let next = "Nothing was rotated. Read the value in the alert, and hand it over as docs/fleet.md says (Leaks). Then correct the \
                        cause: the function needs a way to this host, and a token that may read the alerts of secret scanning.";
            // The code's own advice is this one already.
            if error.code() == Code::AlertUnread { error } else { error.with_default(Fact::NextAction, next) }
        };
        self.fetched(alert, token, deadline.within(LIMIT)).await.map_err(placed)
    }

    async fn fetched(&self, alert: &Alert, token: &SecretText, deadline: Deadline) -> Result<SecretText> {
        let message = self.message(alert, token)?;
        let addresses = address::resolve(&self.host, self.port, self.named, deadline).await?;
        let stream = tcp::connect(addresses, CONNECT_TIMEOUT, deadline).await?;
        let stream = secured(&self.tls, &self.host, stream, deadline).await?;
        let answer = deadline.limit(converse(stream, message, MAX_ANSWER)).await;
        let (head, body) = answer.map_err(|_| Error::new(Code::ServerSilent))?.map_err(Error::new)?;
        let status = head.status.as_u16();
        let unread = |found: &str| Error::new(Code::AlertUnread).with(Fact::Status, status).with(Fact::Found, found);
        match status {
            200 => value(&body, alert.number).map_err(unread),
            429 => Err(unread("a limit of requests")),
            403 if is_limited(&head.headers) => Err(unread("a limit of requests")),
            401 | 403 | 404 => {
                Err(refused("a token with which GitHub does not show the alert").with(Fact::Status, status))
            }
            300..=399 => Err(unread("a redirect, which is not followed")),
            _ => Err(unread("no alert")),
        }
    }

    fn message(&self, alert: &Alert, token: &SecretText) -> Result<Request<Full<Bytes>>> {
        let Alert { owner, repository, number } = alert;
        let path = format!("{}/repos/{owner}/{repository}/secret-scanning/alerts/{number}", self.base);
        let authority = if self.port == 443 { self.host.clone() } else { format!("{}:{}", self.host, self.port) };
        let token = Some(token.expose().trim()).filter(|token| !token.is_empty());
        let bearer = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
        let mut bearer = bearer.ok_or_else(|| refused("nothing, or a text that is no token"))?;
        bearer.set_sensitive(true);
        let message = Request::get(path)
            .header(header::HOST, authority)
            .header(header::CONNECTION, "close")
            .header(header::ACCEPT, "application/vnd.github+json")
            .header(header::AUTHORIZATION, bearer)
            .header(header::USER_AGENT, concat!("lockstep/", env!("CARGO_PKG_VERSION")))
            .header("x-github-api-version", VERSION);
        let impossible = |_| Error::new(Code::Internal).with(Fact::What, "a request that HTTP cannot carry");
        message.body(Full::default()).map_err(impossible)
    }
}

impl fmt::Debug for GitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// GitHub answers 403, too, to who asks too often.
///
/// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>
fn is_limited(headers: &HeaderMap) -> bool {
    headers.contains_key(header::RETRY_AFTER) || headers.get("x-ratelimit-remaining").is_some_and(|left| left == "0")
}

fn refused(found: &str) -> Error {
    let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, "GITHUB_TOKEN_SECRET");
    let expected = "a secret whose text is a token that may read the secret scanning alerts of the repository";
    error.with(Fact::Found, found).with(Fact::Expected, expected)
}

/// The field `secret` of the alert of this number.
fn value(body: &[u8], number: u64) -> Result<SecretText, &'static str> {
    let alert: Value = serde_json::from_slice(body).map_err(|_| "no JSON")?;
    if alert.get("number").and_then(Value::as_u64) != Some(number) {
        return Err("another alert");
    }
    match alert.get("secret").and_then(Value::as_str).unwrap_or_default() {
        "" => Err("an alert without its value"),
        long if long.len() > LONGEST => Err("a text that is too long for a credential"),
        value => Ok(value.into()),
    }
}

/// Host, port and path of an address.
fn place(url: &str) -> Option<(String, u16, String)> {
    let rest = url.trim().strip_prefix("https://")?.trim_end_matches('/');
    let (authority, base) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let authority: http::uri::Authority = authority.parse().ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    if authority.as_str().contains('@') || authority.host().is_empty() || !base.chars().all(plain) {
        return None;
    }
    // Without this question, a text that is no port would count as 443.
    let has_port = authority.as_str().len() > authority.host().len();
    let port = if has_port { authority.port_u16()? } else { 443 };
    Some((authority.host().to_owned(), port, base.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn github(more: &[(&str, &str)]) -> Result<Option<GitHub>> {
        GitHub::new(&Environment::of(&[&[("GITHUB_TOKEN_SECRET", "token")], more].concat())?)
    }

    #[test]
    fn only_names_and_a_number_make_an_address() {
        let alert = Alert::of("octo-org/octo.repo_1", 42).unwrap();
        let message = github(&[]).unwrap().unwrap().message(&alert, &"a-token\n".into()).unwrap();
        assert_eq!(message.uri(), "/repos/octo-org/octo.repo_1/secret-scanning/alerts/42");
        assert_eq!(message.headers()[header::HOST], "api.github.com");
        assert_eq!(message.headers()[header::AUTHORIZATION], "Bearer a-token");
        assert!(!format!("{message:?}").contains("a-token"), "{message:?}");
        let long = "a".repeat(101);
        for wrong in [
            "",
            "a",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "a/..",
            "a/.",
            "../b",
            "a/b?c",
            "a/b#c",
            "a/b%2f..",
            "a b/c",
            "a/b\r\nx",
            "a/é",
            "user@host/b",
            "host:1/b",
            &format!("{long}/b"),
            &format!("a/{long}"),
        ] {
            assert_eq!(Alert::of(wrong, 1), None, "{wrong}");
        }
        assert_eq!(Alert::of("a/b", 0), None);
    }

    #[test]
    fn the_host_is_the_deployers() {
        let at = |url: &str| github(&[("GITHUB_API_URL", url)]).map(|it| it.map(|it| (it.host, it.port, it.base)));
        let enterprise = ("github.example.com".to_owned(), 8443, "/api/v3".to_owned());
        assert_eq!(at("https://github.example.com:8443/api/v3/").unwrap(), Some(enterprise));
        assert!(GitHub::new(&Environment::of(&[("GITHUB_API_URL", "https://a.example")]).unwrap()).unwrap().is_none());
        for wrong in [
            "http://a.example",
            "a.example",
            "https://",
            "https://u:p@a.example",
            "https://a.example/b?c",
            "https://a.example:x",
        ] {
            let error = at(wrong).unwrap_err();
            assert_eq!(
                (error.code(), error.fact(Fact::Field)),
                (Code::ConfigurationInvalid, Some("GITHUB_API_URL")),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused_unprinted() {
        let github = github(&[]).unwrap().unwrap();
        for wrong in ["", " \n", "hunter2\nhunter2"] {
            let error = github.message(&Alert::of("a/b", 1).unwrap(), &wrong.into()).unwrap_err();
            assert_eq!(error.fact(Fact::Field), Some("GITHUB_TOKEN_SECRET"));
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn an_answer_has_to_be_the_alert() {
        assert_eq!(value(br#"{"number": 7, "secret": "hunter2"}"#, 7).unwrap().expose(), "hunter2");
        let long = format!(r#"{{"number": 7, "secret": "{}"}}"#, "x".repeat(LONGEST + 1));
        for (wrong, why) in [
            (r#"{"number": 8, "secret": "hunter2"}"#, "another alert"),
            (r#"{"number": 7, "secret": ""}"#, "an alert without its value"),
            (r#"{"number": 7, "secret": null}"#, "an alert without its value"),
            ("<html>", "no JSON"),
            (long.as_str(), "a text that is too long for a credential"),
        ] {
            assert_eq!(value(wrong.as_bytes(), 7).unwrap_err(), why);
        }
    }
}
