//! The settings of the simulated functions: the defaults of the real ones.

use api_key::sources::Sources;
use rotation::environment::Environment;
use rotation::{Error, Result};
use std::sync::{Arc, OnceLock};

/// The descriptions of the simulated issuers. Read as files, they stay in memory.
const DESCRIPTIONS: [&str; 5] = [
    concat!("file:", env!("CARGO_MANIFEST_DIR"), "/../examples/issuers/lab.yaml"),
    concat!("file:", env!("CARGO_MANIFEST_DIR"), "/../examples/issuers/lab-chosen.yaml"),
    concat!("file:", env!("CARGO_MANIFEST_DIR"), "/../functions/api-key/issuers/cloudflare-roll.yaml"),
    concat!("file:", env!("CARGO_MANIFEST_DIR"), "/../functions/api-key/issuers/auth0.yaml"),
    concat!("file:", env!("CARGO_MANIFEST_DIR"), "/../functions/api-key/issuers/generate.yaml"),
];

/// The settings of all functions.
pub(super) struct Settings {
    pub(super) database: rotation::database::Settings,
    pub(super) api_key: api_key::settings::Settings,
    pub(super) sources: Arc<Sources>,
    pub(super) tls: tls::settings::Settings,
}

impl Settings {
    /// The same for all histories, because descriptions take longer to read than a history takes.
    ///
    /// # Errors
    /// Those of reading settings and descriptions.
    pub(super) fn shared() -> Result<Arc<Self>> {
        static SHARED: OnceLock<std::result::Result<Arc<Settings>, Error>> = OnceLock::new();
        SHARED.get_or_init(|| Self::read().map(Arc::new)).clone()
    }

    fn read() -> Result<Self> {
        let environment = Environment::of(&[])?;
        Ok(Self {
            database: rotation::database::Settings::read(&environment, "")?,
            api_key: api_key::settings::Settings::read(&environment)?,
            tls: tls::settings::Settings::read(&environment)?,
            sources: Arc::new(Sources::new(&DESCRIPTIONS.map(str::to_owned), None)?),
        })
    }
}
