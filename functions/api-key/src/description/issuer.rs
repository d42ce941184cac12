//! An issuer: a description, checked and ready to use.

use crate::description::{
    Admin, Auth, Call, Create, Find, Http, KeyValue, Placeholder, Revoke, Role, Roll, Scheme, Set, Strategy, Template,
    Var, Verify,
};
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
        matches!(scheme, Some(Scheme::Basic(basic)) if basic.user.only_placeholder() == Some(&Placeholder::KeyId))
    }

    /// Whether a key that works is known to be the one of its id.
    pub fn tells_identity(&self) -> bool {
        let by_key = self.verify.as_ref().filter(|verify| verify.call.role == Role::Key);
        by_key.is_some_and(|verify| verify.identity.is_some() || self.signs_in_with_id())
    }

    /// The field of the secret that holds the key.
    pub fn key_field(&self) -> &str {
        let key = self.output.iter().find(|(_, output)| **output == Output::KeySecret);
        key.map_or("apiKey", |(field, _)| field.as_str())
    }

    /// Everything that is filled in anywhere.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        let auths = self.admin_auth.iter().chain(&self.key_auth).flat_map(Auth::templates);
        let headers = self.http.iter().flat_map(|http| http.headers.iter().map(|(_, value)| value));
        let base = self.http.iter().flat_map(|http| [&http.base.host, &http.base.path]);
        auths.chain(headers).chain(base).chain(self.calls().flat_map(Call::templates)).flat_map(Template::placeholders)
    }

    /// The variables that say where a key is, as opposed to what it is like: those in addresses and credentials.
    pub fn location_vars(&self) -> BTreeSet<&str> {
        let auths = self.admin_auth.iter().chain(&self.key_auth).flat_map(Auth::templates);
        let base = self.http.iter().flat_map(|http| [&http.base.host, &http.base.path]);
        let targets = self.calls().flat_map(|call| call.target.templates());
        // What is looked for says which keys are found.
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
