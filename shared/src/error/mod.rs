//! Errors that are safe to print.
//!
//! **Invariant:** an [`Error`] is a stable [`Code`] and a list of [`Fact`]s, and never holds another error's text. Servers, SDKs
//! and parsers quote their input, and the input may be a password. What has to be a name or a host is printed only if it looks like
//! one. Tests: `nothing_secret_is_printed_when_all_is_logged`, `what_is_no_name_is_not_printed`,
//! `whatever_a_server_calls_itself_is_not_printed`.

mod code;
mod shown;

pub use code::{Class, Code};
pub use shown::{is_host, key, name, secret_name, short_name};

use std::fmt;

/// The facts that an error may carry. An error can hold nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fact {
    /// An AWS API action, or a phase of a connection.
    Call,
    /// The service's own error code, e.g. `ThrottlingException`.
    ServiceCode,
    /// The ARN or name of a secret.
    Secret,
    /// The secret that the rotated one names: a superuser's or an admin's.
    OtherSecret,
    /// A version id (the client request token).
    Version,
    /// The labels that a version carries.
    Labels,
    /// A step's name as it was sent.
    Step,
    /// The name of a JSON field, an environment variable or an option.
    Field,
    /// What was found there: a type or a shape, never a value that could be secret.
    Found,
    /// What would have been right.
    Expected,
    /// A host name or address.
    Host,
    /// A port.
    Port,
    /// A user or role name.
    User,
    /// The other user of an alternating pair.
    Partner,
    /// A database name.
    Database,
    /// Which credential: current, pending, previous, superuser.
    Credential,
    /// A SQLSTATE (PostgreSQL, Appendix A).
    SqlState,
    /// A MySQL or MariaDB error number.
    ErrorNumber,
    /// What differs or is missing: an attribute, a setting, a privilege.
    What,
    /// The issuer of a key.
    Issuer,
    /// The id of a key, which is no secret.
    KeyId,
    /// An HTTP status.
    Status,
    /// How often something was tried.
    Attempts,
    /// What to do next, in this function's own words.
    NextAction,
}

impl Fact {
    /// The key under which the fact stands in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::ServiceCode => "serviceCode",
            Self::Secret => "secret",
            Self::OtherSecret => "otherSecret",
            Self::Version => "version",
            Self::Labels => "labels",
            Self::Step => "step",
            Self::Field => "field",
            Self::Found => "found",
            Self::Expected => "expected",
            Self::Host => "host",
            Self::Port => "port",
            Self::User => "user",
            Self::Partner => "partner",
            Self::Database => "database",
            Self::Credential => "credential",
            Self::SqlState => "sqlState",
            Self::ErrorNumber => "errorNumber",
            Self::What => "what",
            Self::Issuer => "issuer",
            Self::KeyId => "keyId",
            Self::Status => "status",
            Self::Attempts => "attempts",
            Self::NextAction => "nextAction",
        }
    }
}

/// Facts are cut to this many characters: longer than any ARN (a secret's name has up to 512 characters), short enough that an
/// attacker's field cannot flood a log line.
const FACT_LIMIT: usize = 1024;

/// The text of a fact, or what stands for it.
fn printable(fact: Fact, text: &str) -> &str {
    let looks_right = match fact {
        Fact::User | Fact::Partner | Fact::Database => shown::is_name(text),
        Fact::Host => is_host(text),
        // Some are those of others, who may write what they like.
        Fact::KeyId => shown::is_key_id(text),
        Fact::Issuer => text.len() <= 64 && shown::has_only(text, "-_."),
        Fact::Secret | Fact::OtherSecret => secret_name(text) == text,
        _ => true,
    };
    if looks_right { text } else { shown::HIDDEN }
}

/// A failure: a code and the facts of this occurrence. Safe to print in every form.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    code: Code,
    facts: Vec<(Fact, String)>,
}

/// The result of a function that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with no facts yet.
    pub fn new(code: Code) -> Self {
        Self { code, facts: Vec::new() }
    }

    /// Adds a fact. Control characters are escaped, and the text is cut to 1,024 characters. A user, a host and the like that does not
    /// look like one is not shown.
    #[must_use]
    pub fn with(mut self, fact: Fact, value: impl fmt::Display) -> Self {
        let mut text = String::new();
        for character in printable(fact, &value.to_string()).chars().take(FACT_LIMIT) {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        self.facts.push((fact, text));
        self
    }

    /// Adds a fact unless the error has one of that kind already: the innermost place knows best.
    #[must_use]
    pub fn with_default(self, fact: Fact, value: impl fmt::Display) -> Self {
        if self.fact(fact).is_some() { self } else { self.with(fact, value) }
    }

    /// The same without facts that hold this text: a password that a server could answer with. Texts of fewer than eight characters stand
    /// in ordinary words, too, and are left.
    #[must_use]
    pub fn hiding(mut self, secret: &str) -> Self {
        if secret.chars().count() >= 8 {
            for (_, value) in self.facts.iter_mut().filter(|(_, value)| value.contains(secret)) {
                *value = shown::HIDDEN.to_owned();
            }
        }
        self
    }

    /// The same facts under another code. What a failed login means depends on whose login it was.
    #[must_use]
    pub fn recoded(self, code: Code) -> Self {
        Self { code, ..self }
    }

    /// The same error with the facts of one kind turned into another.
    #[must_use]
    pub fn renamed(mut self, from: Fact, to: Fact) -> Self {
        for (fact, _) in &mut self.facts {
            if *fact == from {
                *fact = to;
            }
        }
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Whether trying again can help.
    pub fn class(&self) -> Class {
        self.code.class()
    }

    /// The first fact of this kind.
    pub fn fact(&self, fact: Fact) -> Option<&str> {
        self.facts.iter().find(|(kind, _)| *kind == fact).map(|(_, value)| value.as_str())
    }

    /// All facts, in the order in which they were added.
    pub fn facts(&self) -> impl Iterator<Item = (Fact, &str)> {
        self.facts.iter().map(|(kind, value)| (*kind, value.as_str()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.code, self.code.summary())?;
        for (index, (fact, value)) in self.facts().enumerate() {
            write!(f, "{}{}={value:?}", if index == 0 { " (" } else { ", " }, fact.as_str())?;
        }
        if !self.facts.is_empty() {
            f.write_str(")")?;
        }
        write!(f, ". {}", self.code.next_action())
    }
}

/// The same text as [`Display`](fmt::Display): `lambda_runtime` logs a handler's error with `{:?}`.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_kebab_case_and_say_what_to_do() {
        let mut seen = HashSet::new();
        for code in Code::ALL {
            let text = code.as_str();
            assert!(seen.insert(text), "{text} twice");
            assert!(text.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{text}");
            assert!(code.next_action().ends_with('.'), "{text}: {}", code.next_action());
            assert!(!code.summary().ends_with('.'), "{text}: {}", code.summary());
        }
    }

    #[test]
    fn a_fact_cannot_forge_a_log_line_or_flood_it() {
        let error = Error::new(Code::FieldInvalid).with(Fact::What, format!("a\n{}", "b".repeat(9_000)));
        let host = error.fact(Fact::What).unwrap();
        assert!(host.starts_with("a\\nbbb"), "{host}");
        assert!(host.len() < 1_100);
    }

    #[test]
    fn a_password_that_a_server_answers_with_is_hidden() {
        let error = Error::new(Code::PrivilegesDiffer).with(Fact::What, "setting hunter2hunter2").with(Fact::Port, 1);
        let hidden = error.clone().hiding("hunter2hunter2");
        assert!(!hidden.to_string().contains("hunter2") && hidden.fact(Fact::Port) == Some("1"), "{hidden}");
        assert_eq!(error.clone().hiding("setting"), error);
    }

    #[test]
    fn debug_and_display_are_the_same_text() {
        let error = Error::new(Code::FieldMissing).with(Fact::Field, "host");
        assert_eq!(format!("{error:?}"), format!("{error}"));
        assert_eq!(
            error.to_string(),
            "[field-missing] the secret lacks a required field (field=\"host\"). Add the field to the secret's JSON."
        );
    }

    #[test]
    fn what_does_not_look_like_its_kind_is_not_shown() {
        let long = "a".repeat(81);
        for (fact, good, bad) in [
            (
                Fact::User,
                &["app", "o'brien", "späti", "a b@c", "'app'@'10.0.0.0/255.0.0.0'", "'app'@'2001:db8::1'"][..],
                &[
                    "app:hunter2",
                    "postgres://app:hunter2@db",
                    "host=db password=hunter2",
                    "{\"password\":\"x\"}",
                    &long,
                ][..],
            ),
            (
                Fact::Host,
                &["db", "db.example.com.", "my_db-1", "10.0.0.1", "::1", "[::1]"],
                &["db:5432", "https://db", "app:hunter2@db", "app@db", "db/orders", "", "d b", "jdbc:mysql://db"],
            ),
            (
                Fact::KeyId,
                &[
                    "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
                    "https://a.example/keys/1",
                    "projects/p/a@b.example/1",
                ],
                &["postgres://app:hunter2@db", "hunter 2", "{\"k\"}", &"a".repeat(129)],
            ),
            (Fact::Issuer, &["new-relic"], &["Bearer hunter2", "https://x"]),
            (
                Fact::OtherSecret,
                &["arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-1a-AbCdEf", "name/a"],
                &["postgres://app:hunter2@db", "hunter 2"],
            ),
        ] {
            for text in good {
                assert_eq!(printable(fact, text), *text, "{fact:?}");
            }
            for text in bad {
                assert_eq!(printable(fact, text), shown::HIDDEN, "{fact:?} {text}");
            }
        }
    }
}
