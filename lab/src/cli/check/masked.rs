//! The requests of a rotation, with names in place of values. No secret can show, because none is there: the requests are made with
//! marks, and at the end each mark is replaced by its name.

use api_key::description::{
    Auth, Call, Expiry, Issuer, Key, Output, Placeholder, Role, Scheme, Scope, Strategy, VarKind, VarValue,
};
use api_key::http::request::{Request, auth, authenticate, request, token_request};
use api_key::target::key_secret::admin_names;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rotation::Error;
use rotation::secret::SecretText;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Where a description leaves a time to the secret.
const EXAMPLE_TIME: Duration = Duration::from_secs(24 * 60 * 60);
/// The time of every signature.
const NO_TIME: Duration = Duration::ZERO;

/// A request that would be sent.
pub(super) struct Masked {
    pub(super) step: &'static str,
    /// `create`, `revoke[0]` …, as in the description.
    pub(super) what: String,
    /// The key that it is sent with, or its occasion.
    pub(super) remark: &'static str,
    pub(super) method: &'static str,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<String>,
}

/// All requests, in the order of a rotation.
pub(super) fn requests(issuer: &Issuer) -> Result<Vec<Masked>, Error> {
    let filler = Filler::new(issuer);
    let mut requests = Vec::new();
    let mut has_token = None;
    for Planned { step, call, remark } in plan(issuer) {
        let token = filler.token(step, call)?;
        // The admin's token is kept for the step. A key's token is requested for each use, as this tries the key.
        let kept = call.role == Role::Admin && has_token == Some(step);
        if call.role == Role::Admin && token.is_some() {
            has_token = Some(step);
        }
        requests.extend(token.filter(|_| !kept));
        requests.push(filler.call(step, call, remark)?);
    }
    Ok(requests)
}

struct Planned<'a> {
    step: &'static str,
    call: &'a Call,
    remark: &'static str,
}

const CREATE: &str = "createSecret";
const SET: &str = "setSecret";
const TEST: &str = "testSecret";
const FINISH: &str = "finishSecret";

/// When the current key is tried.
const FIRST: &str = "the current key, if no rotation has proved whose it is";

fn plan(issuer: &Issuer) -> Vec<Planned<'_>> {
    let mut plan = Vec::new();
    let mut add = |step, call, remark| plan.push(Planned { step, call, remark });
    let verify = issuer.verify.as_ref().map(|verify| &verify.call);
    let revoke = || issuer.revoke.iter().map(|revoke| &revoke.call);
    if let Some(find) = &issuer.find {
        add(CREATE, &find.call, if find.pages.is_some() { "again for each further page" } else { "" });
    }
    match issuer.strategy {
        Strategy::CreateRevoke | Strategy::RevokeCreate => {
            if tells_whose(issuer) {
                verify.into_iter().for_each(|call| add(CREATE, call, FIRST));
            }
            if issuer.strategy == Strategy::RevokeCreate {
                revoke().for_each(|call| add(CREATE, call, "the key before the current one"));
            }
            if let Some(create) = &issuer.create {
                let (step, remark) = match issuer.creates_stored_keys() {
                    true => (SET, "the new key, which is stored by now"),
                    false => (CREATE, ""),
                };
                create.before.iter().for_each(|before| add(step, &before.call, "right before the next"));
                add(step, &create.call, remark);
                create.after.iter().for_each(|after| add(step, &after.call, "the new key"));
            }
        }
        Strategy::Roll | Strategy::RollGrace | Strategy::SetValue => {
            verify.into_iter().for_each(|call| add(CREATE, call, FIRST));
            issuer.roll.iter().for_each(|roll| add(CREATE, &roll.call, "exchanges the current key"));
            issuer.set.iter().for_each(|set| add(SET, &set.call, "the new key"));
        }
        Strategy::Generate => {}
    }
    verify.into_iter().for_each(|call| add(TEST, call, "the new key, until it works"));
    verify.into_iter().for_each(|call| add(FINISH, call, "the new key"));
    if issuer.strategy == Strategy::CreateRevoke {
        revoke().for_each(|call| add(FINISH, call, "each key whose grace is over"));
    }
    plan
}

/// Whether a working key proves that it belongs to its id. Only then is a first key tried.
fn tells_whose(issuer: &Issuer) -> bool {
    let identity = issuer.verify.as_ref().is_some_and(|verify| verify.identity.is_some());
    identity
        || issuer.signs_in_with_id()
        || issuer.keys_are_ids()
        || issuer.find.as_ref().is_some_and(|find| find.complete)
}

/// Fills in marks.
struct Filler<'a> {
    issuer: &'a Issuer,
    marks: Marks,
    vars: BTreeMap<String, VarValue>,
    admin: BTreeMap<String, SecretText>,
    key: Key,
    name: String,
    name_prefix: String,
    token: SecretText,
}

impl<'a> Filler<'a> {
    fn new(issuer: &'a Issuer) -> Self {
        let mut marks = Marks::default();
        let admin = admin_names(issuer);
        let admin = admin.into_iter().map(|name| (name.clone(), marks.mark(&format!("admin.{name}")).into())).collect();
        let fields = key_fields(issuer);
        let fields = fields.into_iter().map(|name| (name.clone(), marks.mark(&format!("key.{name}")).into())).collect();
        let secret = marks.mark("key.secret");
        let id = if issuer.keys_are_ids() { secret.clone() } else { marks.mark("key.id") };
        let key = Key { id: Some(id), secret: Some(secret.into()), fields };
        let vars = vars(issuer, &mut marks);
        let (name, name_prefix) = (marks.mark("name"), marks.mark("namePrefix"));
        let token = marks.mark("token").into();
        Self { issuer, marks, vars, admin, key, name, name_prefix, token }
    }

    fn scope(&self) -> Scope<'_> {
        let Self { issuer, vars, admin, key, name, name_prefix, .. } = self;
        let end = |time: Option<Duration>| Some(Expiry::after(time.unwrap_or(EXAMPLE_TIME)));
        let (grace, lifetime) = (end(issuer.grace), end(issuer.lifetime));
        Scope { vars, admin, key: Some(key), name: Some(name), name_prefix, grace, lifetime }
    }

    /// The request for the token that a call needs.
    fn token(&self, step: &'static str, call: &Call) -> Result<Option<Masked>, Error> {
        let Some(auth) = auth(self.issuer, call) else { return Ok(None) };
        let request = token_request(self.issuer, auth, &self.scope(), call.timeout)?;
        Ok(request.map(|request| self.masked(step, &request, "gives <token> for the next")))
    }

    fn call(&self, step: &'static str, call: &Call, remark: &'static str) -> Result<Masked, Error> {
        let scope = self.scope();
        let mut request = request(self.issuer, call, &scope)?;
        if let Some(auth) = auth(self.issuer, call) {
            if signs(auth) {
                // A signature hides the marks in it; see `Scheme::SigV4`.
                request.header("X-Amz-Date", "<time>".into());
                request.header("Authorization", "AWS4-HMAC-SHA256 <signature>".into());
            } else {
                authenticate(&mut request, auth, &scope, Some(&self.token), NO_TIME)?;
            }
        }
        Ok(self.masked(step, &request, remark))
    }

    fn masked(&self, step: &'static str, request: &Request, remark: &'static str) -> Masked {
        let written = |text: &str| self.marks.written(text);
        let mut headers: Vec<_> =
            request.headers.iter().map(|(name, value)| (name.clone(), self.header(value.expose()))).collect();
        if let Some((media, _)) = &request.body
            && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            headers.push(("Content-Type".to_owned(), (*media).to_owned()));
        }
        Masked {
            step,
            what: request.what.clone(),
            remark,
            method: request.method,
            url: written(&format!("https://{}{}", request.authority, request.path.expose())),
            headers,
            body: request.body.as_ref().map(|(_, body)| written(body.expose())),
        }
    }

    /// Marks cannot be seen in what is encoded as a whole, as Basic credentials are (RFC 7617).
    fn header(&self, value: &str) -> String {
        let encoded = value.strip_prefix("Basic ").and_then(|encoded| BASE64_STANDARD.decode(encoded).ok());
        match encoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(credentials) => format!("Basic base64({})", self.marks.written(&credentials)),
            None => self.marks.written(value),
        }
    }
}

fn signs(auth: &Auth) -> bool {
    matches!(auth.scheme, Some(Scheme::SigV4(_)))
}

/// A variable's default, or a mark where it has none.
fn vars(issuer: &Issuer, marks: &mut Marks) -> BTreeMap<String, VarValue> {
    let value = |(name, var): (&String, &api_key::description::Var)| {
        let default = var.default.as_ref().and_then(|default| var.read(default).ok());
        let value = default.unwrap_or_else(|| {
            let mark = marks.mark_of(&format!("vars.{name}"), var.kind != VarKind::String);
            if var.kind == VarKind::Json { VarValue::Json(mark.into()) } else { VarValue::Text(mark) }
        });
        (name.clone(), value)
    };
    issuer.vars.iter().map(value).collect()
}

fn key_fields(issuer: &Issuer) -> BTreeSet<String> {
    let placeholders = issuer.placeholders().filter_map(|place| match place {
        Placeholder::KeyField(name) => Some(name.clone()),
        _ => None,
    });
    let outputs = issuer.output.values().filter_map(|output| match output {
        Output::KeyField(name) => Some(name.clone()),
        _ => None,
    });
    placeholders.chain(outputs).collect()
}

/// Texts that can stand in a host, a path, a header and a body as they are, and the names that they stand for.
#[derive(Default)]
struct Marks(Vec<Mark>);

struct Mark {
    mark: String,
    name: String,
    /// Stands in JSON without quotes.
    bare: bool,
}

impl Marks {
    fn mark(&mut self, name: &str) -> String {
        self.mark_of(name, false)
    }

    fn mark_of(&mut self, name: &str, bare: bool) -> String {
        // The last letter so that no mark begins another.
        let mark = format!("lockstepmark{}z", self.0.len());
        self.0.push(Mark { mark: mark.clone(), name: format!("<{name}>"), bare });
        mark
    }

    fn written(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, Mark { mark, name, bare }| {
            let text = if *bare { text.replace(&format!("\"{mark}\""), name) } else { text };
            text.replace(mark, name)
        })
    }
}
