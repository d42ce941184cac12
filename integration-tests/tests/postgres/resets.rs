//! Sessions that a pooler has reset: whose are the things that a clone makes in them?
//!
//! The minor versions of November 2024 changed what a reset does to a role's setting `role`. Debian's PostgreSQL 13 is older.

use integration_tests::{Secret, World};
use lab::servers::postgres::Version;
use lab::stack::RotationReport;
use serde_json::Value;
use tokio_postgres::Client;

/// The statements that a pooler sends between two clients: PgBouncer's `server_reset_query`, and its parts.
const RESETS: [&str; 5] = [
    "DISCARD ALL",
    "SET SESSION AUTHORIZATION DEFAULT; RESET ALL",
    "RESET SESSION AUTHORIZATION",
    "RESET ROLE",
    "RESET ALL",
];

/// What docs/secrets.md advises instead.
const KEEPING_RESET: &str = "CLOSE ALL; RESET ALL; RESET ROLE; DEALLOCATE ALL; UNLISTEN *; \
    SELECT pg_advisory_unlock_all(); DISCARD SEQUENCES; DISCARD TEMP";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_clone_makes_after_a_reset_is_the_bases() {
    for version in [Version::V15, Version::V17, Version::V18] {
        let world = World::on(version).await;
        world.sql("GRANT CREATE ON SCHEMA public TO PUBLIC").await;
        let secret = world.alternating_user("app").await;
        assert_eq!(warnings(&secret.rotated().await), Vec::<String>::new(), "{version}");
        let clone = session(&world, &secret, "AWSCURRENT", "postgres").await;
        for (number, reset) in RESETS.into_iter().enumerate() {
            clone.batch_execute(reset).await.unwrap();
            clone.batch_execute(&format!("CREATE TABLE made_{number} ()")).await.unwrap();
        }
        let owners = world.ask("SELECT DISTINCT tableowner FROM pg_tables WHERE tablename LIKE 'made%'").await;
        assert_eq!(owners, ["app"], "{version}");
        assert_eq!(warnings(&secret.rotated().await), Vec::<String>::new(), "{version}");
    }
}

/// It is said when the clone is made, and it is made good at the next rotation.
#[tokio::test(flavor = "multi_thread")]
async fn before_november_2024_a_reset_lets_a_clone_own_things_and_that_is_said() {
    let world = World::on(Version::V13).await;
    world.sql("CREATE DATABASE shop").await;
    let documented = include_str!("../../../docs/secrets.md");
    assert!(documented.contains(KEEPING_RESET), "the docs advise another reset than the one that is tried here");
    let secret = world.alternating_user("app").await;
    let first = warnings(&secret.rotated().await);
    assert!(matches!(first.as_slice(), [only] if only.starts_with("[role-not-kept]")), "{first:?}");
    assert!(first[0].contains("PostgreSQL 13.") && first[0].contains("RESET ROLE"), "{first:?}");

    // A clone without a reset session owns nothing, and the warning is not repeated.
    assert_eq!(warnings(&secret.rotated().await), Vec::<String>::new());
    secret.rotated().await;

    let clone = session(&world, &secret, "AWSCURRENT", "postgres").await;
    clone.batch_execute("DISCARD ALL").await.unwrap();
    clone.batch_execute("CREATE TABLE made AS SELECT 7 AS n").await.unwrap();
    // The advice: this reset leaves the session as it began.
    clone.batch_execute(KEEPING_RESET).await.unwrap();
    clone.batch_execute("CREATE TABLE well_made AS SELECT 7 AS n").await.unwrap();
    let elsewhere = session(&world, &secret, "AWSCURRENT", "shop").await;
    elsewhere.batch_execute("DISCARD ALL").await.unwrap();
    elsewhere.batch_execute("CREATE TABLE a (); CREATE TABLE b ()").await.unwrap();
    elsewhere.batch_execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC").await.unwrap();
    let owners = world.ask("SELECT tableowner FROM pg_tables WHERE tablename LIKE '%made' ORDER BY tablename").await;
    assert_eq!(owners, ["app_clone", "app"]);
    let base = session(&world, &secret, "AWSPREVIOUS", "postgres").await;
    base.batch_execute("SELECT FROM made").await.unwrap_err();

    let next = warnings(&secret.rotated().await);
    assert!(next[0].starts_with("[role-not-kept]"), "{next:?}");
    assert!(next[1].starts_with("[clone-owns-objects]") && next.len() == 2, "{next:?}");
    assert!(next[1].contains("database shop (objects: 2, default privileges: 1)"), "{next:?}");
    assert!(!next[1].contains("database postgres"), "{next:?}");
    for label in ["AWSCURRENT", "AWSPREVIOUS"] {
        let client = session(&world, &secret, label, "postgres").await;
        client.batch_execute("SELECT FROM made; ALTER TABLE made ADD m int; ALTER TABLE made DROP m").await.unwrap();
    }

    // What the warning says to do in the other database ends it.
    let superuser = world.server.connect("postgres", world.server.superuser_password(), "shop").await.unwrap();
    superuser.batch_execute("REASSIGN OWNED BY app_clone TO app").await.unwrap();
    superuser
        .batch_execute("ALTER DEFAULT PRIVILEGES FOR ROLE app_clone REVOKE SELECT ON TABLES FROM PUBLIC")
        .await
        .unwrap();
    assert_eq!(warnings(&secret.rotated().await), Vec::<String>::new());
}

/// A rotation logs in to one database. What a clone that AWS's function has made owns in others is named, on any version.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_clone_made_by_aws_owns_in_other_databases_is_named() {
    let world = World::on(Version::V18).await;
    let secret = world.alternating_user("app").await;
    world.sql("CREATE ROLE app_clone LOGIN; GRANT app TO app_clone").await;
    world.sql("CREATE DATABASE shop OWNER app_clone").await;
    let elsewhere = world.server.connect("postgres", world.server.superuser_password(), "shop").await.unwrap();
    elsewhere.batch_execute("CREATE SCHEMA of_clone AUTHORIZATION app_clone").await.unwrap();
    let said = warnings(&secret.rotated().await);
    assert!(matches!(said.as_slice(), [only] if only.starts_with("[clone-owns-objects]")), "{said:?}");
    assert!(said[0].contains("database shop (objects: 1)"), "{said:?}");
    let owner = world.ask("SELECT datdba::regrole FROM pg_database WHERE datname = 'shop'").await;
    assert_eq!(owner, ["app"], "a database belongs to no database, so the rotation itself gives it away");
}

/// What setSecret warned of.
fn warnings(report: &RotationReport) -> Vec<String> {
    let step = report.steps.iter().find(|step| step.step == "setSecret").unwrap();
    let result = step.result().unwrap();
    let warnings = result["warnings"].as_array().cloned().unwrap_or_default();
    warnings.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

async fn session(world: &World, secret: &Secret<'_>, label: &str, database: &str) -> Client {
    let (user, password) = secret.credential(label).await;
    world.server.connect(&user, &password.into(), database).await.unwrap()
}
