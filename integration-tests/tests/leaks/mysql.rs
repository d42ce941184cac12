//! The promise "never prints one", for MySQL and MariaDB: as for PostgreSQL in `leaks.rs`.

use super::bench::{Bench, DEPENDENCIES, EVERYTHING, Hashing, random};
use integration_tests::{Secret, World, merged};
use lab::servers::certificates::TestCa;
use lab::servers::mysql::{Kind, MySql, Options, Release, literal};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_printed_for_mysql_when_all_is_logged() {
    no_output_holds_a_secret(Kind::MySql, EVERYTHING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_printed_for_mysql_when_the_dependencies_are_asked_to_log() {
    no_output_holds_a_secret(Kind::MySql, DEPENDENCIES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_printed_for_mariadb_when_all_is_logged() {
    no_output_holds_a_secret(Kind::MariaDb, EVERYTHING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_printed_for_mariadb_when_the_dependencies_are_asked_to_log() {
    no_output_holds_a_secret(Kind::MariaDb, DEPENDENCIES).await;
}

async fn no_output_holds_a_secret(kind: Kind, levels: &[(&str, &str)]) {
    let ca = TestCa::new("clients").expect("an authority");
    let own = ca.issue(&["localhost", "127.0.0.1"]).expect("a certificate");
    let options = Options::default().kind(kind).certificate(own).log_statements();
    let server = MySql::start(options).await.expect("the server starts");
    let release = server.release();
    let bench = Bench::start(server, levels).await;
    rotations_succeed(&bench, &ca).await;
    accounts_cannot_be_changed(&bench).await;
    // MariaDB before 11 does not tell a refusal for want of TLS from one for a wrong password.
    let tells = matches!(release, Release::MySql9_7 | Release::MariaDb11_8);
    let no_tls = if tells { "tls-required" } else { "locked-out" };
    // MySQL may pretend that a user that does not exist has a plugin that nobody uses.
    bench.everything_fails(&["locked-out", "authentication-unsupported"], 4, no_tls).await;
    if kind == Kind::MySql {
        // Passwords travel as they are here, and MySQL keeps them out of its log.
        passwords_are_validated(&bench).await;
    }
    // From here on there is no help: the last part shows that.
    let log = bench.world.server.log_text().expect("the server has a log");
    the_server_logs_passwords(&bench).await;

    let (world, secrets) = bench.judge().await;
    // Superusers' statements show hashes: that is how well it was looked at.
    let found = secrets.found_in(&log);
    assert!(found.iter().all(|what| what.starts_with("a hash")), "{found:?}");
    assert!(!found.is_empty(), "the search does not find the hashes that are there");
    let log = world.server.log_text().expect("the server has a log");
    let found = secrets.found_in(&log);
    assert!(found.iter().any(|what| what.starts_with("a password")), "the search does not find the passwords in it");
}

async fn rotations_succeed(bench: &Bench<MySql>, ca: &TestCa) {
    let world = &bench.world;
    let single = world.user("single").await;
    let alternating = world.alternating_user("alternating").await;
    let strange = bench.user_with_strange_password("strange").await;
    let named = world.user("'; DROP USER x; -- \"`\\%").await;
    let rescued = rescued(bench).await;
    let more = match world.server.kind() {
        Kind::MySql => world.dual_password_user("dual").await,
        Kind::MariaDb => ed25519(bench).await,
    };
    let certified = bench.user_with_certificate("certified", ca).await;
    world.sql("ALTER USER certified REQUIRE X509").await;
    bench.rotate_twice(&[&single, &alternating, &strange, &named, &rescued, &more, &certified]).await;
}

/// A user whose password was changed by hand.
async fn rescued(bench: &Bench<MySql>) -> Secret<'_, MySql> {
    let world = &bench.world;
    let superuser = world.superuser().await;
    let rescue = json!({"masterarn": superuser.arn, "rotation": {"superuserRescue": true}});
    let secret = world.user_with("helped", rescue.clone()).await;
    secret.put(&merged(world.document("helped", &random()), rescue)).await;
    // So that the previous password does not help.
    secret.put(&merged(secret.at("AWSCURRENT").await, json!({"note": "by hand"}))).await;
    secret
}

async fn ed25519(bench: &Bench<MySql>) -> Secret<'_, MySql> {
    let password = random();
    let world = &bench.world;
    world.sql("INSTALL SONAME 'auth_ed25519'").await;
    unlogged(world, &format!("CREATE USER ed IDENTIFIED VIA ed25519 USING PASSWORD({})", literal(&password))).await;
    world.secret(world.document("ed", &password)).await
}

/// The log is there to be searched for what the function says, not for what the test does.
async fn unlogged(world: &World<MySql>, sql: &str) {
    world.sql("SET GLOBAL general_log = OFF").await;
    world.sql(sql).await;
    world.sql("SET GLOBAL general_log = ON").await;
}

async fn accounts_cannot_be_changed(bench: &Bench<MySql>) {
    let world = &bench.world;
    let locked = world.user("locked").await;
    world.sql("ALTER USER locked ACCOUNT LOCK").await;
    bench.fails(&locked, "role-unusable").await;
    let long = world.alternating_user(&"n".repeat(if world.server.kind() == Kind::MySql { 32 } else { 80 })).await;
    bench.fails(&long, "name-too-long").await;
    let read_only = world.user("read_only").await;
    world.server.set_read_only(true).await.expect("the server obeys");
    bench.fails(&read_only, "server-read-only").await;
    world.server.set_read_only(false).await.expect("the server obeys");
}

/// What the server's rules about passwords refuse.
async fn passwords_are_validated(bench: &Bench<MySql>) {
    let world = &bench.world;
    let (install, lengthen) = match world.server.kind() {
        Kind::MySql => {
            ("INSTALL COMPONENT 'file://component_validate_password'", "SET GLOBAL validate_password.length = 64")
        }
        Kind::MariaDb => {
            ("INSTALL SONAME 'simple_password_check'", "SET GLOBAL simple_password_check_minimal_length = 64")
        }
    };
    let secrets = [world.user("validated").await, world.alternating_user("validated_pair").await];
    world.sql(install).await;
    bench.rotate_twice(&[&secrets[0], &secrets[1]]).await;
    world.sql(lengthen).await;
    bench.fails(&secrets[0], "password-refused").await;
    if world.server.kind() == Kind::MySql {
        // A superuser's change carries a hash, which has no length.
        secrets[1].rotated().await;
        world.sql("UNINSTALL COMPONENT 'file://component_validate_password'").await;
        history_refuses(bench).await;
    } else {
        bench.fails(&secrets[1], "password-refused").await;
    }
}

/// A password that the user had before is proposed again.
async fn history_refuses(bench: &Bench<MySql>) {
    let user = bench.world.dual_password_user("remembered").await;
    bench.world.sql("ALTER USER remembered PASSWORD HISTORY 5").await;
    user.rotated().await;
    let first = user.at("AWSCURRENT").await;
    user.rotated().await;
    user.rotated().await;
    let token = bench.pending(&user, &first.to_string()).await;
    bench.step_fails(&user, &token, "setSecret", "password-refused").await;
}

/// Where a server's log has passwords in it, whatever the function does: MySQL is told to log statements as they came
/// (`log_raw`), and MariaDB validates passwords strictly, so that it has to be sent them.
async fn the_server_logs_passwords(bench: &Bench<MySql>) {
    match bench.world.server.kind() {
        Kind::MySql => {
            bench.world.sql("SET GLOBAL log_raw = ON").await;
            let secret = bench.world.dual_password_user("raw").await;
            bench.rotate_twice(&[&secret]).await;
        }
        Kind::MariaDb => passwords_are_validated(bench).await,
    }
}

impl Hashing for MySql {
    async fn parts_of_hashes(world: &World<Self>) -> Vec<String> {
        let sql = match world.server.kind() {
            Kind::MySql => "SELECT authentication_string, User_attributes->>'$.additional_password' FROM mysql.user",
            Kind::MariaDb => "SELECT authentication_string FROM mysql.user",
        };
        let rows = world.server.rows(sql).await.expect("the hashes");
        let hashes = rows.into_iter().flatten().flatten();
        hashes.flat_map(|hash| parts(&hash)).filter(|part| part.len() > 15).collect()
    }

    fn shows_hash(text: &str) -> bool {
        let statements = ["IDENTIFIED BY ", "IDENTIFIED WITH ", "IDENTIFIED VIA ", "SET PASSWORD", "PASSWORD('"];
        let hexadecimal = |digits: &str| digits.bytes().take(40).filter(u8::is_ascii_hexdigit).count() == 40;
        statements.iter().any(|part| text.contains(part))
            || text.contains("$A$0")
            || text.split('*').skip(1).any(hexadecimal)
    }
}

/// A hash, whole; of `caching_sha2_password` also the salt and the digest, of `mysql_native_password` also the digits as
/// others would write them.
fn parts(hash: &str) -> Vec<String> {
    let mut parts = vec![hash.to_owned()];
    if let Some((salt, digest)) = hash.strip_prefix("$A$005$").and_then(|rest| rest.split_at_checked(20)) {
        parts.extend([salt.to_owned(), digest.to_owned()]);
    }
    parts.extend(hash.strip_prefix('*').map(str::to_lowercase));
    parts
}
