//! Where the server is, as the version says that was read first.

use crate::snapshot::Snapshot;
use crate::value::ValueError;

/// Host, port and database. Later versions do not change them.
pub(crate) struct Place {
    pub(crate) host: Result<String, ValueError>,
    pub(crate) port: Option<u16>,
    pub(crate) database: Option<String>,
}

impl Place {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let database = snapshot.field("dbname").ok().map(str::to_owned);
        Self { host: snapshot.host().map(str::to_owned), port: snapshot.port(), database }
    }
}
