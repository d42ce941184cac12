//! Throwaway real servers: each in a private directory, on a free loopback port, with a certificate of a test CA, gone
//! when its value is dropped.
//!
//! * [`postgres`]: PostgreSQL, also as a read-only standby
//! * [`mysql`]: MySQL and MariaDB
//! * [`pgbouncer`]: PgBouncer, in front of a PostgreSQL
//! * [`database`]: any of them
//! * [`rabbitmq`], [`openbao`]: servers that issue credentials over HTTP, and [`web`], their API
//! * [`moto`]: other services of AWS
//! * [`nginx`]: a web server, which serves certificates
//! * [`pebble`]: an ACME server, which issues certificates
//! * [`certificates`]: the test CA
//!
//! A server outlives the terminal's Ctrl-C, because it is in a process group of its own: the lab decides when it ends. It
//! does not outlive the lab: a watchdog ends it and removes its directory even when the lab was killed with SIGKILL.

pub mod certificates;
pub mod database;
mod error;
mod home;
mod launch;
pub mod moto;
pub mod mysql;
pub mod nginx;
pub mod openbao;
mod password;
pub mod pebble;
pub mod pgbouncer;
pub mod postgres;
pub mod rabbitmq;
mod tls;
pub mod web;

pub use error::{Error, Result};
pub use password::Password;
pub use tls::{CONTAINERS_HOST, Tls};
