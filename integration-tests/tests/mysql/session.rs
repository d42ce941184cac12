//! What the server and `init_connect` set for every session.

use integration_tests::{STEPS, World, merged};
use lab::servers::Password;
use lab::servers::mysql::{Kind, MySql};
use mysql_async::prelude::Queryable as _;
use serde_json::json;

on_each_kind! {
    what_init_connect_sets_decides_nothing;
    what_the_server_sets_for_sessions_decides_nothing;
}

/// A user by itself, and a pair, under each setting. Their names are not ASCII.
async fn rotate_under(world: &World<MySql>, boss: &str, settings: impl Iterator<Item = (String, String)>, kind: Kind) {
    let mut failed = Vec::new();
    for (index, (set, reset)) in settings.enumerate() {
        let pair = world.user_with(&format!("Größe{index}"), json!({"masterarn": boss})).await;
        world.sql(&format!("GRANT SELECT ON shop.* TO `Größe{index}`")).await;
        let alone = world.user(&format!("Maß{index}")).await;
        // A limit for statements would end this one, too.
        let mut admin = world.server.connect_superuser().await.unwrap();
        admin.query_drop(&set).await.expect(&set);
        for (secret, who) in [(&pair, "pair"), (&alone, "alone")] {
            'turns: for turn in 0..2 {
                let token = secret.registered().await;
                for step in STEPS {
                    if let Err(error) = secret.step(step, &token).await {
                        failed.push(format!("{who}: {set}: turn {turn}, {step}: {error:?}"));
                        break 'turns;
                    }
                }
            }
        }
        admin.query_drop(&reset).await.expect(&reset);
        for secret in [&pair, &alone] {
            assert!(secret.opens("AWSCURRENT").await, "{kind}: {set}");
        }
    }
    assert!(failed.is_empty(), "{kind}: {failed:#?}");
}

/// A superuser for whom the server runs `init_connect`.
async fn boss(world: &World<MySql>) -> String {
    let boss = world.user("boss").await;
    world
        .sql(
            "CREATE DATABASE shop; GRANT SELECT ON mysql.* TO boss; GRANT CREATE USER ON *.* TO boss; \
             GRANT SELECT ON shop.* TO boss WITH GRANT OPTION",
        )
        .await;
    boss.arn
}

async fn what_init_connect_sets_decides_nothing(kind: Kind) {
    let world = World::of(kind).await;
    let boss = boss(&world).await;
    let mut settings = vec![
        "SET SESSION TRANSACTION READ ONLY",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET autocommit = 0",
        "START TRANSACTION READ ONLY",
        "SET autocommit = 0; SET SESSION TRANSACTION READ ONLY; START TRANSACTION",
        "SET completion_type = 2, autocommit = 0",
        "SET NAMES latin1",
        "SET sql_mode = 'ANSI,PIPES_AS_CONCAT,IGNORE_SPACE'",
        "SET sql_select_limit = 1",
        "SET sql_select_limit = 0",
        "SET sql_big_selects = 0, max_join_size = 1",
        "SET lock_wait_timeout = 1, innodb_lock_wait_timeout = 1, wait_timeout = 1",
        "SET sql_quote_show_create = 0",
    ];
    settings.extend(match kind {
        Kind::MySql => vec!["SET max_execution_time = 1"],
        Kind::MariaDb => vec!["SET max_statement_time = 0.001", "SET old_passwords = 1, max_error_count = 0"],
    });
    let both = |sql: &str| {
        let set = format!("SET GLOBAL init_connect = '{}'", sql.replace('\'', "''"));
        (set, "SET GLOBAL init_connect = ''".to_owned())
    };
    rotate_under(&world, &boss, settings.into_iter().map(both), kind).await;
}

async fn what_the_server_sets_for_sessions_decides_nothing(kind: Kind) {
    let world = World::of(kind).await;
    let boss = boss(&world).await;
    let mut settings = vec![
        ("autocommit", "0"),
        ("completion_type", "2"),
        ("character_set_client", "latin1"),
        ("sql_mode", "'ANSI'"),
        ("sql_select_limit", "1"),
        ("max_join_size", "1"),
        ("lock_wait_timeout", "1"),
        ("wait_timeout", "1"),
        ("max_error_count", "0"),
    ];
    settings.extend(match kind {
        Kind::MySql => {
            [("transaction_read_only", "1"), ("transaction_isolation", "'SERIALIZABLE'"), ("max_execution_time", "1")]
        }
        Kind::MariaDb => [("tx_read_only", "1"), ("tx_isolation", "'SERIALIZABLE'"), ("max_statement_time", "0.01")],
    });
    let both = |(name, value)| (format!("SET GLOBAL {name} = {value}"), format!("SET GLOBAL {name} = DEFAULT"));
    rotate_under(&world, &boss, settings.into_iter().map(both), kind).await;
    // A server that is read-only says so, whatever its sessions begin with.
    let secret = world.user("reader").await;
    world.server.set_read_only(true).await.unwrap();
    assert_eq!(secret.refused().await.error_type, "server-read-only", "{kind}");
    world.server.set_read_only(false).await.unwrap();
    secret.rotated().await;
}

/// MariaDB's `PASSWORD()` can make hashes as before 4.1, and the reason of a refusal is a warning.
#[tokio::test(flavor = "multi_thread")]
async fn passwords_that_the_server_wants_to_see_are_hashed_as_today() {
    let world = World::mariadb().await;
    let boss = boss(&world).await;
    world.sql("INSTALL SONAME 'simple_password_check'").await;
    let password = format!("a1-{}", Password::random().expose());
    let mut secrets = Vec::new();
    for (name, more) in [("alone", json!({})), ("pair", json!({"masterarn": boss}))] {
        world.sql(&format!("CREATE USER {name} IDENTIFIED BY '{password}'")).await;
        secrets.push(world.secret(merged(world.document(name, &password), more)).await);
    }
    world.sql("SET GLOBAL init_connect = 'SET old_passwords = 1, max_error_count = 0'").await;
    for secret in &secrets {
        for _ in 0..2 {
            secret.rotated().await;
            assert!(secret.opens("AWSCURRENT").await);
        }
    }
    world.sql("SET GLOBAL simple_password_check_minimal_length = 64").await;
    for secret in &secrets {
        assert_eq!(secret.refused().await.error_type, "password-refused");
    }
}
