//! What people see of rotations, and what they can ask.

mod observability;
mod questions;
