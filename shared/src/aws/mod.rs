//! The calls to AWS services.

mod attempts;
pub mod secrets_manager;

pub use secrets_manager::SecretsManager;
