//! Rotates the keys that sign tokens, and publishes their public parts before and after they sign.
//!
//! [`key`] is a key and its form as a JWK, [`secret`] a version of a secret, [`plan`] decides which key signs next and which stay public,
//! [`follow`] checks that a pending
//! version follows the current one, [`published`] is a published set, [`place`] the name of a place that it is in, [`outlet`] reads and writes
//! there, [`outside`] reads what verifiers fetch, [`each`] lets a bad place stop nothing in the others, [`target`] is what the four steps of a
//! rotation do with all of them, and `proof` shows that verifiers verify what the keys sign.

mod asked;
mod change;
pub mod each;
pub mod follow;
pub mod key;
mod moment;
pub mod outlet;
pub mod outside;
pub mod place;
pub mod plan;
mod proof;
pub mod public_address;
pub mod published;
pub mod secret;
pub mod settings;
pub mod signing_keys;
pub mod target;
