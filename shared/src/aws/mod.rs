//! The calls to AWS services.

mod attempts;
pub mod secrets_manager;
pub mod service;
pub(crate) mod throttle;

pub use secrets_manager::SecretsManager;
