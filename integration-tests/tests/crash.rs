//! A fault at each external call of a rotation in turn: the n-th request to Secrets Manager or database round trip, for
//! n = 1, 2, … until a rotation makes fewer. Right after the fault somebody can still get in, and the same rotation,
//! begun again from createSecret, converges.

use integration_tests::{STEPS, Secret, World, uuid};
use lab::disturb::Fault;
use lab::secretsmanager::RotationOutcome;
use lab::stack::RotationReport;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_postgres::{Client, SimpleQueryMessage};

#[tokio::test(flavor = "multi_thread")]
async fn a_single_user_survives_a_kill_before_any_call() {
    each_call_of_a_single_user(Fault::KillBefore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_user_survives_a_kill_after_any_call() {
    each_call_of_a_single_user(Fault::KillAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_user_survives_the_loss_of_any_reply() {
    each_call_of_a_single_user(Fault::LoseReply).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_clone_survives_a_kill_before_any_call() {
    each_call_of_a_new_clone(Fault::KillBefore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_clone_survives_a_kill_after_any_call() {
    each_call_of_a_new_clone(Fault::KillAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_clone_survives_the_loss_of_any_reply() {
    each_call_of_a_new_clone(Fault::LoseReply).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_survives_a_kill_before_any_call() {
    each_call_of_a_pair(Fault::KillBefore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_survives_a_kill_after_any_call() {
    each_call_of_a_pair(Fault::KillAfter).await;
}

/// The least number of calls that a rotation makes: one login alone takes five flights, and there are three.
const FEWEST_CALLS: usize = 25;

async fn each_call_of_a_single_user(fault: Fault) {
    let world = World::start().await;
    let stage = Stage::new(&world).await;
    let mut call = 1;
    loop {
        let user = format!("app_{call}");
        let secret = world.user(&user).await;
        if !stage.strike(&secret, None, call, fault).await {
            break;
        }
        call += 1;
    }
    assert!(call > FEWEST_CALLS, "only {call} calls");
}

/// The first rotation of a pair: the clone does not exist yet.
async fn each_call_of_a_new_clone(fault: Fault) {
    let world = World::start().await;
    let stage = Stage::new(&world).await;
    let mut call = 1;
    loop {
        let base = format!("app_{call}");
        let secret = world.alternating_user(&base).await;
        stage.furnish(&base).await;
        if !stage.strike(&secret, Some(&base), call, fault).await {
            break;
        }
        call += 1;
    }
    assert!(call > FEWEST_CALLS, "only {call} calls");
}

/// All later rotations of a pair, in both directions.
async fn each_call_of_a_pair(fault: Fault) {
    let world = World::start().await;
    let stage = Stage::new(&world).await;
    let secret = world.alternating_user("app").await;
    stage.furnish("app").await;
    secret.rotated().await;
    let mut call = 1;
    loop {
        let to_the_base = stage.strike(&secret, Some("app"), call, fault).await;
        // Something to converge when the clone's turn comes.
        stage.ask("ALTER ROLE app_clone RESET ALL; ALTER ROLE app_clone CONNECTION LIMIT 3").await;
        let to_the_clone = stage.strike(&secret, Some("app"), call, fault).await;
        if !to_the_base && !to_the_clone {
            break;
        }
        call += 1;
    }
    assert!(call > FEWEST_CALLS, "only {call} calls");
}

/// A world, and a superuser's connection to look at it with.
struct Stage<'a> {
    world: &'a World,
    superuser: Client,
}

impl<'a> Stage<'a> {
    async fn new(world: &'a World) -> Self {
        let superuser = world.server.connect_superuser().await.expect("the superuser logs in");
        superuser
            .batch_execute("CREATE TABLE accounts (id int); CREATE ROLE readers; GRANT SELECT ON accounts TO readers")
            .await
            .expect("the scene is set");
        Self { world, superuser }
    }

    /// Gives a user all that its clone has to follow.
    async fn furnish(&self, user: &str) {
        self.ask(&format!("GRANT readers TO {user}; GRANT INSERT ON accounts TO {user}")).await;
        self.ask(&format!("ALTER ROLE {user} CONNECTION LIMIT 17; ALTER ROLE {user} SET work_mem TO '5MB'")).await;
    }

    /// Rotates with a fault at the n-th call, then runs the same rotation again without. False if there was no such call.
    async fn strike(&self, secret: &Secret<'_>, base: Option<&str>, number: usize, fault: Fault) -> bool {
        let disturb = self.world.lab.disturb();
        let old = secret.credential("AWSCURRENT").await;
        let whole = match base {
            Some(base) => self.clone_is_absent_or_complete(base).await,
            None => true,
        };
        let token = uuid();
        self.quiet().await;
        disturb.restart();
        disturb.on_call(number, fault);
        let report = self.world.lab.rotate_to(&secret.arn, &token).await.expect("the rotation begins");
        self.quiet().await;
        let struck = disturb.calls().into_iter().find(|call| call.fault.is_some());
        disturb.restart();
        let at = match &struck {
            Some(call) => format!("{fault:?} at call {number}, {} {:?}", call.operation, call.flight),
            None => format!("{fault:?} never came to call {number}"),
        };

        assert!(struck.is_some() || report.rotated(), "{at}: {:?}", report.error());
        fails_retryably(&report, &at);
        self.somebody_gets_in(secret, base, &at).await;
        if let Some(base) = base {
            assert!(!whole || self.clone_is_absent_or_complete(base).await, "{at}: half a clone");
        }

        self.run_again(secret, &token, &at).await;
        self.converged(secret, &token, &old, &at).await;
        if let Some(base) = base {
            self.privileges_are_equal(base, &at).await;
        }
        struck.is_some()
    }

    /// Waits until nothing of the function is under way: a good-bye to the server may come after the answer to Lambda.
    async fn quiet(&self) {
        let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lockstep'";
        let quiet = async {
            while self.ask(open).await != ["0"] || self.world.lab.calls().iter().any(|call| call.ended.is_none()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), quiet).await.expect("the function's connections end");
    }

    /// What a consumer of the secret finds: with two users AWSCURRENT always works; with one, AWSCURRENT or AWSPENDING.
    async fn somebody_gets_in(&self, secret: &Secret<'_>, base: Option<&str>, at: &str) {
        if secret.opens("AWSCURRENT").await {
            return;
        }
        assert!(base.is_none(), "{at}: AWSCURRENT of a pair is refused");
        let pending = self.world.lab.secret_value(&secret.arn, "AWSPENDING").await;
        assert!(pending.is_ok(), "{at}: AWSCURRENT is refused, and AWSPENDING is no more");
        assert!(secret.opens("AWSPENDING").await, "{at}: AWSCURRENT and AWSPENDING are refused");
    }

    async fn clone_is_absent_or_complete(&self, base: &str) -> bool {
        let complete = format!(
            "SELECT coalesce((SELECT clone.rolcanlogin AND pg_has_role(clone.oid, base.oid, 'MEMBER') \
             AND clone.rolconnlimit = base.rolconnlimit AND base.rolconfig <@ clone.rolconfig \
             AND 'role=' || base.rolname = ANY (clone.rolconfig) \
             FROM pg_roles base, pg_roles clone WHERE base.rolname = '{base}' AND clone.rolname = '{base}_clone'), true)"
        );
        self.ask(&complete).await == ["t"]
    }

    async fn privileges_are_equal(&self, base: &str, at: &str) {
        assert!(self.clone_is_absent_or_complete(base).await, "{at}: half a clone");
        let privileges = format!(
            "SELECT pg_has_role(rolname, 'readers', 'MEMBER') AND has_table_privilege(rolname, 'accounts', 'SELECT') \
             AND has_table_privilege(rolname, 'accounts', 'INSERT') FROM pg_roles WHERE rolname IN ('{base}', '{base}_clone')"
        );
        assert_eq!(self.ask(&privileges).await, ["t", "t"], "{at}: the clone is missing, or a privilege of it");
    }

    /// Begins the rotation again from createSecret, as the service does.
    async fn run_again(&self, secret: &Secret<'_>, token: &str, at: &str) {
        let lab = &self.world.lab;
        let end = lab.rotation_end(token);
        let request = json!({"SecretId": secret.arn, "ClientRequestToken": token});
        match lab.call("RotateSecret", request).await {
            Err(incomplete) => {
                assert_eq!(incomplete.kind, "InvalidRequestException", "{at}: {incomplete}");
                assert_eq!(end.await, RotationOutcome::Succeeded, "{at}");
            }
            // The version is current already. Whoever invokes the function all the same is told so.
            Ok(_) => {
                for step in STEPS {
                    let answer = secret.step(step, token).await.unwrap_or_else(|error| panic!("{at}: {error:?}"));
                    assert_eq!(answer["outcome"], "already-current", "{at}: {step}");
                }
            }
        }
    }

    async fn converged(&self, secret: &Secret<'_>, token: &str, old: &(String, String), at: &str) {
        let labels = secret.labels().await;
        let holders = |label: &str| -> Vec<String> {
            let versions = labels.as_object().expect("labels by version").iter();
            let held = versions.filter(|(_, held)| held.as_array().is_some_and(|held| held.contains(&json!(label))));
            held.map(|(version, _)| version.clone()).collect()
        };
        assert_eq!(holders("AWSCURRENT"), [token], "{at}: {labels}");
        assert!(holders("AWSPENDING").iter().all(|version| version == token), "{at}: {labels}");
        assert_ne!(&secret.credential("AWSCURRENT").await, old, "{at}: the credential is the old one");
        assert!(secret.opens("AWSCURRENT").await, "{at}: the new credential is refused");
        assert_eq!(&secret.credential("AWSPREVIOUS").await, old, "{at}: {labels}");
    }

    /// The first column of each row, as text.
    async fn ask(&self, sql: &str) -> Vec<String> {
        let messages = self.superuser.simple_query(sql).await.expect(sql);
        let first = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        };
        messages.iter().filter_map(first).collect()
    }
}

/// A step that failed was killed, or says that trying again will help.
fn fails_retryably(report: &RotationReport, at: &str) {
    let Some(error) = report.error() else { return };
    if error.error_type == "Runtime.ExitError" {
        return;
    }
    let log =
        report.steps.last().map(|step| String::from_utf8_lossy(&step.outcome.log).into_owned()).unwrap_or_default();
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let retryable = lines.any(|line| line.to_string().contains(r#""class":"retryable""#));
    assert!(retryable, "{at}: {error:?}");
}
