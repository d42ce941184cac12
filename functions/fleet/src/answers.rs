//! The function's questions.

use crate::leak::{self, Leaks};
use crate::plan::member::Member;
use crate::plan::order::{Mode, Order};
use crate::plan::select::Select;
use crate::plan::{self, spread};
use crate::run::item::Outcome;
use crate::run::lane::{self, Lane};
use crate::run::state::State;
use crate::service::{Aws, Flag};
use rotation::clock::{Deadline, since_epoch};
use rotation::environment::Environment;
use rotation::error::{Code, Error, Fact, Result};
use rotation::lambda::{Answers, Invocation, Metric, measure, record};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::task::JoinSet;

/// So many secrets stand in each list of the line that ends a run.
const BRIEF: usize = 30;
/// Values that are read at a time.
const READS: usize = 16;

/// The function.
#[derive(Debug)]
pub struct Fleet {
    aws: Arc<Aws>,
    leaks: Leaks,
}

impl Fleet {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`].
    pub fn new(environment: &Environment) -> Result<Self> {
        Ok(Self { aws: Arc::new(Aws::new(environment)?), leaks: Leaks::new(environment)? })
    }

    /// The selected secrets, in no order. The values of those that need it are read.
    async fn selected(&self, select: &Select, now: u64, deadline: Deadline) -> Result<Vec<Member>> {
        let mut members = self.aws.members(deadline).await?;
        members.retain(|member| select.meets(member, now));
        if select.reads_values() {
            members = self.with_values(members, deadline).await?;
            members.retain(|member| select.meets_by_value(member));
        }
        Ok(members)
    }

    /// The same members with what their values say.
    async fn with_values(&self, members: Vec<Member>, deadline: Deadline) -> Result<Vec<Member>> {
        let (mut waiting, mut reads, mut read) = (members.into_iter(), JoinSet::new(), Vec::new());
        loop {
            while reads.len() < READS
                && let Some(mut member) = waiting.next()
            {
                let aws = Arc::clone(&self.aws);
                reads.spawn(async move {
                    if member.value.is_none() {
                        member.value = aws.facts(&member.arn, deadline).await?;
                    }
                    Ok::<_, Error>(member)
                });
            }
            match reads.join_next().await {
                Some(Ok(member)) => read.push(member?),
                Some(Err(_)) => {
                    return Err(Error::new(Code::Internal).with(Fact::What, "panic; its place is in the log"));
                }
                None => return Ok(read),
            }
        }
    }

    async fn plan(&self, order: &Order, deadline: Deadline) -> Result<Value> {
        let now = since_epoch().as_secs();
        let members = self.selected(&order.select, now, deadline).await?;
        let mut members = self.with_values(members, deadline).await?;
        members.sort_by_cached_key(|member| plan::place(&order.name, &member.arn));
        Ok(plan::shown(order, &members, now))
    }

    async fn begin(&self, payload: &Value, invocation: &Invocation) -> Result<Value> {
        let execution = payload.get("Execution").cloned().unwrap_or_default();
        let name = execution.get("Name").and_then(Value::as_str).unwrap_or_default();
        let order = Order::read(payload.get("Order").unwrap_or(&Value::Null), name)?;
        if !order.run {
            let plan = self.plan(&order, invocation.deadline).await?;
            return Ok(json!({"doing": "plan", "plan": plan}));
        }
        let members = self.selected(&order.select, since_epoch().as_secs(), invocation.deadline).await?;
        let state = State::new(order, execution, &members, milliseconds());
        let about = json!({
            "event": "begun", "run": state.order.name, "mode": state.order.mode.as_str(), "why": state.order.why,
            "askedBy": state.order.asked_by, "execution": state.execution, "select": state.order.select,
            "secrets": state.count, "waves": state.waves,
        });
        record("fleet", invocation, &about);
        written(&state)
    }

    async fn next(&self, mut state: State, invocation: &Invocation) -> Result<Value> {
        let deadline = invocation.deadline;
        for done in state.fold() {
            let about =
                json!({"event": "secret", "run": state.order.name, "mode": state.order.mode.as_str(), "done": done});
            record("fleet", invocation, &about);
        }
        // A flag that cannot be read could not stop anybody, so it stops.
        let stopped = self.aws.flag(&state.order.name, deadline).await.unwrap_or(Flag::Stop) == Flag::Stop;
        state.gate(stopped);
        if let Some(size) = state.part(milliseconds()) {
            let members = self.selected(&state.order.select, state.began / 1_000, deadline).await?;
            let part = self.with_values(state.after_cursor(members, size), deadline).await?;
            // Reading does not keep the order.
            let part = state.after_cursor(part, size);
            state.plan(&part, milliseconds());
        }
        written(&state)
    }

    fn report(state: &State, invocation: &Invocation) -> Value {
        let mut report = state.report(milliseconds());
        let brief = brief(&report);
        record("fleet", invocation, &json!({"event": "ended", "report": brief}));
        // A state machine that fails has no output. Its cause may have 32,768 characters.
        if state.outcome != "finished"
            && let Some(fields) = report.as_object_mut()
        {
            fields.insert("cause".to_owned(), brief.to_string().into());
        }
        let failures = u32::try_from(state.count(Outcome::Failed)).unwrap_or(u32::MAX);
        let mut metrics = vec![(Metric::FleetRuns, 1.0), (Metric::FleetFailures, f64::from(failures))];
        let number = |outcome| f64::from(u32::try_from(state.count(outcome)).unwrap_or(u32::MAX));
        if state.order.mode == Mode::Emergency {
            metrics.push((Metric::EmergencyRotations, number(Outcome::Rotated)));
            if state.longest > 0 {
                let seconds = std::time::Duration::from_millis(state.longest).as_secs_f64();
                metrics.push((Metric::TimeToRevoke, seconds));
            }
        }
        if state.order.mode == Mode::RollBack && state.count > 0 {
            let all = f64::from(u32::try_from(state.count).unwrap_or(u32::MAX));
            metrics.push((Metric::RollbackRate, number(Outcome::RolledBack) / all * 100.0));
        }
        measure(metrics);
        report
    }
}

impl Answers for Fleet {
    async fn answer(&self, payload: Value, invocation: Invocation) -> Result<Value> {
        let deadline = invocation.deadline;
        if leak::is_event(&payload) {
            return self.leaks.event(&self.aws, &payload, &invocation).await;
        }
        match payload.get("Do").and_then(Value::as_str) {
            Some("plan") => {
                let order = Order::read(payload.get("Order").unwrap_or(&Value::Null), "plan")?;
                self.plan(&order, deadline).await
            }
            Some("begin") => self.begin(&payload, &invocation).await,
            Some("next") => self.next(field(&payload, "State")?, &invocation).await,
            Some("lane") => written(&lane::work(&self.aws, field::<Lane>(&payload, "Lane")?, deadline).await),
            Some("report") => Ok(Self::report(&field(&payload, "State")?, &invocation)),
            Some("spread") => {
                let select: Select = field(&payload, "Select")?;
                select.check()?;
                let hours: Vec<u64> = field(&payload, "Hours").unwrap_or_default();
                let members = self.selected(&select, since_epoch().as_secs(), deadline).await?;
                Ok(spread::spread(&members, &hours))
            }
            Some("fingerprints") => {
                let select: Select = field(&payload, "Select")?;
                select.check()?;
                let members = self.selected(&select, since_epoch().as_secs(), deadline).await?;
                self.leaks.tag(&self.aws, &members, deadline).await
            }
            Some("leak") => {
                self.leaks.report(&self.aws, payload.get("Report").unwrap_or(&Value::Null), &invocation).await
            }
            _ => {
                let error = Error::new(Code::EventMalformed).with(Fact::Field, "Do").with(Fact::Found, "another word");
                Err(error.with(Fact::Expected, "plan, begin, next, lane, report, spread, fingerprints or leak"))
            }
        }
    }
}

fn milliseconds() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}

fn field<T: DeserializeOwned>(payload: &Value, name: &'static str) -> Result<T> {
    T::deserialize(payload.get(name).unwrap_or(&Value::Null)).map_err(|_| {
        let error = Error::new(Code::EventMalformed).with(Fact::Field, name).with(Fact::Found, "something else");
        error.with(Fact::Expected, "what docs/fleet.md says")
    })
}

fn written<T: serde::Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|_| Error::new(Code::Internal).with(Fact::What, "the answer is no JSON"))
}

/// A report for one line of the log, which has 256 KB: each secret has a line of its own.
fn brief(report: &Value) -> Value {
    let mut brief = report.clone();
    if let Some(fields) = brief.as_object_mut() {
        for long in ["failures", "leaked", "versionsUnderAnOldKey"] {
            let few = fields
                .get(long)
                .and_then(Value::as_array)
                .map(|all| all.iter().take(BRIEF).cloned().collect::<Vec<_>>());
            fields.insert(long.to_owned(), json!(few));
        }
    }
    brief
}
