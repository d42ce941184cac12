//! A description as people write it. YAML is read into these types, and the JSON Schema is generated from them.
//! `compile` turns them into the form that the function works with, and refuses contradictions.

use crate::description::{Expected, Length, Placeholder, Template};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// How to rotate the keys of one issuer.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Description {
    /// The name that a secret has under `issuer`: lower-case letters, digits and hyphens.
    pub issuer: String,
    /// The name for people.
    pub title: String,
    /// The documentation that the description was written from.
    #[serde(default)]
    pub sources: Vec<String>,
    /// What was not checked against the live service.
    pub unchecked: String,
    /// What can go wrong that no function can prevent. Required if a key whose creation timed out cannot be found again.
    pub risk: Option<String>,
    /// How a key is replaced.
    pub strategy: Strategy,
    /// Which credential manages keys.
    #[serde(default)]
    pub admin: Admin,
    /// How long the previous key stays valid.
    pub grace: Option<Grace>,
    /// The lifetime of a new key, sent to the issuer. `rotation.keyLifetimeDays` in a secret overrides it.
    pub lifetime: Option<Length>,
    /// Values that differ between secrets and are not secret.
    #[serde(default)]
    pub vars: BTreeMap<String, Var>,
    /// The secret's fields that a rotation writes: `key.secret`, `key.id`, `key.X` (extracted), `previous.secret` or `time`.
    /// Default: `apiKey: key.secret` and, if keys have ids, `apiKeyId: key.id`.
    pub output: Option<BTreeMap<String, String>>,
    /// The issuer's address.
    pub http: Option<Http>,
    /// How calls authenticate.
    #[serde(default)]
    pub auth: Auths,
    /// How to list the keys that exist.
    pub find: Option<Find>,
    /// How to create a key.
    pub create: Option<Create>,
    /// How to exchange a key for a new one in one call.
    pub roll: Option<Roll>,
    /// How to send the issuer a key that the function has drawn.
    pub set: Option<Set>,
    /// The form of a key that the function draws.
    pub value: Option<KeyValue>,
    /// How to find out whether a key works.
    pub verify: Option<Verify>,
    /// How to revoke a key: one call, or several in turn.
    #[serde(default)]
    pub revoke: Vec<Revoke>,
}

/// How a key is replaced.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The issuer creates a second key. The first one is revoked after its grace period.
    CreateRevoke,
    /// The same, if two keys can exist at most: the superseded key is revoked before the next one is created.
    RevokeCreate,
    /// The function draws the value and sends it to the issuer. The previous key ends at once.
    SetValue,
    /// One call exchanges the key. The previous key ends at once.
    Roll,
    /// One call exchanges the key. The issuer accepts the previous key for a time.
    RollGrace,
    /// There is no issuer: the function draws the value, and the services that check it accept AWSCURRENT and AWSPREVIOUS.
    Generate,
}

impl Strategy {
    /// The word in descriptions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateRevoke => "create_revoke",
            Self::RevokeCreate => "revoke_create",
            Self::SetValue => "set_value",
            Self::Roll => "roll",
            Self::RollGrace => "roll_grace",
            Self::Generate => "generate",
        }
    }
}

/// Which credential manages keys.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Admin {
    /// The one in the secret that `rotation.adminSecretArn` names.
    #[default]
    Secret,
    /// The key itself creates its successor.
    #[serde(rename = "self")]
    Itself,
    /// None: no call needs one.
    None,
}

/// How long the previous key stays valid after a rotation.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected `previous_cycle` or a length of time, e.g. 24h")]
pub enum Grace {
    /// `previous_cycle`: until the next rotation.
    Cycle(PreviousCycle),
    /// A length of time. The first run of the function after it revokes the key.
    For(Length),
}

/// The word `previous_cycle`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PreviousCycle {
    /// `previous_cycle`
    PreviousCycle,
}

/// A variable.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Var {
    /// Which secret has the field.
    #[serde(default)]
    pub from: VarSource,
    /// The field's name in that secret. Default: the variable's name.
    pub field: Option<String>,
    /// The value if the field is absent.
    pub default: Option<Value>,
    /// All allowed values.
    pub one_of: Option<Vec<String>>,
    /// The allowed values, each with what is filled in for it. For a text that follows from another variable's field.
    pub map: Option<BTreeMap<String, String>>,
    /// A regular expression that the whole value must match.
    pub pattern: Option<String>,
    /// The type of the value.
    #[serde(rename = "type", default)]
    pub kind: VarKind,
    /// For people.
    pub description: Option<String>,
}

/// Which secret has the field of a variable.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum VarSource {
    /// The secret that is rotated.
    #[default]
    Secret,
    /// The admin secret.
    Admin,
}

/// The type of a variable.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum VarKind {
    /// Text.
    #[default]
    String,
    /// A whole number.
    Integer,
    /// Any JSON, for a string in a JSON body.
    Json,
}

/// The issuer's address.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http {
    /// `https://`, a host, an optional port, and an optional path that precedes all paths.
    pub base: Template,
    /// The only hosts that calls may go to: names, or `*.` and a domain. Required if the writer of a secret can influence a host.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Sent with every call.
    #[serde(default)]
    pub headers: BTreeMap<String, Template>,
    /// The timeout of one call. Default: 5s; at most 30s.
    pub timeout: Option<Length>,
}

/// How calls authenticate.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Auths {
    /// Calls that manage keys.
    pub admin: Option<Auth>,
    /// Calls that use a key.
    pub key: Option<Auth>,
}

/// A way to authenticate: at most one scheme, and headers.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Auth {
    /// Headers with the credential in them.
    #[serde(default)]
    pub headers: BTreeMap<String, Template>,
    /// `Authorization: Bearer` (RFC 6750).
    pub bearer: Option<Template>,
    /// `Authorization: Basic` (RFC 7617).
    pub basic: Option<Basic>,
    /// A bearer token from the client credentials grant (RFC 6749, section 4.4).
    pub oauth2: Option<OAuth2>,
    /// AWS Signature Version 4.
    pub sigv4: Option<SigV4>,
}

/// A user and a password.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Basic {
    /// The user, without a colon.
    pub user: Template,
    /// The password, which may be empty.
    pub password: Template,
}

/// Client credentials.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OAuth2 {
    /// The token endpoint: a path, or an `https://` URL.
    pub token: Template,
    /// The client's id.
    pub client_id: Template,
    /// The client's secret.
    pub client_secret: Template,
    /// The requested scope.
    pub scope: Option<Template>,
    /// The audience of the token, if the issuer wants one.
    pub audience: Option<Template>,
    /// How id and secret are sent.
    #[serde(default)]
    pub send: SendClient,
}

/// How a client's id and secret are sent to a token endpoint.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SendClient {
    /// In an `Authorization: Basic` header (`client_secret_basic`).
    #[default]
    Basic,
    /// In the form (`client_secret_post`).
    Form,
    /// In a JSON body, which some issuers want although it is not OAuth.
    Json,
}

/// AWS Signature Version 4.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SigV4 {
    /// The service's signing name.
    pub service: Template,
    /// The region.
    pub region: Template,
    /// The id of the access key.
    pub access_key_id: Template,
    /// The access key.
    pub secret_access_key: Template,
    /// For temporary credentials.
    pub session_token: Option<Template>,
}

/// A GraphQL request.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GraphQl {
    /// The query or mutation. It has no placeholders: values are variables.
    pub query: String,
    /// Its variables; their strings are templates.
    #[serde(default)]
    pub variables: Value,
}

/// A field of a form.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected text, or a mapping or list, which is sent as JSON text")]
pub enum FormField {
    /// Text.
    Text(Template),
    /// A mapping or a list, whose strings are templates. The field is its JSON text.
    Json(Value),
}

/// The id of a new key, if it is known before the issuer's answer, or is the key itself.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OwnId {
    /// The function's name for the key is its id.
    #[serde(rename = "{{name}}")]
    Name,
    /// The key is its own id.
    #[serde(rename = "{{key.secret}}")]
    Key,
}

/// Which credential a call uses.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// `auth.admin`.
    Admin,
    /// `auth.key`.
    Key,
    /// None.
    None,
}

/// A predicate on an answer, or a list of predicates. One of the list must hold.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected `status` and `where`, or a list of such")]
pub enum Predicates {
    /// One predicate.
    One(Predicate),
    /// Several predicates.
    Any(Vec<Predicate>),
}

/// A predicate on an answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Predicate {
    /// The HTTP status is one of these. Default: any 2xx.
    pub status: Option<Vec<Status>>,
    /// The expected values at these places of the JSON body (JSON pointers, RFC 6901).
    #[serde(rename = "where", default)]
    pub fields: BTreeMap<String, Expected>,
    /// The body, as it was sent, contains this text. For errors that are not JSON.
    pub text: Option<String>,
}

/// An HTTP status, or a class of them.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected an HTTP status, e.g. 204, or a class, e.g. 2xx")]
pub enum Status {
    /// E.g. 204.
    Code(u16),
    /// `2xx`, `4xx` …
    Class(String),
}

/// How to get the next page of a list.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Pages {
    /// With a cursor from the answer, until there is none.
    Cursor {
        /// The cursor's place in the answer.
        from: String,
        /// The query parameter for the cursor.
        query: Option<String>,
        /// Or the GraphQL variable for the cursor.
        variable: Option<String>,
    },
    /// By the page's number, until a page has no items.
    Number {
        /// The query parameter.
        query: String,
        /// The first page's number.
        #[serde(default = "one")]
        first: u32,
        /// The place of the last page's number in the answer. Then no page after that one is requested.
        last: Option<String>,
    },
    /// By the number of items to skip, in this query parameter, until a page has no items.
    Offset(String),
    /// By a `Link` header (RFC 8288) of this relation.
    Link(String),
    /// By an address in the answer, on the same host.
    Url(String),
}

fn one() -> u32 {
    1
}

/// Polling, because all servers of an issuer may need a moment to know a new key.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Poll {
    /// The pause between two tries.
    pub every: Length,
    /// The time of all tries.
    pub up_to: Length,
}

macro_rules! with_call {
    ($($(#[$doc:meta])* struct $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Deserialize)]
            #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
            #[serde(rename_all = "camelCase", deny_unknown_fields)]
            pub struct $name {
                /// The credential. Default: `admin`; for `verify`, `key`.
                #[serde(rename = "as")]
                pub role: Option<Role>,
                /// GET this path, which begins with `/`, or this `https://` address.
                pub get: Option<Template>,
                /// POST to this.
                pub post: Option<Template>,
                /// PUT to this.
                pub put: Option<Template>,
                /// PATCH this.
                pub patch: Option<Template>,
                /// DELETE this.
                pub delete: Option<Template>,
                /// The query's parameters.
                #[serde(default)]
                pub query: BTreeMap<String, Template>,
                /// Headers of this call alone.
                #[serde(default)]
                pub headers: BTreeMap<String, Template>,
                /// A JSON body; its strings are templates.
                pub json: Option<Value>,
                /// A form's fields (`application/x-www-form-urlencoded`).
                pub form: Option<BTreeMap<String, FormField>>,
                /// A GraphQL request. An answer with `errors` has failed, whatever its status.
                pub graphql: Option<GraphQl>,
                /// The timeout of this call.
                pub timeout: Option<Length>,
                /// Allows a secret in the URL, where every proxy and log can see it.
                #[serde(default)]
                pub secret_in_url: bool,
                $($(#[$field_doc])* pub $field: $type,)*
            }

            impl $name {
                /// The call in it.
                pub fn call(&self) -> Call<'_> {
                    Call {
                        role: self.role,
                        targets: [
                            ("GET", self.get.as_ref()),
                            ("POST", self.post.as_ref()),
                            ("PUT", self.put.as_ref()),
                            ("PATCH", self.patch.as_ref()),
                            ("DELETE", self.delete.as_ref()),
                        ],
                        query: &self.query,
                        headers: &self.headers,
                        json: self.json.as_ref(),
                        form: self.form.as_ref(),
                        graphql: self.graphql.as_ref(),
                        timeout: self.timeout,
                        secret_in_url: self.secret_in_url,
                    }
                }
            }
        )*
    };
}

/// What all kinds of calls have.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The credential.
    pub role: Option<Role>,
    /// Method and target. Exactly one must be given.
    pub targets: [(&'static str, Option<&'a Template>); 5],
    /// The query's parameters.
    pub query: &'a BTreeMap<String, Template>,
    /// Headers.
    pub headers: &'a BTreeMap<String, Template>,
    /// A JSON body.
    pub json: Option<&'a Value>,
    /// A form.
    pub form: Option<&'a BTreeMap<String, FormField>>,
    /// A GraphQL request.
    pub graphql: Option<&'a GraphQl>,
    /// The timeout of this call.
    pub timeout: Option<Length>,
    /// Whether a secret may be in the URL.
    pub secret_in_url: bool,
}

impl Call<'_> {
    /// Whether a placeholder stands anywhere in the request.
    pub fn holds(&self, place: &Placeholder) -> bool {
        let in_template = |template: &Template| template.placeholders().any(|found| found == place);
        let in_tree = |tree: &Value| tree_holds(tree, &in_template);
        let fields = self.form.into_iter().flatten().any(|(_, field)| match field {
            FormField::Text(template) => in_template(template),
            FormField::Json(tree) => in_tree(tree),
        });
        fields
            || self.targets.iter().filter_map(|(_, target)| *target).any(in_template)
            || self.query.values().chain(self.headers.values()).any(in_template)
            || self.json.into_iter().chain(self.graphql.map(|graphql| &graphql.variables)).any(in_tree)
    }
}

fn tree_holds(tree: &Value, in_template: &impl Fn(&Template) -> bool) -> bool {
    match tree {
        Value::String(text) => Template::parse(text).is_ok_and(|template| in_template(&template)),
        Value::Array(items) => items.iter().any(|item| tree_holds(item, in_template)),
        Value::Object(fields) => fields.values().any(|field| tree_holds(field, in_template)),
        _ => false,
    }
}

with_call! {
    /// Lists keys.
    struct Find {
        /// The place of the array in the answer (a JSON pointer, RFC 6901).
        items: String,
        /// The place of an item's id.
        id: String,
        /// The place of an item's name. Absent if keys have no names.
        name: Option<String>,
        /// Which items count.
        #[serde(rename = "where", default)]
        fields: BTreeMap<String, Expected>,
        /// An answer that means that there are no keys.
        none: Option<Predicates>,
        /// How to get the next page.
        pages: Option<Pages>,
        /// States that the list has all keys that `verify` could accept. If it has only one key, that is the key that works.
        #[serde(default)]
        complete: bool,
    }

    /// A call beside the one that creates a key.
    struct Further {
        /// Success. Default: any 2xx.
        ok: Option<Predicates>,
    }

    /// Creates a key.
    struct Create {
        /// Calls that are made first. They may be repeated.
        #[serde(default)]
        before: Vec<Further>,
        /// Calls that are made once the key exists, such as grants. They may be repeated.
        #[serde(default)]
        after: Vec<Further>,
        /// The id, if it is not in the answer.
        id: Option<OwnId>,
        /// Success. Default: any 2xx.
        ok: Option<Predicates>,
        /// A refusal because there are too many keys.
        limit: Option<Predicates>,
        /// The places of the new key in the answer: `secret` unless there is a `value`, `id` unless there is an `id`, and whatever
        /// `output` writes.
        #[serde(default)]
        extract: BTreeMap<String, String>,
    }

    /// Exchanges a key for a new one.
    struct Roll {
        /// Success. Default: any 2xx.
        ok: Option<Predicates>,
        /// The key no longer exists.
        gone: Option<Predicates>,
        /// The places of the new key in the answer: `secret`, and `id` if it changes.
        extract: BTreeMap<String, String>,
    }

    /// Sends the issuer the new value.
    struct Set {
        /// Success. Default: any 2xx.
        ok: Option<Predicates>,
    }

    /// Tries a key.
    struct Verify {
        /// The key works.
        works: Predicates,
        /// The key is invalid. An answer that is neither `works` nor `rejected` says nothing about the key.
        rejected: Predicates,
        /// The place of the used key's id in the answer.
        identity: Option<String>,
        /// Polling, for issuers that need a moment to know a new key.
        poll: Option<Poll>,
    }

    /// Revokes a key.
    struct Revoke {
        /// The key is revoked. Default: any 2xx.
        done: Option<Predicates>,
        /// The key had ended before. Default: 404 and 410.
        gone: Option<Predicates>,
    }
}

/// The form of a key that the function draws.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyValue {
    /// How the value is drawn.
    pub kind: ValueKind,
    /// How many random bytes, for `hex`, `base64` and `base64url`.
    pub bytes: Option<usize>,
    /// How many characters, for `password` and `characters`.
    pub length: Option<usize>,
    /// The characters, for `characters`.
    pub alphabet: Option<String>,
    /// Text before the drawn part.
    #[serde(default)]
    pub prefix: String,
    /// Text at the end, by which a scanner can tell a key from a typo.
    pub checksum: Option<Checksum>,
}

/// How a value is drawn.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ValueKind {
    /// By the function's password policy.
    Password,
    /// Bytes in lower-case hexadecimal.
    Hex,
    /// Bytes in base64 with padding (RFC 4648, section 4).
    Base64,
    /// Bytes in base64url without padding (RFC 4648, section 5).
    Base64url,
    /// Characters of an alphabet, each as likely as any other.
    Characters,
}

/// The checksum at the end of a value.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// Six characters: the CRC-32 of the text before it, in base62.
    Crc32,
}
