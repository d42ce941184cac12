#![doc = include_str!("../README.md")]

#[cfg(feature = "bb8")]
pub mod bb8;
mod builder;
#[cfg(feature = "deadpool-postgres")]
pub mod deadpool_postgres;
mod error;
#[cfg(feature = "http")]
pub mod http;
mod label;
#[cfg(feature = "mysql-async")]
pub mod mysql_async;
#[cfg(feature = "tokio-postgres")]
mod place;
mod retire;
mod secret;
mod snapshot;
pub mod source;
#[cfg(any(feature = "sqlx-postgres", feature = "sqlx-mysql"))]
pub mod sqlx;
#[cfg(feature = "tokio-postgres")]
pub mod tokio_postgres;
mod value;

pub use builder::Builder;
pub use error::{Cause, ConnectError, Error, Refused, SourceError};
pub use label::Label;
pub use retire::Ticket;
pub use secret::{Attempt, Counts, Health, RotatingSecret, State, Update};
pub use snapshot::Snapshot;
pub use source::Source;
pub use value::{SecretText, ValueError};

#[cfg(feature = "secrets-manager")]
pub use aws_sdk_secretsmanager;
