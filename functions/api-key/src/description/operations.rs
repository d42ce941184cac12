//! What is done with keys: each is a call, with the meaning of its answers.

use crate::description::{Call, Expected, Pointer, Predicates};
use std::collections::BTreeMap;
use std::time::Duration;

/// Lists keys.
#[derive(Clone, Debug)]
pub struct Find {
    /// The first page.
    pub call: Call,
    /// Where the array is.
    pub items: Pointer,
    /// Where an item has its id.
    pub id: Pointer,
    /// Where it has its name.
    pub name: Option<Pointer>,
    /// Which items count.
    pub fields: Vec<(Pointer, Expected)>,
    /// How it goes on.
    pub pages: Option<Pages>,
    /// That it has every key that could be found to work.
    pub complete: bool,
}

/// What takes a cursor.
#[derive(Clone, Debug)]
pub enum CursorInto {
    /// A parameter of the query.
    Query(String),
    /// A GraphQL variable.
    Variable(String),
}

/// How a list goes on.
#[derive(Clone, Debug)]
pub enum Pages {
    /// By a cursor.
    Cursor {
        /// Where it is.
        from: Pointer,
        /// What takes it.
        into: CursorInto,
    },
    /// By numbers.
    Number {
        /// The parameter.
        query: String,
        /// Of the first page.
        first: u32,
    },
    /// By items to leave out, in this parameter.
    Offset(String),
    /// By a `Link` header of this relation.
    Link(String),
    /// By a URL in the answer.
    Url(Pointer),
}

/// Has to be done right before another call.
#[derive(Clone, Debug)]
pub struct Before {
    /// The request.
    pub call: Call,
    /// Success.
    pub ok: Predicates,
}

/// Makes a key.
#[derive(Clone, Debug)]
pub struct Create {
    /// What has to be done right before.
    pub before: Vec<Before>,
    /// The request.
    pub call: Call,
    /// Success.
    pub ok: Predicates,
    /// Too many keys.
    pub limit: Option<Predicates>,
    /// Where the key is.
    pub extract: BTreeMap<String, Pointer>,
}

/// Exchanges a key.
#[derive(Clone, Debug)]
pub struct Roll {
    /// The request.
    pub call: Call,
    /// Success.
    pub ok: Predicates,
    /// There is no such key any more.
    pub gone: Option<Predicates>,
    /// Where the new one is.
    pub extract: BTreeMap<String, Pointer>,
}

/// Tells the issuer a value.
#[derive(Clone, Debug)]
pub struct Set {
    /// The request.
    pub call: Call,
    /// Success.
    pub ok: Predicates,
}

/// Tries a key.
#[derive(Clone, Debug)]
pub struct Verify {
    /// The request.
    pub call: Call,
    /// The key works.
    pub works: Predicates,
    /// The key is dead.
    pub rejected: Predicates,
    /// Where the answer has the key's id.
    pub identity: Option<Pointer>,
    /// Between two tries, and in all.
    pub poll: Option<(Duration, Duration)>,
}

/// Ends a key.
#[derive(Clone, Debug)]
pub struct Revoke {
    /// The request.
    pub call: Call,
    /// It has ended.
    pub done: Predicates,
    /// It had ended before.
    pub gone: Predicates,
}
