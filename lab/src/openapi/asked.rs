//! What a description asks of an issuer's API: its requests, and what it reads from the answers.

use super::path::Route;
use api_key::description::{
    Auth, Body, Call, CursorInto, Expected, FormValue, Issuer, JsonTemplate, Pages, Placeholder, Pointer, Predicate,
    Predicates, RequestTarget, Role, Scheme, SendClient, Template, VarKind,
};

/// A request of a description.
pub(super) struct Asked<'a> {
    /// `create`, `revoke[0]`, `auth.admin` …, as in the description.
    pub(super) what: String,
    pub(super) method: &'static str,
    /// The path as it is written.
    pub(super) path: String,
    pub(super) routes: Vec<Route>,
    pub(super) query: Vec<Field>,
    /// The names of the headers, in small letters.
    pub(super) headers: Vec<String>,
    /// The media type that is asked for, and the one that is sent.
    pub(super) accept: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) body: Sent<'a>,
    pub(super) answers: Vec<Answer>,
}

/// A name, and the text that is sent with it if that never changes.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) constant: Option<String>,
}

/// The body of a request.
pub(super) enum Sent<'a> {
    Nothing,
    Json(&'a JsonTemplate),
    /// The fields of a form, or of a flat object of text.
    Fields {
        fields: Vec<Field>,
        json: bool,
    },
}

/// A kind of answer that the description knows.
pub(super) struct Answer {
    /// `ok`, `rejected` …
    pub(super) name: &'static str,
    /// Whether the request has then done what it is for.
    pub(super) success: bool,
    /// Ranges, both ends included.
    pub(super) status: Vec<(u16, u16)>,
    pub(super) reads: Vec<Read>,
}

/// A place that is read in an answer.
#[derive(Clone)]
pub(super) struct Read {
    /// `create.extract.id` …
    pub(super) name: String,
    pub(super) pointer: String,
    pub(super) shape: Shape,
}

/// What has to be at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Any,
    List,
    /// Text or a number.
    Text,
}

/// All statuses of success.
pub(super) const SUCCESS: (u16, u16) = (200, 299);

/// All requests that a description can send. Requests in GraphQL are left out: no OpenAPI document describes them.
pub(super) fn asked(issuer: &Issuer) -> Vec<Asked<'_>> {
    let mut all = Vec::new();
    for (name, auth) in [("auth.admin", &issuer.admin_auth), ("auth.key", &issuer.key_auth)] {
        all.extend(auth.as_ref().and_then(|auth| token(issuer, name, auth)));
    }
    all.extend(listing(issuer));
    if let Some(create) = &issuer.create {
        for further in create.before.iter().chain(&create.after) {
            all.push(request(issuer, &further.call, answers("ok", true, &further.ok)));
        }
        let mut known = answers("ok", true, &create.ok);
        extracts(&mut known, "create", create.extract.iter());
        known.extend(create.limit.iter().flat_map(|limit| answers("limit", false, limit)));
        all.push(request(issuer, &create.call, known));
    }
    if let Some(roll) = &issuer.roll {
        let mut known = answers("ok", true, &roll.ok);
        extracts(&mut known, "roll", roll.extract.iter());
        known.extend(roll.gone.iter().flat_map(|gone| answers("gone", false, gone)));
        all.push(request(issuer, &roll.call, known));
    }
    if let Some(set) = &issuer.set {
        all.push(request(issuer, &set.call, answers("ok", true, &set.ok)));
    }
    if let Some(verify) = &issuer.verify {
        let mut known = answers("works", true, &verify.works);
        if let Some(identity) = &verify.identity {
            add(
                &mut known,
                &Read { name: "verify.identity".to_owned(), pointer: identity.to_string(), shape: Shape::Text },
            );
        }
        known.extend(answers("rejected", false, &verify.rejected));
        all.push(request(issuer, &verify.call, known));
    }
    for revoke in &issuer.revoke {
        let mut known = answers("done", true, &revoke.done);
        known.extend(answers("gone", false, &revoke.gone));
        all.push(request(issuer, &revoke.call, known));
    }
    all.retain(|asked| !asked.routes.is_empty());
    all
}

/// The calls that are GraphQL.
pub(super) fn graphql(issuer: &Issuer) -> impl Iterator<Item = &Call> {
    issuer.calls().filter(|call| matches!(call.body, Body::GraphQl { .. }))
}

fn listing(issuer: &Issuer) -> Option<Asked<'_>> {
    let find = issuer.find.as_ref()?;
    let item = |pointer: &Pointer| format!("{}/0{pointer}", find.items);
    let read = |name: &str, pointer: String, shape| Read { name: format!("find.{name}"), pointer, shape };
    let mut reads = vec![read("items", find.items.to_string(), Shape::List), read("id", item(&find.id), Shape::Text)];
    reads.extend(find.name.iter().map(|name| read("name", item(name), Shape::Text)));
    reads.extend(find.fields.iter().map(|(place, _)| read("where", item(place), Shape::Any)));
    let mut page = None;
    match &find.pages {
        Some(Pages::Cursor { from, into }) => {
            reads.push(read("pages.cursor.from", from.to_string(), Shape::Text));
            if let CursorInto::Query(name) = into {
                page = Some(name.clone());
            }
        }
        Some(Pages::Number { query, last, .. }) => {
            reads.extend(last.iter().map(|last| read("pages.number.last", last.to_string(), Shape::Text)));
            page = Some(query.clone());
        }
        Some(Pages::Offset(query)) => page = Some(query.clone()),
        Some(Pages::Url(place)) => reads.push(read("pages.url", place.to_string(), Shape::Text)),
        Some(Pages::Link(_)) | None => {}
    }
    let mut known = vec![Answer { name: "success", success: true, status: vec![SUCCESS], reads }];
    known.extend(find.none.iter().flat_map(|none| answers("none", false, none)));
    let mut asked = request(issuer, &find.call, known);
    asked.query.extend(page.map(|name| Field { name, constant: None }));
    Some(asked)
}

/// The request for a token, of the client credentials grant.
fn token<'a>(issuer: &'a Issuer, name: &str, auth: &'a Auth) -> Option<Asked<'a>> {
    let Some(Scheme::OAuth2 { token, client }) = &auth.scheme else { return None };
    let field =
        |name: &str, constant: Option<&str>| Field { name: name.to_owned(), constant: constant.map(str::to_owned) };
    let mut fields = vec![field("grant_type", Some("client_credentials"))];
    fields.extend(client.scope.iter().map(|_| field("scope", None)));
    fields.extend(client.audience.iter().map(|_| field("audience", None)));
    let mut headers = vec!["accept".to_owned()];
    match client.send {
        SendClient::Basic => headers.push("authorization".to_owned()),
        SendClient::Form | SendClient::Json => fields.extend([field("client_id", None), field("client_secret", None)]),
    }
    let token_place = Read { name: format!("{name}.oauth2"), pointer: "/access_token".to_owned(), shape: Shape::Text };
    Some(Asked {
        what: name.to_owned(),
        method: "POST",
        path: path(issuer, token),
        routes: Route::of(issuer, token),
        query: Vec::new(),
        headers,
        accept: Some("application/json".to_owned()),
        content_type: None,
        body: Sent::Fields { fields, json: client.send == SendClient::Json },
        answers: vec![Answer { name: "success", success: true, status: vec![SUCCESS], reads: vec![token_place] }],
    })
}

fn request<'a>(issuer: &'a Issuer, call: &'a Call, answers: Vec<Answer>) -> Asked<'a> {
    let of_http = issuer.http.iter().flat_map(|http| &http.headers);
    let auth = match call.role {
        Role::Admin if issuer.admin == api_key::description::Admin::Itself => issuer.key_auth.as_ref(),
        Role::Admin => issuer.admin_auth.as_ref(),
        Role::Key => issuer.key_auth.as_ref(),
        Role::None => None,
    };
    let of_auth = auth.iter().flat_map(|auth| &auth.headers);
    let headers: Vec<_> = call.headers.iter().chain(of_http).chain(of_auth).collect();
    let header = |name: &str| {
        let found = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_string().to_lowercase())
    };
    let (accept, content_type) = (header("accept"), header("content-type"));
    let headers: Vec<_> = headers.iter().map(|(name, _)| name.to_lowercase()).collect();
    let body = match &call.body {
        Body::None => Sent::Nothing,
        Body::Json(tree) => Sent::Json(tree),
        Body::Form(fields) => {
            let constant_of = |value: &FormValue| match value {
                FormValue::Text(template) => constant(template),
                FormValue::Json(_) => None,
            };
            let field =
                |(name, value): &(String, FormValue)| Field { name: name.clone(), constant: constant_of(value) };
            Sent::Fields { fields: fields.iter().map(field).collect(), json: false }
        }
        // Left out by having no route.
        Body::GraphQl { .. } => Sent::Nothing,
    };
    let is_graphql = matches!(call.body, Body::GraphQl { .. });
    Asked {
        what: call.what.clone(),
        method: call.method,
        path: path(issuer, &call.target),
        routes: if is_graphql { Vec::new() } else { Route::of(issuer, &call.target) },
        query: call.query.iter().map(|(name, value)| Field { name: name.clone(), constant: constant(value) }).collect(),
        headers,
        accept,
        content_type,
        body,
        answers,
    }
}

fn path(issuer: &Issuer, target: &RequestTarget) -> String {
    match target {
        RequestTarget::Path(path) => {
            let base = issuer.http.as_ref().map(|http| http.base.path.to_string()).unwrap_or_default();
            format!("{}{path}", base.trim_end_matches('/'))
        }
        RequestTarget::Url(address) => address.path.to_string(),
    }
}

fn answers(name: &'static str, success: bool, predicates: &Predicates) -> Vec<Answer> {
    let read = |(place, _): &(Pointer, Expected)| Read {
        name: format!("{name}.where"),
        pointer: place.to_string(),
        shape: Shape::Any,
    };
    let answer = |predicate: &Predicate| Answer {
        name,
        success,
        status: predicate.status.clone(),
        reads: predicate.fields.iter().map(read).collect(),
    };
    predicates.0.iter().map(answer).collect()
}

fn extracts<'a>(answers: &mut [Answer], call: &str, extract: impl Iterator<Item = (&'a String, &'a Pointer)>) {
    for (name, pointer) in extract {
        let name = format!("{call}.extract.{name}");
        add(answers, &Read { name, pointer: pointer.to_string(), shape: Shape::Text });
    }
}

/// Each of the answers has this place.
fn add(answers: &mut [Answer], read: &Read) {
    answers.iter_mut().for_each(|answer| answer.reads.push(read.clone()));
}

/// The text of a template without placeholders.
pub(super) fn constant(template: &Template) -> Option<String> {
    template.placeholders().next().is_none().then(|| template.to_string())
}

/// How a variable that is a whole string of a JSON body is sent.
pub(super) fn kind(issuer: &Issuer, template: &Template) -> VarKind {
    match template.only_placeholder() {
        Some(Placeholder::Var(name)) => issuer.vars.get(name).map_or(VarKind::String, |var| var.kind),
        _ => VarKind::String,
    }
}
