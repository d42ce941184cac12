//! Finds the secret of a leaked credential, and proposes what to do.
//!
//! **Invariant:** a leaked value is only ever turned into a fingerprint. It is not compared with a secret's value, not logged, and not
//! in any answer. Without it, the tool that reports a leak is the next leak. Test: `no_value_is_in_the_answer`.

mod aws;
mod fingerprint;
mod found;
mod webhook;

use crate::plan::member::Member;
use crate::service::Aws;
use crate::{digest, plan::order::Mode};
use fingerprint::{Age, FINGERPRINTS, Key};
use found::{Leaked, Report};
use rotation::clock::{Deadline, since_epoch};
use rotation::environment::Environment;
use rotation::error::{Code, Error, Fact, Result};
use rotation::lambda::{Invocation, notice, record};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use webhook::{Recent, Refusal};

/// The tag with which a deployer lets a leak of this secret start an emergency by itself.
pub const ON_LEAK: &str = "lockstep:on-leak";
/// So many matches stand in an answer.
const NAMED: usize = 100;

/// What finds the secrets of leaked credentials.
#[derive(Debug)]
pub struct Leaks {
    /// `FINGERPRINT_KEY_SECRET`: the secret with the key of the fingerprints.
    key: Option<String>,
    /// `WEBHOOK_SECRET`: the secret with the text that signs GitHub's webhook.
    webhook: Option<String>,
    /// `STATE_MACHINE_ARN`: where an emergency is started.
    machine: Option<String>,
    /// `START_ON_LEAK`: whether secrets with the tag `lockstep:on-leak` = `rotate` are rotated at once.
    starts: bool,
    recent: Recent,
}

/// Whether the payload comes from EventBridge or a Function URL.
pub fn is_event(payload: &Value) -> bool {
    payload.get("detail-type").is_some() || payload.pointer("/requestContext/http").is_some()
}

/// A leaked credential and its secret.
#[derive(Debug)]
struct Match<'a> {
    member: &'a Member,
    age: Age,
    leaked: &'a Leaked,
    fingerprint: String,
}

impl Leaks {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`].
    pub fn new(environment: &Environment) -> Result<Self> {
        Ok(Self {
            key: environment.text("FINGERPRINT_KEY_SECRET")?,
            webhook: environment.text("WEBHOOK_SECRET")?,
            machine: environment.text("STATE_MACHINE_ARN")?,
            starts: environment.flag("START_ON_LEAK", false)?,
            recent: Recent::default(),
        })
    }

    /// Writes the fingerprints of each secret into its tag, if they changed.
    pub(crate) async fn tag(&self, aws: &Aws, members: &[Member], deadline: Deadline) -> Result<Value> {
        let key = self.key(aws, deadline).await?;
        let (mut written, mut unread) = (0, Vec::new());
        for member in members {
            let Some(text) = aws.text(&member.arn, None, deadline).await? else {
                unread.push(member.name.clone());
                continue;
            };
            let known = member.tags.get(FINGERPRINTS).map(String::as_str).unwrap_or_default();
            let tag = key.tag(text.expose(), known);
            if tag != known {
                aws.tag(&member.arn, FINGERPRINTS, &tag, deadline).await?;
                written += 1;
            }
        }
        Ok(json!({"secrets": members.len(), "tagged": written, "unread": unread}))
    }

    /// Finds the secrets of a report of gitleaks or trufflehog.
    pub(crate) async fn report(&self, aws: &Aws, report: &Value, invocation: &Invocation) -> Result<Value> {
        let report = Report::read(report)?;
        self.matched(aws, &report, invocation).await
    }

    /// Answers EventBridge, and a Function URL with the answer of an HTTP request.
    pub(crate) async fn event(&self, aws: &Aws, payload: &Value, invocation: &Invocation) -> Result<Value> {
        if payload.pointer("/requestContext/http").is_none() {
            return self.matched(aws, &aws::report(payload), invocation).await;
        }
        match self.hook(aws, payload, invocation).await {
            Ok(answer) => Ok(http(200, &answer)),
            Err(Refusal::Because(status, reason)) => {
                record("leak", invocation, &json!({"event": "refused", "reason": reason}));
                Ok(http(status, &json!({"refused": reason})))
            }
            Err(Refusal::Failed(error)) => Err(error),
        }
    }

    async fn hook(&self, aws: &Aws, payload: &Value, invocation: &Invocation) -> Result<Value, Refusal> {
        let Some(secret) = &self.webhook else { return Err(Refusal::Because(404, "there is no webhook")) };
        let signs = aws.text(secret, None, invocation.deadline).await?;
        let Some(signs) = signs else { return Err(missing("WEBHOOK_SECRET").into()) };
        let body = webhook::verified(payload, signs.expose(), &self.recent, since_epoch().as_secs())?;
        let report = webhook::report(&body);
        Ok(self.matched(aws, &report, invocation).await?)
    }

    async fn key(&self, aws: &Aws, deadline: Deadline) -> Result<Key> {
        let Some(secret) = &self.key else { return Err(missing("FINGERPRINT_KEY_SECRET")) };
        let text = aws.text(secret, None, deadline).await?;
        Key::of(text.as_ref().map(rotation::secret::SecretText::expose).unwrap_or_default())
    }

    async fn matched(&self, aws: &Aws, report: &Report, invocation: &Invocation) -> Result<Value> {
        let deadline = invocation.deadline;
        if report.leaked.is_empty() {
            let answer = report.answer(&[], 0, &[]);
            if !report.notices.is_empty() {
                notice("a credential may have leaked", &answer);
            }
            return Ok(answer);
        }
        let (key, members) = (self.key(aws, deadline).await?, aws.members(deadline).await?);
        let known = index(&members);
        let (matches, unknown) = find(&key, &known, &report.leaked);
        let mut started = Vec::new();
        for one in matches.iter().filter(|one| one.age != Age::Older) {
            let allowed = self.starts && one.member.tags.get(ON_LEAK).map(String::as_str) == Some("rotate");
            let Some(machine) = self.machine.as_ref().filter(|_| allowed) else { continue };
            // The name follows from the secret and the leaked value: whoever reports the leak again, or floods the hook, starts nothing
            // a second time.
            let name = format!("leak-{}", digest::key(&["leak", &one.member.arn, &one.fingerprint]));
            if aws.start(machine, &name, &order(&name, &[one]), deadline).await? {
                started.push(name);
            }
        }
        let answer = report.answer(&matches, unknown, &started);
        if !matches.is_empty() || !report.notices.is_empty() {
            notice("a credential has leaked", &answer);
        }
        record("leak", invocation, &json!({"event": "reported", "matches": matches.len(), "unknown": unknown}));
        Ok(answer)
    }
}

fn missing(variable: &str) -> Error {
    let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, variable).with(Fact::Found, "nothing");
    error.with(Fact::Expected, "the name of a secret that this function may read")
}

fn http(status: u16, answer: &Value) -> Value {
    json!({"statusCode": status, "headers": {"content-type": "application/json"}, "body": answer.to_string()})
}

/// The fingerprints of all secrets.
fn index(members: &[Member]) -> BTreeMap<&str, (&Member, Age)> {
    let of = |member| fingerprint::in_tag(member).map(move |(fingerprint, age)| (fingerprint, (member, age)));
    members.iter().flat_map(of).collect()
}

/// The secrets of leaked values, and how many values belong to none.
fn find<'a>(key: &Key, known: &BTreeMap<&str, (&'a Member, Age)>, leaked: &'a [Leaked]) -> (Vec<Match<'a>>, usize) {
    let (mut matches, mut unknown) = (Vec::<Match<'_>>::new(), 0);
    for leaked in leaked {
        let fingerprints = found::parts(leaked.value.expose()).into_iter().map(|part| key.fingerprint(&part));
        let hit = fingerprints.into_iter().find_map(|one| Some((*known.get(one.as_str())?, one)));
        match hit {
            Some(((member, age), fingerprint)) => {
                // A value stands in many commits.
                if !matches.iter().any(|one| one.fingerprint == fingerprint) {
                    matches.push(Match { member, age, leaked, fingerprint });
                }
            }
            None => unknown += 1,
        }
    }
    (matches, unknown)
}

/// The order of an emergency for these secrets.
fn order(name: &str, matches: &[&Match<'_>]) -> Value {
    let secrets: Vec<_> = matches.iter().map(|one| one.member.arn.as_str()).collect();
    let why =
        matches.first().map(|one| format!("leaked: {} {}", one.leaked.rule, one.leaked.place)).unwrap_or_default();
    json!({"run": true, "name": name, "mode": Mode::Emergency, "why": why, "askedBy": "leak", "select": {"secrets": secrets}})
}

impl Report {
    fn answer(&self, matches: &[Match<'_>], unknown: usize, started: &[String]) -> Value {
        let shown = |one: &Match<'_>| {
            json!({
                "secret": one.member.name, "arn": one.member.arn, "value": one.age.as_str(),
                "rule": one.leaked.rule, "place": one.leaked.place,
            })
        };
        let alive: Vec<_> = matches.iter().filter(|one| one.age != Age::Older).collect();
        let proposal = alive.first().map(|first| {
            let name = format!("leak-{}", digest::key(&["leak", &first.member.arn, &first.fingerprint]));
            order(&name, &alive)
        });
        json!({
            "matches": matches.iter().take(NAMED).map(shown).collect::<Vec<_>>(),
            "matched": matches.len(),
            "unknown": unknown,
            "ignored": self.ignored,
            "notices": self.notices,
            "proposal": proposal,
            "started": started,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str =
        r#"{"engine":"postgres","host":"db.example.com","username":"app","password":"hunter2-hunter2-hunter2"}"#;

    fn key() -> Key {
        Key::of("0123456789abcdef0123456789abcdef").unwrap()
    }

    fn member(name: &str, value: &str, known: &str) -> Member {
        let tag = key().tag(value, known);
        Member {
            arn: format!("arn:{name}"),
            name: name.to_owned(),
            tags: [(FINGERPRINTS.to_owned(), tag)].into(),
            ..Member::default()
        }
    }

    fn gitleaks(secret: &str) -> Report {
        let finding =
            json!([{"RuleID": "generic-api-key", "Secret": secret, "File": "a.env", "StartLine": 3, "Commit": "0a1b"}]);
        Report::read(&finding).unwrap()
    }

    #[test]
    fn a_leaked_value_leads_to_its_secret() {
        let other = VALUE.replace("hunter2", "hunter3");
        let members = [member("other", &other, ""), member("mine", VALUE, "")];
        for leaked in ["hunter2-hunter2-hunter2", "postgres://app:hunter2-hunter2-hunter2@db.example.com/orders", VALUE]
        {
            let report = gitleaks(leaked);
            let known = index(&members);
            let (matches, unknown) = find(&key(), &known, &report.leaked);
            assert_eq!((matches.len(), unknown), (1, 0), "{leaked}");
            assert_eq!((matches[0].member.name.as_str(), matches[0].age), ("mine", Age::Current));
        }
        let report = gitleaks("hunter4-hunter4-hunter4");
        assert_eq!(find(&key(), &index(&members), &report.leaked).1, 1);
        // Neither does a fingerprint under another key.
        let stranger = Key::of("another key, another key, another key").unwrap();
        assert_eq!(find(&stranger, &index(&members), &gitleaks("hunter2-hunter2-hunter2").leaked).1, 1);
    }

    #[test]
    fn no_value_is_in_the_answer() {
        let members = [member("mine", VALUE, "")];
        let report = gitleaks("hunter2-hunter2-hunter2");
        let known = index(&members);
        let (matches, unknown) = find(&key(), &known, &report.leaked);
        let answer = report.answer(&matches, unknown, &[]);
        assert_eq!(answer["proposal"]["select"]["secrets"], json!(["arn:mine"]));
        assert_eq!(answer["proposal"]["mode"], "emergency");
        for text in [answer.to_string(), format!("{report:?}"), format!("{matches:?}"), format!("{:?}", key())] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    /// Whoever finds an old value does not make a working credential rotate.
    #[test]
    fn an_older_value_is_told_and_not_proposed() {
        let newer = VALUE.replace("hunter2", "hunter5");
        let newest = VALUE.replace("hunter2", "hunter6");
        let tag = key().tag(VALUE, "");
        let members = [member("mine", &newest, &key().tag(&newer, &tag))];
        let report = gitleaks("hunter2-hunter2-hunter2");
        let known = index(&members);
        let (matches, unknown) = find(&key(), &known, &report.leaked);
        let answer = report.answer(&matches, unknown, &[]);
        assert_eq!(answer["matches"][0]["value"], "older");
        assert_eq!(answer["proposal"], Value::Null);
        // The one before the current one may work, and is proposed.
        let report = gitleaks("hunter5-hunter5-hunter5");
        let (matches, unknown) = find(&key(), &known, &report.leaked);
        assert_eq!(matches[0].age, Age::Previous);
        assert!(report.answer(&matches, unknown, &[])["proposal"].is_object());
    }
}
