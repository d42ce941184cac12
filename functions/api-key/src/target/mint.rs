//! createSecret where the issuer makes the key: nothing can be written down before the key is there, so the key's name says
//! for which version it was made.
//!
//! A version's value is written once and never changes. Until then, every key that is named for it may become its value, in
//! this invocation or in one that runs at the same time; from then on, every one that is not in it is an orphan. So orphans of
//! this version are ended after the value is stored, and those of earlier versions before.

use crate::description::{Issuer, Key, Strategy};
use crate::exchange::{Exchange, ListedKey, Verdict};
use crate::target::journal::{Journal, MAX_ENTRIES, Superseded, name, parts, token_part};
use crate::target::key_secret::KeySecret;
use crate::target::retire::{RevokeOutcome, is_named, is_ours, not_ours, not_revoked, revoke_own};
use crate::target::rights::{Administrator, Holder};
use rotation::clock::{Deadline, since_epoch};
use rotation::protocol::context::StepContext;
use rotation::protocol::store::PutOutcome;
use rotation::{Code, Error, Fact, Result};
use std::time::Duration;

/// Kept for storing the value after a key was made: an unstored key is an orphan. Secrets Manager answers in a tenth of it.
pub(crate) const TO_STORE: Duration = Duration::from_secs(3);
/// Clocks of two machines, and the answer on its way.
const CLOCKS: Duration = Duration::from_secs(10);

/// What a createSecret has made, and what it found that others had made for the same version.
pub(crate) struct Minted {
    pub(crate) key: Key,
    pub(crate) journal: Journal,
    candidates: Vec<String>,
}

/// A key that another attempt has made for this version, and when.
struct Candidate {
    id: String,
    made: Option<Duration>,
}

/// Makes the next key.
pub(crate) async fn mint(admin: &Administrator, context: &StepContext<'_>) -> Result<Minted> {
    let deadline = context.deadline().less(TO_STORE);
    // Whoever made a key before this moment less the time that a step has cannot be at work any more.
    let oldest_in_flight = since_epoch().saturating_sub(context.deadline().left() + CLOCKS);
    let exchange = admin.exchange(deadline);
    let listed = exchange.find().await?;
    let revocations = admin.revocations(deadline);
    let previous = previous(&admin.holder, context, listed.as_deref()).await?;
    let keys = Minting {
        admin,
        context,
        exchange: &exchange,
        revocations: &revocations,
        listed: listed.as_deref(),
        previous: previous.as_ref(),
        deadline,
    };
    let (mut journal, ended) = keys.revoke_leftovers().await;
    keys.supersede_current(&mut journal).await;
    let candidates = keys.sort_listed(&mut journal, &ended).await;
    if let Some(risk) = admin.holder.issuer.risk.as_ref().filter(|_| !admin.holder.issuer.finds_by_name()) {
        let error = Error::new(Code::OrphanPossible).with(Fact::Issuer, &admin.holder.issuer.id);
        context.warn(error.with(Fact::What, risk));
    }
    let key = keys.create(&candidates, oldest_in_flight).await?;
    let id = key.id.as_deref().ok_or_else(|| Error::new(Code::Internal).with(Fact::What, "a key without an id"))?;
    journal.proof = admin.prover.prove(id);
    // In a list that was read before the key was made, others cannot be told from it by their names alone.
    let candidates = candidates.into_iter().map(|candidate| candidate.id).filter(|candidate| candidate != id).collect();
    Ok(Minted { key, journal, candidates })
}

/// What AWSPREVIOUS says, where it matters: after somebody has rolled back by hand it has a key that no journal knows.
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

/// Ends a key that was made and cannot be used.
pub(crate) async fn discard(admin: &Administrator, context: &StepContext<'_>, key: &Key) {
    let exchange = admin.revocations(context.deadline());
    if let Some(id) = &key.id
        && let Err(error) = exchange.revoke(id).await
    {
        context.warn(not_revoked(error, id));
    }
}

/// Ends what is nobody's now that the version has its value.
pub(crate) async fn settle(admin: &Administrator, context: &StepContext<'_>, minted: &Minted, put: PutOutcome) {
    let exchange = admin.revocations(context.deadline());
    let orphans: Vec<&String> = match put {
        PutOutcome::Stored => minted.candidates.iter().collect(),
        // The value is another invocation's. What else is named for this version may be that.
        PutOutcome::OtherValueThere => minted.key.id.iter().collect(),
    };
    for id in orphans {
        if let Err(error) = exchange.revoke(id).await {
            context.warn(not_revoked(error, id));
        }
    }
}

struct Minting<'a> {
    admin: &'a Administrator,
    context: &'a StepContext<'a>,
    exchange: &'a Exchange<'a>,
    /// For what may fail without being the rotation's failure.
    revocations: &'a Exchange<'a>,
    /// The keys that exist: of this secret alone, where keys have names.
    listed: Option<&'a [ListedKey]>,
    /// What AWSPREVIOUS says, if it was worth reading and could be.
    previous: Option<&'a KeySecret>,
    deadline: Deadline,
}

impl Minting<'_> {
    fn issuer(&self) -> &Issuer {
        &self.admin.holder.issuer
    }

    fn version(&self) -> &KeySecret {
        &self.admin.holder.version
    }

    fn is_current(&self, id: &str) -> bool {
        self.version().key.id.as_deref() == Some(id)
    }

    fn is_listed(&self, id: &str) -> bool {
        self.listed.is_some_and(|listed| listed.iter().any(|found| found.id == id))
    }

    /// The journal of the current version without what has ended, after trying again to end what was due; and the ids of what was
    /// ended just now, which the list, being older, still has.
    async fn revoke_leftovers(&self) -> (Journal, Vec<&str>) {
        let (now, promoted) = (since_epoch(), self.context.description().last_rotated);
        let before_create = self.issuer().strategy == Strategy::RevokeCreate;
        let (mut journal, mut ended) = (Journal::default(), Vec::new());
        for entry in &self.version().journal.retire {
            // Somebody made it current again.
            if self.is_current(&entry.id) {
                continue;
            }
            if self.has_ended(entry) {
                continue;
            }
            let leftover = entry.since.is_some() && entry.due(self.version().grace, promoted, now);
            if leftover || before_create {
                match revoke_own(self.context, self.revocations, &self.admin.prover, entry, self.listed).await {
                    RevokeOutcome::Revoked => {
                        ended.push(entry.id.as_str());
                        continue;
                    }
                    RevokeOutcome::Failed | RevokeOutcome::NotOurs => {}
                }
            }
            let since = entry.since.or(Some(promoted.unwrap_or(now).as_secs()));
            // By the credential that the admin has now.
            let proof = match is_ours(&self.admin.prover, entry, self.listed) {
                true => self.admin.prover.prove(&entry.id),
                false => entry.proof.clone(),
            };
            journal.retire.push(Superseded { since, proof, ..entry.clone() });
        }
        self.supersede_previous(&mut journal, before_create).await;
        (journal, ended)
    }

    /// Whether a key that was in the issuer's list is there no more. What takes several calls to end may be between two of
    /// them, and not be listed.
    fn has_ended(&self, entry: &Superseded) -> bool {
        let in_one_call = self.issuer().revoke.len() == 1;
        in_one_call && entry.listed && self.listed.is_some() && !self.is_listed(&entry.id)
    }

    /// Notes the key of AWSPREVIOUS where no journal has it and no name would tell.
    async fn supersede_previous(&self, journal: &mut Journal, before_create: bool) {
        let Some((previous, id)) = self.previous.and_then(|previous| Some((previous, previous.key.id.as_ref()?)))
        else {
            return;
        };
        let proof = previous.journal.proof.as_deref();
        let known = self.is_current(id) || self.version().journal.retire.iter().any(|entry| entry.id == *id);
        if self.issuer().finds_by_name() || known || !self.admin.prover.holds(id, proof) {
            return;
        }
        let (proof, listed) = (self.admin.prover.prove(id), self.is_listed(id));
        let entry = Superseded { id: id.clone(), proof, since: None, listed };
        if before_create
            && revoke_own(self.context, self.revocations, &self.admin.prover, &entry, self.listed).await
                == RevokeOutcome::Revoked
        {
            return;
        }
        journal.retire.push(entry);
    }

    /// Notes the current key as what the next promotion supersedes, if it is ours to end one day.
    async fn supersede_current(&self, journal: &mut Journal) {
        let key = &self.version().key;
        let Some(id) = &key.id else { return };
        let proof = self.version().journal.proof.clone();
        let listed = self.is_listed(id);
        let proven = match &proof {
            _ if is_named(id, self.listed) => true,
            Some(proof) => self.admin.prover.holds(id, Some(proof)),
            // A proof that is wrong belongs to another secret, of which this is a copy, and so does the key.
            None => self.holder_proves(key).await,
        };
        if !proven {
            self.context.warn(not_ours(self.exchange));
            return;
        }
        let proof = self.admin.prover.prove(id);
        journal.retire.push(Superseded { id: id.clone(), proof, since: None, listed });
    }

    /// The first key was made by a person. Who holds it may have it ended, if the issuer says that it is the one of this id.
    async fn holder_proves(&self, key: &Key) -> bool {
        // In a list of all keys that can work, the only one is the one that does.
        let complete = self.issuer().find.as_ref().is_some_and(|find| find.complete);
        let only = complete && matches!(self.listed, Some([only]) if self.is_current(&only.id));
        (only || self.issuer().tells_identity())
            && self.exchange.verify(key, false).await.is_ok_and(|verdict| verdict == Verdict::Works)
    }

    /// Ends the orphans of versions that have their value, notes keys of versions that nobody knows any more, and returns
    /// those that were made for this version.
    async fn sort_listed(&self, journal: &mut Journal, ended: &[&str]) -> Vec<Candidate> {
        let this = token_part(self.context.token());
        let settled = self.settled();
        let mut candidates = Vec::new();
        for found in self.listed.unwrap_or_default() {
            let noted = journal.retire.iter().any(|entry| entry.id == found.id);
            let known = noted || self.is_current(&found.id) || ended.contains(&found.id.as_str());
            let Some((token, made)) =
                found.name.as_deref().and_then(|name| parts(&self.admin.holder.prefix, name)).filter(|_| !known)
            else {
                continue;
            };
            if token == this {
                candidates.push(Candidate { id: found.id.clone(), made });
                continue;
            }
            let is_previous = self.previous.is_some_and(|previous| previous.key.id.as_ref() == Some(&found.id));
            let orphan = !is_previous && settled.iter().any(|known| known == token);
            if orphan && self.end_orphan(&found.id).await {
                continue;
            }
            if journal.retire.len() < MAX_ENTRIES {
                journal.retire.push(self.entry(found));
            }
        }
        candidates
    }

    fn is_for_this(&self, found: &ListedKey) -> bool {
        let made = found.name.as_deref().and_then(|name| parts(&self.admin.holder.prefix, name));
        made.is_some_and(|(token, _)| token == token_part(self.context.token()))
    }

    async fn end_orphan(&self, id: &str) -> bool {
        let ended = self.revocations.revoke(id).await.map_err(|error| self.context.warn(not_revoked(error, id)));
        ended.is_ok()
    }

    /// The versions whose value, and with it whose key, is known: whatever else is named for them is an orphan. Only where the
    /// key that they have is itself found among the names: otherwise it may be one of those.
    fn settled(&self) -> Vec<String> {
        let description = self.context.description();
        let current = self.version().key.id.as_deref().filter(|id| self.is_listed(id));
        let previous = self.previous.and_then(|previous| previous.key.id.as_deref()).filter(|id| self.is_listed(id));
        let current = description.current_version().filter(|_| current.is_some());
        let previous = description.previous_version().filter(|_| previous.is_some());
        current.into_iter().chain(previous).map(token_part).collect()
    }

    /// Superseded by this rotation: when it really was, nobody knows, and somebody may have it still.
    fn entry(&self, found: &ListedKey) -> Superseded {
        Superseded { id: found.id.clone(), proof: self.admin.prover.prove(&found.id), since: None, listed: true }
    }

    /// Makes a key. Where the issuer allows no more, a key that an attempt of long ago has left is ended first.
    async fn create(&self, candidates: &[Candidate], oldest_in_flight: Duration) -> Result<Key> {
        match self.create_once().await {
            Err(error) if error.code() == Code::KeyLimitReached && candidates.is_empty() => {
                // One that was made since the list was read is another invocation's, which is about to store it.
                let now = self.exchange.find().await.ok().flatten().unwrap_or_default();
                Err(if now.iter().any(|found| self.is_for_this(found)) {
                    error.recoded(Code::AttemptUnderWay)
                } else {
                    error
                })
            }
            Err(error) if error.code() == Code::KeyLimitReached => {
                let over: Vec<_> = candidates
                    .iter()
                    .filter(|candidate| candidate.made.is_some_and(|made| made < oldest_in_flight))
                    .collect();
                if over.is_empty() {
                    return Err(error.recoded(Code::AttemptUnderWay));
                }
                for candidate in over {
                    self.exchange.revoke(&candidate.id).await?;
                }
                self.create_once().await
            }
            created => created,
        }
    }

    async fn create_once(&self) -> Result<Key> {
        let time = self.issuer().create.as_ref().map(|create| create.call.timeout).unwrap_or_default();
        enough(self.deadline, time)?;
        let name = name(&self.admin.holder.prefix, self.context.token(), since_epoch());
        self.exchange.create(&name).await
    }
}

/// That there is time for this much, and then for storing what comes of it.
pub(crate) fn enough(deadline: Deadline, time: Duration) -> Result<()> {
    if deadline.left() > time {
        return Ok(());
    }
    let error = Error::new(Code::TimeSpent).with(Fact::What, "too little is left to make a key and to store it");
    Err(error.with(Fact::Expected, format_args!("{} s", (time + TO_STORE).as_secs())))
}
