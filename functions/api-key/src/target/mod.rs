//! What the four steps of a rotation mean for an API key.

pub mod journal;
pub mod key_secret;
mod mint;
mod ready;
mod retire;
mod roll;
pub mod value;

use crate::description::template::Key;
use crate::description::when::rfc3339;
use crate::description::{Output, Strategy};
use crate::exchange::{Exchange, Found, Verdict};
use crate::http::{Allowed, Client};
use crate::settings::Settings;
use crate::sources::Sources;
use crate::target::journal::{Grace, Journal, Superseded};
use crate::target::key_secret::{KeySecret, issuer_name};
use crate::target::mint::{Minted, discard, mint, settle};
use crate::target::ready::{Ground, Ready, Rights};
use crate::target::retire::{End, end, is_ours, not_ours};
use crate::target::roll::roll;
use crate::target::value::{conforms, draw};
use rotation::clock::since_epoch;
use rotation::document::Document;
use rotation::password::{OsEntropy, Policy};
use rotation::protocol::context::StepContext;
use rotation::protocol::label::Label;
use rotation::protocol::notes::JournalSize;
use rotation::protocol::observation::PreviousCredential;
use rotation::protocol::observation::{Attempt, Observation};
use rotation::protocol::store::PutOutcome;
use rotation::protocol::target::{
    Applied, Change, HelperSecret, Proof, Proposal, Retired, Target, VersionWithAge, Versions,
};
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use std::time::Duration;

/// For telling an issuer a value, tries included.
const TO_SET: Duration = Duration::from_secs(10);

/// The keys of HTTP issuers, as a [`Target`].
pub struct ApiKey {
    sources: Sources,
    client: Client,
    policy: Policy,
    admin_secrets: Option<Vec<String>>,
    allow_unproven: bool,
}

/// What createSecret made outside.
pub struct Made(Outside);

enum Outside {
    Nothing,
    Minted(Box<(Ready, Minted)>),
    /// The one key that lives.
    Rolled,
}

impl ApiKey {
    /// A target by these settings.
    ///
    /// # Errors
    /// [`Code::CaBundleInvalid`], and those of the descriptions in files.
    pub fn new(settings: Settings) -> Result<Self> {
        let allowed = Allowed {
            hosts: settings.allowed_hosts,
            private_hosts: settings.allowed_private_hosts,
            instead: settings.issuer_endpoint,
        };
        Ok(Self {
            sources: Sources::new(&settings.issuers, settings.ssm_endpoint.as_deref())?,
            client: Client::new(settings.ca_bundle.as_deref(), allowed)?,
            policy: settings.policy,
            admin_secrets: settings.admin_secrets,
            allow_unproven: settings.allow_unproven_keys,
        })
    }

    async fn ready(&self, context: &StepContext<'_>, document: &Document, rights: Rights) -> Result<Ready> {
        let ground = Ground {
            sources: &self.sources,
            admin_secrets: self.admin_secrets.as_deref(),
            allow_unproven: self.allow_unproven,
        };
        ground.ready(context, document, rights).await
    }

    /// The pending version, after the checks that come before anything is sent for it.
    async fn pending(&self, context: &StepContext<'_>, versions: Versions<'_>, rights: Rights) -> Result<Ready> {
        let (one, other) = (issuer_name(versions.current)?, issuer_name(versions.pending)?);
        if one != other {
            return Err(Error::new(Code::PendingMismatch).with(Fact::Field, "issuer"));
        }
        let ready = self.ready(context, versions.pending, rights).await?;
        KeySecret::read(versions.current, &ready.issuer)?.same_target(&ready.version)?;
        Ok(ready)
    }

    fn drawn(&self, ready: &Ready) -> Result<Key> {
        let value = ready.version.value.as_ref().ok_or_else(no_value)?;
        let secret = draw(value, &self.policy, &OsEntropy)?;
        Ok(Key { secret: Some(secret), ..ready.version.key.clone() })
    }

    /// Ends what is due in a journal. `in_use` is the id of a key that somebody may have read a moment ago, whatever the journal
    /// says.
    async fn end_due(
        &self,
        context: &StepContext<'_>,
        document: &Document,
        in_use: Option<&str>,
        promoted: Option<Duration>,
    ) -> Result<Retired> {
        let holder = self.ready(context, document, Rights::Holder).await?;
        let now = since_epoch();
        let due = |entry: &&Superseded| {
            // Superseded once, and made current again by hand: its time begins anew.
            let again = entry.since.is_some() && in_use == Some(&entry.id);
            let own = holder.version.key.id.as_ref() == Some(&entry.id);
            entry.due(holder.version.grace, promoted, now) && !again && !own
        };
        if !holder.issuer.mints() {
            return Ok(Retired::Nothing);
        }
        let mut left = Left::of(&holder.version, holder.version.journal.retire.iter().filter(due).count());
        // Unless more is known below.
        left.note(context);
        if left.overdue == 0 {
            return Ok(Retired::Nothing);
        }
        let ready = self.ready(context, document, Rights::Admin).await?;
        let exchange = ready.ending(&self.client, &ready.version.key, context.deadline());
        let mut retired = Retired::Nothing;
        for entry in ready.version.journal.retire.iter().filter(due) {
            let became = end(context, &exchange, &ready.prover, entry, None).await;
            left.count(became);
            if became == End::Ended {
                retired = Retired::Previous;
            }
        }
        left.note(context);
        Ok(retired)
    }

    /// For setSecret without a proof, as when the admin's credential was corrected since createSecret: whether the current key
    /// shows that the secret has it. False if the pending one is in effect already.
    async fn possessed(&self, context: &StepContext<'_>, versions: Versions<'_>, pending: &Ready) -> Result<bool> {
        let current = KeySecret::read(versions.current, &pending.issuer)?.key;
        let shown = pending.possession(&self.client, &current, context.deadline()).await;
        let Err(error) = shown else { return Ok(true) };
        match pending.possession(&self.client, &pending.version.key, context.deadline()).await {
            Ok(()) => Ok(false),
            Err(_) => Err(error),
        }
    }

    async fn proposal(&self, context: &StepContext<'_>, current: &Document) -> Result<Proposal<Made>> {
        let holder = self.ready(context, current, Rights::Holder).await?;
        let strategy = holder.issuer.strategy;
        if strategy == Strategy::Generate {
            let document = written(current, &holder, &self.drawn(&holder)?)?;
            return Ok(Proposal { document, made: Made(Outside::Nothing) });
        }
        let ready = self.ready(context, current, Rights::Admin).await?;
        if !ready.issuer.mints() && !ready.is_proven() {
            ready.possession(&self.client, &ready.version.key, context.deadline()).await?;
        }
        match strategy {
            Strategy::Generate | Strategy::SetValue => {
                let document = written(current, &ready, &self.drawn(&ready)?)?;
                let document = proven(&document, &ready, &ready.version.key)?;
                Ok(Proposal { document, made: Made(Outside::Nothing) })
            }
            Strategy::Roll | Strategy::RollGrace => {
                let key = roll(&ready, &self.client, context).await?;
                context.notes().took_effect(match strategy {
                    Strategy::RollGrace => PreviousCredential::Works,
                    _ => PreviousCredential::Refused,
                });
                let document = proven(&written(current, &ready, &key)?, &ready, &key)?;
                Ok(Proposal { document, made: Made(Outside::Rolled) })
            }
            Strategy::CreateRevoke | Strategy::RevokeCreate => self.minted(context, current, ready).await,
        }
    }

    /// Lists keys with the admin's credential, which shows that it works. `None` where the issuer cannot list: then nothing that
    /// changes nothing needs that credential.
    async fn admin_tried(&self, context: &StepContext<'_>, ready: &Ready) -> Option<Attempt> {
        let exchange = ready.exchange(&self.client, &ready.version.key, context.deadline());
        admin_tried(exchange.find().await)
    }

    async fn minted(&self, context: &StepContext<'_>, current: &Document, ready: Ready) -> Result<Proposal<Made>> {
        let minted = mint(&ready, &self.client, context).await?;
        let document = written(current, &ready, &minted.key).and_then(|document| {
            let document = minted.journal.write(&document)?;
            // A value never changes once it is stored: what could not be read again would stop every later step.
            KeySecret::read(&document, &ready.issuer).map(|_| document)
        });
        if document.is_err() {
            discard(&ready, &self.client, context, &minted.key).await;
        }
        Ok(Proposal { document: document?, made: Made(Outside::Minted(Box::new((ready, minted)))) })
    }
}

impl Target for ApiKey {
    type Made = Made;

    const COMPANION_VERIFIES: bool = false;

    fn throttles(&self) -> u32 {
        self.sources.throttles()
    }

    /// The admin secret, where setSecret needs it and the description is at hand.
    fn companion(&self, current: &Document) -> Option<String> {
        let issuer = self.sources.at_hand(&issuer_name(current).ok()?)?;
        let secret = KeySecret::read(current, &issuer).ok()?;
        let allowed = |id: &String| self.admin_secrets.as_ref().is_none_or(|list| list.contains(id));
        secret.admin_secret.filter(|id| issuer.strategy == Strategy::SetValue && allowed(id))
    }

    async fn propose(&self, context: &StepContext<'_>, current: &Document) -> Result<Proposal<Made>> {
        self.proposal(context, current).await
    }

    async fn settle(&self, context: &StepContext<'_>, made: Made, put: PutOutcome) -> Result<()> {
        match (made.0, put) {
            (Outside::Minted(made), put) => {
                if put == PutOutcome::Stored {
                    context.notes().took_effect(PreviousCredential::Works);
                }
                settle(&made.0, &self.client, context, &made.1, put).await;
            }
            (Outside::Rolled, PutOutcome::OtherValueThere) => return Err(Error::new(Code::KeySuperseded)),
            (Outside::Rolled | Outside::Nothing, _) => {}
        }
        Ok(())
    }

    async fn apply(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Applied> {
        let holder = self.pending(context, versions, Rights::Holder).await?;
        if holder.issuer.strategy != Strategy::SetValue {
            return Ok(Applied::AlreadyInEffect);
        }
        let ready = self.pending(context, versions, Rights::Admin).await?;
        if !ready.is_proven() && !self.possessed(context, versions, &ready).await? {
            return Ok(Applied::AlreadyInEffect);
        }
        context.still_pending().await?;
        // What is tried again for long may have been overtaken by another rotation, whose value it would replace.
        let exchange = ready.exchange(&self.client, &ready.version.key, context.deadline().within(TO_SET));
        exchange.set(&ready.version.key).await?;
        Ok(Applied::Changed(Change { by: "admin", previous: PreviousCredential::Refused }))
    }

    async fn verify(&self, context: &StepContext<'_>, versions: Versions<'_>, _: Proof) -> Result<()> {
        let ready = self.pending(context, versions, Rights::Holder).await?;
        if ready.issuer.strategy == Strategy::Generate {
            return looks_right(&ready);
        }
        let exchange = ready.exchange(&self.client, &ready.version.key, context.deadline());
        exchange.verify(&ready.version.key, true).await?.or_rejected(Code::PendingRejected)
    }

    async fn retire(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Retired> {
        let superseded = self.ready(context, versions.current, Rights::Holder).await?;
        // The version has just been promoted: what it supersedes is so since now.
        self.end_due(context, versions.pending, superseded.version.key.id.as_deref(), Some(since_epoch())).await
    }

    async fn check(&self, context: &StepContext<'_>, current: VersionWithAge<'_>) -> Result<Retired> {
        let ready = self.ready(context, current.document, Rights::Admin).await?;
        if ready.issuer.strategy == Strategy::Generate {
            return Ok(Retired::Nothing);
        }
        let exchange = ready.exchange(&self.client, &ready.version.key, context.deadline());
        exchange.verify(&ready.version.key, false).await?.or_rejected(Code::CurrentRejected)?;
        // Shows that the admin's credential may at least look.
        let listed = exchange.find().await?;
        if ready.version.grace == Grace::Cycle {
            let living = listed.filter(|_| ready.issuer.mints()).and_then(|listed| Living::of(&ready, &listed));
            if let Some(living) = living {
                living.tell(context, &exchange);
            }
            return Ok(Retired::Nothing);
        }
        self.end_due(context, current.document, None, context.description().last_rotated).await
    }

    async fn attempt(&self, context: &StepContext<'_>, versions: Versions<'_>, _: Label) -> Result<Attempt> {
        let ready = self.pending(context, versions, Rights::Holder).await?;
        if ready.issuer.strategy == Strategy::Generate {
            return looks_right(&ready).map(|()| Attempt::WORKS);
        }
        let exchange = ready.exchange(&self.client, &ready.version.key, context.deadline());
        Ok(match exchange.verify(&ready.version.key, false).await? {
            Verdict::Works => Attempt::WORKS,
            Verdict::Rejected(error) => Attempt { observation: Observation::Rejected, error: Some(error) },
            Verdict::Unknown(error) => Attempt::unknown(error),
        })
    }

    async fn attempt_companion(&self, context: &StepContext<'_>, current: &Document) -> Result<Option<HelperSecret>> {
        let holder = self.ready(context, current, Rights::Holder).await?;
        let Some(secret) = holder.version.admin_secret.clone() else { return Ok(None) };
        let (mints, proof) = (holder.issuer.mints(), holder.version.journal.proof.is_some());
        let (rescues, tried) = match self.ready(context, current, Rights::Admin).await {
            Ok(ready) => (mints || ready.is_proven(), self.admin_tried(context, &ready).await),
            // Whether the proof holds, nobody can say.
            Err(error) => (mints || self.allow_unproven || proof, admin_tried(Err(error))),
        };
        Ok(Some(HelperSecret { secret, rescues, tried }))
    }
}

/// What a list of keys, or why there is none, tells about the admin's credential.
fn admin_tried(listed: Result<Option<Vec<Found>>>) -> Option<Attempt> {
    match listed {
        // Nothing was sent.
        Ok(None) => None,
        Ok(Some(_)) => Some(Attempt::WORKS),
        Err(error) if error.code() == Code::AdminRejected => {
            Some(Attempt { observation: Observation::Rejected, error: Some(error) })
        }
        Err(error) => Some(Attempt::unknown(error)),
    }
}

/// What is left of a version's journal, but for the version's own key.
struct Left {
    depth: usize,
    overdue: usize,
}

impl Left {
    fn of(secret: &KeySecret, due: usize) -> Self {
        Self { depth: superseded(secret).count(), overdue: due }
    }

    /// Counts what became of a key whose time was over. One that is not ours to end is overdue for nobody: it has its own warning,
    /// and somebody may have ended it long ago without anyone here being able to tell.
    fn count(&mut self, became: End) {
        match became {
            End::Ended => {
                self.depth = self.depth.saturating_sub(1);
                self.overdue = self.overdue.saturating_sub(1);
            }
            End::NotOurs => self.overdue = self.overdue.saturating_sub(1),
            End::Kept => {}
        }
    }

    /// Notes how many are left.
    fn note(&self, context: &StepContext<'_>) {
        let (depth, overdue) = (self.depth, Some(self.overdue));
        context.notes().journal(JournalSize { depth, overdue });
    }
}

fn superseded(secret: &KeySecret) -> impl Iterator<Item = &Superseded> {
    secret.journal.retire.iter().filter(|entry| secret.key.id.as_ref() != Some(&entry.id))
}

/// The journal of a version that is current, under a grace that the promotion ended: a value does not change, so what has ended
/// since it was stored is told by the issuer's list alone.
#[derive(Debug, Default, PartialEq, Eq)]
struct Living {
    /// Keys that are still to be ended.
    depth: usize,
    /// The ids of those of them whose time is over.
    overdue: Vec<String>,
    /// How many live, and are not ours to end.
    not_ours: usize,
}

impl Living {
    /// `None` where the list does not tell it of each key.
    fn of(ready: &Ready, listed: &[Found]) -> Option<Self> {
        Self::among(&ready.version, listed, |entry| is_ours(&ready.prover, entry, Some(listed)))
    }

    fn among(secret: &KeySecret, listed: &[Found], is_ours: impl Fn(&Superseded) -> bool) -> Option<Self> {
        let mut living = Self::default();
        for entry in superseded(secret) {
            if entry.since.is_none() {
                living.depth += 1;
            } else if !entry.listed {
                return None;
            } else if listed.iter().any(|found| found.id == entry.id) {
                living.depth += 1;
                if is_ours(entry) {
                    living.overdue.push(entry.id.clone());
                } else {
                    living.not_ours += 1;
                }
            }
        }
        Some(living)
    }

    /// Notes how many there are, and warns of each that should live no more.
    fn tell(self, context: &StepContext<'_>, exchange: &Exchange<'_>) {
        context.notes().journal(JournalSize { depth: self.depth, overdue: Some(self.overdue.len()) });
        for id in &self.overdue {
            context.warn(alive(exchange, id));
        }
        for _ in 0..self.not_ours {
            context.warn(not_ours(exchange));
        }
    }
}

/// That a key lives whose time is over. What the issuer has listed as an id is no key that stands in the wrong field.
fn alive(exchange: &Exchange<'_>, id: &str) -> Error {
    Error::new(Code::KeyNotRevoked).with(Fact::Issuer, &exchange.issuer().id).with(Fact::KeyId, id)
}

/// The document with a new key in the fields that the description names.
fn written(current: &Document, ready: &Ready, key: &Key) -> Result<Document> {
    let mut changes = Vec::new();
    for (field, output) in &ready.issuer.output {
        let text = match output {
            Output::KeySecret => key.secret.as_ref().map(|secret| secret.expose().to_owned()),
            Output::KeyId => key.id.clone(),
            Output::KeyField(name) => key.fields.get(name).map(|text| text.expose().to_owned()),
            Output::PreviousSecret => ready.version.key.secret.as_ref().map(|secret| secret.expose().to_owned()),
            Output::Time => Some(rfc3339(since_epoch())),
        };
        let text = text.ok_or_else(|| Error::new(Code::FieldMissing).with(Fact::Field, field))?;
        changes.push((field.as_str(), serde_json::Value::from(text).to_string()));
    }
    let changes: Vec<_> = changes.iter().map(|(field, json)| (*field, json.as_str())).collect();
    current.with_json(&changes)
}

/// The document with a proof that its key is the secret's own.
fn proven(document: &Document, ready: &Ready, key: &Key) -> Result<Document> {
    let proof = ready.prover.prove(key.id.as_deref().unwrap_or_default());
    Journal { proof, retire: Vec::new() }.write(document)
}

/// A value that was made here can only be looked at: whoever checks it reads the same secret.
fn looks_right(ready: &Ready) -> Result<()> {
    let value = ready.version.value.as_ref().ok_or_else(no_value)?;
    let text = ready.version.key.secret.as_ref().map(SecretText::expose).unwrap_or_default();
    if conforms(value, text) {
        Ok(())
    } else {
        Err(Error::new(Code::PendingMismatch).with(Fact::Field, ready.issuer.key_field()))
    }
}

fn no_value() -> Error {
    let error = Error::new(Code::FieldMissing).with(Fact::Field, "rotation.value");
    error.with(Fact::Expected, "what a key looks like, e.g. {\"kind\": \"base64url\", \"bytes\": 32}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(ids: &[&str]) -> Vec<Found> {
        ids.iter().map(|id| Found { id: (*id).to_owned(), name: None }).collect()
    }

    fn entry(id: &str, since: Option<u64>, listed: bool) -> Superseded {
        Superseded { id: id.to_owned(), proof: None, since, listed }
    }

    fn version(retire: Vec<Superseded>) -> KeySecret {
        KeySecret {
            key: Key::of_id("own"),
            admin_secret: None,
            grace: Grace::Cycle,
            lifetime: None,
            value: None,
            journal: Journal { proof: None, retire },
            vars: std::collections::BTreeMap::new(),
        }
    }

    /// Without a list there was no request, and a credential that was revoked would look well.
    #[test]
    fn only_an_answer_tells_about_the_admins_credential() {
        assert_eq!(admin_tried(Ok(None)), None);
        assert_eq!(admin_tried(Ok(Some(Vec::new()))), Some(Attempt::WORKS));
        for (code, observation) in
            [(Code::AdminRejected, Observation::Rejected), (Code::IssuerUnavailable, Observation::Unknown)]
        {
            let tried = admin_tried(Err(Error::new(code))).unwrap();
            assert_eq!((tried.observation, tried.error.unwrap().code()), (observation, code));
        }
    }

    /// What a person has revoked would raise an alarm for good: nothing here can tell that it is gone.
    #[test]
    fn a_key_that_is_not_ours_is_never_overdue() {
        for (became, depth, overdue) in
            [(vec![], 3, 2), (vec![End::Kept, End::Kept], 3, 2), (vec![End::Ended, End::NotOurs], 2, 0)]
        {
            let retire = vec![entry("a", Some(1), false), entry("b", Some(1), false), entry("c", None, false)];
            let mut left = Left::of(&version(retire), 2);
            became.into_iter().for_each(|became| left.count(became));
            assert_eq!((left.depth, left.overdue), (depth, overdue));
        }
    }

    #[test]
    fn what_lives_too_long_is_told_by_its_id() {
        let retire = || vec![entry("waits", None, true), entry("late", Some(1), true), entry("other", Some(1), true)];
        let ours = |entry: &Superseded| entry.id != "other";
        let among = |retire, listed: &[&str]| Living::among(&version(retire), &found(listed), ours);
        let told = |depth, overdue: &[&str], not_ours| {
            Some(Living { depth, overdue: overdue.iter().map(|id| (*id).to_owned()).collect(), not_ours })
        };
        assert_eq!(among(retire(), &["waits", "late", "other"]), told(3, &["late"], 1));
        assert_eq!(among(retire(), &["waits"]), told(1, &[], 0));
        assert_eq!(among(vec![entry("own", Some(1), true)], &["own"]), told(0, &[], 0), "the version's own key");
        assert_eq!(among(vec![entry("unlisted", Some(1), false)], &[]), None);
    }
}
