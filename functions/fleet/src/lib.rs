//! Rotates many secrets in waves, or at once after a leak.
//!
//! [`plan`] says what will happen, without doing it; [`run`] does it in short steps; [`leak`] finds the secret of a leaked credential.
//! AWS Step Functions spreads the steps: `state-machine.asl.json`.

mod answers;
mod digest;
mod each;
mod function;
pub mod leak;
mod page;
pub mod plan;
pub mod run;
pub mod service;
pub mod token;

pub use answers::Fleet;
