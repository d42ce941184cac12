//! The rotation protocol of AWS Secrets Manager, written once.
//!
//! | folder | what happens there |
//! |---|---|
//! | [`protocol`] | the four steps, over two seams: [`protocol::store`] (Secrets Manager) and [`protocol::target`] (what a credential opens) |
//! | [`database`] | a database user as a target, over a third seam: [`database::Engine`] |
//! | [`aws`] | the calls to AWS |
//! | [`lambda`] | an invocation: payload, answer, log, metrics, audit record |
//! | [`net`] | TLS and connections |
//! | [`page`] | pages for people, from the answers to questions |
//! | [`error`] | errors that are safe to print |
//!
//! Files beside the folders serve all of them. `tests/layers.rs` holds what may import what.

pub mod aws;
pub mod clock;
pub mod database;
pub mod document;
pub mod encoding;
pub mod environment;
pub mod error;
pub mod lambda;
pub mod net;
pub mod page;
pub mod password;
pub mod protocol;
pub mod secret;

pub use error::{Class, Code, Error, Fact, Result};
