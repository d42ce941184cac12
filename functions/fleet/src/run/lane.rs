//! Carries out a lane: the secrets that rotate one after another. Each invocation takes the lane a bit further and gives it back; the
//! state machine invokes `diagnose` and waits in between.

use super::answer::hear;
use super::item::{Next, next, pause, replaced, rounds_done};
use super::progress::{Awaits, Job, Outcome, Progress, Said, Seen, Sessions};
use crate::plan::lanes::Item;
use crate::plan::order::Mode;
use crate::service::{Aws, Flag};
use crate::token::token;
use rotation::clock::{Deadline, since_epoch_millis};
use rotation::error::{Class, Error, Result};
use rotation::lambda::{Invocation, record};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an invocation looks at labels before it gives the lane back. Most rotations take two seconds, and waiting here costs less
/// than two transitions of the state machine: 20 s with 128 MB cost 33 millionths of a dollar, two transitions 50.
const LOOKS: Duration = Duration::from_secs(20);
/// The pause between two looks. DescribeSecret may be called 10,000 times a second.
const PAUSE: Duration = Duration::from_millis(400);
/// So many versions under an old key are named. A state has 256 KiB for a hundred secrets.
const OLD_KEYS: usize = 3;
/// How long the state machine waits before the next look.
const LATER: u64 = 5;

/// What the state machine does next with the lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LaneDoing {
    /// Invokes this function again.
    #[default]
    Look,
    /// Waits for `seconds` first.
    Wait,
    /// Invokes the function of the secret first, with `ask.payload`.
    Ask,
    /// Ends the lane.
    End,
}

/// A lane between two invocations.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lane {
    /// What all secrets have in common.
    pub job: Job,
    /// The secrets that are not done. The first one is under way, unless the lane has ended: then a window has closed, or somebody stops the
    /// run, and they have their turn later.
    pub todo: Vec<Item>,
    /// How far the first one is.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// What was done.
    #[serde(default)]
    pub done: Vec<Done>,
    /// What comes next.
    #[serde(default)]
    pub doing: LaneDoing,
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
    /// Sessions of the leaked credential's user that were ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u64>,
    /// Some of the versions that stay under an old KMS key. The log has them all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub old_key: Vec<String>,
    /// How many versions stay there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub old_keys: usize,
    /// The version that had leaked: what was current when the run came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaked: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Takes a lane further.
pub async fn work(aws: &Aws, mut lane: Lane, invocation: &Invocation) -> Lane {
    let until = invocation.deadline.less(Duration::from_secs(2)).within(LOOKS);
    (lane.seconds, lane.ask) = (0, Value::Null);
    let answer = std::mem::take(&mut lane.answer);
    if let (Some(progress), false) = (&mut lane.progress, answer.is_null()) {
        hear(progress, &answer, since_epoch_millis());
    }
    let mut stopped = None;
    loop {
        let begins = lane.progress.is_none();
        if begins {
            let is_closed = lane.job.is_closed(since_epoch_millis());
            if is_closed || is_stopped(aws, &lane.job, &mut stopped, invocation.deadline).await {
                lane.doing = LaneDoing::End;
                return lane;
            }
        }
        let failed = lane.done.iter().filter(|done| done.outcome == Outcome::Failed).count();
        if failed >= lane.job.stops_at {
            let skipped =
                std::mem::take(&mut lane.todo).into_iter().map(|item| Done::of(&item, Outcome::NotBegun, "stopped"));
            lane.done.extend(skipped);
        }
        let Some(item) = lane.todo.first().cloned() else {
            lane.doing = LaneDoing::End;
            return lane;
        };
        match take(aws, &mut lane, &item, invocation, until).await {
            Taken::Ended(done) => {
                lane.done.push(done);
                lane.todo.remove(0);
                lane.progress = None;
                // The next one begins in the next invocation, which has the time for it.
                if until.left() <= PAUSE && !lane.todo.is_empty() {
                    lane.doing = LaneDoing::Look;
                    return lane;
                }
            }
            Taken::Ask(payload) => {
                lane.doing = LaneDoing::Ask;
                lane.ask = json!({"function": item.function, "payload": payload});
                return lane;
            }
            Taken::Later(pause) => {
                if until.left() <= pause {
                    let seconds = pause.as_secs().max(if pause > PAUSE { 1 } else { LATER });
                    (lane.doing, lane.seconds) = (LaneDoing::Wait, seconds);
                    return lane;
                }
                tokio::time::sleep(pause).await;
            }
            Taken::More => {}
        }
    }
}

/// Whether the stop flag stops this run. A run of days is stopped between two secrets, not only between two parts. An invocation reads it once, because
/// Systems Manager answers 40 questions a second. A flag that cannot be read is the matter of the next part.
async fn is_stopped(aws: &Aws, job: &Job, known: &mut Option<bool>, deadline: Deadline) -> bool {
    if known.is_none() {
        let name = job.run.rsplit('/').next().unwrap_or_default();
        *known = aws.flag(name, deadline).await.ok().map(|flag| flag == Flag::Stop);
    }
    *known == Some(true)
}

/// What came of one step.
enum Taken {
    Ended(Done),
    Ask(Value),
    Later(Duration),
    More,
}

async fn take(aws: &Aws, lane: &mut Lane, item: &Item, invocation: &Invocation, until: Deadline) -> Taken {
    let job = &lane.job;
    let begins = job.part_began + item.after;
    if lane.progress.is_none() && begins > since_epoch_millis() {
        return Taken::Later(Duration::from_millis(begins - since_epoch_millis()));
    }
    let progress = lane.progress.get_or_insert_with(|| Progress {
        began: since_epoch_millis(),
        since: since_epoch_millis(),
        ..Progress::default()
    });
    match step(aws, job, item, progress, (invocation, until)).await {
        Ok(taken) => taken,
        Err(error)
            if error.class() == Class::Retryable
                && since_epoch_millis().saturating_sub(progress.since) <= job.patience =>
        {
            progress.repeats += 1;
            Taken::Later(PAUSE.max(Duration::from_millis(pause(progress.repeats) / 2)))
        }
        Err(error) => Taken::Ended(Done::of(item, Outcome::Failed, error.code().as_str()).since(progress)),
    }
}

/// Notes what the secret had before the run came, at the first look.
fn note_before(job: &Job, item: &Item, progress: &mut Progress, seen: &Seen, rounds: u32) {
    if progress.replaced.is_some() {
        return;
    }
    match job.mode {
        Mode::RollBack => progress.replaced.clone_from(&seen.previous),
        _ => progress.replaced = replaced(&job.run, item, seen),
    }
    if rounds == 0 {
        progress.before = seen.previous.clone().filter(|before| seen.current.as_ref() != Some(before));
    }
}

/// The version that was AWSPREVIOUS when the run came, for an execution that goes on with an emergency: the newest one that is older than what
/// the run replaced. No label shows it any more. `None`: there is none, or its secret was deleted with it.
fn before(created: &BTreeMap<String, u64>, replaced: &str) -> Option<String> {
    let at = created.get(replaced)?;
    let older = created.iter().filter(|(version, other)| *other < at && version.as_str() != replaced);
    older.max_by_key(|(_, at)| **at).map(|(version, _)| version.clone())
}

/// A secret's turn, as far as one look at its labels takes it.
struct Turn<'a> {
    aws: &'a Aws,
    job: &'a Job,
    item: &'a Item,
    progress: &'a mut Progress,
    until: Deadline,
    seen: Seen,
    /// How many of the run's rotations the secret has had.
    rounds: u32,
}

async fn step(
    aws: &Aws,
    job: &Job,
    item: &Item,
    progress: &mut Progress,
    (invocation, until): (&Invocation, Deadline),
) -> Result<Taken, Error> {
    let seen = aws.labels(&item.secret, until).await?;
    let rounds = rounds_done(&job.run, item, &seen).0;
    let is_first = progress.replaced.is_none();
    note_before(job, item, progress, &seen, rounds);
    if let Some(replaced) = progress.replaced.as_ref().filter(|_| is_first && rounds > 0 && job.mode == Mode::Emergency)
    {
        progress.before = before(&aws.created(&item.secret, until).await?, replaced);
    }
    let next = next(job, item, progress, &seen, since_epoch_millis());
    let mut turn = Turn { aws, job, item, progress, until, seen, rounds };
    match next {
        Next::Rotate(token) => turn.rotate(&token).await,
        Next::Nudge => turn.nudge().await,
        Next::Wait => Ok(Taken::Later(PAUSE)),
        Next::Compare => turn.compare().await,
        Next::Diagnose(version) => Ok(turn.diagnose(version)),
        Next::Retire(version) => Ok(turn.retire(&version)),
        Next::EndSessions(version) => Ok(turn.end_sessions(&version)),
        Next::Promote { to, from } => turn.promote(&to, &from).await,
        Next::Rekey => turn.rekey(invocation).await,
        Next::End { outcome, reason } => Ok(Taken::Ended(turn.ended(outcome, reason))),
    }
}

impl Turn<'_> {
    async fn rotate(&mut self, token: &str) -> Result<Taken, Error> {
        let secret = &self.item.secret;
        // The labels do not show it. It had them once, and lost them to later rotations, or somebody has given it up. RotateSecret
        // must not bring an old credential back.
        if self.aws.created(secret, self.until).await?.contains_key(token) {
            // The labels may be older than the list: the answer to an earlier RotateSecret may have been lost.
            if self.aws.labels(secret, self.until).await?.carries(token) {
                return Ok(Taken::More);
            }
            let ended = Done::of(self.item, Outcome::Failed, "version-without-label").since(self.progress);
            return Ok(Taken::Ended(Done { rounds: self.rounds, ..ended }));
        }
        if self.aws.rotate(secret, token, self.until).await? {
            (self.progress.asked, self.progress.since) = (self.rounds + 1, since_epoch_millis());
            self.progress.repeats = 0;
            return Ok(Taken::Later(PAUSE));
        }
        Ok(self.repeat())
    }

    /// The service goes on with a rotation that another has left behind.
    async fn nudge(&mut self) -> Result<Taken, Error> {
        let secret = &self.item.secret;
        self.aws.rotate(secret, &token(&self.job.run, secret, self.rounds + 1), self.until).await?;
        self.progress.nudged = true;
        Ok(Taken::Later(PAUSE))
    }

    /// The service refused for now.
    fn repeat(&mut self) -> Taken {
        self.progress.repeats += 1;
        Taken::Later(Duration::from_millis(pause(self.progress.repeats)))
    }

    async fn compare(&mut self) -> Result<Taken, Error> {
        let created = self.aws.created(&self.item.secret, self.until).await?;
        let date = |version: &Option<String>| version.as_ref().and_then(|version| created.get(version));
        let (own, current) = (date(&self.seen.previous), date(&self.seen.current));
        // What the list does not tell counts as moved: a person looks at it.
        self.progress.moved_back = Some(current.zip(own).is_none_or(|(current, own)| current < own));
        Ok(Taken::More)
    }

    fn diagnose(&mut self, version: Option<String>) -> Taken {
        let rounds = self.rounds;
        let same = |said: &Said| said.round == rounds && said.version == version;
        let repeats = self.progress.repeats;
        self.progress.repeats = if self.progress.said.as_ref().is_some_and(same) { repeats + 1 } else { 0 };
        let (at, labels) = (since_epoch_millis(), self.seen.labels());
        let said = Said { round: rounds, at, labels, version: version.clone(), ..Said::default() };
        self.progress.said = Some(said);
        self.ask("diagnose", version, Awaits::Diagnosis)
    }

    fn retire(&mut self, version: &str) -> Taken {
        self.progress.retired = self.rounds;
        self.progress.not_early.clear();
        self.ask("retire", Some(version.to_owned()), Awaits::Retirement)
    }

    fn end_sessions(&mut self, version: &str) -> Taken {
        let before = self.progress.sessions.take().unwrap_or_default();
        self.progress.sessions = Some(Sessions { asked: before.asked + 1, at: since_epoch_millis(), ..before });
        self.ask("endSessions", Some(version.to_owned()), Awaits::Sessions)
    }

    /// Asks the secret's own function.
    fn ask(&mut self, step: &str, version: Option<String>, awaits: Awaits) -> Taken {
        self.progress.awaits = Some(awaits);
        let mut payload = json!({"Step": step, "SecretId": self.item.secret});
        if let (Some(version), Some(payload)) = (version, payload.as_object_mut()) {
            payload.insert("VersionId".to_owned(), version.into());
        }
        Taken::Ask(payload)
    }

    async fn promote(&mut self, to: &str, from: &str) -> Result<Taken, Error> {
        self.progress.moved = self.aws.promote(&self.item.secret, to, from, self.until).await?;
        Ok(if self.progress.moved { Taken::More } else { self.repeat() })
    }

    async fn rekey(&mut self, invocation: &Invocation) -> Result<Taken, Error> {
        let (secret, key) = (&self.item.secret, &self.job.kms_key);
        if self.seen.key.as_deref() != Some(key.as_str()) {
            self.aws.rekey(secret, key, self.until).await?;
            self.progress.asked = 1;
        }
        let old = self.aws.under_another_key(secret, key, self.until).await?;
        // Here are all of them; the state has room for a few.
        let about = json!({"event": "rekeyed", "secret": secret, "versionsUnderAnOldKey": old});
        record("fleet", invocation, &about);
        (self.progress.old_keys, self.progress.moved) = (old.len(), true);
        self.progress.old_key = old.into_iter().take(OLD_KEYS).collect();
        Ok(Taken::More)
    }

    fn ended(&mut self, outcome: Outcome, reason: String) -> Done {
        let (rounds, progress) = (self.rounds, &mut *self.progress);
        let leaked = progress.replaced.clone().filter(|_| self.job.mode == Mode::Emergency);
        let died = progress.dead.iter().rfind(|dead| Some(&dead.version) == leaked.as_ref());
        let died = died.filter(|dead| dead.round == rounds);
        let dead_after = died.map(|dead| dead.at.saturating_sub(self.job.run_began));
        let sessions = progress.sessions.as_ref().and_then(|sessions| sessions.ended);
        // A person should know why the end took longer than it could have.
        let reason = if reason.is_empty() && !progress.not_early.is_empty() {
            format!("not-ended-early: {}", progress.not_early)
        } else {
            reason
        };
        let (old_key, old_keys) = (std::mem::take(&mut progress.old_key), progress.old_keys);
        let done = Done::of(self.item, outcome, &reason).since(progress);
        Done { rounds, dead_after, sessions, leaked, old_key, old_keys, ..done }
    }
}

impl Done {
    /// What became of an item.
    pub fn of(item: &Item, outcome: Outcome, reason: &str) -> Self {
        Self::named(&item.secret, outcome, reason)
    }

    /// What became of what has this name or ARN.
    pub fn named(secret: &str, outcome: Outcome, reason: &str) -> Self {
        Self {
            secret: secret.to_owned(),
            outcome,
            reason: reason.to_owned(),
            rounds: 0,
            took: 0,
            dead_after: None,
            sessions: None,
            old_key: Vec::new(),
            old_keys: 0,
            leaked: None,
        }
    }

    fn since(self, progress: &Progress) -> Self {
        Self { took: since_epoch_millis().saturating_sub(progress.began), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_previous_is_found_by_its_date() {
        let created = [("oldest", 1), ("before", 2), ("leaked", 3), ("new", 4)];
        let created = created.into_iter().map(|(version, at)| (version.to_owned(), at)).collect();
        assert_eq!(before(&created, "leaked").as_deref(), Some("before"));
        assert_eq!((before(&created, "oldest"), before(&created, "gone")), (None, None));
    }
}
