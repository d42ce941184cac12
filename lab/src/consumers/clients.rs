//! Each adapter of `lockstep-secret`, set up as an application would do it.

use super::client::{Adapter, Client, Failure};
use crate::issuer::{Consumer, Says};
use crate::load::Engine;
use lockstep_secret::http::{KeyHeader, SendError};
use lockstep_secret::{ConnectError, Error, RotatingSecret};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Opts, OptsBuilder, PoolConstraints, PoolOpts, SslOpts};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a pool keeps a connection: so short that there are many logins.
const LIFETIME: Duration = Duration::from_millis(150);
/// What a pool waits for a connection, and a driver for a server.
const PATIENCE: Duration = Duration::from_secs(30);
/// The statement. It has to be executed, so that a connection that is not good does not count.
const QUERY: &str = "SELECT 1";

/// Where clients connect to.
pub(super) struct Place {
    /// The relay in front of the server.
    pub(super) port: u16,
    /// The CA of the server's certificate, in PEM.
    pub(super) ca: String,
    /// How many connections a pool may have.
    pub(super) connections: u32,
}

/// A client of a server.
pub(super) fn client(
    engine: Engine,
    adapter: Adapter,
    secret: &RotatingSecret,
    place: &Place,
) -> Result<Box<dyn Client>, String> {
    match engine {
        Engine::Postgres => postgres(adapter, secret, place),
        Engine::Mysql | Engine::Mariadb => mysql(adapter, secret, place),
        Engine::ApiKey => Ok(Box::new(Http::new(secret, place)?)),
    }
}

fn postgres(adapter: Adapter, secret: &RotatingSecret, place: &Place) -> Result<Box<dyn Client>, String> {
    let mut config = tokio_postgres::Config::new();
    config.host("localhost").hostaddr(IpAddr::V4(Ipv4Addr::LOCALHOST)).port(place.port);
    config.ssl_mode(SslMode::Require).connect_timeout(PATIENCE);
    let tls = MakeRustlsConnect::new(trusting(&place.ca));
    let size = usize::try_from(place.connections).unwrap_or(usize::MAX);
    Ok(match adapter {
        Adapter::DeadpoolPostgres => {
            let builder = lockstep_secret::deadpool_postgres::builder(secret, config, tls).max_size(size);
            Box::new(Deadpool(builder.build().map_err(text)?))
        }
        Adapter::Bb8 => {
            let manager = lockstep_secret::bb8::PostgresManager::new(secret, config, tls);
            Box::new(Bb8Postgres(bb8_builder(place).build_unchecked(manager)))
        }
        Adapter::Sqlx => {
            let snapshot = secret.current().map_err(text)?;
            let options = lockstep_secret::sqlx::postgres_options(&snapshot).map_err(text)?;
            let options = options.port(place.port).ssl_mode(sqlx::postgres::PgSslMode::VerifyFull);
            let options = options.ssl_root_cert_from_pem(place.ca.clone().into_bytes());
            Box::new(Sqlx(
                lockstep_secret::sqlx::Pool::new(secret, sqlx_pool::<sqlx::Postgres>(place), options).map_err(text)?,
            ))
        }
        _ => Box::new(Postgres { secret: secret.clone(), config, tls }),
    })
}

fn mysql(adapter: Adapter, secret: &RotatingSecret, place: &Place) -> Result<Box<dyn Client>, String> {
    let tls = SslOpts::default()
        .with_root_certs(vec![place.ca.clone().into_bytes().into()])
        .with_disable_built_in_roots(true);
    let options = OptsBuilder::default()
        .ip_or_hostname("localhost")
        .resolved_ips(Some([IpAddr::V4(Ipv4Addr::LOCALHOST)]))
        .tcp_port(place.port)
        .ssl_opts(tls)
        .prefer_socket(false);
    let size = usize::try_from(place.connections).unwrap_or(usize::MAX);
    Ok(match adapter {
        Adapter::MysqlAsyncPool => {
            let limits = PoolConstraints::new(0, size).ok_or("a pool without connections")?;
            let pool = PoolOpts::default().with_constraints(limits).with_abs_conn_ttl(Some(LIFETIME));
            Box::new(MySqlPool(lockstep_secret::mysql_async::Pool::new(secret, options.pool_opts(pool))))
        }
        Adapter::Bb8 => {
            let manager = lockstep_secret::bb8::MySqlManager::new(secret, options);
            Box::new(Bb8MySql(bb8_builder(place).build_unchecked(manager)))
        }
        Adapter::Sqlx => {
            let snapshot = secret.current().map_err(text)?;
            let options = lockstep_secret::sqlx::mysql_options(&snapshot).map_err(text)?;
            let options = options.port(place.port).ssl_mode(sqlx::mysql::MySqlSslMode::VerifyIdentity);
            let options = options.ssl_ca_from_pem(place.ca.clone().into_bytes());
            Box::new(Sqlx(
                lockstep_secret::sqlx::Pool::new(secret, sqlx_pool::<sqlx::MySql>(place), options).map_err(text)?,
            ))
        }
        _ => Box::new(MySql { secret: secret.clone(), options: options.into() }),
    })
}

fn bb8_builder<M: bb8::ManageConnection>(place: &Place) -> bb8::Builder<M> {
    bb8::Pool::builder()
        .max_size(place.connections)
        .max_lifetime(LIFETIME)
        .reaper_rate(LIFETIME)
        .connection_timeout(PATIENCE)
}

fn sqlx_pool<DB: sqlx::Database>(place: &Place) -> sqlx::pool::PoolOptions<DB> {
    sqlx::pool::PoolOptions::new().max_connections(place.connections).max_lifetime(LIFETIME).acquire_timeout(PATIENCE)
}

fn trusting(ca: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(ca.as_bytes()).flatten());
    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}

/// What an error of connecting means. Only [`ConnectError::Failed`] is about the way to the server.
fn unconnected<E: fmt::Display + std::error::Error + 'static>(error: &ConnectError<E>) -> Failure {
    match error {
        ConnectError::Failed(cause) => Failure::Unconnected(text(cause)),
        other => Failure::Failed(text(other)),
    }
}

fn failed(error: impl fmt::Display) -> Failure {
    Failure::Failed(text(error))
}

struct Postgres {
    secret: RotatingSecret,
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
}

#[async_trait::async_trait]
impl Client for Postgres {
    async fn query(&self) -> Result<(), Failure> {
        let connected = lockstep_secret::tokio_postgres::connect(&self.secret, &self.config, self.tls.clone()).await;
        let (client, connection) = connected.map_err(|error| unconnected(&error))?;
        tokio::spawn(connection);
        client.query_one(QUERY, &[]).await.map(drop).map_err(failed)
    }
}

struct Deadpool(deadpool_postgres::Pool);

#[async_trait::async_trait]
impl Client for Deadpool {
    async fn query(&self) -> Result<(), Failure> {
        // This pool has no setting for the lifetime of its connections.
        self.0.retain(|_, metrics| metrics.age() < LIFETIME);
        let client = self.0.get().await.map_err(|error| match &error {
            deadpool_postgres::PoolError::Backend(cause) if !lockstep_secret::tokio_postgres::is_refused(cause) => {
                Failure::Unconnected(text(error))
            }
            _ => failed(error),
        })?;
        client.query_one(QUERY, &[]).await.map(drop).map_err(failed)
    }
}

struct Bb8Postgres(bb8::Pool<lockstep_secret::bb8::PostgresManager<MakeRustlsConnect>>);

#[async_trait::async_trait]
impl Client for Bb8Postgres {
    async fn query(&self) -> Result<(), Failure> {
        let client = self.0.get().await.map_err(failed)?;
        client.query_one(QUERY, &[]).await.map(drop).map_err(failed)
    }
}

struct Bb8MySql(bb8::Pool<lockstep_secret::bb8::MySqlManager>);

#[async_trait::async_trait]
impl Client for Bb8MySql {
    async fn query(&self) -> Result<(), Failure> {
        let mut connection = self.0.get().await.map_err(failed)?;
        connection.query_drop(QUERY).await.map_err(failed)
    }
}

struct MySql {
    secret: RotatingSecret,
    options: Opts,
}

#[async_trait::async_trait]
impl Client for MySql {
    async fn query(&self) -> Result<(), Failure> {
        let connected = lockstep_secret::mysql_async::connect(&self.secret, &self.options).await;
        let mut connection = connected.map_err(|error| unconnected(&error))?;
        connection.query_drop(QUERY).await.map_err(failed)?;
        connection.disconnect().await.map_err(failed)
    }
}

struct MySqlPool(lockstep_secret::mysql_async::Pool);

#[async_trait::async_trait]
impl Client for MySqlPool {
    async fn query(&self) -> Result<(), Failure> {
        let mut connection = self.0.get_conn().await.map_err(|error| unconnected(&error))?;
        connection.query_drop(QUERY).await.map_err(failed)
    }
}

struct Sqlx<DB: sqlx::Database>(lockstep_secret::sqlx::Pool<DB>);

#[async_trait::async_trait]
impl<DB: lockstep_secret::sqlx::Login> Client for Sqlx<DB>
where
    for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
    DB::Arguments: sqlx::IntoArguments<DB>,
{
    async fn query(&self) -> Result<(), Failure> {
        let mut connection = self.0.acquire().await.map_err(|error| unconnected(&error))?;
        sqlx::query(QUERY).execute(&mut *connection).await.map(drop).map_err(failed)
    }
}

/// A user of API keys.
struct Http {
    secret: RotatingSecret,
    header: KeyHeader,
    consumer: Arc<Consumer>,
}

impl Http {
    fn new(secret: &RotatingSecret, place: &Place) -> Result<Self, String> {
        let consumer = Arc::new(Consumer::new(place.port, &place.ca)?);
        Ok(Self { secret: secret.clone(), header: KeyHeader::bare("apiKey"), consumer })
    }
}

#[async_trait::async_trait]
impl Client for Http {
    async fn query(&self) -> Result<(), Failure> {
        let send = |key: lockstep_secret::http::HeaderValue| async move {
            self.consumer.use_key(key.to_str().unwrap_or_default()).await
        };
        match self.header.send(&self.secret, send, |says| *says == Says::Refused).await {
            Ok(_) => Ok(()),
            Err(ConnectError::Failed(SendError::Client(cause))) => Err(Failure::Unconnected(cause)),
            Err(ConnectError::Secret(error @ Error::TooOld { .. })) => Err(failed(error)),
            Err(error) => Err(Failure::Failed(format!("{error}"))),
        }
    }
}
