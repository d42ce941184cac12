//! The four steps against the lab's Secrets Manager, in process and in virtual time: every call to the service takes one
//! second there, so the seconds a step takes are the calls that waited for one another.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of a test: a panic is a failure with a line number"
)]

use async_trait::async_trait;
use lab::secretsmanager::{Consistency, Options, Service};
use rotation::clock::Deadline;
use rotation::document::Document;
use rotation::protocol::context::StepContext;
use rotation::protocol::diagnose::{Diagnosis, Finding};
use rotation::protocol::event::Event;
use rotation::protocol::label::Label;
use rotation::protocol::observation::PreviousCredential;
use rotation::protocol::observation::{Attempt, Observation};
use rotation::protocol::recover::{Action, RecoverReport, Recovery};
use rotation::protocol::schedule::RotatedSecret;
use rotation::protocol::store::{
    Description, EncryptionKey, ListedVersion, PutOutcome, SecretStore, Version, VersionSelector,
};
use rotation::protocol::target::{
    Applied, Change, Helper, HelperSecret, OlderVersion, Proof, Proposal, Retired, Target, VersionWithAge, Versions,
};
use rotation::protocol::{Outcome, Rotation};
use rotation::secret::{RotationToken, SecretText};
use rotation::{Code, Error, Fact, Result};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";
const FIRST: &str = "aaaaaaaa-0000-4000-8000-000000000000";
const TOKEN: &str = "aaaaaaaa-0000-4000-8000-000000000001";
/// After this many attempts, the lock tries no older version.
const MOST_TRIED: usize = 4;
const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];

/// The seam's calls as requests to the lab's service.
#[derive(Clone)]
struct Store {
    service: Service,
    calls: Arc<Mutex<Vec<String>>>,
    /// Reads of the pending version that still miss its value.
    stale_reads: Arc<Mutex<u32>>,
    /// Whether the next read of the current version still sees the previous one.
    stale_current: Arc<Mutex<bool>>,
    /// Reads of the previous version that see the current one instead.
    stale_previous: Arc<Mutex<u32>>,
    puts: Arc<Mutex<Vec<Value>>>,
}

impl Store {
    async fn call(&self, operation: &str, body: Value) -> Result<Value, String> {
        self.calls.lock().unwrap().push(operation.to_owned());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let reply = self.service.call(operation, body.to_string().as_bytes(), Consistency::Strong).await;
        reply.error_type.map_or(Ok(reply.body), Err)
    }
}

#[async_trait]
impl SecretStore for Store {
    async fn describe(&self, secret: &str, _: Deadline) -> Result<Description> {
        let answer = self.call("DescribeSecret", json!({"SecretId": secret})).await;
        let answer = answer.map_err(|code| Error::new(Code::SecretNotFound).with(Fact::ServiceCode, code))?;
        let labels = answer.get("VersionIdsToStages").cloned().unwrap_or(json!({}));
        Ok(Description {
            rotation_enabled: answer.get("RotationEnabled").and_then(Value::as_bool),
            labels: serde_json::from_value(labels).unwrap(),
            ..Description::default()
        })
    }

    async fn value(&self, secret: &str, select: VersionSelector<'_>, _: Deadline) -> Result<Option<Version>> {
        let select = match select {
            VersionSelector::Current if std::mem::take(&mut *self.stale_current.lock().unwrap()) => {
                VersionSelector::Previous
            }
            VersionSelector::Previous if *self.stale_previous.lock().unwrap() > 0 => {
                *self.stale_previous.lock().unwrap() -= 1;
                VersionSelector::Current
            }
            other => other,
        };
        let body = match select {
            VersionSelector::Current => json!({"SecretId": secret, "VersionStage": "AWSCURRENT"}),
            VersionSelector::Previous => json!({"SecretId": secret, "VersionStage": "AWSPREVIOUS"}),
            VersionSelector::Any(id) => json!({"SecretId": secret, "VersionId": id}),
            VersionSelector::Pending(id) => json!({"SecretId": secret, "VersionId": id, "VersionStage": "AWSPENDING"}),
        };
        let answer = self.call("GetSecretValue", body).await;
        if matches!(select, VersionSelector::Pending(_)) {
            let mut stale = self.stale_reads.lock().unwrap();
            if *stale > 0 {
                *stale -= 1;
                return Ok(None);
            }
        }
        match answer {
            Ok(answer) => {
                let text = answer["SecretString"].as_str().unwrap().into();
                Ok(Some(Version { id: answer["VersionId"].as_str().unwrap().to_owned(), text, age: None }))
            }
            Err(code) if code == "ResourceNotFoundException" => Ok(None),
            Err(code) => Err(Error::new(Code::ServiceRefused).with(Fact::ServiceCode, code)),
        }
    }

    async fn versions(&self, secret: &str, _: Deadline) -> Result<Vec<ListedVersion>> {
        let request = json!({"SecretId": secret, "IncludeDeprecated": true});
        let answer = self.call("ListSecretVersionIds", request).await.unwrap();
        let listed = answer["Versions"].as_array().unwrap().iter().enumerate().map(|(place, version)| ListedVersion {
            id: version["VersionId"].as_str().unwrap().to_owned(),
            labels: Vec::new(),
            // In virtual time all versions are made at one moment. The service lists them in the order in which they were made.
            created: Some(Duration::from_secs(place as u64)),
        });
        Ok(listed.collect())
    }

    async fn put_pending(
        &self,
        secret: &str,
        token: &str,
        rotation_token: Option<&RotationToken>,
        value: &SecretText,
        _: Deadline,
    ) -> Result<PutOutcome> {
        let body = json!({"SecretId": secret, "ClientRequestToken": token, "SecretString": value.expose(),
            "RotationToken": rotation_token.map(RotationToken::expose), "VersionStages": ["AWSPENDING"]});
        self.puts.lock().unwrap().push(body.clone());
        match self.call("PutSecretValue", body).await {
            Ok(_) => Ok(PutOutcome::Stored),
            Err(code) if code == "ResourceExistsException" => Ok(PutOutcome::OtherValueThere),
            Err(code) => Err(Error::new(Code::ServiceRefused).with(Fact::ServiceCode, code)),
        }
    }

    async fn promote(&self, secret: &str, to: &str, from: &str, _: Deadline) -> Result<()> {
        let body = json!({"SecretId": secret, "VersionStage": "AWSCURRENT", "MoveToVersionId": to, "RemoveFromVersionId": from});
        let answer = self.call("UpdateSecretVersionStage", body).await;
        answer.map(|_| ()).map_err(|code| Error::new(Code::WriteConflict).with(Fact::ServiceCode, code))
    }

    async fn mark(&self, _: &str, _: &str, _: &str, _: Option<&str>, _: Deadline) -> Result<()> {
        unreachable!("a lock blocks nobody")
    }

    async fn served(&self, function: &str, _: Deadline) -> Result<Vec<RotatedSecret>> {
        let answer = self.call("ListSecrets", json!({})).await.unwrap();
        let entries = answer["SecretList"].as_array().unwrap().iter();
        Ok(entries
            .filter(|entry| entry["RotationLambdaARN"] == function)
            .map(|entry| RotatedSecret {
                arn: entry["ARN"].as_str().unwrap().to_owned(),
                rotation_enabled: entry["RotationEnabled"] == true,
                kms_key: entry["KmsKeyId"].as_str().map(str::to_owned),
                ..RotatedSecret::default()
            })
            .collect())
    }

    /// The name of a key says what KMS answers.
    async fn encryption_key(&self, key: &str, _: Deadline) -> Result<Option<EncryptionKey>> {
        let state = match key.rsplit('-').next() {
            Some("refused") => return Err(Error::new(Code::ServiceRefused)),
            Some("silent") => return Err(Error::new(Code::ServiceUnavailable)),
            state => state.unwrap().to_owned(),
        };
        Ok(Some(EncryptionKey { arn: key.to_owned(), state, rotates: None }))
    }
}

/// Something with one password, and a count of what was asked of it.
#[derive(Clone, Default)]
struct Lock(Arc<Mutex<State>>);

const CHANGED: Outcome = Outcome::Changed(Change { by: "current", previous: PreviousCredential::Refused });

#[derive(Default)]
struct State {
    password: String,
    proposed: u32,
    settled: Vec<(String, PutOutcome)>,
    helper: Option<String>,
    companion_read: Option<String>,
    checked: u32,
    /// What verify was asked for.
    proofs: Vec<Proof>,
    /// Of what was promoted, when retire was called.
    retired: Vec<String>,
    /// The version that it superseded, then.
    superseded: Vec<String>,
    retirement_fails: bool,
    seen_current: Option<String>,
    /// Setting takes so long that the labels may have changed.
    slow: bool,
    /// What was tried to see whether it works.
    tried: Vec<String>,
    /// Nobody answers.
    silent: bool,
    /// Nobody answers whoever has this password.
    silent_for: Option<String>,
    /// Whoever has this password waits for ever.
    endless_for: Option<String>,
    /// AWSPREVIOUS is for somebody else.
    previous_is_anothers: bool,
    companion_fails: bool,
    companion_cannot_be_tried: bool,
    /// How often the helper's credential was to be tried.
    companion_tried: u32,
    /// The secrets that the daily look has looked after.
    looked_after: Vec<String>,
}

impl Lock {
    fn opens(&self, document: &Document) -> Result<()> {
        let matches = self.0.lock().unwrap().password == document.string("password")?;
        if matches { Ok(()) } else { Err(Error::new(Code::PendingRejected)) }
    }
}

impl Target for Lock {
    type Made = String;
    type Held = ();

    const LOOKS_AFTER: bool = true;
    const SEARCHES_OLDER_VERSIONS: bool = true;
    const SUPERUSER_SETS_CURRENT: bool = true;

    /// A secret whose name says so is slow.
    async fn look_on(&self, context: &StepContext<'_>, _: &Document, _: Option<&Document>) -> Result<()> {
        if context.secret().contains(":slow-") {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
        }
        self.0.lock().unwrap().looked_after.push(context.secret().to_owned());
        Ok(())
    }

    fn helper_secret(&self, _: &Document) -> Option<Helper> {
        self.0.lock().unwrap().helper.clone().map(|secret| Helper { secret, verifies: true })
    }

    async fn propose(&self, _: &StepContext<'_>, current: &Document) -> Result<Proposal<String>> {
        let mut state = self.0.lock().unwrap();
        state.proposed += 1;
        state.seen_current = Some(current.string("password")?);
        let made = format!("proposal-{}", state.proposed);
        Ok(Proposal { document: current.with(&[("password", &made)])?, made })
    }

    async fn settle(&self, context: &StepContext<'_>, made: String, put: PutOutcome) -> Result<()> {
        if put == PutOutcome::OtherValueThere {
            context.warn(Error::new(Code::KeyNotRevoked).with(Fact::KeyId, &made));
        }
        self.0.lock().unwrap().settled.push((made, put));
        Ok(())
    }

    async fn apply(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Applied> {
        self.0.lock().unwrap().seen_current = Some(versions.current.string("password")?);
        if self.0.lock().unwrap().slow {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        context.still_wanted().await?;
        let helper = self.0.lock().unwrap().helper.clone();
        if let Some(helper) = helper {
            let document = context.other_secret(&helper).await?;
            self.0.lock().unwrap().companion_read = Some(document.string("password")?);
        }
        if self.opens(versions.pending).is_ok() {
            return Ok(Applied::AlreadyInEffect);
        }
        self.0.lock().unwrap().password = versions.pending.string("password")?;
        Ok(Applied::Changed(Change { by: "current", previous: PreviousCredential::Refused }))
    }

    async fn verify(&self, _: &StepContext<'_>, versions: Versions<'_>, proof: Proof) -> Result<()> {
        if self.0.lock().unwrap().slow {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        self.0.lock().unwrap().proofs.push(proof);
        self.0.lock().unwrap().seen_current = Some(versions.current.string("password")?);
        self.opens(versions.pending)
    }

    async fn release(&self, (): ()) {}

    async fn retire(&self, _: &StepContext<'_>, versions: Versions<'_>) -> Result<Retired> {
        let mut state = self.0.lock().unwrap();
        state.retired.push(versions.pending.string("password")?);
        state.superseded.push(versions.current.string("password")?);
        if state.retirement_fails { Err(Error::new(Code::ConnectionLost)) } else { Ok(Retired::Previous) }
    }

    async fn check(&self, _: &StepContext<'_>, current: VersionWithAge<'_>) -> Result<Retired> {
        self.0.lock().unwrap().checked += 1;
        self.opens(current.document).map(|()| Retired::Nothing)
    }

    async fn attempt(&self, _: &StepContext<'_>, versions: Versions<'_>, label: Label) -> Result<Attempt> {
        let password = versions.pending.string("password")?;
        let (silent, endless) = {
            let mut state = self.0.lock().unwrap();
            if label == Label::Previous && state.previous_is_anothers {
                return Err(Error::new(Code::PendingMismatch));
            }
            let is = |one: &Option<String>| one.as_ref() == Some(&password);
            let told = (state.silent || is(&state.silent_for), is(&state.endless_for));
            state.tried.push(password);
            told
        };
        if endless {
            std::future::pending::<()>().await;
        }
        Ok(match (self.opens(versions.pending), silent) {
            (_, true) => {
                Attempt { observation: Observation::Unreachable, error: Some(Error::new(Code::ConnectionLost)) }
            }
            (Ok(()), _) => Attempt::WORKS,
            (Err(error), _) => Attempt { observation: Observation::Rejected, error: Some(error) },
        })
    }

    fn older(&self, _: &StepContext<'_>, versions: Versions<'_>) -> OlderVersion {
        let (state, password) = (self.0.lock().unwrap(), versions.pending.string("password").unwrap());
        match state.tried.len() {
            _ if state.tried.contains(&password) => OlderVersion::Useless,
            tried if tried < MOST_TRIED => OlderVersion::Worthwhile,
            _ => OlderVersion::Untried,
        }
    }

    async fn attempt_helper_secret(&self, _: &StepContext<'_>, _: &Document) -> Result<Option<HelperSecret>> {
        let mut state = self.0.lock().unwrap();
        state.companion_tried += 1;
        let tried = match (state.companion_cannot_be_tried, state.companion_fails) {
            (true, _) => None,
            (_, true) => Some(Attempt::unknown(Error::new(Code::SuperuserRejected))),
            (_, false) => Some(Attempt::WORKS),
        };
        Ok(state.helper.clone().map(|secret| HelperSecret { secret, rescues: true, tried }))
    }
}

struct Bench {
    store: Store,
    lock: Lock,
    rotation: Rotation<Store, Lock>,
    rotation_token: String,
}

impl Bench {
    /// A secret with a password that opens the lock, and a version registered by RotateSecret: pending, without a value.
    async fn new() -> Self {
        let store = Store {
            service: Service::new(Options::default()),
            calls: Arc::default(),
            stale_reads: Arc::default(),
            stale_current: Arc::default(),
            stale_previous: Arc::default(),
            puts: Arc::default(),
        };
        let lock = Lock::default();
        "old".clone_into(&mut lock.0.lock().unwrap().password);
        let value = json!({"password": "old"}).to_string();
        let secret = json!({"Name": "s", "SecretString": value, "ClientRequestToken": FIRST});
        store.call("CreateSecret", secret).await.unwrap();
        let staged = store.service.stage_rotation("s", FUNCTION, TOKEN).unwrap();
        let rotation_token = staged.rotation_token;
        let rotation = Rotation::new(store.clone(), lock.clone()).with_recover(true);
        Self { store, lock, rotation, rotation_token }
    }

    /// Further secrets of the function, each with a KMS key.
    async fn with_secrets(&self, secrets: impl IntoIterator<Item = (String, &str)>) {
        for (name, key) in secrets {
            let secret = json!({"Name": name, "SecretString": r#"{"password":"old"}"#, "KmsKeyId": key, "ClientRequestToken": FIRST});
            self.store.call("CreateSecret", secret).await.unwrap();
            self.store.service.stage_rotation(&name, FUNCTION, TOKEN).unwrap();
        }
    }

    /// What the daily look notices.
    async fn noticed(&self, day: u64) -> Vec<Error> {
        let now = Duration::from_secs(day * 86_400);
        self.rotation.watch(FUNCTION, now, Deadline::after(Duration::from_secs(60))).await.unwrap().noticed
    }

    fn event(&self, step: &str) -> Event {
        let event =
            json!({"SecretId": "s", "ClientRequestToken": TOKEN, "Step": step, "RotationToken": self.rotation_token});
        Event::parse(&event).unwrap()
    }

    async fn steps(&self, steps: &[&str]) {
        for step in steps {
            self.step(step).await.unwrap();
        }
    }

    /// An operator gives the rotation up while a slow step waits.
    async fn given_up(&self) {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let strip = json!({"SecretId": "s", "VersionStage": "AWSPENDING", "RemoveFromVersionId": TOKEN});
        self.store.call("UpdateSecretVersionStage", strip).await.unwrap();
    }

    async fn step(&self, step: &str) -> Result<Outcome> {
        self.rotation.run(&self.event(step), Deadline::after(Duration::from_secs(60))).await.outcome
    }

    /// A step's outcome and how many calls waited for one another.
    async fn timed(&self, step: &str) -> (Result<Outcome>, u64) {
        let start = Instant::now();
        let outcome = self.step(step).await;
        (outcome, start.elapsed().as_secs())
    }

    async fn current_password(&self) -> String {
        let value =
            self.store.value("s", VersionSelector::Current, Deadline::after(Duration::from_secs(9))).await.unwrap();
        Document::parse(value.unwrap().text).unwrap().string("password").unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_and_its_critical_path() {
    let bench = Bench::new().await;
    let mut seconds = Vec::new();
    for (step, expected) in [
        ("createSecret", Outcome::Proposed),
        ("setSecret", CHANGED),
        ("testSecret", Outcome::Verified),
        ("finishSecret", Outcome::Promoted(Ok(Retired::Previous))),
    ] {
        let (outcome, taken) = bench.timed(step).await;
        assert_eq!(outcome.unwrap(), expected);
        seconds.push(taken);
    }
    assert_eq!(seconds, [2, 2, 1, 3]);
    assert_eq!(bench.current_password().await, "proposal-1");
    let puts = bench.store.puts.lock().unwrap();
    assert_eq!(puts.len(), 1);
    assert_eq!(puts[0]["RotationToken"], json!(bench.rotation_token), "the event's token is handed on");
    assert!(!bench.store.calls.lock().unwrap().iter().any(|call| call == "GetRandomPassword"));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_slow_holds_up_the_look_at_no_other() {
    let bench = Bench::new().await;
    let slow = (0..4).map(|number| (format!("slow-{number}"), "key-Enabled"));
    let others = (0..20).map(|number| (format!("t-{number}"), "key-PendingDeletion"));
    bench.with_secrets(slow.chain(others)).await;
    let noticed = bench.noticed(20_000).await;
    let codes = |code| noticed.iter().filter(move |error| error.code() == code).count();
    assert_eq!((codes(Code::TimeSpent), codes(Code::KmsKeyPendingDeletion)), (4, 1), "{noticed:?}");
    assert!(
        noticed.iter().all(|error| error.fact(Fact::What) != Some("the daily look had no time for 1 of 25 secrets"))
    );
    assert_eq!(bench.lock.0.lock().unwrap().looked_after.len(), 21);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_not_looked_at_is_told_and_another_day_it_is() {
    let bench = Bench::new().await;
    bench.with_secrets((0..60).map(|number| (format!("slow-{number}"), "key-Enabled"))).await;
    let mut left_out = Vec::new();
    for day in 0..9 {
        let noticed = bench.noticed(day).await;
        let told = |error: &&Error| error.fact(Fact::What).is_some_and(|what| what.contains("had no time for"));
        let told: Vec<_> = noticed.iter().filter(told).collect();
        assert_eq!((told.len(), told[0].code()), (1, Code::TimeSpent), "{noticed:?}");
        left_out.push(told[0].fact(Fact::Secret).unwrap().to_owned());
    }
    left_out.sort();
    left_out.dedup();
    assert!(left_out.len() > 3, "the same ones are left out each day: {left_out:?}");
    assert!(!bench.lock.0.lock().unwrap().looked_after.is_empty(), "the secret that answers was looked at on no day");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_refused_or_gone_hides_no_other() {
    let bench = Bench::new().await;
    let keys = ["a-refused", "b-Gone", "c-Disabled", "d-refused", "e-PendingDeletion"];
    bench.with_secrets(keys.iter().map(|key| (format!("of-{key}"), *key))).await;
    for day in 0..keys.len() as u64 {
        let noticed = bench.noticed(day).await;
        let lost = noticed.iter().filter(|error| error.code() == Code::KmsKeyPendingDeletion).count();
        assert_eq!((noticed.len(), lost), (5, 3), "{noticed:?}");
    }
    // Without an answer of KMS the others would wait as well, but not the same ones each day.
    bench.with_secrets([("of-0".to_owned(), "0-silent")]).await;
    let mut most = 0;
    for day in 0..12 {
        most = most.max(bench.noticed(day).await.len());
    }
    assert!(most > 1, "the key that is not answered for comes first each day");
}

#[tokio::test(start_paused = true)]
async fn every_step_can_run_twice() {
    let bench = Bench::new().await;
    for (step, again) in [
        ("createSecret", Outcome::AlreadyProposed),
        ("setSecret", Outcome::AlreadyInEffect),
        ("testSecret", Outcome::Verified),
        ("finishSecret", Outcome::AlreadyPromoted(Ok(Retired::Previous))),
    ] {
        bench.step(step).await.unwrap();
        assert_eq!(bench.step(step).await.unwrap(), again);
    }
    assert_eq!(bench.lock.0.lock().unwrap().proposed, 1);
    for step in ["createSecret", "setSecret", "testSecret"] {
        assert_eq!(bench.step(step).await.unwrap(), Outcome::AlreadyCurrent, "{step} after the end does nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn two_create_secrets_at_once_end_with_one_value() {
    let bench = Bench::new().await;
    let (one, two) = tokio::join!(bench.step("createSecret"), bench.step("createSecret"));
    let mut outcomes = [one.unwrap().as_str(), two.unwrap().as_str()];
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["already-proposed", "proposed"]);
    for step in ["setSecret", "testSecret", "finishSecret"] {
        bench.step(step).await.unwrap();
    }
    assert_eq!(bench.current_password().await, bench.lock.0.lock().unwrap().password);
}

/// Whoever makes something outside is told, once the version has its value, whether that is it.
#[tokio::test(start_paused = true)]
async fn each_create_secret_hears_whose_value_was_stored() {
    let bench = Bench::new().await;
    let deadline = || Deadline::after(Duration::from_secs(60));
    let event = bench.event("createSecret");
    let (one, two) = tokio::join!(bench.rotation.run(&event, deadline()), bench.rotation.run(&event, deadline()));
    let pending = bench.store.value("s", VersionSelector::Pending(TOKEN), deadline()).await.unwrap().unwrap();
    let stored = Document::parse(pending.text).unwrap().string("password").unwrap();
    let settled = bench.lock.0.lock().unwrap().settled.clone();
    assert_eq!(settled.len(), 2, "both are told");
    for (made, put) in &settled {
        assert_eq!(&stored == made, *put == PutOutcome::Stored, "{made} was told {put:?} of {stored}");
    }
    // What could not be cleared away is a warning of the one whose it was, and no failure.
    let lost = settled.iter().find(|(_, put)| *put == PutOutcome::OtherValueThere).unwrap();
    assert_eq!((one.outcome.is_ok(), two.outcome.is_ok()), (true, true));
    let warnings: Vec<_> = [one, two].into_iter().flat_map(|ran| ran.notes.warnings).collect();
    let warned: Vec<_> = warnings.iter().map(|warning| (warning.code(), warning.fact(Fact::KeyId))).collect();
    assert_eq!(warned, [(Code::KeyNotRevoked, Some(lost.0.as_str()))]);
}

/// Before a value is stored, nobody can say what is nobody's.
#[tokio::test(start_paused = true)]
async fn nothing_is_settled_before_the_version_has_its_value() {
    let bench = Bench::new().await;
    bench.store.call("CancelRotateSecret", json!({"SecretId": "s"})).await.unwrap();
    bench.step("createSecret").await.unwrap_err();
    assert_eq!(bench.lock.0.lock().unwrap().settled, []);

    let bench = Bench::new().await;
    // Time for the reads, and not for the value to be stored.
    let late = Deadline::after(Duration::from_millis(1_500));
    let error = bench.rotation.run(&bench.event("createSecret"), late).await.outcome.unwrap_err();
    assert_eq!((error.code(), bench.lock.0.lock().unwrap().proposed), (Code::TimeSpent, 1));
    assert_eq!(bench.lock.0.lock().unwrap().settled, []);

    // The value that was sent may have been stored all the same, and whoever comes next has made nothing.
    bench.step("createSecret").await.unwrap();
    let settled = bench.lock.0.lock().unwrap().settled.clone();
    bench.step("createSecret").await.unwrap();
    assert_eq!(bench.lock.0.lock().unwrap().settled, settled, "what was there already was settled before");
}

#[tokio::test(start_paused = true)]
async fn finish_does_not_promote_what_was_never_set() {
    let bench = Bench::new().await;
    bench.step("createSecret").await.unwrap();
    assert_eq!(bench.step("finishSecret").await.unwrap_err().code(), Code::PendingRejected);
    assert_eq!(bench.current_password().await, "old");
}

#[tokio::test(start_paused = true)]
async fn steps_that_need_a_value_miss_it_by_name_and_a_test_alone_checks_the_configuration() {
    let bench = Bench::new().await;
    for step in ["setSecret", "finishSecret"] {
        assert_eq!(bench.step(step).await.unwrap_err().code(), Code::PendingMissing);
    }
    assert_eq!(bench.step("testSecret").await.unwrap(), Outcome::ConfigurationVerified(Retired::Nothing));
    assert_eq!(bench.lock.0.lock().unwrap().checked, 1);
    "other".clone_into(&mut bench.lock.0.lock().unwrap().password);
    assert!(bench.step("testSecret").await.is_err(), "a current credential that does not work fails the test");
}

#[tokio::test(start_paused = true)]
async fn a_late_value_is_waited_for_in_set_test_and_finish_and_not_in_create() {
    for step in ["setSecret", "testSecret", "finishSecret"] {
        let bench = Bench::new().await;
        bench.step("createSecret").await.unwrap();
        if step != "setSecret" {
            bench.step("setSecret").await.unwrap();
        }
        *bench.store.stale_reads.lock().unwrap() = 2;
        let outcome = bench.step(step).await.unwrap();
        assert!(!matches!(outcome, Outcome::ConfigurationVerified(_)), "{step}");
    }
    let bench = Bench::new().await;
    bench.step("createSecret").await.unwrap();
    *bench.store.stale_reads.lock().unwrap() = 1;
    // The value is there, and only the read misses it: the service keeps the first value, and so do we.
    assert_eq!(bench.step("createSecret").await.unwrap(), Outcome::AlreadyProposed);
}

/// A value that is current no more, read by a step, could make it change a user that is in use.
#[tokio::test(start_paused = true)]
async fn a_current_value_that_the_labels_contradict_is_read_again() {
    let bench = Bench::new().await;
    let newer = json!({"password": "newer"}).to_string();
    let put =
        json!({"SecretId": "s", "SecretString": newer, "ClientRequestToken": "aaaaaaaa-0000-4000-8000-000000000007"});
    bench.store.call("PutSecretValue", put).await.unwrap();
    // Putting a value by hand ended the rotation; this is the next one.
    let token = "aaaaaaaa-0000-4000-8000-000000000008";
    let staged =
        bench.store.service.stage_rotation("s", "arn:aws:lambda:us-east-1:000000000000:function:f", token).unwrap();
    for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
        *bench.store.stale_current.lock().unwrap() = true;
        let event =
            json!({"SecretId": "s", "ClientRequestToken": token, "Step": step, "RotationToken": staged.rotation_token});
        let event = Event::parse(&event).unwrap();
        bench.rotation.run(&event, Deadline::after(Duration::from_secs(60))).await.outcome.unwrap();
        let seen = bench.lock.0.lock().unwrap().seen_current.clone();
        assert_eq!(seen.as_deref(), Some("newer"), "{step}");
    }
}

/// An operator and another rotation may overtake a step that waits.
#[tokio::test(start_paused = true)]
async fn a_slow_step_looks_again_before_it_changes_anything() {
    let bench = Bench::new().await;
    bench.step("createSecret").await.unwrap();
    bench.lock.0.lock().unwrap().slow = true;
    let (outcome, ()) = tokio::join!(bench.step("setSecret"), bench.given_up());
    assert_eq!(outcome.unwrap_err().code(), Code::VersionUnknown);
    assert_eq!(bench.lock.0.lock().unwrap().password, "old");
}

#[tokio::test(start_paused = true)]
async fn a_finish_that_was_overtaken_promotes_nothing() {
    let bench = Bench::new().await;
    bench.steps(&["createSecret", "setSecret", "testSecret"]).await;
    bench.lock.0.lock().unwrap().slow = true;
    let (outcome, ()) = tokio::join!(bench.step("finishSecret"), bench.given_up());
    assert_eq!(outcome.unwrap_err().code(), Code::VersionUnknown);
    let labels = bench.store.call("DescribeSecret", json!({"SecretId": "s"})).await.unwrap();
    assert_eq!(labels["VersionIdsToStages"], json!({FIRST: ["AWSCURRENT"]}));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_current_already_is_tried_and_costs_one_call() {
    let bench = Bench::new().await;
    bench.steps(&STEPS).await;
    bench.lock.0.lock().unwrap().tried.clear();
    for step in &STEPS[..3] {
        let (outcome, seconds) = bench.timed(step).await;
        assert_eq!((outcome.unwrap(), seconds), (Outcome::AlreadyCurrent, 1), "{step}");
    }
    assert_eq!(bench.lock.0.lock().unwrap().tried, ["proposal-1", "proposal-1"]);
}

/// Somebody moves AWSCURRENT to the pending version before it was set.
#[tokio::test(start_paused = true)]
async fn a_version_made_current_by_hand_is_put_into_effect() {
    let bench = Bench::new().await;
    bench.steps(&["createSecret"]).await;
    let moved =
        json!({"SecretId": "s", "VersionStage": "AWSCURRENT", "MoveToVersionId": TOKEN, "RemoveFromVersionId": FIRST});
    bench.store.call("UpdateSecretVersionStage", moved).await.unwrap();
    for step in ["testSecret", "finishSecret"] {
        assert_eq!(bench.step(step).await.unwrap_err().code(), Code::CurrentRejected, "{step}");
    }
    let by_previous = Change { by: "previous", previous: PreviousCredential::Refused };
    assert_eq!(bench.step("setSecret").await.unwrap(), Outcome::Changed(by_previous));
    let current = bench.current_password().await;
    assert_eq!(bench.lock.0.lock().unwrap().password, current);
    assert_eq!(bench.step("finishSecret").await.unwrap().as_str(), "already-current");

    // Nobody can tell without an answer.
    bench.lock.0.lock().unwrap().silent = true;
    for step in &STEPS[1..] {
        assert_eq!(bench.step(step).await.unwrap_err().code(), Code::ConnectionLost, "{step}");
    }
}

/// While another rotation is under way, a late step of the one before leaves everything to that.
#[tokio::test(start_paused = true)]
async fn a_late_step_does_not_undo_the_next_rotation() {
    let bench = Bench::new().await;
    bench.steps(&STEPS).await;
    // As the service does after a success.
    let strip = json!({"SecretId": "s", "VersionStage": "AWSPENDING", "RemoveFromVersionId": TOKEN});
    bench.store.call("UpdateSecretVersionStage", strip).await.unwrap();
    let next = "aaaaaaaa-0000-4000-8000-000000000002";
    let pending =
        json!({"SecretId": "s", "ClientRequestToken": next, "SecretString": "{}", "VersionStages": ["AWSPENDING"]});
    bench.store.call("PutSecretValue", pending).await.unwrap();
    "next".clone_into(&mut bench.lock.0.lock().unwrap().password);
    bench.lock.0.lock().unwrap().retired.clear();
    assert_eq!(bench.step("setSecret").await.unwrap_err().code(), Code::CurrentRejected);
    assert_eq!(bench.lock.0.lock().unwrap().password, "next");
    let current = bench.current_password().await;
    bench.lock.0.lock().unwrap().password = current;
    assert_eq!(bench.step("finishSecret").await.unwrap(), Outcome::AlreadyPromoted(Ok(Retired::Nothing)));
    assert!(bench.lock.0.lock().unwrap().retired.is_empty());
}

/// The function may be killed between the promotion and what ends old credentials.
#[tokio::test(start_paused = true)]
async fn finish_again_ends_old_credentials() {
    let bench = Bench::new().await;
    bench.steps(&STEPS).await;
    bench.lock.0.lock().unwrap().retired.clear();
    let again = bench.step("finishSecret").await.unwrap();
    assert_eq!(again, Outcome::AlreadyPromoted(Ok(Retired::Previous)));
    assert_eq!(bench.lock.0.lock().unwrap().retired, ["proposal-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_previous_value_that_the_labels_contradict_is_read_again() {
    let bench = Bench::new().await;
    bench.steps(&STEPS).await;
    *bench.store.stale_previous.lock().unwrap() = 2;
    bench.lock.0.lock().unwrap().retired.clear();
    bench.step("finishSecret").await.unwrap();
    assert_eq!(bench.lock.0.lock().unwrap().superseded, ["old", "old"]);
    *bench.store.stale_previous.lock().unwrap() = 9;
    assert_eq!(bench.step("finishSecret").await.unwrap_err().code(), Code::WriteConflict);
}

#[tokio::test(start_paused = true)]
async fn the_checks_that_come_before_any_step() {
    for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
        let bench = Bench::new().await;
        let event =
            json!({"SecretId": "s", "ClientRequestToken": "bbbbbbbb-0000-4000-8000-000000000002", "Step": step});
        let run = async |event: Value| {
            let event = Event::parse(&event).unwrap();
            bench.rotation.run(&event, Deadline::after(Duration::from_secs(60))).await.outcome.unwrap_err()
        };
        assert_eq!(run(event.clone()).await.code(), Code::VersionUnknown);

        let mut missing = event.clone();
        missing["SecretId"] = json!("no-such-secret");
        assert_eq!(run(missing).await.code(), Code::SecretNotFound);

        bench.step("createSecret").await.unwrap();
        let strip = json!({"SecretId": "s", "VersionStage": "AWSPENDING", "RemoveFromVersionId": TOKEN});
        bench.store.call("UpdateSecretVersionStage", strip).await.unwrap();
        let label = json!({"SecretId": "s", "VersionStage": "MINE", "MoveToVersionId": TOKEN});
        bench.store.call("UpdateSecretVersionStage", label).await.unwrap();
        let error = bench.step(step).await.unwrap_err();
        assert_eq!((error.code(), error.fact(Fact::Labels)), (Code::VersionNotPending, Some("MINE")));

        bench.store.call("CancelRotateSecret", json!({"SecretId": "s"})).await.unwrap();
        assert_eq!(bench.step(step).await.unwrap_err().code(), Code::RotationDisabled);
    }
}

#[tokio::test(start_paused = true)]
async fn a_companion_is_read_together_with_the_rest_once_it_is_known() {
    let bench = Bench::new().await;
    let other = json!({"Name": "superuser", "SecretString": json!({"password": "root"}).to_string(), "ClientRequestToken": FIRST});
    bench.store.call("CreateSecret", other).await.unwrap();
    bench.lock.0.lock().unwrap().helper = Some("superuser".to_owned());
    bench.step("createSecret").await.unwrap();
    let (outcome, seconds) = bench.timed("setSecret").await;
    assert_eq!((outcome.unwrap(), seconds), (CHANGED, 2));
    assert_eq!(bench.lock.0.lock().unwrap().companion_read.as_deref(), Some("root"));

    // In a new process there is no hint, and the helper is read when the current value has named it.
    let cold = Rotation::new(bench.store.clone(), bench.lock.clone());
    let start = Instant::now();
    cold.run(&bench.event("setSecret"), Deadline::after(Duration::from_secs(60))).await.outcome.unwrap();
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_step_ends_by_its_deadline() {
    let bench = Bench::new().await;
    let error =
        bench.rotation.run(&bench.event("createSecret"), Deadline::after(Duration::from_millis(500))).await.outcome;
    let error = error.unwrap_err();
    assert_eq!((error.code(), error.fact(Fact::Secret)), (Code::TimeSpent, Some("s")));
}

#[tokio::test(start_paused = true)]
async fn what_is_promoted_is_proven_and_then_retires_what_was_before() {
    let bench = Bench::new().await;
    bench.lock.0.lock().unwrap().retirement_fails = true;
    for step in ["createSecret", "setSecret", "testSecret"] {
        bench.step(step).await.unwrap();
    }
    assert!(bench.lock.0.lock().unwrap().retired.is_empty(), "nothing is retired before AWSCURRENT has moved");
    let outcome = bench.step("finishSecret").await.unwrap();
    assert_eq!(outcome.retired().unwrap_err().code(), Code::ConnectionLost);
    assert_eq!(bench.current_password().await, "proposal-1", "the rotation has succeeded even so");
    let state = bench.lock.0.lock().unwrap();
    assert_eq!(state.proofs, [Proof::Full, Proof::Works]);
    assert_eq!(state.retired, ["proposal-1"]);
}

// ---- diagnose

impl Bench {
    async fn diagnosis(&self) -> Diagnosis {
        self.rotation.diagnose("s", Deadline::after(Duration::from_secs(60))).await.unwrap()
    }

    /// What was found, and which passwords were tried for it.
    async fn found(&self) -> (Finding, Vec<String>) {
        let finding = self.diagnosis().await.finding();
        (finding, std::mem::take(&mut self.lock.0.lock().unwrap().tried))
    }

    fn password_is(&self, password: &str) {
        password.clone_into(&mut self.lock.0.lock().unwrap().password);
    }
}

#[tokio::test(start_paused = true)]
async fn a_diagnosis_after_each_step() {
    let bench = Bench::new().await;
    assert_eq!(bench.found().await, (Finding::Unfinished, vec!["old".to_owned()]), "registered");
    bench.step("createSecret").await.unwrap();
    assert_eq!(bench.found().await, (Finding::Unfinished, vec!["old".to_owned()]), "created");
    bench.step("setSecret").await.unwrap();
    let tried = vec!["old".to_owned(), "proposal-1".to_owned()];
    assert_eq!(bench.found().await, (Finding::PendingInEffect, tried), "set");
    bench.step("finishSecret").await.unwrap();
    assert_eq!(bench.found().await, (Finding::Healthy, vec!["proposal-1".to_owned()]), "finished");
    bench.store.call("CancelRotateSecret", json!({"SecretId": "s"})).await.unwrap();
    assert_eq!(bench.found().await.0, Finding::RotationOff);
}

/// The wrong order of checks would try more than it has to, and a server counts refused logins.
#[tokio::test(start_paused = true)]
async fn a_diagnosis_tries_the_previous_credential_last() {
    let bench = Bench::new().await;
    for step in ["createSecret", "setSecret", "finishSecret"] {
        bench.step(step).await.unwrap();
    }
    let tried = vec!["proposal-1".to_owned(), "old".to_owned()];
    bench.password_is("old");
    assert_eq!(bench.found().await, (Finding::PreviousInEffect, tried.clone()));
    bench.password_is("somebody's");
    assert_eq!(bench.found().await, (Finding::LockedOut, tried.clone()));
    bench.lock.0.lock().unwrap().helper = Some("superuser".to_owned());
    assert_eq!(bench.found().await, (Finding::RescuePossible, tried.clone()));
    bench.lock.0.lock().unwrap().companion_fails = true;
    let diagnosis = bench.diagnosis().await;
    assert_eq!((diagnosis.finding(), diagnosis.code()), (Finding::CurrentRefused, "superuser-rejected"));
    bench.password_is("proposal-1");
    let diagnosis = bench.diagnosis().await;
    assert_eq!((diagnosis.finding(), diagnosis.code()), (Finding::CompanionFails, "superuser-rejected"));
}

/// Only a refusal says that a credential does not work.
#[tokio::test(start_paused = true)]
async fn a_diagnosis_concludes_nothing_from_silence() {
    let bench = Bench::new().await;
    bench.step("createSecret").await.unwrap();
    bench.lock.0.lock().unwrap().silent = true;
    let diagnosis = bench.diagnosis().await;
    assert_eq!((diagnosis.finding(), diagnosis.code()), (Finding::Unclear, "connection-lost"));
    assert_eq!(bench.lock.0.lock().unwrap().tried, ["old"]);
    assert_eq!(diagnosis.to_json()["nextAction"], Code::ConnectionLost.next_action());
}

/// The new password may be in effect: nothing else is tried, and nobody is told that nothing helps.
#[tokio::test(start_paused = true)]
async fn a_pending_credential_that_could_not_be_tried_locks_nobody_out() {
    for helper in [None, Some("superuser".to_owned())] {
        let bench = Bench::new().await;
        bench.step("createSecret").await.unwrap();
        bench.step("setSecret").await.unwrap();
        bench.lock.0.lock().unwrap().helper = helper;
        bench.lock.0.lock().unwrap().silent_for = Some("proposal-1".to_owned());
        let diagnosis = bench.diagnosis().await;
        assert_eq!((diagnosis.finding(), diagnosis.code()), (Finding::CurrentRefused, "connection-lost"));
        assert_eq!(diagnosis.to_json()["nextAction"], Code::ConnectionLost.next_action());
        let state = bench.lock.0.lock().unwrap();
        assert_eq!((state.tried.clone(), state.companion_tried), (vec!["old".to_owned(), "proposal-1".to_owned()], 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_previous_credential_is_tried_only_if_it_is_for_the_same() {
    let bench = Bench::new().await;
    for step in ["createSecret", "setSecret", "finishSecret"] {
        bench.step(step).await.unwrap();
    }
    bench.password_is("somebody's");
    bench.lock.0.lock().unwrap().silent_for = Some("old".to_owned());
    let diagnosis = bench.diagnosis().await;
    assert_eq!((diagnosis.finding(), diagnosis.code()), (Finding::CurrentRefused, "connection-lost"));
    bench.lock.0.lock().unwrap().previous_is_anothers = true;
    let diagnosis = bench.diagnosis().await;
    assert_eq!((diagnosis.finding(), diagnosis.code()), (Finding::LockedOut, "locked-out"));
    assert_eq!(diagnosis.to_json()["versions"][1]["credential"], "not-tried");
}

/// The next rotation may need it, or nothing else is left. Otherwise it could use up the time of what decides.
#[tokio::test(start_paused = true)]
async fn a_companion_is_tried_where_it_matters() {
    let bench = Bench::new().await;
    bench.lock.0.lock().unwrap().helper = Some("superuser".to_owned());
    bench.step("createSecret").await.unwrap();
    let times = || std::mem::take(&mut bench.lock.0.lock().unwrap().companion_tried);
    for (password, finding, expected) in [
        ("old", Finding::Unfinished, 1),
        ("proposal-1", Finding::PendingInEffect, 0),
        ("somebody's", Finding::RescuePossible, 1),
    ] {
        bench.password_is(password);
        assert_eq!((bench.found().await.0, times()), (finding, expected), "{password}");
    }
    // Nothing was shown by it, neither that it works nor that it does not.
    bench.lock.0.lock().unwrap().companion_cannot_be_tried = true;
    let diagnosis = bench.diagnosis().await;
    assert_eq!((diagnosis.finding(), diagnosis.code()), (Finding::CurrentRefused, "current-refused"));
    assert_eq!(diagnosis.to_json()["companion"]["credential"], "not-tried");
}

#[tokio::test(start_paused = true)]
async fn a_diagnosis_ends_by_its_deadline() {
    let bench = Bench::new().await;
    bench.lock.0.lock().unwrap().endless_for = Some("old".to_owned());
    let start = Instant::now();
    let error = bench.rotation.diagnose("s", Deadline::after(Duration::from_secs(60))).await.unwrap_err();
    assert_eq!((error.code(), error.fact(Fact::Secret)), (Code::TimeSpent, Some("s")));
    assert_eq!(start.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_diagnosis_names_versions_and_no_values() {
    let bench = Bench::new().await;
    for step in ["createSecret", "setSecret", "finishSecret"] {
        bench.step(step).await.unwrap();
    }
    let other = "aaaaaaaa-0000-4000-8000-000000000002";
    let value = json!({"password": "other"}).to_string();
    let put =
        json!({"SecretId": "s", "ClientRequestToken": other, "SecretString": value, "VersionStages": ["AWSPENDING"]});
    bench.store.call("PutSecretValue", put).await.unwrap();
    let answer = bench.diagnosis().await.to_json();
    let versions = json!([
        {"version": TOKEN, "labels": ["AWSCURRENT"], "credential": "works"},
        {"version": other, "labels": ["AWSPENDING"], "credential": "not-tried"},
        {"version": FIRST, "labels": ["AWSPREVIOUS"], "credential": "not-tried"},
    ]);
    assert_eq!(answer["versions"], versions);
    assert_eq!((&answer["healthy"], &answer["finding"]), (&json!(false), &json!("rotation-unfinished")));
    for password in ["old", "proposal-1", "other"] {
        assert!(!answer.to_string().contains(password), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_diagnosis_changes_nothing() {
    let bench = Bench::new().await;
    bench.step("createSecret").await.unwrap();
    bench.store.calls.lock().unwrap().clear();
    bench.diagnosis().await;
    let mut calls = bench.store.calls.lock().unwrap().clone();
    calls.dedup();
    assert_eq!(calls, ["DescribeSecret", "GetSecretValue"]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_without_a_current_version_is_diagnosed() {
    let bench = Bench::new().await;
    bench.store.call("CreateSecret", json!({"Name": "empty", "ClientRequestToken": FIRST})).await.unwrap();
    let diagnosis = bench.rotation.diagnose("empty", Deadline::after(Duration::from_secs(60))).await.unwrap();
    assert_eq!(diagnosis.finding(), Finding::CurrentMissing);
}

// ---- older versions

impl Bench {
    /// A version without AWSCURRENT.
    async fn stored(&self, number: u32, password: &str, label: &str) -> String {
        let id = format!("aaaaaaaa-0000-4000-8000-0000000001{number:02}");
        let value = json!({"password": password}).to_string();
        let put = json!({"SecretId": "s", "ClientRequestToken": id, "SecretString": value, "VersionStages": [label]});
        self.store.call("PutSecretValue", put).await.unwrap();
        id
    }

    /// A version that has lost its label.
    async fn unlabelled(&self, number: u32, password: &str) -> String {
        let id = self.stored(number, password, "MINE").await;
        let strip = json!({"SecretId": "s", "VersionStage": "MINE", "RemoveFromVersionId": id});
        self.store.call("UpdateSecretVersionStage", strip).await.unwrap();
        id
    }

    async fn labelled(&self, label: &str) -> Option<String> {
        let answer = self.store.call("DescribeSecret", json!({"SecretId": "s"})).await.unwrap();
        let labels = answer["VersionIdsToStages"].as_object().unwrap();
        let has = |labels: &Value| labels.as_array().unwrap().iter().any(|one| one == label);
        labels.iter().find(|(_, labels)| has(labels)).map(|(id, _)| id.clone())
    }

    async fn move_current(&self, to: &str) {
        let from = self.labelled("AWSCURRENT").await;
        let moved =
            json!({"SecretId": "s", "VersionStage": "AWSCURRENT", "MoveToVersionId": to, "RemoveFromVersionId": from});
        self.store.call("UpdateSecretVersionStage", moved).await.unwrap();
    }

    async fn cancelled(&self) {
        self.store.call("CancelRotateSecret", json!({"SecretId": "s"})).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_diagnosis_names_the_older_version_that_works() {
    let bench = Bench::new().await;
    bench.steps(&STEPS).await;
    let lost = bench.unlabelled(1, "lost").await;
    bench.unlabelled(2, "wrong").await;
    bench.unlabelled(3, "wrong").await;
    bench.password_is("lost");
    let diagnosis = bench.diagnosis().await;
    assert_eq!(diagnosis.finding(), Finding::OlderInEffect);
    let tried = ["proposal-1", "old", "wrong", "lost"];
    assert_eq!(bench.lock.0.lock().unwrap().tried, tried, "newest first, and no password twice");
    let answer = diagnosis.to_json();
    let last = answer["versions"].as_array().unwrap().last().unwrap();
    assert_eq!(*last, json!({"version": lost, "labels": [], "credential": "works"}));
    assert!(!answer.to_string().contains("\"lost\""), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn locked_out_is_said_only_if_no_version_is_left_to_try() {
    let bench = Bench::new().await;
    bench.steps(&STEPS).await;
    bench.password_is("somebody's");
    let nothing = || vec!["proposal-1".to_owned(), "old".to_owned()];
    assert_eq!(bench.found().await, (Finding::LockedOut, nothing()));
    for (number, password) in ["one", "two"].into_iter().enumerate() {
        bench.unlabelled(number as u32, password).await;
    }
    let two = [nothing(), vec!["two".to_owned(), "one".to_owned()]].concat();
    assert_eq!(bench.found().await, (Finding::LockedOut, two));
    bench.unlabelled(3, "three").await;
    let three = [nothing(), vec!["three".to_owned(), "two".to_owned()]].concat();
    assert_eq!(bench.found().await, (Finding::NotAllTried, three), "the target might block the user");
    // The server says nothing about this one, so the search ends.
    bench.lock.0.lock().unwrap().silent_for = Some("three".to_owned());
    let diagnosis = bench.diagnosis().await;
    assert_eq!((diagnosis.finding(), diagnosis.code()), (Finding::CurrentRefused, "connection-lost"));
    // A superuser who may help makes the search needless.
    bench.lock.0.lock().unwrap().tried.clear();
    bench.lock.0.lock().unwrap().helper = Some("superuser".to_owned());
    assert_eq!(bench.found().await, (Finding::RescuePossible, nothing()));
}

// ---- recover

impl Bench {
    async fn recover(&self) -> Result<Recovery> {
        let RecoverReport { outcome, .. } = self.rotation.recover("s", Deadline::after(Duration::from_secs(60))).await;
        outcome
    }

    /// What was found, what was done, and which version is AWSCURRENT then.
    async fn recovered(&self) -> (Finding, &'static str, String) {
        let recovery = self.recover().await.unwrap();
        let answer = recovery.to_json(&[]).to_string();
        for password in ["old", "proposal-1", "lost"] {
            assert!(!answer.contains(&format!("\"{password}\"")), "{answer}");
        }
        let current = self.labelled("AWSCURRENT").await.unwrap();
        assert!(recovery.action().version().is_none_or(|version| version == current), "{answer}");
        self.lock.0.lock().unwrap().tried.clear();
        (recovery.finding(), recovery.action().as_str(), current)
    }

    /// The secret's labels and the target's password.
    async fn state(&self) -> (Value, String) {
        let answer = self.store.call("DescribeSecret", json!({"SecretId": "s"})).await.unwrap();
        (answer["VersionIdsToStages"].clone(), self.lock.0.lock().unwrap().password.clone())
    }

    /// The finding and the next action of a recovery that refuses, which changes nothing.
    async fn refused_to_recover(&self) -> (String, String) {
        let before = self.state().await;
        let error = self.recover().await.unwrap_err();
        assert_eq!(error.code(), Code::RecoverRefused, "{error}");
        assert_eq!(self.state().await, before, "{error}");
        self.lock.0.lock().unwrap().tried.clear();
        let fact = |fact| error.fact(fact).unwrap().to_owned();
        (fact(Fact::Found), fact(Fact::NextAction))
    }
}

#[tokio::test(start_paused = true)]
async fn a_recovery_needs_consent() {
    let bench = Bench::new().await;
    bench.steps(&["createSecret", "setSecret"]).await;
    let before = bench.state().await;
    bench.lock.0.lock().unwrap().tried.clear();
    let off = Rotation::new(bench.store.clone(), bench.lock.clone());
    let error = off.recover("s", Deadline::after(Duration::from_secs(60))).await.outcome.unwrap_err();
    assert_eq!((error.code(), error.fact(Fact::Secret)), (Code::RecoverOff, Some("s")));
    assert!(error.to_string().contains("AllowRecover"), "{error}");
    assert_eq!(bench.state().await, before);
    assert!(bench.lock.0.lock().unwrap().tried.is_empty(), "nothing is tried either");
}

#[tokio::test(start_paused = true)]
async fn a_recovery_carries_out_the_rest_of_a_rotation() {
    for (steps, finding) in [
        (&["createSecret"][..], Finding::Unfinished),
        (&["createSecret", "setSecret"], Finding::PendingInEffect),
        (&["createSecret", "setSecret", "testSecret"], Finding::PendingInEffect),
    ] {
        let bench = Bench::new().await;
        bench.steps(steps).await;
        assert_eq!(bench.recovered().await, (finding, "rotation-finished", TOKEN.to_owned()));
        assert_eq!(bench.lock.0.lock().unwrap().password, "proposal-1");
        let state = bench.lock.0.lock().unwrap().proofs.clone();
        assert_eq!(&state[state.len() - 2..], [Proof::Full, Proof::Works], "as the steps do");
        assert_eq!(bench.recovered().await, (Finding::Healthy, "nothing-to-do", TOKEN.to_owned()), "again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_recovery_makes_no_credential() {
    let bench = Bench::new().await;
    let (finding, next) = bench.refused_to_recover().await;
    assert_eq!(finding, "rotation-unfinished");
    assert!(next.contains("rotate-secret"), "{next}");
    assert_eq!(bench.lock.0.lock().unwrap().proposed, 0);
}

/// The service goes on with no rotation then.
#[tokio::test(start_paused = true)]
async fn a_recovery_while_rotation_is_off_moves_the_label_to_what_works_alone() {
    let bench = Bench::new().await;
    bench.steps(&["createSecret"]).await;
    bench.cancelled().await;
    let (finding, next) = bench.refused_to_recover().await;
    assert_eq!(finding, "rotation-unfinished");
    assert!(next.contains("AWSPENDING --remove-from-version-id"), "{next}");
    bench.password_is("proposal-1");
    assert_eq!(bench.recovered().await, (Finding::PendingInEffect, "current-moved", TOKEN.to_owned()));
    assert_eq!(bench.recovered().await, (Finding::RotationOff, "nothing-to-do", TOKEN.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_recovery_moves_the_label_back_to_the_version_that_works() {
    for off in [false, true] {
        let bench = Bench::new().await;
        bench.steps(&STEPS).await;
        let lost = bench.unlabelled(1, "lost").await;
        if off {
            bench.cancelled().await;
        }
        bench.password_is("old");
        assert_eq!(bench.recovered().await, (Finding::PreviousInEffect, "current-moved", FIRST.to_owned()));
        bench.password_is("lost");
        assert_eq!(bench.recovered().await, (Finding::OlderInEffect, "current-moved", lost));
    }
}

#[tokio::test(start_paused = true)]
async fn a_recovery_lets_the_superuser_set_the_current_credential() {
    let bench = Bench::new().await;
    bench.steps(&STEPS).await;
    let other = json!({"Name": "superuser", "SecretString": json!({"password": "root"}).to_string(), "ClientRequestToken": FIRST});
    bench.store.call("CreateSecret", other).await.unwrap();
    bench.lock.0.lock().unwrap().helper = Some("superuser".to_owned());
    for off in [false, true] {
        if off {
            bench.cancelled().await;
        }
        bench.password_is("somebody's");
        assert_eq!(bench.recovered().await, (Finding::RescuePossible, "credential-set", TOKEN.to_owned()));
        assert_eq!(bench.lock.0.lock().unwrap().password, "proposal-1");
    }
}

/// Each finding that a person has to act on.
#[tokio::test(start_paused = true)]
async fn a_recovery_refuses_with_the_next_action_of_the_finding() {
    let bench = Bench::new().await;
    bench.steps(&STEPS).await;
    bench.password_is("somebody's");
    assert_eq!(bench.refused_to_recover().await, ("locked-out".into(), Finding::LockedOut.next_action().into()));
    for (number, password) in ["one", "two", "three"].into_iter().enumerate() {
        bench.unlabelled(number as u32, password).await;
    }
    assert_eq!(bench.refused_to_recover().await, ("not-all-tried".into(), Finding::NotAllTried.next_action().into()));
    bench.lock.0.lock().unwrap().silent_for = Some("old".to_owned());
    let next = Code::ConnectionLost.next_action().to_owned();
    assert_eq!(bench.refused_to_recover().await, ("current-refused".into(), next.clone()));
    bench.lock.0.lock().unwrap().silent = true;
    assert_eq!(bench.refused_to_recover().await, ("unclear".into(), next));
    let state = || bench.lock.0.lock().unwrap();
    state().silent = false;
    (state().helper, state().companion_fails) = (Some("superuser".to_owned()), true);
    bench.password_is("proposal-1");
    let next = Code::SuperuserRejected.next_action().to_owned();
    assert_eq!(bench.refused_to_recover().await, ("companion-fails".into(), next));
    bench.store.call("CreateSecret", json!({"Name": "empty", "ClientRequestToken": FIRST})).await.unwrap();
    let error = bench.rotation.recover("empty", Deadline::after(Duration::from_secs(60))).await.outcome.unwrap_err();
    assert_eq!((error.code(), error.fact(Fact::Found)), (Code::RecoverRefused, Some("current-missing")));
}

/// A recovery waits for the lock while a rotation succeeds, or begins.
#[tokio::test(start_paused = true)]
async fn a_recovery_that_was_overtaken_moves_nothing() {
    for begins in [false, true] {
        let bench = Bench::new().await;
        bench.steps(&STEPS).await;
        let newer = bench.unlabelled(1, "newer").await;
        bench.password_is("old");
        bench.lock.0.lock().unwrap().slow = true;
        let overtakes = async {
            tokio::time::sleep(Duration::from_secs(6)).await;
            if begins {
                bench.stored(2, "next", "AWSPENDING").await;
            } else {
                bench.move_current(&newer).await;
            }
        };
        let (outcome, ()) = tokio::join!(bench.recover(), overtakes);
        assert_eq!(outcome.unwrap_err().code(), Code::WriteConflict);
        let current = if begins { TOKEN } else { &newer };
        assert_eq!(bench.labelled("AWSCURRENT").await.as_deref(), Some(current));
    }
}

/// The credential that worked a moment ago is proven again.
#[tokio::test(start_paused = true)]
async fn a_recovery_moves_nothing_to_a_credential_that_was_replaced_meanwhile() {
    let bench = Bench::new().await;
    bench.steps(&STEPS).await;
    bench.password_is("old");
    bench.lock.0.lock().unwrap().slow = true;
    let replaces = async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        bench.password_is("proposal-1");
    };
    let (outcome, ()) = tokio::join!(bench.recover(), replaces);
    assert_eq!(outcome.unwrap_err().code(), Code::WriteConflict);
    assert_eq!(bench.labelled("AWSCURRENT").await.as_deref(), Some(TOKEN));
}

#[tokio::test(start_paused = true)]
async fn a_rescue_that_was_overtaken_sets_nothing() {
    let bench = Bench::new().await;
    bench.steps(&STEPS).await;
    let newer = bench.unlabelled(1, "newer").await;
    bench.lock.0.lock().unwrap().helper = Some("superuser".to_owned());
    bench.lock.0.lock().unwrap().slow = true;
    bench.password_is("somebody's");
    let overtakes = async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        bench.move_current(&newer).await;
    };
    let (outcome, ()) = tokio::join!(bench.recover(), overtakes);
    assert_eq!(outcome.unwrap_err().code(), Code::VersionNotPending);
    assert_eq!(bench.lock.0.lock().unwrap().password, "somebody's");
}

/// In the middle of finishSecret.
#[tokio::test(start_paused = true)]
async fn a_recovery_that_is_given_up_finishes_nothing() {
    let bench = Bench::new().await;
    bench.steps(&["createSecret", "setSecret"]).await;
    bench.lock.0.lock().unwrap().slow = true;
    let given_up = async {
        tokio::time::sleep(Duration::from_secs(15)).await;
        bench.given_up().await;
    };
    let (outcome, ()) = tokio::join!(bench.recover(), given_up);
    assert_eq!(outcome.unwrap_err().code(), Code::VersionUnknown);
    assert_eq!(bench.labelled("AWSCURRENT").await.as_deref(), Some(FIRST));
}

#[tokio::test(start_paused = true)]
async fn two_recoveries_at_once_do_it_once() {
    let bench = Bench::new().await;
    bench.steps(&["createSecret", "setSecret"]).await;
    let (one, two) = tokio::join!(bench.recover(), bench.recover());
    for recovery in [one.unwrap(), two.unwrap()] {
        assert!(matches!(recovery.action(), Action::Finished { .. }), "{recovery:?}");
    }
    assert_eq!(bench.labelled("AWSCURRENT").await.as_deref(), Some(TOKEN));
}
