//! The function's questions.

use crate::each::each;
use crate::leak::{self, Leaks};
use crate::plan::invalid::invalid;
use crate::plan::lanes::is_of_run;
use crate::plan::member::Member;
use crate::plan::order::{Mode, Order};
use crate::plan::select::Select;
use crate::plan::{self, spread};
use crate::run::lane::{self, Lane};
use crate::run::progress::Outcome;
use crate::run::report;
use crate::run::state::{Selected, State};
use crate::service::{Aws, Flag};
use rotation::clock::{Deadline, since_epoch, since_epoch_millis};
use rotation::environment::Environment;
use rotation::error::{Code, Error, Fact, Result};
use rotation::lambda::{Answers, Invocation, Metric, measure, record};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

/// An execution has 25,000 events, and a wave about 22 of them.
const MOST_WAVES: usize = 500;

/// The function.
#[derive(Debug)]
pub struct Fleet {
    aws: Arc<Aws>,
    leaks: Leaks,
    /// `ONLY_LEAKS`: whoever may report a leak may do nothing else here.
    only_leaks: bool,
}

impl Fleet {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`].
    pub fn new(environment: &Environment) -> Result<Self> {
        Ok(Self {
            aws: Arc::new(Aws::new(environment)?),
            leaks: Leaks::new(environment)?,
            only_leaks: environment.flag("ONLY_LEAKS", false)?,
        })
    }

    /// The secrets that an order may mean. Those that it names are asked for one by one: the list of an account takes long, and may be
    /// minutes old.
    async fn candidates(&self, select: &Select, deadline: Deadline) -> Result<Vec<Member>> {
        if select.secrets.is_empty() {
            return self.aws.members(deadline).await;
        }
        let (aws, names) = (Arc::clone(&self.aws), select.secrets.clone());
        let one = move |name: String| {
            let aws = Arc::clone(&aws);
            async move { aws.member(&name, deadline).await }
        };
        let mut members: Vec<_> = each(names, one).await?.into_iter().flatten().collect();
        members.sort_by(|one, other| one.arn.cmp(&other.arn));
        members.dedup_by(|one, other| one.arn == other.arn);
        Ok(members)
    }

    /// The selected secrets, in no order. The values of those that need it are read.
    async fn selected(&self, order: &Order, now: u64, deadline: Deadline) -> Result<Selected> {
        let (select, run) = (&order.select, order.key());
        let mut members = self.candidates(select, deadline).await?;
        let excepted_nobody = select.excepted_nobody(&members);
        members.retain(|member| is_for(order.mode, member) && select.meets(member, now, |it| is_of_run(&run, it)));
        let mut unread = 0;
        if select.reads_values() {
            members = self.with_values(members, deadline).await?;
            unread = members.iter().filter(|member| member.value.is_none()).count();
            members.retain(|member| select.meets_by_value(member));
        }
        let missing = select.missing(&members);
        Ok(Selected { members, missing, excepted_nobody, unread })
    }

    /// The secrets that a selection without an order means.
    async fn meant(&self, select: Select, deadline: Deadline) -> Result<Vec<Member>> {
        select.check()?;
        let order = Order::of(select);
        let Selected { members, missing, excepted_nobody, .. } =
            self.selected(&order, since_epoch().as_secs(), deadline).await?;
        match missing.iter().chain(&excepted_nobody).next() {
            None => Ok(members),
            Some(entry) => Err(invalid("Select", &format!("{entry:?}"), "names that stand for secrets")),
        }
    }

    /// The same members with what their values say.
    async fn with_values(&self, members: Vec<Member>, deadline: Deadline) -> Result<Vec<Member>> {
        let aws = Arc::clone(&self.aws);
        let one = move |mut member: Member| {
            let aws = Arc::clone(&aws);
            async move {
                if member.value.is_none() {
                    member.value = aws.facts(&member.arn, deadline).await?;
                }
                Ok(member)
            }
        };
        each(members, one).await
    }

    async fn plan(&self, order: &Order, deadline: Deadline) -> Result<Value> {
        let now = since_epoch().as_secs();
        let selected = self.selected(order, now, deadline).await?;
        let mut members = self.with_values(selected.members, deadline).await?;
        members.sort_by_cached_key(|member| plan::place(&order.name, &member.arn));
        let mut plan = plan::shown(order, &members, now);
        if let Some(fields) = plan.as_object_mut() {
            fields.insert("notSelected".to_owned(), json!(selected.missing));
            fields.insert("exceptedNobody".to_owned(), json!(selected.excepted_nobody));
            fields.insert("unread".to_owned(), json!(selected.unread));
        }
        Ok(plan)
    }

    async fn begin(&self, payload: &Value, invocation: &Invocation) -> Result<Value> {
        let deadline = invocation.deadline;
        let execution = payload.get("Execution").cloned().unwrap_or_default();
        let name = execution.get("Name").and_then(Value::as_str).unwrap_or_default();
        let mut order = Order::read(payload.get("Order").unwrap_or(&Value::Null), name)?;
        if order.mode == Mode::Rekey {
            // Before the first secret: one that is under a key that nobody can use cannot be read any more.
            order.kms_key = self.aws.key(&order.kms_key, deadline).await?;
        }
        if !order.run {
            let plan = self.plan(&order, deadline).await?;
            return Ok(json!({"doing": "plan", "plan": plan}));
        }
        let selected = self.selected(&order, since_epoch().as_secs(), deadline).await?;
        // In a list of secrets, nothing can be rotated by such a mistake.
        let mistake = selected.excepted_nobody.first().filter(|_| order.select.secrets.is_empty());
        if let Some(nobody) = mistake {
            let found = format!("{nobody:?}, which stands for no secret");
            return Err(invalid("select.except", &found, "names of secrets, so that none is rotated by a mistake"));
        }
        if selected.members.is_empty() {
            let expected = "criteria that at least one secret meets, which a function rotates; ask for the plan first";
            return Err(invalid("select", "criteria that no secret meets", expected));
        }
        let waves = order.waves(selected.members.len()).len();
        if waves > MOST_WAVES {
            let expected = "500 waves at most: an execution of Step Functions has 25,000 events";
            return Err(invalid("waves", &format!("{waves} waves"), expected));
        }
        let state = State::new(order, execution, &selected, since_epoch_millis());
        let about = json!({
            "event": "begun", "run": state.order.name, "mode": state.order.mode.as_str(), "why": state.order.why,
            "askedBy": state.order.asked_by, "execution": state.execution, "select": state.order.select,
            "continue": state.order.goes_on, "secrets": state.count, "waves": state.waves,
            "notSelected": selected.missing, "unread": selected.unread,
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
        let flag = self.aws.flag(&state.order.name, deadline).await;
        if let Err(error) = &flag {
            record("fleet", invocation, &json!({"event": "flag", "run": state.order.name, "error": error.to_string()}));
        }
        state.gate(flag.ok().map(|flag| flag == Flag::Stop));
        if let Some(size) = state.part(since_epoch_millis()) {
            let members = if state.selects_anew() {
                self.selected(&state.order, state.began / 1_000, deadline).await?.members
            } else {
                let mut members = self.candidates(&state.order.select, deadline).await?;
                members.retain(|member| is_for(state.order.mode, member) && state.has(member, |_| false));
                members
            };
            let part = self.with_values(state.after_cursor(members, size), deadline).await?;
            // Reading does not keep the order.
            let part = state.after_cursor(part, size);
            state.plan(&part, since_epoch_millis());
        }
        written(&state)
    }

    fn report(state: &State, invocation: &Invocation) -> Value {
        let mut report = report::report(state, since_epoch_millis());
        let brief = report::brief(&report);
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
            // Of credentials that live, nobody knows the time.
            if state.longest > 0 && failures == 0 {
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

/// Whether a secret can be meant by an order of this mode: a rotation needs a function, another key does not.
fn is_for(mode: Mode, member: &Member) -> bool {
    mode == Mode::Rekey || !member.function.is_empty()
}

impl Answers for Fleet {
    async fn answer(&self, payload: Value, invocation: Invocation) -> Result<Value> {
        let deadline = invocation.deadline;
        if leak::is_event(&payload) {
            return self.leaks.event(&self.aws, &payload, &invocation).await;
        }
        match payload.get("Do").and_then(Value::as_str) {
            Some("leak") => {
                self.leaks.report(&self.aws, payload.get("Report").unwrap_or(&Value::Null), &invocation).await
            }
            _ if self.only_leaks => Err(invalid("Do", "another word", "leak: this function takes nothing else")),
            Some("plan") => {
                let order = Order::read(payload.get("Order").unwrap_or(&Value::Null), "plan")?;
                self.plan(&order, deadline).await
            }
            Some("begin") => self.begin(&payload, &invocation).await,
            Some("next") => self.next(field(&payload, "State")?, &invocation).await,
            Some("lane") => written(&lane::work(&self.aws, field::<Lane>(&payload, "Lane")?, &invocation).await),
            Some("report") => Ok(Self::report(&field(&payload, "State")?, &invocation)),
            Some("spread") => {
                let hours = spread::hours(payload.get("Hours"))?;
                Ok(spread::spread(&self.meant(field(&payload, "Select")?, deadline).await?, &hours))
            }
            Some("fingerprints") => {
                let members = self.meant(field(&payload, "Select")?, deadline).await?;
                self.leaks.tag(&self.aws, &members, deadline).await
            }
            _ => {
                let expected = "plan, begin, next, lane, report, spread, fingerprints or leak";
                Err(invalid("Do", "another word", expected))
            }
        }
    }
}

fn field<T: DeserializeOwned>(payload: &Value, name: &'static str) -> Result<T> {
    let value = payload.get(name).unwrap_or(&Value::Null);
    T::deserialize(value).map_err(|_| invalid(name, "something else", "what docs/fleet.md says"))
}

fn written<T: serde::Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|_| Error::new(Code::Internal).with(Fact::What, "the answer is no JSON"))
}
