//! What a secret says, in the issuer's terms.

use crate::description::{
    Admin, Issuer, Key, KeyValue, Output, Placeholder, Strategy, Var, VarSource, VarValue, written,
};
use crate::target::journal::{Grace, Journal};
use rotation::document::Document;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Options of a secret.
const OPTIONS: [&str; 5] = ["adminSecretArn", "revokePreviousAfterHours", "keyLifetimeDays", "value", "journal"];

/// What a version of a secret says.
#[derive(Clone, Debug)]
pub(crate) struct KeySecret {
    pub(crate) key: Key,
    pub(crate) admin_secret: Option<String>,
    pub(crate) grace: Grace,
    /// Of a new key, where the issuer is told it.
    pub(crate) lifetime: Option<Duration>,
    pub(crate) value: Option<KeyValue>,
    pub(crate) journal: Journal,
    /// The variables that are the secret's own.
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

    /// That another version is about the same thing at the same place.
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

fn lifetime(options: Option<&Document>, issuer: &Issuer) -> Result<Option<Duration>> {
    let Some(options) = options else { return Ok(issuer.lifetime) };
    // An issuer that is told a date ends the key when that day begins.
    let expected = "days, 2 to 3660";
    let Some(days) = options.typed::<u64>("keyLifetimeDays", expected)? else { return Ok(issuer.lifetime) };
    if issuer.lifetime.is_none() || !(2..=3660).contains(&days) {
        let expected = if issuer.lifetime.is_none() { "nothing: this issuer is told no lifetime" } else { expected };
        return Err(options.invalid("keyLifetimeDays", "a number", expected));
    }
    Ok(Some(Duration::from_secs(days * 86_400)))
}

/// The key in a version: the fields that a rotation writes, read back.
///
/// # Errors
/// [`Code::FieldMissing`] and [`Code::FieldInvalid`].
pub fn key(document: &Document, issuer: &Issuer) -> Result<Key> {
    let mut key = Key { id: None, secret: None, fields: BTreeMap::new() };
    for (field, output) in &issuer.output {
        match output {
            Output::KeySecret => key.secret = Some(document.password(field)?.expose().into()),
            Output::KeyId => key.id = Some(document.string(field)?),
            // Absent until the first rotation.
            Output::KeyField(name) => {
                let text = document.optional_string(field)?;
                key.fields.extend(text.map(|text| (name.clone(), SecretText::from(text))));
            }
            Output::PreviousSecret | Output::Time => {}
        }
    }
    Ok(key)
}

/// What a value that is made here looks like: as the secret has it, or the description.
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

/// The variables that one of the two secrets has.
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

/// The fields of the admin secret that the description fills in somewhere, and no others.
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

/// Their names.
pub fn admin_names(issuer: &Issuer) -> BTreeSet<String> {
    let placeholders = issuer.placeholders();
    placeholders
        .filter_map(|place| if let Placeholder::Admin(name) = place { Some(name.clone()) } else { None })
        .collect()
}
