//! Finds the secret of a leaked credential, and proposes what to do.
//!
//! **Invariant:** a leaked value is only ever turned into a fingerprint. It is not compared with a secret's value, not logged, and not
//! in any answer. Without it, the tool that reports a leak is the next leak. Test: `no_value_is_in_the_answer`.

mod aws;
mod fingerprint;
mod found;
mod github;
mod search;
mod values;
mod webhook;

use crate::each::each;
use crate::plan::member::Member;
use crate::plan::order::Order;
use crate::service::Aws;
use fingerprint::{Age, FINGERPRINTS, Key};
use found::Report;
use github::GitHub;
use rotation::clock::{Deadline, since_epoch};
use rotation::environment::Environment;
use rotation::error::{Code, Error, Fact, Result};
use rotation::lambda::{Invocation, Metric, measure, notice, record};
use rotation::secret::SecretText;
use search::{Found, Match, find, order};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use webhook::{Delivery, Recent, Refusal};

/// The tag with which a deployer lets a leak of this secret start an emergency by itself.
pub const ON_LEAK: &str = "lockstep:on-leak";
/// So many secrets stand in an answer.
const NAMED: usize = 100;
/// What is left of an invocation's time after the last call, for the lines of the log.
const RESERVE: Duration = Duration::from_secs(2);
/// What was found instead of a key's text.
const NO_TEXT: &str = "a secret that is not there, or has no text";
/// So often the emergency for one leak is started anew after it has failed.
const MOST_ATTEMPTS: u32 = 5;

/// What finds the secrets of leaked credentials.
#[derive(Debug)]
pub struct Leaks {
    /// `FINGERPRINT_KEY_SECRET`: the secret with the key of the fingerprints.
    key: Option<String>,
    /// `WEBHOOK_SECRET`: the secret with the text that signs GitHub's webhook.
    webhook: Option<String>,
    /// Fetches the values that the webhook tells of. `None`: a person fetches them.
    github: Option<GitHub>,
    /// `STATE_MACHINE_ARN`: where an emergency is started.
    machine: Option<String>,
    /// `START_ON_LEAK`: whether secrets with the tag `lockstep:on-leak` = `rotate` are rotated at once.
    starts: bool,
    recent: Recent,
}

/// Whether the payload comes from EventBridge, or from an HTTP API of API Gateway (payload 2.0).
pub fn is_event(payload: &Value) -> bool {
    payload.get("detail-type").is_some() || payload.pointer("/requestContext/http").is_some()
}

/// What became of the emergencies that leaks start by themselves.
#[derive(Debug, Default)]
struct Started {
    /// Their names.
    begun: Vec<String>,
    /// Those that run or have succeeded.
    there: Vec<String>,
    /// Those that could not be started, and why.
    failed: Vec<Value>,
}

/// What became of one.
enum Begun {
    Now(String),
    Before(String),
    /// So many have failed that a person has to look.
    Never,
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
            github: GitHub::new(environment)?,
            machine: environment.text("STATE_MACHINE_ARN")?,
            starts: environment.flag("START_ON_LEAK", false)?,
            recent: Recent::default(),
        })
    }

    /// Writes the fingerprints of each secret into its tag, if they changed. One that refuses keeps no other from getting them.
    ///
    /// **Invariant:** a secret whose fingerprints are not written is told, with a metric that rings. Nobody waits for the answer to a schedule, and
    /// a leak of that secret leads nowhere. Test: `a_secret_without_fingerprints_is_told`.
    pub(crate) async fn tag(&self, aws: &Arc<Aws>, members: &[Member], invocation: &Invocation) -> Result<Value> {
        // What has no time left is told, too.
        let deadline = invocation.deadline.less(RESERVE);
        let key = Arc::new(self.key(aws, deadline).await?);
        let one = |member: Member| {
            let (aws, key) = (Arc::clone(aws), Arc::clone(&key));
            async move {
                let tagged = tagged(&aws, &key, &member, deadline).await;
                Ok((member.name, tagged))
            }
        };
        let (mut written, mut unread, mut incomplete, mut refused) = (0, Vec::new(), Vec::new(), Vec::new());
        let mut last = None;
        for (name, tagged) in each(members.to_vec(), one).await? {
            match tagged {
                Tagged::Written { new, complete } => {
                    written += usize::from(new);
                    if !complete {
                        incomplete.push(name);
                    }
                }
                Tagged::Unread(code) => unread.push(json!({"secret": name, "code": code})),
                Tagged::Refused(error) => {
                    refused.push(json!({"secret": name, "code": error.code().as_str()}));
                    last = Some(error);
                }
            }
        }
        let number = |list: &[Value]| f64::from(u32::try_from(list.len()).unwrap_or(u32::MAX));
        measure([(Metric::FingerprintsRefused, number(&refused)), (Metric::FingerprintsUnread, number(&unread))]);
        let none = !refused.is_empty() && refused.len() + unread.len() == members.len();
        let few = |list: Vec<Value>| list.into_iter().take(NAMED).collect::<Vec<_>>();
        let incomplete: Vec<_> = incomplete.into_iter().take(NAMED).collect();
        let answer = json!({
            "secrets": members.len(), "tagged": written, "unread": few(unread), "incomplete": incomplete, "refused": few(refused),
        });
        record("leak", invocation, &json!({"event": "fingerprints", "answer": answer}));
        match last {
            Some(error) if none => Err(error),
            _ => Ok(answer),
        }
    }

    /// Finds the secrets of a report of gitleaks or trufflehog.
    pub(crate) async fn report(&self, aws: &Arc<Aws>, report: &Value, invocation: &Invocation) -> Result<Value> {
        let report = Report::read(report)?;
        self.matched(aws, &report, false, invocation).await
    }

    /// Answers EventBridge, and an HTTP API with the answer of an HTTP request.
    pub(crate) async fn event(&self, aws: &Arc<Aws>, payload: &Value, invocation: &Invocation) -> Result<Value> {
        if payload.pointer("/requestContext/http").is_none() {
            return self.matched(aws, &aws::report(payload), true, invocation).await;
        }
        match self.hook(aws, payload, invocation).await {
            // GitHub shows the answer to the organisation. Which secrets have leaked is in the log.
            Ok(()) => Ok(http(202, &json!({"accepted": true}))),
            Err(Refusal::Because(status, reason)) => {
                record("leak", invocation, &json!({"event": "refused", "reason": reason}));
                Ok(http(status, &json!({"refused": reason})))
            }
            Err(Refusal::Failed(error)) => Err(error),
        }
    }

    async fn hook(&self, aws: &Arc<Aws>, payload: &Value, invocation: &Invocation) -> Result<(), Refusal> {
        let Some(secret) = &self.webhook else { return Err(Refusal::Because(404, "there is no webhook")) };
        // A flood without signatures costs no call.
        let signature = webhook::signature(payload)?;
        let now = since_epoch().as_secs();
        let signs = match self.recent.secret(now) {
            Some(signs) => signs,
            None => {
                let signs = aws.text(secret, "AWSCURRENT", invocation.deadline).await?;
                let signs = signs.ok_or_else(|| missing("WEBHOOK_SECRET", NO_TEXT))?;
                self.recent.keep(&signs, now);
                signs
            }
        };
        let delivery = webhook::verified(payload, &signature, signs.expose())?;
        if self.recent.knows(&signature) {
            return Err(Refusal::Because(409, "a replay"));
        }
        if let Some(reason) = delivery.is_of_another_time(now) {
            let about = json!({"place": delivery.place(""), "reason": reason});
            notice("a report of a leak has a date at which it cannot be followed", &about);
            return Err(Refusal::Because(409, reason));
        }
        let value = self.fetched(aws, &delivery, invocation.deadline).await?;
        let answer = self.matched(aws, &delivery.report(value.as_ref()), true, invocation).await?;
        if answer.get("notStarted").and_then(Value::as_array).is_some_and(|failed| !failed.is_empty()) {
            return Err(Refusal::Because(503, "it could not be followed to its end: deliver it again"));
        }
        // Only now: a delivery that failed may come again.
        self.recent.remember(signature);
        Ok(())
    }

    /// The value that a delivery tells of, from GitHub. `None` if it is not wanted, or nobody has given a token.
    async fn fetched(&self, aws: &Aws, delivery: &Delivery, deadline: Deadline) -> Result<Option<SecretText>, Refusal> {
        let Some(github) = self.github.as_ref().filter(|_| delivery.lacks_its_value()) else { return Ok(None) };
        let report = delivery.report(None);
        let tell = |why: &str| notice("a credential may have leaked", &json!({"notices": report.notices, "why": why}));
        let Some(alert) = delivery.alert() else {
            tell("the delivery names no alert of a repository");
            return Err(Refusal::Because(400, "no alert of a repository"));
        };
        let value = async {
            let token = aws.text(&github.token, "AWSCURRENT", deadline).await?;
            let token = token.ok_or_else(|| missing("GITHUB_TOKEN_SECRET", NO_TEXT))?;
            github.value(&alert, &token, deadline).await
        };
        match value.await {
            Ok(value) => Ok(Some(value)),
            // People are told, and GitHub shows that the delivery failed, and lets them deliver it again.
            Err(error) => {
                tell(&error.to_string());
                Err(error.into())
            }
        }
    }

    async fn key(&self, aws: &Aws, deadline: Deadline) -> Result<Key> {
        let Some(secret) = &self.key else {
            return Err(missing("FINGERPRINT_KEY_SECRET", "nothing"));
        };
        let text = aws.text(secret, "AWSCURRENT", deadline).await?;
        Key::of(text.ok_or_else(|| missing("FINGERPRINT_KEY_SECRET", NO_TEXT))?.expose())
    }

    /// Finds the secrets, tells people, and starts what may be started. `pushed`: nobody waits for the answer, so the log has to tell.
    async fn matched(&self, aws: &Arc<Aws>, report: &Report, pushed: bool, invocation: &Invocation) -> Result<Value> {
        let deadline = invocation.deadline;
        if report.leaked.is_empty() {
            let answer = report.answer(&Found::default());
            if !report.notices.is_empty() {
                notice("a credential may have leaked", &answer);
            }
            return Ok(answer);
        }
        let searched = async {
            let (key, members) = (self.key(aws, deadline).await?, aws.members(deadline).await?);
            Ok::<_, Error>((key, members))
        };
        let (key, members) = match searched.await {
            Ok(searched) => searched,
            Err(error) => {
                let about = json!({"values": report.leaked.len(), "code": error.code().as_str()});
                notice("credentials have leaked, and their secrets could not be looked for", &about);
                return Err(error);
            }
        };
        // Half of the time is for what is to be started.
        let mut found = find(&key, &members, &report.leaked, deadline.within(deadline.left() / 2));
        for one in &mut found.matches {
            one.starts = self.starts(one);
        }
        let mut answer = report.answer(&found);
        // First people are told: no call is made before that. Whatever fails afterwards, they know.
        if !found.matches.is_empty() || !report.notices.is_empty() {
            notice("a credential has leaked", &answer);
        } else if found.not_looked_for + report.beyond > 0 {
            notice("leaked values were not looked for: report them in parts", &answer);
        } else if pushed {
            notice("a leaked credential belongs to no secret that has fingerprints", &answer);
        }
        let started = self.start(aws, &found.matches, deadline.less(RESERVE)).await;
        if !started.failed.is_empty() {
            notice("an emergency could not be started", &json!({"notStarted": started.failed}));
        }
        if !started.begun.is_empty() || !started.there.is_empty() {
            let about = json!({"started": started.begun, "alreadyStarted": started.there});
            notice("an emergency runs for a leaked credential", &about);
        }
        let about = json!({
            "event": "reported", "matches": found.matches.len(), "unknown": found.unknown, "notLookedFor": answer.get("notLookedFor"),
            "started": started.begun, "alreadyStarted": started.there, "notStarted": started.failed,
        });
        record("leak", invocation, &about);
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("started".to_owned(), json!(started.begun));
            fields.insert("alreadyStarted".to_owned(), json!(started.there));
            fields.insert("notStarted".to_owned(), json!(started.failed));
        }
        Ok(answer)
    }

    /// Whether the emergency of a match is started here: its owner has allowed it, and an old value that somebody finds makes no credential
    /// rotate by itself.
    fn starts(&self, one: &Match<'_>) -> bool {
        let allowed = one.member.tags.get(ON_LEAK).map(String::as_str) == Some("rotate");
        let alive = one.is_for_an_emergency() && one.age != Age::Unknown && one.leaked.sure;
        self.starts && self.machine.is_some() && allowed && alive
    }

    /// Starts emergencies, some at a time. Those that could not be started are orders for people.
    async fn start(&self, aws: &Arc<Aws>, matches: &[Match<'_>], deadline: Deadline) -> Started {
        let Some(machine) = &self.machine else { return Started::default() };
        let orders: Vec<_> = matches.iter().filter(|one| one.starts).map(|one| order(&one.name(), &[one])).collect();
        let one = |order: Value| {
            let (aws, machine) = (Arc::clone(aws), machine.clone());
            async move {
                let name = order.get("name").and_then(Value::as_str).unwrap_or_default();
                let begun = begun(&aws, &machine, name, order.clone(), deadline).await;
                Ok((order, begun))
            }
        };
        let mut started = Started::default();
        match each(orders, one).await {
            Err(error) => started.failed.push(json!({"code": error.code().as_str(), "message": error.to_string()})),
            Ok(all) => {
                for (order, begun) in all {
                    match begun {
                        Ok(Begun::Now(name)) => started.begun.push(name),
                        Ok(Begun::Before(name)) => started.there.push(name),
                        Ok(Begun::Never) => {
                            let message =
                                "five emergencies for it have failed: look at them, and end the credential by hand";
                            started.failed.push(json!({"run": order.get("name"), "message": message}));
                        }
                        Err(error) => {
                            let (code, message) = (error.code().as_str(), error.to_string());
                            let name = order.get("name").cloned();
                            started.failed.push(json!({"run": name, "code": code, "message": message, "order": order}));
                        }
                    }
                }
            }
        }
        started
    }
}

/// Starts an emergency, and another one with a number if those before have failed.
async fn begun(aws: &Aws, machine: &str, name: &str, mut order: Value, deadline: Deadline) -> Result<Begun> {
    for attempt in 1..=MOST_ATTEMPTS {
        let numbered = if attempt == 1 { name.to_owned() } else { format!("{name}-{attempt}") };
        if let Some(fields) = order.as_object_mut() {
            fields.insert("name".to_owned(), numbered.clone().into());
        }
        // What the state machine would refuse is not started.
        Order::read(&order, &numbered)?;
        if aws.start(machine, &numbered, &order, deadline).await? {
            return Ok(Begun::Now(numbered));
        }
        if !aws.has_failed(machine, &numbered, deadline).await? {
            return Ok(Begun::Before(numbered));
        }
    }
    Ok(Begun::Never)
}

/// What became of a secret's tag.
enum Tagged {
    Written {
        new: bool,
        complete: bool,
    },
    /// Its value could not be read, with the code of the error.
    Unread(&'static str),
    Refused(Error),
}

async fn tagged(aws: &Aws, key: &Key, member: &Member, deadline: Deadline) -> Tagged {
    let read = async {
        let current = aws.version(&member.arn, "AWSCURRENT", deadline).await?;
        Ok::<_, Error>((current, aws.version(&member.arn, "AWSPREVIOUS", deadline).await?))
    };
    let (current, previous) = match read.await {
        Ok((Some(current), previous)) => (current, previous),
        Ok((None, _)) => return Tagged::Unread(Code::SecretNotFound.as_str()),
        Err(error) => return Tagged::Unread(error.code().as_str()),
    };
    let known = member.tags.get(FINGERPRINTS).map(String::as_str).unwrap_or_default();
    let (tag, complete) = key.tag(&member.arn, &current, previous.as_ref(), known);
    let new = tag != known;
    if new && let Err(error) = aws.tag(&member.arn, FINGERPRINTS, &tag, deadline).await {
        return Tagged::Refused(error);
    }
    Tagged::Written { new, complete }
}

fn missing(variable: &str, found: &str) -> Error {
    let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, variable).with(Fact::Found, found);
    error.with(Fact::Expected, "the name of a secret with a text, which this function may read")
}

fn http(status: u16, answer: &Value) -> Value {
    json!({"statusCode": status, "headers": {"content-type": "application/json"}, "body": answer.to_string()})
}

#[cfg(test)]
mod tests;
