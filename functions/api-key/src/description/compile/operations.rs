//! Compiles the operations on keys.

use crate::description::compile::compiler::{Compiler, NOTHING, Offered};
use crate::description::written::{self, Strategy};
use crate::description::{
    Body, Create, CursorInto, Find, Further, OwnId, Pages, Pointer, Predicates, Revoke, Role, Roll, Set, Verify,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Lambda ends a step after 15 minutes at most.
const MAX_POLL: Duration = Duration::from_secs(600);
/// At this rate, polling several keys at once is no load for an issuer.
const MIN_PAUSE: Duration = Duration::from_millis(100);

impl Compiler<'_> {
    pub(super) fn find(&mut self) -> Option<Find> {
        let find = self.written.find.as_ref()?;
        let allowed = NOTHING;
        let call = self.call("find", find.call(), Role::Admin, allowed);
        let pages = find.pages.as_ref().map(|pages| match pages {
            written::Pages::Cursor { from, query, variable } => {
                let into = match (query, variable) {
                    (Some(query), None) => CursorInto::Query(query.clone()),
                    (None, Some(variable)) if matches!(call.body, Body::GraphQl { .. }) => {
                        CursorInto::Variable(variable.clone())
                    }
                    _ => {
                        self.problem("find.pages.cursor", "expected one of `query` and, for `graphql`, `variable`");
                        CursorInto::Query(String::new())
                    }
                };
                Pages::Cursor { from: self.pointer("find.pages.cursor.from", from), into }
            }
            written::Pages::Number { query, first, last } => {
                let last = last.as_deref().map(|last| self.pointer("find.pages.number.last", last));
                Pages::Number { query: query.clone(), first: *first, last }
            }
            written::Pages::Offset(query) => Pages::Offset(query.clone()),
            written::Pages::Link(relation) => Pages::Link(relation.clone()),
            written::Pages::Url(place) => Pages::Url(self.pointer("find.pages.url", place)),
        });
        Some(Find {
            call,
            items: self.pointer("find.items", &find.items),
            id: self.pointer("find.id", &find.id),
            name: find.name.as_deref().map(|name| self.pointer("find.name", name)),
            fields: self.expectations("find.where", &find.fields, allowed),
            none: find.none.as_ref().map(|none| self.answers("find.none", none, allowed)),
            complete: find.complete,
            pages,
        })
    }

    pub(super) fn create(&mut self) -> Option<Create> {
        let create = self.written.create.as_ref()?;
        let (drawn, by_name) = (self.written.value.is_some(), create.id == Some(OwnId::Name));
        let allowed =
            Offered { key_id: by_name, key_secret: drawn, unmade: true, name: true, lifetime: true, ..NOTHING };
        let before = self.further("create.before", &create.before, NOTHING);
        let call = self.call("create", create.call(), Role::Admin, allowed);
        let ok = self.ok("create.ok", create.ok.as_ref(), allowed);
        let limit = create.limit.as_ref().map(|limit| self.answers("create.limit", limit, allowed));
        let made = Offered { key_id: true, key_secret: true, unmade: false, ..allowed };
        let after = self.further("create.after", &create.after, made);
        let needed = [("secret", !drawn), ("id", create.id.is_none())];
        for (name, in_answer) in needed {
            if !in_answer && create.extract.contains_key(name) {
                let beside = if name == "id" { "`create.id`" } else { "`value`" };
                self.problem(format!("create.extract.{name}"), format!("expected nothing: {beside} says what it is"));
            }
        }
        if drawn && by_name && !create.extract.is_empty() {
            self.problem("create.extract", "expected nothing: the key is stored before it is created");
        }
        if by_name && self.written.find.as_ref().is_none_or(|find| find.name.is_none()) {
            self.problem("find.name", "missing: only the list shows a key that a late request has created");
        }
        let needed: Vec<_> = needed.into_iter().filter_map(|(name, in_answer)| in_answer.then_some(name)).collect();
        let extract = self.extract("create.extract", &create.extract, &needed);
        Some(Create { before, after, id: create.id, call, ok, limit, extract })
    }

    fn further(&mut self, path: &str, written: &[written::Further], allowed: Offered) -> Vec<Further> {
        let calls = written.iter().enumerate().map(|(at, written)| {
            let what = format!("{path}[{at}]");
            let call = self.call(&what, written.call(), Role::Admin, allowed);
            Further { call, ok: self.ok(&format!("{what}.ok"), written.ok.as_ref(), allowed) }
        });
        calls.collect()
    }

    fn extract(
        &mut self,
        path: &str,
        written: &BTreeMap<String, String>,
        needed: &[&str],
    ) -> BTreeMap<String, Pointer> {
        for name in needed {
            if !written.contains_key(*name) {
                self.problem(path, format!("expected `{name}`: the place in the answer that has it"));
            }
        }
        written.iter().map(|(name, place)| (name.clone(), self.pointer(&format!("{path}.{name}"), place))).collect()
    }

    pub(super) fn roll(&mut self) -> Option<Roll> {
        let roll = self.written.roll.as_ref()?;
        let allowed =
            Offered { key_id: true, grace: self.written.strategy == Strategy::RollGrace, lifetime: true, ..NOTHING };
        let call = self.call("roll", roll.call(), Role::Admin, allowed);
        let ok = self.ok("roll.ok", roll.ok.as_ref(), allowed);
        let gone = roll.gone.as_ref().map(|gone| self.answers("roll.gone", gone, allowed));
        let extract = self.extract("roll.extract", &roll.extract, &["secret"]);
        Some(Roll { call, ok, gone, extract })
    }

    pub(super) fn set(&mut self) -> Option<Set> {
        let set = self.written.set.as_ref()?;
        let allowed = Offered { key_id: true, key_secret: true, ..NOTHING };
        let call = self.call("set", set.call(), Role::Admin, allowed);
        Some(Set { call, ok: self.ok("set.ok", set.ok.as_ref(), allowed) })
    }

    pub(super) fn verify(&mut self) -> Option<Verify> {
        let verify = self.written.verify.as_ref()?;
        let allowed = Offered { key_id: true, key_secret: true, ..NOTHING };
        let call = self.call("verify", verify.call(), Role::Key, allowed);
        if let Some(poll) = verify.poll {
            if poll.every.0 < MIN_PAUSE {
                self.problem("verify.poll.every", "expected at least 100ms");
            }
            if poll.up_to.0 > MAX_POLL {
                self.problem("verify.poll.upTo", "expected at most 10m");
            }
        }
        Some(Verify {
            call,
            works: self.answers("verify.works", &verify.works, allowed),
            rejected: self.answers("verify.rejected", &verify.rejected, allowed),
            identity: verify.identity.as_deref().map(|place| self.pointer("verify.identity", place)),
            poll: verify.poll.map(|poll| (poll.every.0, poll.up_to.0)),
        })
    }

    pub(super) fn revoke(&mut self) -> Vec<Revoke> {
        let allowed = Offered { key_id: true, ..NOTHING };
        let mut compiled = Vec::new();
        for (at, revoke) in self.written.revoke.iter().enumerate() {
            let what = format!("revoke[{at}]");
            let call = self.call(&what, revoke.call(), Role::Admin, allowed);
            let done = self.ok(&format!("{what}.done"), revoke.done.as_ref(), allowed);
            let gone = match &revoke.gone {
                Some(gone) => self.answers(&format!("{what}.gone"), gone, allowed),
                None => Predicates::statuses(&[(404, 404), (410, 410)]),
            };
            compiled.push(Revoke { call, done, gone });
        }
        compiled
    }
}
