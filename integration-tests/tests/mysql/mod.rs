//! What only MySQL and MariaDB do.

mod alternating_users;
mod bad_input;
mod connection;
mod crash;
mod disturbed;
mod dual_password;
mod pool;
mod single_user;

use integration_tests::{OVERLAP, Secret, World};
use lab::servers::mysql::MySql;

/// Attaches the function without rotating (RotateImmediately=false), and says how its test of the configuration ended.
async fn attached(world: &World<MySql>, secret: &Secret<'_, MySql>) -> String {
    let token = integration_tests::uuid();
    let end = world.lab.rotation_end(&token);
    let request = serde_json::json!({"SecretId": secret.arn, "ClientRequestToken": token, "RotateImmediately": false,
        "RotationLambdaARN": world.lab.function_arn(), "RotationRules": {"AutomaticallyAfterDays": 30}});
    world.lab.call("RotateSecret", request).await.unwrap();
    format!("{:?}", end.await)
}

/// Calls to Secrets Manager in sequence, all of them, and connections to the database, for each step of a rotation.
async fn costs(world: &World<MySql>, secret: &Secret<'_, MySql>) -> Vec<(usize, usize, usize)> {
    let token = secret.registered().await;
    let mut costs = Vec::new();
    for step in integration_tests::STEPS {
        world.lab.disturb().restart();
        world.lab.disturb().latency(OVERLAP);
        let before = world.relay.connections();
        secret.steps(&[step], &token).await;
        let calls: Vec<_> =
            world.lab.calls().into_iter().filter(|call| call.operation != lab::disturb::DATABASE).collect();
        let path = lab::disturb::critical_path(calls.iter());
        costs.push((path, calls.len(), world.relay.connections() - before));
    }
    world.lab.disturb().restart();
    costs
}

/// Logins that the server refused since it started.
async fn refused_logins(world: &World<MySql>) -> u64 {
    let rows = world.server.rows("SHOW GLOBAL STATUS LIKE 'Access_denied_errors'").await.unwrap();
    match rows.first().and_then(|row| row.get(1).cloned().flatten()) {
        Some(count) => count.parse().unwrap(),
        // MySQL has no such counter; what the log says about it needs log_error_verbosity 3.
        None => world.server.log_text().unwrap().matches("Access denied for user").count() as u64,
    }
}
