//! What people see of rotations: metrics, the audit record and the log of the real functions, for rotations that go well and
//! rotations that fail. `docs/observability.md` says what has to be there.

use integration_tests::issuer;
use integration_tests::{STEPS, World, uuid};
use lab::Lab;
use lab::disturb::Fault;
use lab::issuer::Options as IssuerOptions;
use lab::servers::Password;
use lab::servers::postgres::Options;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

/// All lines of the function that are JSON: Lambda's own are not.
fn lines(output: &str) -> Vec<Value> {
    let json = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    output.lines().filter(|line| line.starts_with('{')).map(json).collect()
}

/// What the function printed from here on.
struct Since<'a> {
    lab: &'a Lab,
    from: usize,
}

impl<'a> Since<'a> {
    fn now(lab: &'a Lab) -> Self {
        Self { lab, from: lab.function_output().len() }
    }

    fn lines(&self) -> Vec<Value> {
        lines(&self.lab.function_output()[self.from..])
    }

    fn records(&self) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["audit"] == "rotation").collect()
    }

    /// The only record.
    fn record(&self) -> Value {
        let mut records = self.records();
        assert_eq!(records.len(), 1, "{records:#?}");
        records.remove(0)
    }

    fn metrics(&self) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line.get("_aws").is_some()).collect()
    }

    /// The only line of metrics of a step.
    fn measured(&self, step: &str) -> Value {
        let mut lines: Vec<_> = self.metrics().into_iter().filter(|line| line["step"] == step).collect();
        assert_eq!(lines.len(), 1, "{step}: {lines:#?}");
        lines.remove(0)
    }

    /// Each metric as CloudWatch would know it: its name and its dimensions beside the function, with its values in order.
    fn known_to_cloudwatch(&self) -> BTreeMap<String, Vec<f64>> {
        let mut known: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for line in self.metrics() {
            for directive in line["_aws"]["CloudWatchMetrics"].as_array().expect("directives") {
                assert_eq!(directive["Namespace"], "Lockstep");
                for set in directive["Dimensions"].as_array().expect("sets") {
                    let text = |name: &Value| line[name.as_str().expect("a name")].as_str().expect("text");
                    let (function, others) = set.as_array().expect("a set").split_first().expect("a dimension");
                    assert!(self.lab.function_arn().ends_with(&format!(":{}", text(function))), "{line}");
                    let place: Vec<_> = others.iter().map(text).collect();
                    for metric in directive["Metrics"].as_array().expect("metrics") {
                        let name = metric["Name"].as_str().expect("a name");
                        let measured = line[name].as_f64().expect("a number");
                        known.entry([&[name][..], &place].concat().join(" ")).or_default().push(measured);
                    }
                }
            }
        }
        known
    }
}

/// The metrics that a line defines.
fn names(line: &Value) -> BTreeSet<&str> {
    let directives = line["_aws"]["CloudWatchMetrics"].as_array().expect("directives");
    let metrics = directives.iter().flat_map(|directive| directive["Metrics"].as_array().expect("metrics"));
    metrics.map(|metric| metric["Name"].as_str().expect("a name")).collect()
}

const EVERY_STEP: [&str; 3] = ["StepDuration", "StepTimeUsed", "StepsSucceeded"];

fn with<'a>(more: &[&'a str]) -> BTreeSet<&'a str> {
    EVERY_STEP.iter().chain(more).copied().collect()
}

/// That the times of a step are of this order.
fn is_plausible(line: &Value, limit: Duration) {
    let (milliseconds, percent) = (line["StepDuration"].as_f64().unwrap(), line["StepTimeUsed"].as_f64().unwrap());
    assert!(milliseconds < limit.as_secs_f64() * 1000.0, "{line}");
    // Of the 30 s that the lab gives a step, less what it took to get there. Each is rounded by itself.
    assert!((percent - milliseconds / 300.0).abs() < 0.2 + 0.05 * percent, "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_rotation() {
    let world = World::with(Options::default(), |function| function.clock_behind(2 * HOUR)).await;
    let secret = world.user("app").await;
    let first = secret.holders("AWSCURRENT").await.remove(0);
    let since = Since::now(&world.lab);
    let start = Instant::now();
    let report = secret.rotated().await;
    let took = start.elapsed();
    for (step, more) in STEPS.into_iter().zip([
        &["RotationsStarted"][..],
        &[],
        &[],
        &["RotationsSucceeded", "CredentialAge", "DowntimeWindow"],
    ]) {
        let line = since.measured(step);
        assert_eq!(names(&line), with(more), "{step}");
        assert_eq!((&line["StepsSucceeded"], &line["FunctionName"]), (&json!(1), &json!("lockstep-postgres")));
        for (property, value) in [("Step", step), ("secret", &secret.arn), ("version", &report.token)] {
            assert_eq!(line[property], value, "{line}");
        }
        is_plausible(&line, took);
    }
    let last = since.measured("finishSecret");
    let age = last["CredentialAge"].as_f64().unwrap();
    assert!((7200.0..7320.0).contains(&age), "{age} s: made two hours ago by the service's clock");
    let window = last["DowntimeWindow"].as_f64().unwrap();
    assert!(window > 0.0 && window < took.as_secs_f64() * 1000.0, "{window} ms in a rotation of {took:?}");

    let record = since.record();
    for (field, value) in [
        ("message", "rotation audit"),
        ("secret", &secret.arn),
        ("version", &report.token),
        ("replaced", &first),
        ("outcome", "promoted"),
        // A secret without a schedule is rotated when somebody asks for it.
        ("trigger", "request"),
        ("invoked_by", "token-present"),
        ("level", "INFO"),
    ] {
        assert_eq!(record[field], value, "{record}");
    }
    for field in ["code", "current", "next_rotation"] {
        assert_eq!(record.get(field), None, "{record}");
    }
    assert_nothing_secret(&world, &[secret.credential("AWSCURRENT").await.1, secret.credential("AWSPREVIOUS").await.1]);
}

fn assert_nothing_secret(world: &World, passwords: &[String]) {
    let output = world.lab.function_output();
    for password in passwords {
        assert!(!output.contains(password), "a password was printed");
    }
}

/// What a person sees who knows nothing but the version.
#[tokio::test(flavor = "multi_thread")]
async fn every_line_can_be_found_by_its_rotation() {
    let world = World::start().await;
    let secret = world.user("app").await;
    secret.rotated().await;
    world.sql("ALTER ROLE app PASSWORD 'changed by hand'").await;
    let since = Since::now(&world.lab);
    let token = uuid();
    world.lab.rotate_to(&secret.arn, &token).await.expect("the rotation begins");
    let lines = since.lines();
    assert!(lines.len() >= 6, "{lines:#?}");
    for line in lines {
        assert_eq!((&line["version"], &line["secret"]), (&json!(token), &json!(secret.arn)), "{line}");
        assert!(line["request"].as_str().is_some_and(|id| id.len() == 36), "{line}");
        assert!(line["step"].as_str().is_some_and(|step| STEPS.contains(&step)), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_on_a_schedule_is_not_said_to_have_been_asked_for() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let since = Since::now(&world.lab);
    let token = uuid();
    let end = world.lab.rotation_end(&token);
    let rules = json!({"AutomaticallyAfterDays": 30});
    let function = world.lab.function_arn();
    let request = json!({"SecretId": secret.arn, "ClientRequestToken": token, "RotationLambdaARN": function, "RotationRules": rules});
    world.lab.call("RotateSecret", request).await.expect("the rotation begins");
    end.await;
    let record = since.record();
    assert_eq!((&record["outcome"], &record["trigger"]), (&json!("promoted"), &json!("unknown")));
    let next = record["next_rotation"].as_str().expect("a date");
    assert!(next.len() == 20 && next.starts_with("20") && next.ends_with('Z'), "{next}");
}

/// An attempt may be killed between the promotion and its record. What is found is no promotion, though: anybody who may invoke
/// the function can send this.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_found_current_is_recorded_as_that() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let report = secret.rotated().await;
    let since = Since::now(&world.lab);
    secret.step("finishSecret", &report.token).await.expect("it is current already");
    let record = since.record();
    assert_eq!((&record["outcome"], &record["version"]), (&json!("found-current"), &json!(report.token)));
    assert_eq!((record.get("replaced"), &record["invoked_by"]), (None, &json!("no-token")));
    assert_eq!(names(&since.measured("finishSecret")), with(&[]), "nothing is counted twice");
    secret.step("createSecret", &report.token).await.expect("it is current already");
    assert_eq!(since.records().len(), 1);

    let since = Since::now(&world.lab);
    let forged = json!({"Step": "finishSecret", "SecretId": secret.arn, "ClientRequestToken": report.token, "RotationToken": "x"});
    world.lab.invoke(&forged).await.result().expect("it is current already");
    let record = since.record();
    assert_eq!((&record["outcome"], &record["invoked_by"]), (&json!("found-current"), &json!("token-present")));
}

/// The log, the metric, the audit record and the next action.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_refuses_connections() {
    let world = World::start().await;
    let (closed, password) = (1, Password::random());
    let mut document = world.document("app", password.expose());
    document["port"] = json!(closed);
    let secret = world.secret(document).await;
    let current = secret.holders("AWSCURRENT").await.remove(0);
    let since = Since::now(&world.lab);
    let error = secret.refused().await;
    let next_action = "Check that the server runs and the secret's `port` is right.";
    assert_eq!(error.error_type, "connection-refused");
    assert!(error.error_message.ends_with(next_action), "{}", error.error_message);

    assert_eq!(since.measured("createSecret")["RotationsStarted"], 1);
    let line = since.measured("setSecret");
    assert_eq!(names(&line), ["StepDuration", "StepTimeUsed", "StepsFailed"].into());
    assert_eq!(
        (&line["StepsFailed"], &line["Class"], &line["code"]),
        (&json!(1), &json!("retryable"), &json!("connection-refused"))
    );
    let known = since.known_to_cloudwatch();
    assert_eq!(known["StepsFailed setSecret retryable"], [1.0]);
    assert_eq!(known["StepsFailed"], [1.0]);
    assert!(!known.contains_key("RotationsSucceeded"));

    let errors: Vec<_> = since.lines().into_iter().filter(|line| line["level"] == "ERROR").collect();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!((&errors[0]["code"], &errors[0]["class"]), (&json!("connection-refused"), &json!("retryable")));
    assert_eq!(errors[0]["message"], error.error_message);

    let record = since.record();
    for (field, value) in [
        ("outcome", "failed"),
        ("step", "setSecret"),
        ("code", "connection-refused"),
        ("class", "retryable"),
        ("current", &current),
    ] {
        assert_eq!(record[field], value, "{record}");
    }
    assert_eq!(record.get("replaced"), None, "nothing was replaced");
    assert_nothing_secret(&world, &[password.expose().to_owned(), secret.credential("AWSPENDING").await.1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_is_locked_out() {
    let world = World::start().await;
    let secret = world.user("app").await;
    world.sql("ALTER ROLE app PASSWORD 'changed by hand'").await;
    let since = Since::now(&world.lab);
    let error = secret.refused().await;
    assert_eq!(error.error_type, "locked-out");
    assert!(error.error_message.contains("Set the current password at the server by hand"), "{}", error.error_message);
    let line = since.measured("setSecret");
    assert_eq!((&line["Class"], &line["code"]), (&json!("permanent"), &json!("locked-out")));
    assert_eq!(line["RefusedLogins"], 2, "the current and the pending password");
    assert_eq!(since.known_to_cloudwatch()["StepsFailed setSecret permanent"], [1.0]);
    assert_eq!(since.known_to_cloudwatch()["PermanentFailures"], [1.0]);
    let record = since.record();
    assert_eq!((&record["outcome"], &record["code"]), (&json!("failed"), &json!("locked-out")));

    // Set right by hand, the same rotation goes on: there is a record of both attempts under the same version.
    let (user, password) = secret.credential("AWSCURRENT").await;
    world.sql(&format!("ALTER ROLE {user} PASSWORD '{}'", password.replace('\'', "''"))).await;
    let report = secret.rotated().await;
    let outcomes: Vec<_> =
        since.records().into_iter().map(|it| (it["outcome"].clone(), it["version"].clone())).collect();
    assert_eq!(outcomes, [(json!("failed"), json!(report.token)), (json!("promoted"), json!(report.token))]);
    assert_nothing_secret(&world, &[password, secret.credential("AWSCURRENT").await.1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_changed_while_the_other_works() {
    let world = World::start().await;
    let secret = world.alternating_user("app").await;
    let since = Since::now(&world.lab);
    secret.rotated().await;
    assert_eq!(since.measured("finishSecret")["DowntimeWindow"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_changed_has_no_window() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    world.lab.host().recycle().await;
    let since = Since::now(&world.lab);
    secret.steps(&["testSecret", "finishSecret"], &token).await;
    assert_eq!(names(&since.measured("finishSecret")), with(&["RotationsSucceeded", "CredentialAge"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn throttles_are_counted_where_they_were_waited_for() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let since = Since::now(&world.lab);
    for _ in 0..3 {
        world.lab.disturb().on_next("PutSecretValue", Fault::Throttle);
    }
    secret.rotated().await;
    assert_eq!(world.lab.disturb().fired(), 3);
    assert_eq!(since.measured("createSecret")["Throttles"], 3);
    assert_eq!(since.known_to_cloudwatch()["Throttles"], [3.0], "once, in the step that met them");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_secrets_are_no_more_metrics() {
    let world = World::start().await;
    let mut known = BTreeSet::new();
    let since = Since::now(&world.lab);
    for (number, user) in ["one", "two", "three"].into_iter().enumerate() {
        let secret = world.user(user).await;
        secret.rotated().await;
        let so_far: BTreeSet<_> = since.known_to_cloudwatch().into_keys().collect();
        assert!(number == 0 || so_far == known, "{:?}", so_far.difference(&known));
        known = so_far;
    }
    // 3 that are told apart by step, each for the function and for four steps, and 4 that are not.
    assert_eq!(known.len(), 3 * 5 + 4, "{known:#?}");
}

/// Nor is what an alarm sends people to the log for.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_records_are_no_matter_of_the_log_level() {
    for level in ["error", "trace"] {
        let late = 32 * 24 * HOUR;
        let world =
            World::with(Options::default(), |function| function.env("LOG_LEVEL", level).clock_behind(late)).await;
        let secret = world.user("app").await;
        let since = Since::now(&world.lab);
        secret.rotated().await;
        assert_eq!((since.metrics().len(), since.records().len()), (4, 1), "{level}");
        let said = since.lines().iter().any(|line| line["message"] == "step done");
        assert_eq!(said, level == "trace", "{level}");

        let token = uuid();
        let end = world.lab.rotation_end(&token);
        let monthly = json!({"SecretId": secret.arn, "ClientRequestToken": token, "RotateImmediately": false,
            "RotationRules": {"AutomaticallyAfterDays": 30}});
        world.lab.call("RotateSecret", monthly).await.expect("a schedule");
        end.await;
        let since = Since::now(&world.lab);
        world.lab.invoke(&json!({"Step": "watch"})).await.result().expect("an answer");
        assert_eq!(since.measured("watch")["SecretsOverdue"], 1, "{level}");
        let named: Vec<_> = since.lines().into_iter().filter(|line| line["late"] == "overdue").collect();
        assert_eq!(named.len(), 1, "{level}: {named:#?}");
        assert_eq!((&named[0]["secret"], &named[0]["level"]), (&json!(secret.arn), &json!("WARN")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_misconfigured() {
    let world = World::with(Options::default(), |function| function.env("EXCLUDE_NUMBERS", "perhaps")).await;
    let secret = world.user("app").await;
    let since = Since::now(&world.lab);
    let token = uuid();
    world.lab.rotate_to(&secret.arn, &token).await.expect("the rotation begins");
    let line = since.measured("createSecret");
    assert_eq!((&line["Class"], &line["code"]), (&json!("permanent"), &json!("configuration-invalid")));
    assert_eq!((&line["secret"], &line["version"]), (&json!(secret.arn), &json!(token)));
    let record = since.record();
    assert_eq!((&record["outcome"], &record["version"]), (&json!("failed"), &json!(token)));
    assert_eq!(record.get("current"), None, "nothing was read");
}

/// What people do by hand, and may do wrong, raises no alarm.
#[tokio::test(flavor = "multi_thread")]
async fn questions_and_events_by_hand() {
    let world = World::start().await;
    let secret = world.user("app").await;
    secret.rotated().await;
    let since = Since::now(&world.lab);
    for secret in [secret.arn.as_str(), "not/there"] {
        world.lab.invoke(&json!({"Step": "diagnose", "SecretId": secret})).await;
    }
    assert_eq!((since.metrics(), since.records()), (Vec::new(), Vec::new()));
    let outcome = world.lab.invoke(&json!({"Step": "setSecret", "SecretId": secret.arn})).await;
    assert_eq!(outcome.result().expect_err("no token").error_type, "event-malformed");
    assert_eq!(since.metrics(), Vec::<Value>::new());
    let record = since.record();
    assert_eq!((&record["outcome"], &record["invoked_by"]), (&json!("failed"), &json!("unreadable")));

    let since = Since::now(&world.lab);
    let outcome = world.lab.invoke(&json!({"Step": "watch"})).await;
    outcome.result().expect("it answers");
    let line = since.measured("watch");
    assert_eq!(names(&line), with(&["SecretsServed", "SecretsOverdue", "SecretsStuck"]));
    assert_eq!(
        (&line["SecretsServed"], &line["SecretsOverdue"], &line["SecretsStuck"]),
        (&json!(1), &json!(0), &json!(0))
    );
    assert_eq!(since.known_to_cloudwatch()["StepsSucceeded watch"], [1.0]);
    assert_eq!(since.records(), Vec::<Value>::new());
}

/// A recovery by hand raises no alarm. What it changes is in the audit record.
#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_is_recorded() {
    let world = World::with(Options::default(), |function| function.env("ALLOW_RECOVER", "true")).await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&STEPS[..2], &token).await;
    let (since, before) = (Since::now(&world.lab), secret.version("AWSCURRENT").await);
    let recover = async || world.lab.invoke(&json!({"Step": "recover", "SecretId": secret.arn})).await;
    recover().await.result().expect("the rotation is finished");
    let record = since.record();
    assert_eq!((&record["step"], &record["outcome"]), (&json!("recover"), &json!("rotation-finished")), "{record}");
    assert_eq!((&record["version"], &record["replaced"]), (&json!(token), &json!(before)), "{record}");
    assert_eq!(since.measured("recover")["RotationsSucceeded"], 1);
    world.sql("ALTER ROLE app PASSWORD 'of nobody'").await;
    secret.put(&secret.at("AWSCURRENT").await).await;
    let since = Since::now(&world.lab);
    assert_eq!(recover().await.result().expect_err("a person's turn").error_type, "recover-refused");
    assert_eq!((since.metrics(), since.records()), (Vec::new(), Vec::new()));
}

/// testSecret alone, as RotateImmediately=false has it, for a version that goes again.
async fn configuration_test(world: &issuer::World, secret: &issuer::Secret<'_>) {
    let token = secret.registered().await;
    secret.steps(&["testSecret"], &token).await;
    let gone = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
    world.lab.call("UpdateSecretVersionStage", gone).await.expect("the label goes");
}

/// An issuer that neither tells whose key it was asked with nor lists keys by their names.
#[tokio::test(flavor = "multi_thread")]
async fn a_warning_is_counted_under_its_name() {
    let description = ["  identity: /id\n", "  name: /name\n"].iter().fold(issuer::lab_description(), |text, line| {
        assert!(text.contains(line), "no {line} in the description");
        text.replace(line, "")
    });
    let description = format!("{description}\nrisk: A key that was made and not answered for lives on.\n");
    let (world, issuer) = issuer::World::lab_with(IssuerOptions::default(), &description, |function| function).await;
    let (id, key) = issuer.mint("by hand");
    let secret = world.secret(json!({"apiKey": key, "apiKeyId": id})).await;
    for by_hand in [true, false] {
        let since = Since::now(&world.lab);
        secret.rotated().await;
        let known = since.known_to_cloudwatch();
        assert_eq!(known["OrphanPossible"], [1.0], "each time that a key is made: {known:#?}");
        assert_eq!(known.get("KeyNotOurs").cloned(), by_hand.then(|| vec![1.0]), "{known:#?}");
        assert_eq!((known.get("KeyNotRevoked"), known.get("OtherWarnings")), (None, None), "{known:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_does_not_drain() {
    let (world, issuer) = issuer::World::lab_with(IssuerOptions::default(), &issuer::lab_description(), |function| {
        function.timeout(Duration::from_secs(15))
    })
    .await;
    let (id, key) = issuer.mint("by hand");
    let secret = world.secret(json!({"apiKey": key, "apiKeyId": id})).await;
    let journal = |since: &Since<'_>, step: &str| {
        let line = since.measured(step);
        (line["JournalDepth"].clone(), line["JournalOverdue"].clone())
    };
    let since = Since::now(&world.lab);
    secret.rotated().await;
    assert_eq!(journal(&since, "finishSecret"), (json!(1), json!(0)), "the key before has its grace");
    assert_eq!(since.measured("finishSecret")["DowntimeWindow"], 0, "two keys live");
    secret.rotated().await;
    // The list holds keys by the names that the function gave: it does not tell whether the one made by hand has ended.
    let since = Since::now(&world.lab);
    configuration_test(&world, &secret).await;
    assert_eq!(names(&since.measured("testSecret")), with(&[]));
    secret.rotated().await;
    let since = Since::now(&world.lab);
    configuration_test(&world, &secret).await;
    assert_eq!(
        journal(&since, "testSecret"),
        (json!(1), json!(0)),
        "what ended since the value was stored is not counted"
    );

    world.lab.disturb().on_every("issuer DELETE", Fault::Fail(503));
    for overdue in 1..3 {
        let since = Since::now(&world.lab);
        secret.rotated().await;
        assert_eq!(journal(&since, "finishSecret"), (json!(1 + overdue), json!(overdue)));
        let line = since.measured("finishSecret");
        assert_eq!(line["KeyNotRevoked"], overdue, "one for each key: {line}");
        let known = since.known_to_cloudwatch();
        assert_eq!(known["JournalOverdue"], [f64::from(overdue)], "only after the step that ends keys");
        // The rotation succeeded.
        assert_eq!(since.record()["outcome"], "promoted");
        let warned = since.lines().into_iter().find(|line| line["level"] == "WARN").expect("a warning");
        assert_eq!((&warned["code"], &warned["secret"]), (&json!("key-not-revoked"), &json!(secret.arn)));
    }
    let since = Since::now(&world.lab);
    configuration_test(&world, &secret).await;
    assert_eq!(journal(&since, "testSecret"), (json!(3), json!(2)));
    // Whoever is called by the alarm reads in the log which keys they are.
    let lines = since.lines();
    let warned: Vec<_> =
        lines.iter().filter(|line| line["code"] == "key-not-revoked" && line["level"] == "WARN").collect();
    assert_eq!(warned.len(), 2, "{warned:#?}");
    assert!(warned.iter().all(|line| line["message"].as_str().expect("text").contains("keyId=")), "{warned:#?}");
    world.lab.disturb().restart();
    for _ in 0..2 {
        let since = Since::now(&world.lab);
        secret.rotated().await;
        assert_eq!(journal(&since, "finishSecret"), (json!(1), json!(0)), "made good, and not noted once more");
    }
    let output = world.lab.function_output();
    for key in [key, secret.field("AWSCURRENT", "apiKey").await, secret.field("AWSPREVIOUS", "apiKey").await] {
        assert!(!output.contains(&key), "a key was printed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_slow_to_know_a_key_or_asks_to_slow_down() {
    let options = IssuerOptions { propagation: Duration::from_secs(2), ..IssuerOptions::default() };
    let (world, issuer) = issuer::World::lab(options).await;
    let (id, key) = issuer.mint("by hand");
    // Until it is known, and the first rotation with it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let secret = world.secret(json!({"apiKey": key, "apiKeyId": id})).await;
    world.lab.disturb().on_next("issuer POST", Fault::Throttle);
    let since = Since::now(&world.lab);
    secret.rotated().await;
    assert_eq!(since.measured("createSecret")["Throttles"], 1);
    let refused = issuer.uses().iter().filter(|used| !used.accepted).count();
    assert!(refused > 0, "it was tried too soon, as is the point");
    let counted: f64 = since.known_to_cloudwatch()["RefusedLogins"].iter().sum();
    assert_eq!(counted, refused as f64);
}
