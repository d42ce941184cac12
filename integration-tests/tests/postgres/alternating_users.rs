//! Alternating users, by the release binary on real servers: what the clone is made to be, and what is left alone.

use integration_tests::{OVERLAP, STEPS, Secret, World, merged};
use lab::disturb::{DATABASE, critical_path};
use lab::lambda::StepError;
use lab::servers::Password;
use lab::servers::postgres::{Options, Version, quoted};
use serde_json::{Value, json};
use tokio_postgres::Client;

// ---- The rotation itself

#[tokio::test(flavor = "multi_thread")]
async fn two_users_take_turns_and_the_other_one_stays_open() {
    let world = World::start().await;
    let secret = world.alternating_user("app").await;
    for turn in 0..5 {
        let before = secret.credential("AWSCURRENT").await;
        secret.rotated().await;
        let (user, _) = secret.credential("AWSCURRENT").await;
        assert_eq!(user, ["app_clone", "app"][turn % 2]);
        assert!(secret.opens("AWSCURRENT").await);
        assert_eq!(secret.credential("AWSPREVIOUS").await, before);
        assert!(secret.opens("AWSPREVIOUS").await, "the client that has not read the secret again is locked out");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_clone_makes_belongs_to_the_base() {
    let world = World::start().await;
    world.sql("GRANT CREATE ON SCHEMA public TO PUBLIC").await;
    let secret = world.alternating_user("app").await;
    secret.rotated().await;
    let clone = session(&world, &secret, "AWSCURRENT").await;
    assert_eq!(one(&clone, "SELECT session_user || '/' || current_user").await, "app_clone/app");
    clone.batch_execute("CREATE TABLE made AS SELECT 1 AS n").await.unwrap();
    assert_eq!(world.ask("SELECT tableowner FROM pg_tables WHERE tablename = 'made'").await, ["app"]);

    secret.rotated().await;
    for label in ["AWSCURRENT", "AWSPREVIOUS"] {
        let client = session(&world, &secret, label).await;
        client
            .batch_execute(
                "UPDATE made SET n = n + 1; ALTER TABLE made ADD COLUMN m int; ALTER TABLE made DROP COLUMN m",
            )
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_costs_one_login_a_step_and_few_calls() {
    let world = World::start().await;
    let secret = world.alternating_user("app").await;
    secret.rotated().await;
    // From the base and from the clone, which takes AWSPREVIOUS to tell whose clone it is.
    for creates in [3, 2] {
        let token = secret.registered().await;
        for (step, most, logins) in
            [("createSecret", creates, 0), ("setSecret", 2, 1), ("testSecret", 1, 1), ("finishSecret", 3, 1)]
        {
            world.lab.disturb().restart();
            world.lab.disturb().latency(OVERLAP);
            let before = world.relay.connections();
            secret.steps(&[step], &token).await;
            let calls = world.lab.calls();
            let sequence = critical_path(calls.iter().filter(|call| call.operation != DATABASE));
            assert_eq!(sequence, most, "{step}: {calls:#?}");
            assert_eq!(world.relay.connections() - before, logins, "{step}");
            assert!(calls.iter().all(|call| call.operation != "GetRandomPassword"));
        }
    }
    assert!(!world.server.log_text().unwrap().contains("authentication failed"), "a login was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_without_a_rotation_tries_the_current_user_and_the_superuser() {
    let world = World::start().await;
    world.sql("CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'old'").await;
    let superuser = world.secret(world.document("boss", "old")).await;
    let secret = world.user_with("app", json!({"masterarn": superuser.arn})).await;
    let token = secret.registered().await;
    let before = world.relay.connections();
    secret.steps(&["testSecret"], &token).await;
    assert_eq!(world.relay.connections() - before, 2);

    world.sql("ALTER ROLE boss PASSWORD 'new'").await;
    let error = secret.step("testSecret", &token).await.unwrap_err();
    assert_eq!(error.error_type, "superuser-rejected", "{error:?}");
    world.sql("ALTER ROLE boss PASSWORD 'old'; ALTER ROLE app PASSWORD 'other'").await;
    let error = secret.step("testSecret", &token).await.unwrap_err();
    assert_eq!(error.error_type, "current-rejected", "{error:?}");
}

// ---- Pairs that others have made

/// Made as AWS's function makes it: a member of the base, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_pair_made_by_aws_works_unchanged() {
    for version in [Version::V15, Version::V18] {
        let world = World::on(version).await;
        let secret = world.alternating_user("app").await;
        world.sql("ALTER ROLE app CREATEDB CONNECTION LIMIT 7; ALTER ROLE app SET work_mem = '5MB'").await;
        world.sql("CREATE ROLE app_clone LOGIN PASSWORD 'by aws'; GRANT app TO app_clone").await;
        let now = merged(secret.at("AWSCURRENT").await, json!({"username": "app_clone", "password": "by aws"}));
        secret.put(&now).await;
        for turn in 0..4 {
            secret.rotated().await;
            let (user, _) = secret.credential("AWSCURRENT").await;
            assert_eq!(user, ["app", "app_clone"][turn % 2]);
            assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await);
            // A clone that is in use loses nothing.
            if user == "app_clone" {
                alike(&world, "app", "app_clone").await;
            }
        }
        let roles = world.ask("SELECT rolname FROM pg_roles WHERE rolname LIKE 'app%' ORDER BY 1").await;
        assert_eq!(roles, ["app", "app_clone"], "the clone was taken for a user of its own");
    }
}

/// With AWS's function, what the clone makes is the clone's own, and out of the base's reach.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_clone_made_by_aws_owns_goes_to_the_base() {
    let world = World::on(Version::V18).await;
    let (secret, _) = administered(&world, "app").await;
    world.sql("GRANT app TO admin WITH ADMIN OPTION; GRANT CREATE ON SCHEMA public TO PUBLIC").await;
    world.sql("SET ROLE admin; CREATE ROLE app_clone LOGIN; GRANT app TO app_clone").await;
    world.sql("SET ROLE app_clone; CREATE TABLE made AS SELECT 7 AS n").await;
    refused_without_a_trace(&world, &secret, "privilege-missing", "REASSIGN OWNED BY app_clone TO app").await;
    world.sql("GRANT app, app_clone TO admin WITH INHERIT TRUE").await;
    secret.rotated().await;
    for label in ["AWSCURRENT", "AWSPREVIOUS"] {
        assert_eq!(one(&session(&world, &secret, label).await, "SELECT n FROM made").await, "7", "{label}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_can_name_its_two_users() {
    let world = World::start().await;
    let superuser = world.superuser().await;
    let named = |users: [&str; 2]| json!({"masterarn": superuser.arn, "rotation": {"users": users}});
    world.sql("CREATE ROLE green LOGIN CREATEDB").await;
    let existing = world.user_with("blue", named(["blue", "green"])).await;
    let absent = world.user_with("red", named(["red", "Rouge 2"])).await;
    // The secret holds the clone: the base is the one that is named first.
    let second = world.user_with("left", named(["right", "left"])).await;
    world.sql("CREATE ROLE \"right\" LOGIN CREATEDB").await;
    for turn in 0..3 {
        for (secret, users, base, clone) in [
            (&existing, ["green", "blue"], "blue", "green"),
            (&absent, ["Rouge 2", "red"], "red", "Rouge 2"),
            (&second, ["right", "left"], "right", "left"),
        ] {
            secret.rotated().await;
            assert_eq!(secret.credential("AWSCURRENT").await.0, users[turn % 2]);
            assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await);
            if users[turn % 2] == clone {
                alike(&world, base, clone).await;
            }
        }
    }
    assert_eq!(
        world.ask("SELECT rolcreatedb FROM pg_roles WHERE rolname IN ('green', 'left') ORDER BY rolname").await,
        ["f", "t"]
    );
}

/// AWS's function resets the password of the unrelated user `x` here.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_provable_pair_is_touched() {
    let world = World::start().await;
    let superuser = world.superuser().await;
    let alternating = json!({"masterarn": superuser.arn});

    // A user that happens to be called like the clone.
    let secret = world.user_with("app", alternating.clone()).await;
    world.sql("CREATE ROLE app_clone LOGIN PASSWORD 'its own'").await;
    let before = dump(&world).await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "pair-unproven", "{error:?}");
    assert!(world.opens("app_clone", "its own").await && secret.opens("AWSCURRENT").await);

    // A genuine user whose name ends in `_clone`, and an unrelated one without.
    world.sql("CREATE ROLE x LOGIN PASSWORD 'its own'").await;
    let verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'x'";
    let untouched = world.ask(verifier).await;
    let genuine = world.user_with("x_clone", alternating.clone()).await;
    for user in ["x_clone_clone", "x_clone", "x_clone_clone"] {
        genuine.rotated().await;
        assert_eq!(genuine.credential("AWSCURRENT").await.0, user);
    }
    assert_eq!(world.ask(verifier).await, untouched);

    // The same, where the secret held `x` before: the names make a pair, and the database does not.
    world.sql("CREATE ROLE y_clone LOGIN PASSWORD 'y'").await;
    let changed = world.user_with("y", alternating.clone()).await;
    changed.put(&merged(world.document("y_clone", "y"), alternating.clone())).await;
    assert_eq!(changed.refused().await.error_type, "pair-unproven");

    // A clone whose history is lost: it is not cloned again, nor is its base guessed.
    world.sql("CREATE ROLE z LOGIN; CREATE ROLE z_clone LOGIN PASSWORD 'z'; GRANT z TO z_clone").await;
    let lost = world.secret(merged(world.document("z_clone", "z"), alternating.clone())).await;
    assert_eq!(lost.refused().await.error_type, "pair-unproven");

    // A base inside its clone, also through others and where the secret names both.
    world.sql("CREATE ROLE outer_user LOGIN; CREATE ROLE middle; GRANT outer_user TO middle").await;
    let named = merged(alternating, json!({"rotation": {"users": ["inner", "outer_user"]}}));
    let inside = world.user_with("inner", named).await;
    world.sql("GRANT middle TO inner").await;
    assert_eq!(inside.refused().await.error_type, "pair-unproven");

    let after = dump(&world).await;
    let lost: Vec<&String> = before.iter().filter(|row| !after.contains(row)).collect();
    assert!(lost.is_empty(), "changed: {lost:#?}");
}

// ---- What follows the base

#[tokio::test(flavor = "multi_thread")]
async fn attributes_and_settings_follow_the_base_every_time() {
    for version in [Version::V15, Version::V18] {
        // Before 16, CREATEROLE is as good as SUPERUSER.
        let options = Options::default().version(version);
        let world = World::with(options, |function| function.env("ALLOW_POWERFUL_ROLES", "true")).await;
        let secret = world.alternating_user("app").await;
        world.sql("CREATE DATABASE \"other db\"").await;
        world
            .sql("CREATE SCHEMA \"we, \"\"ird\"; CREATE ROLE planted; \
                  ALTER ROLE app CREATEDB CREATEROLE NOINHERIT CONNECTION LIMIT 9 VALID UNTIL '2101-02-03 04:05:06.789+03'")
            .await;
        world
            .sql(
                "ALTER ROLE app SET search_path = \"$user\", \"we, \"\"ird\", public; \
                  ALTER ROLE app SET \"DateStyle\" = 'SQL, DMY'; ALTER ROLE app SET \"TimeZone\" = '<+0530>-05:30'; \
                  ALTER ROLE app SET app.tenant = 'it''s \\ \"x\", %s'; ALTER ROLE app SET temp_tablespaces = ''; \
                  ALTER ROLE app SET default_transaction_read_only = on; \
                  ALTER ROLE app IN DATABASE \"other db\" SET work_mem = '3MB'; \
                  ALTER ROLE app IN DATABASE postgres SET search_path = ''",
            )
            .await;
        secret.rotated().await;
        alike(&world, "app", "app_clone").await;
        let attributes = "SELECT (rolcreatedb, rolcreaterole, rolconnlimit, rolvaliduntil = '2101-02-03 04:05:06.789+03') \
             FROM pg_roles WHERE rolname = 'app_clone'";
        assert_eq!(world.ask(attributes).await, ["(t,t,9,t)"]);
        let (user, password) = secret.credential("AWSCURRENT").await;
        let clone = world.server.connect(&user, &password.as_str().into(), "other db").await.unwrap();
        assert_eq!(one(&clone, "SHOW search_path").await, r#""$user", "we, ""ird", public"#);
        assert_eq!(one(&clone, "SHOW app.tenant").await, r#"it's \ "x", %s"#);
        assert_eq!(one(&clone, "SHOW work_mem").await, "3MB");

        // Everything is taken away again, at the clone's next turn.
        for change in [
            "ALTER ROLE app NOCREATEDB NOCREATEROLE INHERIT CONNECTION LIMIT -1 VALID UNTIL 'infinity'; \
                 ALTER ROLE app RESET ALL; ALTER ROLE app IN DATABASE \"other db\" RESET ALL; \
                 ALTER ROLE app_clone SET enable_seqscan = off; ALTER ROLE app_clone REPLICATION",
            "ALTER ROLE app CREATEDB; ALTER ROLE app SET search_path = pg_catalog",
            "ALTER ROLE app_clone RESET ALL; ALTER ROLE app_clone NOCREATEDB VALID UNTIL '2101-01-01'",
        ] {
            world.sql(change).await;
            secret.rotated().await;
            secret.rotated().await;
            alike(&world, "app", "app_clone").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memberships_are_those_of_the_base_and_no_others() {
    for version in [Version::V15, Version::V18] {
        let world = World::on(version).await;
        let secret = world.alternating_user("app").await;
        world
            .sql(
                "CREATE ROLE reader; CREATE TABLE books AS SELECT 1 AS n; GRANT SELECT ON books TO reader; \
                  CREATE ROLE deputy CREATEROLE; GRANT reader TO deputy WITH ADMIN OPTION",
            )
            .await;
        secret.rotated().await;
        let read = "SELECT n FROM books";
        let refused = session(&world, &secret, "AWSCURRENT").await.simple_query(read).await;
        assert_eq!(refused.unwrap_err().code().unwrap().code(), "42501");

        // Given to the clone alone, by two: from 16 on these are two grants.
        world.sql("GRANT reader TO app_clone; GRANT app TO app_clone WITH ADMIN OPTION").await;
        world.sql("SET ROLE deputy; GRANT reader TO app_clone").await;
        secret.rotated().await;
        assert_eq!(one(&session(&world, &secret, "AWSPREVIOUS").await, "SELECT current_user").await, "app");
        secret.rotated().await;
        let members = "SELECT r.rolname || bool_or(a.admin_option) FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid \
             WHERE a.member = 'app_clone'::regrole GROUP BY r.rolname";
        assert_eq!(world.ask(members).await, ["appfalse"]);

        // Given to the base, it is there for the clone at once; taken from it, it is gone.
        world.sql("GRANT reader TO app").await;
        for label in ["AWSCURRENT", "AWSPREVIOUS"] {
            assert_eq!(one(&session(&world, &secret, label).await, read).await, "1", "{label}");
        }
        secret.rotated().await;
        assert_eq!(one(&session(&world, &secret, "AWSCURRENT").await, read).await, "1");
        world.sql("REVOKE reader FROM app").await;
        assert!(session(&world, &secret, "AWSCURRENT").await.simple_query(read).await.is_err());
    }
}

/// What a database lets only some connect to is decided before the session starts as the base.
#[tokio::test(flavor = "multi_thread")]
async fn a_clone_connects_wherever_its_base_does() {
    for version in [Version::V15, Version::V18] {
        let world = World::on(version).await;
        let secret = world.alternating_user("app").await;
        world
            .sql(
                "ALTER ROLE app NOINHERIT; CREATE ROLE owner; GRANT owner TO app; \
                  REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; GRANT CONNECT ON DATABASE postgres TO app; \
                  ALTER DATABASE postgres SET role = owner",
            )
            .await;
        for _ in 0..3 {
            secret.rotated().await;
            for label in ["AWSCURRENT", "AWSPREVIOUS"] {
                assert_eq!(one(&session(&world, &secret, label).await, "SELECT current_user").await, "owner");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_clone_has_on_its_own_it_loses_at_its_turn() {
    let world = World::start().await;
    let secret = world.alternating_user("app").await;
    secret.rotated().await;
    world
        .sql(
            "CREATE ROLE reporting; GRANT reporting TO app_clone; ALTER ROLE app_clone SET work_mem = '64MB'; \
             ALTER ROLE app CONNECTION LIMIT 5; ALTER ROLE app VALID UNTIL '2100-01-01'",
        )
        .await;
    let has = "SELECT pg_has_role('app_clone', 'reporting', 'MEMBER'), rolconnlimit, rolvaliduntil, \
               (SELECT count(*) FROM pg_db_role_setting WHERE setrole = pg_roles.oid AND 'work_mem=64MB' = ANY (setconfig)) \
               FROM pg_roles WHERE rolname = 'app_clone'";
    let before = world.ask(has).await;
    secret.rotated().await;
    assert_eq!(world.ask(has).await, before, "the clone was in use");
    secret.rotated().await;
    alike(&world, "app", "app_clone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_that_does_not_let_the_clone_become_the_base_is_completed() {
    let world = World::on(Version::V18).await;
    let secret = world.alternating_user("app").await;
    world.sql("CREATE ROLE app_clone LOGIN; GRANT app TO app_clone WITH SET FALSE, INHERIT FALSE").await;
    secret.rotated().await;
    assert_eq!(one(&session(&world, &secret, "AWSCURRENT").await, "SELECT current_user").await, "app");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_setsecret_is_named() {
    let world = World::start().await;
    let secret = world.alternating_user("app").await;
    world.sql("CREATE ROLE reader").await;
    for (change, named, undo) in [
        ("ALTER ROLE app CREATEDB", "CREATEDB", "ALTER ROLE app NOCREATEDB"),
        ("GRANT reader TO app_clone", "reader", "REVOKE reader FROM app_clone"),
        ("REVOKE app FROM app_clone", "sessions start as app_clone", "GRANT app TO app_clone"),
        ("ALTER ROLE app_clone RESET role", "sessions start as app_clone", "ALTER ROLE app_clone SET role = app"),
        ("ALTER ROLE app SET work_mem = '9MB'", "work_mem", "ALTER ROLE app RESET work_mem"),
    ] {
        let token = secret.registered().await;
        secret.steps(&STEPS[..2], &token).await;
        world.sql(change).await;
        for step in &STEPS[2..] {
            let error = secret.step(step, &token).await.unwrap_err();
            assert_eq!(error.error_type, "privileges-differ", "{change}: {error:?}");
            assert!(error.error_message.contains(named), "{change}: {error:?}");
        }
        assert_eq!(secret.credential("AWSCURRENT").await.0, "app");
        world.sql(undo).await;
        secret.steps(&STEPS[2..3], &token).await;
        // The next one is about the clone, too: what is pending is given up.
        let labels = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
        world.lab.call("UpdateSecretVersionStage", labels).await.unwrap();
    }
    secret.rotated().await;
}

// ---- Superusers that are not

/// As on RDS, where the administrator has CREATEROLE and no more. From 16 on that covers only the roles it administers.
#[tokio::test(flavor = "multi_thread")]
async fn from_16_on_createrole_needs_admin_option_on_the_base() {
    let world = World::on(Version::V18).await;
    let (secret, _) = administered(&world, "app").await;
    let before = dump(&world).await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "privilege-missing", "{error:?}");
    assert!(error.error_message.contains("GRANT app TO admin WITH ADMIN OPTION"), "{error:?}");
    assert_eq!(dump(&world).await, before);
    assert!(secret.opens("AWSCURRENT").await);

    world.sql("GRANT app TO admin WITH ADMIN OPTION").await;
    for _ in 0..4 {
        secret.rotated().await;
        assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await);
        alike(&world, "app", "app_clone").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_16_createrole_is_enough() {
    let world = World::on(Version::V15).await;
    let (secret, _) = administered(&world, "app").await;
    for _ in 0..4 {
        secret.rotated().await;
        assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await);
        alike(&world, "app", "app_clone").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_administrator_may_not_give_is_named_and_nothing_has_changed() {
    let world = World::on(Version::V18).await;
    let (secret, superuser) = administered(&world, "app").await;
    world.sql("GRANT app TO admin WITH ADMIN OPTION; ALTER ROLE app CREATEDB").await;
    world.sql("ALTER ROLE app SET app.tenant = 'x'").await;
    // The clone has been made by then, and is gone again.
    refused_without_a_trace(&world, &secret, "privilege-missing", "CREATEDB").await;
    world.sql("ALTER ROLE admin CREATEDB").await;
    refused_without_a_trace(
        &world,
        &secret,
        "privilege-missing",
        r#"GRANT SET ON PARAMETER \"app\".\"tenant\" TO admin"#,
    )
    .await;
    world.sql("ALTER ROLE app RESET app.tenant").await;
    secret.rotated().await;

    // The clone loses memberships of its own at its turn, which comes next.
    secret.rotated().await;
    world.sql("CREATE ROLE reader; GRANT reader TO app_clone").await;
    refused_without_a_trace(&world, &secret, "privilege-missing", "reader").await;
    world.sql("REVOKE reader FROM app_clone").await;
    secret.rotated().await;

    world.sql("ALTER ROLE admin NOCREATEROLE").await;
    refused_without_a_trace(&world, &secret, "privilege-missing", "password").await;
    assert!(superuser.opens("AWSCURRENT").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_in_the_middle_undoes_what_came_before_it() {
    let world = World::start().await;
    let secret = world.alternating_user("app").await;
    secret.rotated().await;
    secret.rotated().await;
    world.sql("CREATE ROLE reader; GRANT reader TO app_clone").await;
    let before = dump(&world).await;
    // The membership is revoked before anybody notices that the role itself is locked.
    let holder = world.server.connect_superuser().await.unwrap();
    holder.batch_execute("BEGIN; ALTER ROLE app_clone CREATEDB").await.unwrap();
    let error = secret.refused().await;
    assert_eq!(error.error_type, "lock-timeout", "{error:?}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(dump(&world).await, before);
    secret.rotated().await;
    alike(&world, "app", "app_clone").await;
}

// ---- What is not touched

#[tokio::test(flavor = "multi_thread")]
async fn powerful_users_are_left_alone_unless_the_deployer_allows_them() {
    for allowed in [false, true] {
        let settings = |builder: lab::stack::Builder| match allowed {
            true => builder.env("ALLOW_POWERFUL_ROLES", "true"),
            false => builder,
        };
        let world = World::with(Options::default(), settings).await;
        let superuser = world.superuser().await;
        world.sql("CREATE ROLE rds_superuser; CREATE ROLE middle; GRANT rds_superuser TO middle").await;
        for (user, power) in [
            ("mighty", "ALTER ROLE mighty SUPERUSER"),
            ("managed", "GRANT middle TO managed"),
            ("runner", "GRANT pg_execute_server_program TO runner"),
            ("maker", "ALTER ROLE maker CREATEROLE"),
            ("reads_all", "GRANT pg_read_all_data TO reads_all"),
            ("writes_all", "GRANT pg_write_all_data TO writes_all"),
            ("monitors", "CREATE ROLE watchers; GRANT pg_monitor TO watchers; GRANT watchers TO monitors"),
            ("stats", "GRANT pg_read_all_stats TO stats"),
            ("configured", "GRANT pg_read_all_settings TO configured"),
            ("copies", "ALTER ROLE copies REPLICATION"),
            ("verifiers", "GRANT SELECT ON pg_authid TO verifiers"),
            ("one_column", "GRANT SELECT (rolpassword) ON pg_authid TO one_column"),
            ("shadow", "GRANT SELECT ON pg_shadow TO shadow"),
            ("files", "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO files"),
        ] {
            // These came with PostgreSQL 14. From 16 on CREATEROLE administers only roles that it has been given.
            let version = world.server.version();
            if version < Version::V15 && power.contains("_all_data")
                || version > Version::V15 && power.contains("CREATEROLE")
            {
                continue;
            }
            let secret = world.user_with(user, json!({"masterarn": superuser.arn})).await;
            world.sql(power).await;
            if allowed {
                secret.rotated().await;
                alike(&world, user, &format!("{user}_clone")).await;
            } else {
                refused_without_a_trace(&world, &secret, "role-protected", user).await;
            }
        }
        // pg_checkpoint came with PostgreSQL 15.
        let signals = match world.server.version() {
            Version::V13 => "GRANT pg_signal_backend, pg_stat_scan_tables TO signals",
            _ => "GRANT pg_signal_backend, pg_checkpoint, pg_stat_scan_tables TO signals",
        };
        // What reaches no verifier and no file is no power.
        for (user, right) in [
            ("signals", signals),
            ("names", "GRANT SELECT (rolname) ON pg_authid TO names"),
            ("makes", "ALTER ROLE makes CREATEDB BYPASSRLS"),
        ] {
            let secret = world.user_with(user, json!({"masterarn": superuser.arn})).await;
            world.sql(right).await;
            secret.rotated().await;
        }
        // A changed password would lock the superuser's own secret out.
        let own = merged(superuser.at("AWSCURRENT").await, json!({"masterarn": superuser.arn}));
        let own = world.secret(own).await;
        refused_without_a_trace(&world, &own, "role-protected", "own user").await;
        // A powerful clone of a harmless base would be one password away from its power.
        let secret = world.user_with("lamb", json!({"masterarn": superuser.arn})).await;
        world.sql("CREATE ROLE lamb_clone LOGIN SUPERUSER; GRANT lamb TO lamb_clone").await;
        if !allowed {
            refused_without_a_trace(&world, &secret, "role-protected", "lamb_clone").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_an_administrator_are_as_powerful() {
    let world = World::start().await;
    let (secret, _) = administered(&world, "app").await;
    world.sql("GRANT admin TO app").await;
    refused_without_a_trace(&world, &secret, "role-protected", "admin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_cannot_log_in_is_not_cloned() {
    let world = World::start().await;
    let superuser = world.superuser().await;
    for (user, change, code) in [
        ("nologin", "ALTER ROLE nologin NOLOGIN", "role-unusable"),
        ("expired", "ALTER ROLE expired VALID UNTIL '2020-01-01'", "role-unusable"),
        ("missing", "DROP ROLE missing", "role-missing"),
    ] {
        let secret = world.user_with(user, json!({"masterarn": superuser.arn})).await;
        world.sql(change).await;
        refused_without_a_trace(&world, &secret, code, user).await;
    }
    // The same when it is the base's turn.
    let secret = world.user_with("app", json!({"masterarn": superuser.arn})).await;
    secret.rotated().await;
    world.sql("ALTER ROLE app NOLOGIN").await;
    refused_without_a_trace(&world, &secret, "role-unusable", "NOLOGIN").await;
    world.sql("DROP ROLE app").await;
    refused_without_a_trace(&world, &secret, "role-missing", "app").await;
}

/// CVE-2018-1058: with somebody else's schema in front, a plain `=` is somebody else's function.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_planted_in_a_search_path_does_not_run() {
    let world = World::start().await;
    world.sql(&planted()).await;
    world
        .sql("CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'boss'; ALTER ROLE boss SET search_path = evil, pg_catalog")
        .await;
    let superuser = world.secret(world.document("boss", "boss")).await;
    let secret = world.user_with("app", json!({"masterarn": superuser.arn})).await;
    world.sql("ALTER ROLE app SET search_path = evil, pg_catalog, public; ALTER ROLE app CREATEDB VALID UNTIL '2101-01-01'").await;
    for _ in 0..3 {
        secret.rotated().await;
    }
    let sprung = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM evil.sprung";
    assert_eq!(world.ask(sprung).await, ["0"]);
    // The trap does spring.
    let boss = world.server.connect("boss", &"boss".into(), "postgres").await.unwrap();
    let _ = boss.simple_query("SELECT rolname::text IN ('a', 'b') FROM pg_roles; SELECT pg_is_in_recovery()").await;
    assert_ne!(world.ask(sprung).await, ["0"]);
}

// ---- Names, and the superuser's secret

#[tokio::test(flavor = "multi_thread")]
async fn any_name_will_do_that_leaves_room_for_the_clones() {
    let world = World::start().await;
    let superuser = world.superuser().await;
    let longest = format!("{}x", "ü".repeat(28));
    for name in [r#"it's "the" user\"#, "100% $1 ;-- ?", "Größe\u{1F510}", "CamelCase", "select", " ", &longest] {
        let secret = world.user_with(name, json!({"masterarn": superuser.arn})).await;
        for user in [format!("{name}_clone"), name.to_owned(), format!("{name}_clone")] {
            secret.rotated().await;
            assert_eq!(secret.credential("AWSCURRENT").await.0, user);
            assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await);
        }
    }
    let long = format!("{longest}y");
    let secret = world.user_with(&long, json!({"masterarn": superuser.arn})).await;
    refused_without_a_trace(&world, &secret, "name-too-long", "64 bytes").await;
}

/// RDS keeps no more than these two fields. Whoever writes the child secret then chooses the server that is shown the
/// superuser's login: so it has to prove that it knows the password, and that nobody is in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_superusers_secret_of_user_name_and_password_is_bound_to_the_channel() {
    let bare = |world: &World| json!({"username": world.server.superuser(), "password": world.server.superuser_password().expose()});
    let world = World::start().await;
    let superuser = world.secret(bare(&world)).await;
    let secret = world.user_with("app", json!({"masterarn": superuser.arn})).await;
    for _ in 0..3 {
        secret.rotated().await;
    }

    let clear = Options::default().hba("hostssl all all 127.0.0.1/32 password").hba("hostssl all all ::1/128 password");
    let world = World::with(clear, |function| function).await;
    let superuser = world.secret(bare(&world)).await;
    let secret = world.user_with("app", json!({"masterarn": superuser.arn})).await;
    refused_without_a_trace(&world, &secret, "authentication-unsupported", "superuser").await;
    // With an address of its own, the superuser's secret vouches for the server.
    let superuser = world.superuser().await;
    secret.put(&merged(secret.at("AWSCURRENT").await, json!({"masterarn": superuser.arn}))).await;
    give_up_pending(&world, &secret).await;
    secret.rotated().await;
}

// ---- Tools

/// A pair under an administrator that is only CREATEROLE, and that administrator's secret.
async fn administered<'a>(world: &'a World, user: &str) -> (Secret<'a>, Secret<'a>) {
    let password = Password::random();
    world.server.create_user("admin", &password).await.unwrap();
    world.sql("ALTER ROLE admin CREATEROLE").await;
    let superuser = world.secret(world.document("admin", password.expose())).await;
    let secret = world.user_with(user, json!({"masterarn": superuser.arn})).await;
    (secret, superuser)
}

async fn session(world: &World, secret: &Secret<'_>, label: &str) -> Client {
    let (user, password) = secret.credential(label).await;
    world.server.connect(&user, &password.as_str().into(), "postgres").await.unwrap()
}

/// The first column of the only row, as text.
async fn one(client: &Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.expect(sql);
    let mut rows = messages.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    rows.next().expect(sql)
}

/// All that the server knows about roles.
async fn dump(world: &World) -> Vec<String> {
    let mut rows = Vec::new();
    for catalog in ["pg_authid", "pg_auth_members", "pg_db_role_setting"] {
        rows.extend(world.ask(&format!("SELECT to_jsonb(c)::text FROM {catalog} c ORDER BY 1")).await);
    }
    rows
}

/// The rotation fails with this code, its message contains this, and no role has changed. What is pending is given up.
async fn refused_without_a_trace(world: &World, secret: &Secret<'_>, code: &str, named: &str) {
    let before = dump(world).await;
    let StepError { error_type, error_message } = secret.refused().await;
    assert_eq!(error_type, code, "{error_message}");
    assert!(error_message.contains(named), "{error_message}");
    assert_eq!(dump(world).await, before);
    give_up_pending(world, secret).await;
}

/// Takes AWSPENDING away, as people do to begin afresh.
async fn give_up_pending(world: &World, secret: &Secret<'_>) {
    let labels = secret.labels().await;
    for (version, stages) in labels.as_object().unwrap() {
        if stages.as_array().unwrap().contains(&Value::from("AWSPENDING")) {
            let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": version});
            world.lab.call("UpdateSecretVersionStage", request).await.unwrap();
        }
    }
}

/// Asserts that the clone's attributes and settings are the base's, and that its one membership is the base.
async fn alike(world: &World, base: &str, clone: &str) {
    let role = |name: &str| format!("'{}'", name.replace('\'', "''"));
    let inherits = if world.server.version().grants_have_options() { "rolinherit" } else { "true" };
    let attributes = |name: &str| {
        format!(
            "SELECT (rolsuper, {inherits}, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, \
             rolconnlimit, coalesce(rolvaliduntil, 'infinity')) FROM pg_roles WHERE rolname = {}",
            role(name)
        )
    };
    let settings = |name: &str| {
        format!(
            "SELECT (setdatabase, c)::text FROM pg_db_role_setting s, unnest(setconfig) c, pg_roles r \
             WHERE r.oid = s.setrole AND rolname = {} AND c NOT LIKE 'role=%' ORDER BY 1",
            role(name)
        )
    };
    assert_eq!(world.ask(&attributes(clone)).await, world.ask(&attributes(base)).await);
    assert_eq!(world.ask(&settings(clone)).await, world.ask(&settings(base)).await);
    let groups = format!(
        "SELECT DISTINCT g.rolname FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid \
         JOIN pg_roles m ON m.oid = a.member WHERE m.rolname = {}",
        role(clone)
    );
    assert_eq!(world.ask(&groups).await, [base], "the groups of {}", quoted(clone));
}

/// A schema whose functions and operators leave a mark. A sequence keeps it even when the transaction is rolled back.
fn planted() -> String {
    let mut sql = "CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC; CREATE SEQUENCE evil.sprung; \
         CREATE FUNCTION evil.spring() RETURNS bigint LANGUAGE sql SECURITY DEFINER \
           AS $$ SELECT pg_catalog.nextval('evil.sprung') $$; "
        .to_owned();
    let function = |name: &str, arguments: &str, result: &str, value: &str| {
        format!(
            "CREATE FUNCTION evil.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql \
             AS $$ BEGIN PERFORM evil.spring(); RETURN {value}; END $$; "
        )
    };
    for (operator, left, right) in [
        ("=", "text", "text"),
        ("=", "name", "text"),
        ("=", "name", "name"),
        ("=", "oid", "oid"),
        ("<=", "timestamptz", "timestamptz"),
        (">=", "int4", "int4"),
    ] {
        let name = format!("compare_{}_{left}_{right}", if operator == "=" { "eq" } else { "le" });
        sql += &function(&name, &format!("{left}, {right}"), "boolean", "true");
        sql += &format!(
            "CREATE OPERATOR evil.{operator} (FUNCTION = evil.{name}, LEFTARG = {left}, RIGHTARG = {right}); "
        );
    }
    sql += &function("current_setting", "text", "text", "'md5'::pg_catalog.text");
    sql += &function("pg_is_in_recovery", "", "boolean", "false");
    sql += &function("current_database", "", "name", "'postgres'::pg_catalog.name");
    sql += &function("now", "", "timestamptz", "'2020-01-01'::pg_catalog.timestamptz");
    sql += &function("strpos", "text, text", "integer", "1");
    sql += &function("substr", "text, integer", "text", "$1");
    sql += &function("split_part", "text, text, integer", "text", "$1");
    sql += &function("to_jsonb", "anyelement", "jsonb", "'{}'::pg_catalog.jsonb");
    sql += &function("pg_advisory_xact_lock", "integer, integer", "integer", "1");
    sql
}
