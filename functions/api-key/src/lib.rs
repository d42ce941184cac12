//! Rotates API keys at any HTTP issuer.
//!
//! A [`description`] says what the issuer's requests and answers look like; [`exchange`] makes the requests; [`target`] is
//! what the four steps of a rotation mean for a key. `target::journal` remembers which keys are still to be revoked.

pub mod description;
pub mod exchange;
pub mod http;
pub mod settings;
pub mod sources;
pub mod target;
