//! The promise "never prints one": rotations that succeed and rotations that fail in every way, at every log level, and
//! none of their output shows a password, a verifier, a RotationToken or an AWS credential. Here for PostgreSQL.

use super::bench::{Bench, DEPENDENCIES, EVERYTHING, Hashing};
use integration_tests::World;
use lab::servers::certificates::TestCa;
use lab::servers::postgres::{Options, Postgres};

/// A user whose verifier is md5, which the server must be told to accept.
const HASHED: &str = "hashed";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_printed_when_all_is_logged() {
    no_output_holds_a_secret(EVERYTHING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_printed_when_the_dependencies_are_asked_to_log() {
    no_output_holds_a_secret(DEPENDENCIES).await;
}

async fn no_output_holds_a_secret(levels: &[(&str, &str)]) {
    let ca = TestCa::new("clients").expect("an authority");
    let certified = "hostssl all certified 127.0.0.1/32 scram-sha-256 clientcert=verify-full";
    let options = Options::default()
        .log_statements()
        .client_ca(ca.pem())
        .hba(certified)
        .hba(&format!("hostssl all {HASHED} 127.0.0.1/32 md5"));
    let server = Postgres::start(options).await.expect("PostgreSQL starts");
    let bench = Bench::start(server, &[levels, &[("ALLOW_MD5", "true")]].concat()).await;
    rotations_succeed(&bench, &ca).await;
    bench.everything_fails(&["locked-out"], 5, "login-forbidden").await;

    let (world, secrets) = bench.judge().await;
    let log = world.server.log_text().expect("the server has a log");
    // The server's own log shows statements, and with them verifiers: that is how well it was looked at.
    let found = secrets.found_in(&log);
    assert!(found.iter().all(|what| what.starts_with("a hash")), "{found:?}");
    assert!(!found.is_empty(), "the search does not find what is there");
}

async fn rotations_succeed(bench: &Bench<Postgres>, ca: &TestCa) {
    let world = &bench.world;
    let single = world.user("single").await;
    let alternating = world.alternating_user("alternating").await;
    let hashed = world.user(HASHED).await;
    world.sql(&format!("ALTER ROLE {HASHED} SET password_encryption = 'md5'")).await;
    let strange = bench.user_with_strange_password("strange").await;
    let certified = bench.user_with_certificate("certified", ca).await;
    bench.rotate_twice(&[&single, &alternating, &hashed, &strange, &certified]).await;
    let md5 = world.ask("SELECT rolpassword FROM pg_authid WHERE rolname = 'hashed'").await;
    assert!(md5[0].starts_with("md5"), "the verifier is not md5");
}

impl Hashing for Postgres {
    async fn parts_of_hashes(world: &World<Self>) -> Vec<String> {
        let verifiers = world.ask("SELECT rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL").await;
        // The salt and the two keys of RFC 5803, or the digest.
        let parts = verifiers.iter().flat_map(|verifier| verifier.split(['$', ':'])).filter(|part| part.len() > 15);
        parts.map(str::to_owned).collect()
    }

    fn shows_hash(text: &str) -> bool {
        text.contains("SCRAM-SHA-256$") || text.contains("PASSWORD '")
    }
}
