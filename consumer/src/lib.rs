//! Credentials from AWS Secrets Manager that rotate without a failed query.

mod builder;
mod error;
mod label;
mod retire;
mod secret;
mod snapshot;
pub mod source;
mod value;

pub use builder::Builder;
pub use error::{Cause, ConnectError, Error, Refused, SourceError};
pub use label::Label;
pub use retire::Ticket;
pub use secret::{Attempt, Counts, Health, RotatingSecret, State, Update};
pub use snapshot::Snapshot;
pub use source::Source;
pub use value::{SecretText, ValueError};
