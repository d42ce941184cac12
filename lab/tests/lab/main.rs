//! The lab's tests in one program, so that they run side by side and are linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic here is a failed test"
)]

mod chaos;
mod cli;
mod elsewhere;
mod functions;
mod issuer;
mod lambda_disturb;
mod lambda_host;
mod openapi;
mod rds_boto3;
mod secretsmanager_model;
mod secretsmanager_moto;
mod servers_mysql;
mod servers_postgres;
mod servers_provision;
mod simulated;
