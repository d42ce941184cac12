//! From a call in a description to a request. Pure, so the lab can show requests that have names in place of secrets.

use crate::description::{
    Address, Auth, Body, Call, Escape, FormValue, Issuer, JsonTemplate, Placeholder, RequestTarget, Role, Scheme,
    Scope, SendClient, Template, VarValue, written,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rotation::aws::sigv4;
use rotation::encoding::percent_encoded;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use serde_json::json;
use std::fmt;
use std::time::Duration;

/// A request, ready to be sent.
#[derive(Clone)]
pub struct Request {
    /// The call's name: `create`, `verify` …
    pub what: String,
    /// GET, POST …
    pub method: &'static str,
    /// Host, and port if it is not 443.
    pub authority: String,
    /// Path and query.
    pub path: SecretText,
    /// Header fields.
    pub headers: Vec<(String, SecretText)>,
    /// The media type and the body.
    pub body: Option<(&'static str, SecretText)>,
    /// The timeout.
    pub timeout: Duration,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} {} {})", self.what, self.method, self.authority)
    }
}

impl Request {
    /// Sets a header.
    pub fn header(&mut self, name: &str, value: SecretText) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value));
    }

    /// Adds a parameter to the query.
    pub fn parameter(&mut self, name: &str, value: &str) {
        let path = self.path.expose();
        let mark = if path.contains('?') { '&' } else { '?' };
        self.path = format!("{path}{mark}{}={}", percent_encoded(name), percent_encoded(value)).into();
    }

    /// Adds a variable to a GraphQL request.
    pub fn variable(&mut self, name: &str, value: &str) {
        let Some((_, body)) = &mut self.body else { return };
        let Ok(mut tree) = serde_json::from_str::<serde_json::Value>(body.expose()) else { return };
        let variables = tree.as_object_mut().map(|tree| tree.entry("variables").or_insert_with(|| json!({})));
        if let Some(variables) = variables.and_then(serde_json::Value::as_object_mut) {
            variables.insert(name.to_owned(), value.into());
        }
        *body = tree.to_string().into();
    }

    /// The whole request as text. Only for requests that have names in place of secrets.
    pub fn shown(&self) -> String {
        let mut text = format!("{} https://{}{}", self.method, self.authority, self.path.expose());
        for (name, value) in &self.headers {
            text.push_str(&format!("\n{name}: {}", value.expose()));
        }
        if let Some((media, body)) = &self.body {
            text.push_str(&format!("\nContent-Type: {media}\n\n{}", body.expose()));
        }
        text
    }
}

/// Makes a request of a call, without the credential.
///
/// # Errors
/// Those of [`Template::fill`].
pub fn request(issuer: &Issuer, call: &Call, scope: &Scope<'_>) -> Result<Request> {
    let (authority, mut path) = address(issuer, &call.target, scope)?;
    let mut mark = '?';
    for (name, value) in &call.query {
        let value = value.fill(scope, Escape::None)?;
        path.push_str(&format!("{mark}{}={}", percent_encoded(name), percent_encoded(value.expose())));
        mark = '&';
    }
    let mut headers = Vec::new();
    let general = issuer.http.iter().flat_map(|http| &http.headers);
    for (name, value) in general.chain(&call.headers) {
        headers.retain(|(known, _): &(String, SecretText)| !known.eq_ignore_ascii_case(name));
        headers.push((name.clone(), value.fill(scope, Escape::Header)?));
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept")) {
        headers.push(("Accept".to_owned(), "application/json".into()));
    }
    // Some issuers refuse requests without a `User-Agent`.
    headers.push(("User-Agent".to_owned(), concat!("lockstep/", env!("CARGO_PKG_VERSION")).into()));
    Ok(Request {
        what: call.what.clone(),
        method: call.method,
        authority,
        path: path.into(),
        headers,
        body: body(&call.body, scope)?,
        timeout: call.timeout,
    })
}

/// Host and path of a target.
fn address(issuer: &Issuer, target: &RequestTarget, scope: &Scope<'_>) -> Result<(String, String)> {
    let base = issuer.http.as_ref().map(|http| &http.base);
    let (place, tail): (&Address, Option<&Template>) = match (target, base) {
        (RequestTarget::Url(place), _) => (place, None),
        (RequestTarget::Path(path), Some(base)) => (base, Some(path)),
        (RequestTarget::Path(_), None) => {
            return Err(Error::new(Code::Internal).with(Fact::What, "a call without a base"));
        }
    };
    let host = place.host.fill(scope, Escape::Host)?.expose().to_owned();
    let mut path = place.path.fill(scope, Escape::Path)?.expose().to_owned();
    if let Some(tail) = tail {
        path.push_str(tail.fill(scope, Escape::Path)?.expose());
    }
    if path.is_empty() {
        path.push('/');
    }
    Ok((host, path))
}

fn body(body: &Body, scope: &Scope<'_>) -> Result<Option<(&'static str, SecretText)>> {
    Ok(match body {
        Body::None => None,
        Body::Json(tree) => Some(("application/json", filled(tree, scope)?.to_string().into())),
        Body::GraphQl { query, variables } => {
            let variables = filled(variables, scope)?;
            // Not every server takes null for none.
            let body = match variables.is_null() {
                true => json!({ "query": query }),
                false => json!({ "query": query, "variables": variables }),
            };
            Some(("application/json", body.to_string().into()))
        }
        Body::Form(fields) => {
            let mut pairs = Vec::new();
            for (name, value) in fields {
                let value = match value {
                    FormValue::Text(template) => template.fill(scope, Escape::None)?,
                    FormValue::Json(tree) => filled(tree, scope)?.to_string().into(),
                };
                pairs.push((name.as_str(), value));
            }
            Some(form(&pairs))
        }
    })
}

fn form(pairs: &[(&str, SecretText)]) -> (&'static str, SecretText) {
    let encoded: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", percent_encoded(name), percent_encoded(value.expose())))
        .collect();
    ("application/x-www-form-urlencoded", encoded.join("&").into())
}

fn filled(tree: &JsonTemplate, scope: &Scope<'_>) -> Result<serde_json::Value> {
    Ok(match tree {
        JsonTemplate::Plain(value) => value.clone(),
        JsonTemplate::Text(template) => match template.only_placeholder() {
            // An integer or JSON variable keeps its type.
            Some(Placeholder::Var(name)) => match scope.var(name) {
                Some(VarValue::Integer(number)) => (*number).into(),
                Some(VarValue::Json(value)) => value.clone(),
                _ => template.fill(scope, Escape::None)?.expose().into(),
            },
            _ => template.fill(scope, Escape::None)?.expose().into(),
        },
        JsonTemplate::Array(items) => items.iter().map(|item| filled(item, scope)).collect::<Result<Vec<_>>>()?.into(),
        JsonTemplate::Object(fields) => {
            let fields = fields.iter().map(|(name, field)| Ok((name.clone(), filled(field, scope)?)));
            fields.collect::<Result<serde_json::Map<_, _>>>()?.into()
        }
    })
}

/// The authentication of a call.
pub fn auth<'a>(issuer: &'a Issuer, call: &Call) -> Option<&'a Auth> {
    match call.role {
        Role::None => None,
        Role::Key => issuer.key_auth.as_ref(),
        // With `admin: self`, the key manages keys.
        Role::Admin => issuer.admin_auth.as_ref().or(issuer.key_auth.as_ref()),
    }
}

/// Adds the credential to a request. `token` is from the token endpoint, `now` is the time since the Unix epoch.
///
/// # Errors
/// Those of [`Template::fill`]; [`Code::Internal`] if a signature could not be made.
pub fn authenticate(
    request: &mut Request,
    auth: &Auth,
    scope: &Scope<'_>,
    token: Option<&SecretText>,
    now: Duration,
) -> Result<()> {
    for (name, value) in &auth.headers {
        request.header(name, value.fill(scope, Escape::Header)?);
    }
    match (&auth.scheme, token) {
        (None, _) => {}
        (Some(Scheme::Bearer(token)), _) => {
            let token = token.fill(scope, Escape::Header)?;
            request.header("Authorization", format!("Bearer {}", token.expose()).into());
        }
        (Some(Scheme::Basic(basic)), _) => {
            let user = basic.user.fill(scope, Escape::None)?;
            let password = basic.password.fill(scope, Escape::None)?;
            request.header("Authorization", basic_credentials(user.expose(), password.expose()));
        }
        (Some(Scheme::OAuth2 { .. }), Some(token)) => {
            request.header("Authorization", format!("Bearer {}", token.expose()).into());
        }
        (Some(Scheme::OAuth2 { .. }), None) => {
            return Err(Error::new(Code::Internal).with(Fact::What, "a call without its token"));
        }
        (Some(Scheme::SigV4(written)), _) => sign(request, written, scope, now)?,
    }
    Ok(())
}

fn basic_credentials(user: &str, password: &str) -> SecretText {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))).into()
}

/// The request for a token, if the credential needs one.
///
/// # Errors
/// Those of [`Template::fill`].
pub fn token_request(issuer: &Issuer, auth: &Auth, scope: &Scope<'_>, timeout: Duration) -> Result<Option<Request>> {
    let Some(Scheme::OAuth2 { token, client }) = &auth.scheme else { return Ok(None) };
    let (authority, path) = address(issuer, token, scope)?;
    let id = client.client_id.fill(scope, Escape::None)?;
    let secret = client.client_secret.fill(scope, Escape::None)?;
    let mut fields = vec![("grant_type", SecretText::from("client_credentials"))];
    for (name, value) in [("scope", &client.scope), ("audience", &client.audience)] {
        if let Some(value) = value {
            fields.push((name, value.fill(scope, Escape::None)?));
        }
    }
    let mut headers = vec![
        ("Accept".to_owned(), SecretText::from("application/json")),
        ("User-Agent".to_owned(), concat!("lockstep/", env!("CARGO_PKG_VERSION")).into()),
    ];
    match client.send {
        // Both are form-encoded before they are joined (RFC 6749, section 2.3.1).
        SendClient::Basic => {
            let credentials = basic_credentials(&percent_encoded(id.expose()), &percent_encoded(secret.expose()));
            headers.push(("Authorization".to_owned(), credentials));
        }
        SendClient::Form | SendClient::Json => fields.extend([("client_id", id), ("client_secret", secret)]),
    }
    let body = match client.send {
        SendClient::Json => {
            let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.expose().into()));
            let tree: serde_json::Map<String, serde_json::Value> = fields.collect();
            ("application/json", serde_json::Value::from(tree).to_string().into())
        }
        _ => form(&fields),
    };
    let what = "token".to_owned();
    Ok(Some(Request { what, method: "POST", authority, path: path.into(), headers, body: Some(body), timeout }))
}

/// Signs a request with AWS Signature Version 4.
fn sign(request: &mut Request, written: &written::SigV4, scope: &Scope<'_>, now: Duration) -> Result<()> {
    let fill = |template: &Template| template.fill(scope, Escape::None).map(|text| text.expose().to_owned());
    let session = written.session_token.as_ref().map(&fill).transpose()?;
    let credentials = aws_credential_types::Credentials::new(
        fill(&written.access_key_id)?,
        fill(&written.secret_access_key)?,
        session,
        None,
        "description",
    );
    if let Some((media, _)) = &request.body {
        request.header("Content-Type", (*media).into());
    }
    let address = format!("https://{}{}", request.authority, request.path.expose());
    let headers: Vec<_> = request.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    let body = request.body.as_ref().map_or(&[][..], |(_, body)| body.expose().as_bytes());
    let call = sigv4::Call { method: request.method, address: &address, headers: &headers, body };
    let signature = sigv4::signature(&call, credentials, &fill(&written.region)?, &fill(&written.service)?, now);
    let failed = || Error::new(Code::Internal).with(Fact::What, "a request could not be signed");
    for (name, value) in signature.ok_or_else(failed)? {
        request.headers.push((name, value.into()));
    }
    Ok(())
}
