//! The state of the compiler: the description, the mistakes so far, and which placeholders a call offers.

use crate::description::{Admin, OwnId, Problem, written::Description};

pub(super) struct Compiler<'a> {
    pub(super) written: &'a Description,
    pub(super) problems: Vec<Problem>,
}

/// The placeholders that a call offers.
#[derive(Clone, Copy)]
pub(super) struct Offered {
    pub(super) admin: bool,
    pub(super) key_id: bool,
    pub(super) key_secret: bool,
    /// Whether the issuer has not made the key yet, so that nothing was extracted.
    pub(super) unmade: bool,
    pub(super) name: bool,
    pub(super) grace: bool,
    pub(super) lifetime: bool,
    /// Whether the position takes a JSON variable.
    pub(super) json: bool,
}

/// No placeholders but variables and the name prefix.
pub(super) const NOTHING: Offered = Offered {
    admin: false,
    key_id: false,
    key_secret: false,
    unmade: false,
    name: false,
    grace: false,
    lifetime: false,
    json: false,
};

impl<'a> Compiler<'a> {
    pub(super) fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), message: message.into() });
    }

    pub(super) fn by_admin(&self) -> Offered {
        match self.written.admin {
            Admin::Secret => Offered { admin: true, ..NOTHING },
            _ => NOTHING,
        }
    }

    /// Whether a key is its own id, so that the id is as secret.
    pub(super) fn key_is_id(&self) -> bool {
        self.written.create.as_ref().is_some_and(|create| create.id == Some(OwnId::Key))
    }

    pub(super) fn extracted(&self) -> Vec<&'a str> {
        let written = self.written;
        let create = written.create.iter().flat_map(|create| create.extract.keys());
        let roll = written.roll.iter().flat_map(|roll| roll.extract.keys());
        create.chain(roll).map(String::as_str).collect()
    }
}
