//! A fault at each external call of a rotation in turn: the n-th request to Secrets Manager or database round trip, for
//! n = 1, 2, … until a rotation makes fewer. Right after the fault somebody can still get in, and the same rotation,
//! begun again from createSecret, converges.
//!
//! Statements for a pair of PostgreSQL are one transaction. On MySQL and MariaDB each commits by itself, so that every prefix
//! of them is a state that a crash can leave.

use integration_tests::crash::{run_again, struck};
use integration_tests::{Options, Secret, Server, Strategy, World, uuid, world};
use lab::disturb::Fault;
use lab::servers::mysql::{Kind, MySql, literal};
use lab::servers::postgres::Postgres;
use std::future::Future;
use std::time::Duration;

/// Has sweeps run as tests of a server.
macro_rules! sweeps {
    ($server:ident: $($test:ident = $rotation:ident with $fault:ident;)*) => {
        mod $server {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$rotation(crate::every_server::$server(), lab::disturb::Fault::$fault).await;
                }
            )*
        }
    };
}

sweeps! { postgres:
    a_single_user_survives_a_kill_before_any_call = one_user with KillBefore;
    a_single_user_survives_a_kill_after_any_call = one_user with KillAfter;
    a_single_user_survives_the_loss_of_any_reply = one_user with LoseReply;
    a_new_clone_survives_a_kill_before_any_call = new_clone with KillBefore;
    a_new_clone_survives_a_kill_after_any_call = new_clone with KillAfter;
    a_new_clone_survives_the_loss_of_any_reply = new_clone with LoseReply;
    a_pair_survives_a_kill_before_any_call = pair with KillBefore;
    a_pair_survives_a_kill_after_any_call = pair with KillAfter;
}

sweeps! { mysql:
    dual_passwords_survive_a_kill_before_any_call = one_user with KillBefore;
    dual_passwords_survive_a_kill_after_any_call = one_user with KillAfter;
    dual_passwords_survive_the_loss_of_any_reply = one_user with LoseReply;
    a_new_clone_survives_a_kill_before_any_call = new_clone with KillBefore;
    a_new_clone_survives_a_kill_after_any_call = new_clone with KillAfter;
    a_pair_survives_a_kill_after_any_call = pair with KillAfter;
}

sweeps! { mariadb:
    a_single_user_survives_a_kill_after_any_call = one_user with KillAfter;
    a_new_clone_survives_a_kill_after_any_call = new_clone with KillAfter;
    a_pair_survives_a_kill_before_any_call = pair with KillBefore;
}

/// What a server is asked and told around a crash.
trait Scene: Server {
    /// The least number of calls that a rotation makes: one login alone takes several flights, and there are three.
    const FEWEST_CALLS: usize;

    /// Statements for what users can be given.
    const SET: &'static str;
    /// Statements that give a user all that its clone has to follow.
    fn furnish(&self, user: &str) -> String;
    /// Statements that leave something to converge when the turn of `app_clone` comes.
    const SPOIL: &'static str;
    /// Whether the function has no connection.
    fn is_quiet(session: &Self::Session) -> impl Future<Output = bool>;
    /// Whether the base's clone is absent, or cannot be logged in to, or has all that it should.
    fn clone_is_absent_or_complete(&self, session: &Self::Session, base: &str) -> impl Future<Output = bool>;
    /// Fails unless the clone is there with the privileges of its base.
    fn privileges_are_equal(&self, session: &Self::Session, base: &str, at: &str) -> impl Future<Output = ()>;
}

/// Where everything happens, and a superuser's session to look at it.
struct Stage<S: Scene> {
    world: World<S>,
    session: S::Session,
}

impl<S: Scene> Stage<S> {
    async fn new<O: Options<Server = S>>(options: O) -> Self {
        let world = world(options).await;
        let session = world.server.session().await;
        Self { world, session }
    }

    async fn told(&self, statements: &str) {
        S::asked(&self.session, statements).await;
    }
}

async fn one_user<O: Options<Server: Scene>>(options: O, fault: Fault) {
    let stage = Stage::new(options).await;
    let strategy = stage.world.server.strategies()[0];
    let mut call = 1;
    loop {
        let secret = stage.world.user_of(strategy, &format!("app_{call}")).await;
        if !stage.strike(&secret, None, call, fault).await {
            break;
        }
        call += 1;
    }
    assert!(call > O::Server::FEWEST_CALLS, "only {call} calls");
}

/// The first rotation of a pair: the clone does not exist yet.
async fn new_clone<O: Options<Server: Scene>>(options: O, fault: Fault) {
    let stage = Stage::new(options).await;
    stage.told(O::Server::SET).await;
    let mut call = 1;
    loop {
        let base = format!("app_{call}");
        let secret = stage.world.alternating_user(&base).await;
        stage.told(&stage.world.server.furnish(&base)).await;
        if !stage.strike(&secret, Some(&base), call, fault).await {
            break;
        }
        call += 1;
    }
    assert!(call > O::Server::FEWEST_CALLS, "only {call} calls");
}

/// All later rotations of a pair, in both directions.
async fn pair<O: Options<Server: Scene>>(options: O, fault: Fault) {
    let stage = Stage::new(options).await;
    stage.told(O::Server::SET).await;
    let secret = stage.world.alternating_user("app").await;
    stage.told(&stage.world.server.furnish("app")).await;
    secret.rotated().await;
    let mut call = 1;
    loop {
        let to_the_base = stage.strike(&secret, Some("app"), call, fault).await;
        stage.told(O::Server::SPOIL).await;
        let to_the_clone = stage.strike(&secret, Some("app"), call, fault).await;
        if !to_the_base && !to_the_clone {
            break;
        }
        call += 1;
    }
    assert!(call > O::Server::FEWEST_CALLS, "only {call} calls");
}

impl<S: Scene> Stage<S> {
    /// Rotates with a fault at the n-th call, then runs the same rotation again without. False if there was no such call.
    async fn strike(&self, secret: &Secret<'_, S>, base: Option<&str>, number: usize, fault: Fault) -> bool {
        let Self { world, session } = self;
        let server = &world.server;
        let strategy = if base.is_some() { Strategy::AlternatingUsers } else { server.strategies()[0] };
        let old = secret.credential("AWSCURRENT").await;
        let whole = match base {
            Some(base) => server.clone_is_absent_or_complete(session, base).await,
            None => true,
        };
        let token = uuid();
        self.quiet().await;
        let (struck, at) = struck(secret, &token, (number, fault), self.quiet()).await;
        somebody_gets_in(world, secret, strategy, &at).await;
        if let Some(base) = base {
            assert!(!whole || server.clone_is_absent_or_complete(session, base).await, "{at}: half a clone");
        }

        run_again(secret, &token, Duration::ZERO, &at).await;
        converged(secret, &token, &old, &at).await;
        let kept = !strategy.keeps_previous() || secret.opens("AWSPREVIOUS").await;
        assert!(kept, "{at}: the previous credential is refused");
        if let Some(base) = base {
            server.privileges_are_equal(session, base, &at).await;
        }
        struck
    }

    /// Waits until the function has no connection to the server.
    async fn quiet(&self) {
        let quiet = async {
            while !S::is_quiet(&self.session).await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), quiet).await.expect("the function's connections end");
    }
}

/// What a consumer of the secret finds: AWSCURRENT works or, where a superseded credential ends at once, AWSPENDING.
async fn somebody_gets_in<S: Server>(world: &World<S>, secret: &Secret<'_, S>, strategy: Strategy, at: &str) {
    if secret.opens("AWSCURRENT").await {
        return;
    }
    assert!(!strategy.keeps_previous(), "{at}: AWSCURRENT is refused");
    let pending = world.lab.secret_value(&secret.arn, "AWSPENDING").await;
    assert!(pending.is_ok(), "{at}: AWSCURRENT is refused, and AWSPENDING is no more");
    assert!(secret.opens("AWSPENDING").await, "{at}: AWSCURRENT and AWSPENDING are refused");
}

async fn converged<S: Server>(secret: &Secret<'_, S>, token: &str, old: &(String, String), at: &str) {
    let labels = secret.labels().await;
    assert_eq!(secret.holders("AWSCURRENT").await, [token], "{at}: {labels}");
    assert!(secret.holders("AWSPENDING").await.iter().all(|version| version == token), "{at}: {labels}");
    assert_ne!(&secret.credential("AWSCURRENT").await, old, "{at}: the credential is the old one");
    assert!(secret.opens("AWSCURRENT").await, "{at}: the new credential is refused");
    assert_eq!(&secret.credential("AWSPREVIOUS").await, old, "{at}: {labels}");
}

impl Scene for Postgres {
    const FEWEST_CALLS: usize = 25;
    const SET: &'static str =
        "CREATE TABLE accounts (id int); CREATE ROLE readers; GRANT SELECT ON accounts TO readers";
    const SPOIL: &'static str = "ALTER ROLE app_clone RESET ALL; ALTER ROLE app_clone CONNECTION LIMIT 3";

    fn furnish(&self, user: &str) -> String {
        format!(
            "GRANT readers TO {user}; GRANT INSERT ON accounts TO {user}; \
             ALTER ROLE {user} CONNECTION LIMIT 17; ALTER ROLE {user} SET work_mem TO '5MB'"
        )
    }

    async fn is_quiet(session: &Self::Session) -> bool {
        Self::asked(session, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'lockstep'").await.is_empty()
    }

    async fn clone_is_absent_or_complete(&self, session: &Self::Session, base: &str) -> bool {
        let complete = format!(
            "SELECT coalesce((SELECT clone.rolcanlogin AND pg_has_role(clone.oid, base.oid, 'MEMBER') \
             AND clone.rolconnlimit = base.rolconnlimit AND base.rolconfig <@ clone.rolconfig \
             AND 'role=' || base.rolname = ANY (clone.rolconfig) \
             FROM pg_roles base, pg_roles clone WHERE base.rolname = '{base}' AND clone.rolname = '{base}_clone'), true)"
        );
        Self::asked(session, &complete).await == ["t"]
    }

    async fn privileges_are_equal(&self, session: &Self::Session, base: &str, at: &str) {
        assert!(self.clone_is_absent_or_complete(session, base).await, "{at}: half a clone");
        let privileges = format!(
            "SELECT pg_has_role(rolname, 'readers', 'MEMBER') AND has_table_privilege(rolname, 'accounts', 'SELECT') \
             AND has_table_privilege(rolname, 'accounts', 'INSERT') FROM pg_roles WHERE rolname IN ('{base}', '{base}_clone')"
        );
        assert_eq!(
            Self::asked(session, &privileges).await,
            ["t", "t"],
            "{at}: the clone is missing, or a privilege of it"
        );
    }
}

impl Scene for MySql {
    const FEWEST_CALLS: usize = 20;
    const SET: &'static str = "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT, note TEXT); \
        CREATE ROLE readers; GRANT SELECT ON shop.orders TO readers";
    const SPOIL: &'static str = "REVOKE INSERT ON shop.* FROM app_clone; GRANT DELETE ON shop.* TO app_clone";

    fn furnish(&self, user: &str) -> String {
        let default = match self.kind() {
            Kind::MySql => format!("SET DEFAULT ROLE readers TO {user}"),
            Kind::MariaDb => format!("SET DEFAULT ROLE readers FOR {user}"),
        };
        format!(
            "GRANT INSERT ON shop.* TO {user}; GRANT UPDATE (note) ON shop.orders TO {user}; \
             GRANT readers TO {user}; ALTER USER {user} WITH MAX_USER_CONNECTIONS 17; {default}"
        )
    }

    /// The lab's own sessions go straight to the server; the function's come through the relay, which the server cannot tell.
    async fn is_quiet(session: &Self::Session) -> bool {
        let others = "SELECT 1 FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND COMMAND <> 'Daemon' \
                      AND USER NOT IN ('event_scheduler', 'system user')";
        Self::asked(session, others).await.is_empty()
    }

    async fn clone_is_absent_or_complete(&self, session: &Self::Session, base: &str) -> bool {
        let clone = format!("{base}_clone");
        !exists(session, &clone).await
            || is_locked(self.kind(), session, &clone).await
            || grants(session, &clone).await == grants(session, base).await
    }

    async fn privileges_are_equal(&self, session: &Self::Session, base: &str, at: &str) {
        let clone = format!("{base}_clone");
        assert!(
            exists(session, &clone).await && !is_locked(self.kind(), session, &clone).await,
            "{at}: no clone that could log in"
        );
        assert_eq!(grants(session, &clone).await, grants(session, base).await, "{at}");
        let sql =
            format!("SELECT COUNT(DISTINCT max_user_connections) FROM mysql.user WHERE User IN ('{base}', '{clone}')");
        assert_eq!(Self::asked(session, &sql).await, ["1"], "{at}: the limits differ");
    }
}

/// What SHOW GRANTS says, with the user's name taken out.
async fn grants(session: &<MySql as Server>::Session, user: &str) -> Vec<String> {
    let mut grants = MySql::asked(session, &format!("SHOW GRANTS FOR {}", literal(user))).await;
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

async fn exists(session: &<MySql as Server>::Session, user: &str) -> bool {
    !MySql::asked(session, &format!("SELECT 1 FROM mysql.user WHERE User = {}", literal(user))).await.is_empty()
}

async fn is_locked(kind: Kind, session: &<MySql as Server>::Session, user: &str) -> bool {
    let sql = match kind {
        Kind::MySql => format!("SELECT account_locked = 'Y' FROM mysql.user WHERE User = {}", literal(user)),
        Kind::MariaDb => format!(
            "SELECT JSON_VALUE(Priv, '$.account_locked') IS TRUE FROM mysql.global_priv WHERE User = {}",
            literal(user)
        ),
    };
    MySql::asked(session, &sql).await == ["1"]
}
