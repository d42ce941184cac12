//! A local AWS for rotations.
//!
//! * [`secretsmanager`]: the service, with AWS's label semantics, independent of the rotation code it tests
//! * [`lambda`]: runs unmodified function binaries over the Lambda Runtime API
//! * [`rds`], [`parameters`] and [`logs`]: what RDS says about servers, Systems Manager's parameters, and the functions' logs, as far as
//!   functions ask
//! * [`page`]: the page of a running lab
//! * [`rds`] and [`parameters`]: what RDS says about servers, and Systems Manager's parameters, as far as functions ask
//! * [`route53`]: hosted zones, whose TXT records a CA can ask for
//! * [`cloudfront`]: key groups and their public keys
//! * [`endpoint`]: all behind one HTTP port, as an AWS SDK or the AWS CLI expects them
//! * [`stack`]: all of these assembled, as tests and the command use them
//! * [`servers`]: throwaway real databases with a test CA
//! * [`provision`]: obtains those servers and AWS's emulator without root and without a container engine
//! * [`issuer`]: issuers of API keys over HTTPS
//! * [`relay`] and [`disturb`]: the means to delay, throttle, fail, cut and kill
//! * [`containers`]: how functions in containers reach the lab
//! * [`port`]: ports that stay reserved
//! * [`process`]: child processes that end with their owner
//! * [`build`]: builds the functions
//! * [`chaos`]: histories of rotations, tried by a machine
//! * [`load`]: rotations under load
//! * [`consumers`]: applications with the crate `lockstep-secret` while their secret rotates
//! * [`openapi`]: compares descriptions of issuers with the vendors' OpenAPI documents
//! * [`cli`]: the `cargo lab` command

pub mod build;
pub mod chaos;
pub mod cli;
pub mod cloudfront;
pub mod consumers;
pub mod containers;
pub mod disturb;
pub mod endpoint;
pub mod fleet;
pub mod issuer;
pub mod lambda;
pub mod load;
pub mod logs;
pub mod openapi;
pub mod page;
pub mod parameters;
mod picture;
pub mod port;
pub mod process;
pub mod provision;
pub mod rds;
mod record;
pub mod relay;
pub mod route53;
pub mod secretsmanager;
pub mod servers;
pub mod stack;
mod xml;

pub use stack::Lab;
