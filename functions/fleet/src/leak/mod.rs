//! Finds the secret of a leaked credential, and proposes what to do.
//!
//! **Invariant:** a leaked value is only ever turned into a fingerprint. It is not compared with a secret's value, not logged, and not
//! in any answer. Without it, the tool that reports a leak is the next leak. Test: `no_value_is_in_the_answer`.

mod aws;
mod fingerprint;
mod found;
mod github;
mod webhook;

use crate::digest;
use crate::each::each;
use crate::plan::member::Member;
use crate::plan::order::{Mode, Order, WHY};
use crate::service::Aws;
use fingerprint::{Age, FINGERPRINTS, Key};
use found::{Leaked, Report};
use github::GitHub;
use rotation::clock::{Deadline, since_epoch};
use rotation::environment::Environment;
use rotation::error::{Code, Error, Fact, Result};
use rotation::lambda::{Invocation, notice, record};
use rotation::secret::SecretText;
use serde_json::{Value, json};
use std::sync::Arc;
use webhook::{Delivery, Recent, Refusal};

/// The tag with which a deployer lets a leak of this secret start an emergency by itself.
pub const ON_LEAK: &str = "lockstep:on-leak";
/// So many matches stand in an answer.
const NAMED: usize = 100;
/// So many fingerprints are made for a report at most: some seconds of a small function.
const MOST_TRIES: usize = 300_000;
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

/// What a search found.
#[derive(Debug, Default)]
struct Found<'a> {
    matches: Vec<Match<'a>>,
    /// Leaked values that belong to no secret.
    unknown: usize,
    /// Leaked values that were not looked for.
    skipped: usize,
    /// Secrets whose fingerprints are under another key.
    other_key: usize,
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
    pub(crate) async fn tag(&self, aws: &Arc<Aws>, members: &[Member], deadline: Deadline) -> Result<Value> {
        let key = Arc::new(self.key(aws, deadline).await?);
        let one = |member: Member| {
            let (aws, key) = (Arc::clone(aws), Arc::clone(&key));
            async move {
                let tagged = tagged(&aws, &key, &member, deadline).await;
                Ok((member.name, tagged))
            }
        };
        let (mut written, mut unread, mut incomplete, mut refused) = (0, Vec::new(), Vec::new(), Vec::new());
        for (name, tagged) in each(members.to_vec(), one).await? {
            match tagged {
                Ok(Tagged { read: false, .. }) => unread.push(name),
                Ok(Tagged { written: new, complete, .. }) => {
                    written += usize::from(new);
                    if !complete {
                        incomplete.push(name);
                    }
                }
                Err(error) => refused.push(json!({"secret": name, "code": error.code().as_str()})),
            }
        }
        let few = |list: Vec<String>| json!(list.into_iter().take(NAMED).collect::<Vec<_>>());
        Ok(json!({
            "secrets": members.len(), "tagged": written, "unread": few(unread), "incomplete": few(incomplete),
            "refused": refused.into_iter().take(NAMED).collect::<Vec<_>>(),
        }))
    }

    /// Finds the secrets of a report of gitleaks or trufflehog.
    pub(crate) async fn report(&self, aws: &Arc<Aws>, report: &Value, invocation: &Invocation) -> Result<Value> {
        let report = Report::read(report)?;
        self.matched(aws, &report, false, invocation).await
    }

    /// Answers EventBridge, and a Function URL with the answer of an HTTP request.
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
                let signs = signs.ok_or_else(|| missing("WEBHOOK_SECRET"))?;
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
            let token = token.ok_or_else(|| missing("GITHUB_TOKEN_SECRET"))?;
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
        let Some(secret) = &self.key else { return Err(missing("FINGERPRINT_KEY_SECRET")) };
        let text = aws.text(secret, "AWSCURRENT", deadline).await?;
        Key::of(text.as_ref().map(SecretText::expose).unwrap_or_default())
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
        let mut found = find(&key, &members, &report.leaked);
        for one in &mut found.matches {
            one.age = self.age(aws, &key, one, deadline).await;
        }
        let mut answer = report.answer(&found);
        // First people are told. Whatever fails afterwards, they know.
        if !found.matches.is_empty() || !report.notices.is_empty() {
            notice("a credential has leaked", &answer);
        } else if pushed {
            notice("a leaked credential belongs to no secret that has fingerprints", &answer);
        }
        let started = self.start(aws, &found.matches, deadline).await;
        if !started.failed.is_empty() {
            notice("an emergency could not be started", &json!({"failed": started.failed}));
        }
        let about = json!({
            "event": "reported", "matches": found.matches.len(), "unknown": found.unknown, "started": started.begun,
            "alreadyStarted": started.there, "notStarted": started.failed,
        });
        record("leak", invocation, &about);
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("started".to_owned(), json!(started.begun));
            fields.insert("alreadyStarted".to_owned(), json!(started.there));
            fields.insert("notStarted".to_owned(), json!(started.failed));
        }
        Ok(answer)
    }

    /// How old the leaked value is now, by the labels. The tag may be a day old.
    async fn age(&self, aws: &Aws, key: &Key, one: &Match<'_>, deadline: Deadline) -> Age {
        let has = |text: Option<SecretText>| {
            let values = text.map(|text| fingerprint::values(text.expose()))?;
            Some(values.iter().any(|value| key.of_value(value).at(&one.member.arn) == one.fingerprint))
        };
        let read = async |label| aws.text(&one.member.arn, label, deadline).await.ok().flatten();
        match (has(read("AWSCURRENT").await), has(read("AWSPREVIOUS").await)) {
            (Some(true), _) => Age::Current,
            (_, Some(true)) => Age::Previous,
            (None, _) => one.age,
            (Some(false), _) => Age::Older,
        }
    }

    async fn start(&self, aws: &Aws, matches: &[Match<'_>], deadline: Deadline) -> Started {
        let mut started = Started::default();
        for one in matches.iter().filter(|one| one.age != Age::Older && one.leaked.sure) {
            let allowed = self.starts && one.member.tags.get(ON_LEAK).map(String::as_str) == Some("rotate");
            let Some(machine) = self.machine.as_ref().filter(|_| allowed) else { continue };
            let name = name(one);
            match begun(aws, machine, &name, one, deadline).await {
                Ok(Some(name)) => started.begun.push(name),
                Ok(None) => started.there.push(name),
                Err(error) => {
                    let (code, message) = (error.code().as_str(), error.to_string());
                    started.failed.push(json!({"run": name, "code": code, "message": message}));
                }
            }
        }
        started
    }
}

/// The name of an emergency follows from the secret and the leaked value: whoever reports the leak again, or floods the hook, starts
/// nothing a second time.
fn name(one: &Match<'_>) -> String {
    format!("leak-{}", digest::key(&["leak", &one.member.arn, &one.fingerprint]))
}

/// Starts an emergency, and another one with a number if those before have failed. `None`: one runs, or has succeeded.
async fn begun(aws: &Aws, machine: &str, name: &str, one: &Match<'_>, deadline: Deadline) -> Result<Option<String>> {
    for attempt in 1..=MOST_ATTEMPTS {
        let numbered = if attempt == 1 { name.to_owned() } else { format!("{name}-{attempt}") };
        let order = order(&numbered, &[one]);
        // What the state machine would refuse is not started.
        Order::read(&order, &numbered)?;
        if aws.start(machine, &numbered, &order, deadline).await? {
            return Ok(Some(numbered));
        }
        if !aws.has_failed(machine, &numbered, deadline).await? {
            return Ok(None);
        }
    }
    Ok(None)
}

/// What became of a secret's tag.
struct Tagged {
    read: bool,
    written: bool,
    complete: bool,
}

async fn tagged(aws: &Aws, key: &Key, member: &Member, deadline: Deadline) -> Result<Tagged> {
    let Some(current) = aws.text(&member.arn, "AWSCURRENT", deadline).await? else {
        return Ok(Tagged { read: false, written: false, complete: false });
    };
    let previous = aws.text(&member.arn, "AWSPREVIOUS", deadline).await?;
    let known = member.tags.get(FINGERPRINTS).map(String::as_str).unwrap_or_default();
    let previous = previous.as_ref().map(SecretText::expose);
    let (tag, complete) = key.tag(&member.arn, current.expose(), previous, known);
    let written = tag != known;
    if written {
        aws.tag(&member.arn, FINGERPRINTS, &tag, deadline).await?;
    }
    Ok(Tagged { read: true, written, complete })
}

fn missing(variable: &str) -> Error {
    let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, variable).with(Fact::Found, "nothing");
    error.with(Fact::Expected, "the name of a secret that this function may read")
}

fn http(status: u16, answer: &Value) -> Value {
    json!({"statusCode": status, "headers": {"content-type": "application/json"}, "body": answer.to_string()})
}

/// The secrets of leaked values: all that have one of them.
fn find<'a>(key: &Key, members: &'a [Member], leaked: &'a [Leaked]) -> Found<'a> {
    let tagged: Vec<_> =
        members.iter().map(|member| (member, key.in_tag(member))).filter(|(_, tag)| !tag.is_empty()).collect();
    let mut found =
        Found { other_key: members.iter().filter(|member| key.cannot_read(member)).count(), ..Found::default() };
    let mut left = MOST_TRIES;
    for leaked in leaked {
        let parts = found::parts(leaked.value.expose());
        if parts.len() * tagged.len() > left {
            found.skipped += 1;
            continue;
        }
        left -= parts.len() * tagged.len();
        let traces: Vec<_> = parts.iter().map(|part| key.of_value(part)).collect();
        let mut known = false;
        for (member, tag) in &tagged {
            let hit = traces.iter().map(|trace| trace.at(&member.arn)).find_map(|fingerprint| {
                let age = tag.iter().find(|(one, _)| *one == fingerprint).map(|(_, age)| *age)?;
                Some((fingerprint, age))
            });
            let Some((fingerprint, age)) = hit else { continue };
            known = true;
            // A value stands in many commits.
            if !found.matches.iter().any(|one| one.fingerprint == fingerprint) {
                found.matches.push(Match { member, age, leaked, fingerprint });
            }
        }
        found.unknown += usize::from(!known);
    }
    found
}

/// The order of an emergency for these secrets.
fn order(name: &str, matches: &[&Match<'_>]) -> Value {
    let secrets: Vec<_> = matches.iter().map(|one| one.member.arn.as_str()).take(NAMED).collect();
    let mut why =
        matches.first().map(|one| format!("leaked: {} {}", one.leaked.rule, one.leaked.place)).unwrap_or_default();
    while why.len() > WHY {
        why.pop();
    }
    json!({"run": true, "name": name, "mode": Mode::Emergency, "why": why, "askedBy": "leak", "select": {"secrets": secrets}})
}

impl Report {
    fn answer(&self, found: &Found<'_>) -> Value {
        let shown = |one: &Match<'_>| {
            json!({
                "secret": one.member.name, "arn": one.member.arn, "value": one.age.as_str(),
                "rule": one.leaked.rule, "place": one.leaked.place, "sure": one.leaked.sure,
            })
        };
        let alive: Vec<_> = found.matches.iter().filter(|one| one.age != Age::Older).collect();
        let proposal = alive.first().map(|first| order(&name(first), &alive));
        json!({
            "matches": found.matches.iter().take(NAMED).map(shown).collect::<Vec<_>>(),
            "matched": found.matches.len(),
            "unknown": found.unknown,
            "ignored": self.ignored + found.skipped,
            "secretsUnderAnotherKey": found.other_key,
            "notices": self.notices,
            "proposal": proposal,
        })
    }
}

#[cfg(test)]
mod tests;
