//! createSecret if the issuer creates the key. Nothing about the key can be stored before it exists, so its name says which version
//! it is for, and a later invocation finds a key whose creation timed out.
//!
//! **Invariant:** keys made for a version are orphans only after the version's value is stored. Until then each may become the
//! value, in this invocation or in another one that runs now, and two invocations would revoke each other's key. So orphans of this
//! version are revoked after the value is stored, and those of earlier versions before. Tests:
//! `two_create_secrets_at_once_end_with_one_key`, `killed_after_each_call_of_a_first_rotation`.

use crate::description::{Issuer, Key, Strategy};
use crate::exchange::{Exchange, ListedKey, Verdict};
use crate::target::journal::{Journal, MAX_ENTRIES, Superseded, name, parts, token_part};
use crate::target::key_secret::KeySecret;
use crate::target::retire::{RevokeOutcome, is_named, is_ours, not_ours, revoke, revoke_own};
use crate::target::rights::{Administrator, Holder};
use rotation::clock::{Deadline, since_epoch};
use rotation::protocol::context::StepContext;
use rotation::protocol::store::PutOutcome;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// The time kept for storing the value, because an unstored key is an orphan. Secrets Manager answers in a tenth of it.
pub(crate) const TO_STORE: Duration = Duration::from_secs(3);
/// The difference of two clocks, and the time of an answer on its way.
const CLOCKS: Duration = Duration::from_secs(10);

/// A new key, and the keys that other attempts have made for the same version.
pub(crate) struct Minted {
    pub(crate) key: Key,
    pub(crate) journal: Journal,
    candidates: Vec<String>,
}

/// A key that another attempt has made for this version, so that it may become the value.
struct Candidate {
    id: String,
    made: Option<Duration>,
}

/// Creates the next key.
///
/// `value` is the value of the key, if the function draws it. If its id is the function's, too, nothing is created here: the key is
/// stored, and setSecret creates it.
pub(crate) async fn mint(
    admin: &Administrator,
    context: &StepContext<'_>,
    value: Option<SecretText>,
) -> Result<Minted> {
    let deadline = context.deadline().less(TO_STORE);
    // An invocation that made a key before this moment has ended by now.
    let oldest_in_flight = since_epoch().saturating_sub(context.deadline().left() + CLOCKS);
    let exchange = admin.exchange(deadline);
    let listed = exchange.find().await?;
    let revocations = admin.revocations(deadline);
    let previous = previous(&admin.holder, context, listed.as_deref()).await?;
    let keys = Minting {
        admin,
        issuer: &admin.holder.issuer,
        version: &admin.holder.version,
        context,
        exchange: &exchange,
        revocations: &revocations,
        listed: listed.as_deref(),
        previous: previous.as_ref(),
        deadline,
    };
    let (mut journal, ended) = keys.revoke_leftovers().await?;
    keys.supersede_current(&mut journal).await?;
    let candidates = keys.sort_listed(&mut journal, &ended).await;
    if let Some(risk) = admin.holder.issuer.risk.as_ref().filter(|_| !admin.holder.issuer.finds_by_name()) {
        let error = Error::new(Code::OrphanPossible).with(Fact::Issuer, &admin.holder.issuer.id);
        context.warn(error.with(Fact::What, risk));
    }
    let key = match admin.holder.issuer.creates_stored_keys() {
        true => Key { id: Some(keys.new_name()), secret: value, fields: BTreeMap::new() },
        false => keys.create(value, &candidates, oldest_in_flight).await?,
    };
    let id = key.id.as_deref().ok_or_else(|| Error::new(Code::Internal).with(Fact::What, "a key without an id"))?;
    journal.proof = admin.prover.prove(id);
    // An issuer may answer a creation with a key that the older list already had.
    let candidates = candidates.into_iter().map(|candidate| candidate.id).filter(|candidate| candidate != id).collect();
    Ok(Minted { key, journal, candidates })
}

/// The AWSPREVIOUS version, if it may have a key that no journal knows, as after a rollback by hand.
async fn previous(
    holder: &Holder,
    context: &StepContext<'_>,
    listed: Option<&[ListedKey]>,
) -> Result<Option<KeySecret>> {
    let version = &holder.version;
    let known =
        |id: &str| version.key.id.as_deref() == Some(id) || version.journal.retire.iter().any(|entry| entry.id == id);
    let nothing_unknown = listed.is_some_and(|listed| listed.iter().all(|found| known(&found.id)));
    if nothing_unknown || context.description().previous_version().is_none() {
        return Ok(None);
    }
    let document = context.previous().await?;
    Ok(document.and_then(|document| KeySecret::read(&document, &holder.issuer).ok()))
}

/// Revokes a new key that cannot be used.
pub(crate) async fn discard(admin: &Administrator, context: &StepContext<'_>, key: &Key) {
    let exchange = admin.revocations(context.deadline());
    if let Some(id) = &key.id {
        revoke(context, &exchange, id).await;
    }
}

/// Revokes the orphans of the version, which now has its value.
pub(crate) async fn settle(admin: &Administrator, context: &StepContext<'_>, minted: &Minted, put: PutOutcome) {
    let exchange = admin.revocations(context.deadline());
    let orphans: Vec<&String> = match put {
        PutOutcome::Stored => minted.candidates.iter().collect(),
        // The value is another invocation's, and any other key of this version may be that value.
        PutOutcome::OtherValueThere if admin.holder.issuer.creates_stored_keys() => Vec::new(),
        PutOutcome::OtherValueThere => minted.key.id.iter().collect(),
    };
    for id in orphans {
        revoke(context, &exchange, id).await;
    }
}

struct Minting<'a> {
    admin: &'a Administrator,
    issuer: &'a Issuer,
    version: &'a KeySecret,
    context: &'a StepContext<'a>,
    exchange: &'a Exchange<'a>,
    /// For revocations, whose failure does not fail the rotation.
    revocations: &'a Exchange<'a>,
    /// The keys that exist. If keys have names, only those of this secret.
    listed: Option<&'a [ListedKey]>,
    /// The AWSPREVIOUS version, if it was read.
    previous: Option<&'a KeySecret>,
    deadline: Deadline,
}

impl Minting<'_> {
    fn is_current(&self, id: &str) -> bool {
        self.version.key.id.as_deref() == Some(id)
    }

    fn is_listed(&self, id: &str) -> bool {
        self.listed.is_some_and(|listed| listed.iter().any(|found| found.id == id))
    }

    /// Revokes the overdue keys of the current version's journal. Returns the journal without the keys that have ended, and the ids
    /// of those that were revoked now, which the older list still has.
    ///
    /// # Errors
    /// Those of [`StepContext::still_wanted`], which is asked before a key is revoked: somebody may have made the version of that
    /// key current since this step began.
    async fn revoke_leftovers(&self) -> Result<(Journal, Vec<&str>)> {
        let (now, promoted) = (since_epoch(), self.context.description().last_rotated);
        let before_create = self.issuer.strategy == Strategy::RevokeCreate;
        let (mut journal, mut ended) = (Journal::default(), Vec::new());
        for entry in &self.version.journal.retire {
            // An operator may have made it current again.
            if self.is_current(&entry.id) || self.has_ended(entry) {
                continue;
            }
            let leftover = entry.since.is_some() && entry.due(self.version.grace, promoted, now);
            if (leftover || before_create) && self.revoke_unless_used(entry).await? == RevokeOutcome::Revoked {
                ended.push(entry.id.as_str());
                continue;
            }
            let since = entry.since.or(Some(promoted.unwrap_or(now).as_secs()));
            // By the admin's present credential.
            let proof = match is_ours(&self.admin.prover, entry, self.listed) {
                true => self.admin.prover.prove(&entry.id),
                false => entry.proof.clone(),
            };
            journal.retire.push(Superseded { since, proof, ..entry.clone() });
        }
        self.supersede_previous(&mut journal, before_create).await?;
        Ok((journal, ended))
    }

    async fn revoke_unless_used(&self, entry: &Superseded) -> Result<RevokeOutcome> {
        self.context.still_wanted().await?;
        Ok(revoke_own(self.context, self.revocations, &self.admin.prover, entry, self.listed).await)
    }

    /// Whether the issuer's list had a key and no longer has it. A key that takes several calls to revoke may be unlisted before the
    /// last one.
    fn has_ended(&self, entry: &Superseded) -> bool {
        let in_one_call = self.issuer.revoke.len() == 1;
        in_one_call && entry.listed && self.listed.is_some() && !self.is_listed(&entry.id)
    }

    /// Adds the key of AWSPREVIOUS to the journal, if no journal has it and keys have no names.
    async fn supersede_previous(&self, journal: &mut Journal, before_create: bool) -> Result<()> {
        let Some(previous) = self.previous else { return Ok(()) };
        let Some(id) = &previous.key.id else { return Ok(()) };
        let proof = previous.journal.proof.as_deref();
        let known = self.is_current(id) || self.version.journal.retire.iter().any(|entry| entry.id == *id);
        if self.issuer.finds_by_name() || known || !self.admin.prover.holds(id, proof) {
            return Ok(());
        }
        let (proof, listed) = (self.admin.prover.prove(id), self.is_listed(id));
        let entry = Superseded { id: id.clone(), proof, since: None, listed };
        if !before_create || self.revoke_unless_used(&entry).await? != RevokeOutcome::Revoked {
            journal.retire.push(entry);
        }
        Ok(())
    }

    /// Adds the current key, which the next promotion supersedes, to the journal, if it is ours.
    ///
    /// # Errors
    /// Why the issuer could not be asked whether it is. A key that was taken for a stranger's would live for ever.
    async fn supersede_current(&self, journal: &mut Journal) -> Result<()> {
        let key = &self.version.key;
        let Some(id) = &key.id else { return Ok(()) };
        let proof = self.version.journal.proof.clone();
        let listed = self.is_listed(id);
        let proven = match &proof {
            _ if is_named(id, self.listed) => true,
            Some(proof) => self.admin.prover.holds(id, Some(proof)),
            // A wrong proof comes from another secret. This secret is its copy, and the key is not ours.
            None => self.holder_proves(key).await?,
        };
        if !proven {
            self.context.warn(not_ours(self.exchange));
            return Ok(());
        }
        let proof = self.admin.prover.prove(id);
        journal.retire.push(Superseded { id: id.clone(), proof, since: None, listed });
        Ok(())
    }

    /// Proves the first key, which a person made: its holder may have it revoked if the issuer says that it has this id.
    async fn holder_proves(&self, key: &Key) -> Result<bool> {
        // If a complete list has one key, that is the key that works.
        let complete = self.issuer.find.as_ref().is_some_and(|find| find.complete);
        let only = complete && matches!(self.listed, Some([only]) if self.is_current(&only.id));
        if !only && !self.issuer.tells_identity() {
            return Ok(false);
        }
        // An error is an answer, too: the key has another id.
        let Ok(verdict) = self.exchange.verify(key, false).await else { return Ok(false) };
        verdict.outage().cloned().map_or(Ok(verdict == Verdict::Works), Err)
    }

    /// Revokes orphans of versions that have their value, adds keys of unknown versions to the journal, and returns the keys that
    /// were made for this version.
    async fn sort_listed(&self, journal: &mut Journal, ended: &[&str]) -> Vec<Candidate> {
        let this = token_part(self.context.token());
        let settled = self.settled();
        let mut candidates = Vec::new();
        for found in self.listed.unwrap_or_default() {
            let noted = journal.retire.iter().any(|entry| entry.id == found.id);
            let known = noted || self.is_current(&found.id) || ended.contains(&found.id.as_str());
            let Some((token, made)) = self.parts(found).filter(|_| !known) else { continue };
            if token == this {
                candidates.push(Candidate { id: found.id.clone(), made });
                continue;
            }
            let is_previous = self.previous.is_some_and(|previous| previous.key.id.as_ref() == Some(&found.id));
            let orphan = !is_previous && settled.iter().any(|known| known == token);
            if orphan && revoke(self.context, self.revocations, &found.id).await {
                continue;
            }
            if journal.retire.len() < MAX_ENTRIES {
                // This rotation supersedes it: the real moment is unknown, and the key may be in use.
                let (id, proof) = (found.id.clone(), self.admin.prover.prove(&found.id));
                journal.retire.push(Superseded { id, proof, since: None, listed: true });
            }
        }
        candidates
    }

    fn parts<'k>(&self, found: &'k ListedKey) -> Option<(&'k str, Option<Duration>)> {
        parts(&self.admin.holder.prefix, found.name.as_deref()?)
    }

    /// The versions whose key is known, so that any other key named for them is an orphan. A version counts only if the list has its
    /// key. Otherwise one of the listed keys may be that key.
    fn settled(&self) -> Vec<String> {
        let description = self.context.description();
        let current = self.version.key.id.as_deref().filter(|id| self.is_listed(id));
        let previous = self.previous.and_then(|previous| previous.key.id.as_deref()).filter(|id| self.is_listed(id));
        let current = description.current_version().filter(|_| current.is_some());
        let previous = description.previous_version().filter(|_| previous.is_some());
        current.into_iter().chain(previous).map(token_part).collect()
    }

    /// Creates a key. At the issuer's limit, a key that an old attempt has left is revoked first.
    async fn create(
        &self,
        value: Option<SecretText>,
        candidates: &[Candidate],
        oldest_in_flight: Duration,
    ) -> Result<Key> {
        match self.create_once(value.clone()).await {
            Err(error) if error.code() == Code::KeyLimitReached && candidates.is_empty() => {
                // A key made since the list was read belongs to another invocation, which is about to store it.
                let now = self.exchange.find().await.ok().flatten().unwrap_or_default();
                let this = token_part(self.context.token());
                let under_way = now.iter().filter_map(|found| self.parts(found)).any(|(token, _)| token == this);
                Err(if under_way { error.recoded(Code::AttemptUnderWay) } else { error })
            }
            Err(error) if error.code() == Code::KeyLimitReached => {
                let old = |candidate: &&Candidate| candidate.made.is_some_and(|made| made < oldest_in_flight);
                if !candidates.iter().any(|candidate| old(&candidate)) {
                    return Err(error.recoded(Code::AttemptUnderWay));
                }
                for candidate in candidates.iter().filter(old) {
                    self.exchange.revoke(&candidate.id).await?;
                }
                self.create_once(value).await
            }
            created => created,
        }
    }

    async fn create_once(&self, value: Option<SecretText>) -> Result<Key> {
        let time = self.issuer.create.as_ref().map(|create| create.call.timeout).unwrap_or_default();
        enough(self.deadline, time)?;
        let name = self.new_name();
        let key = self.exchange.create(&name, value).await?;
        if let Err(error) = self.exchange.after(&key, &name).await {
            discard(self.admin, self.context, &key).await;
            return Err(error);
        }
        Ok(key)
    }

    fn new_name(&self) -> String {
        name(&self.admin.holder.prefix, self.context.token(), since_epoch())
    }
}

/// Checks that there is time for a call of this length, and then for storing its result.
pub(crate) fn enough(deadline: Deadline, time: Duration) -> Result<()> {
    if deadline.left() > time {
        return Ok(());
    }
    let error = Error::new(Code::TimeSpent).with(Fact::What, "too little is left to make a key and to store it");
    Err(error.with(Fact::Expected, format_args!("{} s", (time + TO_STORE).as_secs())))
}
