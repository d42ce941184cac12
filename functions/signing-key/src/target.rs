//! What the four steps of a rotation do with signing keys.
//!
//! A key lives in four states, and the secret says which: *next* (public, does not sign), *current* (public, signs), *previous* (public,
//! its private part is gone), *gone*. A rotation moves each key one state on. Applications sign with AWSCURRENT's `current`; verifiers
//! know a published set for `maxCache` at most before they look again.
//!
//! Let AWSCURRENT have next N and current C, and the pending version next M, current N and previous C. This is so between any two calls:
//!
//! | after | who signs | published | a crash here, or a second run |
//! |---|---|---|---|
//! | createSecret drew M, before PutSecretValue | C | C, N | M is forgotten; the next run draws another one |
//! | PutSecretValue | C | C, N | the value stays: a version's value never changes |
//! | some places were written by setSecret | C | C, N, in some places M | the next run writes the others |
//! | all places were written | C | C, N, M | nothing is left to write |
//! | AWSCURRENT moved | N, and C by those who have not read the secret again | C, N, M | finishSecret runs `retire` again |
//! | `maxCache` after that | N | C, N, M | |
//! | `maxTokenLifetime` after that | N | N, M once `retire`, testSecret or the daily look has run | |
//!
//! So at each moment the set has the key of each token that lives, and N was in it for `maxCache` before it signs.
//!
//! **Invariant:** a set only grows until AWSCURRENT has moved. Otherwise a rotation that is given up would leave tokens that nobody can
//! verify. Test: `a_rotation_that_is_given_up_takes_no_key_away`.
//!
//! **Invariant:** the next key is added to a place only once the key that is about to sign has been there for `maxCache`. Otherwise a place
//! that was emptied, or named just now, would have a key for the first time as it signs. Test: `a_place_that_was_emptied_is_filled_first`.

use crate::change::Guard;
use crate::each::EachPlace;
use crate::follow::{ended, ends_tokens, followed, is_emergency, made};
use crate::key::SigningKey;
use crate::moment::{dates, now};
use crate::outside::Asks;
use crate::place::Place;
use crate::plan::{Dates, Plan, Source, in_time, plan};
use crate::proof::{public_since, verifies};
use crate::published::{Change as SetChange, Owner, PublishedSet};
use crate::secret::SigningSecret;
pub use crate::signing_keys::SigningKeys;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rotation::document::Document;
use rotation::protocol::context::StepContext;
use rotation::protocol::label::Label;
use rotation::protocol::observation::{Attempt, PreviousCredential};
use rotation::protocol::portrait::Portrait;
use rotation::protocol::target::{
    Applied, Change, Helper, HelperSecret, Proof, Proposal, Retired, Target, VersionWithAge, Versions,
};
use rotation::{Code, Error, Fact, Result};
use std::sync::Arc;

impl SigningKeys {
    /// Adds the keys of a version to a place, for a step whose version is still wanted.
    async fn grow(&self, context: &StepContext<'_>, place: &Place, owner: Owner<'_>, dates: Dates) -> Result<()> {
        self.change(context, place, (owner, Guard::Wanted), &|set| set.grown(owner, now(), dates)).await.map(drop)
    }

    /// Checks, before anything is made, that the deployer allows each place and the address of verifiers, and that each place can hold the
    /// keys of a version.
    fn fits(&self, context: &StepContext<'_>, pending: &SigningSecret, mut each: EachPlace) -> Result<()> {
        let fingerprint = fingerprint(context);
        let owner = Owner { fingerprint: &fingerprint, secret: pending };
        let set = PublishedSet::default().grown(owner, now(), Dates::default()).unwrap_or_default();
        for place in &pending.places {
            each.keep(self.settings.allow(context.secret(), place).and_then(|()| set.fits(place)));
        }
        if let Some(address) = &pending.verify_at {
            each.keep_outside(self.outside.allow(address));
        }
        each.end(|warning| context.warn(warning))
    }

    /// The version with CloudFront's ids of its keys, if it publishes in a key group: signed URLs name the id. So the public parts are
    /// uploaded before the version is stored. They are in no group yet.
    async fn with_key_pair_ids(
        &self,
        context: &StepContext<'_>,
        mut pending: SigningSecret,
        mut each: EachPlace,
    ) -> Result<SigningSecret> {
        if !pending.places.iter().any(|place| matches!(place, Place::KeyGroup(_))) {
            return Ok(pending);
        }
        let (owner, kids) = (fingerprint(context), pending.kids());
        let kept: Vec<_> = kids.iter().map(String::as_str).collect();
        for key in [&mut pending.current, &mut pending.next].into_iter().flatten() {
            let id = self.outlets.key_pair_id(key, &owner, &kept, context.deadline()).await;
            if let Some(id) = each.keep(id) {
                *key = Arc::new(key.with_key_pair_id(Some(id))?);
            }
        }
        each.end(|warning| context.warn(warning)).map(|()| pending)
    }

    /// Takes away, everywhere, the keys whose time is over, and puts back what is missing. It tells of those that neither version names.
    async fn trim(&self, context: &StepContext<'_>, secret: &SigningSecret, others: &[String]) -> Result<Retired> {
        // It was promoted a moment ago, so the latest of the keys that have signed counts from now.
        let dates = Dates { rotated: Some(now()), changed: Some(now()) };
        let fingerprint = fingerprint(context);
        let owner = Owner { fingerprint: &fingerprint, secret };
        let (mut retired, mut each) = (Retired::Nothing, EachPlace::default());
        // An emergency is promoted, even if somebody has emptied a place: its keys are put back at once.
        let kept = |set: &PublishedSet| set.kept(owner, now(), dates);
        for place in &secret.places {
            let work = async {
                let found = self.read(context, place).await?.set;
                let written = self.change(context, place, (owner, Guard::Promoted), &kept).await;
                tell(context, place, &found, &|set| set.changes(owner, now(), dates, others), &written);
                written.map(|written| written.filter(|_| found.trimmed(owner, now(), dates).is_some()))
            };
            if each.keep(work.await).flatten().is_some() {
                retired = Retired::Previous;
            }
        }
        each.end(|warning| context.warn(warning)).map(|()| retired)
    }

    /// Tells what somebody else has changed in a place while nobody may write there, and returns its set. `others` are further ids that a
    /// version of the secret names.
    async fn compare(
        &self,
        context: &StepContext<'_>,
        place: &Place,
        owner: Owner<'_>,
        dates: Dates,
        others: &[String],
    ) -> Result<PublishedSet> {
        let found = self.read(context, place).await?.set;
        let changes = |set: &PublishedSet| set.changes(owner, now(), dates, others);
        tell(context, place, &found, &changes, &Ok(None));
        Ok(found)
    }

    /// The daily look at one place. Returns the set as it was.
    async fn look_in(
        &self,
        context: &StepContext<'_>,
        place: &Place,
        owner: Owner<'_>,
        dates: Dates,
    ) -> Result<PublishedSet> {
        let found = self.read(context, place).await?.set;
        let kept = |set: &PublishedSet| set.kept(owner, now(), dates);
        let written = self.change(context, place, (owner, Guard::Settled), &kept).await;
        tell(context, place, &found, &|set| set.changes(owner, now(), dates, &[]), &written);
        written.map(|_| found)
    }

    /// Fills one place up to what AWSCURRENT says, and checks that the key that is about to sign was there for long enough.
    async fn opened(
        &self,
        context: &StepContext<'_>,
        place: &Place,
        (current, pending): (&SigningSecret, &SigningSecret),
    ) -> Result<()> {
        let Some(signs) = awaited(current, pending) else { return Ok(()) };
        let found = self.read(context, place).await?;
        let fingerprint = fingerprint(context);
        let owner = Owner { fingerprint: &fingerprint, secret: current };
        found.set.is_of(owner).map_err(|error| error.with(Fact::Field, place))?;
        if public_in(&found.set, signs).is_none() {
            self.grow(context, place, owner, dates(context)).await?;
        }
        is_known(&found.set, signs, pending).map_err(|error| error.with(Fact::Field, place))
    }
}

/// Tells of the changes that somebody else has made in a set, and which of them stand after a write.
fn tell(
    context: &StepContext<'_>,
    place: &Place,
    found: &PublishedSet,
    changes: &dyn Fn(&PublishedSet) -> Vec<SetChange>,
    written: &Result<Option<PublishedSet>>,
) {
    let left = written.as_ref().ok().and_then(Option::as_ref).map(changes);
    for change in changes(found) {
        let is_mended = left.as_ref().is_some_and(|left| !left.contains(&change));
        context.warn(change.warning(is_mended).with(Fact::Field, place));
    }
}

/// The key that is about to sign, if verifiers have to know it before.
fn awaited<'a>(current: &SigningSecret, pending: &'a SigningSecret) -> Option<&'a Arc<SigningKey>> {
    let signs = pending.current.as_ref()?;
    let is_promoted = current.next.as_ref().is_some_and(|next| next.kid == signs.kid);
    (is_promoted && !ends_tokens(current, pending)).then_some(signs)
}

/// Since when the key is in the set.
fn public_in(set: &PublishedSet, signs: &SigningKey) -> Option<u64> {
    set.since(&signs.kid, now()).filter(|_| set.has(&signs.jwk()))
}

/// Whether the key was in the set for `maxCache`. One that is missing is put back now.
fn is_known(set: &PublishedSet, signs: &SigningKey, pending: &SigningSecret) -> Result<()> {
    in_time(public_in(set, signs).unwrap_or_else(now), pending.max_cache, now(), &signs.kid)
}

/// Whose set it is, without saying so to everybody: an ARN has the number of an account.
fn fingerprint(context: &StepContext<'_>) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, context.secret().as_bytes()))
}

/// Carries a plan out: makes the keys that it asks for.
fn carried_out(secret: SigningSecret, plan: Plan) -> Result<SigningSecret> {
    let algorithm = secret.algorithm;
    let key = |source| match source {
        Source::Current => Ok(secret.current.clone()),
        Source::Next => Ok(secret.next.clone()),
        Source::New => SigningKey::generate(algorithm, now()).map(|key| Some(Arc::new(key))),
    };
    let (current, next) = (key(plan.current)?, key(plan.next)?);
    Ok(SigningSecret { current, next, previous: plan.previous, revoked: plan.revoked, ..secret })
}

impl Target for SigningKeys {
    const LOOKS_AFTER: bool = true;

    type Made = ();
    /// No place has a lock.
    type Held = ();

    fn look_begins(&self) {
        self.outside.look_begins();
    }

    fn throttles(&self) -> u32 {
        self.outlets.throttles()
    }

    fn portrait(&self, current: &Document) -> Result<Portrait> {
        let secret = SigningSecret::read(current)?;
        let signs = secret.current.as_ref().map(|key| key.kid.as_str());
        let strategy = format!("signing key, {}", secret.algorithm.as_str());
        let places: Vec<String> = secret.places.iter().map(ToString::to_string).collect();
        let opens = if places.is_empty() { "in the secret alone".to_owned() } else { places.join(", ") };
        Ok(Portrait::new(signs, &strategy, &opens))
    }

    fn helper_secret(&self, _: &Document) -> Option<Helper> {
        None
    }

    async fn propose(&self, context: &StepContext<'_>, current: &Document) -> Result<Proposal<()>> {
        let secret = SigningSecret::read(current)?;
        let plan = plan(&secret, now(), dates(context))?;
        let is_emergency = plan.revoked.len() > secret.revoked.len();
        let pending = carried_out(secret, plan)?;
        self.fits(context, &pending, EachPlace::new(is_emergency))?;
        let pending = self.with_key_pair_ids(context, pending, EachPlace::new(is_emergency)).await?;
        Ok(Proposal { document: pending.write(current)?, made: () })
    }

    async fn apply(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Applied> {
        let (current, pending) = followed(versions, now())?;
        let mut each = EachPlace::new(is_emergency(&current, &pending));
        for place in &pending.places {
            each.keep(self.opened(context, place, (&current, &pending)).await);
        }
        each.end(|warning| context.warn(warning))?;
        let fingerprint = fingerprint(context);
        let owner = Owner { fingerprint: &fingerprint, secret: &pending };
        // It is not promoted yet, so the key that signs now goes on until then. A key that has leaked stays for so long, too.
        let promoted_later = Dates { rotated: Some(now()), changed: Some(now()) };
        let (mut changed, mut each) = (false, EachPlace::new(is_emergency(&current, &pending)));
        // Somebody may empty a place after `opened` has looked, and another invocation may fill it since. Then testSecret finds it so, and the
        // next run begins there again.
        let awaited = awaited(&current, &pending);
        let grown = |set: &PublishedSet| {
            let is_known = awaited.is_none_or(|signs| is_known(set, signs, &pending).is_ok());
            is_known.then(|| set.grown(owner, now(), promoted_later)).flatten()
        };
        for place in &pending.places {
            changed |= each.keep(self.change(context, place, (owner, Guard::Wanted), &grown).await).flatten().is_some();
        }
        each.end(|warning| context.warn(warning))?;
        if changed {
            return Ok(Applied::Changed(Change { by: "function", previous: PreviousCredential::Works }));
        }
        Ok(Applied::AlreadyInEffect)
    }

    async fn verify(&self, context: &StepContext<'_>, versions: Versions<'_>, _: Proof) -> Result<()> {
        let (current, pending) = followed(versions, now())?;
        for key in pending.signers() {
            verifies(key, key.material())?;
        }
        self.is_published(context, &pending, EachPlace::new(is_emergency(&current, &pending))).await
    }

    async fn release(&self, (): ()) {}

    async fn retire(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Retired> {
        let secret = made(versions.pending)?;
        // A version that cannot be read names no key. That keeps nothing published.
        let before = SigningSecret::read(versions.current).ok();
        let others = before.as_ref().map(SigningSecret::kids).unwrap_or_default();
        let retired = self.trim(context, &secret, &others).await?;
        for kid in before.iter().flat_map(|before| ended(before, &secret)) {
            let tokens = format_args!(
                "all tokens whose header names this key, the last of which would live for {} s from now",
                secret.max_token_lifetime
            );
            context.warn(Error::new(Code::TokensRevoked).with(Fact::KeyId, kid).with(Fact::What, tokens));
        }
        Ok(retired)
    }

    async fn check(&self, context: &StepContext<'_>, current: VersionWithAge<'_>) -> Result<Retired> {
        let secret = SigningSecret::read(current.document)?;
        if secret.next.is_none() {
            // Before the first rotation nothing is published. The places can be read, at least.
            for place in &secret.places {
                self.read(context, place).await?;
            }
            return Ok(Retired::Nothing);
        }
        self.is_published(context, &secret, EachPlace::default()).await?;
        Ok(Retired::Nothing)
    }

    async fn attempt(&self, context: &StepContext<'_>, versions: Versions<'_>, label: Label) -> Result<Attempt> {
        let secret = SigningSecret::read(versions.pending)?;
        for key in secret.signers() {
            verifies(key, key.material())?;
        }
        // Only the keys of AWSCURRENT have to be public.
        if label != Label::Current || secret.next.is_none() {
            return Ok(Attempt::WORKS);
        }
        Ok(self
            .is_published(context, &secret, EachPlace::default())
            .await
            .map_or_else(Attempt::unknown, |()| Attempt::WORKS))
    }

    async fn attempt_helper_secret(&self, _: &StepContext<'_>, _: &Document) -> Result<Option<HelperSecret>> {
        Ok(None)
    }

    async fn look_after(&self, context: &StepContext<'_>, current: VersionWithAge<'_>) -> Result<()> {
        let secret = SigningSecret::read(current.document)?;
        if secret.next.is_none() {
            return Ok(());
        }
        let (fingerprint, dates) = (fingerprint(context), dates(context));
        let owner = Owner { fingerprint: &fingerprint, secret: &secret };
        let (mut since, mut each) = (public_since(context, &secret), EachPlace::default());
        for place in &secret.places {
            if let Some(set) = each.keep(self.look_in(context, place, owner, dates).await) {
                since.add(&set, &secret, now());
            }
        }
        each.keep_outside(self.is_served(context, &secret, &since, Asks::Look).await);
        each.end(|warning| context.warn(warning))
    }

    async fn look_on(&self, context: &StepContext<'_>, current: &Document, pending: Option<&Document>) -> Result<()> {
        let secret = SigningSecret::read(current)?;
        if secret.next.is_none() {
            return Ok(());
        }
        let others = pending.map(SigningSecret::read).transpose()?.map(|pending| pending.kids()).unwrap_or_default();
        let (fingerprint, dates) = (fingerprint(context), dates(context));
        let owner = Owner { fingerprint: &fingerprint, secret: &secret };
        let (mut since, mut each) = (public_since(context, &secret), EachPlace::default());
        for place in &secret.places {
            if let Some(set) = each.keep(self.compare(context, place, owner, dates, &others).await) {
                since.add(&set, &secret, now());
            }
        }
        each.keep_outside(self.is_served(context, &secret, &since, Asks::Look).await);
        each.end(|warning| context.warn(warning))
    }
}
