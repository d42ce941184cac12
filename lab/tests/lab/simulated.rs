//! The simulated servers of histories, compared with real ones: the same operations on both, drawn by a seed. After each operation the
//! outcomes have to be equal, and so does what opens the server and what users may do.
//!
//! `LOCKSTEP_SEED=7 LOCKSTEP_ALL=1 cargo test -p lab --test lab simulated` tries more of them.

use lab::chaos::{Simulated, Target};
use lab::servers::mysql::{self, Kind, MySql, literal};
use lab::servers::postgres::{self, Postgres, quoted};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rotation::Result;
use rotation::clock::Deadline;
use rotation::database::{
    Endpoint, Engine, Evidence, Hold, Login, LoginFailure, Pair, PasswordChange, Side, Transport, Turn, Work,
};
use rotation::environment::Environment;
use rotation::net::tls::Verifier;
use rotation::secret::Password;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

const BASE: &str = "app";
const CLONE: &str = "app_clone";
const USERS: [&str; 2] = [BASE, CLONE];
const SUPERUSER: &str = "boss";
/// Three are enough for one to be new, one current and one forgotten.
const PASSWORDS: [&str; 3] = ["first-4Tq8Zs1LwXk02", "second-9bQm3Rv7UyHd5", "third-Lc6Jn0Pf2EaGx"];
const SUPERUSER_PASSWORD: &str = "superuser-Vw5Kt8Nz3QrS";
const PRIVILEGES: [&str; 2] = ["read", "write"];

/// What is done. Users and passwords are indices.
#[derive(Clone, Copy, Debug)]
enum Operation {
    /// The user changes its own password.
    Own {
        user: usize,
        from: usize,
        to: usize,
    },
    /// The superuser sets a user's password.
    Rescue {
        user: usize,
        from: usize,
        to: usize,
    },
    /// The superuser sets a user's password, as it always does.
    Set {
        user: usize,
        from: usize,
        to: usize,
    },
    /// The superuser ends all passwords of a user but this one.
    DiscardOther {
        user: usize,
        password: usize,
    },
    /// The superuser does the turn of one side.
    Turn {
        side: Side,
        new: usize,
        current: usize,
        named: bool,
        held: bool,
    },
    /// A turn that ends before the password is set.
    Align {
        side: Side,
        new: usize,
        current: usize,
    },
    /// The user ends all its passwords but this one.
    Discard {
        user: usize,
        password: usize,
    },
    /// The user proves that it can log in, and that it follows its base.
    Prove {
        user: usize,
        password: usize,
        pair: bool,
    },
    /// The superuser compares the pair.
    Compare {
        side: Side,
    },
    /// People: set a password, drop a user, make it, lock it, take a privilege.
    SetPassword {
        user: usize,
        password: usize,
    },
    Drop {
        user: usize,
    },
    Create {
        user: usize,
        password: usize,
    },
    Lock {
        user: usize,
        locked: bool,
    },
    Revoke {
        user: usize,
        privilege: usize,
    },
}

impl Operation {
    fn drawn(random: &mut StdRng) -> Self {
        let [user, from, to, privilege] = [2, 3, 3, 2].map(|below| random.random_range(0..below));
        let [locked, pair, named, held] = std::array::from_fn(|_| random.random());
        let side = if user == 0 { Side::Base } else { Side::Clone };
        match random.random_range(0..29) {
            0..4 => Self::Own { user, from, to },
            4..6 => Self::Rescue { user, from, to },
            6..13 => Self::Turn { side, new: to, current: from, named, held },
            13 => Self::Align { side, new: to, current: from },
            14..16 => Self::Discard { user, password: from },
            16..18 => Self::Prove { user, password: from, pair },
            18 => Self::Compare { side },
            19 => Self::SetPassword { user, password: to },
            20 => Self::Drop { user },
            21 => Self::Create { user, password: to },
            22 => Self::Lock { user, locked },
            23..27 => Self::Set { user, from, to },
            27 => Self::DiscardOther { user, password: from },
            _ => Self::Revoke { user, privilege },
        }
    }
}

/// What the versions of the secret say.
struct Versions(bool);

impl Evidence for Versions {
    fn uses_tls(&self) -> bool {
        true
    }
    fn has_client_certificate(&self) -> bool {
        false
    }
    async fn held(&self, _: &str) -> Result<bool> {
        Ok(self.0)
    }
    async fn previous_password(&self, _: &str) -> Result<Option<Password>> {
        Ok(None)
    }
    async fn passwords(&self, _: &str) -> Result<Vec<Password>> {
        Ok(Vec::new())
    }
}

/// A server, real or simulated, as people see it.
trait Server {
    async fn create_user(&self, user: &str, password: &str);
    async fn drop_user(&self, user: &str);
    async fn set_password(&self, user: &str, password: &str);
    async fn lock_user(&self, user: &str, locked: bool);
    async fn revoke(&self, user: &str, privilege: &str);
    async fn opens(&self, user: &str, password: &str) -> bool;
    /// None if there is no such user.
    async fn privileges(&self, user: &str) -> Option<Vec<String>>;
}

/// An engine, the server that it talks to, and how.
struct Place<E, S> {
    engine: E,
    server: S,
    endpoint: Endpoint,
}

impl<E: Engine, S: Server> Place<E, S> {
    async fn connect(&self, user: &str, password: &str) -> Result<E::Session, LoginFailure> {
        let password = Password::from(password);
        let login = Login { endpoint: &self.endpoint, user, password: &password, channel_binding_required: false };
        self.engine.connect(login, Deadline::after(Duration::from_secs(20))).await
    }

    /// Carries an operation out, and says how it ended.
    async fn act(&self, operation: Operation) -> String {
        let outcome = match operation {
            Operation::SetPassword { user, password } => {
                self.server.set_password(USERS[user], PASSWORDS[password]).await;
                return "done".to_owned();
            }
            Operation::Drop { user } => {
                self.server.drop_user(USERS[user]).await;
                return "done".to_owned();
            }
            Operation::Create { user, password } => {
                if self.server.privileges(USERS[user]).await.is_none() {
                    self.server.create_user(USERS[user], PASSWORDS[password]).await;
                }
                return "done".to_owned();
            }
            Operation::Lock { user, locked } => {
                self.server.lock_user(USERS[user], locked).await;
                return "done".to_owned();
            }
            Operation::Revoke { user, privilege } => {
                self.server.revoke(USERS[user], PRIVILEGES[privilege]).await;
                return "done".to_owned();
            }
            Operation::Own { user, .. } | Operation::Discard { user, .. } | Operation::Prove { user, .. } => {
                let password = match operation {
                    Operation::Own { from, .. } => from,
                    Operation::Discard { password, .. } | Operation::Prove { password, .. } => password,
                    _ => unreachable!(),
                };
                match self.connect(USERS[user], PASSWORDS[password]).await {
                    Ok(session) => self.as_user(session, operation).await,
                    // MySQL pretends that every user exists, and asks for one of its ways to authenticate, chosen by the name.
                    Err(_) if self.server.privileges(USERS[user]).await.is_none() => {
                        return "login: no user".to_owned();
                    }
                    Err(failure) => return format!("login: {}", failure.observation.as_str()),
                }
            }
            Operation::Rescue { .. }
            | Operation::Set { .. }
            | Operation::DiscardOther { .. }
            | Operation::Turn { .. }
            | Operation::Align { .. }
            | Operation::Compare { .. } => {
                let session = self.connect(SUPERUSER, SUPERUSER_PASSWORD).await.map_err(|failure| failure.error);
                self.as_superuser(session.unwrap(), operation).await
            }
        };
        match outcome {
            Ok(said) => said,
            Err(error) => error.code().to_string(),
        }
    }

    async fn as_user(&self, session: E::Session, operation: Operation) -> Result<String> {
        let nothing = Versions(false);
        match operation {
            Operation::Own { user, from, to } => {
                let (from, to) = (password(from), password(to));
                let change = PasswordChange { user: USERS[user], from: &from, to: &to };
                let locked = self.engine.lock(session, Work::Own(change), &nothing).await?;
                Ok(format!("previous {}", self.engine.set_password(locked, change).await?.as_str()))
            }
            Operation::Discard { user, password: current } => {
                let locked = self.engine.lock(session, Work::Discard { user: USERS[user] }, &nothing).await?;
                Ok(format!("discarded {}", self.engine.discard_previous_password(locked, &password(current)).await?))
            }
            Operation::Prove { user, pair: of_a_pair, .. } => {
                let pair = of_a_pair.then(|| pair(false));
                let session = self.engine.prove(session, USERS[user], pair.as_ref(), Hold::Lock).await?;
                self.engine.close(session).await;
                Ok("proved".to_owned())
            }
            _ => unreachable!(),
        }
    }

    async fn as_superuser(&self, session: E::Session, operation: Operation) -> Result<String> {
        match operation {
            Operation::Rescue { user, from, to } => {
                let (from, to) = (password(from), password(to));
                let change = PasswordChange { user: USERS[user], from: &from, to: &to };
                let locked = self.engine.lock(session, Work::Rescue(change), &Versions(false)).await?;
                Ok(format!("previous {}", self.engine.set_password(locked, change).await?.as_str()))
            }
            Operation::Set { user, from, to } => {
                let (from, to) = (password(from), password(to));
                let change = PasswordChange { user: USERS[user], from: &from, to: &to };
                let locked = self.engine.lock(session, Work::Other(change), &Versions(false)).await?;
                Ok(format!("previous {}", self.engine.set_password(locked, change).await?.as_str()))
            }
            Operation::DiscardOther { user, password: current } => {
                let work = Work::DiscardOther { user: USERS[user] };
                let locked = self.engine.lock(session, work, &Versions(false)).await?;
                Ok(format!("discarded {}", self.engine.discard_previous_password(locked, &password(current)).await?))
            }
            Operation::Turn { side, new, current, named, held } => {
                let (pair, new, current) = (pair(named), password(new), password(current));
                let turn = Turn { pair: &pair, pending: side, new: &new, current: &current };
                let mut locked = self.engine.lock(session, Work::Turn(turn), &Versions(held)).await?;
                self.engine.align(&mut locked, turn).await?;
                let change = PasswordChange { user: pair.user(side), from: &current, to: &new };
                self.engine.set_password(locked, change).await?;
                Ok("set".to_owned())
            }
            Operation::Align { side, new, current } => {
                let (pair, new, current) = (pair(true), password(new), password(current));
                let turn = Turn { pair: &pair, pending: side, new: &new, current: &current };
                let mut locked = self.engine.lock(session, Work::Turn(turn), &Versions(true)).await?;
                self.engine.align(&mut locked, turn).await?;
                self.engine.unlock(locked).await;
                Ok("aligned".to_owned())
            }
            Operation::Compare { side } => {
                if self.server.privileges(BASE).await.is_none() {
                    // A comparison follows a login, which shows that there is a pair.
                    return Ok("nothing to compare".to_owned());
                }
                self.engine.compare(session, &pair(false), side).await?;
                Ok("equal".to_owned())
            }
            _ => unreachable!(),
        }
    }

    /// What opens the server, and what users may do.
    async fn state(&self) -> String {
        let mut state = String::new();
        for user in USERS {
            let Some(mut privileges) = self.server.privileges(user).await else { continue };
            privileges.sort();
            write!(state, "{user} {privileges:?}").unwrap();
            for (number, password) in PASSWORDS.iter().enumerate() {
                if self.server.opens(user, password).await {
                    write!(state, " {number}").unwrap();
                }
            }
            state.push_str("; ");
        }
        state
    }
}

fn password(number: usize) -> Password {
    Password::from(PASSWORDS[number])
}

fn pair(named: bool) -> Pair {
    Pair { base: BASE.to_owned(), clone: CLONE.to_owned(), named }
}

/// Draws sequences of operations, and carries each out on both. Returns each kind of difference with the shortest way to it.
async fn compared<R: Engine, S: Engine>(
    real: &Place<R, impl Server>,
    simulated: impl Fn() -> Place<S, Simulated>,
) -> BTreeMap<String, String> {
    const LENGTH: usize = 8;
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let sequences = if std::env::var_os("LOCKSTEP_ALL").is_some() { 400 } else { 25 };
    let mut random = StdRng::seed_from_u64(number("LOCKSTEP_SEED", 1));
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for _ in 0..sequences {
        let simulated = simulated();
        for user in USERS {
            real.server.drop_user(user).await;
        }
        real.server.create_user(BASE, PASSWORDS[0]).await;
        let mut way = Vec::new();
        for _ in 0..LENGTH {
            let operation = Operation::drawn(&mut random);
            way.push(operation);
            let outcomes = [real.act(operation).await, simulated.act(operation).await];
            let states = [real.state().await, simulated.state().await];
            if outcomes[0] == outcomes[1] && states[0] == states[1] {
                continue;
            }
            let name = format!("{operation:?}");
            let name = name.split_once(' ').map_or(name.as_str(), |(name, _)| name);
            let kind = if outcomes[0] == outcomes[1] {
                format!("{name}, {}: another state", outcomes[0])
            } else {
                format!("{name}: {} and not {}", outcomes[0], outcomes[1])
            };
            let shown = format!("{way:?}\n  real      {}\n  simulated {}", states[0], states[1]);
            let shortest = found.entry(kind).or_insert_with(|| shown.clone());
            if shown.len() < shortest.len() {
                *shortest = shown;
            }
            break;
        }
    }
    found
}

fn is_none(found: &BTreeMap<String, String>) {
    let all: Vec<_> = found.iter().map(|(kind, way)| format!("{kind}\n  {way}")).collect();
    assert!(all.is_empty(), "{} differences:\n{}", all.len(), all.join("\n"));
}

fn endpoint(port: u16, database: Option<&str>, ca_pem: &str) -> Endpoint {
    let verifier = Verifier::with_roots(&[], &[("the lab's CA", ca_pem)]).unwrap();
    let transport = Transport::Tls { server_name: "localhost".to_owned(), verifier };
    Endpoint { host: "localhost".to_owned(), port, database: database.map(str::to_owned), transport }
}

fn simulated<E: Engine>(target: Target, engine: impl Fn(&Simulated) -> E) -> Place<E, Simulated> {
    let server = Simulated::new(target).unwrap();
    server.create_user(BASE, PASSWORDS[0]);
    server.create_user(SUPERUSER, SUPERUSER_PASSWORD);
    let nowhere = Endpoint { host: String::new(), port: 1, database: None, transport: Transport::Plaintext };
    Place { engine: engine(&server), server, endpoint: nowhere }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_simulated_as_it_is() {
    let server = Postgres::start(postgres::Options::default()).await.unwrap();
    let session = server.connect_superuser().await.unwrap();
    let prepare = format!(
        "CREATE TABLE notes (); CREATE ROLE {SUPERUSER} SUPERUSER LOGIN PASSWORD '{SUPERUSER_PASSWORD}'; \
         CREATE FUNCTION pg_temp.nothing() RETURNS void LANGUAGE sql AS ''"
    );
    session.batch_execute(&prepare).await.unwrap();
    let endpoint = endpoint(server.port(), Some("postgres"), server.ca_pem());
    let engine = lockstep_postgres::engine(&Environment::of(&[]).unwrap()).unwrap();
    let real = Place { engine, server: (server, session), endpoint };
    is_none(&compared(&real, || simulated(Target::Postgres, Simulated::postgres)).await);
}

async fn mysql_like(kind: Kind, target: Target) {
    let server = MySql::start(mysql::Options::default().kind(kind)).await.unwrap();
    server.create_user(SUPERUSER, &SUPERUSER_PASSWORD.into()).await.unwrap();
    let grant = format!("GRANT ALL ON *.* TO {}@'%' WITH GRANT OPTION; CREATE DATABASE shop", literal(SUPERUSER));
    server.sql(&grant).await.unwrap();
    let endpoint = endpoint(server.port(), None, server.ca_pem());
    let engine = lockstep_mysql::engine(&Environment::of(&[]).unwrap()).unwrap();
    let real = Place { engine, server, endpoint };
    is_none(&compared(&real, || simulated(target, Simulated::mysql)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_is_simulated_as_it_is() {
    mysql_like(Kind::MySql, Target::Mysql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_is_simulated_as_it_is() {
    mysql_like(Kind::MariaDb, Target::Mariadb).await;
}

impl Server for Simulated {
    async fn create_user(&self, user: &str, password: &str) {
        self.create_user(user, password);
    }
    async fn drop_user(&self, user: &str) {
        self.drop_user(user);
    }
    async fn set_password(&self, user: &str, password: &str) {
        self.set_password(user, password);
    }
    async fn lock_user(&self, user: &str, locked: bool) {
        self.lock_user(user, locked);
    }
    async fn revoke(&self, user: &str, privilege: &str) {
        self.revoke(user, privilege);
    }
    async fn opens(&self, user: &str, password: &str) -> bool {
        self.opens(user, password)
    }
    async fn privileges(&self, user: &str) -> Option<Vec<String>> {
        Some(self.privileges(user)?.into_iter().map(str::to_owned).collect())
    }
}

/// The server, and a session of its superuser.
type RealPostgres = (Postgres, tokio_postgres::Client);

/// The privileges on a table that stand for those of the simulation.
fn sql_privilege(privilege: &str) -> &'static str {
    if privilege == "read" { "SELECT" } else { "INSERT" }
}

impl Server for RealPostgres {
    async fn create_user(&self, user: &str, password: &str) {
        let name = quoted(user);
        let sql = format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'; GRANT SELECT, INSERT ON notes TO {name}");
        self.1.batch_execute(&sql).await.unwrap();
    }
    async fn drop_user(&self, user: &str) {
        if self.privileges(user).await.is_some() {
            let name = quoted(user);
            self.1.batch_execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}")).await.unwrap();
        }
    }
    async fn set_password(&self, user: &str, password: &str) {
        if self.privileges(user).await.is_some() {
            self.1.batch_execute(&format!("ALTER ROLE {} PASSWORD '{password}'", quoted(user))).await.unwrap();
        }
    }
    async fn lock_user(&self, user: &str, locked: bool) {
        if self.privileges(user).await.is_some() {
            let login = if locked { "NOLOGIN" } else { "LOGIN" };
            self.1.batch_execute(&format!("ALTER ROLE {} {login}", quoted(user))).await.unwrap();
        }
    }
    async fn revoke(&self, user: &str, privilege: &str) {
        if self.privileges(user).await.is_some() {
            let sql = format!("REVOKE {} ON notes FROM {}", sql_privilege(privilege), quoted(user));
            self.1.batch_execute(&sql).await.unwrap();
        }
    }
    async fn opens(&self, user: &str, password: &str) -> bool {
        matches!(self.0.can_login(user, &password.into()).await, Ok(true))
    }
    async fn privileges(&self, user: &str) -> Option<Vec<String>> {
        let sql = "SELECT has_table_privilege(rolname, 'notes', 'SELECT'), has_table_privilege(rolname, 'notes', 'INSERT') \
                   FROM pg_roles WHERE rolname = $1";
        let row = self.1.query_opt(sql, &[&user]).await.unwrap()?;
        let held = PRIVILEGES.into_iter().enumerate().filter(|(column, _)| row.get(*column));
        Some(held.map(|(_, privilege)| privilege.to_owned()).collect())
    }
}

impl Server for MySql {
    async fn create_user(&self, user: &str, password: &str) {
        self.create_user(user, &password.into()).await.unwrap();
        let dual = match self.kind() {
            Kind::MySql => format!("; GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO {}@'%'", literal(user)),
            Kind::MariaDb => String::new(),
        };
        let sql = format!("GRANT SELECT, INSERT ON shop.* TO {}@'%'{dual}", literal(user));
        self.sql(&sql).await.unwrap();
    }
    async fn drop_user(&self, user: &str) {
        self.sql(&format!("DROP USER IF EXISTS {}@'%'", literal(user))).await.unwrap();
    }
    async fn set_password(&self, user: &str, password: &str) {
        let user = literal(user);
        let discard = match self.kind() {
            Kind::MySql => format!("; ALTER USER IF EXISTS {user}@'%' DISCARD OLD PASSWORD"),
            Kind::MariaDb => String::new(),
        };
        let sql = format!("ALTER USER IF EXISTS {user}@'%' IDENTIFIED BY {}{discard}", literal(password));
        self.sql(&sql).await.unwrap();
    }
    async fn lock_user(&self, user: &str, locked: bool) {
        let word = if locked { "LOCK" } else { "UNLOCK" };
        self.sql(&format!("ALTER USER IF EXISTS {}@'%' ACCOUNT {word}", literal(user))).await.unwrap();
    }
    async fn revoke(&self, user: &str, privilege: &str) {
        if self.privileges(user).await.is_some_and(|held| held.iter().any(|one| one == privilege)) {
            let sql = format!("REVOKE {} ON shop.* FROM {}@'%'", sql_privilege(privilege), literal(user));
            self.sql(&sql).await.unwrap();
        }
    }
    async fn opens(&self, user: &str, password: &str) -> bool {
        matches!(self.can_login(user, &password.into()).await, Ok(true))
    }
    async fn privileges(&self, user: &str) -> Option<Vec<String>> {
        let exists = format!("SELECT 1 FROM mysql.user WHERE User = {}", literal(user));
        self.rows(&exists).await.unwrap().first()?;
        let sql =
            format!("SELECT Select_priv, Insert_priv FROM mysql.db WHERE Db = 'shop' AND User = {}", literal(user));
        let rows = self.rows(&sql).await.unwrap();
        let held = rows.first().map(|row| row.iter().map(|cell| cell.as_deref() == Some("Y")).collect::<Vec<_>>());
        let held = PRIVILEGES.into_iter().zip(held.unwrap_or_default()).filter(|(_, held)| *held);
        Some(held.map(|(privilege, _)| privilege.to_owned()).collect())
    }
}
