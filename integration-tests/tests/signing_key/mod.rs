//! The function for signing keys against moto's S3 and Systems Manager, and verifiers that others wrote.

mod crash;
mod lifecycle;
mod places;
mod verifiers;
