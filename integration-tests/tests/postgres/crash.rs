//! A fault at each external call of a rotation in turn: the n-th request to Secrets Manager or database round trip, for
//! n = 1, 2, … until a rotation makes fewer. Right after the fault somebody can still get in, and the same rotation,
//! begun again from createSecret, converges.

use integration_tests::crash::{Scene, Superseded, strike};
use integration_tests::{Secret, World};
use lab::disturb::Fault;
use lab::servers::postgres::Postgres;
use tokio_postgres::{Client, SimpleQueryMessage};

#[tokio::test(flavor = "multi_thread")]
async fn a_single_user_survives_a_kill_before_any_call() {
    each_call_of_a_single_user(Fault::KillBefore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_user_survives_a_kill_after_any_call() {
    each_call_of_a_single_user(Fault::KillAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_user_survives_the_loss_of_any_reply() {
    each_call_of_a_single_user(Fault::LoseReply).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_clone_survives_a_kill_before_any_call() {
    each_call_of_a_new_clone(Fault::KillBefore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_clone_survives_a_kill_after_any_call() {
    each_call_of_a_new_clone(Fault::KillAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_clone_survives_the_loss_of_any_reply() {
    each_call_of_a_new_clone(Fault::LoseReply).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_survives_a_kill_before_any_call() {
    each_call_of_a_pair(Fault::KillBefore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_survives_a_kill_after_any_call() {
    each_call_of_a_pair(Fault::KillAfter).await;
}

/// The least number of calls that a rotation makes: one login alone takes five flights, and there are three.
const FEWEST_CALLS: usize = 25;

async fn each_call_of_a_single_user(fault: Fault) {
    let world = World::start().await;
    let stage = Stage::new(&world).await;
    let mut call = 1;
    loop {
        let user = format!("app_{call}");
        let secret = world.user(&user).await;
        if !stage.strike(&secret, None, call, fault).await {
            break;
        }
        call += 1;
    }
    assert!(call > FEWEST_CALLS, "only {call} calls");
}

/// The first rotation of a pair: the clone does not exist yet.
async fn each_call_of_a_new_clone(fault: Fault) {
    let world = World::start().await;
    let stage = Stage::new(&world).await;
    let mut call = 1;
    loop {
        let base = format!("app_{call}");
        let secret = world.alternating_user(&base).await;
        stage.furnish(&base).await;
        if !stage.strike(&secret, Some(&base), call, fault).await {
            break;
        }
        call += 1;
    }
    assert!(call > FEWEST_CALLS, "only {call} calls");
}

/// All later rotations of a pair, in both directions.
async fn each_call_of_a_pair(fault: Fault) {
    let world = World::start().await;
    let stage = Stage::new(&world).await;
    let secret = world.alternating_user("app").await;
    stage.furnish("app").await;
    secret.rotated().await;
    let mut call = 1;
    loop {
        let to_the_base = stage.strike(&secret, Some("app"), call, fault).await;
        // Something to converge when the clone's turn comes.
        stage.ask("ALTER ROLE app_clone RESET ALL; ALTER ROLE app_clone CONNECTION LIMIT 3").await;
        let to_the_clone = stage.strike(&secret, Some("app"), call, fault).await;
        if !to_the_base && !to_the_clone {
            break;
        }
        call += 1;
    }
    assert!(call > FEWEST_CALLS, "only {call} calls");
}

/// A world, and a superuser's connection to look at it with.
struct Stage<'a> {
    world: &'a World,
    superuser: Client,
}

impl<'a> Stage<'a> {
    async fn new(world: &'a World) -> Self {
        let superuser = world.server.connect_superuser().await.expect("the superuser logs in");
        superuser
            .batch_execute("CREATE TABLE accounts (id int); CREATE ROLE readers; GRANT SELECT ON accounts TO readers")
            .await
            .expect("the scene is set");
        Self { world, superuser }
    }

    /// Gives a user all that its clone has to follow.
    async fn furnish(&self, user: &str) {
        self.ask(&format!("GRANT readers TO {user}; GRANT INSERT ON accounts TO {user}")).await;
        self.ask(&format!("ALTER ROLE {user} CONNECTION LIMIT 17; ALTER ROLE {user} SET work_mem TO '5MB'")).await;
    }

    /// False if there was no such call.
    async fn strike(&self, secret: &Secret<'_>, base: Option<&str>, number: usize, fault: Fault) -> bool {
        let superseded = if base.is_some() { Superseded::Works } else { Superseded::Ends };
        strike(self, secret, base, superseded, number, fault).await
    }

    /// The first column of each row, as text.
    async fn ask(&self, sql: &str) -> Vec<String> {
        let messages = self.superuser.simple_query(sql).await.expect(sql);
        let first = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        };
        messages.iter().filter_map(first).collect()
    }
}

impl Scene<Postgres> for Stage<'_> {
    fn world(&self) -> &World {
        self.world
    }

    async fn connections(&self) -> usize {
        self.ask("SELECT 1 FROM pg_stat_activity WHERE application_name = 'lockstep'").await.len()
    }

    async fn clone_is_absent_or_complete(&self, base: &str) -> bool {
        let complete = format!(
            "SELECT coalesce((SELECT clone.rolcanlogin AND pg_has_role(clone.oid, base.oid, 'MEMBER') \
             AND clone.rolconnlimit = base.rolconnlimit AND base.rolconfig <@ clone.rolconfig \
             AND 'role=' || base.rolname = ANY (clone.rolconfig) \
             FROM pg_roles base, pg_roles clone WHERE base.rolname = '{base}' AND clone.rolname = '{base}_clone'), true)"
        );
        self.ask(&complete).await == ["t"]
    }

    async fn privileges_are_equal(&self, base: &str, at: &str) {
        assert!(self.clone_is_absent_or_complete(base).await, "{at}: half a clone");
        let privileges = format!(
            "SELECT pg_has_role(rolname, 'readers', 'MEMBER') AND has_table_privilege(rolname, 'accounts', 'SELECT') \
             AND has_table_privilege(rolname, 'accounts', 'INSERT') FROM pg_roles WHERE rolname IN ('{base}', '{base}_clone')"
        );
        assert_eq!(self.ask(&privileges).await, ["t", "t"], "{at}: the clone is missing, or a privilege of it");
    }
}
