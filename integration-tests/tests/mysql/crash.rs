//! A fault at each external call of a rotation in turn, as in `crash.rs` for PostgreSQL. A pair's statements each commit by
//! themselves here, so that every prefix of them is a state that a crash can leave.

use integration_tests::crash::{Scene, Superseded, strike};
use integration_tests::{Secret, World};
use lab::disturb::Fault;
use lab::servers::mysql::{Kind, MySql, literal};

#[tokio::test(flavor = "multi_thread")]
async fn dual_passwords_survive_a_kill_before_any_call() {
    each_call_of_one_user(Kind::MySql, Fault::KillBefore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dual_passwords_survive_a_kill_after_any_call() {
    each_call_of_one_user(Kind::MySql, Fault::KillAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dual_passwords_survive_the_loss_of_any_reply() {
    each_call_of_one_user(Kind::MySql, Fault::LoseReply).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_user_of_mariadb_survives_a_kill_after_any_call() {
    each_call_of_one_user(Kind::MariaDb, Fault::KillAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_clone_on_mysql_survives_a_kill_before_any_call() {
    each_call_of_a_new_clone(Kind::MySql, Fault::KillBefore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_clone_on_mysql_survives_a_kill_after_any_call() {
    each_call_of_a_new_clone(Kind::MySql, Fault::KillAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_clone_on_mariadb_survives_a_kill_after_any_call() {
    each_call_of_a_new_clone(Kind::MariaDb, Fault::KillAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_on_mysql_survives_a_kill_after_any_call() {
    each_call_of_a_pair(Kind::MySql, Fault::KillAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_on_mariadb_survives_a_kill_before_any_call() {
    each_call_of_a_pair(Kind::MariaDb, Fault::KillBefore).await;
}

/// The least number of calls that a rotation makes: one login alone takes several flights, and there are three.
const FEWEST_CALLS: usize = 20;

async fn each_call_of_one_user(kind: Kind, fault: Fault) {
    let world = World::of(kind).await;
    let stage = Stage(&world);
    let mut call = 1;
    loop {
        let user = format!("app_{call}");
        let (secret, superseded) = match kind {
            Kind::MySql => (world.dual_password_user(&user).await, Superseded::Works),
            Kind::MariaDb => (world.user(&user).await, Superseded::Ends),
        };
        if !strike(&stage, &secret, None, superseded, call, fault).await {
            break;
        }
        call += 1;
    }
    assert!(call > FEWEST_CALLS, "only {call} calls");
}

/// The first rotation of a pair: the clone does not exist yet.
async fn each_call_of_a_new_clone(kind: Kind, fault: Fault) {
    let world = World::of(kind).await;
    let stage = Stage::set(&world).await;
    let mut call = 1;
    loop {
        let base = format!("app_{call}");
        let secret = world.alternating_user(&base).await;
        stage.furnish(&base).await;
        if !stage.strike(&secret, &base, call, fault).await {
            break;
        }
        call += 1;
    }
    assert!(call > FEWEST_CALLS, "only {call} calls");
}

/// All later rotations of a pair, in both directions.
async fn each_call_of_a_pair(kind: Kind, fault: Fault) {
    let world = World::of(kind).await;
    let stage = Stage::set(&world).await;
    let secret = world.alternating_user("app").await;
    stage.furnish("app").await;
    secret.rotated().await;
    let mut call = 1;
    loop {
        let to_the_base = stage.strike(&secret, "app", call, fault).await;
        // Something to converge when the clone's turn comes.
        world.sql("REVOKE INSERT ON shop.* FROM app_clone; GRANT DELETE ON shop.* TO app_clone").await;
        let to_the_clone = stage.strike(&secret, "app", call, fault).await;
        if !to_the_base && !to_the_clone {
            break;
        }
        call += 1;
    }
    assert!(call > FEWEST_CALLS, "only {call} calls");
}

struct Stage<'a>(&'a World<MySql>);

impl<'a> Stage<'a> {
    async fn set(world: &'a World<MySql>) -> Self {
        world.sql("CREATE DATABASE shop; CREATE TABLE shop.orders (id INT, note TEXT); CREATE ROLE readers").await;
        world.sql("GRANT SELECT ON shop.orders TO readers").await;
        Self(world)
    }

    /// Gives a user all that its clone has to follow.
    async fn furnish(&self, user: &str) {
        let world = self.0;
        world.sql(&format!("GRANT INSERT ON shop.* TO {user}; GRANT UPDATE (note) ON shop.orders TO {user}")).await;
        world.sql(&format!("GRANT readers TO {user}; ALTER USER {user} WITH MAX_USER_CONNECTIONS 17")).await;
        let default = match world.server.kind() {
            Kind::MySql => format!("SET DEFAULT ROLE readers TO {user}"),
            Kind::MariaDb => format!("SET DEFAULT ROLE readers FOR {user}"),
        };
        world.sql(&default).await;
    }

    async fn strike(&self, secret: &Secret<'_, MySql>, base: &str, number: usize, fault: Fault) -> bool {
        strike(self, secret, Some(base), Superseded::Works, number, fault).await
    }

    /// What SHOW GRANTS says, with the user's name taken out.
    async fn grants(&self, user: &str) -> Vec<String> {
        let mut grants = self.0.ask(&format!("SHOW GRANTS FOR {}", literal(user))).await;
        for grant in &mut grants {
            *grant = grant.replace(&format!("`{user}`"), "`…`");
            // MariaDB shows hashes.
            if let Some((start, _)) = grant.split_once(" IDENTIFIED BY PASSWORD") {
                *grant = start.to_owned();
            }
        }
        grants.sort();
        grants
    }

    async fn exists(&self, user: &str) -> bool {
        !self.0.ask(&format!("SELECT 1 FROM mysql.user WHERE User = {}", literal(user))).await.is_empty()
    }

    async fn locked(&self, user: &str) -> bool {
        let sql = match self.0.server.kind() {
            Kind::MySql => format!("SELECT account_locked = 'Y' FROM mysql.user WHERE User = {}", literal(user)),
            Kind::MariaDb => format!(
                "SELECT JSON_VALUE(Priv, '$.account_locked') IS TRUE FROM mysql.global_priv WHERE User = {}",
                literal(user)
            ),
        };
        self.0.ask(&sql).await == ["1"]
    }
}

impl Scene<MySql> for Stage<'_> {
    fn world(&self) -> &World<MySql> {
        self.0
    }

    async fn connections(&self) -> usize {
        // The lab's own go straight to the server; the function's come through the relay, which the server cannot tell.
        let own = "SELECT 1 FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND COMMAND <> 'Daemon' \
                   AND USER NOT IN ('event_scheduler', 'system user')";
        self.0.ask(own).await.len()
    }

    async fn clone_is_absent_or_complete(&self, base: &str) -> bool {
        let clone = format!("{base}_clone");
        !self.exists(&clone).await || self.locked(&clone).await || self.grants(&clone).await == self.grants(base).await
    }

    async fn privileges_are_equal(&self, base: &str, at: &str) {
        let clone = format!("{base}_clone");
        assert!(self.exists(&clone).await && !self.locked(&clone).await, "{at}: no clone that could log in");
        assert_eq!(self.grants(&clone).await, self.grants(base).await, "{at}");
        let sql =
            format!("SELECT COUNT(DISTINCT max_user_connections) FROM mysql.user WHERE User IN ('{base}', '{clone}')");
        assert_eq!(self.0.ask(&sql).await, ["1"], "{at}: the limits differ");
    }
}
