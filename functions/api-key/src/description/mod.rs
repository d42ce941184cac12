//! The language of descriptions: how to rotate the keys of one issuer.

mod call;
mod compile;
mod expect;
mod issuer;
mod key_value;
mod operations;
mod predicate;
mod problem;
mod read;
mod structure;
mod template;
mod var;
mod when;
pub mod written;

pub use call::{Address, Auth, Body, Call, FormValue, Http, JsonTemplate, RequestTarget, Scheme};
pub use expect::Expected;
pub use issuer::{Issuer, Output};
pub use key_value::KeyValue;
pub use operations::{Create, CursorInto, Find, Further, Pages, Revoke, Roll, Set, Verify};
pub use predicate::{Answer, Pointer, Predicate, Predicates};
pub use problem::Problem;
pub use read::read;
pub use template::{Escape, Expiry, ExpiryFormat, Key, Placeholder, Scope, Template, VarValue};
pub use var::Var;
pub use when::{Length, rfc3339};
pub use written::{Admin, Checksum, OwnId, Role, SendClient, Strategy, ValueKind, VarKind, VarSource};
