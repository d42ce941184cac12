//! A description as people write it: the types that the YAML is read into and the JSON Schema is made from.
//! `compile` turns it into what the function works with, and refuses what makes no sense.

use crate::description::{Expected, Length, Template};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// How to rotate the keys of one issuer.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Description {
    /// What a secret says under `issuer`: lower-case letters, digits and hyphens.
    pub issuer: String,
    /// What people call it.
    pub title: String,
    /// The documentation that this was written from.
    #[serde(default)]
    pub sources: Vec<String>,
    /// What was not checked against the live service.
    pub unchecked: String,
    /// What can go wrong that no function can prevent here: needed where a key whose creation was not answered cannot be
    /// found again.
    pub risk: Option<String>,
    /// The order of things.
    pub strategy: Strategy,
    /// Who manages the keys.
    #[serde(default)]
    pub admin: Admin,
    /// How long the previous key lives.
    pub grace: Option<Grace>,
    /// How long a new key lives, where the issuer is told it. `rotation.keyLifetimeDays` in the secret comes before it.
    pub lifetime: Option<Length>,
    /// What differs between secrets and is not secret.
    #[serde(default)]
    pub vars: BTreeMap<String, Var>,
    /// The fields of the secret that a rotation writes: `key.secret`, `key.id`, `key.X` (as extracted), `previous.secret` or
    /// `time`. Unless given: `apiKey: key.secret`, and `apiKeyId: key.id` where keys have ids.
    pub output: Option<BTreeMap<String, String>>,
    /// Where the issuer is.
    pub http: Option<Http>,
    /// As whom calls are made.
    #[serde(default)]
    pub auth: Auths,
    /// How to list the keys that exist.
    pub find: Option<Find>,
    /// How to make a key.
    pub create: Option<Create>,
    /// How to exchange a key for a new one in one call.
    pub roll: Option<Roll>,
    /// How to tell the issuer a key that was made here.
    pub set: Option<Set>,
    /// What a key that is made here looks like.
    pub value: Option<KeyValue>,
    /// How to find out whether a key works.
    pub verify: Option<Verify>,
    /// How to end a key: one call, or several in turn.
    #[serde(default)]
    pub revoke: Vec<Revoke>,
}

/// The order of things in a rotation.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The issuer makes a second key; the first is revoked after its grace.
    CreateRevoke,
    /// The same where the number of keys is capped: what is superseded is revoked before the next key is made.
    RevokeCreate,
    /// The function makes the value and tells the issuer; the one before ends at once.
    SetValue,
    /// One call exchanges the key; the one before ends at once.
    Roll,
    /// One call exchanges the key; the issuer keeps the one before for a time.
    RollGrace,
    /// No issuer: the function makes the value, and whoever checks it accepts AWSCURRENT and AWSPREVIOUS.
    Generate,
}

/// Who manages the keys.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Admin {
    /// Another credential, in the secret that `rotation.adminSecretArn` names.
    #[default]
    Secret,
    /// The key itself makes its successor.
    #[serde(rename = "self")]
    Itself,
    /// Nobody: no call needs one.
    None,
}

/// How long the previous key lives after a rotation.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected `previous_cycle` or a length of time, e.g. 24h")]
pub enum Grace {
    /// `previous_cycle`: until the next rotation.
    Cycle(PreviousCycle),
    /// A length of time, after which the next run of the function ends it.
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
    /// Which secret has it.
    #[serde(default)]
    pub from: VarSource,
    /// The field's name there; the variable's own unless given.
    pub field: Option<String>,
    /// The value where the field is absent.
    pub default: Option<Value>,
    /// All values that are allowed.
    pub one_of: Option<Vec<String>>,
    /// A regular expression that the whole value matches.
    pub pattern: Option<String>,
    /// What it is.
    #[serde(rename = "type", default)]
    pub kind: VarKind,
    /// For people.
    pub description: Option<String>,
}

/// Whose field a variable is.
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

/// What a variable is.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum VarKind {
    /// Text.
    #[default]
    String,
    /// A whole number.
    Integer,
    /// Any JSON, for a place in a JSON body.
    Json,
}

/// Where the issuer is.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http {
    /// `https://` and a host, perhaps a port and a path that all paths follow.
    pub base: Template,
    /// The hosts that calls may go to, where a secret's writer has a say in it: names, or `*.` and a domain.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Sent with every call.
    #[serde(default)]
    pub headers: BTreeMap<String, Template>,
    /// For one call; 5s unless given, 30s at most.
    pub timeout: Option<Length>,
}

/// As whom calls are made.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Auths {
    /// As who manages keys.
    pub admin: Option<Auth>,
    /// As who has the key.
    pub key: Option<Auth>,
}

/// A way to authenticate. Headers may stand beside one of the others.
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
    /// A bearer token got with client credentials (RFC 6749, section 4.4).
    pub oauth2: Option<OAuth2>,
    /// AWS Signature Version 4.
    pub sigv4: Option<SigV4>,
}

/// A user and a password.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Basic {
    /// Without a colon.
    pub user: Template,
    /// May be empty.
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
    /// What is asked for.
    pub scope: Option<Template>,
    /// For whom, where the issuer wants to know.
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
    /// In a JSON body, as some do who are not quite OAuth.
    Json,
}

/// AWS's way to sign requests.
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
    /// The query or mutation. Nothing is filled in here: values are variables.
    pub query: String,
    /// Its variables; their strings are templates.
    #[serde(default)]
    pub variables: Value,
}

/// As whom one call is made.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// `auth.admin`.
    Admin,
    /// `auth.key`.
    Key,
    /// Nobody.
    None,
}

/// One predicate on an answer, or several of which one has to hold.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected `status` and `where`, or a list of such")]
pub enum Predicates {
    /// One.
    One(Predicate),
    /// Any of these.
    Any(Vec<Predicate>),
}

/// What an answer looks like.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Predicate {
    /// Its HTTP status is one of these; any 2xx unless given.
    pub status: Option<Vec<Status>>,
    /// What is at these places of its JSON body (RFC 6901).
    #[serde(rename = "where", default)]
    pub fields: BTreeMap<String, Expected>,
}

/// An HTTP status, or a hundred of them.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected an HTTP status, e.g. 204, or a class, e.g. 2xx")]
pub enum Status {
    /// E.g. 204.
    Code(u16),
    /// `2xx`, `4xx` …
    Class(String),
}

/// How a list goes on.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Pages {
    /// By a cursor in the answer, until there is none.
    Cursor {
        /// Where it is.
        from: String,
        /// The query parameter that takes it.
        query: Option<String>,
        /// Or the GraphQL variable.
        variable: Option<String>,
    },
    /// By numbers, until a page has no items.
    Number {
        /// The query parameter.
        query: String,
        /// Of the first page.
        #[serde(default = "one")]
        first: u32,
    },
    /// By how many items to leave out, in this query parameter, until a page has none.
    Offset(String),
    /// By a `Link` header (RFC 8288) with this relation.
    Link(String),
    /// By a URL in the answer, on the same host.
    Url(String),
}

fn one() -> u32 {
    1
}

/// Polling, for what takes a moment to be known everywhere.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Poll {
    /// Between two tries.
    pub every: Length,
    /// In all.
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
                /// As whom; `admin` unless given, `key` for `verify`.
                #[serde(rename = "as")]
                pub role: Option<Role>,
                /// GET this: a path, which begins with `/`, or an `https://` URL.
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
                pub form: Option<BTreeMap<String, Template>>,
                /// A GraphQL request. Errors in the answer are a failure, whatever the status.
                pub graphql: Option<GraphQl>,
                /// For this call alone.
                pub timeout: Option<Length>,
                /// That a secret may stand in the URL, where every proxy and log sees it.
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

/// The part that all kinds of calls have.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// As whom.
    pub role: Option<Role>,
    /// One of these is given.
    pub targets: [(&'static str, Option<&'a Template>); 5],
    /// The query's parameters.
    pub query: &'a BTreeMap<String, Template>,
    /// Headers.
    pub headers: &'a BTreeMap<String, Template>,
    /// A JSON body.
    pub json: Option<&'a Value>,
    /// A form.
    pub form: Option<&'a BTreeMap<String, Template>>,
    /// A GraphQL request.
    pub graphql: Option<&'a GraphQl>,
    /// For this call.
    pub timeout: Option<Length>,
    /// Whether a secret may stand in the URL.
    pub secret_in_url: bool,
}

with_call! {
    /// Lists the keys that exist.
    struct Find {
        /// Where the array is in the answer (RFC 6901).
        items: String,
        /// Where an item has its id.
        id: String,
        /// Where an item has its name; absent if keys have none.
        name: Option<String>,
        /// Which items count.
        #[serde(rename = "where", default)]
        fields: BTreeMap<String, Expected>,
        /// How the list goes on.
        pages: Option<Pages>,
        /// That the list has every key that `verify` could find to work: if the current key works and is the only one there, it
        /// is the one with that id.
        #[serde(default)]
        complete: bool,
    }

    /// Has to be done right before.
    struct Before {
        /// What success looks like.
        ok: Option<Predicates>,
    }

    /// Makes a key.
    struct Create {
        /// Calls that are made right before, and may be repeated.
        #[serde(default)]
        before: Vec<Before>,
        /// What success looks like.
        ok: Option<Predicates>,
        /// What a refusal looks like because there are too many keys.
        limit: Option<Predicates>,
        /// Where the new key is in the answer: `secret`, `id`, and whatever else `output` writes.
        extract: BTreeMap<String, String>,
    }

    /// Exchanges a key for a new one.
    struct Roll {
        /// What success looks like.
        ok: Option<Predicates>,
        /// What the answer looks like when there is no key of this id any more.
        gone: Option<Predicates>,
        /// As for `create`.
        extract: BTreeMap<String, String>,
    }

    /// Tells the issuer the new value.
    struct Set {
        /// What success looks like.
        ok: Option<Predicates>,
    }

    /// Tries a key.
    struct Verify {
        /// The key works.
        works: Predicates,
        /// The key is dead. Everything that is neither tells nothing.
        rejected: Predicates,
        /// Where the answer has the id of the key that was used.
        identity: Option<String>,
        /// For issuers that take a moment.
        poll: Option<Poll>,
    }

    /// Ends a key.
    struct Revoke {
        /// It has ended. Any 2xx unless given.
        done: Option<Predicates>,
        /// It had ended before. 404 and 410 unless given.
        gone: Option<Predicates>,
    }
}

/// What a key that is made here looks like.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyValue {
    /// How it is drawn.
    pub kind: ValueKind,
    /// How many random bytes, for `hex`, `base64` and `base64url`.
    pub bytes: Option<usize>,
    /// How many characters, for `password` and `characters`.
    pub length: Option<usize>,
    /// The characters, for `characters`.
    pub alphabet: Option<String>,
    /// Put in front.
    #[serde(default)]
    pub prefix: String,
    /// Put at the end, so that a scanner can tell a key from a typo.
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

/// What is put at the end of a value.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// Six characters: the CRC-32 of what is before, in base62.
    Crc32,
}
