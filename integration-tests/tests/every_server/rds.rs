//! Superusers whose server is looked up at RDS, by the release binaries on real servers. The servers are what RDS, in the lab,
//! says that they are: the rotated secrets name `localhost`, and a primary is behind `127.0.0.1` and a port of its own.

use integration_tests::{OVERLAP, Options, Secret, Server, World, merged, world};
use lab::disturb::{Call, Fault, critical_path};
use lab::lambda::{ACCOUNT, REGION, StepError};
use lab::rds::{Cluster, Instance};
use lab::relay::Relay;
use serde_json::{Value, json};
use std::time::Duration;

/// What the rotated secrets name.
const NAME: &str = "localhost";
/// What the primary is called.
const ADDRESS: &str = "127.0.0.1";

/// A world in which RDS manages the superuser's secret.
struct Managed<S> {
    world: World<S>,
    /// What stands before the primary.
    primary: Relay,
    engine: String,
}

async fn managed<O: Options>(options: O) -> Managed<O::Server> {
    let world = world(options).await;
    let primary = world.lab.relay(world.server.port()).await.expect("the relay starts");
    let engine = world.server.fields()["engine"].as_str().expect("an engine").to_owned();
    Managed { world, primary, engine }
}

impl<S: Server> Managed<S> {
    /// An instance at what the rotated secrets name.
    fn named(&self, id: &str) -> Instance {
        Instance::new(id, &self.engine, NAME, self.world.relay.port())
    }

    /// An instance at the primary's own address.
    fn apart(&self, id: &str) -> Instance {
        Instance::new(id, &self.engine, ADDRESS, self.primary.port())
    }

    /// The superuser's secret, managed for this server, and a user that alternates.
    async fn pair(&self, user: &str, server_arn: &str) -> Secret<'_, S> {
        let (name, password) = self.world.server.superuser();
        let superuser = self.world.secret(json!({"username": name, "password": password.expose()})).await;
        self.world.lab.manage(&superuser.arn, server_arn).expect("the secret is there");
        self.world.user_with(user, json!({"masterarn": superuser.arn})).await
    }

    /// A rotation's first two steps.
    async fn set(&self, secret: &Secret<'_, S>) -> Result<Value, StepError> {
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        self.world.lab.disturb().restart();
        secret.step("setSecret", &token).await
    }

    /// setSecret has to fail with this code, these words in its message, and nothing sent to either address.
    async fn is_refused(&self, secret: &Secret<'_, S>, code: &str, words: &[&str]) {
        let before = self.connections();
        let error = self.set(secret).await.expect_err("setSecret has to fail");
        assert_eq!(error.error_type, code, "{}", error.error_message);
        for word in words {
            assert!(error.error_message.contains(word), "{word} in {}", error.error_message);
        }
        assert_eq!(self.connections(), before, "something was sent somewhere");
        assert!(secret.opens("AWSCURRENT").await);
        let password = self.world.server.superuser().1.expose();
        assert!(!self.world.lab.function_output().contains(password));
    }

    async fn diagnosis(&self, secret: &Secret<'_, S>) -> Value {
        let event = json!({"Step": "diagnose", "SecretId": secret.arn});
        self.world.lab.invoke(&event).await.result().expect("an answer")
    }

    fn connections(&self) -> (usize, usize) {
        (self.world.relay.connections(), self.primary.connections())
    }

    fn rds_calls(&self) -> Vec<Call> {
        let calls = self.world.lab.calls();
        calls.into_iter().filter(|call| call.operation.starts_with("DescribeDB")).collect()
    }
}

on! { (postgres, mysql):
    a_superuser_that_rds_manages_rotates;
    a_diagnosis_says_that_the_server_takes_tokens_of_iam;
    a_replica_is_recognised_and_the_superuser_goes_to_the_primary;
    a_clusters_endpoints_and_members_are_recognised_and_the_superuser_goes_to_the_writer;
    a_full_secret_of_the_primary_is_recognised_for_a_replica;
    what_only_looks_related_is_refused_and_nothing_is_sent_there;
    a_server_that_is_gone_or_of_another_kind_is_named;
    a_server_of_the_same_name_in_another_account_or_region_gets_nothing;
    trouble_that_passes_is_waited_for;
    nothing_is_looked_up_where_both_secrets_name_one_server;
}

async fn a_superuser_that_rds_manages_rotates<O: Options>(options: O) {
    let managed = managed(options).await;
    managed.world.lab.rds().instance(managed.named(NAME));
    let secret = managed.pair("app", &managed.named(NAME).arn()).await;
    for _ in 0..3 {
        let report = secret.rotated().await;
        let answers = report.steps.iter().map(|step| step.result().expect("the step succeeded"));
        assert!(answers.into_iter().all(|answer| answer["warnings"].is_null()), "{report:?}");
        assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await);
    }
    managed.set(&secret).await.expect("setSecret succeeds");
    assert_eq!(managed.rds_calls().len(), 1, "one question for one name");
}

/// A user may need no password at all.
async fn a_diagnosis_says_that_the_server_takes_tokens_of_iam<O: Options>(options: O) {
    let managed = managed(options).await;
    let secret = managed.pair("app", &managed.named(NAME).arn()).await;
    for (instance, expected) in
        [(managed.named(NAME), json!(false)), (managed.named(NAME).with_iam_authentication(), json!(true))]
    {
        managed.world.lab.rds().instance(instance);
        let answer = managed.diagnosis(&secret).await;
        assert_eq!(answer["iamAuthentication"], expected, "{answer}");
    }
    let own = managed.world.user("own").await;
    assert_eq!(managed.diagnosis(&own).await["iamAuthentication"], json!(null), "RDS was not asked");
}

async fn a_replica_is_recognised_and_the_superuser_goes_to_the_primary<O: Options>(options: O) {
    let managed = managed(options).await;
    let rds = managed.world.lab.rds();
    rds.instance(managed.apart("orders"));
    rds.instance(managed.named(NAME).replica_of("orders"));
    let secret = managed.pair("app", &managed.apart("orders").arn()).await;
    let before = managed.connections();
    secret.rotated().await;
    let after = managed.connections();
    assert!(after.1 > before.1, "the superuser was not at the primary");
    assert!(after.0 > before.0, "the user was not tried at the replica");

    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    managed.world.lab.disturb().restart();
    managed.world.lab.disturb().latency(OVERLAP);
    let before = managed.connections();
    secret.steps(&["setSecret"], &token).await;
    assert_eq!(managed.connections(), (before.0, before.1 + 1));
    let calls = managed.rds_calls();
    assert_eq!((calls.len(), critical_path(&calls)), (2, 1), "{calls:?}");
}

async fn a_clusters_endpoints_and_members_are_recognised_and_the_superuser_goes_to_the_writer<O: Options>(options: O) {
    let managed = managed(options).await;
    let rds = managed.world.lab.rds();
    let engine = if managed.engine == "postgres" { "aurora-postgresql" } else { "aurora-mysql" };
    // A cluster has one port: the writer is told from the reader by its name alone.
    let shared = Cluster::new("shop", engine, ADDRESS, managed.world.relay.port());
    for (number, cluster) in [shared.clone().reader(NAME), shared.custom(NAME)].into_iter().enumerate() {
        rds.cluster(cluster.clone());
        let secret = managed.pair(&format!("app{number}"), &cluster.arn()).await;
        secret.rotated().await;
        // Where it goes is what the error says once it is refused.
        let (name, _) = managed.world.server.superuser();
        let wrong = managed.world.secret(json!({"username": name, "password": "wrong"})).await;
        managed.world.lab.manage(&wrong.arn, &cluster.arn()).expect("the secret is there");
        let refused = managed.world.user_with(&format!("ref{number}"), json!({"masterarn": wrong.arn})).await;
        let error = managed.set(&refused).await.expect_err("the password is wrong");
        assert_eq!(error.error_type, "superuser-rejected", "{}", error.error_message);
        assert!(error.error_message.contains("host=\"127.0.0.1\""), "{}", error.error_message);
    }

    let apart = Cluster::new("apart", engine, ADDRESS, managed.primary.port());
    rds.cluster(apart.clone());
    rds.instance(managed.named(NAME).member_of("apart"));
    let secret = managed.pair("member", &apart.arn()).await;
    let before = managed.connections();
    managed.set(&secret).await.expect("setSecret succeeds");
    assert_eq!(managed.connections(), (before.0, before.1 + 1));
}

async fn a_full_secret_of_the_primary_is_recognised_for_a_replica<O: Options>(options: O) {
    let managed = managed(options).await;
    let world = &managed.world;
    let (name, password) = world.server.superuser();
    let there = json!({"host": ADDRESS, "port": managed.primary.port()});
    let superuser = world.secret(merged(world.document(name, password.expose()), there)).await;
    let secret = world.user_with("app", json!({"masterarn": superuser.arn})).await;
    managed.is_refused(&secret, "superuser-mismatch", &["localhost", "127.0.0.1"]).await;

    // RDS would not accept that name; it is what the address begins with.
    world.lab.rds().instance(managed.apart("127"));
    world.lab.rds().instance(managed.named(NAME).replica_of("127"));
    let before = managed.connections();
    let secret = world.user_with("app2", json!({"masterarn": superuser.arn})).await;
    managed.set(&secret).await.expect("setSecret succeeds");
    assert_eq!(managed.connections(), (before.0, before.1 + 1));
    let secret = world.user_with("app3", json!({"masterarn": superuser.arn})).await;
    secret.rotated().await;
    // The superuser of a replica is of no use for its primary.
    world.lab.rds().instance(managed.apart("127").replica_of(NAME));
    world.lab.rds().instance(managed.named(NAME));
    let secret = world.user_with("app4", json!({"masterarn": superuser.arn})).await;
    managed.is_refused(&secret, "superuser-mismatch", &[]).await;
    // Without permission there is no proof.
    world.lab.rds().deny("DescribeDBInstances");
    let secret = world.user_with("app5", json!({"masterarn": superuser.arn})).await;
    managed.is_refused(&secret, "superuser-mismatch", &["rds:DescribeDBInstances", "AccessDenied"]).await;
}

/// Whoever writes the child's secret chooses a host, and nothing else.
async fn what_only_looks_related_is_refused_and_nothing_is_sent_there<O: Options>(options: O) {
    let managed = managed(options).await;
    let rds = managed.world.lab.rds();
    rds.instance(managed.apart("orders"));
    let arn = managed.apart("orders").arn();
    let port = managed.world.relay.port();
    // Nothing of that name; a stranger; a replica of another; one whose host merely begins alike; one with another port.
    managed.is_refused(&managed.pair("app1", &arn).await, "superuser-mismatch", &["127.0.0.1", "localhost"]).await;
    let strangers = [
        managed.named(NAME),
        managed.named(NAME).replica_of("billing"),
        managed.named(NAME).member_of("orders"),
        Instance::new(NAME, &managed.engine, "localhost.abc.rds.amazonaws.com", port).replica_of("orders"),
        Instance::new(NAME, &managed.engine, NAME, 1).replica_of("orders"),
    ];
    for (number, stranger) in strangers.into_iter().enumerate() {
        rds.instance(stranger);
        let secret = managed.pair(&format!("stranger{number}"), &arn).await;
        managed.is_refused(&secret, "superuser-mismatch", &[]).await;
    }
}

async fn a_server_that_is_gone_or_of_another_kind_is_named<O: Options>(options: O) {
    let managed = managed(options).await;
    let rds = managed.world.lab.rds();
    let secret = managed.pair("app", &managed.named("gone").arn()).await;
    managed.is_refused(&secret, "superuser-server-gone", &["gone", "rds:DescribeDBInstances"]).await;
    let cluster = Cluster::new("gone", &managed.engine, NAME, 1);
    let secret = managed.pair("app2", &cluster.arn()).await;
    managed.is_refused(&secret, "superuser-server-gone", &["gone", "rds:DescribeDBClusters"]).await;

    let port = managed.world.relay.port();
    rds.instance(Instance::new(NAME, "oracle-ee", NAME, port));
    let secret = managed.pair("app3", &managed.named(NAME).arn()).await;
    managed.is_refused(&secret, "engine-mismatch", &["oracle-ee", &managed.engine]).await;
}

/// RDS answers for the function's own account and region, whatever the superuser's secret is tagged with.
async fn a_server_of_the_same_name_in_another_account_or_region_gets_nothing<O: Options>(options: O) {
    let managed = managed(options).await;
    let rds = managed.world.lab.rds();
    let instance = managed.named(NAME);
    let cluster = Cluster::new("shop", &managed.engine, NAME, managed.world.relay.port());
    rds.instance(instance.clone());
    rds.cluster(cluster.clone());
    let elsewhere = [(ACCOUNT, "210987654321"), (REGION, "eu-west-1")];
    for (number, own) in [instance.arn(), cluster.arn()].iter().enumerate() {
        for (place, (part, other)) in elsewhere.into_iter().enumerate() {
            let arn = own.replace(part, other);
            let secret = managed.pair(&format!("app{number}{place}"), &arn).await;
            managed.is_refused(&secret, "superuser-mismatch", &[own, &arn]).await;
        }
    }
    // The same but for the ARN rotates.
    let secret = managed.pair("own", &instance.arn()).await;
    secret.rotated().await;
}

async fn trouble_that_passes_is_waited_for<O: Options>(options: O) {
    let managed = managed(options).await;
    managed.world.lab.rds().instance(managed.named(NAME));
    for (number, fault) in [Fault::Throttle, Fault::Fail(503), Fault::LoseReply, Fault::Delay(Duration::from_secs(30))]
        .into_iter()
        .enumerate()
    {
        let secret = managed.pair(&format!("app{number}"), &managed.named(NAME).arn()).await;
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        managed.world.lab.disturb().restart();
        managed.world.lab.disturb().on_next("DescribeDBInstances", fault);
        let answer = secret.step("setSecret", &token).await.expect("setSecret succeeds");
        assert!(answer["warnings"].is_null(), "{answer}");
        assert_eq!((managed.world.lab.disturb().fired(), managed.rds_calls().len()), (1, 2), "{fault:?}");
    }
}

async fn nothing_is_looked_up_where_both_secrets_name_one_server<O: Options>(options: O) {
    let managed = managed(options).await;
    let superuser = managed.world.superuser().await;
    // The same host, written differently.
    for (user, host) in [("app", NAME), ("other", "LOCALHOST")] {
        let secret = managed.world.user_with(user, json!({"masterarn": superuser.arn, "host": host})).await;
        managed.set(&secret).await.expect("setSecret succeeds");
        let calls: Vec<_> = managed.world.lab.calls().into_iter().map(|call| call.operation).collect();
        assert_eq!(managed.rds_calls().len(), 0, "{calls:?}");
        assert_eq!(calls.iter().filter(|call| *call == "DescribeSecret").count(), 2, "{calls:?}");
    }
}

/// A page without anything, and always one more.
const ENDLESS: &str = "<DescribeDBInstancesResponse><DescribeDBInstancesResult><DBInstances/><Marker>a&amp;b</Marker>\
                       </DescribeDBInstancesResult></DescribeDBInstancesResponse>";

/// The code, how it comes about, and a word of the message.
type Trouble<'a> = (&'static str, Box<dyn Fn() + 'a>, &'static str);

/// What keeps RDS from being asked, and what the functions then say.
fn troubles<S: Server>(managed: &Managed<S>) -> Vec<Trouble<'_>> {
    let world = &managed.world;
    let answers = |text: String| move || world.lab.rds().answer("DescribeDBInstances", &text);
    vec![
        (
            "rds-unavailable",
            Box::new(move || world.lab.rds().instance(managed.named(NAME).in_the_making())),
            "no endpoint",
        ),
        (
            "rds-throttled",
            Box::new(move || world.lab.disturb().on_every("DescribeDBInstances", Fault::Throttle)),
            "attempts",
        ),
        (
            "rds-unavailable",
            Box::new(move || world.lab.disturb().on_every("DescribeDBInstances", Fault::LoseReply)),
            "attempts",
        ),
        ("rds-unavailable", Box::new(answers("<DescribeDBInstancesResponse><a".to_owned())), "documents"),
        ("rds-unavailable", Box::new(answers(ENDLESS.to_owned())), "too many pages"),
        ("rds-unavailable", Box::new(answers("x".repeat(2 << 20))), "too large"),
        ("rds-denied", Box::new(move || world.lab.rds().deny("DescribeDBInstances")), "AccessDenied"),
    ]
}

/// MySQL has nothing else to go by.
#[tokio::test(flavor = "multi_thread")]
async fn mysql_says_why_rds_could_not_be_asked() {
    let managed = managed(super::mysql()).await;
    managed.world.lab.rds().instance(managed.named(NAME));
    for (number, (code, trouble, word)) in troubles(&managed).into_iter().enumerate() {
        let secret = managed.pair(&format!("app{number}"), &managed.named(NAME).arn()).await;
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        managed.world.lab.disturb().restart();
        trouble();
        let error = secret.step("setSecret", &token).await.expect_err("nothing proves the server");
        let expected = if code == "rds-denied" { "superuser-address-unproven" } else { code };
        assert_eq!(error.error_type, expected, "{}", error.error_message);
        for word in [word, "rds:DescribeDBInstances", "user=\"root\""] {
            assert!(error.error_message.contains(word), "{word} in {}", error.error_message);
        }
    }
    assert_eq!(managed.connections(), (0, 0));
}

/// PostgreSQL's SCRAM can be bound to the channel: a missing permission is a warning.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_goes_on_without_rds_and_warns() {
    let managed = managed(super::postgres()).await;
    managed.world.lab.rds().instance(managed.named(NAME));
    for (number, (code, trouble, word)) in troubles(&managed).into_iter().enumerate() {
        let secret = managed.pair(&format!("app{number}"), &managed.named(NAME).arn()).await;
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        managed.world.lab.disturb().restart();
        trouble();
        let answer = secret.step("setSecret", &token).await.expect("setSecret succeeds");
        let warning = answer["warnings"][0].as_str().unwrap_or_default();
        assert!(warning.contains(code) && warning.contains(word), "{code} and {word} in {answer}");
        let counted = managed.world.lab.function_output().matches(r#""OtherWarnings":1,"#).count();
        assert_eq!(counted, number + 1, "{code}");
        managed.world.lab.disturb().restart();
        secret.steps(&["testSecret", "finishSecret"], &token).await;
        assert!(secret.opens("AWSCURRENT").await);
    }
}

/// The tags cannot be read: the permission that is missing is the one on the superuser's secret.
#[tokio::test(flavor = "multi_thread")]
async fn the_tags_need_a_permission_of_their_own() {
    let managed = managed(super::mysql()).await;
    managed.world.lab.rds().instance(managed.named(NAME));
    let secret = managed.pair("app", &managed.named(NAME).arn()).await;
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    managed.world.lab.disturb().restart();
    // The first four go out together: the labels, two versions, and the superuser's secret.
    managed.world.lab.disturb().on_call(5, Fault::Fail(403));
    let error = secret.step("setSecret", &token).await.expect_err("nothing proves the server");
    assert_eq!(error.error_type, "superuser-address-unproven", "{}", error.error_message);
    assert!(error.error_message.contains("DescribeSecret"), "{}", error.error_message);
    assert_eq!((managed.connections(), managed.rds_calls().len()), ((0, 0), 0));
}
