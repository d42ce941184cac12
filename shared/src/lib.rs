//! The rotation protocol of AWS Secrets Manager, written once.
//!
//! [`protocol`] carries out the four steps over two seams, a secret [`store`] and a [`target`]. The pure core ([`event`],
//! [`document`], [`password`], [`error`], [`database::plan`]) knows no AWS and no network; the shell ([`aws::SecretsManager`],
//! [`lambda`], [`net::tls`], [`environment`]) is where effects live. [`database`] is what all database
//! targets share.

pub mod aws;
pub mod clock;
pub mod database;
pub mod document;
pub mod environment;
pub mod error;
pub mod lambda;
pub mod net;
pub mod password;
pub mod protocol;
pub mod secret;

pub use error::{Class, Code, Error, Fact, Result};
