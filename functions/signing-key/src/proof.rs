//! Whether verifiers find a version's keys, and verify what they sign: in each place, and at the address where they fetch the set.

use crate::each::EachPlace;
use crate::key::SigningKey;
use crate::key::jwk::Material;
use crate::moment::{dates, now};
use crate::outlet::Mark;
use crate::outside::{Asks, PublicSince, compare};
use crate::place::Place;
use crate::plan::still_public_by_itself;
use crate::published::PublishedSet;
use crate::secret::SigningSecret;
use crate::signing_keys::SigningKeys;
use rotation::protocol::context::StepContext;
use rotation::{Code, Error, Fact, Result};

/// What is signed to see whether a published key verifies it.
const PROBE: &[u8] = b"lockstep: is this key published as it signs?";

impl SigningKeys {
    /// Checks, in every place and from outside, that verifiers find the version's keys and verify what it signs.
    pub(crate) async fn is_published(
        &self,
        context: &StepContext<'_>,
        secret: &SigningSecret,
        mut each: EachPlace,
    ) -> Result<()> {
        let mut since = public_since(context, secret);
        for place in &secret.places {
            if let Some(set) = each.keep(self.is_published_in(context, place, secret).await) {
                since.add(&set, secret, now());
            }
        }
        each.keep_outside(self.is_served(context, secret, &since, Asks::Step).await);
        each.end(|warning| context.warn(warning))
    }

    async fn is_published_in(
        &self,
        context: &StepContext<'_>,
        place: &Place,
        secret: &SigningSecret,
    ) -> Result<PublishedSet> {
        let found = self.read(context, place).await?;
        let changed = |kid: &str| {
            let is_there = found.set.entries(kid).next().is_some();
            let what = if is_there {
                "a key's entry was changed, or is not the only one with its id"
            } else {
                "a key is missing"
            };
            let error = Error::new(Code::PublishedSetChanged).with(Fact::Field, place);
            error.with(Fact::What, what).with(Fact::KeyId, kid)
        };
        for key in secret.signers() {
            if !found.set.has(&key.jwk()) {
                return Err(changed(&key.kid));
            }
            for published in found.set.entries(&key.kid) {
                verifies(key, &Material::of(published).ok_or_else(|| changed(&key.kid))?)?;
            }
        }
        if let (Mark::Group(group), Some(current)) = (&found.mark, &secret.current)
            && group.id(&current.kid) != current.key_pair_id.as_deref()
        {
            let what =
                "the key that signs has another id at CloudFront than `current.keyPairId` says, which signed URLs name";
            let error = Error::new(Code::PublishedSetChanged).with(Fact::Field, place);
            return Err(error.with(Fact::What, what).with(Fact::KeyId, &current.kid));
        }
        for one in still_public_by_itself(secret, now()) {
            if !found.set.has(&one.public_key) {
                return Err(changed(&one.kid));
            }
        }
        Ok(found.set)
    }

    /// Checks that verifiers fetch the version's keys at the address that the secret names. Until every cache has to know one of the keys
    /// that sign, an address that does not answer is a warning: before a first rotation nothing is there.
    pub(crate) async fn is_served(
        &self,
        context: &StepContext<'_>,
        secret: &SigningSecret,
        since: &PublicSince,
        asks: Asks,
    ) -> Result<()> {
        let Some(address) = &secret.verify_at else { return Ok(()) };
        self.outside.allow(address)?;
        let served = match self.outside.fetch(address, asks, context.deadline()).await {
            Ok(served) => served,
            Err(error) if since.any_is_known(secret, now()) => return Err(error),
            Err(error) => {
                context.warn(error);
                return Ok(());
            }
        };
        let verify = |key: &SigningKey, served: &PublishedSet| {
            served.entries(&key.kid).all(|entry| Material::of(entry).is_some_and(|it| verifies(key, &it).is_ok()))
        };
        for kid in compare(&served, secret, since, verify, now()).map_err(|error| address.placed(error))? {
            let error = Error::new(Code::ServedSetDiffers)
                .with(Fact::Found, "a leaked key, which every cache should have dropped");
            context.warn(address.placed(error.with(Fact::KeyId, kid)));
        }
        Ok(())
    }
}

/// What is known about the keys before any place is read.
pub(crate) fn public_since(context: &StepContext<'_>, secret: &SigningSecret) -> PublicSince {
    if secret.places.is_empty() {
        PublicSince::of_the_secret(secret, dates(context).rotated)
    } else {
        PublicSince::default()
    }
}

/// Checks that a key's signature is one of the published key.
///
/// # Errors
/// [`Code::PublishedSetChanged`].
pub(crate) fn verifies(key: &SigningKey, published: &Material) -> Result<()> {
    if published.verifies(key.algorithm, PROBE, &key.sign(PROBE)?) {
        return Ok(());
    }
    let error = Error::new(Code::PublishedSetChanged).with(Fact::What, "a published key is not the one that signs");
    Err(error.with(Fact::KeyId, &key.kid))
}
