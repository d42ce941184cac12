//! What the four steps of a rotation do with an API key.

pub mod journal;
pub mod key_secret;
mod mint;
mod overdue;
mod retire;
mod rights;
mod roll;
pub mod value;

use crate::description::{Key, Strategy};
use crate::exchange::{ListedKey, Verdict};
use crate::http::{Client, HostPolicy, Sender};
use crate::settings::Settings;
use crate::sources::Sources;
use crate::target::journal::{Grace, Journal, parts, token_part};
use crate::target::key_secret::{KeySecret, issuer_name};
use crate::target::mint::{Minted, TO_STORE, discard, mint, settle};
use crate::target::overdue::{Living, Overdue, moved};
use crate::target::rights::{Administrator, Deployment, Holder};
use crate::target::roll::roll;
use crate::target::value::{conforms, draw};
use rotation::clock::since_epoch;
use rotation::document::Document;
use rotation::password::{OsEntropy, Policy};
use rotation::protocol::context::StepContext;
use rotation::protocol::label::Label;
use rotation::protocol::observation::{Attempt, Observation, PreviousCredential};
use rotation::protocol::portrait::Portrait;
use rotation::protocol::store::PutOutcome;
use rotation::protocol::target::{
    Applied, Change, Helper, HelperSecret, Proof, Proposal, Retired, Target, VersionWithAge, Versions,
};
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use std::sync::Arc;
use std::time::Duration;

/// The time for sending an issuer a value, with all tries.
const TO_SET: Duration = Duration::from_secs(10);

/// The keys of HTTP issuers, as a [`Target`].
pub struct ApiKey {
    deployment: Arc<Deployment>,
    policy: Policy,
}

/// How often a value is put back. Each time another rotation has been promoted meanwhile, which takes seconds.
const MOST_PUT_BACK: u32 = 3;

/// What createSecret made at the issuer.
pub struct Made(Outside);

enum Outside {
    Nothing,
    Minted(Box<(Administrator, Minted)>),
    /// A key that has replaced the current one.
    Rolled,
}

impl ApiKey {
    /// A target by these settings.
    ///
    /// # Errors
    /// [`Code::CaBundleInvalid`], and those of the descriptions in files.
    pub fn new(settings: Settings) -> Result<Self> {
        let policy = HostPolicy {
            hosts: settings.allowed_hosts.clone(),
            private_hosts: settings.allowed_private_hosts.clone(),
            instead: settings.issuer_endpoint.clone(),
            without_tls: false,
        };
        let sources = Sources::new(&settings.issuers, settings.ssm_endpoint.as_deref())?;
        let client = Client::new(settings.ca_bundle.as_deref(), policy)?;
        Ok(Self::over(settings, Arc::new(sources), Box::new(client)))
    }

    /// A target that reads these descriptions and sends its requests this way. What `settings` say about descriptions and
    /// connections counts no more. Simulations of issuers use it.
    #[must_use]
    pub fn over(settings: Settings, sources: Arc<Sources>, sender: Box<dyn Sender>) -> Self {
        let Settings { policy, admin_secrets, allow_unproven_keys, .. } = settings;
        let deployment = Deployment { sources, sender, admin_secrets, allow_unproven: allow_unproven_keys };
        Self { deployment: Arc::new(deployment), policy }
    }

    /// The pending version and the current one.
    ///
    /// **Invariant:** nothing is sent for a pending version before its issuer, admin secret and variables were compared with the
    /// current version's. Otherwise the writer of a pending version could direct the admin's credential elsewhere. Test:
    /// `a_pending_version_about_something_else_is_refused`.
    async fn pending(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<(Holder, KeySecret)> {
        let (one, other) = (issuer_name(versions.current)?, issuer_name(versions.pending)?);
        if one != other {
            return Err(Error::new(Code::PendingMismatch).with(Fact::Field, "issuer"));
        }
        let holder = self.deployment.holder(context, versions.pending).await?;
        let current = KeySecret::read(versions.current, &holder.issuer)?;
        current.same_target(&holder.version)?;
        Ok((holder, current))
    }

    /// The same. The pending version lacks nothing that the current one has.
    async fn unedited(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<(Holder, KeySecret)> {
        let (holder, current) = self.pending(context, versions).await?;
        let written: Vec<&str> = holder.issuer.output.keys().map(String::as_str).collect();
        versions.unedited(&written)?;
        Ok((holder, current))
    }

    fn drawn(&self, version: &KeySecret) -> Result<Key> {
        let value = version.value.as_ref().ok_or_else(no_value)?;
        let secret = draw(value, &self.policy, &OsEntropy)?;
        Ok(Key { secret: Some(secret), ..version.key.clone() })
    }
}

async fn minted(
    context: &StepContext<'_>,
    current: &Document,
    admin: Administrator,
    value: Option<SecretText>,
) -> Result<Proposal<Made>> {
    let minted = mint(&admin, context, value).await?;
    let document = written(current, &admin.holder, &minted.key).and_then(|document| {
        let document = minted.journal.write(&document)?;
        // A stored value never changes, so an unreadable one would stop every later step.
        KeySecret::read(&document, &admin.holder.issuer).map(|_| document)
    });
    if document.is_err() && !admin.holder.issuer.creates_stored_keys() {
        discard(&admin, context, &minted.key).await;
    }
    Ok(Proposal { document: document?, made: Made(Outside::Minted(Box::new((admin, minted)))) })
}

/// For setSecret without a proof, for example after the admin's credential was corrected: true if the current key works, false
/// if the pending key is already in effect.
async fn possessed(context: &StepContext<'_>, pending: &Administrator, current: &Key) -> Result<bool> {
    let Err(error) = pending.possession(current, context.deadline()).await else { return Ok(true) };
    match pending.possession(&pending.holder.version.key, context.deadline()).await {
        Ok(()) => Ok(false),
        Err(_) => Err(error),
    }
}

/// Whether the labels say that the version is not to be put into effect any more.
fn is_overtaken(error: &Error) -> bool {
    let codes = [Code::VersionUnknown, Code::VersionNotPending, Code::WriteConflict, Code::RotationDisabled];
    codes.contains(&error.code())
}

/// Sends the issuer the value of AWSCURRENT again.
///
/// **Invariant:** an invocation that finds afterwards that it was overtaken does this. An issuer has no lock, so a request that was
/// held up can arrive after a later rotation has set and promoted its own value, and AWSCURRENT would open nothing.
/// Test: `a_value_that_arrives_late_is_replaced_by_the_current_one`.
async fn put_back(context: &StepContext<'_>, admin: &Administrator) -> Result<()> {
    for _ in 0..MOST_PUT_BACK {
        let (version, document) = context.current().await?;
        if issuer_name(&document)? != admin.holder.issuer.id {
            return Err(Error::new(Code::PendingMismatch).with(Fact::Field, "issuer"));
        }
        let current = KeySecret::read(&document, &admin.holder.issuer)?;
        current.same_target(&admin.holder.version)?;
        // The set's own time may be spent.
        admin.exchange(context.deadline()).set(&current.key, || std::future::ready(Ok(()))).await?;
        // Another rotation may have been promoted since.
        if context.is_current(&version).await? {
            break;
        }
    }
    Ok(())
}

/// Creates the key of a version at the issuer, with all that it needs.
///
/// **Invariant:** createSecret has stored id and value before the first request, so whatever is lost, the same requests are sent
/// again. Otherwise a key would work that is in no secret, or lack what it needs. Tests: `killed_after_each_call_of_a_stored_key`,
/// `each_reply_of_a_stored_key_is_lost`.
///
/// **Invariant:** only a key that createSecret has named for this version is created. Otherwise the writer of a secret could name
/// any user, and give it a password with the admin's credential. Test: `a_user_that_the_secret_only_names_keeps_its_password`.
async fn place(context: &StepContext<'_>, admin: Administrator) -> Result<Applied> {
    let key = &admin.holder.version.key;
    let named = key.id.as_deref().and_then(|id| parts(&admin.holder.prefix, id));
    let is_own = named.is_some_and(|(token, _)| token == token_part(context.token()));
    if !is_own || !admin.has_proof() {
        return Ok(Applied::AlreadyInEffect);
    }
    let exchange = admin.exchange(context.deadline().less(TO_STORE));
    exchange.create_stored(key, || context.still_wanted()).await?;
    // A request that was held up may have created it after a later rotation began. That rotation's successor finds it in the list.
    context.still_wanted().await?;
    Ok(Applied::Changed(Change { by: "admin", previous: PreviousCredential::Works }))
}

impl Target for ApiKey {
    type Made = Made;
    /// An issuer has no lock.
    type Held = ();

    fn throttles(&self) -> u32 {
        self.deployment.sources.throttles()
    }

    /// The admin secret, if setSecret needs it and the description is in memory.
    fn portrait(&self, current: &Document) -> Result<Portrait> {
        let name = issuer_name(current)?;
        let opens = format!("issuer {}", rotation::error::key(&name));
        // A description that is no file is read by a rotation only.
        let Some(issuer) = self.deployment.sources.at_hand(&name) else {
            return Ok(Portrait::new(None, "API key", &opens));
        };
        let version = KeySecret::read(current, &issuer)?;
        let strategy = format!("API key, {}", issuer.strategy.as_str());
        Ok(Portrait::new(version.key.id.as_deref(), &strategy, &opens))
    }

    fn helper_secret(&self, current: &Document) -> Option<Helper> {
        let issuer = self.deployment.sources.at_hand(&issuer_name(current).ok()?)?;
        let version = KeySecret::read(current, &issuer).ok()?;
        let sets = issuer.strategy == Strategy::SetValue || issuer.creates_stored_keys();
        let secret = version.admin_secret.filter(|id| sets && self.deployment.allows_admin(id))?;
        Some(Helper { secret, verifies: false })
    }

    async fn propose(&self, context: &StepContext<'_>, current: &Document) -> Result<Proposal<Made>> {
        let holder = self.deployment.holder(context, current).await?;
        let strategy = holder.issuer.strategy;
        if strategy == Strategy::Generate {
            let document = written(current, &holder, &self.drawn(&holder.version)?)?;
            return Ok(Proposal { document, made: Made(Outside::Nothing) });
        }
        let admin = holder.with_admin(context).await?;
        let holder = &admin.holder;
        if !holder.issuer.mints() && !admin.is_proven() {
            admin.possession(&holder.version.key, context.deadline()).await?;
        }
        match strategy {
            Strategy::Generate | Strategy::SetValue => {
                let document = written(current, holder, &self.drawn(&holder.version)?)?;
                let document = proven(&document, &admin, &holder.version.key)?;
                Ok(Proposal { document, made: Made(Outside::Nothing) })
            }
            Strategy::Roll | Strategy::RollGrace => {
                let key = roll(&admin, context).await?;
                context.notes().took_effect(match strategy {
                    Strategy::RollGrace => PreviousCredential::Works,
                    _ => PreviousCredential::Refused,
                });
                let document = proven(&written(current, holder, &key)?, &admin, &key)?;
                Ok(Proposal { document, made: Made(Outside::Rolled) })
            }
            Strategy::CreateRevoke | Strategy::RevokeCreate => {
                let draws = holder.issuer.value.is_some();
                let value = draws.then(|| self.drawn(&holder.version)).transpose()?.and_then(|key| key.secret);
                minted(context, current, admin, value).await
            }
        }
    }

    async fn settle(&self, context: &StepContext<'_>, made: Made, put: PutOutcome) -> Result<()> {
        match (made.0, put) {
            (Outside::Minted(made), put) => {
                if put == PutOutcome::Stored && !made.0.holder.issuer.creates_stored_keys() {
                    context.notes().took_effect(PreviousCredential::Works);
                }
                settle(&made.0, context, &made.1, put).await;
            }
            (Outside::Rolled, PutOutcome::OtherValueThere) => return Err(Error::new(Code::KeySuperseded)),
            (Outside::Rolled | Outside::Nothing, _) => {}
        }
        Ok(())
    }

    async fn apply(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Applied> {
        let (holder, current) = self.unedited(context, versions).await?;
        if holder.issuer.creates_stored_keys() {
            return place(context, holder.with_admin(context).await?).await;
        }
        if holder.issuer.strategy != Strategy::SetValue {
            return Ok(Applied::AlreadyInEffect);
        }
        let admin = holder.with_admin(context).await?;
        if !admin.is_proven() && !possessed(context, &admin, &current.key).await? {
            return Ok(Applied::AlreadyInEffect);
        }
        let set = admin.exchange(context.deadline().within(TO_SET));
        let set = set.set(&admin.holder.version.key, || context.still_wanted()).await;
        // A request that failed may arrive all the same.
        if let Err(error) = context.still_wanted().await {
            // Without an answer nothing says that this rotation was overtaken. The next run of the step asks again.
            if is_overtaken(&error) {
                put_back(context, &admin).await?;
            }
            return Err(error);
        }
        set?;
        Ok(Applied::Changed(Change { by: "admin", previous: PreviousCredential::Refused }))
    }

    async fn verify(&self, context: &StepContext<'_>, versions: Versions<'_>, _: Proof) -> Result<()> {
        let (holder, _) = self.unedited(context, versions).await?;
        if holder.issuer.strategy == Strategy::Generate {
            return looks_right(&holder);
        }
        let verdict = holder.verify(&holder.version.key, true, context.deadline()).await?;
        verdict.or_rejected(Code::PendingRejected)
    }

    async fn release(&self, (): ()) {}

    async fn retire(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Retired> {
        let holder = self.deployment.holder(context, versions.pending).await?;
        let superseded = KeySecret::read(versions.current, &holder.issuer)?.key.id;
        // The version has just been promoted, so it supersedes the current key from now on.
        let overdue = Overdue::of(context, &holder, superseded.as_deref(), Some(since_epoch()));
        let Some(overdue) = overdue else { return Ok(Retired::Nothing) };
        // Somebody may have gone back to the previous key since the promotion.
        let (admin, current) = tokio::join!(holder.with_admin(context), context.is_current(context.token()));
        if !current? {
            return Err(moved());
        }
        overdue.revoke(context, &admin?, context.token()).await
    }

    async fn check(&self, context: &StepContext<'_>, current: VersionWithAge<'_>) -> Result<Retired> {
        let admin = self.deployment.holder(context, current.document).await?.with_admin(context).await?;
        let holder = &admin.holder;
        if holder.issuer.strategy == Strategy::Generate {
            return Ok(Retired::Nothing);
        }
        let exchange = admin.exchange(context.deadline());
        exchange.verify(&holder.version.key, false).await?.or_rejected(Code::CurrentRejected)?;
        // Shows that the admin's credential can at least list.
        let listed = exchange.find().await?;
        if holder.version.grace == Grace::Cycle {
            let living = listed.filter(|_| holder.issuer.mints()).and_then(|listed| Living::of(&admin, &listed));
            if let Some(living) = living {
                living.tell(context, &exchange);
            }
            return Ok(Retired::Nothing);
        }
        match Overdue::of(context, holder, None, context.description().last_rotated) {
            Some(overdue) => {
                let version = context.description().current_version().unwrap_or_default();
                if context.is_current(version).await? {
                    overdue.revoke(context, &admin, version).await
                } else {
                    Err(moved())
                }
            }
            None => Ok(Retired::Nothing),
        }
    }

    async fn attempt(&self, context: &StepContext<'_>, versions: Versions<'_>, label: Label) -> Result<Attempt> {
        let (holder, _) = self.pending(context, versions).await?;
        if holder.issuer.strategy == Strategy::Generate {
            return match looks_right(&holder) {
                // Whatever it looks like, it is in use, because the services that check it read this secret.
                Err(error) if label == Label::Current && error.code() == Code::PendingMismatch => {
                    let error = Some(error.recoded(Code::KeyNotGenerated));
                    Ok(Attempt { observation: Observation::Works, error })
                }
                looks => looks.map(|()| Attempt::WORKS),
            };
        }
        Ok(match holder.verify(&holder.version.key, false, context.deadline()).await? {
            Verdict::Works => Attempt::WORKS,
            Verdict::Rejected(error) => Attempt { observation: Observation::Rejected, error: Some(error) },
            Verdict::Unknown(error) => Attempt::unknown(error),
        })
    }

    /// A key that is superseded is revoked now. Others end with a rotation, with their grace, or with those who check them.
    async fn end_early(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Retired> {
        let (old, _) = self.pending(context, versions).await?;
        let Some(id) = old.version.key.id else { return Ok(Retired::Nothing) };
        let holder = self.deployment.holder(context, versions.current).await?;
        let Some(early) = Overdue::early(&holder, &id) else { return Ok(Retired::Nothing) };
        let admin = holder.with_admin(context).await?;
        // An issuer has no lock. A rotation that begins now makes a key of its own, and does not use this one.
        if !context.is_settled().await? {
            return Err(moved());
        }
        early.revoke(context, &admin, context.token()).await
    }

    async fn attempt_helper_secret(
        &self,
        context: &StepContext<'_>,
        current: &Document,
    ) -> Result<Option<HelperSecret>> {
        let holder = self.deployment.holder(context, current).await?;
        let Some(secret) = holder.version.admin_secret.clone() else { return Ok(None) };
        let (mints, proof) = (holder.issuer.mints(), holder.version.journal.proof.is_some());
        let (rescues, tried) = match holder.with_admin(context).await {
            Ok(admin) => {
                let listed = admin.exchange(context.deadline()).find().await;
                (mints || admin.is_proven(), admin_tried(listed))
            }
            // Whether the proof is right is unknown.
            Err(error) => (mints || self.deployment.allow_unproven || proof, admin_tried(Err(error))),
        };
        Ok(Some(HelperSecret { secret, rescues, tried }))
    }
}

/// What listing keys tells about the admin's credential. Without `find` nothing does, because every other use changes keys.
fn admin_tried(listed: Result<Option<Vec<ListedKey>>>) -> Option<Attempt> {
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

/// The document with a new key in the fields that the description names.
fn written(current: &Document, holder: &Holder, key: &Key) -> Result<Document> {
    key_secret::with_key(current, &holder.issuer, key, holder.version.key.secret.as_ref())
}

/// The document with a proof that its key is the secret's own.
fn proven(document: &Document, admin: &Administrator, key: &Key) -> Result<Document> {
    let proof = admin.prover.prove(key.id.as_deref().unwrap_or_default());
    Journal { proof, retire: Vec::new() }.write(document)
}

/// Checks the form of a value. There is no issuer to try it at: the services that check it read the same secret.
fn looks_right(holder: &Holder) -> Result<()> {
    let value = holder.version.value.as_ref().ok_or_else(no_value)?;
    let text = holder.version.key.secret.as_ref().map(SecretText::expose).unwrap_or_default();
    if conforms(value, text) {
        Ok(())
    } else {
        Err(Error::new(Code::PendingMismatch).with(Fact::Field, holder.issuer.key_field()))
    }
}

fn no_value() -> Error {
    let error = Error::new(Code::FieldMissing).with(Fact::Field, "rotation.value");
    error.with(Fact::Expected, "what a key looks like, e.g. {\"kind\": \"base64url\", \"bytes\": 32}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a list there was no request, and a revoked credential would seem to work.
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
}
