//! The calls to AWS services.

mod attempts;
mod config;
pub mod endpoint;
mod kms;
pub(crate) mod logs;
pub(crate) mod rds;
pub mod secrets_manager;
pub mod service;
pub mod sigv4;
pub(crate) mod throttle;
pub mod xml;

pub use secrets_manager::SecretsManager;
