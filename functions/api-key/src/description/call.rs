//! A call: where it goes, what it carries, and how it authenticates.

use crate::description::{Role, Template, written};
use serde_json::Value;
use std::time::Duration;

/// The issuer's address.
#[derive(Clone, Debug)]
pub struct Http {
    /// The address that precedes all paths.
    pub base: Address,
    /// The only hosts that calls may go to. Empty: the hosts in the description.
    pub hosts: Vec<String>,
    /// Sent with every call.
    pub headers: Vec<(String, Template)>,
}

/// An address, in two parts because each is escaped in its own way.
#[derive(Clone, Debug)]
pub struct Address {
    /// Host and optional port.
    pub host: Template,
    /// The path, which is empty or begins with `/`.
    pub path: Template,
}

/// A way to authenticate.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Headers.
    pub headers: Vec<(String, Template)>,
    /// At most one scheme.
    pub scheme: Option<Scheme>,
}

impl Auth {
    pub(super) fn templates(&self) -> Vec<&Template> {
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
    pub(super) fn templates(&self) -> Vec<&Template> {
        let mut templates = self.target.templates();
        templates.extend(self.query.iter().chain(&self.headers).map(|(_, value)| value));
        match &self.body {
            Body::None => {}
            Body::Json(tree) | Body::GraphQl { variables: tree, .. } => tree.collect(&mut templates),
            Body::Form(fields) => {
                for (_, value) in fields {
                    match value {
                        FormValue::Text(template) => templates.push(template),
                        FormValue::Json(tree) => tree.collect(&mut templates),
                    }
                }
            }
        }
        templates
    }
}

impl RequestTarget {
    pub(super) fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Path(path) => vec![path],
            Self::Url(place) => vec![&place.host, &place.path],
        }
    }
}

impl JsonTemplate {
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
        token: RequestTarget,
        /// The client's credentials.
        client: written::OAuth2,
    },
    /// AWS Signature Version 4.
    SigV4(written::SigV4),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its name in the description: `create`, `revoke[1]` …
    pub what: String,
    /// The credential.
    pub role: Role,
    /// GET, POST …
    pub method: &'static str,
    /// The target.
    pub target: RequestTarget,
    /// The query's parameters.
    pub query: Vec<(String, Template)>,
    /// Headers.
    pub headers: Vec<(String, Template)>,
    /// The body.
    pub body: Body,
    /// The timeout.
    pub timeout: Duration,
}

/// The target of a call.
#[derive(Clone, Debug)]
pub enum RequestTarget {
    /// A path below the base.
    Path(Template),
    /// A whole address.
    Url(Address),
}

/// The body of a call.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing.
    None,
    /// A tree whose strings are templates.
    Json(JsonTemplate),
    /// Fields.
    Form(Vec<(String, FormValue)>),
    /// A query and its variables.
    GraphQl {
        /// The query, without placeholders.
        query: String,
        /// The variables.
        variables: JsonTemplate,
    },
}

/// The value of a form's field.
#[derive(Clone, Debug)]
pub enum FormValue {
    /// Text.
    Text(Template),
    /// The JSON text of this tree.
    Json(JsonTemplate),
}

/// JSON with templates for strings.
#[derive(Clone, Debug)]
pub enum JsonTemplate {
    /// A number, a boolean, null.
    Plain(Value),
    /// A string.
    Text(Template),
    /// An array.
    Array(Vec<JsonTemplate>),
    /// An object.
    Object(Vec<(String, JsonTemplate)>),
}
