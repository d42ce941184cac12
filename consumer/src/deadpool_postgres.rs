//! Pools of `deadpool-postgres`.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use lockstep_secret::RotatingSecret;
//! use lockstep_secret::source::SecretsManager;
//!
//! let secret = RotatingSecret::builder(SecretsManager::from_env("app/database").await).start().await?;
//! let config = tokio_postgres::Config::new(); // host, port and database are in the secret
//! let pool = lockstep_secret::deadpool_postgres::builder(&secret, config, tokio_postgres::NoTls).max_size(16).build()?;
//! let row = pool.get().await?.query_one("SELECT 1", &[]).await?;
//! # Ok(()) }
//! ```

use crate::secret::RotatingSecret;
use crate::tokio_postgres::connect;
use deadpool_postgres::{Connect, Hook, HookError, Manager, ManagerConfig, Metrics, Pool, PoolBuilder};
use std::future::Future;
use std::pin::Pin;
use tokio::task::JoinHandle;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, Error, Socket};

/// A builder of a pool whose password rotates. Connections of an old version close at a pace when they come out of the pool's idle ones.
///
/// User and password come from the secret. So do host, port and database where `config` has none, and those from the version that was
/// read first, as for [`connect`].
pub fn builder<T>(secret: &RotatingSecret, config: Config, tls: T) -> PoolBuilder
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::Stream: Send + Sync,
    T::TlsConnect: Send + Sync,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (opening, retiring) = (secret.clone(), secret.clone());
    let manager = Manager::from_connect(config, Rotating { secret: opening, tls }, ManagerConfig::default());
    let retire = move |_: &mut deadpool_postgres::ClientWrapper, metrics: &Metrics| {
        if retiring.is_retired_at_age(metrics.age()) {
            return Err(HookError::message("the connection was opened with a version that is not in use any more"));
        }
        Ok(())
    };
    Pool::builder(manager).pre_recycle(Hook::sync_fn(retire))
}

/// Opens connections with the version that works, for a [`Manager`] that you make yourself.
///
/// The pool's errors are those of `tokio-postgres`. If there is none, because no version may be used or tried now, the error is about the
/// connection string, with the option [`UNUSABLE`]; [`health`](RotatingSecret::health) has the reason.
pub struct Rotating<T> {
    secret: RotatingSecret,
    tls: T,
}

/// The option that an error names if the secret cannot be used at all.
pub const UNUSABLE: &str = "the_secret_cannot_be_used";

impl<T> Rotating<T> {
    /// Opens connections with this secret.
    pub fn new(secret: &RotatingSecret, tls: T) -> Self {
        Self { secret: secret.clone(), tls }
    }
}

impl<T> Connect for Rotating<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::Stream: Send + Sync,
    T::TlsConnect: Send + Sync,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    fn connect(
        &self,
        config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        let config = config.clone();
        Box::pin(async move {
            let (client, connection) = match connect(&self.secret, &config, self.tls.clone()).await {
                Ok(connected) => connected,
                Err(error) => match error.into_inner() {
                    Some(error) => return Err(error),
                    // The driver makes no errors for others. So this is one that it makes of an unknown option.
                    None => format!("{UNUSABLE}=1").parse::<Config>()?.connect(self.tls.clone()).await?,
                },
            };
            // It ends when the client is dropped, or with an error that the client reports as well.
            let task = tokio::spawn(async move { drop(connection.await) });
            Ok((client, task))
        })
    }
}

impl<T> std::fmt::Debug for Rotating<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rotating").field("secret", &self.secret).finish_non_exhaustive()
    }
}
