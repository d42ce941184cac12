//! What people see of rotations, and what they can ask.

mod encryption_keys;
mod load;
mod observability;
mod questions;
