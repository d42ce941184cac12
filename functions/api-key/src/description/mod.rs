//! How to rotate the keys of one issuer: the language of descriptions.

mod answer;
mod call;
mod compile;
pub mod expect;
mod issuer;
mod key_value;
mod operations;
mod problem;
mod read;
pub mod template;
mod var;
pub mod when;
pub mod written;

pub use answer::{Answer, Answers, Pointer};
pub use call::{Address, Auth, Body, Call, Http, Scheme, Target, Tree};
pub use issuer::{Issuer, Output};
pub use key_value::KeyValue;
pub use operations::{Before, Create, CursorInto, Find, Pages, Revoke, Roll, Set, Verify};
pub use problem::Problem;
pub use read::read;
pub use var::Var;
pub use written::{Admin, As, Checksum, From, SendClient, Strategy, ValueKind, VarKind};
