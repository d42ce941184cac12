//! Two users that take turns.

use super::refused_logins;
use integration_tests::malformed::{marked, refused};
use integration_tests::{STEPS, Secret, Server as _, World, merged};
use lab::secretsmanager::RotationOutcome;
use lab::servers::Password;
use lab::servers::mysql::{Kind, MySql, Options, Tls, literal};
use mysql_async::prelude::Queryable as _;
use serde_json::{Value, json};
use std::time::Duration;

on_each_kind! {
    the_clone_gets_what_the_base_has_and_loses_what_it_lost;
    what_the_clone_has_on_its_own_it_loses_at_its_turn;
    both_users_go_on_using_what_either_of_them_made;
    limits_and_requirements_of_a_clone_in_use_wait_for_its_turn;
    a_difference_after_set_is_found_by_test;
    all_accounts_of_a_name_take_their_turn_together;
    the_normal_path_costs_what_it_has_to;
    a_partner_that_nothing_proves_is_not_touched;
    a_clone_whose_history_is_lost_is_not_cloned_again;
    a_pair_of_awss_function_goes_on;
    users_that_cannot_or_must_not_be_rotated_so_are_refused_untouched;
    what_the_function_could_not_log_in_to_is_refused_untouched;
    a_superuser_that_lacks_a_privilege_is_told_which;
    names_may_have_any_character;
    without_tls_a_pair_rotates_all_the_same;
}

/// What a user may do, account by account, with its name taken out: what SHOW GRANTS says, limits, TLS, plugin, lock.
async fn abilities(world: &World<MySql>, user: &str) -> Vec<String> {
    let hosts = world.ask(&format!("SELECT Host FROM mysql.user WHERE User = {} ORDER BY Host", literal(user))).await;
    let mut abilities = Vec::new();
    for host in hosts {
        let account = format!("{}@{}", literal(user), literal(&host));
        let mut grants = world.ask(&format!("SHOW GRANTS FOR {account}")).await;
        grants.extend(world.ask(&format!("SHOW CREATE USER {account}")).await);
        for line in &mut grants {
            // The hash is another, as the password is.
            for start in [" AS '", " USING '", " IDENTIFIED BY PASSWORD '"] {
                if let Some((before, after)) = line.clone().split_once(start) {
                    // A salt of the server's own can have a quote in it.
                    let end = after.find("' REQUIRE").or_else(|| after.find('\''));
                    let after = end.and_then(|end| after.get(end + 1..)).unwrap_or_default();
                    *line = format!("{before}{start}…'{after}");
                }
            }
            *line = line.replace(&format!("`{user}`"), "`…`").replace(&format!("'{user}'@"), "'…'@");
        }
        grants.sort();
        abilities.push(format!("{host}: {}", grants.join("\n  ")));
    }
    abilities
}

/// Rotates until it was the clone's turn, and compares.
async fn clone_is_alike(world: &World<MySql>, secret: &Secret<'_, MySql>, base: &str, clone: &str, at: &str) {
    loop {
        secret.rotated().await;
        if secret.credential("AWSCURRENT").await.0 == clone {
            break;
        }
    }
    assert_eq!(abilities(world, clone).await, abilities(world, base).await, "{at}");
    assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await, "{at}");
}

async fn shop(world: &World<MySql>) {
    world
        .sql(
            "CREATE DATABASE shop; CREATE DATABASE `s_p%`; CREATE TABLE shop.orders (id INT, note TEXT); \
             CREATE PROCEDURE shop.tidy() SELECT 1; CREATE FUNCTION shop.one() RETURNS INT DETERMINISTIC RETURN 1; \
             CREATE ROLE readers; GRANT SELECT ON shop.orders TO readers; CREATE ROLE writers",
        )
        .await;
}

async fn the_clone_gets_what_the_base_has_and_loses_what_it_lost(kind: Kind) {
    // Some of these rights are a superuser's.
    let options = Options::default().kind(kind);
    let world = World::mysql_with(options, |function| function.env("ALLOW_POWERFUL_ROLES", "true")).await;
    shop(&world).await;
    let secret = world.alternating_user("app").await;
    let default_role = |role: &str| match kind {
        Kind::MySql => format!("SET DEFAULT ROLE {role} TO app"),
        Kind::MariaDb => format!("SET DEFAULT ROLE {role} FOR app"),
    };
    let mut changes = vec![
        "DO 0".to_owned(),
        "GRANT PROCESS, RELOAD ON *.* TO app".to_owned(),
        "GRANT SELECT, INSERT ON shop.* TO app WITH GRANT OPTION".to_owned(),
        "GRANT SELECT ON `s\\_p\\%`.* TO app; GRANT DELETE ON `s_p%`.* TO app".to_owned(),
        "GRANT SELECT (id, note), UPDATE (note) ON shop.orders TO app; GRANT DROP ON shop.orders TO app".to_owned(),
        "GRANT EXECUTE ON PROCEDURE shop.tidy TO app; GRANT EXECUTE, ALTER ROUTINE ON FUNCTION shop.one TO app"
            .to_owned(),
        "GRANT readers TO app; GRANT writers TO app WITH ADMIN OPTION".to_owned(),
        default_role("readers"),
        "ALTER USER app REQUIRE SSL WITH MAX_QUERIES_PER_HOUR 1000 MAX_USER_CONNECTIONS 7".to_owned(),
        "ALTER USER app PASSWORD EXPIRE INTERVAL 90 DAY".to_owned(),
        "CREATE USER other; GRANT PROXY ON other TO app".to_owned(),
        "REVOKE RELOAD ON *.* FROM app; REVOKE INSERT, GRANT OPTION ON shop.* FROM app".to_owned(),
        "REVOKE UPDATE (note) ON shop.orders FROM app; REVOKE SELECT (id) ON shop.orders FROM app".to_owned(),
        "REVOKE ALTER ROUTINE ON FUNCTION shop.one FROM app; REVOKE ALL ON `s_p%`.* FROM app".to_owned(),
        default_role("NONE"),
        "REVOKE ADMIN OPTION FOR writers FROM app".to_owned(),
        "REVOKE readers FROM app".to_owned(),
        "REVOKE PROXY ON other FROM app".to_owned(),
        "ALTER USER app REQUIRE NONE WITH MAX_QUERIES_PER_HOUR 0 MAX_USER_CONNECTIONS 0".to_owned(),
        "ALTER USER app PASSWORD EXPIRE DEFAULT".to_owned(),
    ];
    if kind == Kind::MySql {
        // MySQL takes back a role whole.
        changes.retain(|sql| !sql.starts_with("REVOKE ADMIN OPTION"));
        changes.extend(
            [
                "GRANT CONNECTION_ADMIN ON *.* TO app; GRANT BACKUP_ADMIN ON *.* TO app WITH GRANT OPTION",
                "REVOKE CONNECTION_ADMIN ON *.* FROM app",
                "ALTER USER app COMMENT 'the shop''s'",
                "ALTER USER app ATTRIBUTE '{\"team\": \"blue\"}'",
                "ALTER USER app PASSWORD HISTORY 4 PASSWORD REUSE INTERVAL 30 DAY PASSWORD REQUIRE CURRENT",
                "ALTER USER app FAILED_LOGIN_ATTEMPTS 5 PASSWORD_LOCK_TIME 2",
                "SET GLOBAL partial_revokes = ON; GRANT SELECT ON *.* TO app; REVOKE SELECT ON shop.* FROM app",
            ]
            .map(str::to_owned),
        );
    }
    for sql in &changes {
        if kind == Kind::MySql && sql.starts_with("SET GLOBAL partial_revokes") {
            // Where there are partial revokes, schema names are no patterns; and a schema privilege hides the restriction.
            world.sql("REVOKE ALL ON `s\\_p\\%`.* FROM app; REVOKE ALL ON shop.* FROM app").await;
        }
        world.sql(sql).await;
        clone_is_alike(&world, &secret, "app", "app_clone", &format!("{kind}: {sql}")).await;
    }
}

/// While the clone is in use it goes on doing what it may do, and gets what is new at the base.
async fn what_the_clone_has_on_its_own_it_loses_at_its_turn(kind: Kind) {
    let world = World::of(kind).await;
    shop(&world).await;
    let secret = world.alternating_user("app").await;
    world.sql("GRANT SELECT, DELETE ON shop.* TO app; GRANT readers TO app; CREATE USER other").await;
    let default_role = |role: &str, user: &str| match kind {
        Kind::MySql => format!("SET DEFAULT ROLE {role} TO {user}"),
        Kind::MariaDb => format!("SET DEFAULT ROLE {role} FOR {user}"),
    };
    world.sql(&default_role("readers", "app")).await;
    secret.rotated().await;
    world
        .sql(
            "GRANT INSERT ON shop.* TO app_clone WITH GRANT OPTION; GRANT RELOAD ON *.* TO app_clone; \
             GRANT writers TO app_clone WITH ADMIN OPTION; CREATE USER third; GRANT PROXY ON third TO app_clone; \
             GRANT EXECUTE ON PROCEDURE shop.tidy TO app_clone; GRANT UPDATE ON shop.orders TO app_clone; \
             REVOKE DELETE ON shop.* FROM app; REVOKE readers FROM app; GRANT writers TO app; \
             GRANT PROXY ON other TO app; GRANT EXECUTE ON FUNCTION shop.one TO app",
        )
        .await;
    world.sql(&default_role("writers", "app")).await;
    let grants = async || world.ask("SHOW GRANTS FOR app_clone").await;
    let before = grants().await;
    let (clone, password) = secret.credential("AWSCURRENT").await;
    secret.rotated().await;
    let mut during = grants().await;
    if kind == Kind::MySql {
        // MySQL shows all roles in one line.
        during = during.iter().map(|line| line.replace("`readers`@`%`,`writers`@`%`", "`readers`@`%`")).collect();
    }
    let kept = before.iter().all(|line| during.contains(line) || line.contains("writers") || line.contains("PASSWORD"));
    assert!(kept, "{kind}: {before:#?} {during:#?}");
    assert!(during.iter().any(|line| line.contains("FUNCTION `shop`.`one`")), "{kind}: {during:?}");
    assert!(world.opens(&clone, &password).await, "{kind}");
    secret.rotated().await;
    assert_eq!(abilities(&world, "app_clone").await, abilities(&world, "app").await, "{kind}");
}

/// The server lets whoever makes a routine execute and change it, and nobody else.
async fn both_users_go_on_using_what_either_of_them_made(kind: Kind) {
    let world = World::of(kind).await;
    shop(&world).await;
    let secret = world.alternating_user("app").await;
    world
        .sql(
            "GRANT CREATE ROUTINE, CREATE VIEW, SELECT, INSERT, TRIGGER, EVENT ON shop.* TO app; \
             CREATE TABLE shop.log (id INT); CREATE TABLE shop.seen_app (id INT); CREATE TABLE shop.seen_app_clone (id INT)",
        )
        .await;
    let session = async |credential: &(String, String)| {
        world.server.connect(&credential.0, &Password::from(credential.1.as_str()), None).await.unwrap()
    };
    // What a consumer of this credential can do with everything that was made so far.
    let works = async |credential: &(String, String), made: &[String], at: &str| {
        let mut session = session(credential).await;
        for user in made {
            for sql in [
                format!("CALL shop.call_{user}()"),
                format!("SELECT shop.read_{user}()"),
                format!("SELECT * FROM shop.view_{user}"),
                format!("INSERT INTO shop.seen_{user} VALUES (1)"),
                format!("ALTER PROCEDURE shop.call_{user} COMMENT '{at}'"),
            ] {
                let done = session.query_drop(&sql).await;
                assert!(done.is_ok(), "{kind}, {at}, as {}: {sql}: {done:?}", credential.0);
            }
        }
    };
    let mut made = Vec::new();
    // Each of the two makes objects while it is in use; then each of them takes another two turns.
    for turn in 0..6 {
        let current = secret.credential("AWSCURRENT").await;
        let user = current.0.clone();
        if turn < 2 {
            let mut session = session(&current).await;
            for sql in [
                format!("CREATE PROCEDURE shop.call_{user}() SELECT COUNT(*) FROM shop.log"),
                format!("CREATE FUNCTION shop.read_{user}() RETURNS INT DETERMINISTIC RETURN 1"),
                format!("CREATE VIEW shop.view_{user} AS SELECT shop.read_{user}() AS one"),
                format!(
                    "CREATE TRIGGER shop.trigger_{user} BEFORE INSERT ON shop.seen_{user} FOR EACH ROW \
                     INSERT INTO shop.log VALUES (shop.read_{user}())"
                ),
                format!("CREATE EVENT shop.event_{user} ON SCHEDULE EVERY 1 SECOND DO INSERT INTO shop.log VALUES (2)"),
            ] {
                session.query_drop(&sql).await.expect(&sql);
            }
            made.push(user);
        }
        works(&current, &made, "before").await;
        let token = secret.registered().await;
        for step in STEPS {
            secret.steps(&[step], &token).await;
            works(&current, &made, step).await;
        }
        let promoted = secret.credential("AWSCURRENT").await;
        works(&promoted, &made, "after").await;
    }
    assert_eq!(abilities(&world, "app_clone").await, abilities(&world, "app").await, "{kind}");
    // Events run as the user that made them.
    world.sql("SET GLOBAL event_scheduler = ON").await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for user in &made {
        let ran = format!(
            "SELECT LAST_EXECUTED IS NOT NULL FROM information_schema.EVENTS WHERE EVENT_NAME = 'event_{user}'"
        );
        assert_eq!(world.ask(&ran).await, ["1"], "{kind}: {user}");
    }
    assert!(world.ask("SELECT COUNT(*) >= 2 FROM shop.log WHERE id = 2").await == ["1"], "{kind}");
    // A person's REVOKE from the base reaches the clone at its turn.
    world.sql("REVOKE EXECUTE ON PROCEDURE shop.call_app_clone FROM app").await;
    assert_eq!(secret.credential("AWSCURRENT").await.0, "app", "{kind}");
    clone_is_alike(&world, &secret, "app", "app_clone", &format!("{kind}, revoked")).await;
    let mut clone = session(&secret.credential("AWSCURRENT").await).await;
    assert!(clone.query_drop("CALL shop.call_app_clone()").await.is_err(), "{kind}");
}

/// A limit, or a requirement that consumers do not fulfil, would refuse them in the middle of a rotation that is not theirs.
async fn limits_and_requirements_of_a_clone_in_use_wait_for_its_turn(kind: Kind) {
    let world = World::of(kind).await;
    let secret = world.alternating_user("app").await;
    secret.rotated().await;
    world.sql("ALTER USER app REQUIRE SSL WITH MAX_USER_CONNECTIONS 5").await;
    let limits = "SELECT DISTINCT max_user_connections FROM mysql.user WHERE User = 'app_clone'";
    secret.rotated().await;
    assert_eq!(world.ask(limits).await, ["0"], "{kind}: the clone was in use");
    secret.rotated().await;
    assert_eq!(world.ask(limits).await, ["5"], "{kind}: it was its turn");
    assert_eq!(abilities(&world, "app_clone").await, abilities(&world, "app").await, "{kind}");
}

/// Several servers can share a host, behind a tunnel or a balancer.
#[tokio::test]
async fn a_version_about_another_port_proves_no_pair() {
    let world = World::mysql().await;
    let superuser = world.superuser().await;
    let stranger = Password::random();
    world.server.create_user("app_clone", &stranger).await.unwrap();
    let elsewhere = merged(world.document("app_clone", "other"), json!({"port": 1, "masterarn": superuser.arn}));
    let secret = world.secret(elsewhere).await;
    let password = Password::random();
    world.server.create_user("app", &password).await.unwrap();
    secret.put(&merged(world.document("app", password.expose()), json!({"masterarn": superuser.arn}))).await;
    assert_eq!(secret.refused().await.error_type, "pair-unproven");
    assert!(world.opens("app_clone", stranger.expose()).await);
}

async fn a_difference_after_set_is_found_by_test(kind: Kind) {
    let world = World::of(kind).await;
    shop(&world).await;
    let secret = world.alternating_user("app").await;
    world.sql("GRANT SELECT ON shop.* TO app").await;
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    world.sql("REVOKE SELECT ON shop.* FROM app_clone").await;
    let error = secret.step("testSecret", &token).await.unwrap_err();
    assert_eq!(error.error_type, "privileges-differ", "{error:?}");
    assert!(error.error_message.contains("SELECT"), "{error:?}");
    secret.steps(&["setSecret", "testSecret", "finishSecret"], &token).await;
}

async fn all_accounts_of_a_name_take_their_turn_together(kind: Kind) {
    let world = World::of(kind).await;
    shop(&world).await;
    let secret = world.alternating_user("app").await;
    let (_, password) = secret.credential("AWSCURRENT").await;
    for (host, privilege) in [("10.%", "INSERT"), ("127.0.0.1", "SELECT")] {
        let account = format!("app@'{host}'");
        world.sql(&format!("CREATE USER {account} IDENTIFIED BY '{password}'")).await;
        world.sql(&format!("GRANT {privilege} ON shop.* TO {account}")).await;
    }
    clone_is_alike(&world, &secret, "app", "app_clone", &format!("{kind}")).await;
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await, "{kind}");
    world.sql("DROP USER app@'10.%'").await;
    clone_is_alike(&world, &secret, "app", "app_clone", &format!("{kind}, one account less")).await;
    let hosts = world.ask("SELECT Host FROM mysql.user WHERE User = 'app_clone' ORDER BY Host").await;
    assert_eq!(hosts, ["%", "127.0.0.1"], "{kind}");
}

async fn the_normal_path_costs_what_it_has_to(kind: Kind) {
    let options = Options::default().kind(kind);
    let options = if kind == Kind::MySql { options.setting("log_error_verbosity", "3") } else { options };
    let world = World::mysql_with(options, |function| function).await;
    let superuser = world.superuser().await;
    world.server.create_user("blue", &Password::random()).await.unwrap();
    let more = json!({"masterarn": superuser.arn, "rotation": {"users": ["blue", "green"]}});
    let password = Password::random();
    world.sql(&format!("ALTER USER blue IDENTIFIED BY '{}'", password.expose())).await;
    let secret = world.secret(merged(world.document("blue", password.expose()), more)).await;
    secret.rotated().await;
    let before = refused_logins(&world.server).await;
    // One more connection in test: the superuser's, for nothing but the comparison.
    for _ in 0..2 {
        let costs = world.costs(&secret).await;
        let without_totals: Vec<_> = costs.iter().map(|(path, _, connections)| (*path, *connections)).collect();
        assert_eq!(without_totals, [(2, 0), (2, 1), (1, 2), (3, 1)], "{kind}: {costs:?}");
    }
    assert_eq!(refused_logins(&world.server).await, before, "{kind}");
}

async fn a_partner_that_nothing_proves_is_not_touched(kind: Kind) {
    let world = World::of(kind).await;
    let secret = world.alternating_user("app").await;
    let stranger = Password::random();
    world.server.create_user("app_clone", &stranger).await.unwrap();
    // Many users have the same privileges.
    world.sql("CREATE DATABASE shop; GRANT SELECT ON shop.* TO app, app_clone").await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "pair-unproven", "{kind}: {error:?}");
    assert!(world.opens("app_clone", stranger.expose()).await, "{kind}");
    assert!(secret.opens("AWSCURRENT").await, "{kind}");
    // Named, they are a pair.
    let named = json!({"rotation": {"users": ["app", "app_clone"]}});
    secret.put(&merged(secret.at("AWSCURRENT").await, named)).await;
    secret.rotated().await;
    assert!(!world.opens("app_clone", stranger.expose()).await, "{kind}");
    // A user that is called x_clone and has no x: its partner is x_clone_clone.
    let odd = world.alternating_user("odd_clone").await;
    odd.rotated().await;
    assert_eq!(odd.credential("AWSCURRENT").await.0, "odd_clone_clone", "{kind}");
}

/// Cloned again, the clone would leave its original with a password that no rotation changes any more.
async fn a_clone_whose_history_is_lost_is_not_cloned_again(kind: Kind) {
    let world = World::of(kind).await;
    let secret = world.alternating_user("app").await;
    secret.rotated().await;
    // The base was in no version that is left.
    let secret = world.secret(secret.at("AWSCURRENT").await).await;
    secret.put(&secret.at("AWSCURRENT").await).await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "pair-unproven", "{kind}: {error:?}");
    assert_eq!(world.ask("SELECT User FROM mysql.user WHERE User = 'app_clone_clone'").await, [""; 0], "{kind}");
    assert!(secret.opens("AWSCURRENT").await, "{kind}");
    let named = json!({"rotation": {"users": ["app", "app_clone"]}});
    secret.put(&merged(secret.at("AWSCURRENT").await, named)).await;
    for user in ["app", "app_clone"] {
        secret.rotated().await;
        assert_eq!(secret.credential("AWSCURRENT").await.0, user, "{kind}");
    }
}

/// What AWS's function has left: a clone with some of the grants, and two versions that show the pair.
async fn a_pair_of_awss_function_goes_on(kind: Kind) {
    let world = World::of(kind).await;
    shop(&world).await;
    let superuser = world.superuser().await;
    let document = async |user: &str| {
        let password = Password::random();
        world.server.create_user(user, &password).await.unwrap();
        merged(world.document(user, password.expose()), json!({"masterarn": superuser.arn}))
    };
    let (clone, base) = (document("app_clone").await, document("app").await);
    world.sql("GRANT SELECT ON shop.* TO app, app_clone; GRANT INSERT ON shop.* TO app").await;
    let secret = world.secret(clone).await;
    secret.put(&base).await;
    clone_is_alike(&world, &secret, "app", "app_clone", &format!("{kind}")).await;
    secret.rotated().await;
}

async fn users_that_cannot_or_must_not_be_rotated_so_are_refused_untouched(kind: Kind) {
    let world = World::of(kind).await;
    shop(&world).await;
    let (password_table, own_to_it, harmless) = match kind {
        Kind::MySql => (
            "GRANT SELECT (authentication_string) ON mysql.user TO app",
            &[
                "GRANT SELECT ON mysql.user TO app",
                "GRANT BACKUP_ADMIN ON *.* TO app",
                "GRANT CLONE_ADMIN ON *.* TO app",
                "GRANT ROLE_ADMIN ON *.* TO app",
                "GRANT SYSTEM_USER ON *.* TO app",
                "GRANT SET_ANY_DEFINER ON *.* TO app",
                "GRANT ALLOW_NONEXISTENT_DEFINER ON *.* TO app",
                "GRANT PERSIST_RO_VARIABLES_ADMIN ON *.* TO app",
                "GRANT SENSITIVE_VARIABLES_OBSERVER ON *.* TO app",
                "CREATE ROLE copier; GRANT BACKUP_ADMIN ON *.* TO copier; GRANT copier TO app",
            ][..],
            &[
                "GRANT PROCESS, RELOAD, REPLICATION CLIENT, SHOW DATABASES ON *.* TO app",
                "GRANT CONNECTION_ADMIN, XA_RECOVER_ADMIN ON *.* TO app",
                "GRANT SELECT (User, Host) ON mysql.user TO app; GRANT SELECT ON mysql.time_zone TO app",
                "SET GLOBAL partial_revokes = ON; GRANT SELECT ON *.* TO app; REVOKE SELECT ON mysql.* FROM app",
            ][..],
        ),
        Kind::MariaDb => (
            "GRANT SELECT ON mysql.global_priv TO app",
            &[
                "GRANT PROCESS ON *.* TO app",
                "GRANT BINLOG MONITOR ON *.* TO app",
                "GRANT SLAVE MONITOR ON *.* TO app",
                "GRANT CONNECTION ADMIN ON *.* TO app",
                "GRANT SET USER ON *.* TO app",
                "GRANT BINLOG REPLAY ON *.* TO app",
                "CREATE ROLE watcher; GRANT PROCESS ON *.* TO watcher; GRANT watcher TO app",
                "GRANT SELECT ON performance_schema.* TO app",
                "GRANT SELECT ON performance_schema.events_statements_current TO app",
            ][..],
            &[
                "GRANT RELOAD, SHOW DATABASES, LOCK TABLES ON *.* TO app",
                "GRANT READ_ONLY ADMIN ON *.* TO app",
                "GRANT SELECT ON performance_schema.accounts TO app",
                "GRANT SELECT ON mysql.proc TO app; GRANT SELECT ON mysql.time_zone TO app",
            ][..],
        ),
    };
    let refused = [
        ("ALTER USER app ACCOUNT LOCK", "role-unusable"),
        ("GRANT CREATE USER ON *.* TO app", "role-protected"),
        ("GRANT SELECT ON *.* TO app WITH GRANT OPTION", "role-protected"),
        ("GRANT UPDATE ON mysql.* TO app", "role-protected"),
        ("ALTER USER app REQUIRE X509", "authentication-unsupported"),
        ("ALTER USER app REQUIRE SUBJECT '/CN=app' AND ISSUER '/CN=ca'", "authentication-unsupported"),
        ("GRANT INSERT, UPDATE ON *.* TO app", "role-protected"),
        // On MariaDB, a default for a column of global_priv makes superusers.
        ("GRANT ALTER ON *.* TO app", "role-protected"),
        ("GRANT DROP ON `mysq_`.* TO app", "role-protected"),
        ("GRANT SUPER ON *.* TO app", "role-protected"),
        ("GRANT SELECT ON *.* TO app", "role-protected"),
        ("GRANT SELECT ON mysql.* TO app", "role-protected"),
        (password_table, "role-protected"),
        ("GRANT REPLICATION SLAVE ON *.* TO app", "role-protected"),
        ("GRANT FILE ON *.* TO app", "role-protected"),
        ("CREATE ROLE mighty; GRANT CREATE USER ON *.* TO mighty; GRANT mighty TO app", "role-protected"),
        ("DROP USER app", "role-missing"),
    ];
    for (sql, code) in refused.into_iter().chain(own_to_it.iter().map(|sql| (*sql, "role-protected"))) {
        world.sql("DROP USER IF EXISTS app; DROP USER IF EXISTS app_clone").await;
        let secret = world.alternating_user("app").await;
        world.sql(sql).await;
        let error = secret.refused().await;
        assert_eq!(error.error_type, code, "{kind}: {sql}: {error:?}");
        let clones = world.ask("SELECT 1 FROM mysql.user WHERE User = 'app_clone'").await;
        assert!(clones.is_empty(), "{kind}: {sql}");
    }
    // What reaches no password and no file is no power.
    for sql in harmless {
        world.sql("DROP USER IF EXISTS app; DROP USER IF EXISTS app_clone").await;
        let secret = world.alternating_user("app").await;
        world.sql(sql).await;
        clone_is_alike(&world, &secret, "app", "app_clone", sql).await;
    }
    // Neither of a pair may be the superuser itself.
    let own = world.server.superuser().to_owned();
    world.sql("DROP USER IF EXISTS app; DROP USER IF EXISTS app_clone").await;
    let pair = json!({"rotation": {"users": ["app", own]}});
    let secret = world.alternating_user("app").await;
    secret.put(&merged(secret.at("AWSCURRENT").await, pair)).await;
    assert_eq!(secret.refused().await.error_type, "role-protected", "{kind}");
    // The deployer may allow it.
    let options = Options::default().kind(kind);
    let world = World::mysql_with(options, |function| function.env("ALLOW_POWERFUL_ROLES", "true")).await;
    let secret = world.alternating_user("app").await;
    world.sql("GRANT CREATE USER ON *.* TO app WITH GRANT OPTION").await;
    clone_is_alike(&world, &secret, "app", "app_clone", &format!("{kind}, allowed")).await;
}

/// A password alone does not open such an account for the function.
async fn what_the_function_could_not_log_in_to_is_refused_untouched(kind: Kind) {
    let world = World::mysql_with(Options::default().kind(kind).tls(Tls::Offered), |function| function).await;
    let (name, password) = (world.server.superuser(), world.server.superuser_password());
    let superuser = |more: Value| merged(world.document(name, password.expose()), more);
    // rustls and the servers agree on TLS 1.3 with this one.
    let own = "TLS_AES_256_GCM_SHA384";
    let cases = [
        (format!("CIPHER '{own}'"), json!({}), (kind == Kind::MySql).then_some("authentication-unsupported")),
        ("CIPHER 'ECDHE-RSA-AES128-GCM-SHA256'".to_owned(), json!({}), Some("authentication-unsupported")),
        (format!("ISSUER '/CN=ca' AND CIPHER '{own}'"), json!({}), Some("authentication-unsupported")),
        ("X509".to_owned(), json!({}), Some("authentication-unsupported")),
        ("SSL".to_owned(), json!({}), None),
        ("SSL".to_owned(), json!({"ssl": false}), Some("tls-required")),
        (format!("CIPHER '{own}'"), json!({"ssl": false}), Some("tls-required")),
    ];
    for (index, (require, ssl, code)) in cases.into_iter().enumerate() {
        let at = format!("{kind}: {require}, {ssl}");
        let superuser = world.secret(superuser(ssl.clone())).await;
        let pair = merged(ssl.clone(), json!({"masterarn": superuser.arn}));
        let secret = world.user_with(&format!("pair{index}"), pair.clone()).await;
        world.sql(&format!("ALTER USER pair{index} REQUIRE {require}")).await;
        // A rescue, because the password is another one.
        let rescued = merged(pair, json!({"rotation": {"superuserRescue": true}}));
        let rescue = world.user_with(&format!("one{index}"), rescued).await;
        world.sql(&format!("ALTER USER one{index} IDENTIFIED BY 'by hand' REQUIRE {require}")).await;
        let before = world.server.hashes().await;
        for secret in [&secret, &rescue] {
            let Some(code) = code else {
                for _ in 0..2 {
                    secret.rotated().await;
                }
                continue;
            };
            let error = secret.refused().await;
            assert_eq!(error.error_type, code, "{at}: {error:?}");
            assert_eq!(world.server.hashes().await, before, "{at}");
        }
    }
}

async fn a_superuser_that_lacks_a_privilege_is_told_which(kind: Kind) {
    let world = World::of(kind).await;
    shop(&world).await;
    let weak = world.user("weak").await;
    let secret = world.user_with("app", json!({"masterarn": weak.arn})).await;
    world.sql("GRANT SELECT ON shop.* TO app").await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "privilege-missing", "{kind}: {error:?}");
    assert!(error.error_message.contains("SELECT on the schema mysql"), "{kind}: {error:?}");
    world.sql("GRANT SELECT ON mysql.* TO weak; GRANT CREATE USER ON *.* TO weak").await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "privilege-missing", "{kind}: {error:?}");
    assert!(error.error_message.contains("weak") && error.error_message.contains("shop"), "{kind}: {error:?}");
    assert!(secret.opens("AWSCURRENT").await, "{kind}");
    world.sql("GRANT SELECT ON shop.* TO weak WITH GRANT OPTION").await;
    secret.rotated().await;
    assert_eq!(secret.attached().await, RotationOutcome::Succeeded, "{kind}");
}

async fn names_may_have_any_character(kind: Kind) {
    let options = Options::default().kind(kind).setting("sql_mode", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES");
    let world = World::mysql_with(options, |function| function.env("EXCLUDE_CHARACTERS", "")).await;
    for name in ["o'brien", "a\"b", "back\\slash", "per%cent_x", "ba`ck@tick", "'; DROP USER x; --", "Größe"] {
        let secret = world.alternating_user(name).await;
        for _ in 0..3 {
            secret.rotated().await;
            assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await, "{kind}: {name}");
        }
    }
}

#[tokio::test]
async fn the_clones_name_has_the_servers_limit_or_the_deployers() {
    let world = World::mysql_with(Options::default(), |function| function.env("USERNAME_CHARACTER_LIMIT", "16")).await;
    for (length, limit) in [(11, "16"), (10, "")] {
        let secret = world.alternating_user(&"x".repeat(length)).await;
        if limit.is_empty() {
            secret.rotated().await;
        } else {
            let error = secret.refused().await;
            assert_eq!(error.error_type, "name-too-long", "{error:?}");
            assert!(error.error_message.contains(limit), "{error:?}");
        }
    }
    let world = World::mysql().await;
    assert_eq!(world.alternating_user(&"x".repeat(27)).await.refused().await.error_type, "name-too-long");
    world.alternating_user(&"x".repeat(26)).await.rotated().await;
    let world = World::mariadb().await;
    world.alternating_user(&"x".repeat(74)).await.rotated().await;
    assert_eq!(world.alternating_user(&"x".repeat(75)).await.refused().await.error_type, "name-too-long");
}

/// A superuser sends hashes, which nobody can log in with.
async fn without_tls_a_pair_rotates_all_the_same(kind: Kind) {
    let world = World::mysql_with(Options::default().kind(kind).tls(Tls::Off), |function| function).await;
    let (user, password) = (world.server.superuser(), world.server.superuser_password());
    let plaintext = json!({"ssl": false});
    let superuser = world.secret(merged(world.document(user, password.expose()), plaintext.clone())).await;
    let secret = world.user_with("app", merged(plaintext, json!({"masterarn": superuser.arn}))).await;
    for _ in 0..3 {
        secret.rotated().await;
        assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await, "{kind}");
    }
}

#[tokio::test]
async fn mariadbs_ed25519_is_kept_and_so_is_its_password_validation() {
    let world = World::mariadb().await;
    let superuser = world.superuser().await;
    world.sql("INSTALL SONAME 'auth_ed25519'; INSTALL SONAME 'simple_password_check'").await;
    let password = format!("a1-{}", Password::random().expose());
    world.sql(&format!("CREATE USER app IDENTIFIED VIA ed25519 USING PASSWORD('{password}')")).await;
    let secret = world.secret(merged(world.document("app", &password), json!({"masterarn": superuser.arn}))).await;
    for _ in 0..3 {
        secret.rotated().await;
        assert_eq!(secret.attached().await, RotationOutcome::Succeeded);
        let plugins = "SELECT DISTINCT plugin FROM mysql.user WHERE User IN ('app', 'app_clone')";
        assert_eq!(world.ask(plugins).await, ["ed25519"]);
    }
    world.sql("SET GLOBAL simple_password_check_minimal_length = 64").await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "password-refused", "{error:?}");
}

/// The secondary password of an account, from a time when it was rotated alone, does not outlive its turns.
#[tokio::test]
async fn a_pair_of_mysql_has_one_password_each() {
    let world = World::mysql().await;
    let secret = world.alternating_user("app").await;
    world.sql("ALTER USER app IDENTIFIED BY 'second' RETAIN CURRENT PASSWORD").await;
    let (_, first) = secret.credential("AWSCURRENT").await;
    for _ in 0..2 {
        secret.rotated().await;
    }
    assert_eq!(secret.credential("AWSCURRENT").await.0, "app");
    assert!(!world.opens("app", &first).await && !world.opens("app", "second").await);
    assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await);
}

/// Secrets that RDS manages are like this. Over TLS the server may ask for the password itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_superuser_secret_without_an_address_is_sent_nowhere() {
    let world = World::mysql().await;
    let (user, password) = (world.server.superuser(), marked());
    let superuser = world.secret(json!({"username": user, "password": password})).await;
    let secret = world.user_with("unproven", json!({"masterarn": superuser.arn})).await;
    let (error, step) = refused(&world, &secret).await;
    let found = (error.error_type.as_str(), step.as_str());
    assert_eq!(found, ("superuser-address-unproven", "setSecret"), "{}", error.error_message);
    assert!(error.error_message.contains("user=\"root\""), "{}", error.error_message);
    assert_eq!(world.relay.connections(), 0);
    assert!(!world.lab.function_output().contains("S3cr3t"));
}
