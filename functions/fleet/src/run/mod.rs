//! Carries a plan out, one short invocation after another. The state machine keeps what is between them.

pub mod item;
pub mod lane;
pub mod state;
pub mod token;
