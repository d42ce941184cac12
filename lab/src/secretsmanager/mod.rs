//! Secrets Manager: labels, versions and rotation as AWS documents them.
//!
//! Independent of the rotation functions that run against it: nothing here knows their code, so that a misreading of
//! AWS's rules would have to be made twice to go unnoticed. `model` holds the rules, without I/O, clock or randomness of
//! its own; [`Service`] holds the state and answers calls; `rotation` invokes the function's steps.

mod error;
mod event;
mod invoker;
mod limits;
mod model;
mod reply;
mod rotation;
mod service;

pub use error::ServiceError;
pub use event::{RotationEvent, RotationEventKind, RotationOutcome, Step};
pub use invoker::{Invocation, Invoker};
pub use limits::Limits;
pub use reply::Reply;
pub use service::{Consistency, Options, Service, StagedRotation};
