//! The payload of an invocation. Secrets Manager sends one step of one rotation; people and schedules send a question.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>

use crate::document::kind;
use crate::error::{Code, Error, Fact, Result};
use crate::secret::RotationToken;
use serde_json::Value;
use std::fmt;

/// The API's limits for the two ids: `SecretIdType` and `ClientRequestTokenType` in the service's model.
const MAX_SECRET_ID: usize = 2048;
const MAX_TOKEN: usize = 64;

/// One of the four steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the new credential and store it as AWSPENDING.
    Create,
    /// Put the new credential into effect at the target.
    Set,
    /// Prove that the new credential works.
    Test,
    /// Move AWSCURRENT to the new version.
    Finish,
}

impl Step {
    /// Both spellings occur in AWS's documentation.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "createSecret" | "create_secret" => Some(Self::Create),
            "setSecret" | "set_secret" => Some(Self::Set),
            "testSecret" | "test_secret" => Some(Self::Test),
            "finishSecret" | "finish_secret" => Some(Self::Finish),
            _ => None,
        }
    }

    /// The error for a text that is no step. It repeats the text only if that is a known word in another spelling: whatever else is
    /// sent as a step may be anything, a password included.
    fn unknown(text: &str) -> Error {
        const WORDS: [&str; 13] = [
            "createsecret",
            "setsecret",
            "testsecret",
            "finishsecret",
            "diagnose",
            "recover",
            "watch",
            "status",
            "history",
            "report",
            "rotatenow",
            "retire",
            "endsessions",
        ];
        const LONGEST: usize = 32;
        let error = Error::new(Code::StepUnknown);
        let plain = |c: &char| !matches!(c, '_' | '-' | ' ');
        let word: String = text.chars().take(LONGEST).filter(plain).map(|c| c.to_ascii_lowercase()).collect();
        if text.len() <= LONGEST && WORDS.contains(&word.as_str()) {
            return error.with(Fact::Step, text);
        }
        error.with(Fact::Found, format_args!("another text, of {} bytes", text.len()))
    }

    /// The spelling that the service uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "createSecret",
            Self::Set => "setSecret",
            Self::Test => "testSecret",
            Self::Finish => "finishSecret",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a question for the [`status`](crate::protocol::status) asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whether the values are read, for user and strategy.
    pub values: bool,
}

/// What a [`retirement`](crate::protocol::retire) ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The credential of the version.
    Credential,
    /// The sessions of the version's user.
    Sessions,
}

impl Ends {
    /// The step that asks for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "retire",
            Self::Sessions => "endSessions",
        }
    }
}

/// What an invocation asks for.
#[derive(Clone, Debug)]
pub enum Request {
    /// Secrets Manager asks for a step of a rotation.
    Rotate(Event),
    /// A person asks what is wrong with a secret: [`diagnose`](crate::protocol::diagnose).
    Diagnose {
        /// The secret's ARN or name.
        secret: String,
        /// A version whose credential is to be tried as well.
        version: Option<String>,
    },
    /// A person asks to do what leads out of what is wrong with a secret: [`recover`](crate::protocol::recover).
    Recover {
        /// The secret's ARN or name.
        secret: String,
    },
    /// A schedule asks whether all secrets are rotated in time: [`watch`](crate::protocol::watch).
    Watch,
    /// A person, or a widget of a dashboard, asks how all secrets are: [`status`](crate::protocol::status).
    Status(Wanted),
    /// An auditor asks for a [`report`](crate::protocol::report).
    Report,
    /// A person asks for a secret's [`history`](crate::protocol::history).
    History {
        /// The secret's ARN or name.
        secret: String,
    },
    /// A person asks for a rotation: [`rotate_now`](crate::protocol::rotate_now).
    RotateNow {
        /// The secret's ARN or name.
        secret: String,
    },
    /// A person asks to end what a superseded version still opens: [`retire`](crate::protocol::retire).
    Retire {
        /// The secret's ARN or name.
        secret: String,
        /// The superseded version; AWSPREVIOUS if it is not named.
        version: Option<String>,
        /// What is to end.
        what: Ends,
    },
    /// A widget of a dashboard asks how it is used.
    Help,
}

impl Request {
    /// Reads an invocation's payload.
    ///
    /// # Errors
    /// [`Code::EventMalformed`] naming the field and what was found there, [`Code::StepUnknown`].
    pub fn parse(payload: &Value) -> Result<Self> {
        let secret = || text(payload, "SecretId", MAX_SECRET_ID).map(str::to_owned);
        let version = || {
            let version = payload.get("VersionId").filter(|version| !version.is_null());
            version.map(|_| text(payload, "VersionId", MAX_TOKEN).map(str::to_owned)).transpose()
        };
        let retire = |what| Ok(Self::Retire { secret: secret()?, version: version()?, what });
        match payload.get("Step").and_then(Value::as_str) {
            Some("diagnose") => Ok(Self::Diagnose { secret: secret()?, version: version()? }),
            Some("recover") => Ok(Self::Recover { secret: secret()? }),
            Some("watch") => Ok(Self::Watch),
            Some("status") => wanted(payload).map(Self::Status),
            Some("report") => Ok(Self::Report),
            Some("history") => Ok(Self::History { secret: secret()? }),
            Some("rotateNow") => Ok(Self::RotateNow { secret: secret()? }),
            Some("retire") => retire(Ends::Credential),
            Some("endSessions") => retire(Ends::Sessions),
            // What CloudWatch sends for a custom widget. Its parameters may be left out.
            None if payload.get("Step").is_none() && payload.get("describe") == Some(&Value::Bool(true)) => {
                Ok(Self::Help)
            }
            None if payload.get("Step").is_none() && payload.get("widgetContext").is_some_and(Value::is_object) => {
                wanted(payload).map(Self::Status)
            }
            _ => Event::parse(payload).map(Self::Rotate),
        }
    }
}

/// One step of one rotation.
#[derive(Clone, Debug)]
pub struct Event {
    /// The secret's ARN (or its name, when invoked by hand).
    pub secret: String,
    /// The id of the version that is being made (the client request token). This invocation reads and writes no other version
    /// as AWSPENDING.
    pub token: String,
    /// The step to carry out.
    pub step: Step,
    /// PutSecretValue gets it, too: Secrets Manager refuses cross-account and assumed-role rotations without it.
    pub rotation_token: Option<RotationToken>,
}

impl Event {
    /// Reads an invocation's payload.
    ///
    /// # Errors
    /// [`Code::EventMalformed`] naming the field and what was found there, [`Code::StepUnknown`].
    pub fn parse(payload: &Value) -> Result<Self> {
        if !payload.is_object() {
            return Err(malformed("(the payload)", kind(payload), "a JSON object"));
        }
        let secret = text(payload, "SecretId", MAX_SECRET_ID)?;
        let token = text(payload, "ClientRequestToken", MAX_TOKEN)?;
        let step = text(payload, "Step", usize::MAX)?;
        let rotation_token = match payload.get("RotationToken") {
            None | Some(Value::Null) => None,
            Some(_) => Some(text(payload, "RotationToken", usize::MAX)?.into()),
        };
        let step = Step::parse(step).ok_or_else(|| Step::unknown(step))?;
        Ok(Self { secret: secret.to_owned(), token: token.to_owned(), step, rotation_token })
    }
}

/// `"Values": false` leaves the values unread.
fn wanted(payload: &Value) -> Result<Wanted> {
    match payload.get("Values") {
        None | Some(Value::Null) => Ok(Wanted { values: true }),
        Some(Value::Bool(values)) => Ok(Wanted { values: *values }),
        Some(other) => Err(malformed("Values", kind(other), "true or false")),
    }
}

/// A required field of the payload, of at most `limit` bytes.
fn text<'a>(payload: &'a Value, field: &str, limit: usize) -> Result<&'a str> {
    match payload.get(field) {
        None => Err(malformed(field, "nothing", "a string")),
        Some(Value::String(text)) if text.is_empty() => Err(malformed(field, "an empty string", "a string")),
        Some(Value::String(text)) if text.len() > limit => {
            Err(malformed(field, &format!("{} bytes", text.len()), &format!("at most {limit} bytes")))
        }
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(malformed(field, kind(other), "a string")),
    }
}

fn malformed(field: &str, found: &str, expected: &str) -> Error {
    Error::new(Code::EventMalformed).with(Fact::Field, field).with(Fact::Found, found).with(Fact::Expected, expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_spellings_of_each_step() {
        for (text, step) in [
            ("createSecret", Step::Create),
            ("create_secret", Step::Create),
            ("setSecret", Step::Set),
            ("set_secret", Step::Set),
            ("testSecret", Step::Test),
            ("test_secret", Step::Test),
            ("finishSecret", Step::Finish),
            ("finish_secret", Step::Finish),
        ] {
            let event = Event::parse(&json!({"SecretId": "a", "ClientRequestToken": "b", "Step": text})).unwrap();
            assert_eq!(event.step, step);
            assert!(event.rotation_token.is_none());
        }
    }

    #[test]
    fn the_rotation_token_is_kept_and_never_printed() {
        let event =
            json!({"SecretId": "a", "ClientRequestToken": "b", "Step": "setSecret", "RotationToken": "opaque-1"});
        let event = Event::parse(&event).unwrap();
        assert_eq!(event.rotation_token.as_ref().unwrap().expose(), "opaque-1");
        assert!(!format!("{event:?}").contains("opaque-1"));
    }

    #[test]
    fn what_is_wrong_is_named_without_its_value() {
        let good = json!({"SecretId": "a", "ClientRequestToken": "b", "Step": "setSecret", "RotationToken": "c"});
        for field in ["SecretId", "ClientRequestToken", "Step", "RotationToken"] {
            for (value, found) in
                [(json!(7), "a number"), (json!(""), "an empty string"), (json!(["sensitive"]), "an array")]
            {
                let mut event = good.clone();
                event[field] = value;
                let error = Event::parse(&event).unwrap_err();
                assert_eq!(error.code(), Code::EventMalformed);
                assert_eq!((error.fact(Fact::Field), error.fact(Fact::Found)), (Some(field), Some(found)));
                assert!(!error.to_string().contains("sensitive"));
            }
        }
        let mut event = good;
        event["ClientRequestToken"] = json!("x".repeat(65));
        assert_eq!(Event::parse(&event).unwrap_err().fact(Fact::Found), Some("65 bytes"));
        assert_eq!(Event::parse(&json!([1])).unwrap_err().fact(Fact::Found), Some("an array"));
        let event = json!({"SecretId": "a", "ClientRequestToken": "b", "Step": "dropSecret"});
        assert_eq!(Event::parse(&event).unwrap_err().code(), Code::StepUnknown);
    }
}
