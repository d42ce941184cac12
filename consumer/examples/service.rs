//! A small service with axum and sqlx. Its password rotates, and it sees nothing of that.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use lockstep_secret::source::SecretsManager;
use lockstep_secret::sqlx::{Pool, postgres_options};
use lockstep_secret::{Health, RotatingSecret};
use sqlx::Postgres;
use sqlx::postgres::PgPoolOptions;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A secret in AWS's format: {"host", "port", "dbname", "username", "password"}. Credentials and region come from the environment.
    let name = std::env::var("SECRET").unwrap_or_else(|_| "app/database".to_owned());
    let secret = RotatingSecret::builder(SecretsManager::from_env(name).await).start().await?;

    let options = postgres_options(&secret.current()?)?;
    let pool = Pool::new(&secret, PgPoolOptions::new().max_connections(8), options)?;

    let database = Router::new().route("/user", get(user)).with_state(pool);
    let health = Router::new().route("/ready", get(ready)).with_state(secret);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    axum::serve(listener, database.merge(health)).await?;
    Ok(())
}

/// Who the service is for the database.
async fn user(State(pool): State<Pool<Postgres>>) -> Result<String, StatusCode> {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    let mut connection = pool.acquire().await.map_err(|_| unavailable)?;
    sqlx::query_scalar("SELECT current_user::text").fetch_one(&mut *connection).await.map_err(|_| unavailable)
}

/// For the load balancer: whether new connections can be expected to work.
async fn ready(State(secret): State<RotatingSecret>) -> (StatusCode, Json<Health>) {
    let health = secret.health();
    let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health))
}
