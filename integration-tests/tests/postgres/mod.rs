//! What only PostgreSQL does.

mod alternating_users;
mod connection;
mod pooler;
mod resets;
mod single_user;
