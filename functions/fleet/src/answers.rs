//! The function's questions.

use crate::each::each;
use crate::function::{Function, Word};
use crate::leak::{self, Leaks};
use crate::page::{self, form};
use crate::plan::invalid::invalid;
use crate::plan::lanes::is_of_run;
use crate::plan::member::Member;
use crate::plan::order::{Mode, Order, is_name};
use crate::plan::select::Select;
use crate::plan::{self, spread};
use crate::run::lane::{self, Lane};
use crate::run::progress::Outcome;
use crate::run::report;
use crate::run::state::{Selected, State};
use crate::service::{Aws, Flag};
use rotation::clock::{Deadline, date, since_epoch, since_epoch_millis};
use rotation::environment::Environment;
use rotation::error::{Code, Error, Fact, Result};
use rotation::lambda::{Answers, Invocation, Metric, measure, record};
use rotation::page::{View, refusal};
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
    /// `SERVES`: which function of the stack this is.
    function: Function,
    /// `STATE_MACHINE_ARN`: whose executions the page shows.
    machine: Option<String>,
    /// `ALLOW_PAGE_RUNS`: whether the page starts and stops runs.
    page_runs: bool,
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
            function: Function::new(environment)?,
            machine: environment.text("STATE_MACHINE_ARN")?,
            page_runs: environment.flag("ALLOW_PAGE_RUNS", false)?,
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
        let mut left_out = Vec::new();
        members.retain(|member| {
            let no_function = (!is_for(order.mode, member)).then_some("no-function");
            let why = no_function.or_else(|| select.unmet(member, now, |it| is_of_run(&run, it)));
            left_out.extend(why.map(|why| (member.name.clone(), why)));
            why.is_none()
        });
        let mut unread = 0;
        if select.reads_values() {
            members = self.with_values(members, deadline).await?;
            unread = members.iter().filter(|member| member.value.is_none()).count();
            members.retain(|member| {
                let meets = select.meets_by_value(member);
                left_out.extend((!meets).then(|| (member.name.clone(), "value")));
                meets
            });
        }
        let missing = select.missing(&members);
        Ok(Selected { members, missing, excepted_nobody, unread, left_out })
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
            fields.insert("leftOut".to_owned(), plan::left_out(&selected.left_out));
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
        if self.function == Function::Page && payload.get("describe").and_then(Value::as_bool) == Some(true) {
            return Ok(json!({"markdown": page::HELP}));
        }
        let view = View::of_widget(&payload, &invocation.function).filter(|_| self.function != Function::Leaks);
        let Some(view) = view else { return self.answered(&payload, &invocation).await };
        // The console would show an error of a function without what it says.
        Ok(match self.paged(&payload, &invocation).await {
            Ok(answer) => page::page(&answer, &view).into(),
            Err(error) => {
                let (code, message) = (error.code().as_str(), error.to_string());
                record("fleet", &invocation, &json!({"event": "refused", "code": code, "message": message}));
                refusal(&error, &view).into()
            }
        })
    }
}

impl Fleet {
    /// The answers that have a page.
    async fn paged(&self, payload: &Value, invocation: &Invocation) -> Result<Value> {
        if self.function != Function::Page {
            let expected = format!("a widget that invokes {}", Function::Page.deployed());
            return Err(invalid("widgetContext", "a widget", &expected));
        }
        match payload.get("Do").and_then(Value::as_str) {
            Some("plan") => {
                let now = date(since_epoch()).unwrap_or_default();
                let digits: String = now.chars().filter(char::is_ascii_digit).collect();
                // The run has the name of the plan, so that it has its waves.
                let order = form::order(payload, &format!("page-{digits}"));
                let plan = self.plan(&Order::read(&order, "plan")?, invocation.deadline).await?;
                Ok(json!({"does": "plan", "plan": plan, "order": order, "mayRun": self.page_runs}))
            }
            Some("run") => {
                let mut order = payload.get("Order").cloned().unwrap_or_default();
                if let Some(order) = order.as_object_mut() {
                    for field in [form::WHY, form::ASKED_BY] {
                        order.insert(field.to_owned(), form::written(payload, field).into());
                    }
                }
                self.run(order, invocation).await
            }
            Some("stop" | "go") => self.answered(payload, invocation).await,
            _ => self.runs(json!({"does": "runs"}), invocation.deadline).await,
        }
    }

    /// The latest runs and the stop flag, beside what was just done.
    async fn runs(&self, mut answer: Value, deadline: Deadline) -> Result<Value> {
        let flag = self.aws.stop_flag(deadline).await?;
        let runs = match &self.machine {
            Some(machine) => self.aws.runs(machine, deadline).await,
            None => Err(no_machine()),
        };
        // Who may not look at runs can still plan one.
        let (runs, trouble) = runs.map_or_else(|error| (Vec::new(), error.to_string()), |runs| (runs, String::new()));
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("mayRun".to_owned(), self.page_runs.into());
            fields.insert("flag".to_owned(), flag.into());
            fields.insert("runs".to_owned(), runs.into());
            fields.insert("trouble".to_owned(), trouble.into());
        }
        Ok(answer)
    }

    fn allowed(&self) -> Result<()> {
        if self.page_runs { Ok(()) } else { Err(Error::new(Code::PageRunsOff)) }
    }

    /// Starts the execution of an order.
    async fn run(&self, mut order: Value, invocation: &Invocation) -> Result<Value> {
        self.allowed()?;
        if let Some(order) = order.as_object_mut() {
            order.insert("run".to_owned(), true.into());
        }
        // What the state machine would refuse is not started.
        let read = Order::read(&order, "")?;
        let machine = self.machine.as_ref().ok_or_else(no_machine)?;
        let started = self.aws.start(machine, &read.name, &order, invocation.deadline).await?;
        let about = json!({"event": "asked", "run": read.name, "mode": read.mode.as_str(), "why": read.why,
            "askedBy": read.asked_by, "started": started});
        record("fleet", invocation, &about);
        self.runs(json!({"does": "run", "run": read.name, "started": started}), invocation.deadline).await
    }

    /// Sets the stop flag for a run, or takes it away. One flag stops one run or all: while it stops another run, this one is stopped
    /// with all.
    async fn flag(&self, run: Option<&str>, invocation: &Invocation) -> Result<Value> {
        self.allowed()?;
        let deadline = invocation.deadline;
        let before = self.aws.stop_flag(deadline).await?;
        let value = match run {
            None => "go",
            Some(run) if before.is_empty() || before == "go" || before == run => run,
            Some(_) => "stop",
        };
        if !self.aws.set_stop_flag(value, deadline).await? {
            let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, "STOP_PARAMETER");
            return Err(error.with(Fact::Found, "nothing").with(Fact::Expected, "the parameter with the stop flag"));
        }
        record("fleet", invocation, &json!({"event": "flag", "before": before, "value": value}));
        self.runs(json!({"does": if run.is_some() { "stop" } else { "go" }}), deadline).await
    }

    async fn answered(&self, payload: &Value, invocation: &Invocation) -> Result<Value> {
        let deadline = invocation.deadline;
        if self.function == Function::Leaks && leak::is_event(payload) {
            return self.leaks.event(&self.aws, payload, invocation).await;
        }
        match self.function.word(payload)? {
            Word::Plan => {
                let order = Order::read(payload.get("Order").unwrap_or(&Value::Null), "plan")?;
                self.plan(&order, deadline).await
            }
            Word::Begin => self.begin(payload, invocation).await,
            Word::Next => self.next(field(payload, "State")?, invocation).await,
            Word::Lane => written(&lane::work(&self.aws, field::<Lane>(payload, "Lane")?, invocation).await),
            Word::Report => Ok(Self::report(&field(payload, "State")?, invocation)),
            Word::Spread => {
                let hours = spread::hours(payload.get("Hours"))?;
                Ok(spread::spread(&self.meant(field(payload, "Select")?, deadline).await?, &hours))
            }
            Word::Fingerprints => {
                let members = self.meant(field(payload, "Select")?, deadline).await?;
                self.leaks.tag(&self.aws, &members, invocation).await
            }
            Word::Leak => self.leaks.report(&self.aws, payload.get("Report").unwrap_or(&Value::Null), invocation).await,
            Word::Run => self.run(payload.get("Order").cloned().unwrap_or_default(), invocation).await,
            Word::Stop => {
                let run = payload.get("Run").and_then(Value::as_str).filter(|run| !run.is_empty());
                let expected = "the name of a run, or stop for all";
                let run = run.ok_or_else(|| invalid("Run", "nothing", expected))?;
                if run != "stop" && !is_name(run) {
                    return Err(invalid("Run", "no name of a run", expected));
                }
                self.flag(Some(run), invocation).await
            }
            Word::Go => self.flag(None, invocation).await,
            Word::Runs => self.runs(json!({"does": "runs"}), deadline).await,
        }
    }
}

fn no_machine() -> Error {
    let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, "STATE_MACHINE_ARN");
    error.with(Fact::Found, "nothing").with(Fact::Expected, "the ARN of the fleet's state machine")
}

fn field<T: DeserializeOwned>(payload: &Value, name: &'static str) -> Result<T> {
    let value = payload.get(name).unwrap_or(&Value::Null);
    T::deserialize(value).map_err(|_| invalid(name, "something else", "what docs/fleet.md says"))
}

fn written<T: serde::Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|_| Error::new(Code::Internal).with(Fact::What, "the answer is no JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn invocation() -> Invocation {
        let function = "arn:aws:lambda:us-east-1:1:function:lockstep-fleet".to_owned();
        Invocation { request: "r".to_owned(), function, deadline: Deadline::after(Duration::from_secs(5)) }
    }

    async fn asked(settings: &[(&str, &str)], payload: Value) -> Result<Value> {
        Fleet::new(&Environment::of(settings)?)?.answer(payload, invocation()).await
    }

    /// The settings of the page's function, and these.
    fn page<'a>(settings: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        [&[("SERVES", "page")], settings].concat()
    }

    #[tokio::test]
    async fn the_stop_flag_gets_the_name_of_a_run_or_stops_all() {
        let settings = page(&[("ALLOW_PAGE_RUNS", "true")]);
        for run in ["", "go", "a run", "*"] {
            let error = asked(&settings, json!({"Do": "stop", "Run": run})).await.unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Field)), (Code::OrderInvalid, Some("Run")), "{run}");
        }
        for run in ["stop", "november"] {
            let error = asked(&settings, json!({"Do": "stop", "Run": run})).await.unwrap_err();
            assert_eq!(error.fact(Fact::Field), Some("STOP_PARAMETER"), "{run}");
        }
    }

    #[tokio::test]
    async fn nothing_is_started_or_stopped_without_the_deployers_consent() {
        let order = json!({"name": "n", "why": "w", "select": {"names": ["*"]}});
        let forms = json!({"forms": {"all": {"why": "w"}}});
        for settings in
            [&[][..], &[("ALLOW_PAGE_RUNS", "false"), ("STATE_MACHINE_ARN", "arn"), ("STOP_PARAMETER", "/stop")]]
        {
            let settings = page(settings);
            for asks in [json!({"Do": "run", "Order": order}), json!({"Do": "stop", "Run": "n"}), json!({"Do": "go"})] {
                assert_eq!(asked(&settings, asks.clone()).await.unwrap_err().code(), Code::PageRunsOff, "{asks}");
                // A widget shows the error.
                let mut asks = asks;
                asks["widgetContext"] = forms.clone();
                let page = asked(&settings, asks.clone()).await.unwrap();
                assert!(page.as_str().unwrap().contains("page-runs-off"), "{page}");
            }
        }
    }

    #[tokio::test]
    async fn only_the_pages_function_has_a_page() {
        let leaks = [("SERVES", "leaks"), ("ALLOW_PAGE_RUNS", "true")];
        let runs = [("SERVES", "runs"), ("ALLOW_PAGE_RUNS", "true")];
        for asks in ["runs", "plan", "run", "stop", "go"] {
            let asks = json!({"Do": asks, "Run": "n", "widgetContext": {}});
            assert_eq!(asked(&leaks, asks.clone()).await.unwrap_err().code(), Code::OrderInvalid, "{asks}");
            // People see this one, where a dashboard of their own names the wrong function.
            let page = asked(&runs, asks).await.unwrap();
            assert!(page.as_str().unwrap().contains("SERVES=page"), "{page}");
        }
        for settings in [leaks, runs] {
            assert!(asked(&settings, json!({"describe": true})).await.is_err());
        }
        assert!(asked(&page(&[]), json!({"describe": true})).await.unwrap()["markdown"].is_string());
    }

    /// Whoever sees the page may invoke its function. A forged state would have AWSCURRENT moved back.
    #[tokio::test]
    async fn the_pages_function_takes_no_state_of_a_run() {
        for context in [Value::Null, json!({})] {
            for asks in [
                json!({"Do": "begin", "Order": {}}),
                json!({"Do": "next", "State": {}}),
                json!({"Do": "lane", "Lane": {}}),
                json!({"Do": "report", "State": {}}),
                json!({"Do": "fingerprints", "Select": {"names": ["*"]}}),
                json!({"Do": "leak", "Report": []}),
                json!({"source": "aws.health", "detail-type": "AWS Health Event", "detail": {}}),
            ] {
                let mut asks = asks;
                asks["widgetContext"] = context.clone();
                let answer = asked(&page(&[("ALLOW_PAGE_RUNS", "true")]), asks.clone()).await;
                if context.is_null() {
                    let error = answer.unwrap_err();
                    assert_eq!((error.code(), error.fact(Fact::Field)), (Code::OrderInvalid, Some("Do")), "{asks}");
                } else {
                    // The page shows the runs instead.
                    assert!(answer.unwrap().as_str().unwrap().contains("<h3>Runs</h3>"), "{asks}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_run_needs_a_reason_and_a_selection_before_anything_is_started() {
        let settings = page(&[("ALLOW_PAGE_RUNS", "true"), ("STATE_MACHINE_ARN", "arn")]);
        for (order, field) in [
            (json!({"name": "n", "select": {"names": ["*"]}}), "why"),
            (json!({"name": "n", "why": " ", "select": {"names": ["*"]}}), "why"),
            (json!({"name": "n", "why": "w"}), "select"),
            (json!({"why": "w", "select": {"names": ["*"]}}), "name"),
            (Value::Null, "(the order)"),
        ] {
            let error = asked(&settings, json!({"Do": "run", "Order": order})).await.unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Field)), (Code::OrderInvalid, Some(field)), "{order}");
        }
    }
}
