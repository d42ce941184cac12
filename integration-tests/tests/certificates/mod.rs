//! Certificates of real ACME servers, with the double of Route 53.

mod account;
mod crash;
mod openbao;
mod order;
mod outlet;
mod renewal;
