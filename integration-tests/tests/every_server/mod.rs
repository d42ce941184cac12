//! What holds whatever the server is: each test runs once for each kind of server. In what servers differ for the tests, a trait
//! beside them says.

use lab::servers::{mysql, postgres};

/// Has a function run as a test of some servers: it is given the options that start one.
macro_rules! on {
    ($servers:tt: $($test:ident;)*) => {
        $(on! { @ $test $servers })*
    };
    (@ $test:ident ($($server:ident),+)) => {
        mod $test {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $server() {
                    super::$test(crate::every_server::$server()).await;
                }
            )+
        }
    };
}

mod bad_input;
mod client_certificate;
mod connection;
mod crash;
mod disturbed;
mod hostile;
mod key_names;
mod one_user;
mod pool;
mod rds;
mod recover;
mod recovery;
mod retire;
mod set_by_superuser;
mod trouble;

/// PostgreSQL 15.
fn postgres() -> postgres::Options {
    postgres::Options::default()
}

/// MySQL.
fn mysql() -> mysql::Options {
    mysql::Options::default()
}

/// MariaDB, which has the function of MySQL.
fn mariadb() -> mysql::Options {
    mysql::Options::default().kind(mysql::Kind::MariaDb)
}
