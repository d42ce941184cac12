//! Rotates API keys at any HTTP issuer.
//!
//! A [`description`] states an issuer's requests and the meaning of its answers; [`sources`] are where descriptions come from;
//! [`exchange`] is a conversation with an issuer over [`http`]; [`target`] is what the four steps of a rotation do with a key.

pub mod description;
pub mod exchange;
pub mod http;
pub mod settings;
pub mod sources;
pub mod target;
