//! What only PostgreSQL does.

mod alternating_users;
mod connection;
mod single_user;
