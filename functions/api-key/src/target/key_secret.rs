//! The content of a version of the secret.

use crate::description::{
    Admin, Issuer, Key, KeyValue, Output, Placeholder, Strategy, Var, VarSource, VarValue, rfc3339, written,
};
use crate::exchange::id_of;
use crate::target::journal::{Grace, Journal};
use rotation::clock::since_epoch;
use rotation::document::Document;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The options of a secret, under `rotation`.
const OPTIONS: [&str; 5] = ["adminSecretArn", "revokePreviousAfterHours", "keyLifetimeDays", "value", "journal"];

/// The content of a version.
#[derive(Clone, Debug)]
pub(crate) struct KeySecret {
    pub(crate) key: Key,
    pub(crate) admin_secret: Option<String>,
    pub(crate) grace: Grace,
    /// The lifetime of a new key, if it is sent to the issuer.
    pub(crate) lifetime: Option<Duration>,
    pub(crate) value: Option<KeyValue>,
    pub(crate) journal: Journal,
    /// The values of the variables in this secret.
    pub(crate) vars: BTreeMap<String, VarValue>,
}

/// The name under `issuer`.
///
/// # Errors
/// [`Code::FieldMissing`] and [`Code::FieldInvalid`].
pub fn issuer_name(document: &Document) -> Result<String> {
    document.string("issuer")
}

impl KeySecret {
    /// Reads a version's value.
    pub(crate) fn read(document: &Document, issuer: &Issuer) -> Result<Self> {
        let options = document.options(&OPTIONS)?;
        let option = |name: &str| options.as_ref().map_or(Ok(None), |options| options.optional_string(name));
        let admin_secret = option("adminSecretArn")?;
        if issuer.admin == Admin::Secret && admin_secret.is_none() {
            return Err(Error::new(Code::FieldMissing).with(Fact::Field, "rotation.adminSecretArn"));
        }
        let hours = options.as_ref().map_or(Ok(None), |options| options.hours("revokePreviousAfterHours"))?;
        if let (Some(options), Some(_)) = (&options, hours)
            && issuer.strategy != Strategy::CreateRevoke
        {
            let expected = "nothing: with this issuer, no previous key waits to be revoked";
            return Err(options.invalid("revokePreviousAfterHours", "a number", expected));
        }
        let grace = hours.or(issuer.grace).map_or(Grace::Cycle, Grace::For);
        Ok(Self {
            key: key(document, issuer)?,
            lifetime: lifetime(options.as_ref(), issuer)?,
            admin_secret,
            grace,
            value: value(options.as_ref(), issuer)?,
            journal: Journal::read(options.as_ref())?,
            vars: vars(document, issuer, VarSource::Secret)?,
        })
    }

    /// Checks that another version has the same admin secret and variables.
    pub(crate) fn same_target(&self, other: &Self) -> Result<()> {
        let differs = |field: &str| Err(Error::new(Code::PendingMismatch).with(Fact::Field, field));
        if self.admin_secret != other.admin_secret {
            return differs("rotation.adminSecretArn");
        }
        match self.vars.iter().find(|(name, value)| other.vars.get(*name) != Some(value)) {
            Some((name, _)) => differs(name),
            None => Ok(()),
        }
    }
}

/// The document with a new key in the fields that the description names. `previous` is the key that it replaces.
///
/// # Errors
/// [`Code::FieldMissing`] if the key lacks what a field shall have.
pub fn with_key(current: &Document, issuer: &Issuer, key: &Key, previous: Option<&SecretText>) -> Result<Document> {
    let mut changes = Vec::new();
    for (field, output) in &issuer.output {
        let text = match output {
            Output::KeySecret => key.secret.as_ref().map(|secret| secret.expose().to_owned()),
            Output::KeyId => key.id.clone(),
            Output::KeyField(name) => key.fields.get(name).map(|text| text.expose().to_owned()),
            Output::PreviousSecret => previous.map(|secret| secret.expose().to_owned()),
            Output::Time => Some(rfc3339(since_epoch())),
        };
        let text = text.ok_or_else(|| Error::new(Code::FieldMissing).with(Fact::Field, field))?;
        let json = match output {
            Output::KeyId => current.json_of_id(field, &text),
            _ => Value::from(text).to_string(),
        };
        changes.push((field.as_str(), json));
    }
    let changes: Vec<_> = changes.iter().map(|(field, json)| (*field, json.as_str())).collect();
    current.with_json(&changes)
}

fn lifetime(options: Option<&Document>, issuer: &Issuer) -> Result<Option<Duration>> {
    let Some(options) = options else { return Ok(issuer.lifetime) };
    // Two at least: an issuer that gets a date ends the key when that day begins.
    let expected = "days, 2 to 3660";
    let Some(days) = options.typed::<u64>("keyLifetimeDays", expected)? else { return Ok(issuer.lifetime) };
    if issuer.lifetime.is_none() || !(2..=3660).contains(&days) {
        let expected = if issuer.lifetime.is_none() { "nothing: this issuer is told no lifetime" } else { expected };
        return Err(options.invalid("keyLifetimeDays", "a number", expected));
    }
    Ok(Some(Duration::from_secs(days * 86_400)))
}

/// The key of a version, from the fields that a rotation writes.
///
/// # Errors
/// [`Code::FieldMissing`] and [`Code::FieldInvalid`].
pub fn key(document: &Document, issuer: &Issuer) -> Result<Key> {
    let mut key = Key { id: None, secret: None, fields: BTreeMap::new() };
    for (field, output) in &issuer.output {
        match output {
            Output::KeySecret => key.secret = Some(document.password(field)?.expose().into()),
            Output::KeyId => key.id = Some(document.id(field)?),
            // Absent until the first rotation.
            Output::KeyField(name) => {
                let text = document.optional_string(field)?;
                key.fields.extend(text.map(|text| (name.clone(), SecretText::from(text))));
            }
            Output::PreviousSecret | Output::Time => {}
        }
    }
    if issuer.keys_are_ids() {
        key.id = key.secret.as_ref().map(|secret| id_of(secret.expose()));
    }
    Ok(key)
}

/// The form of a key that the function draws: the one in the secret, or else the one in the description.
fn value(options: Option<&Document>, issuer: &Issuer) -> Result<Option<KeyValue>> {
    let expected = "an object with kind, bytes or length, and perhaps alphabet, prefix and checksum";
    let Some(options) = options else { return Ok(issuer.value.clone()) };
    let Some(written) = options.typed::<written::KeyValue>("value", expected)? else { return Ok(issuer.value.clone()) };
    let problem = |problems: Vec<crate::description::Problem>| {
        let first = problems.first().map(|problem| problem.path.clone()).unwrap_or_default();
        let expected = problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
        let error = Error::new(Code::FieldInvalid).with(Fact::Field, format_args!("rotation.{first}"));
        error.with(Fact::Expected, expected)
    };
    KeyValue::check(&written).map(Some).map_err(problem)
}

/// The values of the variables in one of the two secrets.
///
/// # Errors
/// [`Code::FieldMissing`] and [`Code::FieldInvalid`].
pub fn vars(document: &Document, issuer: &Issuer, from: VarSource) -> Result<BTreeMap<String, VarValue>> {
    let mut vars = BTreeMap::new();
    for (name, var) in issuer.vars.iter().filter(|(_, var)| var.from == from) {
        vars.insert(name.clone(), var_of(document, var)?);
    }
    Ok(vars)
}

fn var_of(document: &Document, var: &Var) -> Result<VarValue> {
    let found = document.typed::<Value>(&var.field, "a JSON value")?;
    let value = found.as_ref().or(var.default.as_ref());
    let value = value.ok_or_else(|| Error::new(Code::FieldMissing).with(Fact::Field, &var.field))?;
    var.read(value).map_err(|expected| document.invalid(&var.field, "another value", &expected))
}

/// The fields of the admin secret that the description uses.
///
/// # Errors
/// [`Code::FieldMissing`] and [`Code::FieldInvalid`].
pub fn admin_fields(document: &Document, issuer: &Issuer) -> Result<BTreeMap<String, SecretText>> {
    let mut fields = BTreeMap::new();
    for name in admin_names(issuer) {
        fields.insert(name.clone(), document.string(&name)?.into());
    }
    Ok(fields)
}

/// The names of these fields.
pub fn admin_names(issuer: &Issuer) -> BTreeSet<String> {
    let placeholders = issuer.placeholders();
    placeholders
        .filter_map(|place| if let Placeholder::Admin(name) = place { Some(name.clone()) } else { None })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTION: &str = r#"
issuer: acme
title: Acme
sources: [https://acme.example/docs]
unchecked: everything
strategy: create_revoke
risk: none
vars: {account: {}}
http: {base: "https://acme.example"}
auth: {admin: {bearer: "{{admin.token}}"}, key: {bearer: "{{key.secret}}"}}
create: {post: "/{{vars.account}}/keys", extract: {id: /id, secret: /key}}
verify: {get: /me, works: {status: [200]}, rejected: {status: [401]}}
revoke: [{delete: "/keys/{{key.id}}"}]
"#;

    fn version(key: &str, account: &str, admin: &str) -> KeySecret {
        let text = format!(
            r#"{{"issuer": "acme", "apiKey": "{key}", "apiKeyId": "1", "account": "{account}", "rotation": {{"adminSecretArn": "{admin}"}}}}"#
        );
        let issuer = crate::description::read(DESCRIPTION).unwrap();
        KeySecret::read(&Document::parse(text.as_str().into()).unwrap(), &issuer).unwrap()
    }

    #[test]
    fn a_pending_version_about_something_else_is_refused() {
        let current = version("a", "1", "admin");
        current.same_target(&version("b", "1", "admin")).unwrap();
        for (other, field) in
            [(version("b", "2", "admin"), "account"), (version("b", "1", "other"), "rotation.adminSecretArn")]
        {
            let error = current.same_target(&other).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Field)), (Code::PendingMismatch, Some(field)));
        }
    }
}
