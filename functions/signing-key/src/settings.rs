//! What the deployer decides for signing keys.

use rotation::Result;
use rotation::environment::Environment;

/// The function's settings.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `AWS_ENDPOINT_URL_S3`: where S3 is, if not at its usual place.
    pub(crate) s3_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_SSM`: where Systems Manager is, if not at its usual place.
    pub(crate) ssm_endpoint: Option<String>,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// [`ConfigurationInvalid`](rotation::Code::ConfigurationInvalid).
    pub fn read(environment: &Environment) -> Result<Self> {
        Ok(Self {
            s3_endpoint: environment.text("AWS_ENDPOINT_URL_S3")?,
            ssm_endpoint: environment.text("AWS_ENDPOINT_URL_SSM")?,
        })
    }
}
