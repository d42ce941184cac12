//! Rotates the keys that sign tokens, and publishes their public parts before and after they sign.
//!
//! [`key`] is a key and its form as a JWK, [`secret`] a version of a secret, [`plan`] decides which key signs next and which stay public,
//! [`published`] is a published set, [`outlet`] a place where one is, and [`target`] what the four steps of a rotation do with them.

pub mod key;
pub mod outlet;
pub mod plan;
pub mod published;
pub mod secret;
pub mod settings;
pub mod target;
