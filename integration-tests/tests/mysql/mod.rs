//! What only MySQL and MariaDB do.

use lab::servers::mysql::MySql;
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
