//! Talks to an issuer: lists, makes, tries and ends keys, within the time of a step.

mod pages;

use crate::description::{Admin, Call, Expiry, Find, Issuer, Key, Pointer, Predicates, Role, Scope, VarValue};
use crate::exchange::pages::{Page, next_page};
use crate::http::request::{Request, auth, authenticate, request, token_request};
use crate::http::{Client, Response, SendError};
use rotation::clock::{Deadline, since_epoch};
use rotation::protocol::notes::StepNotes;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Pages of a list. At 20 keys a page, more than any issuer allows to have.
const MAX_PAGES: usize = 100;
/// Between two tries of what may be tried again, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// Where an issuer asks to slow down without saying for how long.
const THROTTLE_PAUSE: Duration = Duration::from_secs(1);

/// One step's conversation with an issuer.
pub struct Exchange<'a> {
    client: &'a Client,
    issuer: &'a Issuer,
    vars: &'a BTreeMap<String, VarValue>,
    admin: &'a BTreeMap<String, SecretText>,
    /// The current key, which is also the admin's credential with `admin: self`.
    current: Option<&'a Key>,
    lifetime: Option<Duration>,
    name_prefix: String,
    deadline: Deadline,
    /// The admin's token, where there is one.
    token: Mutex<Option<SecretText>>,
    /// What calls were answered with.
    statuses: Mutex<Vec<(String, u16)>>,
    notes: StepNotes,
}

/// What a conversation is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The description.
    pub issuer: &'a Issuer,
    /// Its variables.
    pub vars: &'a BTreeMap<String, VarValue>,
    /// The admin secret's fields.
    pub admin: &'a BTreeMap<String, SecretText>,
    /// The current key.
    pub current: Option<&'a Key>,
    /// How long a new key lives, where the issuer is told it.
    pub lifetime: Option<Duration>,
}

/// A key in the issuer's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
}

/// What a try of a key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Works,
    /// It is dead.
    Rejected(Error),
    /// Nothing can be said. Never a reason to give a key up.
    Unknown(Error),
}

impl Verdict {
    /// Success, or the error, with a rejection under this code.
    ///
    /// # Errors
    /// The rejection's or the uncertainty's.
    pub fn or_rejected(self, code: Code) -> Result<()> {
        match self {
            Self::Works => Ok(()),
            Self::Rejected(error) => Err(error.recoded(code)),
            Self::Unknown(error) => Err(error),
        }
    }
}

/// Whether a request may be sent a second time when nobody knows what became of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resend {
    /// It changes nothing, or the same thing.
    Always,
    /// It would do it twice, unless it was refused without having been looked at.
    IfNotProcessed,
    /// Not even then: what was checked before it may not hold any more.
    Never,
}

impl<'a> Exchange<'a> {
    /// A conversation that ends by `deadline`.
    pub fn new(client: &'a Client, subject: Subject<'a>, name_prefix: String, deadline: Deadline) -> Self {
        let Subject { issuer, vars, admin, current, lifetime } = subject;
        let (token, statuses, notes) = Default::default();
        Self { client, issuer, vars, admin, current, lifetime, name_prefix, deadline, token, statuses, notes }
    }

    /// The same, with notes of refused keys and of requests to slow down.
    #[must_use]
    pub fn noting(self, notes: StepNotes) -> Self {
        Self { notes, ..self }
    }

    /// The issuer.
    pub fn issuer(&self) -> &'a Issuer {
        self.issuer
    }

    /// What calls were answered with since this was asked last, for who tries a description: which call, and the status.
    pub fn take_statuses(&self) -> Vec<(String, u16)> {
        std::mem::take(&mut self.statuses.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, what: &str, answer: &Response) {
        if answer.status == 429 {
            self.notes.throttled();
        }
        let mut statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        statuses.push((what.to_owned(), answer.status));
    }

    /// Lists the keys that exist, of this secret alone where keys have names. `None` if the issuer cannot list.
    ///
    /// # Errors
    /// Why the list could not be read to its end.
    pub async fn find(&self) -> Result<Option<Vec<ListedKey>>> {
        let Some(find) = &self.issuer.find else { return Ok(None) };
        let scope = self.scope(self.current, None, None);
        let mut found = Vec::new();
        let mut page = Page::First;
        let mut seen = 0;
        for _ in 0..MAX_PAGES {
            let answer = self.page(find, &page, &scope).await?;
            let body = answer.body.as_ref().ok_or_else(|| self.unexpected(&find.call, &answer))?;
            let items = find.items.of(body).and_then(serde_json::Value::as_array);
            let items = items.ok_or_else(|| self.unexpected(&find.call, &answer))?;
            for item in items {
                found.extend(self.item(find, item, &scope)?);
            }
            seen += items.len();
            match next_page(find, &page, &answer, items.len(), seen) {
                Some(next) => page = next,
                None => return Ok(Some(found)),
            }
        }
        Err(self.about(&find.call, Code::AnswerUnexpected).with(Fact::Found, "a list without an end"))
    }

    fn item(&self, find: &Find, item: &serde_json::Value, scope: &Scope<'_>) -> Result<Option<ListedKey>> {
        for (place, expected) in &find.fields {
            if !expected.holds(place.of(item), scope)? {
                return Ok(None);
            }
        }
        let name = find.name.as_ref().and_then(|name| name.text(item));
        if find.name.is_some() && !name.as_ref().is_some_and(|name| name.starts_with(&self.name_prefix)) {
            return Ok(None);
        }
        // An item of ours without an id could not be ended, and must not go unseen.
        let id = find.id.text(item).ok_or_else(|| {
            self.about(&find.call, Code::AnswerUnexpected)
                .with(Fact::Found, format_args!("an item without {}", find.id))
        })?;
        Ok(Some(ListedKey { id, name }))
    }

    async fn page(&self, find: &Find, page: &Page, scope: &Scope<'_>) -> Result<Response> {
        let answer = self.send(&find.call, scope, Resend::Always, |request| page.apply(request, &self.issuer.id)).await;
        let answer = answer.map_err(SendError::into_error)?;
        if self.is(&any_success(), &find.call, &answer, scope)? {
            Ok(answer)
        } else {
            Err(self.refused(&find.call, &answer))
        }
    }

    /// Makes a key of this name. Never sent twice: what became of an unanswered request is not known.
    ///
    /// # Errors
    /// [`Code::KeyLimitReached`]; [`Code::ReplyLost`]; others, after which there may or may not be a key.
    pub async fn create(&self, name: &str) -> Result<Key> {
        let create = self.issuer.create.as_ref().ok_or_else(|| internal("no `create`"))?;
        let scope = self.scope(self.current, Some(name), None);
        for before in &create.before {
            let answer =
                self.send(&before.call, &scope, Resend::Always, |_| Ok(())).await.map_err(SendError::into_error)?;
            if !self.is(&before.ok, &before.call, &answer, &scope)? {
                return Err(self.refused(&before.call, &answer));
            }
        }
        let answer = self.once(&create.call, &scope, Resend::IfNotProcessed).await?;
        if self.is(&create.ok, &create.call, &answer, &scope)? {
            return self.extracted(&create.call, &create.extract, &answer, None);
        }
        if let Some(limit) = &create.limit
            && limit.hold(answer.status, answer.body.as_ref(), &scope)?
        {
            return Err(self.about(&create.call, Code::KeyLimitReached).with(Fact::Status, answer.status));
        }
        Err(self.refused(&create.call, &answer))
    }

    /// Exchanges a key for a new one; `None` if the issuer knows no key of this id any more.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub async fn roll(&self, old: &Key, end: Option<Expiry>) -> Result<Option<Key>> {
        let roll = self.issuer.roll.as_ref().ok_or_else(|| internal("no `roll`"))?;
        let scope = self.scope(Some(old), None, end);
        let answer = self.once(&roll.call, &scope, Resend::Never).await?;
        if let Some(gone) = &roll.gone
            && gone.hold(answer.status, answer.body.as_ref(), &scope)?
        {
            return Ok(None);
        }
        if self.is(&roll.ok, &roll.call, &answer, &scope)? {
            return self.extracted(&roll.call, &roll.extract, &answer, old.id.as_deref()).map(Some);
        }
        Err(self.refused(&roll.call, &answer))
    }

    /// Tells the issuer a new value.
    ///
    /// # Errors
    /// Why it is not known to have taken it.
    pub async fn set(&self, new: &Key) -> Result<()> {
        let set = self.issuer.set.as_ref().ok_or_else(|| internal("no `set`"))?;
        let scope = self.scope(Some(new), None, None);
        // The same value a second time changes nothing.
        let answer = self.send(&set.call, &scope, Resend::Always, |_| Ok(())).await.map_err(SendError::into_error)?;
        if self.is(&set.ok, &set.call, &answer, &scope)? { Ok(()) } else { Err(self.refused(&set.call, &answer)) }
    }

    /// Tries a key. With `patience`, until the issuer's polling limit: a new key may take a moment to be known everywhere.
    ///
    /// # Errors
    /// [`Code::KeyMismatch`] if another key answers; those of filling in the request.
    pub async fn verify(&self, key: &Key, patience: bool) -> Result<Verdict> {
        let verify = self.issuer.verify.as_ref().ok_or_else(|| internal("no `verify`"))?;
        let (every, limit) = verify.poll.filter(|_| patience).unwrap_or_default();
        let until = self.deadline.within(limit);
        loop {
            let verdict = self.try_once(verify, key).await?;
            // Time for another try, and for its answer.
            if verdict == Verdict::Works || until.left() <= every || limit.is_zero() {
                return Ok(verdict);
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn try_once(&self, verify: &crate::description::Verify, key: &Key) -> Result<Verdict> {
        let scope = self.scope(Some(key), None, None);
        let answer = match self.send(&verify.call, &scope, Resend::Always, |_| Ok(())).await {
            Ok(answer) => answer,
            // The token endpoint's refusal is the key's.
            Err(SendError::Lost(error)) if error.code() == Code::AdminRejected && verify.call.role == Role::Key => {
                self.notes.refused_login();
                return Ok(Verdict::Rejected(error));
            }
            Err(error) => return Ok(Verdict::Unknown(error.into_error())),
        };
        let body = answer.body.as_ref();
        if verify.works.hold(answer.status, body, &scope)? {
            if let (Some(place), Some(id)) = (&verify.identity, &key.id) {
                let answered = body.and_then(|body| place.text(body));
                if answered.as_ref() != Some(id) {
                    // Neither id is shown: the secret's may be a key in the wrong field.
                    let error = self.about(&verify.call, Code::KeyMismatch);
                    let found = if answered.is_some() { "another id" } else { "no id" };
                    return Err(error.with(Fact::Found, found));
                }
            }
            return Ok(Verdict::Works);
        }
        let status = |code| self.about(&verify.call, code).with(Fact::Status, answer.status);
        if verify.rejected.hold(answer.status, body, &scope)? {
            self.notes.refused_login();
            return Ok(Verdict::Rejected(status(Code::PendingRejected)));
        }
        Ok(Verdict::Unknown(status(Code::IssuerUnavailable)))
    }

    /// Ends a key, or finds that it has ended.
    ///
    /// # Errors
    /// Why it is not known to have ended.
    pub async fn revoke(&self, id: &str) -> Result<()> {
        let key = Key::of_id(id);
        let scope = self.scope(Some(&key), None, None);
        for revoke in &self.issuer.revoke {
            let answer =
                self.send(&revoke.call, &scope, Resend::Always, |_| Ok(())).await.map_err(SendError::into_error)?;
            let gone = revoke.gone.hold(answer.status, answer.body.as_ref(), &scope)?;
            if !gone && !self.is(&revoke.done, &revoke.call, &answer, &scope)? {
                return Err(self.refused(&revoke.call, &answer).with(Fact::KeyId, id));
            }
        }
        Ok(())
    }

    fn extracted(
        &self,
        call: &Call,
        places: &BTreeMap<String, Pointer>,
        answer: &Response,
        old_id: Option<&str>,
    ) -> Result<Key> {
        let body = answer.body.as_ref().ok_or_else(|| self.unexpected(call, answer))?;
        let mut key = Key { id: old_id.map(str::to_owned), secret: None, fields: BTreeMap::new() };
        for (name, place) in places {
            let text = place.text(body).filter(|text| !text.is_empty()).ok_or_else(|| {
                self.unexpected(call, answer)
                    .with(Fact::Found, format_args!("no text at {place}, where `{name}` should be"))
            })?;
            match name.as_str() {
                "id" => key.id = Some(text),
                "secret" => key.secret = Some(text.into()),
                _ => {
                    key.fields.insert(name.clone(), text.into());
                }
            }
        }
        Ok(key)
    }

    /// Whether an answer is a success. GraphQL says in the body what HTTP says in the status.
    fn is(&self, ok: &Predicates, call: &Call, answer: &Response, scope: &Scope<'_>) -> Result<bool> {
        let graphql = matches!(call.body, crate::description::Body::GraphQl { .. });
        let errors = answer.body.as_ref().and_then(|body| body.get("errors"));
        let failed = errors.and_then(serde_json::Value::as_array).is_some_and(|errors| !errors.is_empty());
        Ok(!(graphql && failed) && ok.hold(answer.status, answer.body.as_ref(), scope)?)
    }

    fn scope<'s>(&'s self, key: Option<&'s Key>, name: Option<&'s str>, grace: Option<Expiry>) -> Scope<'s> {
        let (vars, admin, name_prefix) = (self.vars, self.admin, self.name_prefix.as_str());
        Scope { vars, admin, key, name, name_prefix, grace, lifetime: self.lifetime.map(Expiry::after) }
    }

    /// A request that must not be sent twice.
    async fn once(&self, call: &Call, scope: &Scope<'_>, resend: Resend) -> Result<Response> {
        let answer = self.send(call, scope, resend, |_| Ok(())).await;
        answer.map_err(|error| match error {
            SendError::NotSent(error) => error,
            SendError::Lost(error) if matches!(error.code(), Code::ConnectionLost | Code::ServerSilent) => {
                error.recoded(Code::ReplyLost)
            }
            SendError::Lost(error) => error,
        })
    }

    /// Sends a call until there is an answer that means something, the time is spent, or it would be done twice.
    async fn send(
        &self,
        call: &Call,
        scope: &Scope<'_>,
        resend: Resend,
        change: impl Fn(&mut Request) -> Result<()>,
    ) -> Result<Response, SendError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let outcome = match self.prepare(call, scope, &change).await {
                // A token that could not be had, for one: nothing of the call itself has been sent.
                Err(error) => Err(error),
                Ok(prepared) => self.client.send(prepared, self.hosts(), self.deadline).await,
            };
            let outcome =
                outcome.map_err(|error| named(error, self.issuer)).inspect(|answer| self.note(&call.what, answer));
            let wait = match &outcome {
                // Refused without having been looked at: it can be sent again, whatever it is (RFC 6585, section 4).
                Ok(answer) if answer.status == 429 => answer.retry_after.unwrap_or(THROTTLE_PAUSE).max(pause),
                Ok(answer) if answer.status >= 500 && resend == Resend::Always => {
                    answer.retry_after.unwrap_or_default().max(pause)
                }
                Ok(_) => return outcome,
                Err(error) if may_pass(error, resend) => pause,
                Err(_) => return outcome,
            };
            // What may not be done twice gets all the time that it may take, or is not begun.
            let needed = if resend == Resend::Always { call.timeout.min(THROTTLE_PAUSE) } else { call.timeout };
            if resend == Resend::Never || self.deadline.left() <= wait + needed {
                return outcome.and_then(|answer| Err(SendError::NotSent(self.exhausted(call, &answer))));
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn prepare(
        &self,
        call: &Call,
        scope: &Scope<'_>,
        change: &impl Fn(&mut Request) -> Result<()>,
    ) -> Result<Request, SendError> {
        let unsent = |error: Error| SendError::NotSent(error.with_default(Fact::Issuer, &self.issuer.id));
        let mut prepared = request(self.issuer, call, scope).map_err(unsent)?;
        change(&mut prepared).map_err(unsent)?;
        if let Some(auth) = auth(self.issuer, call) {
            // With `admin: self`, it is the current key that manages keys, whichever key a call is about.
            let itself = call.role == Role::Admin && self.issuer.admin == Admin::Itself;
            let by_current = Scope { key: self.current, ..scope.clone() };
            let scope = if itself { &by_current } else { scope };
            let token = match token_request(self.issuer, auth, scope, call.timeout).map_err(unsent)? {
                None => None,
                Some(request) => Some(self.token(call, request).await?),
            };
            authenticate(&mut prepared, auth, scope, token.as_ref(), since_epoch()).map_err(unsent)?;
        }
        Ok(prepared)
    }

    /// A token for a call. The admin's is kept for the step; a key's is what is being tried.
    async fn token(&self, call: &Call, request: Request) -> Result<SecretText, SendError> {
        let keep = call.role == Role::Admin;
        let kept = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = kept.filter(|_| keep) {
            return Ok(token);
        }
        let answer = self.client.send(request, self.hosts(), self.deadline).await;
        let answer = answer.map_err(|error| SendError::NotSent(named(error, self.issuer).into_error()))?;
        self.note("token", &answer);
        let about =
            |code| self.about(call, code).with(Fact::What, "the token endpoint").with(Fact::Status, answer.status);
        let token = answer.body.as_ref().and_then(|body| body.get("access_token")?.as_str());
        match (answer.status, token) {
            (200, Some(token)) => {
                let token = SecretText::from(token);
                if keep {
                    *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
                }
                Ok(token)
            }
            // invalid_client is 401 or 400 (RFC 6749, section 5.2).
            (400 | 401 | 403, _) if invalid_client(&answer) => Err(SendError::Lost(about(Code::AdminRejected))),
            (429, _) => Err(SendError::NotSent(about(Code::IssuerThrottled))),
            (500.., _) => Err(SendError::NotSent(about(Code::IssuerUnavailable))),
            _ => Err(SendError::NotSent(about(Code::AnswerUnexpected))),
        }
    }

    fn hosts(&self) -> &[String] {
        self.issuer.http.as_ref().map_or(&[], |http| http.hosts.as_slice())
    }

    fn about(&self, call: &Call, code: Code) -> Error {
        Error::new(code).with(Fact::Issuer, &self.issuer.id).with(Fact::Call, &call.what)
    }

    fn unexpected(&self, call: &Call, answer: &Response) -> Error {
        self.about(call, Code::AnswerUnexpected).with(Fact::Status, answer.status)
    }

    /// What an answer means that is no success and nothing that the description knows.
    fn refused(&self, call: &Call, answer: &Response) -> Error {
        let code = match answer.status {
            401 | 403 => Code::AdminRejected,
            408 | 500.. => Code::IssuerUnavailable,
            200..=299 => Code::AnswerUnexpected,
            _ => Code::IssuerRefused,
        };
        self.about(call, code).with(Fact::Status, answer.status)
    }

    fn exhausted(&self, call: &Call, answer: &Response) -> Error {
        let code = if answer.status == 429 { Code::IssuerThrottled } else { Code::IssuerUnavailable };
        self.about(call, code).with(Fact::Status, answer.status)
    }
}

fn named(error: SendError, issuer: &Issuer) -> SendError {
    match error {
        SendError::NotSent(error) => SendError::NotSent(error.with_default(Fact::Issuer, &issuer.id)),
        SendError::Lost(error) => SendError::Lost(error.with_default(Fact::Issuer, &issuer.id)),
    }
}

/// Whether to try again after there was no answer.
fn may_pass(error: &SendError, resend: Resend) -> bool {
    match error {
        SendError::NotSent(error) => error.class() == rotation::Class::Retryable,
        SendError::Lost(error) => resend == Resend::Always && error.class() == rotation::Class::Retryable,
    }
}

fn invalid_client(answer: &Response) -> bool {
    let error = answer.body.as_ref().and_then(|body| body.get("error")?.as_str());
    answer.status == 401 || matches!(error, Some("invalid_client" | "access_denied" | "unauthorized_client"))
}

fn any_success() -> Predicates {
    Predicates(vec![crate::description::Predicate { status: vec![(200, 299)], fields: Vec::new() }])
}

fn internal(what: &str) -> Error {
    Error::new(Code::Internal).with(Fact::What, what)
}
