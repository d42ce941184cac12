//! Tries a description: makes a key, uses it, finds it in the list, revokes it. Whatever happens, no key stays that was made
//! here; if one had to, that is said.

use super::super::screen::{Screen, Style};
use super::super::steps::{milliseconds, rounded};
use super::super::stop::Stop;
use super::against::Against;
use super::checked::{Checked, EndLine};
use super::file::SecretFile;
use api_key::description::{Admin, Issuer, Key, Strategy, VarSource, VarValue};
use api_key::exchange::{Exchange, ListedKey, Subject, Verdict};
use api_key::http::{Client, HostPolicy};
use api_key::settings::EXCLUDE_CHARACTERS;
use api_key::target::journal::{name, name_prefix};
use api_key::target::key_secret::{admin_fields, issuer_name, key, vars};
use api_key::target::value::draw;
use rotation::clock::{Deadline, Stopwatch, since_epoch};
use rotation::document::Document;
use rotation::environment::Environment;
use rotation::password::{OsEntropy, Policy};
use rotation::secret::SecretText;
use rotation::{Code, Error};
use serde::Serialize;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpStream;

/// For everything but the removal: a function has as long for a step of a rotation, at most.
const FOR_THE_TRIAL: Duration = Duration::from_secs(300);
/// For the removal, whatever was left.
const FOR_THE_REMOVAL: Duration = Duration::from_secs(60);
/// For a key that was made to be listed, and for one that was revoked to be refused: issuers have several servers.
const FOR_CHANGES_TO_SPREAD: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// For the first connection. The calls themselves repeat one that fails for as long as a function would, which is minutes.
const TO_CONNECT: Duration = Duration::from_secs(5);
/// After this time, and each time again, a step that has not ended says so.
const BETWEEN_NOTES: Duration = Duration::from_secs(5);

/// What is tried, and where.
pub(super) struct Given<'a> {
    pub(super) issuer: &'a Issuer,
    pub(super) against: &'a Against,
    pub(super) checked: &'a Checked,
    /// The file whose key is exchanged.
    pub(super) replaces: Option<&'a Path>,
}

/// What the two secrets say. Not `Debug`.
struct Facts {
    vars: BTreeMap<String, VarValue>,
    admin: BTreeMap<String, SecretText>,
    current: Option<Key>,
}

/// Ends when a signal says that the command must end.
type Signals<'a, F> = Pin<&'a mut F>;

/// Tries a description, until done or until a signal comes.
pub(super) async fn run<F: Future<Output = Stop>>(
    screen: &Screen,
    given: Given<'_>,
    mut signals: Signals<'_, F>,
) -> Result<(), Stop> {
    let issuer = given.issuer;
    let prepared = async {
        let (client, facts) = prepare(&given)?;
        if issuer.mints() || facts.current.is_some() {
            tokio::select! {
                biased;
                stop = signals.as_mut() => return Err(stop),
                reached = reached(&given.against.authority) => reached?,
            }
        }
        Ok((client, facts))
    };
    let (client, facts) = prepared.await.inspect_err(|stop| {
        if let Stop::Setup(reason) = stop {
            screen.json(&EndLine::failed("setup", reason));
        }
    })?;
    screen.heading(&format!("Tried against {}", given.against));
    let prefix = name_prefix(&format!("check-issuer {}", uuid::Uuid::new_v4()));
    let exchange = |time| {
        let Facts { vars, admin, current } = &facts;
        let subject = Subject { issuer, vars, admin, current: current.as_ref(), lifetime: issuer.lifetime };
        Exchange::new(&client, subject, prefix.clone(), Deadline::after(time))
    };
    if given.replaces.is_some() && (issuer.mints() || issuer.strategy == Strategy::Generate) {
        let reason = "--replace-key: this strategy makes another key, and the one in the secret stays";
        screen.json(&EndLine::failed("setup", reason));
        return Err(Stop::Setup(reason.to_owned()));
    }
    let trial = Trial { screen, exchange: &exchange(FOR_THE_TRIAL), prefix: &prefix };
    let result = if issuer.mints() {
        let (made, result) = trial.of_new_key(signals.as_mut()).await;
        let removal = Trial { screen, exchange: &exchange(FOR_THE_REMOVAL), prefix: &prefix };
        match made {
            Made::Nothing => result,
            made => removal.remove(&made).await.and(result),
        }
    } else {
        let replacement = match (given.replaces, &given.checked.secret) {
            (Some(path), Some(document)) => Some(SecretFile { path, document }),
            _ => None,
        };
        trial.of_current_key(facts.current.as_ref(), replacement, signals).await
    };
    result.inspect(|()| screen.json(&EndLine::works())).map_err(|failure| failure.told(screen))
}

fn prepare(given: &Given<'_>) -> Result<(Client, Facts), Stop> {
    let policy = HostPolicy {
        instead: Some(given.against.authority.clone()),
        without_tls: given.against.without_tls,
        ..HostPolicy::default()
    };
    let client = Client::new(given.checked.ca.as_deref(), policy).map_err(|error| Stop::Setup(error.to_string()))?;
    Ok((client, Facts::read(given)?))
}

/// Shows that something accepts connections at `--against`.
async fn reached(authority: &str) -> Result<(), Stop> {
    let after_address = authority.rsplit(']').next().unwrap_or(authority);
    let address = if after_address.contains(':') { authority.to_owned() } else { format!("{authority}:443") };
    let reason = match tokio::time::timeout(TO_CONNECT, TcpStream::connect(&address)).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", TO_CONNECT.as_secs()),
    };
    Err(Stop::Setup(format!(
        "--against: {address} accepts no connection: {reason}. Start the issuer's server there, or correct the URL; nothing was sent"
    )))
}

impl Facts {
    fn read(given: &Given<'_>) -> Result<Self, Stop> {
        let Given { issuer, checked, .. } = given;
        let empty = Document::parse("{}".into()).map_err(|error| Stop::Setup(error.to_string()))?;
        let (secret, admin) = (checked.secret.as_ref().unwrap_or(&empty), checked.admin.as_ref().unwrap_or(&empty));
        let of_secret = |error: Error| Stop::Setup(format!("--secret: {error}"));
        let of_admin = |error: Error| Stop::Setup(format!("--admin: {error}"));
        if checked.secret.is_some() {
            let named = issuer_name(secret).map_err(of_secret)?;
            if named != issuer.id {
                let id = &issuer.id;
                return Err(Stop::Setup(format!("--secret: `issuer` is `{named}`, but the description's is `{id}`")));
            }
        }
        let mut all = vars(secret, issuer, VarSource::Secret).map_err(of_secret)?;
        all.extend(vars(admin, issuer, VarSource::Admin).map_err(of_admin)?);
        // A key that is made and revoked here needs no other, unless that one makes it.
        let needs_current = issuer.admin == Admin::Itself || !(issuer.mints() || issuer.strategy == Strategy::Generate);
        let current = needs_current.then(|| key(secret, issuer)).transpose().map_err(of_secret)?;
        Ok(Self { vars: all, admin: admin_fields(admin, issuer).map_err(of_admin)?, current })
    }
}

/// The function's policy for passwords, with its defaults.
pub(super) fn passwords() -> Result<Policy, Error> {
    Environment::of(&[])?.password_policy(EXCLUDE_CHARACTERS)
}

/// What may live at the issuer because of this trial.
enum Made {
    /// No key.
    Nothing,
    /// One of this id.
    Key(String),
    /// There may be a key of this name.
    Perhaps(String),
}

/// Why a trial ended early.
pub(super) enum Failure {
    /// Said already, with this code.
    Step {
        code: String,
        message: String,
    },
    Stopped(Stop),
}

impl Failure {
    /// The last line of `--json`, and the exit code.
    fn told(self, screen: &Screen) -> Stop {
        match self {
            Self::Step { code, message } => {
                screen.json(&EndLine::failed(&code, &message));
                Stop::Failed
            }
            Self::Stopped(stop) => stop,
        }
    }

    /// Whether the issuer may have acted on a request for a key that failed like this.
    fn may_have_made_a_key(&self) -> bool {
        let uncertain = [
            Code::AnswerTooLarge,
            Code::AnswerUnexpected,
            Code::Internal,
            Code::IssuerUnavailable,
            Code::RedirectRefused,
            Code::ReplyLost,
        ];
        match self {
            Self::Step { code, .. } => uncertain.iter().any(|uncertain| uncertain.as_str() == code),
            Self::Stopped(_) => true,
        }
    }

    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self::Step { code: code.to_owned(), message: message.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(error.code().as_str(), error.to_string())
    }
}

pub(super) struct Trial<'a> {
    pub(super) screen: &'a Screen,
    pub(super) exchange: &'a Exchange<'a>,
    prefix: &'a str,
}

impl Trial<'_> {
    /// Makes a key and tries it. Returns what may be left of it, too.
    async fn of_new_key<F: Future<Output = Stop>>(&self, mut signals: Signals<'_, F>) -> (Made, Result<(), Failure>) {
        let name = name(self.prefix, &uuid::Uuid::new_v4().to_string(), since_epoch());
        // To the end, even if a signal comes: the answer says which key to remove.
        let create = self.create(&name);
        tokio::pin!(create);
        let (created, stopped) = tokio::select! {
            biased;
            stop = signals.as_mut() => (create.await, Some(stop)),
            created = &mut create => (created, None),
        };
        let key = match (created, stopped) {
            (Ok(key), None) => key,
            (Ok(key), Some(stop)) => return (Made::of(&key, &name), Err(Failure::Stopped(stop))),
            (Err(failure), stop) => {
                let left = if failure.may_have_made_a_key() { Made::Perhaps(name.clone()) } else { Made::Nothing };
                return (left, Err(stop.map_or(failure, Failure::Stopped)));
            }
        };
        let result = tokio::select! {
            biased;
            stop = signals => Err(Failure::Stopped(stop)),
            () = self.screen.unread() => Err(Failure::Stopped(Stop::Unread)),
            result = self.life_of(&key, &name) => result,
        };
        let left = if result.is_ok() { Made::Nothing } else { Made::of(&key, &name) };
        (left, result)
    }

    async fn create(&self, name: &str) -> Result<Key, Failure> {
        self.step("create", async {
            let value = self.exchange.issuer().value.as_ref();
            let value = value.map(|value| draw(value, &passwords()?, &OsEntropy)).transpose()?;
            let key = self.exchange.create(name, value).await?;
            let about = format!("key {}, named {name}", key.id.as_deref().unwrap_or("without an id"));
            Ok((key, about))
        })
        .await
    }

    async fn life_of(&self, key: &Key, name: &str) -> Result<(), Failure> {
        let id = key.id.as_deref().ok_or_else(|| Failure::new("answer-unexpected", "the key has no id"))?;
        let after = self.exchange.issuer().create.as_ref().map_or(0, |create| create.after.len());
        if after > 0 {
            let calls = if after == 1 { "1 call".to_owned() } else { format!("{after} calls") };
            self.step("after", async { Ok((self.exchange.after(key, name).await?, calls)) }).await?;
        }
        self.step("verify", self.works(key)).await?;
        self.step("list", self.listed(id)).await?;
        self.step("revoke", async { Ok((self.exchange.revoke(id).await?, format!("key {id}"))) }).await?;
        self.step("refused", self.refused(key)).await
    }

    /// Where trying more would end the key in the secret.
    async fn of_current_key<F: Future<Output = Stop>>(
        &self,
        current: Option<&Key>,
        replacement: Option<SecretFile<'_>>,
        signals: Signals<'_, F>,
    ) -> Result<(), Failure> {
        let strategy = super::about::strategy(self.exchange.issuer().strategy);
        let Some(key) = current else {
            self.screen.line(&format!("  {strategy} sends nothing."));
            return Ok(());
        };
        if let Some(replacement) = replacement {
            return self.replace(key, replacement).await;
        }
        self.screen.line(&format!(
            "  {strategy} would end the key in the secret: it is only used, not changed. With --replace-key it is exchanged."
        ));
        tokio::select! {
            biased;
            stop = signals => Err(Failure::Stopped(stop)),
            () = self.screen.unread() => Err(Failure::Stopped(Stop::Unread)),
            result = self.step("verify", self.works(key)) => result,
        }
    }

    pub(super) async fn works(&self, key: &Key) -> Result<((), String), Failure> {
        self.exchange.verify(key, true).await?.or_rejected(Code::PendingRejected)?;
        let identity = self.exchange.issuer().verify.as_ref().is_some_and(|verify| verify.identity.is_some());
        let identity = if identity { "the key works, and answers under its id" } else { "the key works" };
        Ok(((), identity.to_owned()))
    }

    async fn listed(&self, id: &str) -> Result<((), String), Failure> {
        let until = Deadline::after(FOR_CHANGES_TO_SPREAD);
        loop {
            let Some(keys) = self.exchange.find().await? else {
                return Ok(((), "nothing to try: the description has no `find`".to_owned()));
            };
            if keys.iter().any(|found| found.id == id) {
                return Ok(((), format!("the key is among {}", keys.len())));
            }
            if until.left() <= BETWEEN_LOOKS {
                let message = "the key that was made is not in the list; look at `find`: items, id, name, where, pages";
                return Err(Failure::new("key-not-listed", message));
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Shows that it has ended, and that `rejected` describes how the issuer refuses it.
    pub(super) async fn refused(&self, key: &Key) -> Result<((), String), Failure> {
        let until = Deadline::after(FOR_CHANGES_TO_SPREAD);
        loop {
            let verdict = self.exchange.verify(key, false).await?;
            if let Verdict::Rejected(_) = verdict {
                return Ok(((), "the revoked key is refused".to_owned()));
            }
            if until.left() <= BETWEEN_LOOKS {
                return Err(match verdict {
                    Verdict::Unknown(error) => error.into(),
                    _ => Failure::new("key-not-refused", "the revoked key still works after 30 s"),
                });
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Ends what may be left, and says so if that cannot be.
    async fn remove(&self, made: &Made) -> Result<(), Failure> {
        let removed = self.step("remove", self.removed(made)).await;
        if removed.is_err() {
            let left = match made {
                Made::Key(id) => format!("the key {id} could not be removed and may be live: revoke it by hand"),
                Made::Perhaps(name) => {
                    format!("whether there is a key is not known: look for one named {name}, and revoke it by hand")
                }
                Made::Nothing => return removed,
            };
            self.screen.complain(&left);
        }
        removed
    }

    async fn removed(&self, made: &Made) -> Result<((), String), Failure> {
        let ids = match made {
            Made::Key(id) => vec![id.clone()],
            _ => self.named().await?.into_iter().map(|found| found.id).collect(),
        };
        // A list without it proves nothing: it is part of what is tried.
        if ids.is_empty() {
            return Err(Failure::new("key-not-listed", "no key of this trial is in the list"));
        }
        for id in &ids {
            self.exchange.revoke(id).await?;
        }
        Ok(((), format!("key {}", ids.join(", "))))
    }

    /// The keys that this trial has named. A list without names does not show them.
    async fn named(&self) -> Result<Vec<ListedKey>, Failure> {
        if !self.exchange.issuer().finds_by_name() {
            return Err(Failure::new("key-not-listed", "the description cannot find a key by its name"));
        }
        Ok(self.exchange.find().await?.unwrap_or_default())
    }

    /// Says that a step goes on, and what the issuer answered last.
    fn still_at(&self, step: &str, time: Duration, statuses: &mut Vec<(String, u16)>) {
        let news = self.exchange.take_statuses();
        let answer = match news.last() {
            Some((call, status)) => format!("the last answer was {status} to `{call}`"),
            None => format!("no answer in the last {} s", BETWEEN_NOTES.as_secs()),
        };
        statuses.extend(news);
        self.screen.note(&format!("{step} goes on after {} s: {answer}; Ctrl-C ends it", time.as_secs()));
        self.screen.pending(step);
    }

    /// Does one thing and shows how it went.
    pub(super) async fn step<T>(
        &self,
        step: &str,
        work: impl Future<Output = Result<(T, String), Failure>>,
    ) -> Result<T, Failure> {
        self.screen.pending(step);
        let time = Stopwatch::start();
        let mut statuses = Vec::new();
        tokio::pin!(work);
        let result = loop {
            match tokio::time::timeout(BETWEEN_NOTES, &mut work).await {
                Ok(result) => break result,
                Err(_) => self.still_at(step, time.elapsed(), &mut statuses),
            }
        };
        let time = time.elapsed();
        statuses.extend(self.exchange.take_statuses());
        let (good, text) = match &result {
            Ok((_, about)) => (true, about.clone()),
            Err(Failure::Step { message, .. }) => (false, self.screen.paint(Style::Bad, message)),
            Err(Failure::Stopped(_)) => (false, "interrupted".to_owned()),
        };
        let answers: Vec<_> = statuses.iter().map(|(call, status)| format!("{call} {status}")).collect();
        let answers = answers.join(", ");
        self.screen.settle(good, &format!("{step:<8}{:>6.0} ms  {text}", milliseconds(time)));
        if !answers.is_empty() {
            self.screen.line(&self.screen.paint(Style::Dim, &format!("    {answers}")));
        }
        self.screen.json(&StepLine::new(step, time, &statuses, result.as_ref().err()));
        result.map(|(value, _)| value)
    }
}

impl Made {
    fn of(key: &Key, name: &str) -> Self {
        key.id.clone().map_or_else(|| Self::Perhaps(name.to_owned()), Self::Key)
    }
}

/// A step in `--json`.
#[derive(Serialize)]
struct StepLine<'a> {
    step: &'a str,
    outcome: &'static str,
    milliseconds: f64,
    answers: Vec<AnswerFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct AnswerFields<'a> {
    call: &'a str,
    status: u16,
}

impl<'a> StepLine<'a> {
    fn new(step: &'a str, time: Duration, answers: &'a [(String, u16)], failure: Option<&'a Failure>) -> Self {
        let (code, message) = match failure {
            Some(Failure::Step { code, message }) => (Some(code.as_str()), Some(message.as_str())),
            _ => (None, None),
        };
        let outcome = if failure.is_some() { "failed" } else { "ok" };
        let answers = answers.iter().map(|(call, status)| AnswerFields { call, status: *status }).collect();
        Self { step, outcome, milliseconds: rounded(time), answers, code, message }
    }
}
