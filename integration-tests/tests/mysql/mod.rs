//! What only MySQL and MariaDB do.

use integration_tests::{STEPS, Secret, World};
use lab::disturb::Fault;
use lab::servers::mysql::MySql;
use serde_json::json;
use std::future::Future;
use std::time::Duration;

/// Has functions run as tests of MySQL and of MariaDB.
macro_rules! on_each_kind {
    ($($test:ident;)*) => {
        $(
            mod $test {
                #[tokio::test(flavor = "multi_thread")]
                async fn mysql() {
                    super::$test(lab::servers::mysql::Kind::MySql).await;
                }
                #[tokio::test(flavor = "multi_thread")]
                async fn mariadb() {
                    super::$test(lab::servers::mysql::Kind::MariaDb).await;
                }
            }
        )*
    };
}

mod accounts;
mod alternating_users;
mod connection;
mod dual_password;
mod session;
mod set_by_superuser;
mod single_user;
mod sockets;

/// At each call in turn, what ends the previous password is held up, while somebody moves AWSCURRENT back. Each secret, made for this user,
/// discards the previous password at once.
async fn moved_back_at_each_call<'w>(world: &'w World<MySql>, make: impl AsyncFn(String) -> Secret<'w, MySql>) {
    let (held_up, mut ended_well) = (Duration::from_millis(600), 0);
    for number in 1.. {
        let secret = make(format!("app{number}")).await;
        let token = secret.registered().await;
        secret.steps(&STEPS[..3], &token).await;
        let old = secret.version("AWSCURRENT").await;
        world.lab.disturb().on_next("UpdateSecretVersionStage", Fault::KillAfter);
        secret.step("finishSecret", &token).await.expect_err("killed");
        world.lab.disturb().restart();
        world.lab.disturb().on_call(number, Fault::Delay(held_up));
        let back = async {
            tokio::time::sleep(held_up / 2).await;
            let request = json!({"SecretId": secret.arn, "VersionStage": "AWSCURRENT", "MoveToVersionId": old,
                "RemoveFromVersionId": token});
            world.lab.call("UpdateSecretVersionStage", request).await.expect("the label moves");
        };
        let (again, ()) = tokio::join!(secret.step("finishSecret", &token), back);
        if world.lab.disturb().fired() == 0 {
            break;
        }
        ended_well += usize::from(again.is_ok());
        // Once the label was asked for the last time, what is under way cannot be stopped any more.
        let asked = world.lab.calls().into_iter().rfind(|call| call.operation == "DescribeSecret");
        if asked.is_some_and(|call| call.number >= number) {
            let ended = format!("call {number}: the password that consumers read has ended: {again:?}");
            assert!(secret.opens("AWSCURRENT").await, "{ended}");
        }
    }
    assert!(ended_well > 0, "nothing came as far as the labels");
}

/// Logins that the server refused since it started.
pub async fn refused_logins(server: &MySql) -> usize {
    let rows = server.rows("SHOW GLOBAL STATUS LIKE 'Access_denied_errors'").await.unwrap();
    match rows.first().and_then(|row| row.get(1).cloned().flatten()) {
        Some(count) => count.parse().unwrap(),
        // MySQL has no such counter; what the log says about it needs log_error_verbosity 3.
        None => server.log_text().unwrap().matches("Access denied for user").count(),
    }
}

/// Does `work` while a session sleeps that has executed these statements.
pub async fn while_held<T>(server: &MySql, statements: &str, work: impl Future<Output = T>) -> T {
    let sleeping = "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO = 'DO SLEEP(120)'";
    let held = format!("{statements}; DO SLEEP(120)");
    let work = async {
        let session = loop {
            let rows = server.rows(sleeping).await.unwrap();
            if let [session] = rows.as_slice() {
                break session[0].clone().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let done = work.await;
        server.sql(&format!("KILL {session}")).await.unwrap();
        done
    };
    // The session ends with an error, being killed.
    tokio::join!(server.sql(&held), work).1
}
