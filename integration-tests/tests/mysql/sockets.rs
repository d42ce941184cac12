//! MariaDB's accounts that let in a user of the operating system, beside a password or instead of one.

use integration_tests::failure::code;
use integration_tests::{Secret, World, merged};
use lab::servers::Password;
use lab::servers::mysql::{Kind, MySql, Options};
use serde_json::{Value, json};

/// Ways to log in with the password `'…'`, and how many of them are sockets before and after it.
const WAYS: [&str; 4] = [
    "mysql_native_password USING PASSWORD('…') OR unix_socket",
    "unix_socket OR mysql_native_password USING PASSWORD('…')",
    "unix_socket USING 'ops' OR ed25519 USING PASSWORD('…') OR unix_socket",
    "ed25519 USING PASSWORD('…') OR unix_socket",
];

/// How an account logs in, without its hash.
async fn ways(world: &World<MySql>, user: &str) -> String {
    let rows = world.ask(&format!("SHOW CREATE USER {user}")).await;
    let shown = rows.concat();
    let shown = shown.split_once(" IDENTIFIED ").map_or("", |(_, how)| how).to_owned();
    // Hashes alone: the name of a user of the operating system stays.
    let parts = shown.split('\'').enumerate();
    let hidden = parts.map(|(number, part)| if number % 2 == 1 && part.len() > 20 { "…" } else { part });
    hidden.collect::<Vec<_>>().join("'")
}

/// A user with these ways to log in, and its secret.
async fn user<'a>(world: &'a World<MySql>, name: &str, via: &str, more: Value) -> Secret<'a, MySql> {
    let password = Password::random();
    let via = via.replace('…', password.expose());
    world.sql(&format!("CREATE USER {name} IDENTIFIED VIA {via}")).await;
    world.secret(merged(world.document(name, password.expose()), more)).await
}

async fn mariadb() -> World<MySql> {
    let world = World::mariadb().await;
    world.sql("INSTALL SONAME 'auth_ed25519'").await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_keeps_its_sockets_and_gets_a_password() {
    let logged = Options::default().kind(Kind::MariaDb).setting("log_bin", "bin").setting("server_id", "1");
    for world in [mariadb().await, World::mysql_with(logged, |function| function).await] {
        world.sql("INSTALL SONAME 'auth_ed25519'").await;
        for (number, via) in WAYS.iter().enumerate() {
            let name = format!("app{number}");
            let secret = user(&world, &name, via, json!({})).await;
            let before = ways(&world, &name).await;
            assert!(before.contains("unix_socket") && before.contains(" OR "), "{before}");
            for _ in 0..2 {
                let token = secret.registered().await;
                secret.steps(&["createSecret", "setSecret"], &token).await;
                // A password that the server refuses is told from a server that says nothing about it.
                assert_eq!(code(secret.step("setSecret", &token).await), "already-in-effect", "{via}");
                secret.steps(&["testSecret", "finishSecret"], &token).await;
                assert!(secret.opens("AWSCURRENT").await, "{via}");
                let (_, previous) = secret.credential("AWSPREVIOUS").await;
                // A server that says "no password" has refused the one that it was given.
                assert!(!world.server.can_login(&name, &previous.as_str().into()).await.unwrap_or(false), "{via}");
                assert_eq!(ways(&world, &name).await, before);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superuser_keeps_the_sockets_of_a_user_and_of_a_pair() {
    let world = mariadb().await;
    let superuser = world.superuser().await;
    for (number, via) in WAYS.iter().enumerate() {
        for (kind, rotation) in [
            ("set", json!({"setPasswordAs": "superuser"})),
            ("rescued", json!({"superuserRescue": true})),
            ("pair", json!({})),
        ] {
            let name = format!("{kind}{number}");
            let secret = user(&world, &name, via, json!({"masterarn": superuser.arn, "rotation": rotation})).await;
            let before = ways(&world, &name).await;
            assert!(before.contains("unix_socket") && before.contains(" OR "), "{before}");
            if kind == "rescued" {
                secret.put(&merged(secret.at("AWSCURRENT").await, json!({"password": "mistaken"}))).await;
            }
            for _ in 0..3 {
                let token = secret.rotated().await.token;
                secret.arrived(&token).await;
                let (user, _) = secret.credential("AWSCURRENT").await;
                assert_eq!(ways(&world, &user).await, before, "{user}: {via}");
            }
        }
    }
}

/// A password that an account also has cannot be rotated with the other one: no statement sets both.
#[tokio::test(flavor = "multi_thread")]
async fn two_passwords_of_one_account_are_refused_before_anything_changes() {
    let world = mariadb().await;
    let superuser = world.superuser().await;
    let via = "ed25519 USING PASSWORD('…') OR mysql_native_password USING PASSWORD('…')";
    for (number, more) in [
        json!({}),
        json!({"masterarn": superuser.arn}),
        json!({"masterarn": superuser.arn, "rotation": {"setPasswordAs": "superuser"}}),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("app{number}");
        let secret = user(&world, &name, via, more).await;
        let accounts = "SELECT CONCAT(User, Priv) FROM mysql.global_priv WHERE User LIKE 'app%'";
        let before = world.ask(accounts).await;
        let error = secret.refused().await;
        // The driver does not follow a second change of the plugin within one login.
        let codes = ["authentication-unsupported", "connection-lost"];
        assert!(codes.contains(&error.error_type.as_str()), "{error:?}");
        assert_eq!(world.ask(accounts).await, before);
    }
}

/// It has no password to rotate. Clients from there are not the secret's.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_password_beside_the_secrets_is_left_alone_and_named() {
    let world = mariadb().await;
    let superuser = world.superuser().await;
    for (name, more) in [
        ("own", json!({})),
        ("always", json!({"masterarn": superuser.arn, "rotation": {"setPasswordAs": "superuser"}})),
        ("pair", json!({"masterarn": superuser.arn})),
        ("rescued", json!({"masterarn": superuser.arn, "rotation": {"superuserRescue": true}})),
    ] {
        let via = "mysql_native_password USING PASSWORD('…')";
        let secret = user(&world, name, via, more).await;
        world.sql(&format!("CREATE USER {name}@'10.%' IDENTIFIED VIA unix_socket")).await;
        world
            .sql(&format!(
                "CREATE USER {name}@'11.%' IDENTIFIED VIA mysql_native_password USING 'invalid' OR unix_socket"
            ))
            .await;
        if name == "own" {
            // It sees the other accounts, and may not change them.
            world.sql("GRANT SELECT ON mysql.* TO own").await;
        }
        let others = format!("SELECT CONCAT(Host, Priv) FROM mysql.global_priv WHERE User = '{name}' AND Host <> '%'");
        let before = world.ask(&others).await;
        for turn in 0..3 {
            if name == "rescued" {
                world.sql("ALTER USER rescued IDENTIFIED BY 'by hand'").await;
            }
            let token = secret.registered().await;
            secret.steps(&["createSecret"], &token).await;
            let answer = secret.step("setSecret", &token).await.unwrap();
            let left_alone = answer["leftAlone"].to_string();
            assert!(left_alone.contains("'10.%'") && left_alone.contains("'11.%'"), "{name}, {turn}: {answer}");
            secret.steps(&["testSecret", "finishSecret"], &token).await;
            secret.arrived(&token).await;
            assert_eq!(world.ask(&others).await, before, "{name}, {turn}");
        }
        let clones = "SELECT Host FROM mysql.global_priv WHERE User = 'pair_clone'";
        if name == "pair" {
            assert_eq!(world.ask(clones).await, ["%"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_any_password_is_refused_plainly() {
    let world = mariadb().await;
    let superuser = world.superuser().await;
    world.sql("CREATE USER app IDENTIFIED VIA unix_socket").await;
    for (more, codes) in [
        (json!({}), ["locked-out"]),
        (json!({"masterarn": superuser.arn}), ["authentication-unsupported"]),
        (json!({"masterarn": superuser.arn, "rotation": {"superuserRescue": true}}), ["authentication-unsupported"]),
        (
            json!({"masterarn": superuser.arn, "rotation": {"setPasswordAs": "superuser"}}),
            ["authentication-unsupported"],
        ),
    ] {
        let secret = world.secret(merged(world.document("app", "unknown"), more)).await;
        let error = secret.refused().await;
        assert!(codes.contains(&error.error_type.as_str()), "{error:?}");
        assert!(error.error_message.contains("unix_socket"), "{error:?}");
    }
}

/// Whoever once had another way to log in has an entry for that in MariaDB's table still.
#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_was_taken_away_does_not_count() {
    let world = mariadb().await;
    let secret = world.alternating_user("app").await;
    let (_, password) = secret.credential("AWSCURRENT").await;
    world.sql("ALTER USER app IDENTIFIED VIA unix_socket OR mysql_native_password USING 'invalid'").await;
    world.sql(&format!("ALTER USER app IDENTIFIED BY '{password}'")).await;
    assert!(world.ask("SELECT Priv FROM mysql.global_priv WHERE User = 'app'").await.concat().contains("auth_or"));
    for _ in 0..2 {
        let token = secret.rotated().await.token;
        secret.arrived(&token).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysqls_socket_accounts_are_left_alone_too() {
    let world = World::mysql().await;
    world.sql("INSTALL PLUGIN auth_socket SONAME 'auth_socket.so'").await;
    for secret in [world.alternating_user("pair").await, world.user_set_by_superuser("app").await] {
        let (name, _) = secret.credential("AWSCURRENT").await;
        world.sql(&format!("CREATE USER {name}@'10.%' IDENTIFIED WITH auth_socket")).await;
        for _ in 0..2 {
            let token = secret.registered().await;
            secret.steps(&["createSecret"], &token).await;
            let answer = secret.step("setSecret", &token).await.unwrap();
            assert_eq!(answer["leftAlone"], json!([format!("'{name}'@'10.%'")]), "{answer}");
            secret.steps(&["testSecret", "finishSecret"], &token).await;
            secret.arrived(&token).await;
        }
        let host = format!("SELECT Host FROM mysql.user WHERE User = '{name}' AND plugin = 'auth_socket'");
        assert_eq!(world.ask(&host).await, ["10.%"]);
    }
}
