//! Certificates of a real ACME server, with the double of Route 53.

mod account;
mod order;
