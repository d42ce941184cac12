//! `cargo lab obtain`: everything that the lab and the tests need besides cargo, in advance.

use super::screen::Screen;
use super::setup::setup;
use super::stop::Stop;
use crate::provision::{self, Release, Version};
use std::path::PathBuf;
use tokio::task::JoinSet;

type Obtain = fn() -> provision::Result<PathBuf>;

/// Each with the name that a person knows. A server comes with a data directory, which its first start would make otherwise.
const EVERYTHING: &[(&str, Obtain)] = &[
    ("PostgreSQL 13", || postgres(Version::V13)),
    ("PostgreSQL 15", || postgres(Version::V15)),
    ("PostgreSQL 17", || postgres(Version::V17)),
    ("PostgreSQL 18", || postgres(Version::V18)),
    ("MySQL 9.7", || mysql(Release::MySql9_7)),
    ("MariaDB 10.5", || mysql(Release::MariaDb10_5)),
    ("MariaDB 10.11", || mysql(Release::MariaDb10_11)),
    ("MariaDB 11.8", || mysql(Release::MariaDb11_8)),
    ("PgBouncer 1.18", provision::pgbouncer),
    ("RabbitMQ 3.10", || Ok(provision::rabbitmq()?.home().to_owned())),
    ("OpenBao 2.7", provision::openbao),
    ("Chromium", || Ok(provision::chromium()?.program)),
    ("gitleaks 8", provision::gitleaks),
    ("nginx 1.22", provision::nginx),
    ("Pebble 2.10", || Ok(provision::pebble()?.server)),
    ("moto, boto3, psycopg and the AWS CLI", provision::python),
    ("PyJWT", provision::python_verifier),
    ("jose", || Ok(provision::node_verifier()?.unwrap_or_else(|| PathBuf::from("not without Node and npm")))),
    ("jq, openssl and curl", || Ok(provision::tools()?.unwrap_or_else(|| PathBuf::from("on the PATH")))),
    ("AWS's Runtime Interface Emulator", provision::rie),
    ("cargo-lambda", provision::cargo_lambda),
];

/// Obtains everything, side by side, and tells where each thing is.
pub(super) async fn obtain(screen: &Screen) -> Result<(), Stop> {
    let mut all = JoinSet::new();
    for &(name, obtain) in EVERYTHING {
        all.spawn_blocking(move || (name, obtain()));
    }
    let mut missing = Vec::new();
    while let Some(obtained) = all.join_next().await {
        let (name, result) = obtained.map_err(setup)?;
        match result {
            Ok(path) => screen.settle(true, &format!("{name}: {}", path.display())),
            Err(error) => {
                screen.settle(false, &format!("{name}: {error}"));
                missing.push(name);
            }
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(Stop::Setup(format!("could not obtain {}", missing.join(", ")))) }
}

fn postgres(version: Version) -> provision::Result<PathBuf> {
    let programs = provision::postgres(version)?;
    provision::postgres_data(&programs).map(|_| programs)
}

fn mysql(release: Release) -> provision::Result<PathBuf> {
    let programs = provision::mysql(release)?;
    programs.data_directory().map(|_| programs.server().to_owned())
}
