//! What only PostgreSQL does.

mod alternating_users;
mod bad_input;
mod connection;
mod crash;
mod disturbed;
mod single_user;
