//! Certificates of real ACME servers, with the double of Route 53.

mod account;
mod crash;
mod dns;
mod openbao;
mod order;
mod outlet;
mod persist;
mod renewal;
mod route53;
mod serve;
