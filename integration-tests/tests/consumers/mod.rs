//! The crate for applications, `lockstep-secret`, with the lab's Secrets Manager and real servers.

mod proof;
mod rotations;
mod secrets_manager;
