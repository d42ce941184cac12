//! What the template and the lab call things.

use crate::cli::issued_key;
use crate::cli::target::{Engine, Kind};

/// The function's logical name in the template.
pub(super) fn resource(kind: Kind) -> &'static str {
    match kind {
        Kind::Postgres => "PostgresFunction",
        Kind::Mysql | Kind::Mariadb => "MySqlFunction",
        Kind::ApiKey => "ApiKeyFunction",
        Kind::SigningKey => "SigningKeyFunction",
        Kind::Tls => "TlsFunction",
    }
}

/// The secret that RotateSecret rotates.
pub(super) fn secret(kind: Kind) -> &'static str {
    kind.engine().map_or(issued_key::SECRET, Engine::secret)
}
