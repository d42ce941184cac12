//! A secret whose keys are published, for tests.

use super::set::{Owner, PublishedSet};
use crate::key::SigningKey;
use crate::key::algorithm::Algorithm;
use crate::plan::Dates;
use crate::secret::{Previous, SigningSecret};
use std::sync::Arc;

pub(super) const NOW: u64 = 1_800_000_000;

pub(super) fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(Algorithm::Es256, NOW - 5000).unwrap())
}

pub(super) fn secret() -> SigningSecret {
    SigningSecret {
        algorithm: Algorithm::Es256,
        max_token_lifetime: 100,
        max_cache: 10,
        current: Some(key()),
        next: Some(key()),
        previous: vec![Previous {
            kid: "old".to_owned(),
            retire_at: NOW + 5,
            public_key: key().material().jwk("old", Algorithm::Es256),
        }],
        revoked: Vec::new(),
        places: Vec::new(),
        verify_at: None,
        leaked: None,
    }
}

pub(super) fn owner(secret: &SigningSecret) -> Owner<'_> {
    Owner { fingerprint: "this", secret }
}

pub(super) fn holds(set: &PublishedSet, kid: &str) -> bool {
    set.entries(kid).next().is_some()
}

pub(super) fn dates() -> Dates {
    Dates { rotated: Some(NOW - 4000), changed: Some(NOW) }
}
