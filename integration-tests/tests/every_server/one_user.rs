//! A user that changes its own password; and, where it says so, pairs as well.

use integration_tests::failure::code;
use integration_tests::{Options, STEPS, Server, Strategy, merged, world};
use lab::secretsmanager::RotationOutcome;
use lab::servers::Password;
use lab::servers::mysql::{self, Kind, MySql};
use lab::servers::postgres::{self, Postgres};
use serde_json::{Value, json};
use std::future::Future;

on! { (postgres, mysql, mariadb):
    the_normal_path_costs_what_it_has_to;
    the_previous_password_is_tried_last_and_then_the_superuser_may_help;
    a_rescue_helps_only_users_that_a_password_would_help;
    attaching_without_rotating_tests_the_configuration;
    the_server_gets_hashes_and_its_log_no_password;
}

on! { (postgres, mariadb):
    a_rotation_changes_the_password_and_nothing_else;
    a_run_again_after_set_finds_the_password_in_effect;
}

/// In what servers differ for a user alone.
pub(super) trait Users: Server {
    /// Options with which refused logins can be counted.
    fn counting(options: Self::Options) -> Self::Options;
    /// How many logins were refused so far.
    fn refused_logins(&self) -> impl Future<Output = usize>;
    /// Statements about the user `app`, one after the other, with the code that a rescue of it has then.
    fn beyond_rescue() -> &'static [(&'static str, &'static str)];
    /// What the log of statements shows of a change.
    fn logged_change(&self, strategy: Strategy) -> &'static str;
}

async fn a_rotation_changes_the_password_and_nothing_else<O: Options>(options: O) {
    let world = world(options).await;
    // Keys that nobody knows, numbers that no float can hold, and an order of its own.
    let (port, engine) = (world.relay.port(), world.server.fields()["engine"].clone());
    let text = |password: &str| {
        format!(
            "{{\"zeta\": 1.50, \"engine\":{engine},\n \"host\":\"localhost\", \"port\":\"{port}\", \"username\":\"app\", \
             \"password\":\"{password}\", \"big\": 123456789012345678901234567890, \"nested\": {{\"b\":1,\"a\":[ ]}}}}"
        )
    };
    let password = Password::random();
    world.server.create_user("app", &password).await;
    let secret = world.secret_text(&text(password.expose())).await;

    let report = secret.rotated().await;

    let (user, new) = secret.credential("AWSCURRENT").await;
    assert_eq!(user, "app");
    assert_eq!(new.len(), 32);
    assert_eq!(world.lab.secret_value(&secret.arn, "AWSCURRENT").await.unwrap(), text(&new));
    assert!(world.opens("app", &new).await);
    assert!(!world.opens("app", password.expose()).await);
    assert_eq!(secret.credential("AWSPREVIOUS").await.1, password.expose());
    let labels = secret.labels().await;
    assert_eq!(labels[&report.token], json!(["AWSCURRENT"]), "{labels}");
    let steps: Vec<&str> = report.steps.iter().map(|step| step.step.as_str()).collect();
    assert_eq!(steps, STEPS);
    let set = report.steps[1].result().unwrap();
    assert_eq!((&set["previousCredential"], set.get("because")), (&json!("refused"), None));
}

/// One connection each in set, test and finish, no refused login, and as few calls in sequence as they can be.
async fn the_normal_path_costs_what_it_has_to<O: Options<Server: Users>>(options: O) {
    let world = world(O::Server::counting(options)).await;
    let secret = world.user_of(world.server.strategies()[0], "app").await;
    let before = world.server.refused_logins().await;
    assert_eq!(world.costs(&secret).await, [(2, 4, 0), (2, 4, 1), (1, 3, 1), (3, 5, 1)]);
    assert_eq!(world.server.refused_logins().await, before, "a login was refused");
    // A counter that cannot count would say the same.
    assert!(!world.opens("app", "wrong").await);
    assert_eq!(world.server.refused_logins().await, before + 1);
}

async fn a_run_again_after_set_finds_the_password_in_effect<O: Options>(options: O) {
    let world = world(options).await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    let pending = secret.credential("AWSPENDING").await;
    for (step, outcome) in [
        ("createSecret", "already-proposed"),
        ("setSecret", "already-in-effect"),
        ("testSecret", "verified"),
        ("testSecret", "verified"),
        ("finishSecret", "promoted"),
        ("finishSecret", "already-current"),
        ("setSecret", "already-current"),
    ] {
        assert_eq!(code(secret.step(step, &token).await), outcome, "{step}");
    }
    assert_eq!(secret.credential("AWSCURRENT").await, pending);
    assert!(secret.opens("AWSCURRENT").await);
}

async fn the_previous_password_is_tried_last_and_then_the_superuser_may_help<O: Options>(options: O) {
    let world = world(options).await;
    let secret = world.user("app").await;
    let changed_as = async || {
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        let answer = secret.step("setSecret", &token).await.unwrap();
        secret.steps(&["testSecret", "finishSecret"], &token).await;
        assert!(secret.opens("AWSCURRENT").await);
        answer["changedAs"].clone()
    };
    // Somebody restored a backup: the database has the password of the version before.
    secret.rotated().await;
    let (_, previous) = secret.credential("AWSPREVIOUS").await;
    world.server.set_password("app", &previous).await;
    assert_eq!(changed_as().await, "previous");

    world.server.set_password("app", "changed by hand").await;
    let current = secret.at("AWSCURRENT").await;
    let error = secret.refused().await;
    // Where a server may block the user soon, not all versions are tried.
    let (code, way_out) = match world.server.fields()["engine"].as_str() {
        Some("mysql") => ("refused-too-often", "docs/runbooks/locked-out.md"),
        _ => ("locked-out", "superuserRescue"),
    };
    assert_eq!(error.error_type, code, "{error:?}");
    assert!(error.error_message.contains(way_out), "the way out is named: {error:?}");
    assert_eq!(secret.at("AWSCURRENT").await, current);

    // The superuser may help only where the secret says so.
    let superuser = world.superuser().await;
    let rescue = json!({"masterarn": superuser.arn, "rotation": {"superuserRescue": true}});
    secret.put(&merged(current, rescue)).await;
    assert_eq!(changed_as().await, "superuser");
    assert!(!world.opens("app", "changed by hand").await);
    // And where nothing is broken, it is not asked.
    assert_eq!(changed_as().await, "current");
}

async fn a_rescue_helps_only_users_that_a_password_would_help<O: Options<Server: Users>>(options: O) {
    let world = world(options).await;
    let superuser = world.superuser().await;
    let rescue = json!({"masterarn": superuser.arn, "rotation": {"superuserRescue": true}});
    world.server.create_user("app", &Password::random()).await;
    for (sql, code) in O::Server::beyond_rescue() {
        world.sql(sql).await;
        let secret = world.secret(merged(world.document("app", "unknown"), rescue.clone())).await;
        let error = secret.refused().await;
        // MySQL may pretend that a user that is not there has a plugin that nobody uses.
        let pretended =
            world.server.fields()["engine"] == "mysql" && error.error_message.contains("or the user does not exist");
        assert!(error.error_type == *code || pretended, "{sql}: {error:?}");
    }
    // The superuser's own user is not to be changed through its secret.
    let own = world.document(world.server.superuser().0, "unknown");
    let error = world.secret(merged(own, rescue)).await.refused().await;
    assert_eq!(error.error_type, "role-protected", "{error:?}");
}

/// RotateImmediately=false: testSecret alone, against a version without a value.
async fn attaching_without_rotating_tests_the_configuration<O: Options>(options: O) {
    let world = world(options).await;
    let secret = world.user("app").await;
    let before: Value = secret.at("AWSCURRENT").await;
    assert_eq!(secret.attached().await, RotationOutcome::Succeeded);
    assert_eq!(secret.at("AWSCURRENT").await, before);
    assert!(secret.opens("AWSCURRENT").await);

    world.server.set_password("app", "other").await;
    let outcome = format!("{:?}", secret.attached().await);
    assert!(outcome.contains("current-rejected"), "{outcome}");
}

/// The same for pairs.
async fn the_server_gets_hashes_and_its_log_no_password<O: Options<Server: Users>>(options: O) {
    let world = world(options.log_statements()).await;
    for strategy in world.server.strategies() {
        let secret = world.user_of(strategy, &format!("{strategy:?}").to_lowercase()).await;
        secret.rotated().await;
        secret.rotated().await;
        let log = world.server.log();
        assert!(log.contains(world.server.logged_change(strategy)), "{strategy:?}: the statement is logged");
        for label in ["AWSCURRENT", "AWSPREVIOUS"] {
            let (_, password) = secret.credential(label).await;
            assert!(!log.contains(&password), "{strategy:?}: {label}'s password is in the server's log");
        }
    }
}

impl Users for Postgres {
    fn counting(options: postgres::Options) -> postgres::Options {
        options
    }
    async fn refused_logins(&self) -> usize {
        self.log().matches("password authentication failed").count()
    }
    fn beyond_rescue() -> &'static [(&'static str, &'static str)] {
        &[
            ("ALTER ROLE app NOLOGIN PASSWORD 'other'", "role-unusable"),
            ("ALTER ROLE app LOGIN VALID UNTIL '2020-01-01'", "role-unusable"),
            ("ALTER ROLE app VALID UNTIL 'infinity' SUPERUSER", "role-protected"),
            ("ALTER ROLE app NOSUPERUSER; GRANT pg_write_server_files TO app", "role-protected"),
            ("REVOKE pg_write_server_files FROM app; DROP ROLE app", "role-missing"),
        ]
    }
    fn logged_change(&self, strategy: Strategy) -> &'static str {
        match strategy {
            Strategy::AlternatingUsers => "PASSWORD 'SCRAM-SHA-256$",
            _ => "ALTER ROLE \"singleuser\" PASSWORD 'SCRAM-SHA-256$",
        }
    }
}

impl Users for MySql {
    /// MySQL has no counter, as MariaDB has; what its log says of them needs this.
    fn counting(options: mysql::Options) -> mysql::Options {
        options.setting("loose_log_error_verbosity", "3")
    }
    async fn refused_logins(&self) -> usize {
        crate::mysql::refused_logins(self).await
    }
    fn beyond_rescue() -> &'static [(&'static str, &'static str)] {
        &[
            ("ALTER USER app ACCOUNT LOCK", "role-unusable"),
            ("ALTER USER app ACCOUNT UNLOCK; GRANT CREATE USER ON *.* TO app", "role-protected"),
            ("REVOKE CREATE USER ON *.* FROM app; GRANT UPDATE ON mysql.* TO app", "role-protected"),
            ("DROP USER app", "role-missing"),
        ]
    }
    fn logged_change(&self, strategy: Strategy) -> &'static str {
        match (strategy, self.kind()) {
            (Strategy::AlternatingUsers, _) => "ALTER USER",
            (_, Kind::MySql) => "RETAIN CURRENT PASSWORD",
            (_, Kind::MariaDb) => "SET PASSWORD = '*",
        }
    }
}
