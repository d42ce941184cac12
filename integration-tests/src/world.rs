//! A lab with the real function, and a real server behind a relay.

use crate::server::{Options, Server, Strategy};
use crate::{OVERLAP, OVERTIME, STEPS, Secret, merged};
use lab::Lab;
use lab::disturb::{DATABASE, critical_path};
use lab::relay::Relay;
use lab::servers::Password;
use lab::servers::mysql::{self, MySql, literal};
use lab::servers::postgres::{self, Postgres, Version};
use lab::stack::Builder;
use serde_json::{Value, json};

/// A lab and a database, for one test.
pub struct World<S = Postgres> {
    // Dropped in this order: first who uses the database, then the database.
    /// The local AWS with the function.
    pub lab: Lab,
    /// What stands between the function and the database: counts, and disturbs.
    pub relay: Relay,
    /// The database itself.
    pub server: S,
}

/// A server with options.
pub async fn world<O: Options>(options: O) -> World<O::Server> {
    world_with(options, |function| function).await
}

/// A server with options, and a function with more settings than the CA to trust.
pub async fn world_with<O: Options>(options: O, settings: impl FnOnce(Builder) -> Builder) -> World<O::Server> {
    World::around(O::Server::start(options).await, settings).await
}

impl World<Postgres> {
    /// PostgreSQL 15, TLS, scram-sha-256.
    pub async fn start() -> Self {
        world(postgres::Options::default()).await
    }

    /// The same on this version.
    pub async fn on(version: Version) -> Self {
        world(postgres::Options::default().version(version)).await
    }

    /// A server with options, and a function with more settings than the CA to trust.
    pub async fn with(options: postgres::Options, settings: impl FnOnce(Builder) -> Builder) -> Self {
        world_with(options, settings).await
    }
}

impl World<MySql> {
    /// MySQL, with TLS.
    pub async fn mysql() -> Self {
        Self::of(mysql::Kind::MySql).await
    }

    /// MariaDB, with TLS.
    pub async fn mariadb() -> Self {
        Self::of(mysql::Kind::MariaDb).await
    }

    /// One of the two.
    pub async fn of(kind: mysql::Kind) -> Self {
        world(mysql::Options::default().kind(kind)).await
    }

    /// A server with options, and a function with more settings than the CA to trust.
    pub async fn mysql_with(options: mysql::Options, settings: impl FnOnce(Builder) -> Builder) -> Self {
        world_with(options, settings).await
    }
}

impl<S: Server> World<S> {
    /// A lab around a server that runs already.
    pub async fn around(server: S, settings: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = Lab::builder(S::function().await).overtime(OVERTIME).env("CA_BUNDLE", server.ca_pem());
        let lab = settings(builder).start().await.expect("the lab starts");
        let relay = lab.relay(server.port()).await.expect("the relay starts");
        Self { lab, relay, server }
    }

    /// Runs SQL as the superuser, past the relay.
    pub async fn sql(&self, sql: &str) {
        self.server.sql(sql).await;
    }

    /// Asks as the superuser, past the relay: the first column of each row, as text; NULL as nothing.
    pub async fn ask(&self, sql: &str) -> Vec<String> {
        self.server.ask(sql).await
    }

    /// A user's secret in AWS's format. The port is the relay's.
    pub fn document(&self, user: &str, password: &str) -> Value {
        let fields = json!({
            "host": "localhost",
            "port": self.relay.port(),
            "username": user,
            "password": password,
        });
        merged(fields, self.server.fields())
    }

    /// A database user with a random password, and its secret.
    pub async fn user(&self, name: &str) -> Secret<'_, S> {
        self.user_with(name, json!({})).await
    }

    /// The same, with more fields in the secret.
    pub async fn user_with(&self, name: &str, more: Value) -> Secret<'_, S> {
        let password = Password::random();
        self.server.create_user(name, &password).await;
        self.secret(merged(self.document(name, password.expose()), more)).await
    }

    /// A user that rotates in this way.
    pub async fn user_of(&self, strategy: Strategy, name: &str) -> Secret<'_, S> {
        match strategy {
            Strategy::SingleUser => self.user(name).await,
            Strategy::DualPassword => self.dual_password_user(name).await,
            Strategy::AlternatingUsers => self.alternating_user(name).await,
        }
    }

    /// A user that alternates with its clone.
    pub async fn alternating_user(&self, name: &str) -> Secret<'_, S> {
        let superuser = self.superuser().await;
        self.user_with(name, json!({"masterarn": superuser.arn})).await
    }

    /// A user whose password a superuser sets, who may do no more than that takes.
    pub async fn user_set_by_superuser(&self, name: &str) -> Secret<'_, S> {
        let superuser = self.setter().await;
        let set_by = json!({"masterarn": superuser.arn, "rotation": {"setPasswordAs": "superuser"}});
        let secret = self.user_with(name, set_by).await;
        self.sql(&self.server.lets_set_password_of(name)).await;
        secret
    }

    /// The secret of the user `setter`, who may do nothing yet.
    pub async fn setter(&self) -> Secret<'_, S> {
        let (name, password) = ("setter", Password::random());
        self.server.create_user(name, &password).await;
        self.secret(self.document(name, password.expose())).await
    }

    /// A user of MySQL that may keep its previous password.
    pub async fn dual_password_user(&self, name: &str) -> Secret<'_, S> {
        let secret = self.user(name).await;
        self.sql(&format!("GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO {}", literal(name))).await;
        secret
    }

    /// The superuser's own secret.
    pub async fn superuser(&self) -> Secret<'_, S> {
        let (user, password) = self.server.superuser();
        self.secret(self.document(user, password.expose())).await
    }

    /// A secret with this value.
    pub async fn secret(&self, value: Value) -> Secret<'_, S> {
        self.secret_text(&value.to_string()).await
    }

    /// A secret with this text.
    pub async fn secret_text(&self, text: &str) -> Secret<'_, S> {
        let name = format!("test/{}", Password::random().expose().replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        let arn = self.lab.create_secret(&name, text).await.expect("the secret is created");
        Secret::new(&self.lab, &self.server, arn)
    }

    /// The secret with this ARN, for tests that change the world in between.
    pub fn known(&self, arn: &str) -> Secret<'_, S> {
        Secret::new(&self.lab, &self.server, arn.to_owned())
    }

    /// A rotation's costs, step by step: calls to Secrets Manager in sequence, all of them, and connections to the database.
    pub async fn costs(&self, secret: &Secret<'_, S>) -> Vec<(usize, usize, usize)> {
        let token = secret.registered().await;
        let mut costs = Vec::new();
        for step in STEPS {
            self.lab.disturb().restart();
            self.lab.disturb().latency(OVERLAP);
            let before = self.relay.connections();
            secret.steps(&[step], &token).await;
            let calls: Vec<_> = self.lab.calls().into_iter().filter(|call| call.operation != DATABASE).collect();
            assert!(calls.iter().all(|call| call.operation != "GetRandomPassword"), "{calls:?}");
            costs.push((critical_path(&calls), calls.len(), self.relay.connections() - before));
        }
        self.lab.disturb().restart();
        costs
    }

    /// Whether this user can log in with this password.
    pub async fn opens(&self, user: &str, password: &str) -> bool {
        self.server.opens(user, password).await
    }
}
