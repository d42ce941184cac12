//! The function for signing keys against moto's S3 and Systems Manager, and verifiers that others wrote.

mod crash;
mod examples;
mod key_group;
mod lifecycle;
mod outside;
mod places;
mod verifiers;
