//! The state of every secret that a function rotates, for people: user, strategy, age, last outcome, next date, late or not.
//!
//! It takes one call of ListSecrets for each hundred secrets of the account, and one of GetSecretValue (and of KMS) for each secret
//! whose current version this process has not read yet. The log is read beside it ([`activity`](crate::protocol::activity)).

use crate::clock::{Deadline, age_of, date, since_epoch};
use crate::document::Document;
use crate::error::{Code, Error, Result, short_name};
use crate::protocol::Rotation;
use crate::protocol::activity::{Activity, Record};
use crate::protocol::event::Wanted;
use crate::protocol::portrait::Seen;
use crate::protocol::schedule::{Late, RotatedSecret};
use crate::protocol::store::{SecretStore, VersionSelector};
use crate::protocol::target::Target;
use serde_json::{Map, Value, json};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many values one question reads at most. The others are read by the next question.
const MOST_READ: usize = 500;
/// Kept back for the rest of the answer.
const REST: Duration = Duration::from_millis(1_500);
/// How many records the answer has at most.
const MOST_RECORDS: usize = 50;

/// The state of a secret, in the order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It was due more than a day ago, or its rotation was begun more than a day ago and not finished.
    Late,
    /// The last step of its last rotation failed.
    Failed,
    /// A rotation was begun and has neither ended nor failed, so far as is known.
    UnderWay,
    /// Rotation is turned off.
    Off,
    /// None of these.
    InTime,
}

impl State {
    /// The word used in results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Failed => "failed",
            Self::UnderWay => "under-way",
            Self::Off => "off",
            Self::InTime => "in-time",
        }
    }
}

/// What is known about one secret.
#[derive(Clone, Debug)]
pub struct Row {
    secret: RotatedSecret,
    /// What its current version says about itself; else why that was not read.
    seen: Result<Seen, &'static str>,
    /// The newest audit record about it.
    record: Option<Record>,
    now: Duration,
}

impl Row {
    fn late(&self) -> Option<Late> {
        self.secret.late(self.now)
    }

    /// The newest record, unless a rotation has succeeded since: other functions may rotate the secret, too. The service's date has
    /// whole seconds, and is set after the record was written.
    fn record(&self) -> Option<&Record> {
        let superseded = |record: &&Record| {
            record.failed()
                && self.secret.last_rotated.is_some_and(|rotated| record.at + Duration::from_secs(1) < rotated)
        };
        self.record.as_ref().filter(|record| !superseded(record))
    }

    /// Its state.
    pub fn state(&self) -> State {
        if !self.secret.rotation_enabled {
            State::Off
        } else if self.late().is_some() {
            State::Late
        } else if self.record().is_some_and(Record::failed) {
            State::Failed
        } else if self.secret.is_unfinished() {
            State::UnderWay
        } else {
            State::InTime
        }
    }

    /// What an auditor wants explained.
    fn exceptions(&self) -> Vec<&'static str> {
        let mut exceptions = Vec::new();
        exceptions.extend((!self.secret.rotation_enabled).then_some("rotation-off"));
        exceptions.extend(self.late().map(|late| match late {
            Late::Overdue => "rotation-overdue",
            Late::Unfinished => "rotation-unfinished",
        }));
        exceptions.extend(self.record().is_some_and(Record::failed).then_some("last-rotation-failed"));
        exceptions.extend(self.secret.last_rotated.is_none().then_some("never-rotated"));
        exceptions
    }

    fn last_json(&self) -> Value {
        match (self.record(), self.secret.last_rotated) {
            (Some(record), _) => {
                let mut last = record.to_json();
                if let Some(fields) = last.as_object_mut() {
                    fields.remove("secret");
                    fields.insert("source".to_owned(), "log".into());
                }
                last
            }
            (None, Some(rotated)) => json!({"outcome": "rotated", "at": date(rotated), "source": "service"}),
            (None, None) => json!({"outcome": "never-rotated", "source": "service"}),
        }
    }

    fn to_json(&self) -> Value {
        let secret = &self.secret;
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        put("secret", secret.arn.as_str().into());
        put("name", short_name(&secret.arn).into());
        put("state", self.state().as_str().into());
        put("late", self.late().map(Late::as_str).into());
        put("rotationEnabled", secret.rotation_enabled.into());
        put("cadence", secret.cadence().into());
        put("lastRotated", secret.last_rotated.and_then(date).into());
        put("next", secret.due().filter(|_| secret.rotation_enabled).and_then(date).into());
        put("last", self.last_json());
        put("exceptions", self.exceptions().into());
        match &self.seen {
            Ok(seen) => {
                put("created", seen.created.and_then(date).into());
                put("ageSeconds", seen.created.map(|created| age_of(created).as_secs()).into());
                match &seen.portrait {
                    Ok(portrait) => {
                        put("user", portrait.user.as_deref().into());
                        put("strategy", portrait.strategy.as_str().into());
                        put("opens", portrait.opens.as_str().into());
                    }
                    Err(why) => drop(put("notRead", (*why).into())),
                }
            }
            Err(why) => drop(put("notRead", (*why).into())),
        }
        fields.into()
    }
}

/// The state of all secrets that a function rotates.
#[derive(Clone, Debug)]
pub struct Status {
    function: String,
    now: Duration,
    rows: Vec<Row>,
    /// How many values were read for this answer.
    reads: usize,
    activity: Activity,
    can_rotate: bool,
}

impl Status {
    /// The answer. It holds names, dates and words, and never a secret's value.
    pub fn to_json(&self) -> Value {
        let count = |state| self.rows.iter().filter(|row| row.state() == state).count();
        json!({
            "step": "status",
            "function": self.function,
            "at": date(self.now),
            "served": self.rows.len(),
            "late": count(State::Late),
            "failed": count(State::Failed),
            "underWay": count(State::UnderWay),
            "off": count(State::Off),
            "canRotate": self.can_rotate,
            "valuesRead": self.reads,
            "log": self.activity.log_json(),
            "secrets": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
            "activity": self.activity.records.iter().take(MOST_RECORDS).map(Record::to_json).collect::<Vec<_>>(),
        })
    }

    /// How many secrets there are, how many of them are late, and how many values were read.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.rows.len(), self.rows.iter().filter(|row| row.late().is_some()).count(), self.reads)
    }

    /// The report for auditors: each secret's cadence, last rotation and exceptions.
    pub fn report(&self) -> Value {
        crate::protocol::report::of_status(&self.to_json())
    }
}

impl<S: SecretStore, T: Target> Rotation<S, T> {
    /// Looks at all secrets that name this function, and at what its log says about them. Reads only. `function` is its ARN,
    /// `activity` reads the log.
    ///
    /// # Errors
    /// Those of ListSecrets; [`Code::TimeSpent`].
    pub async fn status(
        &self,
        function: &str,
        wanted: Wanted,
        activity: impl Future<Output = Activity>,
        deadline: Deadline,
    ) -> Result<Status> {
        let rows = async {
            let served = self.store().served(function, deadline).await?;
            self.album().keep_only(&served);
            let (seen, reads) = self.seen(&served, wanted, deadline.less(REST)).await;
            Ok((served, seen, reads))
        };
        let (rows, activity) =
            deadline.limit(async { tokio::join!(rows, activity) }).await.map_err(|_| Error::new(Code::TimeSpent))?;
        let (served, seen, reads) = rows?;
        let now = since_epoch();
        let mut rows: Vec<Row> = served
            .into_iter()
            .zip(seen)
            .map(|(secret, seen)| Row { record: activity.last_of(&secret.arn).cloned(), secret, seen, now })
            .collect();
        rows.sort_by(|a, b| (a.state(), &a.secret.arn).cmp(&(b.state(), &b.secret.arn)));
        let function = crate::protocol::schedule::unqualified(function).to_owned();
        Ok(Status { function, now, rows, reads, activity, can_rotate: self.rotates_now() })
    }

    /// What the current versions say about themselves, and how many of them were read for it.
    async fn seen(
        &self,
        served: &[RotatedSecret],
        wanted: Wanted,
        deadline: Deadline,
    ) -> (Vec<Result<Seen, &'static str>>, usize) {
        let known = served.iter().map(|secret| self.album().of(secret));
        let unread = if wanted.values { "time-spent" } else { "not-asked" };
        let found: Vec<_> = known.map(|known| known.ok_or(unread)).collect();
        if !wanted.values {
            return (found, 0);
        }
        let unknown = served.iter().enumerate().zip(&found).filter(|(_, found)| found.is_err()).map(|(it, _)| it);
        let queue = Mutex::new(unknown.take(MOST_READ).collect::<Vec<_>>().into_iter());
        let read = Mutex::new(Vec::new());
        // Eight calls at a time: 200 values take about a second, and a rotation that runs meanwhile still has its share of the
        // service's rate, which is 10,000 calls a second.
        let worker = || async {
            loop {
                let Some((at, secret)) = queue.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
                let seen = self.look_at(secret, deadline).await;
                read.lock().unwrap_or_else(PoisonError::into_inner).push((at, seen));
            }
        };
        // A value that was not read in time is read by the next question.
        let work = async {
            tokio::join!(worker(), worker(), worker(), worker(), worker(), worker(), worker(), worker());
        };
        let _ = deadline.limit(work).await;
        let read = read.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (mut found, reads) = (found, read.len());
        for (at, seen) in read {
            if let Some(place) = found.get_mut(at) {
                *place = seen;
            }
        }
        (found, reads)
    }

    async fn look_at(&self, secret: &RotatedSecret, deadline: Deadline) -> Result<Seen, &'static str> {
        let value = self.store().value(&secret.arn, VersionSelector::Current, deadline).await;
        let version = match value {
            Ok(Some(version)) => version,
            Ok(None) => return Err(Code::CurrentMissing.as_str()),
            Err(error) => return Err(error.code().as_str()),
        };
        let portrait = match Document::parse(version.text) {
            Ok(document) => self.target().portrait(&document).map_err(|error| error.code().as_str()),
            Err(error) => Err(error.code().as_str()),
        };
        let created = version.age.and_then(|age| since_epoch().checked_sub(age));
        let seen = Seen { version: version.id, created, portrait };
        self.album().keep(&secret.arn, seen.clone());
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::label::{CURRENT, PENDING};

    const DAY: Duration = Duration::from_secs(86_400);

    fn row(change: impl FnOnce(&mut RotatedSecret), record: Option<Record>) -> Row {
        let now = 20_000 * DAY;
        let mut secret = RotatedSecret {
            arn: "arn:aws:secretsmanager:r:1:secret:a-AbCdEf".to_owned(),
            rotation_enabled: true,
            last_rotated: Some(now - DAY),
            last_changed: Some(now - 2 * DAY),
            interval: Some(30 * DAY),
            labels: [("v1".to_owned(), vec![CURRENT.to_owned()])].into(),
            ..RotatedSecret::default()
        };
        change(&mut secret);
        Row { secret, seen: Err("not-asked"), record, now }
    }

    #[test]
    fn the_state_names_what_is_most_urgent() {
        let now = 20_000 * DAY;
        let failed = |at| Some(Record { at, outcome: "failed".to_owned(), ..Record::default() });
        let pending =
            |secret: &mut RotatedSecret| drop(secret.labels.insert("v2".to_owned(), vec![PENDING.to_owned()]));
        assert_eq!(row(|_| {}, None).state(), State::InTime);
        assert_eq!(row(|it| it.rotation_enabled = false, failed(now)).state(), State::Off);
        assert_eq!(row(pending, None).state(), State::Late, "begun two days ago");
        let young = |it: &mut RotatedSecret| {
            pending(it);
            it.last_changed = Some(now);
        };
        assert_eq!(row(young, None).state(), State::UnderWay);
        assert_eq!(row(young, failed(now)).state(), State::Failed);
        // A rotation has succeeded since.
        assert_eq!(row(|_| {}, failed(now - 2 * DAY)).state(), State::InTime);
        let overdue = row(|it| (it.last_rotated, it.last_changed) = (Some(now - 40 * DAY), None), None);
        assert_eq!((overdue.state(), overdue.exceptions()), (State::Late, vec!["rotation-overdue"]));
        let never = row(|it| it.last_rotated = None, None);
        assert_eq!(never.exceptions(), ["never-rotated"]);
    }
}
