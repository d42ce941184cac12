//! Applications that query all the time, with the crate `lockstep-secret`, while their secret rotates.
//!
//! For each engine and strategy one secret rotates, one rotation after the other. Meanwhile workers query through each adapter of
//! the crate. Each query takes a connection from the adapter's pool, or makes one, and runs one statement. Connections live for a
//! fraction of a second, so that logins happen all the time. The workers of an adapter have threads of their own. There are two kinds of secrets in memory for each adapter:
//!
//! * *refreshing*: it reads AWSCURRENT several times in a rotation
//! * *keeping*: it reads nothing by itself for a minute, so that it learns of every rotation from a refused login
//!
//! In the meantime, logins are cut, delayed and refused on the way to the server, and calls of Secrets Manager are throttled, delayed,
//! failed, and lose their answers (`trouble.rs`). A login that was cut is repeated by the worker, as it would be without a rotation;
//! the time for that counts as the query's. A query that ends in any other error has *failed*.
//!
//! One more worker logs in with the password from before the rotation, without the crate. Where the strategy ends that, it has to be
//! refused: this shows that a query can fail here.

mod client;
mod clients;
mod plot;
mod programs;
mod run;
mod summary;
mod trouble;
mod worker;

pub use client::Adapter;
pub use plot::svg;
pub use programs::{ProgramRow, ProgramSeen, Runtimes};
pub use run::{Plan, run};
pub use summary::{Row, Summary};
