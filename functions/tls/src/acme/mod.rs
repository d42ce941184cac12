//! The protocol between an ACME client and a CA (RFC 8555), as far as certificates for DNS names need it, with renewal information
//! (RFC 9773) and profiles (draft-ietf-acme-profiles).
//!
//! ARCHITECTURE.md compares it with a client crate. What is needed of the protocol is a few requests.

mod jws;
mod order;
mod problem;

pub use jws::{AccountKey, Binding};
pub use order::{Authorization, Challenge, Order, OrderStatus};
pub use problem::{Doing, Problem};

use crate::encoding::encoded;
use crate::http::{Answer, Client, Url};
use http::{HeaderName, Method, header};
use rotation::clock::Deadline;
use rotation::{Code, Error, Fact, Result};
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

const NONCE: HeaderName = HeaderName::from_static("replay-nonce");
const JOSE: &str = "application/jose+json";
/// A server refuses a nonce that is old or was used before, and gives another one (RFC 8555, section 6.5). More refusals than this in a
/// row are no accident.
const MOST_NONCES: u32 = 8;

/// How many profiles of a CA are shown. Public CAs have three or four.
const MOST_SHOWN: usize = 10;
/// What to do about a CA that does not speak as RFC 8555 says.
const NO_ACME: &str = "Check `directory` in the secret: it has to be the URL of an ACME directory (RFC 8555). If it is, tell the CA's \
                       operator what was unexpected.";

/// A CA's resources (RFC 8555, section 7.1.1).
#[derive(Clone)]
pub struct Directory {
    place: Url,
    new_nonce: Url,
    new_account: Url,
    new_order: Url,
    revoke_cert: Option<Url>,
    key_change: Option<Url>,
    renewal_info: Option<Url>,
    /// Whether an account needs an external account binding.
    pub binding_required: bool,
    profiles: Option<Vec<String>>,
}

/// A conversation with a CA, signed by one key.
pub struct Session<'a> {
    client: &'a Client,
    /// The CA's resources.
    pub directory: Directory,
    key: AccountKey,
    account: Option<String>,
    nonce: Option<String>,
    deadline: Deadline,
}

/// What a CA suggests about the renewal of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The window's beginning, in RFC 3339.
    pub start: String,
    /// The window's end, in RFC 3339.
    pub end: String,
}

/// A request that was answered, with a refusal or without.
pub(crate) type Answered = Result<Answer, Problem>;

impl Directory {
    /// Reads the directory at this URL.
    ///
    /// # Errors
    /// Those of reaching the CA; [`Code::IssuerUnavailable`]; [`Code::AnswerUnexpected`]; [`Code::HostDenied`].
    pub async fn read(client: &Client, url: &Url, deadline: Deadline) -> Result<Self> {
        let answer = client.send(Method::GET, url, None, deadline).await?;
        if answer.status != 200 {
            return Err(unexpected_status(&answer, "directory"));
        }
        let body: Value = serde_json::from_slice(&answer.body).map_err(|_| unexpected("directory"))?;
        let optional = |name: &str| body.get(name).and_then(Value::as_str).map(|text| at(url, text)).transpose();
        let needed = |name: &str| optional(name)?.ok_or_else(|| unexpected(name));
        Ok(Self {
            place: url.clone(),
            new_nonce: needed("newNonce")?,
            new_account: needed("newAccount")?,
            new_order: needed("newOrder")?,
            revoke_cert: optional("revokeCert")?,
            key_change: optional("keyChange")?,
            renewal_info: optional("renewalInfo")?,
            binding_required: body.pointer("/meta/externalAccountRequired") == Some(&Value::Bool(true)),
            profiles: body
                .pointer("/meta/profiles")
                .and_then(Value::as_object)
                .map(|profiles| profiles.keys().cloned().collect()),
        })
    }

    /// Checks that the CA has this profile.
    ///
    /// # Errors
    /// [`Code::ProfileUnknown`].
    pub fn has_profile(&self, profile: &str) -> Result<()> {
        let profiles = self.profiles.as_deref().unwrap_or_default();
        if profiles.iter().any(|known| known == profile) {
            return Ok(());
        }
        // The names are the CA's own text.
        let shown = profiles.iter().filter(|name| is_short_name(name)).take(MOST_SHOWN).cloned();
        let shown: Vec<String> = shown.collect();
        let expected = match (profiles.is_empty(), shown.is_empty()) {
            (true, _) => "none: the CA has no profiles".to_owned(),
            (false, true) => "what the CA's documentation says".to_owned(),
            (false, false) => shown.join(", "),
        };
        Err(Error::new(Code::ProfileUnknown).with(Fact::Field, "rotation.profile").with(Fact::Expected, expected))
    }

    /// What the CA suggests about the renewal of the certificate with this id, and when to ask again. `None` if the CA suggests
    /// nothing.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub async fn renewal(&self, client: &Client, id: &str, deadline: Deadline) -> Result<Option<Renewal>> {
        let Some(url) = &self.renewal_info else { return Ok(None) };
        let url = at(&self.place, &format!("{}/{id}", url.as_str().trim_end_matches('/')))?;
        let answer = client.send(Method::GET, &url, None, deadline).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        if answer.status != 200 {
            return Err(unexpected_status(&answer, "renewalInfo"));
        }
        let body: Value = serde_json::from_slice(&answer.body).map_err(|_| unexpected("renewalInfo"))?;
        let moment = |name: &str| text(&body, &format!("/suggestedWindow/{name}")).map(str::to_owned);
        Ok(moment("start").zip(moment("end")).map(|(start, end)| Renewal { start, end }))
    }
}

impl<'a> Session<'a> {
    /// A conversation by this key. Nothing is sent yet.
    pub fn new(client: &'a Client, directory: Directory, key: AccountKey, deadline: Deadline) -> Self {
        Self { client, directory, key, account: None, nonce: None, deadline }
    }

    /// The account's key.
    pub fn key(&self) -> &AccountKey {
        &self.key
    }

    /// The account's URL, once it was found.
    pub fn account_url(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Finds the account of the key.
    ///
    /// # Errors
    /// [`Code::AdminRejected`] if the CA knows no account with this key; those of reaching the CA.
    pub async fn find_account(&mut self) -> Result<()> {
        self.account(&json!({"onlyReturnExisting": true}), Doing::Account).await
    }

    /// Registers the key. If it is registered already, the CA says which account it has.
    ///
    /// # Errors
    /// [`Code::BindingRequired`], [`Code::CaRefused`]; those of reaching the CA.
    pub async fn register(&mut self, contact: &[String], binding: Option<&Binding>) -> Result<()> {
        let mut request = json!({"termsOfServiceAgreed": true});
        if let Some(fields) = request.as_object_mut() {
            if !contact.is_empty() {
                fields.insert("contact".to_owned(), contact.into());
            }
            if let Some(binding) = binding {
                let binding = binding.of(&self.key, self.directory.new_account.as_str())?;
                fields.insert("externalAccountBinding".to_owned(), binding);
            }
        }
        self.account(&request, Doing::Registration).await
    }

    async fn account(&mut self, request: &Value, doing: Doing) -> Result<()> {
        self.account = None;
        let url = self.directory.new_account.clone();
        let answer = self.told(&url, &request.to_string(), doing).await?;
        // A deactivated account is still found (RFC 8555, section 7.3.6).
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if text(&body, "/status").is_some_and(|status| status != "valid") {
            let gone = Problem { kind: Some("unauthorized"), status: answer.status, name: None, retry_after: None };
            return Err(gone.error(Doing::Account).with(Fact::What, "the account is deactivated or revoked"));
        }
        let account = answer.header(&header::LOCATION).ok_or_else(|| unexpected("newAccount"))?;
        at(&self.directory.place, account)?;
        self.account = Some(account.to_owned());
        Ok(())
    }

    /// Gives the account another key, which signs from then on.
    ///
    /// # Errors
    /// [`Code::CaRefused`] and the like; those of reaching the CA.
    pub async fn change_key(&mut self, new: AccountKey) -> Result<()> {
        let url = self.directory.key_change.clone().ok_or_else(|| unexpected("keyChange"))?;
        let account = self.account.clone().unwrap_or_default();
        let proof = new.replaces(&self.key, &account, url.as_str())?;
        self.told(&url, &proof.to_string(), Doing::Account).await?;
        self.key = new;
        Ok(())
    }

    /// Revokes a certificate, which is given in DER.
    ///
    /// # Errors
    /// Those of reaching the CA, and of its refusals. A certificate that is revoked already is none.
    pub async fn revoke(&mut self, certificate: &[u8], reason: u8) -> Result<()> {
        let url = self.directory.revoke_cert.clone().ok_or_else(|| unexpected("revokeCert"))?;
        let request = json!({"certificate": encoded(certificate), "reason": reason}).to_string();
        match self.post(&url, &request).await? {
            Ok(_) => Ok(()),
            Err(problem) if problem.kind == Some("alreadyRevoked") => Ok(()),
            Err(problem) => Err(problem.error(Doing::Other)),
        }
    }

    /// A signed request, whose refusal is an error.
    pub(crate) async fn told(&mut self, url: &Url, payload: &str, doing: Doing) -> Result<Answer> {
        self.post(url, payload).await?.map_err(|problem| problem.error(doing))
    }

    /// A signed request. An empty payload reads a resource (RFC 8555, section 6.3).
    ///
    /// It may be sent again: a request whose answer was lost has used up its nonce, and was carried out or not.
    pub(crate) async fn post(&mut self, url: &Url, payload: &str) -> Result<Answered> {
        let mut refused = 0;
        loop {
            let nonce = match self.nonce.take() {
                Some(nonce) => nonce,
                None => self.fresh_nonce().await?,
            };
            let body = self.key.signed(self.account.as_deref(), &nonce, url.as_str(), payload)?;
            let answer = self.client.send(Method::POST, url, Some((JOSE, body)), self.deadline).await?;
            self.nonce = answer.header(&NONCE).map(str::to_owned);
            if (200..300).contains(&answer.status) {
                return Ok(Ok(answer));
            }
            if (300..400).contains(&answer.status) {
                return Err(redirected(answer.status));
            }
            let document = serde_json::from_slice(&answer.body).unwrap_or_default();
            let problem = Problem::read(answer.status, &document, answer.retry_after());
            if problem.kind != Some("badNonce") || refused == MOST_NONCES {
                return Ok(Err(problem));
            }
            refused += 1;
        }
    }

    async fn fresh_nonce(&self) -> Result<String> {
        let answer = self.client.send(Method::HEAD, &self.directory.new_nonce, None, self.deadline).await?;
        let nonce = answer.header(&NONCE).map(str::to_owned);
        nonce.ok_or_else(|| unexpected_status(&answer, "newNonce"))
    }

    /// A resource of the CA, wherever it was named.
    pub(crate) fn resource(&self, text: &str) -> Result<Url> {
        at(&self.directory.place, text)
    }

    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Waits as long as the CA asked, or `usual`. False if the time does not suffice.
    pub(crate) async fn pause(&self, asked: Option<Duration>, usual: Duration) -> bool {
        let pause = asked.unwrap_or(usual).max(usual);
        if self.deadline.left() <= pause {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }
}

/// A URL that a CA names.
///
/// **Invariant:** requests go to the directory's own host and port alone. Otherwise an answer could direct them into the function's
/// network. Test: `a_directory_that_points_elsewhere_is_refused`.
fn at(directory: &Url, text: &str) -> Result<Url> {
    let url = Url::parse(text).ok_or_else(|| unexpected("a URL"))?;
    if url.same_place(directory) {
        return Ok(url);
    }
    // The host is the CA's own text.
    let shown = if crate::settings::is_domain(url.host()) { url.host() } else { "another one" };
    let error = Error::new(Code::HostDenied).with(Fact::Host, shown).with(Fact::Port, url.port());
    let next = "Check `directory` in the secret. A CA whose directory names URLs at another host or port cannot be used: have its \
                operator set the server's external URL.";
    let error = error.with(Fact::NextAction, next);
    Err(error.with(Fact::Expected, format_args!("the directory's own: {}:{}", directory.host(), directory.port())))
}

/// The text at this place of an answer.
pub(crate) fn text<'a>(body: &'a Value, pointer: &str) -> Option<&'a str> {
    body.pointer(pointer)?.as_str()
}

fn unexpected(what: &str) -> Error {
    Error::new(Code::AnswerUnexpected).with(Fact::What, what).with(Fact::NextAction, NO_ACME)
}

/// Whether a name of the CA's is as RFCs and public CAs have them, and so may be shown.
fn is_short_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    (1..=32).contains(&name.len()) && name.chars().all(plain)
}

/// A redirect, which is never followed.
fn redirected(status: u16) -> Error {
    let next = "Put the URL that the CA's documentation names into `directory`. A redirect is never followed.";
    Error::new(Code::RedirectRefused).with(Fact::Status, status).with(Fact::NextAction, next)
}

/// The error of an answer that is no success and no problem document.
fn unexpected_status(answer: &Answer, what: &str) -> Error {
    let code = match answer.status {
        429 => Code::CaRateLimited,
        500.. => Code::IssuerUnavailable,
        300..400 => return redirected(answer.status).with(Fact::What, what),
        _ => return unexpected(what).with(Fact::Status, answer.status),
    };
    Error::new(code).with(Fact::What, what).with(Fact::Status, answer.status)
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_points_elsewhere_is_refused() {
        let directory = Url::parse("https://ca.example/dir").unwrap();
        assert!(at(&directory, "https://ca.example/new-order").is_ok());
        for elsewhere in ["https://169.254.169.254/latest", "https://ca.example:444/a", "https://ca.example.evil.net/"]
        {
            assert_eq!(at(&directory, elsewhere).unwrap_err().code(), Code::HostDenied, "{elsewhere}");
        }
        assert_eq!(at(&directory, "http://ca.example/a").unwrap_err().code(), Code::AnswerUnexpected);
    }

    #[test]
    fn little_of_a_cas_own_text_is_shown() {
        let url = || Url::parse("https://ca.example/dir").unwrap();
        let offers = |profiles: Vec<String>| {
            let profiles = Some(profiles);
            let (new_nonce, new_account, new_order) = (url(), url(), url());
            let (revoke_cert, key_change, renewal_info, binding_required) = (None, None, None, false);
            let place = url();
            let directory = Directory {
                place,
                new_nonce,
                new_account,
                new_order,
                revoke_cert,
                key_change,
                renewal_info,
                binding_required,
                profiles,
            };
            let error = directory.has_profile("eternal").unwrap_err();
            error.fact(Fact::Expected).unwrap().to_owned()
        };
        let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(offers(texts(&["shortlived", "Hunter 2", &"a".repeat(33), ""])), "shortlived");
        assert_eq!(offers(texts(&["hunter2!"])), "what the CA's documentation says");
        assert_eq!(offers((0..20).map(|number| format!("p{number}")).collect()).split(", ").count(), 10);
        let host = format!("https://{}/", "hunter2".repeat(20));
        let error = at(&url(), &host).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        // What the next action advises is something that this function has.
        for error in [error, unexpected("order"), redirected(302)] {
            assert!(error.fact(Fact::NextAction).is_some_and(|next| next.contains("`directory`")), "{error:?}");
        }
    }
}
