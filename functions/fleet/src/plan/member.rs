//! A secret as the plan sees it. No credential is in it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A secret of the account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// The ARN of the function that rotates it; empty if there is none.
    pub function: String,
    /// Whether its rotation is turned on.
    pub enabled: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When its value changed last, in seconds since the Unix epoch.
    pub changed: Option<u64>,
    /// The ids of the versions that have labels.
    pub versions: Vec<String>,
    /// How often it rotates.
    pub rules: Rules,
    /// The labels, each with the id of its version.
    pub labels: BTreeMap<String, String>,
    /// What its value says. `None` if the value was not read, or is no JSON object.
    pub value: Option<Facts>,
}

/// The rules of a secret's rotation, as Secrets Manager has them: `AutomaticallyAfterDays`, or an expression.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotationRulesType.html>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// A number of days. It means nothing beside an expression.
    pub days: Option<i64>,
    /// `rate(…)` or `cron(…)`.
    pub expression: Option<String>,
}

/// What a plan takes from a secret's value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Facts {
    /// The database's host, or the name of the issuer of keys.
    pub host: String,
    /// The database's name.
    pub database: String,
    /// How the credential is replaced.
    pub strategy: Strategy,
    /// Keys that are still to be revoked.
    pub journal: usize,
    /// A key that has leaked is named in the value, so that a rotation ends it.
    pub names_leaked: bool,
}

/// How a credential is replaced, as far as the value shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// One user, and the server knows one password of it.
    SingleUser,
    /// One user on MySQL, whose previous password may be kept.
    PerhapsDualPassword,
    /// Two users take turns.
    AlternatingUsers,
    /// A key of an issuer.
    ApiKey,
    /// A key that signs tokens.
    SigningKey,
    /// A certificate with its private key.
    Certificate,
    /// The value does not tell, or could not be read.
    #[default]
    Unknown,
}

impl Facts {
    /// Reads what a plan needs from a secret's value. `None` if it is no JSON object.
    ///
    /// docs/secrets.md, "Which user is rotated how"
    pub fn of(value: &str) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(value).ok()?;
        let value = value.as_object()?;
        let text = |name: &str| value.get(name).and_then(|it| it.as_str()).filter(|it| !it.is_empty());
        let options = value.get("rotation").and_then(|it| it.as_object());
        let option = |name: &str| options.and_then(|options| options.get(name));
        let named = |name: &str| option(name).and_then(|it| it.as_str());
        // `rotation.fields` gives other names to AWS's keys.
        let field = |name: &str| {
            let other = option("fields").and_then(|fields| fields.get(name)).and_then(|it| it.as_str());
            text(other.filter(|other| !is_credential(other)).unwrap_or(name))
        };
        let journal = option("journal").and_then(|journal| journal.as_object());
        let journal = journal.map_or(0, |journal| journal.values().filter_map(|it| it.as_array()).map(Vec::len).sum());
        let engine = field("engine").or(named("engine"));
        let one_user = option("superuserRescue").and_then(serde_json::Value::as_bool) == Some(true)
            || named("setPasswordAs") == Some("superuser");
        let strategy = match engine {
            _ if text("issuer").is_some() => Strategy::ApiKey,
            Some(_) if field("masterarn").is_some() && !one_user => Strategy::AlternatingUsers,
            Some("mysql" | "aurora-mysql") => Strategy::PerhapsDualPassword,
            Some(_) => Strategy::SingleUser,
            None if value.contains_key("algorithm") && value.contains_key("maxTokenLifetime") => Strategy::SigningKey,
            None if value.contains_key("directory") && value.contains_key("names") => Strategy::Certificate,
            None => Strategy::Unknown,
        };
        let names_leaked = match strategy {
            Strategy::SigningKey => option("emergency").and_then(|it| it.get("leaked")).is_some(),
            Strategy::Certificate => option("revokeSuperseded").is_some() && option("revokeSerial").is_some(),
            _ => false,
        };
        let host = field("host").or(text("issuer")).unwrap_or_default().to_ascii_lowercase();
        Some(Self { host, database: field("dbname").unwrap_or_default().to_owned(), strategy, journal, names_leaked })
    }
}

impl Member {
    /// Where the credential is used, for the pace: one server, one issuer. Secrets whose value was not read count as one server per
    /// function, which is the careful choice.
    pub fn place(&self) -> String {
        match &self.value {
            Some(facts) if !facts.host.is_empty() => facts.host.clone(),
            _ => format!("unknown:{}", self.function),
        }
    }
}

/// Whether a key of a secret has the name of a credential. None of them names a host, whatever the secret's writer says.
pub(crate) fn is_credential(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["pass", "pwd", "secret", "token", "key", "credential"].iter().any(|word| key.contains(word))
}

/// A place as it may be printed. Whoever writes a secret chooses its host, and puts a whole URL there with its password, too.
pub fn shown_place(place: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let is_function = place.starts_with("unknown:");
    if place.len() <= 253 && place.chars().all(plain) && (is_function || place.contains('.') || place.len() <= 40) {
        place
    } else {
        "(not a host name)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strategy_is_read_from_the_value() {
        let strategy = |value: &str| Facts::of(value).map(|facts| facts.strategy);
        for (value, expected) in [
            (r#"{"engine":"postgres","host":"h"}"#, Strategy::SingleUser),
            (r#"{"engine":"mariadb"}"#, Strategy::SingleUser),
            (r#"{"engine":"mysql"}"#, Strategy::PerhapsDualPassword),
            (r#"{"engine":"mysql","masterarn":"arn"}"#, Strategy::AlternatingUsers),
            (
                r#"{"engine":"mysql","masterarn":"arn","rotation":{"superuserRescue":true}}"#,
                Strategy::PerhapsDualPassword,
            ),
            (
                r#"{"engine":"postgres","masterarn":"arn","rotation":{"setPasswordAs":"superuser"}}"#,
                Strategy::SingleUser,
            ),
            (r#"{"rotation":{"engine":"postgres"}}"#, Strategy::SingleUser),
            (r#"{"type":"postgres","rotation":{"fields":{"engine":"type"}}}"#, Strategy::SingleUser),
            (r#"{"issuer":"datadog","apiKey":"k"}"#, Strategy::ApiKey),
            (r#"{"algorithm":"ES256","maxTokenLifetime":3600,"maxCache":600}"#, Strategy::SigningKey),
            (r#"{"directory":"https://ca/directory","names":["a"]}"#, Strategy::Certificate),
            (r#"{"directory":"https://ca/directory","accountKey":"k"}"#, Strategy::Unknown),
            (r#"{"anything":1}"#, Strategy::Unknown),
        ] {
            assert_eq!(strategy(value), Some(expected), "{value}");
        }
        assert_eq!(strategy("[]"), None);
        assert_eq!(strategy("hunter2"), None);
    }

    #[test]
    fn whether_the_leaked_key_is_named_is_read_from_the_value() {
        for (value, named) in [
            (r#"{"algorithm":"ES256","maxTokenLifetime":1,"rotation":{"publish":[]}}"#, false),
            (r#"{"algorithm":"ES256","maxTokenLifetime":1,"rotation":{"emergency":{"leaked":"kid"}}}"#, true),
            (r#"{"directory":"d","names":[],"rotation":{"revokeSuperseded":"superseded"}}"#, false),
            (
                r#"{"directory":"d","names":[],"rotation":{"revokeSuperseded":"keyCompromise","revokeSerial":"01"}}"#,
                true,
            ),
        ] {
            assert_eq!(Facts::of(value).unwrap().names_leaked, named, "{value}");
        }
    }

    #[test]
    fn only_what_looks_like_a_host_is_printed() {
        for host in
            ["db.example.com", "10.0.0.7", "fe80::1", "unknown:arn:aws:lambda:eu-central-1:1:function:f", "datadog"]
        {
            assert_eq!(shown_place(host), host);
        }
        for other in ["postgres://app:hunter2@db/x", "hunter2!", "db example", &"x".repeat(300)] {
            assert_eq!(shown_place(other), "(not a host name)");
        }
    }

    #[test]
    fn no_credential_is_kept() {
        let facts =
            Facts::of(r#"{"engine":"postgres","host":"DB","dbname":"orders","password":"hunter2hunter2"}"#).unwrap();
        assert_eq!((facts.host.as_str(), facts.database.as_str()), ("db", "orders"));
        assert!(!format!("{facts:?}").contains("hunter2"));
        let renamed = r#"{"engine":"postgres","password":"hunter2hunter2","rotation":{"fields":{"host":"password"}}}"#;
        assert!(!format!("{:?}", Facts::of(renamed)).contains("hunter2"));
    }
}
