//! A call: where it goes, what it carries, and how it authenticates.

use crate::description::{Role, Template, written};
use serde_json::Value;
use std::time::Duration;

/// Where the issuer is.
#[derive(Clone, Debug)]
pub struct Http {
    /// What all paths follow.
    pub base: Address,
    /// Hosts that calls may go to; empty: those that the description itself names.
    pub hosts: Vec<String>,
    /// Sent with every call.
    pub headers: Vec<(String, Template)>,
}

/// An address, in the parts that are escaped differently.
#[derive(Clone, Debug)]
pub struct Address {
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
            Body::Form(fields) => templates.extend(fields.iter().map(|(_, value)| value)),
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
    pub role: Role,
    /// GET, POST …
    pub method: &'static str,
    /// Where to.
    pub target: RequestTarget,
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
pub enum RequestTarget {
    /// A path below the base.
    Path(Template),
    /// A whole address.
    Url(Address),
}

/// What a call carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing.
    None,
    /// A tree whose strings are templates.
    Json(JsonTemplate),
    /// Fields.
    Form(Vec<(String, Template)>),
    /// A query and its variables.
    GraphQl {
        /// Without places.
        query: String,
        /// Templates.
        variables: JsonTemplate,
    },
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
