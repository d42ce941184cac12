//! The release binaries against real servers, through the lab: one program, so that its tests run side by side and everything
//! is linked once.

mod api_key;
mod aws;
mod certificates;
mod consumers;
#[macro_use]
mod every_server;
mod fleet;
mod issuers;
mod leaks;
mod mysql;
mod operations;
mod page;
mod postgres;
mod protocol;
mod runbooks;
mod signing_key;
