//! A user whose password a superuser sets, always (`rotation.setPasswordAs`).

use integration_tests::failure::code;
use integration_tests::{Options, Server, World, at_rest, merged, world};
use lab::disturb::Fault;
use lab::servers::mysql::MySql;
use lab::servers::postgres::Postgres;
use serde_json::json;
use std::future::Future;

on! { (postgres, mysql, mariadb):
    the_user_itself_changes_nothing_and_tries_the_result;
    what_a_superuser_costs;
    a_run_again_after_a_superuser_finds_the_password_in_effect;
    a_user_who_cannot_log_in_from_here_keeps_its_password;
    a_password_that_is_in_no_version_is_replaced_as_in_a_rescue;
    a_superuser_sets_no_password_of_a_protected_user;
    a_crash_at_any_call_locks_nobody_out;
    a_superuser_that_may_not_set_the_password_says_what_it_needs;
}

/// In what servers differ here.
trait Setting: Server {
    /// Begins to note who sends which statement.
    fn note_statements(&self) -> impl Future<Output = ()>;
    /// What a user has sent since then.
    fn sent_by(&self, user: &str) -> impl Future<Output = Vec<String>>;
    /// Keeps the user `app` from logging in from here with a password that is right, and what the rotation says then.
    fn shut_out() -> (&'static str, &'static str);
    /// Makes the user `app` as powerful as a superuser.
    fn empower() -> &'static str;
    /// Takes from the user `setter` what lets it set passwords, and what the error then advises.
    fn disarm() -> (&'static str, &'static str);
    /// Whether the password before works on.
    fn keeps_previous(&self) -> bool;
}

async fn the_user_itself_changes_nothing_and_tries_the_result<O: Options<Server: Setting>>(options: O) {
    let world = world(options.log_statements()).await;
    let secret = world.user_set_by_superuser("app").await;
    world.server.note_statements().await;
    for _ in 0..2 {
        let (_, before) = secret.credential("AWSCURRENT").await;
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        let answer = secret.step("setSecret", &token).await.unwrap();
        assert_eq!(answer["changedAs"], "superuser", "{answer}");
        let previous = if world.server.keeps_previous() { "works" } else { "refused" };
        assert_eq!(answer["previousCredential"], previous, "{answer}");
        assert_eq!(world.opens("app", &before).await, world.server.keeps_previous());
        secret.steps(&["testSecret", "finishSecret"], &token).await;
        secret.arrived(&token).await;
    }
    let changes = |sent: &[String]| {
        let sent = sent.iter().flat_map(|sent| sent.split("; "));
        sent.filter(|one| one.starts_with("ALTER ") || one.starts_with("SET PASSWORD")).count()
    };
    let (own, other) = (world.server.sent_by("app").await, world.server.sent_by("setter").await);
    assert!(own.len() >= 6, "the user has logged in and tried the password: {own:#?}");
    assert_eq!(changes(&own), 0, "{own:#?}");
    assert_eq!(changes(&other), 2, "{other:#?}");
}

/// One connection more in setSecret: the user's, before the superuser's.
async fn what_a_superuser_costs<O: Options>(options: O) {
    let world = world(options).await;
    let secret = world.user_set_by_superuser("app").await;
    // The first rotation does not know yet which secret to read ahead.
    assert_eq!(world.costs(&secret).await, [(2, 4, 0), (2, 5, 2), (1, 3, 1), (3, 5, 1)]);
}

async fn a_run_again_after_a_superuser_finds_the_password_in_effect<O: Options<Server: Setting>>(options: O) {
    let world = world(options).await;
    let secret = world.user_set_by_superuser("app").await;
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    let pending = secret.credential("AWSPENDING").await;
    let again = if world.server.keeps_previous() { "changed" } else { "already-in-effect" };
    for (step, outcome) in [
        ("createSecret", "already-proposed"),
        ("setSecret", again),
        ("setSecret", again),
        ("testSecret", "verified"),
        ("finishSecret", "promoted"),
        ("finishSecret", "already-current"),
        ("setSecret", "already-current"),
    ] {
        assert_eq!(code(secret.step(step, &token).await), outcome, "{step}");
        assert!(secret.opens("AWSCURRENT").await || !world.server.keeps_previous(), "{step}");
    }
    assert_eq!(secret.credential("AWSCURRENT").await, pending);
    secret.arrived(&token).await;
    assert_eq!(secret.opens("AWSPREVIOUS").await, world.server.keeps_previous());
}

async fn a_user_who_cannot_log_in_from_here_keeps_its_password<O: Options<Server: Setting>>(options: O) {
    let world = world(options).await;
    let secret = world.user_set_by_superuser("app").await;
    let (shut_out, said) = O::Server::shut_out();
    world.sql(shut_out).await;
    let before = world.server.hashes().await;
    let error = secret.refused().await;
    // MySQL may pretend that a user who has no account for this host has a plugin that nobody uses.
    let pretended = error.error_message.contains("or the user does not exist");
    assert!(error.error_type == said || pretended, "{error:?}");
    assert_eq!(world.server.hashes().await, before);
}

async fn a_password_that_is_in_no_version_is_replaced_as_in_a_rescue<O: Options>(options: O) {
    let world = world(options).await;
    let secret = world.user_set_by_superuser("app").await;
    world.server.set_password("app", "changed by hand").await;
    let token = secret.rotated().await.token;
    secret.arrived(&token).await;
    assert!(!world.opens("app", "changed by hand").await);
}

async fn a_superuser_sets_no_password_of_a_protected_user<O: Options<Server: Setting>>(options: O) {
    let world = world(options).await;
    let secret = world.user_set_by_superuser("app").await;
    world.sql(O::Server::empower()).await;
    let before = world.server.hashes().await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "role-protected", "{error:?}");
    // The superuser's own user is not to be changed through its secret.
    let superuser = world.superuser().await;
    let (name, password) = world.server.superuser();
    let own = json!({"masterarn": superuser.arn, "rotation": {"setPasswordAs": "superuser"}});
    let own = world.secret(merged(world.document(name, password.expose()), own)).await;
    assert_eq!(own.refused().await.error_type, "role-protected");
    assert_eq!(world.server.hashes().await, before);
}

/// The process dies before and after each call of setSecret, and the step runs again.
async fn a_crash_at_any_call_locks_nobody_out<O: Options<Server: Setting>>(options: O) {
    let world = world(options).await;
    let secret = world.user_set_by_superuser("app").await;
    let mut kills = 0;
    for fault in [Fault::KillBefore, Fault::KillAfter] {
        for call in 1.. {
            let token = secret.registered().await;
            secret.steps(&["createSecret"], &token).await;
            world.lab.disturb().restart();
            world.lab.disturb().on_call(call, fault);
            let first = secret.step("setSecret", &token).await;
            at_rest(&world.lab).await;
            let fired = world.lab.disturb().fired() > 0;
            world.lab.disturb().restart();
            let (current, pending) = (secret.opens("AWSCURRENT").await, secret.opens("AWSPENDING").await);
            assert!(current || pending && !world.server.keeps_previous(), "{fault:?} at call {call}: {first:?}");
            secret.steps(&["setSecret", "testSecret", "finishSecret"], &token).await;
            secret.arrived(&token).await;
            if !fired {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills >= 16, "{kills} kills");
}

async fn a_superuser_that_may_not_set_the_password_says_what_it_needs<O: Options<Server: Setting>>(options: O) {
    let world = world(options).await;
    let secret = world.user_set_by_superuser("app").await;
    let (disarm, advice) = O::Server::disarm();
    world.sql(disarm).await;
    let before = world.server.hashes().await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "privilege-missing", "{error:?}");
    assert!(error.error_message.contains(advice) && error.error_message.contains("setter"), "{error:?}");
    assert_eq!(world.server.hashes().await, before);
    assert!(secret.opens("AWSCURRENT").await);
}

impl Setting for Postgres {
    async fn note_statements(&self) {}
    async fn sent_by(&self, user: &str) -> Vec<String> {
        // The log's lines begin with the time, the process and the user.
        let own = format!(" {user}@");
        let log = self.log();
        let statements = log.lines().filter(|line| line.contains(&own) && line.contains("statement:"));
        statements.filter_map(|line| line.split_once("statement: ")).map(|(_, sent)| sent.to_owned()).collect()
    }
    fn shut_out() -> (&'static str, &'static str) {
        (
            "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; GRANT CONNECT ON DATABASE postgres TO setter",
            "database-unusable",
        )
    }
    fn empower() -> &'static str {
        "GRANT pg_read_server_files TO app"
    }
    fn disarm() -> (&'static str, &'static str) {
        ("ALTER ROLE setter NOCREATEROLE", "GRANT app TO setter WITH ADMIN OPTION")
    }
    fn keeps_previous(&self) -> bool {
        false
    }
}

impl Setting for MySql {
    async fn note_statements(&self) {
        let tables = "SET GLOBAL log_output = 'TABLE'; TRUNCATE mysql.general_log; SET GLOBAL general_log = ON";
        Server::sql(self, tables).await;
    }
    async fn sent_by(&self, user: &str) -> Vec<String> {
        let sent = format!(
            "SELECT argument FROM mysql.general_log WHERE user_host LIKE '{user}[%' AND command_type = 'Query'"
        );
        self.ask(&sent).await
    }
    fn shut_out() -> (&'static str, &'static str) {
        ("RENAME USER app TO app@'10.%'", "login-forbidden")
    }
    fn empower() -> &'static str {
        "GRANT FILE ON *.* TO app"
    }
    fn disarm() -> (&'static str, &'static str) {
        ("REVOKE CREATE USER ON *.* FROM setter", "GRANT CREATE USER ON *.* TO")
    }
    fn keeps_previous(&self) -> bool {
        self.kind() == lab::servers::mysql::Kind::MySql
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_postgresql_16_on_a_superuser_needs_the_admin_option() {
    use lab::servers::postgres::Version;
    let world = World::on(Version::V18).await;
    let secret = world.user_set_by_superuser("app").await;
    world.sql("REVOKE app FROM setter").await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "privilege-missing", "{error:?}");
    assert!(error.error_message.contains("GRANT app TO setter WITH ADMIN OPTION"), "{error:?}");
    // What the error says leads out.
    world.sql("GRANT app TO setter WITH ADMIN OPTION").await;
    let token = secret.rotated().await.token;
    secret.arrived(&token).await;
}
