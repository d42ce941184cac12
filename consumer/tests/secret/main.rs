//! A secret in virtual time, with a source and a server that do what a test tells them.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics fails"
)]

mod bad_source;
mod refresh;
mod refused;
mod retire;
mod support;
