//! Compiles requests: targets, headers, bodies and authentication.

use crate::description::compile::compiler::{Compiler, NOTHING, Offered};
use crate::description::{
    Address, Admin, Auth, Body, Call, FormValue, Http, JsonTemplate, Length, Placeholder, Problem, RequestTarget, Role,
    Scheme, Template, VarKind, VarSource, written, written::FormField,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A step has 30 s by default, and makes more than one call.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TIMEOUT: Duration = Duration::from_secs(30);

impl Compiler<'_> {
    pub(super) fn http(&mut self) -> Option<Http> {
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
        let allowed = Offered { key_id: false, ..self.by_admin() };
        Some(Http { base, hosts: http.hosts.clone(), headers: self.headers("http.headers", &http.headers, allowed) })
    }

    fn timeout(&mut self, path: &str, written: Option<Length>) -> Option<Duration> {
        let Length(time) = written?;
        if time.is_zero() || time > MAX_TIMEOUT {
            self.problem(path, "expected more than nothing and at most 30s");
        }
        Some(time)
    }

    /// Reads an `https://` address.
    fn place(&mut self, path: &str, written: &Template, secret_in_url: bool) -> Address {
        let text = written.to_string();
        let Some(rest) = text.strip_prefix("https://") else {
            self.problem(path, format!("expected an address that begins with `https://`, found `{text}`"));
            return Address { host: written.clone(), path: written.clone() };
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
        self.filled(path, &tail, Offered { key_id: true, ..NOTHING }, secret_in_url);
        Address { host, path: tail }
    }

    /// **Invariant:** the writer of a secret cannot choose the host that gets the admin's credential. Otherwise that writer could
    /// collect the credential. Test: `every_mistake_has_a_place_and_says_what_was_expected`.
    fn host(&mut self, path: &str, host: &Template) {
        let free = |name: &String| {
            let limited = |var: &written::Var| var.one_of.is_some() || var.map.is_some();
            self.written.vars.get(name).is_some_and(|var| var.from == VarSource::Secret && !limited(var))
        };
        let mut chosen_by_secret = false;
        let mut mistakes = Vec::new();
        for place in host.placeholders() {
            match place {
                Placeholder::Var(name) if self.written.vars.contains_key(name) => chosen_by_secret |= free(name),
                Placeholder::Var(name) => mistakes.push(format!("there is no `vars.{name}`")),
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
        allowed: Offered,
    ) -> Vec<(String, Template)> {
        // The HTTP library sets the headers for the host and the length of a message (RFC 9110, section 7).
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

    /// Checks that the call offers all placeholders of a template.
    pub(super) fn filled(&mut self, path: &str, template: &Template, allowed: Offered, secret_is_safe: bool) {
        for place in template.placeholders() {
            let message = match place {
                Placeholder::Var(name) if !self.written.vars.contains_key(name) => {
                    format!("there is no `vars.{name}`")
                }
                Placeholder::KeyField(name) if !self.extracted().contains(&name.as_str()) => {
                    format!("`{{{{key.{name}}}}}` is not extracted from any answer")
                }
                Placeholder::Admin(_) if !allowed.admin => match self.written.admin {
                    Admin::Secret => {
                        format!("`{{{{{place}}}}}` is not there in this call: it is for calls `as: admin`")
                    }
                    _ => format!("`{{{{{place}}}}}` is not there: `admin` is not `secret`"),
                },
                Placeholder::KeyId if self.key_is_id() && !path.starts_with("revoke") => {
                    "expected `{{key.secret}}`: the key is its own id".to_owned()
                }
                Placeholder::KeyId if !allowed.key_id => "`{{key.id}}` is not there in this call".to_owned(),
                Placeholder::KeyField(name) if allowed.unmade => {
                    format!("`{{{{key.{name}}}}}` is not there in this call: it is in the answer")
                }
                Placeholder::KeySecret | Placeholder::KeyField(_) if !allowed.key_secret => {
                    format!("`{{{{{place}}}}}` is not there in this call")
                }
                Placeholder::Var(name)
                    if !allowed.json && self.written.vars.get(name).is_some_and(|var| var.kind == VarKind::Json) =>
                {
                    format!(
                        "`{{{{{place}}}}}` is JSON, and can only be the whole of a string in a `json` body, or of a field in a `form`"
                    )
                }
                Placeholder::Name if !allowed.name => {
                    "`{{name}}` is not there in this call: it is for `create`".to_owned()
                }
                Placeholder::Grace(_) if !allowed.grace => {
                    format!("`{{{{{place}}}}}` is not there in this call: it is for `roll` with a `grace`")
                }
                Placeholder::Lifetime(_) if !allowed.lifetime || self.written.lifetime.is_none() => {
                    format!(
                        "`{{{{{place}}}}}` is not there in this call: it is for `create` and `roll` with a `lifetime`"
                    )
                }
                _ => continue,
            };
            self.problem(path, message);
        }
        let secret_id = self.key_is_id() && template.placeholders().any(|place| *place == Placeholder::KeyId);
        if (template.is_secret() || secret_id) && !secret_is_safe {
            self.problem(path, format!("`{template}` would put a secret into a URL, where proxies and logs see it; if the issuer leaves no other way, say `secretInUrl: true`"));
        }
    }

    fn all_filled(&mut self, path: &str, parts: &[(&str, Option<&Template>)], allowed: Offered) {
        for (part, template) in parts.iter().filter_map(|(part, template)| Some((part, (*template)?))) {
            self.filled(&format!("{path}.{part}"), template, allowed, true);
        }
    }

    pub(super) fn auth(&mut self, path: &str, written: &written::Auth, allowed: Offered) -> Auth {
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
            self.all_filled(&path, &parts, allowed);
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
            self.all_filled(&format!("{path}.sigv4"), &parts, allowed);
            schemes.push(Scheme::SigV4(sigv4.clone()));
        }
        if schemes.len() > 1 || (schemes.is_empty() && headers.is_empty()) {
            self.problem(path, "expected `headers`, or one of `bearer`, `basic`, `oauth2` and `sigv4`");
        }
        Auth { headers, scheme: schemes.pop() }
    }

    fn target(&mut self, path: &str, written: &Template, allowed: Offered, secret_in_url: bool) -> RequestTarget {
        if written.start().starts_with('/') {
            if written.to_string().contains(['?', '#']) {
                self.problem(path, "expected no `?` and no `#`: parameters stand under `query`");
            }
            self.filled(path, written, allowed, secret_in_url);
            return RequestTarget::Path(written.clone());
        }
        if !written.start().starts_with("https://") {
            self.problem(
                path,
                format!("expected a path, which begins with `/`, or an `https://` address; found `{written}`"),
            );
            return RequestTarget::Path(written.clone());
        }
        RequestTarget::Url(self.place(path, written, secret_in_url))
    }

    pub(super) fn call(&mut self, what: &str, written: written::Call<'_>, default: Role, mut allowed: Offered) -> Call {
        let role = written.role.unwrap_or(default);
        match (role, self.written.admin) {
            (Role::Admin, Admin::Secret) => {
                allowed.admin = true;
                if self.written.auth.admin.is_none() {
                    self.problem("auth.admin", format!("missing: `{what}` is a call `as: admin`"));
                }
            }
            (Role::Admin, _) | (Role::Key, _) => {
                allowed.key_secret |= role == Role::Key;
                if self.written.auth.key.is_none() {
                    self.problem("auth.key", format!("missing: `{what}` is made with the key"));
                }
            }
            (Role::None, _) => {}
        }
        let given: Vec<_> = written.targets.iter().filter_map(|(method, target)| Some((*method, (*target)?))).collect();
        let (method, target) = match given.as_slice() {
            [(method, target)] => {
                let path = format!("{what}.{}", method.to_ascii_lowercase());
                (*method, self.target(&path, target, allowed, written.secret_in_url))
            }
            _ => {
                self.problem(what, "expected exactly one of `get`, `post`, `put`, `patch` and `delete`");
                ("GET", RequestTarget::Path(Template::default()))
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

    fn body(&mut self, what: &str, written: written::Call<'_>, allowed: Offered) -> Body {
        let mut bodies = Vec::new();
        if let Some(json) = written.json {
            bodies.push(Body::Json(self.tree(&format!("{what}.json"), json, allowed)));
        }
        if let Some(form) = written.form {
            let fields = form.iter().map(|(name, value)| {
                let path = format!("{what}.form.{name}");
                let value = match value {
                    FormField::Text(template) => {
                        let allowed = Offered { json: template.only_placeholder().is_some(), ..allowed };
                        self.filled(&path, template, allowed, true);
                        FormValue::Text(template.clone())
                    }
                    FormField::Json(tree) => FormValue::Json(self.tree(&path, tree, allowed)),
                };
                (name.clone(), value)
            });
            bodies.push(Body::Form(fields.collect()));
        }
        if let Some(graphql) = written.graphql {
            if graphql.query.contains("{{")
                && graphql.query.contains("}}")
                && Template::parse(&graphql.query).is_ok_and(|it| it.placeholders().next().is_some())
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

    fn tree(&mut self, path: &str, value: &Value, allowed: Offered) -> JsonTemplate {
        match value {
            Value::String(text) => match Template::parse(text) {
                Ok(template) => {
                    let allowed = Offered { json: template.only_placeholder().is_some(), ..allowed };
                    self.filled(path, &template, allowed, true);
                    JsonTemplate::Text(template)
                }
                Err(mistake) => {
                    self.problem(path, mistake);
                    JsonTemplate::Plain(Value::Null)
                }
            },
            Value::Array(items) => {
                let items = items.iter().enumerate();
                JsonTemplate::Array(
                    items.map(|(at, item)| self.tree(&format!("{path}[{at}]"), item, allowed)).collect(),
                )
            }
            Value::Object(fields) => {
                let fields = fields.iter();
                JsonTemplate::Object(
                    fields
                        .map(|(name, field)| (name.clone(), self.tree(&format!("{path}.{name}"), field, allowed)))
                        .collect(),
                )
            }
            plain => JsonTemplate::Plain(plain.clone()),
        }
    }
}
