//! How to rotate the keys of one issuer, checked and ready to use.

mod compile;
pub mod expect;
mod read;
pub mod template;
mod var;
pub mod when;
pub mod written;

pub use read::{Problem, read};
pub use written::{Admin, As, Checksum, From, SendClient, Strategy, ValueKind, VarKind};

use crate::description::expect::Expected;
use crate::description::template::{Scope, Template};
use rotation::Result;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An issuer of keys. Made by [`read`] alone, so that what is here makes sense.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// What a secret says under `issuer`.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// The documentation that the description was written from.
    pub sources: Vec<String>,
    /// What was not checked against the live service.
    pub unchecked: String,
    /// What can go wrong that no function can prevent.
    pub risk: Option<String>,
    /// The order of things.
    pub strategy: Strategy,
    /// Who manages the keys.
    pub admin: Admin,
    /// How long a superseded key lives; `None`: until the next rotation.
    pub grace: Option<Duration>,
    /// How long a new key lives, where the issuer is told it.
    pub lifetime: Option<Duration>,
    /// What differs between secrets.
    pub vars: BTreeMap<String, Var>,
    /// The secret's fields and what goes there.
    pub output: BTreeMap<String, Output>,
    /// Where it is.
    pub http: Option<Http>,
    /// As whom who manages keys calls.
    pub admin_auth: Option<Auth>,
    /// As whom who has the key calls.
    pub key_auth: Option<Auth>,
    /// Lists keys.
    pub find: Option<Find>,
    /// Makes a key.
    pub create: Option<Create>,
    /// Exchanges a key.
    pub roll: Option<Roll>,
    /// Tells the issuer a value.
    pub set: Option<Set>,
    /// What a value that is made here looks like.
    pub value: Option<KeyValue>,
    /// Tries a key.
    pub verify: Option<Verify>,
    /// Ends a key.
    pub revoke: Vec<Revoke>,
}

/// What a rotation writes into a field of the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// `key.secret`
    KeySecret,
    /// `key.id`
    KeyId,
    /// `key.X`
    KeyField(String),
    /// `previous.secret`: the key before, for those who check keys themselves.
    PreviousSecret,
    /// `time`: that of the rotation, RFC 3339.
    Time,
}

/// A variable.
#[derive(Clone, Debug)]
pub struct Var {
    /// Which secret has it.
    pub from: From,
    /// Under which field.
    pub field: String,
    /// Where the field is absent.
    pub default: Option<Value>,
    /// All values that are allowed.
    pub one_of: Option<Vec<String>>,
    /// What the whole value matches, as written.
    pub pattern: Option<(String, regex_lite::Regex)>,
    /// What it is.
    pub kind: VarKind,
    /// For people.
    pub description: Option<String>,
}

/// Where the issuer is.
#[derive(Clone, Debug)]
pub struct Http {
    /// What all paths follow.
    pub base: Place,
    /// Hosts that calls may go to; empty: those that the description itself names.
    pub hosts: Vec<String>,
    /// Sent with every call.
    pub headers: Vec<(String, Template)>,
}

/// An address, in the parts that are escaped differently.
#[derive(Clone, Debug)]
pub struct Place {
    /// Host, and perhaps a port.
    pub host: Template,
    /// The path, which is empty or begins with `/`.
    pub path: Template,
}

/// A way to authenticate.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Headers.
    pub headers: Vec<(String, Template)>,
    /// And one of these.
    pub scheme: Option<Scheme>,
}

impl Auth {
    fn templates(&self) -> Vec<&Template> {
        let mut templates: Vec<_> = self.headers.iter().map(|(_, value)| value).collect();
        match &self.scheme {
            None => {}
            Some(Scheme::Bearer(token)) => templates.push(token),
            Some(Scheme::Basic(basic)) => templates.extend([&basic.user, &basic.password]),
            Some(Scheme::OAuth2 { token, client }) => {
                templates.extend(token.templates());
                templates.extend([&client.client_id, &client.client_secret]);
                templates.extend(client.scope.iter().chain(&client.audience));
            }
            Some(Scheme::SigV4(sigv4)) => {
                templates.extend([&sigv4.service, &sigv4.region, &sigv4.access_key_id, &sigv4.secret_access_key]);
                templates.extend(&sigv4.session_token);
            }
        }
        templates
    }
}

impl Call {
    fn templates(&self) -> Vec<&Template> {
        let mut templates = self.target.templates();
        templates.extend(self.query.iter().chain(&self.headers).map(|(_, value)| value));
        match &self.body {
            Body::None => {}
            Body::Json(tree) | Body::GraphQl { variables: tree, .. } => tree.collect(&mut templates),
            Body::Form(fields) => templates.extend(fields.iter().map(|(_, value)| value)),
        }
        templates
    }
}

impl Target {
    fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Path(path) => vec![path],
            Self::Url(place) => vec![&place.host, &place.path],
        }
    }
}

impl Tree {
    fn collect<'a>(&'a self, templates: &mut Vec<&'a Template>) {
        match self {
            Self::Plain(_) => {}
            Self::Text(template) => templates.push(template),
            Self::Array(items) => items.iter().for_each(|item| item.collect(templates)),
            Self::Object(fields) => fields.iter().for_each(|(_, field)| field.collect(templates)),
        }
    }
}

/// A scheme of authentication.
#[derive(Clone, Debug)]
pub enum Scheme {
    /// RFC 6750.
    Bearer(Template),
    /// RFC 7617.
    Basic(written::Basic),
    /// RFC 6749, section 4.4.
    OAuth2 {
        /// The token endpoint.
        token: Target,
        /// The rest.
        client: written::OAuth2,
    },
    /// AWS Signature Version 4.
    SigV4(written::SigV4),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it is for, as in the description: `create`, `revoke[1]` …
    pub what: String,
    /// As whom.
    pub role: As,
    /// GET, POST …
    pub method: &'static str,
    /// Where to.
    pub target: Target,
    /// The query's parameters.
    pub query: Vec<(String, Template)>,
    /// Headers.
    pub headers: Vec<(String, Template)>,
    /// The body.
    pub body: Body,
    /// For how long it may take.
    pub timeout: Duration,
}

/// Where a call goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// A path below the base.
    Path(Template),
    /// A whole address.
    Url(Place),
}

/// What a call carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing.
    None,
    /// A tree whose strings are templates.
    Json(Tree),
    /// Fields.
    Form(Vec<(String, Template)>),
    /// A query and its variables.
    GraphQl {
        /// Without places.
        query: String,
        /// Templates.
        variables: Tree,
    },
}

/// JSON with templates for strings.
#[derive(Clone, Debug)]
pub enum Tree {
    /// A number, a boolean, null.
    Plain(Value),
    /// A string.
    Text(Template),
    /// An array.
    Array(Vec<Tree>),
    /// An object.
    Object(Vec<(String, Tree)>),
}

/// A place in a JSON document (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(String);

impl Pointer {
    /// Reads `text`.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let tildes = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
        if (text.is_empty() || text.starts_with('/')) && tildes {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("expected a JSON pointer, which begins with `/` or is empty, found `{text}`"))
    }

    /// What is there.
    pub fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        value.pointer(&self.0)
    }

    /// The text there; a number's digits, too, as some issuers' ids are numbers.
    pub fn text(&self, value: &Value) -> Option<String> {
        match self.of(value)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an answer may look like: any of several.
#[derive(Clone, Debug)]
pub struct Answers(pub Vec<Answer>);

/// What an answer looks like.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Lowest and highest status, each included.
    pub status: Vec<(u16, u16)>,
    /// What is where.
    pub fields: Vec<(Pointer, Expected)>,
}

impl Answers {
    /// Whether an answer is one of these.
    ///
    /// # Errors
    /// Those of [`Expected::holds`].
    pub fn hold(&self, status: u16, body: Option<&Value>, scope: &Scope<'_>) -> Result<bool> {
        for answer in &self.0 {
            if answer.holds(status, body, scope)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Answer {
    fn holds(&self, status: u16, body: Option<&Value>, scope: &Scope<'_>) -> Result<bool> {
        if !self.status.iter().any(|(low, high)| (*low..=*high).contains(&status)) {
            return Ok(false);
        }
        for (place, expected) in &self.fields {
            // What is no JSON has no places: a `where` about it holds for nothing, not for "absent".
            let Some(body) = body else { return Ok(false) };
            if !expected.holds(place.of(body), scope)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

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
    pub ok: Answers,
}

/// Makes a key.
#[derive(Clone, Debug)]
pub struct Create {
    /// What has to be done right before.
    pub before: Vec<Before>,
    /// The request.
    pub call: Call,
    /// Success.
    pub ok: Answers,
    /// Too many keys.
    pub limit: Option<Answers>,
    /// Where the key is.
    pub extract: BTreeMap<String, Pointer>,
}

/// Exchanges a key.
#[derive(Clone, Debug)]
pub struct Roll {
    /// The request.
    pub call: Call,
    /// Success.
    pub ok: Answers,
    /// There is no such key any more.
    pub gone: Option<Answers>,
    /// Where the new one is.
    pub extract: BTreeMap<String, Pointer>,
}

/// Tells the issuer a value.
#[derive(Clone, Debug)]
pub struct Set {
    /// The request.
    pub call: Call,
    /// Success.
    pub ok: Answers,
}

/// Tries a key.
#[derive(Clone, Debug)]
pub struct Verify {
    /// The request.
    pub call: Call,
    /// The key works.
    pub works: Answers,
    /// The key is dead.
    pub rejected: Answers,
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
    pub done: Answers,
    /// It had ended before.
    pub gone: Answers,
}

/// What a value that is made here looks like.
#[derive(Clone, Debug)]
pub struct KeyValue {
    /// How it is drawn.
    pub kind: ValueKind,
    /// Bytes or characters.
    pub size: usize,
    /// For `characters`.
    pub alphabet: String,
    /// Put in front.
    pub prefix: String,
    /// Put at the end.
    pub checksum: Option<Checksum>,
}

impl KeyValue {
    /// Checks what somebody wrote.
    ///
    /// # Errors
    /// The mistakes.
    pub fn check(written: &written::KeyValue) -> Result<Self, Vec<Problem>> {
        compile::key_value(written)
    }
}

impl Issuer {
    /// Whether the issuer mints the keys and tells their ids: then they can be revoked one by one.
    pub fn mints(&self) -> bool {
        matches!(self.strategy, Strategy::CreateRevoke | Strategy::RevokeCreate)
    }

    /// Whether a key of ours is found again by its name.
    pub fn finds_by_name(&self) -> bool {
        self.find.as_ref().is_some_and(|find| find.name.is_some())
    }

    /// Whether a key can only work as the one of its id: it is the user of Basic authentication.
    pub fn signs_in_with_id(&self) -> bool {
        let scheme = self.key_auth.as_ref().and_then(|auth| auth.scheme.as_ref());
        matches!(scheme, Some(Scheme::Basic(basic)) if basic.user.only_place() == Some(&template::Place::KeyId))
    }

    /// Whether a key that works is known to be the one of its id.
    pub fn tells_identity(&self) -> bool {
        let by_key = self.verify.as_ref().filter(|verify| verify.call.role == As::Key);
        by_key.is_some_and(|verify| verify.identity.is_some() || self.signs_in_with_id())
    }

    /// The field of the secret that holds the key.
    pub fn key_field(&self) -> &str {
        let key = self.output.iter().find(|(_, output)| **output == Output::KeySecret);
        key.map_or("apiKey", |(field, _)| field.as_str())
    }

    /// Everything that is filled in anywhere.
    pub fn places(&self) -> impl Iterator<Item = &template::Place> {
        let auths = self.admin_auth.iter().chain(&self.key_auth).flat_map(Auth::templates);
        let headers = self.http.iter().flat_map(|http| http.headers.iter().map(|(_, value)| value));
        let base = self.http.iter().flat_map(|http| [&http.base.host, &http.base.path]);
        auths.chain(headers).chain(base).chain(self.calls().flat_map(Call::templates)).flat_map(Template::places)
    }

    /// The variables that say where a key is, as opposed to what it is like: those in addresses and credentials.
    pub fn place_vars(&self) -> BTreeSet<&str> {
        let auths = self.admin_auth.iter().chain(&self.key_auth).flat_map(Auth::templates);
        let base = self.http.iter().flat_map(|http| [&http.base.host, &http.base.path]);
        let targets = self.calls().flat_map(|call| call.target.templates());
        // What is looked for says which keys are found.
        let find = self.find.iter().flat_map(|find| {
            let expected = find.fields.iter().flat_map(|(_, expected)| expected.templates());
            find.call.templates().into_iter().chain(expected)
        });
        let places = auths.chain(base).chain(targets).chain(find).flat_map(Template::places);
        places
            .filter_map(|place| if let template::Place::Var(name) = place { Some(name.as_str()) } else { None })
            .collect()
    }

    /// All calls, in the order of a rotation.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        let find = self.find.iter().map(|find| &find.call);
        let create = self
            .create
            .iter()
            .flat_map(|create| create.before.iter().map(|before| &before.call).chain(std::iter::once(&create.call)));
        let roll = self.roll.iter().map(|roll| &roll.call);
        let set = self.set.iter().map(|set| &set.call);
        let verify = self.verify.iter().map(|verify| &verify.call);
        find.chain(create).chain(roll).chain(set).chain(verify).chain(self.revoke.iter().map(|revoke| &revoke.call))
    }
}
