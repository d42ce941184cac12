//! What people see of rotations, and what they can ask.

mod load;
mod observability;
mod questions;
