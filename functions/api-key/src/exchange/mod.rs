//! A conversation with an issuer: lists, creates, tries and revokes keys, within the time of a step.

mod create;
mod own_id;
mod pages;

use crate::description::{Admin, Call, Expiry, Find, Issuer, Key, Pointer, Predicates, Role, Scope, VarValue};
pub use crate::exchange::own_id::id_of;
use crate::exchange::pages::{Page, next_page};
use crate::http::request::{Request, auth, authenticate, request, token_request};
use crate::http::{Place, Response, SendError, Sender};
use rotation::clock::{Deadline, since_epoch};
use rotation::protocol::notes::StepNotes;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The most pages of a list. At 20 keys a page, no issuer allows so many keys.
const MAX_PAGES: usize = 100;
/// The first pause before a call is repeated. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// The pause if an issuer answers 429 without `Retry-After`.
const THROTTLE_PAUSE: Duration = Duration::from_secs(1);

/// One step's conversation with an issuer.
pub struct Exchange<'a> {
    sender: &'a dyn Sender,
    issuer: &'a Issuer,
    vars: &'a BTreeMap<String, VarValue>,
    admin: &'a BTreeMap<String, SecretText>,
    /// The current key, which is also the admin's credential with `admin: self`.
    current: Option<&'a Key>,
    lifetime: Option<Duration>,
    name_prefix: String,
    deadline: Deadline,
    /// The admin's token, once there is one.
    token: Mutex<Option<SecretText>>,
    /// The keys in the issuer's list under their digests, if keys are their own ids.
    values: Mutex<BTreeMap<String, SecretText>>,
    /// The calls so far, with the statuses of their answers.
    statuses: Mutex<Vec<(String, u16)>>,
    notes: StepNotes,
}

/// The input of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The description.
    pub issuer: &'a Issuer,
    /// The values of its variables.
    pub vars: &'a BTreeMap<String, VarValue>,
    /// The admin secret's fields.
    pub admin: &'a BTreeMap<String, SecretText>,
    /// The current key.
    pub current: Option<&'a Key>,
    /// The lifetime of a new key, if it is sent to the issuer.
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

/// The result of trying a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The key works.
    Works,
    /// The key is invalid.
    Rejected(Error),
    /// The answer says nothing about the key, and is never a reason to give the key up.
    Unknown(Error),
}

impl Verdict {
    /// Success, or an error. `code` is the code of a rejection.
    ///
    /// # Errors
    /// The rejection, or why nothing is known.
    pub fn or_rejected(self, code: Code) -> Result<()> {
        match self {
            Self::Works => Ok(()),
            Self::Rejected(error) => Err(error.recoded(code)),
            Self::Unknown(error) => Err(error),
        }
    }

    /// Why the issuer could not be asked, if asking again may help: it was not reached, throttled, or failed. `None` for an answer,
    /// even for one that says nothing about the key.
    #[must_use]
    pub fn outage(&self) -> Option<&Error> {
        let Self::Unknown(error) = self else { return None };
        let status = error.fact(Fact::Status).and_then(|status| status.parse::<u16>().ok());
        let failed = status.is_none_or(|status| matches!(status, 408 | 429 | 500..));
        Some(error).filter(|error| failed && error.class() == rotation::Class::Retryable)
    }
}

/// Whether a request may be repeated.
///
/// **Invariant:** a request that creates or exchanges a key is not repeated while the outcome of the first one is unknown. Otherwise
/// a key would work that is in no secret. Tests: `a_request_for_a_key_that_fails_is_not_repeated`,
/// `a_request_for_a_key_whose_reply_is_lost_is_not_repeated`, `a_rotation_whose_reply_was_lost_is_never_replayed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resend {
    /// Yes: a second time has no further effect.
    Always,
    /// Only if the issuer did not process it: it was not sent, or was answered 429.
    IfNotProcessed,
    /// Not even then, because what was checked before the request may have changed.
    Never,
}

impl<'a> Exchange<'a> {
    /// A conversation that ends by `deadline`.
    pub fn new(sender: &'a dyn Sender, subject: Subject<'a>, name_prefix: String, deadline: Deadline) -> Self {
        let Subject { issuer, vars, admin, current, lifetime } = subject;
        let (token, values, statuses, notes) = Default::default();
        Self { sender, issuer, vars, admin, current, lifetime, name_prefix, deadline, token, values, statuses, notes }
    }

    /// The same, with notes of refused keys and of throttling.
    #[must_use]
    pub fn noting(self, notes: StepNotes) -> Self {
        Self { notes, ..self }
    }

    /// The issuer.
    pub fn issuer(&self) -> &'a Issuer {
        self.issuer
    }

    /// Each call since the last question, with the status of its answer. The lab shows them.
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

    /// Lists keys: if keys have names, only those of this secret. `None` if the issuer cannot list.
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
            if let Some(none) = &find.none
                && none.hold(answer.answer(), &scope)?
            {
                return Ok(Some(found));
            }
            let answer = self.accepted(answer, &Predicates::statuses(&[(200, 299)]), &find.call, &scope)?;
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
        if self.issuer.keys_are_ids()
            && let Some(value) = find.id.text(item)
        {
            let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
            values.insert(id_of(&value), value.into());
        }
        for (place, expected) in &find.fields {
            if !expected.holds(place.of(item), scope)? {
                return Ok(None);
            }
        }
        let name = find.name.as_ref().and_then(|name| name.text(item));
        if find.name.is_some() && !name.as_ref().is_some_and(|name| name.starts_with(&self.name_prefix)) {
            return Ok(None);
        }
        // An item without an id could not be revoked, so it must not be skipped.
        let id = find.id.text(item).ok_or_else(|| {
            self.about(&find.call, Code::AnswerUnexpected)
                .with(Fact::Found, format_args!("an item without {}", find.id))
        })?;
        Ok(Some(ListedKey { id: if self.issuer.keys_are_ids() { id_of(&id) } else { id }, name }))
    }

    async fn page(&self, find: &Find, page: &Page, scope: &Scope<'_>) -> Result<Response> {
        let known: Vec<_> = find.none.iter().collect();
        let apply = |request: &mut Request| page.apply(request, &self.issuer.id);
        let answer = self.send_while(asked_by_nobody, &find.call, scope, Resend::Always, &known, apply).await;
        Ok(answer?)
    }

    /// Exchanges a key for a new one. `None` if the key no longer exists.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub async fn roll(&self, old: &Key, end: Option<Expiry>) -> Result<Option<Key>> {
        let roll = self.issuer.roll.as_ref().ok_or_else(|| internal("no `roll`"))?;
        let scope = self.scope(Some(old), None, end);
        let answer = self.once(&roll.call, &scope, Resend::Never).await?;
        if let Some(gone) = &roll.gone
            && gone.hold(answer.answer(), &scope)?
        {
            return Ok(None);
        }
        let answer = self.accepted(answer, &roll.ok, &roll.call, &scope)?;
        let known = Key { id: old.id.clone(), secret: None, fields: BTreeMap::new() };
        self.extracted(&roll.call, &roll.extract, &answer, known).map(Some)
    }

    /// Sends the issuer a new value. `wanted` is asked before each request: an issuer may ask to wait, and meanwhile a later
    /// rotation may set another value.
    ///
    /// # Errors
    /// Why the issuer may not have taken it; those of `wanted`.
    pub async fn set<W: Future<Output = Result<()>> + Send>(
        &self,
        new: &Key,
        wanted: impl Fn() -> W + Send + Sync,
    ) -> Result<()> {
        let set = self.issuer.set.as_ref().ok_or_else(|| internal("no `set`"))?;
        let scope = self.scope(Some(new), None, None);
        // Sending the same value twice has no further effect.
        let answer = self.send_while(wanted, &set.call, &scope, Resend::Always, &[&set.ok], |_| Ok(())).await?;
        self.accepted(answer, &set.ok, &set.call, &scope).map(|_| ())
    }

    /// Tries a key. With `patience`, until the description's polling limit, because a new key may not work everywhere at once.
    ///
    /// **Invariant:** only an answer that the description calls `rejected` means that a key is invalid. Otherwise an outage of the
    /// issuer would replace a key that works. Test: `a_refused_address_is_not_a_dead_key`.
    ///
    /// # Errors
    /// [`Code::KeyMismatch`] if the answer has another id; those of filling in the request.
    pub async fn verify(&self, key: &Key, patience: bool) -> Result<Verdict> {
        let verify = self.issuer.verify.as_ref().ok_or_else(|| internal("no `verify`"))?;
        let (every, limit) = verify.poll.filter(|_| patience).unwrap_or_default();
        let until = self.deadline.within(limit);
        loop {
            let verdict = self.try_once(verify, key).await?;
            // There must be time for another try and its answer.
            if verdict == Verdict::Works || until.left() <= every || limit.is_zero() {
                return Ok(verdict);
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn try_once(&self, verify: &crate::description::Verify, key: &Key) -> Result<Verdict> {
        let scope = self.scope(Some(key), None, None);
        let known = [&verify.works, &verify.rejected];
        let answer = self.send_while(asked_by_nobody, &verify.call, &scope, Resend::Always, &known, |_| Ok(()));
        let answer = match answer.await {
            Ok(answer) => answer,
            // The token endpoint refused the key.
            Err(SendError::Lost(error)) if error.code() == Code::AdminRejected && verify.call.role == Role::Key => {
                self.notes.refused_login();
                return Ok(Verdict::Rejected(error));
            }
            Err(error) => return Ok(Verdict::Unknown(error.into())),
        };
        if verify.works.hold(answer.answer(), &scope)? {
            if let (Some(place), Some(id)) = (&verify.identity, &key.id) {
                let answered = answer.body.as_ref().and_then(|body| place.text(body));
                let answered = answered.map(|text| if self.issuer.keys_are_ids() { id_of(&text) } else { text });
                if answered.as_ref() != Some(id) {
                    // No id is shown: the secret may have a key in the id's field.
                    let error = self.about(&verify.call, Code::KeyMismatch);
                    let found = if answered.is_some() { "another id" } else { "no id" };
                    return Err(error.with(Fact::Found, found));
                }
            }
            return Ok(Verdict::Works);
        }
        let status = |code| self.about(&verify.call, code).with(Fact::Status, answer.status);
        if verify.rejected.hold(answer.answer(), &scope)? {
            self.notes.refused_login();
            return Ok(Verdict::Rejected(status(Code::PendingRejected)));
        }
        Ok(Verdict::Unknown(status(Code::IssuerUnavailable)))
    }

    /// Revokes a key, or finds that it had ended before.
    ///
    /// # Errors
    /// Why the key may still work.
    pub async fn revoke(&self, id: &str) -> Result<()> {
        // A key that is its own id is known by its digest, and only the list has its value.
        let value = if self.issuer.keys_are_ids() { self.listed_value(id).await? } else { Some(id.into()) };
        let Some(value) = value else { return Ok(()) };
        let key = Key::of_id(value.expose());
        let scope = self.scope(Some(&key), None, None);
        for revoke in &self.issuer.revoke {
            let known = [&revoke.done, &revoke.gone];
            let answer = self.send_while(asked_by_nobody, &revoke.call, &scope, Resend::Always, &known, |_| Ok(()));
            let answer = answer.await?;
            let gone = revoke.gone.hold(answer.answer(), &scope)?;
            if !gone && !self.is(&revoke.done, &revoke.call, &answer, &scope)? {
                return Err(self.refused(&revoke.call, &answer).with(Fact::KeyId, id));
            }
        }
        Ok(())
    }

    /// The value of the key with this digest. `None` if the issuer's list has no such key.
    async fn listed_value(&self, id: &str) -> Result<Option<SecretText>> {
        let known = || self.values.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if let Some(value) = known() {
            return Ok(Some(value));
        }
        self.find().await?;
        Ok(known())
    }

    /// A key with what the answer says of it beside what is known.
    fn extracted(
        &self,
        call: &Call,
        places: &BTreeMap<String, Pointer>,
        answer: &Response,
        mut key: Key,
    ) -> Result<Key> {
        if places.is_empty() {
            return Ok(key);
        }
        let body = answer.body.as_ref().ok_or_else(|| self.unexpected(call, answer))?;
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
        if self.issuer.keys_are_ids() {
            key.id = key.secret.as_ref().map(|secret| id_of(secret.expose()));
        }
        Ok(key)
    }

    /// Whether an answer is a success. GraphQL reports errors in the body, with any status.
    fn is(&self, ok: &Predicates, call: &Call, answer: &Response, scope: &Scope<'_>) -> Result<bool> {
        let graphql = matches!(call.body, crate::description::Body::GraphQl { .. });
        let errors = answer.body.as_ref().and_then(|body| body.get("errors"));
        let failed = errors.and_then(serde_json::Value::as_array).is_some_and(|errors| !errors.is_empty());
        Ok(!(graphql && failed) && ok.hold(answer.answer(), scope)?)
    }

    fn accepted(&self, answer: Response, ok: &Predicates, call: &Call, scope: &Scope<'_>) -> Result<Response> {
        if self.is(ok, call, &answer, scope)? { Ok(answer) } else { Err(self.refused(call, &answer)) }
    }

    fn scope<'s>(&'s self, key: Option<&'s Key>, name: Option<&'s str>, grace: Option<Expiry>) -> Scope<'s> {
        let (vars, admin, name_prefix) = (self.vars, self.admin, self.name_prefix.as_str());
        Scope { vars, admin, key, name, name_prefix, grace, lifetime: self.lifetime.map(Expiry::after) }
    }

    /// Sends a request that must not be repeated while its outcome is unknown.
    async fn once(&self, call: &Call, scope: &Scope<'_>, resend: Resend) -> Result<Response> {
        let answer = self.send_while(asked_by_nobody, call, scope, resend, &[], |_| Ok(())).await;
        answer.map_err(|error| match error {
            SendError::NotSent(error) => error,
            SendError::Lost(error) if matches!(error.code(), Code::ConnectionLost | Code::ServerSilent) => {
                error.recoded(Code::ReplyLost)
            }
            SendError::Lost(error) => error,
        })
    }

    /// Sends a call, and repeats it while that may help, `resend` allows it and there is time, as long as `wanted` says before each
    /// request that it may be sent. An answer that is `known` is not asked for again, whatever its status.
    async fn send_while<W: Future<Output = Result<()>>>(
        &self,
        wanted: impl Fn() -> W,
        call: &Call,
        scope: &Scope<'_>,
        resend: Resend,
        known: &[&Predicates],
        change: impl Fn(&mut Request) -> Result<()>,
    ) -> Result<Response, SendError> {
        let is_known = |answer: &Response| {
            known.iter().any(|predicates| predicates.hold(answer.answer(), scope).is_ok_and(|holds| holds))
        };
        let mut pause = FIRST_PAUSE;
        loop {
            let outcome = match self.prepare(call, scope, &change).await {
                // For example, there was no token. The call itself was not sent.
                Err(error) => Err(error),
                Ok(prepared) => {
                    // Asked last: the request for a token may have been held up.
                    wanted().await.map_err(SendError::NotSent)?;
                    self.sender.send(prepared, self.place(), self.deadline).await
                }
            };
            let outcome =
                outcome.map_err(|error| named(error, self.issuer)).inspect(|answer| self.note(&call.what, answer));
            let wait = match &outcome {
                // The issuer did not process the request, so any request can be repeated (RFC 6585, section 4).
                Ok(answer) if answer.status == 429 => answer.retry_after.unwrap_or(THROTTLE_PAUSE).max(pause),
                Ok(answer) if answer.status >= 500 && resend == Resend::Always && !is_known(answer) => {
                    answer.retry_after.unwrap_or_default().max(pause)
                }
                Ok(_) => return outcome,
                Err(error) if may_pass(error, resend) => pause,
                Err(_) => return outcome,
            };
            // A call that cannot be repeated gets its whole timeout, or is not sent.
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
            // With `admin: self`, the current key authenticates, whichever key the call is about.
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

    /// A token for a call. The admin's token is kept for the step. A key's token is fetched anew, because the fetch tries the key.
    async fn token(&self, call: &Call, request: Request) -> Result<SecretText, SendError> {
        let keep = call.role == Role::Admin;
        let kept = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = kept.filter(|_| keep) {
            return Ok(token);
        }
        let answer = self.sender.send(request, self.place(), self.deadline).await;
        let answer = answer.map_err(|error| SendError::NotSent(named(error, self.issuer).into()))?;
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

    fn place(&self) -> Place<'_> {
        let hosts = self.issuer.http.as_ref().map_or(&[][..], |http| http.hosts.as_slice());
        Place { issuer: &self.issuer.id, hosts }
    }

    fn about(&self, call: &Call, code: Code) -> Error {
        Error::new(code).with(Fact::Issuer, &self.issuer.id).with(Fact::Call, &call.what)
    }

    fn unexpected(&self, call: &Call, answer: &Response) -> Error {
        self.about(call, Code::AnswerUnexpected).with(Fact::Status, answer.status)
    }

    /// The error for an answer that the description does not know.
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

/// Whether to repeat a call that got no answer.
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

/// For requests that may be sent at any time.
fn asked_by_nobody() -> std::future::Ready<Result<()>> {
    std::future::ready(Ok(()))
}

fn internal(what: &str) -> Error {
    Error::new(Code::Internal).with(Fact::What, what)
}
