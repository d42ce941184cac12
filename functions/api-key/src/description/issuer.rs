//! An issuer: a description that has been checked.

use crate::description::{
    Admin, Auth, Call, Create, Find, Http, KeyValue, OwnId, Placeholder, Revoke, Role, Roll, Scheme, Set, Strategy,
    Template, Var, Verify,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An issuer of keys. Only [`read`](crate::description::read) makes one, so its parts fit together.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The name that a secret has under `issuer`.
    pub id: String,
    /// The name for people.
    pub title: String,
    /// The documentation that the description was written from.
    pub sources: Vec<String>,
    /// What was not checked against the live service.
    pub unchecked: String,
    /// What can go wrong that no function can prevent.
    pub risk: Option<String>,
    /// How a key is replaced.
    pub strategy: Strategy,
    /// Which credential manages keys.
    pub admin: Admin,
    /// How long a superseded key stays valid. `None`: until the next rotation.
    pub grace: Option<Duration>,
    /// The lifetime of a new key, if it is sent to the issuer.
    pub lifetime: Option<Duration>,
    /// The values that differ between secrets.
    pub vars: BTreeMap<String, Var>,
    /// The secret's fields that a rotation writes.
    pub output: BTreeMap<String, Output>,
    /// The issuer's address.
    pub http: Option<Http>,
    /// Authentication for calls that manage keys.
    pub admin_auth: Option<Auth>,
    /// Authentication for calls that use a key.
    pub key_auth: Option<Auth>,
    /// Lists keys.
    pub find: Option<Find>,
    /// Creates a key.
    pub create: Option<Create>,
    /// Exchanges a key.
    pub roll: Option<Roll>,
    /// Sends the issuer a value.
    pub set: Option<Set>,
    /// The form of a key that the function draws.
    pub value: Option<KeyValue>,
    /// Tries a key.
    pub verify: Option<Verify>,
    /// Revokes a key.
    pub revoke: Vec<Revoke>,
}

/// The content of a field that a rotation writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// `key.secret`
    KeySecret,
    /// `key.id`
    KeyId,
    /// `key.X`
    KeyField(String),
    /// `previous.secret`: the previous key, for services that accept both.
    PreviousSecret,
    /// `time`: when the rotation was made, RFC 3339.
    Time,
}

impl Issuer {
    /// Whether the issuer creates keys with ids, so that each can be revoked by itself.
    pub fn mints(&self) -> bool {
        matches!(self.strategy, Strategy::CreateRevoke | Strategy::RevokeCreate)
    }

    /// Whether the function knows id and value of a key before the issuer does. Then the key is stored first, and created in
    /// setSecret, as often as need be.
    pub fn creates_stored_keys(&self) -> bool {
        self.value.is_some() && self.create.as_ref().is_some_and(|create| create.id == Some(OwnId::Name))
    }

    /// Whether a key is its own id. Then a digest takes the id's place wherever an id is stored or printed.
    pub fn keys_are_ids(&self) -> bool {
        self.create.as_ref().is_some_and(|create| create.id == Some(OwnId::Key))
    }

    /// Whether the function can find its keys by their names.
    pub fn finds_by_name(&self) -> bool {
        self.find.as_ref().is_some_and(|find| find.name.is_some())
    }

    /// Whether a key works only together with its own id, because the id is the user of Basic authentication.
    pub fn signs_in_with_id(&self) -> bool {
        let scheme = self.key_auth.as_ref().and_then(|auth| auth.scheme.as_ref());
        matches!(scheme, Some(Scheme::Basic(basic)) if basic.user.only_placeholder() == Some(&Placeholder::KeyId))
    }

    /// Whether a successful try proves that the key has its id.
    pub fn tells_identity(&self) -> bool {
        let by_key = self.verify.as_ref().filter(|verify| verify.call.role == Role::Key);
        let tells = |verify: &Verify| verify.identity.is_some() || self.signs_in_with_id() || self.keys_are_ids();
        by_key.is_some_and(tells)
    }

    /// The field of the secret that holds the key.
    pub fn key_field(&self) -> &str {
        let key = self.output.iter().find(|(_, output)| **output == Output::KeySecret);
        key.map_or("apiKey", |(field, _)| field.as_str())
    }

    /// All placeholders.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        let auths = self.admin_auth.iter().chain(&self.key_auth).flat_map(Auth::templates);
        let headers = self.http.iter().flat_map(|http| http.headers.iter().map(|(_, value)| value));
        let base = self.http.iter().flat_map(|http| [&http.base.host, &http.base.path]);
        auths.chain(headers).chain(base).chain(self.calls().flat_map(Call::templates)).flat_map(Template::placeholders)
    }

    /// The variables that say where a key is: those in addresses, in authentication and in `find`.
    pub fn location_vars(&self) -> BTreeSet<&str> {
        let auths = self.admin_auth.iter().chain(&self.key_auth).flat_map(Auth::templates);
        let base = self.http.iter().flat_map(|http| [&http.base.host, &http.base.path]);
        let targets = self.calls().flat_map(|call| call.target.templates());
        // The conditions of `find` decide which keys are found.
        let find = self.find.iter().flat_map(|find| {
            let expected = find.fields.iter().flat_map(|(_, expected)| expected.templates());
            find.call.templates().into_iter().chain(expected)
        });
        let placeholders = auths.chain(base).chain(targets).chain(find).flat_map(Template::placeholders);
        placeholders
            .filter_map(|place| if let Placeholder::Var(name) = place { Some(name.as_str()) } else { None })
            .collect()
    }

    /// All calls, in the order of a rotation.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        let find = self.find.iter().map(|find| &find.call);
        let create = self.create.iter().flat_map(|create| {
            let before = create.before.iter().map(|further| &further.call);
            before.chain([&create.call]).chain(create.after.iter().map(|further| &further.call))
        });
        let roll = self.roll.iter().map(|roll| &roll.call);
        let set = self.set.iter().map(|set| &set.call);
        let verify = self.verify.iter().map(|verify| &verify.call);
        find.chain(create).chain(roll).chain(set).chain(verify).chain(self.revoke.iter().map(|revoke| &revoke.call))
    }
}
