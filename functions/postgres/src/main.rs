//! Rotates the passwords of PostgreSQL users.

fn main() {}
