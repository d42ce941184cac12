//! createSecret where the issuer makes the key: nothing can be written down before the key is there, so the key's name says
//! for which version it was made.
//!
//! A version's value is written once and never changes. Until then, every key that is named for it may become its value, in
//! this invocation or in one that runs at the same time; from then on, every one that is not in it is an orphan. So orphans of
//! this version are ended after the value is stored, and those of earlier versions before.

use crate::description::Strategy;
use crate::exchange::{Exchange, Found};
use crate::facts::Facts;
use crate::http::Client;
use crate::journal::{Journal, Superseded, name, parts, token_part};
use crate::ready::Ready;
use crate::retire::{End, end, is_named, not_ours, not_revoked};
use crate::template::Key;
use rotation::clock::{Deadline, since_epoch};
use rotation::store::{Put, SecretStore};
use rotation::target::Reader;
use rotation::{Code, Error, Fact, Result};
use std::time::Duration;

/// Kept for storing the value after a key was made: an unstored key is an orphan. Secrets Manager answers in a tenth of it.
const TO_STORE: Duration = Duration::from_secs(3);
/// Clocks of two machines, and the answer on its way.
const CLOCKS: Duration = Duration::from_secs(10);

/// What a createSecret has made, and what it found that others had made for the same version.
pub(crate) struct Minted {
    pub(crate) key: Key,
    pub(crate) journal: Journal,
    strays: Vec<String>,
}

/// Makes the next key.
pub(crate) async fn mint<S: SecretStore>(ready: &Ready, client: &Client, reader: &Reader<'_, S>) -> Result<Minted> {
    let deadline = reader.deadline();
    let budget = deadline.left();
    let exchange = ready.exchange(client, &ready.facts.key, deadline);
    let listed = exchange.find().await?;
    let ending = ready.ending(client, &ready.facts.key, deadline);
    let keys = Keys { ready, reader, exchange: &exchange, ending: &ending, listed: listed.as_deref() };
    let mut journal = keys.work_off().await;
    keys.supersede_current(&mut journal).await;
    let strays = keys.sort_out(&mut journal).await?;
    if let Some(risk) = ready.issuer.risk.as_ref().filter(|_| !ready.issuer.finds_by_name()) {
        let error = Error::new(Code::OrphanPossible).with(Fact::Issuer, &ready.issuer.id);
        reader.warn(error.with(Fact::What, risk));
    }
    let key = keys.create(&strays, budget).await?;
    let id = key.id.as_deref().ok_or_else(|| Error::new(Code::Internal).with(Fact::What, "a key without an id"))?;
    journal.proof = ready.prover.prove(id);
    // In a list that was read before the key was made, others cannot be told from it by their names alone.
    let strays = strays.into_iter().map(|(id, _)| id).filter(|stray| stray != id).collect();
    Ok(Minted { key, journal, strays })
}

/// Ends what is nobody's now that the version has its value.
pub(crate) async fn settle<S: SecretStore>(
    ready: &Ready,
    client: &Client,
    reader: &Reader<'_, S>,
    minted: &Minted,
    put: Put,
) {
    let exchange = ready.ending(client, &ready.facts.key, reader.deadline());
    let orphans: Vec<&String> = match put {
        Put::Stored => minted.strays.iter().collect(),
        // The value is another invocation's. What else is named for this version may be that.
        Put::OtherValueThere => minted.key.id.iter().collect(),
    };
    for id in orphans {
        if let Err(error) = exchange.revoke(id).await {
            reader.warn(not_revoked(error, id));
        }
    }
}

struct Keys<'a, S> {
    ready: &'a Ready,
    reader: &'a Reader<'a, S>,
    exchange: &'a Exchange<'a>,
    /// For what may fail without being the rotation's failure.
    ending: &'a Exchange<'a>,
    /// The keys that exist: of this secret alone, where keys have names.
    listed: Option<&'a [Found]>,
}

impl<S: SecretStore> Keys<'_, S> {
    fn facts(&self) -> &Facts {
        &self.ready.facts
    }

    fn is_current(&self, id: &str) -> bool {
        self.facts().key.id.as_deref() == Some(id)
    }

    fn is_listed(&self, id: &str) -> bool {
        self.listed.is_some_and(|listed| listed.iter().any(|found| found.id == id))
    }

    /// The journal of the current version without what has ended, after trying again to end what was due.
    async fn work_off(&self) -> Journal {
        let (now, promoted) = (since_epoch(), self.reader.description().last_rotated);
        let before_create = self.ready.issuer.strategy == Strategy::RevokeCreate;
        let mut journal = Journal::default();
        for entry in &self.facts().journal.retire {
            // Somebody made it current again.
            if self.is_current(&entry.id) {
                continue;
            }
            let has_ended = entry.listed && self.listed.is_some() && !self.is_listed(&entry.id);
            if has_ended {
                continue;
            }
            let leftover = entry.since.is_some() && entry.due(self.facts().grace, promoted, now);
            if leftover || before_create {
                match end(self.reader, self.ending, &self.ready.prover, entry, self.listed).await {
                    End::Ended | End::NotOurs => continue,
                    End::Kept => {}
                }
            }
            let since = entry.since.or(Some(promoted.unwrap_or(now).as_secs()));
            journal.retire.push(Superseded { since, ..entry.clone() });
        }
        journal
    }

    /// Notes the current key as what the next promotion supersedes, if it is ours to end one day.
    async fn supersede_current(&self, journal: &mut Journal) {
        let key = &self.facts().key;
        let Some(id) = &key.id else { return };
        let proof = self.facts().journal.proof.clone();
        let listed = self.is_listed(id);
        let proven =
            is_named(id, self.listed) || self.ready.prover.holds(id, proof.as_deref()) || self.holder_proves(key).await;
        if !proven {
            self.reader.warn(not_ours(self.exchange, id));
            return;
        }
        let proof = self.ready.prover.prove(id);
        journal.retire.push(Superseded { id: id.clone(), proof, since: None, listed });
    }

    /// The first key was made by a person. Who holds it may have it ended, if the issuer says that it is the one of this id.
    async fn holder_proves(&self, key: &Key) -> bool {
        // In a list of all keys that can work, the only one is the one that does.
        let complete = self.ready.issuer.find.as_ref().is_some_and(|find| find.complete);
        let only = complete && matches!(self.listed, Some([only]) if self.is_current(&only.id));
        (only || self.exchange.tells_identity())
            && self.exchange.verify(key, false).await.is_ok_and(|verdict| verdict == crate::exchange::Verdict::Works)
    }

    /// Ends the orphans of versions that have their value, notes keys of versions that nobody knows any more, and returns
    /// those that were made for this version.
    async fn sort_out(&self, journal: &mut Journal) -> Result<Vec<(String, Option<Duration>)>> {
        let description = self.reader.description();
        let this = token_part(self.reader.token());
        let settled: Vec<_> =
            description.current_version().into_iter().chain(description.previous_version()).map(token_part).collect();
        let mut strays = Vec::new();
        let mut previous = None;
        for found in self.listed.unwrap_or_default() {
            let known = self.is_current(&found.id) || journal.retire.iter().any(|entry| entry.id == found.id);
            let Some(made) = found.name.as_deref().and_then(|name| parts(&self.ready.prefix, name)).filter(|_| !known)
            else {
                continue;
            };
            if made.0 == this {
                strays.push((found.id.clone(), made.1));
                continue;
            }
            // A version that was rolled back by hand is AWSPREVIOUS, and no journal knows its key.
            if previous.is_none() {
                previous = Some(self.previous_id().await?);
            }
            let is_previous = previous.as_ref().is_some_and(|id| id.as_deref() == Some(found.id.as_str()));
            if !is_previous && settled.iter().any(|token| token == made.0) {
                if let Err(error) = self.ending.revoke(&found.id).await {
                    self.reader.warn(not_revoked(error, &found.id));
                    journal.retire.push(self.entry(found));
                }
                continue;
            }
            journal.retire.push(self.entry(found));
        }
        Ok(strays)
    }

    /// Superseded by this rotation: when it really was, nobody knows, and somebody may have it still.
    fn entry(&self, found: &Found) -> Superseded {
        Superseded { id: found.id.clone(), proof: self.ready.prover.prove(&found.id), since: None, listed: true }
    }

    async fn previous_id(&self) -> Result<Option<String>> {
        let document = self.reader.previous().await?;
        Ok(document.and_then(|document| Facts::read(&document, &self.ready.issuer).ok()).and_then(|facts| facts.key.id))
    }

    /// Makes a key. Where the issuer allows no more, a key that an attempt of long ago has left is ended first.
    async fn create(&self, strays: &[(String, Option<Duration>)], budget: Duration) -> Result<Key> {
        match self.create_once().await {
            Err(error) if error.code() == Code::KeyLimitReached && !strays.is_empty() => {
                let oldest_in_flight = since_epoch().saturating_sub(budget + CLOCKS);
                let over: Vec<_> =
                    strays.iter().filter(|(_, made)| made.is_some_and(|made| made < oldest_in_flight)).collect();
                if over.is_empty() {
                    return Err(error.recoded(Code::AttemptUnderWay));
                }
                for (id, _) in over {
                    self.exchange.revoke(id).await?;
                }
                self.create_once().await
            }
            created => created,
        }
    }

    async fn create_once(&self) -> Result<Key> {
        let time = self.ready.issuer.create.as_ref().map(|create| create.call.timeout).unwrap_or_default();
        enough(self.reader.deadline(), time + TO_STORE)?;
        let name = name(&self.ready.prefix, self.reader.token(), since_epoch());
        self.exchange.create(&name).await
    }
}

/// That there is time for this much.
pub(crate) fn enough(deadline: Deadline, time: Duration) -> Result<()> {
    if deadline.left() > time {
        return Ok(());
    }
    let error = Error::new(Code::TimeSpent).with(Fact::What, "too little is left to make a key and to store it");
    Err(error.with(Fact::Expected, format_args!("{} s", time.as_secs())))
}
