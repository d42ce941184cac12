//! What is promised for API keys, with the real function against the lab's own issuer, which behaves like a real one.

mod concurrent;
mod cost;
mod crash;
mod disturbed;
mod generate;
mod lifecycle;
mod retire;
mod safety;
mod stored;
pub mod support;
