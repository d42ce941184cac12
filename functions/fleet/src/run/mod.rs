//! Carries a plan out, one short invocation after another. The state machine keeps what is between them.

mod answer;
pub mod item;
pub mod lane;
pub mod progress;
pub mod report;
pub mod state;
