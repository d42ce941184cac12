//! Carries out a lane: the secrets that rotate one after another. Each invocation takes the lane a bit further and gives it back; the
//! state machine invokes `diagnose` and waits in between.

use super::item::{Job, Next, Outcome, Progress, Said, next, replaced, rounds_done};
use crate::plan::lanes::Item;
use crate::service::Aws;
use rotation::clock::{Deadline, since_epoch};
use rotation::error::{Class, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// How long an invocation looks at labels before it gives the lane back. Most rotations take two seconds, and waiting here costs less
/// than two transitions of the state machine: 20 s with 128 MB cost 33 millionths of a dollar, two transitions 50.
const LOOKS: Duration = Duration::from_secs(20);
/// The pause between two looks. DescribeSecret may be called 10,000 times a second.
const PAUSE: Duration = Duration::from_millis(400);
/// How long the state machine waits before the next look.
const LATER: u64 = 5;

/// What the state machine does next with the lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Doing {
    /// Invokes this function again.
    #[default]
    Look,
    /// Waits for `seconds` first.
    Wait,
    /// Invokes the function of the secret first, with `ask.payload`.
    Diagnose,
    /// Ends the lane.
    End,
}

/// A lane between two invocations.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lane {
    /// What all secrets have in common.
    pub job: Job,
    /// The secrets that are not done. The first one is under way.
    pub todo: Vec<Item>,
    /// How far the first one is.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// What was done.
    #[serde(default)]
    pub done: Vec<Done>,
    /// What comes next.
    #[serde(default)]
    pub doing: Doing,
    /// How long to wait.
    #[serde(default)]
    pub seconds: u64,
    /// Whom to ask what.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub ask: Value,
    /// What was answered.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub answer: Value,
}

/// What became of a secret. Short names, because a state of Step Functions has 256 KiB at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// The secret's ARN.
    pub secret: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How many of the run's rotations it has had.
    #[serde(default)]
    pub rounds: u32,
    /// From its turn to its end, in milliseconds.
    #[serde(default)]
    pub took: u64,
    /// From the run's beginning to the first refusal of the leaked credential that was seen, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_after: Option<u64>,
    /// Versions that stay under an old KMS key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub old_key: Vec<String>,
}

fn now() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}

/// Takes a lane further.
pub async fn work(aws: &Aws, mut lane: Lane, deadline: Deadline) -> Lane {
    let until = deadline.less(Duration::from_secs(2)).within(LOOKS);
    (lane.seconds, lane.ask) = (0, Value::Null);
    hear(&mut lane);
    loop {
        let failed = lane.done.iter().filter(|done| done.outcome == Outcome::Failed).count();
        if failed >= lane.job.stops_at {
            let skipped =
                std::mem::take(&mut lane.todo).into_iter().map(|item| Done::of(&item, Outcome::NotBegun, "stopped"));
            lane.done.extend(skipped);
        }
        let Some(item) = lane.todo.first().cloned() else {
            lane.doing = Doing::End;
            return lane;
        };
        match take(aws, &mut lane, &item, until).await {
            Taken::Ended(done) => {
                lane.done.push(done);
                lane.todo.remove(0);
                lane.progress = None;
            }
            Taken::Ask(payload) => {
                lane.doing = Doing::Diagnose;
                lane.ask = json!({"function": item.function, "payload": payload});
                return lane;
            }
            Taken::Later(pause) => {
                if until.left() <= pause {
                    let seconds = pause.as_secs().max(if pause > PAUSE { 1 } else { LATER });
                    (lane.doing, lane.seconds) = (Doing::Wait, seconds);
                    return lane;
                }
                tokio::time::sleep(pause).await;
            }
            Taken::More => {}
        }
    }
}

/// Takes the answer of `diagnose` into the progress.
fn hear(lane: &mut Lane) {
    let answer = std::mem::take(&mut lane.answer);
    let (Some(progress), false) = (&mut lane.progress, answer.is_null()) else { return };
    let Some(said) = &mut progress.said else { return };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    said.at = now();
    said.finding = text(answer.get("finding"));
    // `replaced` is the version that was asked for; in a roll back it is AWSPREVIOUS.
    let asked = progress.replaced.as_deref();
    let versions = answer.get("versions").and_then(Value::as_array);
    let tried = versions.into_iter().flatten().find(|one| one.get("version").and_then(Value::as_str) == asked);
    said.credential = text(tried.and_then(|one| one.get("credential")));
}

/// What came of one step.
enum Taken {
    Ended(Done),
    Ask(Value),
    Later(Duration),
    More,
}

async fn take(aws: &Aws, lane: &mut Lane, item: &Item, until: Deadline) -> Taken {
    let job = &lane.job;
    let begins = job.part_began + item.after;
    if lane.progress.is_none() && begins > now() {
        return Taken::Later(Duration::from_millis(begins - now()));
    }
    let progress = lane.progress.get_or_insert_with(|| Progress { began: now(), since: now(), ..Progress::default() });
    match step(aws, job, item, progress, until).await {
        Ok(taken) => taken,
        Err(error) if error.class() == Class::Retryable && now().saturating_sub(progress.since) <= job.patience => {
            Taken::Later(PAUSE)
        }
        Err(error) => Taken::Ended(Done::of(item, Outcome::Failed, error.code().as_str()).since(progress)),
    }
}

async fn step(aws: &Aws, job: &Job, item: &Item, progress: &mut Progress, until: Deadline) -> Result<Taken, Error> {
    let seen = aws.labels(&item.secret, until).await?;
    let rounds = rounds_done(&job.run, item, &seen).0;
    if progress.replaced.is_none() {
        progress.replaced = match job.mode {
            crate::plan::order::Mode::RollBack => seen.previous.clone(),
            _ => replaced(&job.run, item, &seen),
        };
    }
    match next(job, item, progress, &seen, now()) {
        Next::Rotate(token) => {
            // The labels do not show it. It had them once, and lost them to later rotations, or somebody has given it up. RotateSecret
            // must not bring an old credential back.
            if aws.has_version(&item.secret, &token, until).await? {
                let ended = Done::of(item, Outcome::Failed, "version-without-label").since(progress);
                return Ok(Taken::Ended(Done { rounds, ..ended }));
            }
            if aws.rotate(&item.secret, &token, until).await? {
                (progress.asked, progress.since) = (rounds + 1, now());
            }
            Ok(Taken::Later(PAUSE))
        }
        Next::Nudge => {
            aws.rotate(&item.secret, &crate::run::token::token(&job.run, &item.secret, rounds + 1), until).await?;
            progress.nudged = true;
            Ok(Taken::Later(PAUSE))
        }
        Next::Wait => Ok(Taken::Later(PAUSE)),
        Next::Diagnose(version) => {
            progress.said = Some(Said { round: rounds, at: now(), labels: seen.labels(), ..Said::default() });
            let mut payload = json!({"Step": "diagnose", "SecretId": item.secret});
            if let (Some(version), Some(payload)) = (version, payload.as_object_mut()) {
                payload.insert("VersionId".to_owned(), version.into());
            }
            Ok(Taken::Ask(payload))
        }
        Next::Promote { to, from } => {
            progress.moved = aws.promote(&item.secret, &to, &from, until).await?;
            Ok(if progress.moved { Taken::More } else { Taken::Later(PAUSE) })
        }
        Next::Rekey => {
            let old_key = aws.rekey(&item.secret, &job.kms_key, until).await?;
            Ok(Taken::Ended(Done { old_key, ..Done::of(item, Outcome::Rekeyed, "").since(progress) }))
        }
        Next::End { outcome, reason } => {
            let died = progress.said.as_ref().filter(|said| said.credential == "rejected");
            let dead_after = died
                .filter(|_| job.mode == crate::plan::order::Mode::Emergency)
                .map(|said| said.at.saturating_sub(job.run_began));
            Ok(Taken::Ended(Done { rounds, dead_after, ..Done::of(item, outcome, &reason).since(progress) }))
        }
    }
}

impl Done {
    /// What became of an item.
    pub fn of(item: &Item, outcome: Outcome, reason: &str) -> Self {
        Self {
            secret: item.secret.clone(),
            outcome,
            reason: reason.to_owned(),
            rounds: 0,
            took: 0,
            dead_after: None,
            old_key: Vec::new(),
        }
    }

    fn since(self, progress: &Progress) -> Self {
        Self { took: now().saturating_sub(progress.began), ..self }
    }
}
