//! Turns a description as written into its checked form, or lists its mistakes.

mod compiler;
mod operations;
mod predicate;
mod request;

use crate::description::compile::compiler::{Compiler, NOTHING, Offered};
use crate::description::{
    Admin, Issuer, KeyValue, Length, Output, OwnId, Placeholder, Problem, Strategy, Template, Var, VarKind, VarSource,
    written::{self, Description},
};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) fn compile(written: &Description) -> Result<Issuer, Vec<Problem>> {
    let mut it = Compiler { written, problems: Vec::new() };
    let issuer = it.issuer();
    let used = issuer.placeholders().any(|place| matches!(place, Placeholder::Admin(_)));
    if issuer.admin == Admin::Secret && !used && it.problems.is_empty() {
        it.problem(
            "admin",
            "no call fills in a field of the admin secret: expected `{{admin.…}}` somewhere, or `admin: self`",
        );
    }
    if it.problems.is_empty() { Ok(issuer) } else { Err(it.problems) }
}

impl<'a> Compiler<'a> {
    fn issuer(&mut self) -> Issuer {
        let written = self.written;
        self.names();
        self.strategy();
        let http = self.http();
        let vars = self.vars();
        let admin_auth = written.auth.admin.as_ref().map(|auth| self.auth("auth.admin", auth, self.by_admin()));
        let key_auth = written.auth.key.as_ref().map(|auth| {
            let allowed = Offered { key_id: true, key_secret: true, ..NOTHING };
            self.auth("auth.key", auth, allowed)
        });
        let (find, create, roll) = (self.find(), self.create(), self.roll());
        let (set, verify, revoke) = (self.set(), self.verify(), self.revoke());
        Issuer {
            id: written.issuer.clone(),
            title: written.title.clone(),
            sources: written.sources.clone(),
            unchecked: written.unchecked.trim().to_owned(),
            risk: written.risk.as_deref().map(|risk| risk.trim().to_owned()),
            strategy: written.strategy,
            admin: written.admin,
            grace: match written.grace {
                Some(written::Grace::For(Length(time))) => Some(time),
                _ => None,
            },
            lifetime: self.lifetime(),
            vars,
            output: self.output(),
            http,
            admin_auth,
            key_auth,
            find,
            create,
            roll,
            set,
            value: written.value.as_ref().map(|value| KeyValue::read(value, &mut self.problems)),
            verify,
            revoke,
        }
    }

    fn names(&mut self) {
        let written = self.written;
        let id = &written.issuer;
        let sound = id.starts_with(|c: char| c.is_ascii_lowercase())
            && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !sound {
            self.problem("issuer", format!("expected lower-case letters, digits and hyphens, found `{id}`"));
        }
        for (path, text) in [("title", &written.title), ("unchecked", &written.unchecked)] {
            if text.trim().is_empty() {
                self.problem(path, "expected some words");
            }
        }
        if written.sources.is_empty() && written.strategy != Strategy::Generate {
            self.problem("sources", "expected the address of the documentation this was written from");
        }
    }

    /// Checks that the description has the parts that its strategy needs, and no others.
    fn strategy(&mut self) {
        use Strategy::{CreateRevoke, Generate, RevokeCreate, Roll, RollGrace, SetValue};
        let written = self.written;
        let strategy = written.strategy;
        let parts = [
            ("create", written.create.is_some(), &[CreateRevoke, RevokeCreate][..]),
            ("revoke", !written.revoke.is_empty(), &[CreateRevoke, RevokeCreate]),
            ("roll", written.roll.is_some(), &[Roll, RollGrace]),
            ("set", written.set.is_some(), &[SetValue]),
            ("verify", written.verify.is_some(), &[CreateRevoke, RevokeCreate, Roll, RollGrace, SetValue]),
            ("http", written.http.is_some(), &[CreateRevoke, RevokeCreate, Roll, RollGrace, SetValue]),
        ];
        for (part, there, strategies) in parts {
            match (there, strategies.contains(&strategy)) {
                (false, true) => self.problem(part, "missing: this strategy needs it"),
                (true, false) => self.problem(part, "not used by this strategy"),
                _ => {}
            }
        }
        if written.value.is_some() && matches!(strategy, Roll | RollGrace) {
            self.problem("value", "not used by this strategy: the issuer makes the key");
        }
        let draws = |call: written::Call<'_>| call.holds(&Placeholder::KeySecret);
        if written.value.is_some() && written.create.as_ref().is_some_and(|create| !draws(create.call())) {
            self.problem(
                "value",
                "not used: `create` has no `{{key.secret}}`; without `value` the issuer makes the key",
            );
        }
        if written.value.is_none() && strategy == SetValue {
            self.problem("value", "missing: this strategy needs it");
        }
        match (strategy, written.admin) {
            (Generate, Admin::None) => {}
            (Generate, _) => self.problem("admin", "expected `none`: nobody is called"),
            (_, Admin::None) => self.problem("admin", "expected `secret` or `self`: this strategy makes calls"),
            (Roll | SetValue, Admin::Itself) => {
                self.problem(
                    "admin",
                    "expected `secret`: a key that ends in the same call could not repair what a lost answer breaks",
                );
            }
            _ => {}
        }
        match (strategy, written.grace) {
            (RollGrace, Some(written::Grace::For(_))) => {}
            (RollGrace, _) => self.problem("grace", "expected a length of time, e.g. 24h: the issuer is told it"),
            (Generate | SetValue | Roll, Some(_)) => {
                self.problem("grace", "not used by this strategy: nothing of the previous key is left to be ended");
            }
            (RevokeCreate, Some(written::Grace::For(_))) => {
                self.problem(
                    "grace",
                    "expected `previous_cycle`: the previous key is revoked right before the next one is made",
                );
            }
            _ => {}
        }
        self.identity();
        let named = written.find.as_ref().is_some_and(|find| find.name.is_some());
        if matches!(strategy, CreateRevoke | RevokeCreate) && !named && written.risk.is_none() {
            self.problem("risk", "missing: without `find.name`, a key whose creation was not answered cannot be found again; say what that means here");
        }
    }

    /// If a key is replaced by its id, with the admin's credential, `verify` must tell whose id it is: the writer of the secret
    /// could name any key.
    fn identity(&mut self) {
        let written = self.written;
        let calls = written.roll.iter().map(written::Roll::call).chain(written.set.iter().map(written::Set::call));
        let targets = calls.flat_map(|call| call.targets.into_iter().filter_map(|(_, target)| target));
        let by_id = targets.flat_map(Template::placeholders).any(|place| *place == Placeholder::KeyId);
        let told = written.verify.as_ref().is_some_and(|verify| verify.identity.is_some());
        let signs_in = written.auth.key.as_ref().and_then(|auth| auth.basic.as_ref());
        let signs_in = signs_in.is_some_and(|basic| basic.user.only_placeholder() == Some(&Placeholder::KeyId));
        if by_id && !told && !signs_in {
            self.problem(
                "verify.identity",
                "missing: the key is replaced by its id, so `verify` has to tell whose id it is",
            );
        }
    }

    fn lifetime(&mut self) -> Option<Duration> {
        let Length(time) = self.written.lifetime?;
        if self.written.create.is_none() && self.written.roll.is_none() {
            self.problem("lifetime", "not used by this strategy: no issuer is told it");
        }
        Some(time)
    }

    fn vars(&mut self) -> BTreeMap<String, Var> {
        let mut vars = BTreeMap::new();
        for (name, var) in &self.written.vars {
            let path = format!("vars.{name}");
            let pattern = var.pattern.as_deref().and_then(|pattern| {
                let compiled = regex_lite::Regex::new(&format!("^(?:{pattern})$"));
                if compiled.is_err() {
                    self.problem(format!("{path}.pattern"), "expected a regular expression");
                }
                Some((pattern.to_owned(), compiled.ok()?))
            });
            let limits = [var.one_of.is_some(), var.map.is_some(), var.pattern.is_some()];
            if var.map.is_some()
                && (limits.into_iter().filter(|limit| *limit).count() > 1 || var.kind != VarKind::String)
            {
                self.problem(format!("{path}.map"), "expected no `oneOf`, `pattern` or `type` beside it");
            }
            if var.from == VarSource::Admin && self.written.admin != Admin::Secret {
                self.problem(format!("{path}.from"), "there is no admin secret: `admin` is not `secret`");
            }
            let compiled = Var {
                from: var.from,
                field: var.field.clone().unwrap_or_else(|| name.clone()),
                default: var.default.clone(),
                one_of: var.one_of.clone(),
                map: var.map.clone(),
                pattern,
                kind: var.kind,
                description: var.description.clone(),
            };
            if let Some(Err(expected)) = var.default.as_ref().map(|default| compiled.read(default)) {
                self.problem(format!("{path}.default"), format!("expected {expected}"));
            }
            vars.insert(name.clone(), compiled);
        }
        vars
    }

    fn output(&mut self) -> BTreeMap<String, Output> {
        let extracted = self.extracted();
        let Some(written) = &self.written.output else {
            let mut output = BTreeMap::from([("apiKey".to_owned(), Output::KeySecret)]);
            let by_name = self.written.create.as_ref().is_some_and(|create| create.id == Some(OwnId::Name));
            if extracted.contains(&"id") || by_name {
                output.insert("apiKeyId".to_owned(), Output::KeyId);
            }
            return output;
        };
        let mut output = BTreeMap::new();
        for (field, source) in written {
            let path = format!("output.{field}");
            let taken = self
                .written
                .vars
                .iter()
                .any(|(name, var)| var.from == VarSource::Secret && var.field.as_ref().unwrap_or(name) == field);
            if taken || field == "issuer" || field == "rotation" {
                self.problem(&path, "this field has another meaning; choose another name");
            }
            let parsed = match source.as_str() {
                "key.secret" => Output::KeySecret,
                "key.id" => Output::KeyId,
                "previous.secret" => Output::PreviousSecret,
                "time" => Output::Time,
                other => match other.strip_prefix("key.").filter(|name| extracted.contains(name)) {
                    Some(name) => Output::KeyField(name.to_owned()),
                    None => {
                        self.problem(&path, format!("expected key.secret, key.id, key. and a name under `extract`, previous.secret or time; found `{source}`"));
                        continue;
                    }
                },
            };
            output.insert(field.clone(), parsed);
        }
        let mints = matches!(self.written.strategy, Strategy::CreateRevoke | Strategy::RevokeCreate);
        let mints = mints && !self.key_is_id();
        if self.key_is_id() && output.values().any(|output| *output == Output::KeyId) {
            self.problem("output", "expected no key.id: the key is its own id");
        }
        for (needed, name) in [(true, Output::KeySecret), (mints, Output::KeyId)] {
            if needed && !output.values().any(|output| *output == name) {
                let name = if name == Output::KeyId { "key.id" } else { "key.secret" };
                self.problem("output", format!("expected a field for {name}"));
            }
        }
        output
    }
}
