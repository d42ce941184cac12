//! Turns a description as written into one that makes sense, or lists why it does not.

use super::written::{self, Admin, Description, Strategy};
use super::{
    Answer, Answers, As, Auth, Before, Body, Call, Create, CursorInto, Find, From, Http, Issuer, KeyValue, Output,
    Pages, Place, Pointer, Problem, Revoke, Roll, Scheme, Set, Target, Tree, ValueKind, Var, VarKind, Verify,
};
use crate::expect::Expected;
use crate::template::{self, Template};
use crate::when::Length;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// One call. A step has 30 s by default, and more than one call.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// Lambda ends every step after 15 minutes.
const MAX_POLL: Duration = Duration::from_secs(600);
/// Polls of several keys at once are still no load.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// 128 bits: what nobody guesses. A quarter of the bytes of a JWT secret.
const MIN_BYTES: usize = 16;
const MAX_SIZE: usize = 4096;

pub(super) fn compile(written: &Description) -> Result<Issuer, Vec<Problem>> {
    let mut it = Compiler { written, problems: Vec::new() };
    let issuer = it.issuer();
    let used = issuer.places().any(|place| matches!(place, template::Place::Admin(_)));
    if issuer.admin == Admin::Secret && !used && it.problems.is_empty() {
        it.problem(
            "admin",
            "no call fills in a field of the admin secret: expected `{{admin.…}}` somewhere, or `admin: self`",
        );
    }
    if it.problems.is_empty() { Ok(issuer) } else { Err(it.problems) }
}

pub(super) fn key_value(written: &written::KeyValue) -> Result<KeyValue, Vec<Problem>> {
    let mut problems = Vec::new();
    let value = value_of(written, &mut |field, message| {
        problems.push(Problem { path: format!("value.{field}"), message });
    });
    if problems.is_empty() { Ok(value) } else { Err(problems) }
}

struct Compiler<'a> {
    written: &'a Description,
    problems: Vec<Problem>,
}

/// What may be filled in where.
#[derive(Clone, Copy)]
struct Allowed {
    admin: bool,
    key_id: bool,
    key_secret: bool,
    name: bool,
    grace: bool,
    lifetime: bool,
    /// Whether a JSON tree can stand here.
    json: bool,
}

/// The most that a call as this one may fill in.
const NOTHING: Allowed =
    Allowed { admin: false, key_id: false, key_secret: false, name: false, grace: false, lifetime: false, json: false };

impl<'a> Compiler<'a> {
    fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), message: message.into() });
    }

    fn issuer(&mut self) -> Issuer {
        let written = self.written;
        self.names();
        self.strategy();
        let http = self.http();
        let vars = self.vars();
        let admin_auth = written.auth.admin.as_ref().map(|auth| self.auth("auth.admin", auth, self.by_admin()));
        let key_auth = written.auth.key.as_ref().map(|auth| {
            let allowed = Allowed { key_id: true, key_secret: true, ..NOTHING };
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
            value: self.value(),
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

    /// Which parts a strategy needs, and which make no sense with it.
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
        if written.value.is_some() && !matches!(strategy, SetValue | Generate) {
            self.problem("value", "not used by this strategy: the issuer makes the key");
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

    /// A key that is replaced by its id with the admin's rights has to be the one that the secret's writer has.
    fn identity(&mut self) {
        let written = self.written;
        let calls = written.roll.iter().map(written::Roll::call).chain(written.set.iter().map(written::Set::call));
        let targets = calls.flat_map(|call| call.targets.into_iter().filter_map(|(_, target)| target));
        let by_id = targets.flat_map(Template::places).any(|place| *place == template::Place::KeyId);
        let told = written.verify.as_ref().is_some_and(|verify| verify.identity.is_some());
        let signs_in = written.auth.key.as_ref().and_then(|auth| auth.basic.as_ref());
        let signs_in = signs_in.is_some_and(|basic| basic.user.only_place() == Some(&template::Place::KeyId));
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

    fn by_admin(&self) -> Allowed {
        match self.written.admin {
            Admin::Secret => Allowed { admin: true, ..NOTHING },
            _ => NOTHING,
        }
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
            if var.from == From::Admin && self.written.admin != Admin::Secret {
                self.problem(format!("{path}.from"), "there is no admin secret: `admin` is not `secret`");
            }
            let compiled = Var {
                from: var.from,
                field: var.field.clone().unwrap_or_else(|| name.clone()),
                default: var.default.clone(),
                one_of: var.one_of.clone(),
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
            if extracted.contains(&"id") {
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
                .any(|(name, var)| var.from == From::Secret && var.field.as_ref().unwrap_or(name) == field);
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
        for (needed, name) in [(true, Output::KeySecret), (mints, Output::KeyId)] {
            if needed && !output.values().any(|output| *output == name) {
                let name = if name == Output::KeyId { "key.id" } else { "key.secret" };
                self.problem("output", format!("expected a field for {name}"));
            }
        }
        output
    }

    fn extracted(&self) -> Vec<&'a str> {
        let written = self.written;
        let create = written.create.iter().flat_map(|create| create.extract.keys());
        let roll = written.roll.iter().flat_map(|roll| roll.extract.keys());
        create.chain(roll).map(String::as_str).collect()
    }

    fn http(&mut self) -> Option<Http> {
        let http = self.written.http.as_ref()?;
        for host in &http.hosts {
            let name = host.strip_prefix("*.").unwrap_or(host);
            let sound = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
            if !sound || (host.starts_with("*.") && !name.contains('.')) {
                self.problem("http.hosts", format!("expected a host name, or `*.` and a domain; found `{host}`"));
            }
        }
        let base = self.place("http.base", &http.base, false);
        self.timeout("http.timeout", http.timeout);
        let allowed = Allowed { key_id: false, ..self.by_admin() };
        Some(Http { base, hosts: http.hosts.clone(), headers: self.headers("http.headers", &http.headers, allowed) })
    }

    fn timeout(&mut self, path: &str, written: Option<Length>) -> Option<Duration> {
        let Length(time) = written?;
        if time.is_zero() || time > MAX_TIMEOUT {
            self.problem(path, "expected more than nothing and at most 30s");
        }
        Some(time)
    }

    /// An `https://` address, in host and path.
    fn place(&mut self, path: &str, written: &Template, secret_in_url: bool) -> Place {
        let text = written.to_string();
        let Some(rest) = text.strip_prefix("https://") else {
            self.problem(path, format!("expected an address that begins with `https://`, found `{text}`"));
            return Place { host: written.clone(), path: written.clone() };
        };
        let (host, tail) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len())).unwrap_or((rest, ""));
        if text.contains(['?', '#']) {
            self.problem(path, "expected no `?` and no `#`: parameters stand under `query`");
        }
        if host.contains('@') {
            self.problem(path, "expected no credential in an address");
        }
        let mut part = |text: &str| {
            Template::parse(text).unwrap_or_else(|mistake| {
                self.problems.push(Problem { path: path.to_owned(), message: mistake });
                written.clone()
            })
        };
        let (host, tail) = (part(host), part(tail.trim_end_matches('/')));
        if host.to_string().is_empty() {
            self.problem(path, "expected a host");
        }
        self.host(path, &host);
        self.filled(path, &tail, Allowed { key_id: true, ..NOTHING }, secret_in_url);
        Place { host, path: tail }
    }

    /// A secret's writer must not choose where an admin credential goes.
    fn host(&mut self, path: &str, host: &Template) {
        let free = |name: &String| {
            self.written.vars.get(name).is_some_and(|var| var.from == From::Secret && var.one_of.is_none())
        };
        let mut chosen_by_secret = false;
        let mut mistakes = Vec::new();
        for place in host.places() {
            match place {
                template::Place::Var(name) if self.written.vars.contains_key(name) => chosen_by_secret |= free(name),
                template::Place::Var(name) => mistakes.push(format!("there is no `vars.{name}`")),
                other => mistakes.push(format!("`{{{{{other}}}}}` cannot be in a host; only vars can")),
            }
        }
        if chosen_by_secret && self.written.http.as_ref().is_none_or(|http| http.hosts.is_empty()) {
            mistakes.push("whoever writes the secret chooses the host: limit it with `http.hosts`, with `oneOf` of the variable, or take it `from: admin`".to_owned());
        }
        for mistake in mistakes {
            self.problem(path, mistake);
        }
    }

    fn headers(
        &mut self,
        path: &str,
        written: &BTreeMap<String, Template>,
        allowed: Allowed,
    ) -> Vec<(String, Template)> {
        // Those that say where a message ends or to whom it goes are the HTTP library's (RFC 9110, section 7).
        const OWN: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "te"];
        for (name, value) in written {
            let path = format!("{path}.{name}");
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                self.problem(&path, "expected the name of a header");
            }
            if OWN.contains(&name.to_ascii_lowercase().as_str()) {
                self.problem(&path, "this header is not a description's to set");
            }
            self.filled(&path, value, allowed, true);
        }
        written.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Checks that a template fills in only what there is at that moment.
    fn filled(&mut self, path: &str, template: &Template, allowed: Allowed, secret_is_safe: bool) {
        for place in template.places() {
            let message = match place {
                template::Place::Var(name) if !self.written.vars.contains_key(name) => {
                    format!("there is no `vars.{name}`")
                }
                template::Place::KeyField(name) if !self.extracted().contains(&name.as_str()) => {
                    format!("`{{{{key.{name}}}}}` is not extracted from any answer")
                }
                template::Place::Admin(_) if !allowed.admin => match self.written.admin {
                    Admin::Secret => {
                        format!("`{{{{{place}}}}}` is not there in this call: it is for calls `as: admin`")
                    }
                    _ => format!("`{{{{{place}}}}}` is not there: `admin` is not `secret`"),
                },
                template::Place::KeyId if !allowed.key_id => "`{{key.id}}` is not there in this call".to_owned(),
                template::Place::KeySecret | template::Place::KeyField(_) if !allowed.key_secret => {
                    format!("`{{{{{place}}}}}` is not there in this call")
                }
                template::Place::Var(name) if !allowed.json && self.is_json(name) => {
                    format!("`{{{{{place}}}}}` is JSON, and can only be the whole of a string in a `json` body")
                }
                template::Place::Name if !allowed.name => {
                    "`{{name}}` is not there in this call: it is for `create`".to_owned()
                }
                template::Place::Grace(_) if !allowed.grace => {
                    format!("`{{{{{place}}}}}` is not there in this call: it is for `roll` with a `grace`")
                }
                template::Place::Lifetime(_) if !allowed.lifetime || self.written.lifetime.is_none() => {
                    format!(
                        "`{{{{{place}}}}}` is not there in this call: it is for `create` and `roll` with a `lifetime`"
                    )
                }
                _ => continue,
            };
            self.problem(path, message);
        }
        if template.is_secret() && !secret_is_safe {
            self.problem(path, format!("`{template}` would put a secret into a URL, where proxies and logs see it; if the issuer leaves no other way, say `secretInUrl: true`"));
        }
    }

    fn is_json(&self, var: &str) -> bool {
        self.written.vars.get(var).is_some_and(|var| var.kind == VarKind::Json)
    }

    fn auth(&mut self, path: &str, written: &written::Auth, allowed: Allowed) -> Auth {
        let headers = self.headers(&format!("{path}.headers"), &written.headers, allowed);
        let mut schemes = Vec::new();
        if let Some(token) = &written.bearer {
            self.filled(&format!("{path}.bearer"), token, allowed, true);
            schemes.push(Scheme::Bearer(token.clone()));
        }
        if let Some(basic) = &written.basic {
            self.filled(&format!("{path}.basic.user"), &basic.user, allowed, true);
            self.filled(&format!("{path}.basic.password"), &basic.password, allowed, true);
            schemes.push(Scheme::Basic(basic.clone()));
        }
        if let Some(client) = &written.oauth2 {
            let path = format!("{path}.oauth2");
            let token = self.target(&format!("{path}.token"), &client.token, allowed, false);
            let parts = [
                ("clientId", Some(&client.client_id)),
                ("clientSecret", Some(&client.client_secret)),
                ("scope", client.scope.as_ref()),
                ("audience", client.audience.as_ref()),
            ];
            for (part, template) in parts {
                if let Some(template) = template {
                    self.filled(&format!("{path}.{part}"), template, allowed, true);
                }
            }
            schemes.push(Scheme::OAuth2 { token, client: client.clone() });
        }
        if let Some(sigv4) = &written.sigv4 {
            let parts = [
                ("service", Some(&sigv4.service)),
                ("region", Some(&sigv4.region)),
                ("accessKeyId", Some(&sigv4.access_key_id)),
                ("secretAccessKey", Some(&sigv4.secret_access_key)),
                ("sessionToken", sigv4.session_token.as_ref()),
            ];
            for (part, template) in parts {
                if let Some(template) = template {
                    self.filled(&format!("{path}.sigv4.{part}"), template, allowed, true);
                }
            }
            schemes.push(Scheme::SigV4(sigv4.clone()));
        }
        if schemes.len() > 1 || (schemes.is_empty() && headers.is_empty()) {
            self.problem(path, "expected `headers`, or one of `bearer`, `basic`, `oauth2` and `sigv4`");
        }
        Auth { headers, scheme: schemes.pop() }
    }

    fn target(&mut self, path: &str, written: &Template, allowed: Allowed, secret_in_url: bool) -> Target {
        if written.start().starts_with('/') {
            if written.to_string().contains(['?', '#']) {
                self.problem(path, "expected no `?` and no `#`: parameters stand under `query`");
            }
            self.filled(path, written, allowed, secret_in_url);
            return Target::Path(written.clone());
        }
        if !written.start().starts_with("https://") {
            self.problem(
                path,
                format!("expected a path, which begins with `/`, or an `https://` address; found `{written}`"),
            );
            return Target::Path(written.clone());
        }
        Target::Url(self.place(path, written, secret_in_url))
    }

    fn call(&mut self, what: &str, written: written::Call<'_>, default: As, mut allowed: Allowed) -> Call {
        let role = written.role.unwrap_or(default);
        match (role, self.written.admin) {
            (As::Admin, Admin::Secret) => {
                allowed.admin = true;
                if self.written.auth.admin.is_none() {
                    self.problem("auth.admin", format!("missing: `{what}` is a call `as: admin`"));
                }
            }
            (As::Admin, _) | (As::Key, _) => {
                allowed.key_secret |= role == As::Key;
                if self.written.auth.key.is_none() {
                    self.problem("auth.key", format!("missing: `{what}` is made with the key"));
                }
            }
            (As::None, _) => {}
        }
        let given: Vec<_> = written.targets.iter().filter_map(|(method, target)| Some((*method, (*target)?))).collect();
        let (method, target) = match given.as_slice() {
            [(method, target)] => {
                let path = format!("{what}.{}", method.to_ascii_lowercase());
                (*method, self.target(&path, target, allowed, written.secret_in_url))
            }
            _ => {
                self.problem(what, "expected exactly one of `get`, `post`, `put`, `patch` and `delete`");
                ("GET", Target::Path(Template::empty()))
            }
        };
        for (name, value) in written.query {
            self.filled(&format!("{what}.query.{name}"), value, allowed, written.secret_in_url);
        }
        let headers = self.headers(&format!("{what}.headers"), written.headers, allowed);
        let body = self.body(what, written, allowed);
        if method == "GET" && !matches!(body, Body::None) {
            self.problem(what, "expected no body with `get`");
        }
        let timeout = self.timeout(&format!("{what}.timeout"), written.timeout);
        let general = self.written.http.as_ref().and_then(|http| http.timeout).map(|Length(time)| time);
        Call {
            what: what.to_owned(),
            role,
            method,
            target,
            query: written.query.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            headers,
            body,
            timeout: timeout.or(general).unwrap_or(DEFAULT_TIMEOUT),
        }
    }

    fn body(&mut self, what: &str, written: written::Call<'_>, allowed: Allowed) -> Body {
        let mut bodies = Vec::new();
        if let Some(json) = written.json {
            bodies.push(Body::Json(self.tree(&format!("{what}.json"), json, allowed)));
        }
        if let Some(form) = written.form {
            for (name, value) in form {
                self.filled(&format!("{what}.form.{name}"), value, allowed, true);
            }
            bodies.push(Body::Form(form.iter().map(|(name, value)| (name.clone(), value.clone())).collect()));
        }
        if let Some(graphql) = written.graphql {
            if graphql.query.contains("{{")
                && graphql.query.contains("}}")
                && Template::parse(&graphql.query).is_ok_and(|it| it.places().next().is_some())
            {
                self.problem(format!("{what}.graphql.query"), "nothing is filled in here: give values as `variables`");
            }
            let variables = self.tree(&format!("{what}.graphql.variables"), &graphql.variables, allowed);
            bodies.push(Body::GraphQl { query: graphql.query.clone(), variables });
        }
        if bodies.len() > 1 {
            self.problem(what, "expected at most one of `json`, `form` and `graphql`");
        }
        bodies.pop().unwrap_or(Body::None)
    }

    fn tree(&mut self, path: &str, value: &Value, allowed: Allowed) -> Tree {
        match value {
            Value::String(text) => match Template::parse(text) {
                Ok(template) => {
                    let allowed = Allowed { json: template.only_place().is_some(), ..allowed };
                    self.filled(path, &template, allowed, true);
                    Tree::Text(template)
                }
                Err(mistake) => {
                    self.problem(path, mistake);
                    Tree::Plain(Value::Null)
                }
            },
            Value::Array(items) => {
                let items = items.iter().enumerate();
                Tree::Array(items.map(|(at, item)| self.tree(&format!("{path}[{at}]"), item, allowed)).collect())
            }
            Value::Object(fields) => {
                let fields = fields.iter();
                Tree::Object(
                    fields
                        .map(|(name, field)| (name.clone(), self.tree(&format!("{path}.{name}"), field, allowed)))
                        .collect(),
                )
            }
            plain => Tree::Plain(plain.clone()),
        }
    }

    fn pointer(&mut self, path: &str, text: &str) -> Pointer {
        Pointer::parse(text).unwrap_or_else(|message| {
            self.problem(path, message);
            Pointer(String::new())
        })
    }

    fn expectations(
        &mut self,
        path: &str,
        written: &BTreeMap<String, Expected>,
        allowed: Allowed,
    ) -> Vec<(Pointer, Expected)> {
        let mut compiled = Vec::new();
        for (place, expected) in written {
            for template in expected.templates() {
                self.filled(&format!("{path}.{place}"), template, allowed, false);
            }
            compiled.push((self.pointer(path, place), expected.clone()));
        }
        compiled
    }

    fn answers(&mut self, path: &str, written: &written::Answers, allowed: Allowed) -> Answers {
        let list = match written {
            written::Answers::One(one) => std::slice::from_ref(one),
            written::Answers::Any(any) => any.as_slice(),
        };
        if list.is_empty() || list.iter().any(|answer| answer.status.as_ref().is_some_and(Vec::is_empty)) {
            self.problem(path, "expected at least one");
        }
        let answers = list.iter().map(|answer| {
            let status = match &answer.status {
                None => vec![(200, 299)],
                Some(status) => status.iter().filter_map(|status| self.status(path, status)).collect(),
            };
            Answer { status, fields: self.expectations(&format!("{path}.where"), &answer.fields, allowed) }
        });
        Answers(answers.collect())
    }

    fn status(&mut self, path: &str, written: &written::Status) -> Option<(u16, u16)> {
        let range = match written {
            written::Status::Code(code) if (100..=599).contains(code) => Some((*code, *code)),
            written::Status::Code(_) => None,
            written::Status::Class(text) => {
                let digit = text.strip_suffix("xx").and_then(|digit| digit.parse::<u16>().ok());
                digit.filter(|digit| (1..=5).contains(digit)).map(|digit| (digit * 100, digit * 100 + 99))
            }
        };
        if range.is_none() {
            self.problem(format!("{path}.status"), "expected HTTP statuses, e.g. 204 or 2xx");
        }
        range
    }

    fn ok(&mut self, path: &str, written: Option<&written::Answers>, allowed: Allowed) -> Answers {
        match written {
            Some(written) => self.answers(path, written, allowed),
            None => Answers(vec![Answer { status: vec![(200, 299)], fields: Vec::new() }]),
        }
    }

    fn find(&mut self) -> Option<Find> {
        let find = self.written.find.as_ref()?;
        let allowed = NOTHING;
        let call = self.call("find", find.call(), As::Admin, allowed);
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
            written::Pages::Number { query, first } => Pages::Number { query: query.clone(), first: *first },
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
            complete: find.complete,
            pages,
        })
    }

    fn create(&mut self) -> Option<Create> {
        let create = self.written.create.as_ref()?;
        let allowed = Allowed { name: true, lifetime: true, ..NOTHING };
        let mut before = Vec::new();
        for (at, written) in create.before.iter().enumerate() {
            let what = format!("create.before[{at}]");
            let call = self.call(&what, written.call(), As::Admin, NOTHING);
            before.push(Before { call, ok: self.ok(&format!("{what}.ok"), written.ok.as_ref(), NOTHING) });
        }
        let call = self.call("create", create.call(), As::Admin, allowed);
        let ok = self.ok("create.ok", create.ok.as_ref(), allowed);
        let limit = create.limit.as_ref().map(|limit| self.answers("create.limit", limit, allowed));
        let extract = self.extract("create.extract", &create.extract, &["secret", "id"]);
        Some(Create { before, call, ok, limit, extract })
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

    fn roll(&mut self) -> Option<Roll> {
        let roll = self.written.roll.as_ref()?;
        let allowed =
            Allowed { key_id: true, grace: self.written.strategy == Strategy::RollGrace, lifetime: true, ..NOTHING };
        let call = self.call("roll", roll.call(), As::Admin, allowed);
        let ok = self.ok("roll.ok", roll.ok.as_ref(), allowed);
        let gone = roll.gone.as_ref().map(|gone| self.answers("roll.gone", gone, allowed));
        let extract = self.extract("roll.extract", &roll.extract, &["secret"]);
        Some(Roll { call, ok, gone, extract })
    }

    fn set(&mut self) -> Option<Set> {
        let set = self.written.set.as_ref()?;
        let allowed = Allowed { key_id: true, key_secret: true, ..NOTHING };
        let call = self.call("set", set.call(), As::Admin, allowed);
        Some(Set { call, ok: self.ok("set.ok", set.ok.as_ref(), allowed) })
    }

    fn verify(&mut self) -> Option<Verify> {
        let verify = self.written.verify.as_ref()?;
        let allowed = Allowed { key_id: true, key_secret: true, ..NOTHING };
        let call = self.call("verify", verify.call(), As::Key, allowed);
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

    fn revoke(&mut self) -> Vec<Revoke> {
        let allowed = Allowed { key_id: true, ..NOTHING };
        let mut compiled = Vec::new();
        for (at, revoke) in self.written.revoke.iter().enumerate() {
            let what = format!("revoke[{at}]");
            let call = self.call(&what, revoke.call(), As::Admin, allowed);
            let done = self.ok(&format!("{what}.done"), revoke.done.as_ref(), allowed);
            let gone = match &revoke.gone {
                Some(gone) => self.answers(&format!("{what}.gone"), gone, allowed),
                None => Answers(vec![Answer { status: vec![(404, 404), (410, 410)], fields: Vec::new() }]),
            };
            compiled.push(Revoke { call, done, gone });
        }
        compiled
    }

    fn value(&mut self) -> Option<KeyValue> {
        let written = self.written.value.as_ref()?;
        let problems = &mut self.problems;
        Some(value_of(written, &mut |field, message| {
            problems.push(Problem { path: format!("value.{field}"), message });
        }))
    }
}

fn value_of(written: &written::KeyValue, problem: &mut dyn FnMut(&str, String)) -> KeyValue {
    let by_bytes = matches!(written.kind, ValueKind::Hex | ValueKind::Base64 | ValueKind::Base64url);
    let (field, size, other, none) = if by_bytes {
        ("bytes", written.bytes, "length", written.length)
    } else {
        ("length", written.length, "bytes", written.bytes)
    };
    if none.is_some() {
        problem(other, format!("this kind has `{field}`"));
    }
    let size = size.unwrap_or_else(|| {
        problem(field, "missing: this kind needs it".to_owned());
        MIN_BYTES
    });
    if !(MIN_BYTES..=MAX_SIZE).contains(&size) {
        problem(field, format!("expected {MIN_BYTES} to {MAX_SIZE}"));
    }
    let alphabet = written.alphabet.clone().unwrap_or_default();
    match (written.kind, &written.alphabet) {
        (ValueKind::Characters, _) => {
            let mut letters: Vec<char> = alphabet.chars().collect();
            let all = letters.len();
            letters.sort_unstable();
            letters.dedup();
            let sound = letters.len() == all && alphabet.chars().all(|c| c.is_ascii_graphic()) && all >= 10;
            if !sound {
                problem(
                    "alphabet",
                    "expected at least 10 different printable ASCII characters without space".to_owned(),
                );
            }
        }
        (_, Some(_)) => problem("alphabet", "only for the kind `characters`".to_owned()),
        (_, None) => {}
    }
    if !written.prefix.chars().all(|c| c.is_ascii_graphic()) || written.prefix.len() > 64 {
        problem("prefix", "expected at most 64 printable ASCII characters without space".to_owned());
    }
    KeyValue { kind: written.kind, size, alphabet, prefix: written.prefix.clone(), checksum: written.checksum }
}

impl Var {
    /// A value, if it is one that this variable may have; else what was expected.
    pub fn read(&self, value: &Value) -> Result<template::Value, String> {
        let text = match (value, self.kind) {
            // For an issuer, nothing may mean everything: only a description's author can know.
            (value, VarKind::Json) if is_empty(value) && self.default.as_ref() != Some(value) => {
                return Err("JSON that is not empty".to_owned());
            }
            (value, VarKind::Json) => return Ok(template::Value::Json(value.clone())),
            (Value::String(text), _) => text.clone(),
            (Value::Number(number), _) => number.to_string(),
            _ => return Err("text or a whole number".to_owned()),
        };
        if let Some(one_of) = &self.one_of
            && !one_of.contains(&text)
        {
            return Err(format!("one of {}", one_of.join(", ")));
        }
        if let Some((pattern, compiled)) = &self.pattern
            && !compiled.is_match(&text)
        {
            return Err(format!("text like {pattern}"));
        }
        match self.kind {
            VarKind::Integer => text.parse().map(template::Value::Integer).map_err(|_| "a whole number".to_owned()),
            _ if text.is_empty() => Err("text that is not empty".to_owned()),
            _ => Ok(template::Value::Text(text)),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
