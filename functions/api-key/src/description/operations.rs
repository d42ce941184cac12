//! The operations on keys: each is a call, with the meaning of its answers.

use crate::description::{Call, Expected, OwnId, Pointer, Predicates};
use std::collections::BTreeMap;
use std::time::Duration;

/// Lists keys.
#[derive(Clone, Debug)]
pub struct Find {
    /// The call for the first page.
    pub call: Call,
    /// The place of the array.
    pub items: Pointer,
    /// The place of an item's id.
    pub id: Pointer,
    /// The place of an item's name.
    pub name: Option<Pointer>,
    /// Which items count.
    pub fields: Vec<(Pointer, Expected)>,
    /// An answer that means that there are no keys.
    pub none: Option<Predicates>,
    /// How to get the next page.
    pub pages: Option<Pages>,
    /// Whether the list has all keys that `verify` could accept.
    pub complete: bool,
}

/// Where a cursor is sent.
#[derive(Clone, Debug)]
pub enum CursorInto {
    /// A parameter of the query.
    Query(String),
    /// A GraphQL variable.
    Variable(String),
}

/// How to get the next page of a list.
#[derive(Clone, Debug)]
pub enum Pages {
    /// With a cursor.
    Cursor {
        /// The cursor's place in the answer.
        from: Pointer,
        /// Where the cursor is sent.
        into: CursorInto,
    },
    /// By the page's number.
    Number {
        /// The parameter.
        query: String,
        /// The first page's number.
        first: u32,
        /// The place of the last page's number in the answer.
        last: Option<Pointer>,
    },
    /// By the number of items to skip, in this parameter.
    Offset(String),
    /// By a `Link` header of this relation.
    Link(String),
    /// By an address in the answer.
    Url(Pointer),
}

/// A call before or after the one that creates a key.
#[derive(Clone, Debug)]
pub struct Further {
    /// The request.
    pub call: Call,
    /// Success.
    pub ok: Predicates,
}

/// Creates a key.
#[derive(Clone, Debug)]
pub struct Create {
    /// Calls that must be made first.
    pub before: Vec<Further>,
    /// Calls that are made once the key exists.
    pub after: Vec<Further>,
    /// The id, if it is not in the answer.
    pub id: Option<OwnId>,
    /// The request.
    pub call: Call,
    /// Success.
    pub ok: Predicates,
    /// A refusal because there are too many keys.
    pub limit: Option<Predicates>,
    /// The places of the key in the answer.
    pub extract: BTreeMap<String, Pointer>,
}

/// Exchanges a key.
#[derive(Clone, Debug)]
pub struct Roll {
    /// The request.
    pub call: Call,
    /// Success.
    pub ok: Predicates,
    /// The key no longer exists.
    pub gone: Option<Predicates>,
    /// The places of the new key in the answer.
    pub extract: BTreeMap<String, Pointer>,
}

/// Sends the issuer a value.
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
    /// The key is invalid.
    pub rejected: Predicates,
    /// The place of the used key's id in the answer.
    pub identity: Option<Pointer>,
    /// The pause between two tries, and the time of all tries.
    pub poll: Option<(Duration, Duration)>,
}

/// Revokes a key.
#[derive(Clone, Debug)]
pub struct Revoke {
    /// The request.
    pub call: Call,
    /// The key is revoked.
    pub done: Predicates,
    /// The key had ended before.
    pub gone: Predicates,
}
