//! Secrets Manager: labels, versions and rotation as AWS documents them.

mod invoker;

pub use invoker::{Invocation, Invoker};
