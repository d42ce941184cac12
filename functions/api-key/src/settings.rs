//! What the deployer decides for API keys.

use rotation::Result;
use rotation::environment::Environment;
use rotation::password::Policy;

/// The characters that AWS's rotation functions, except for PostgreSQL, exclude from a password.
const EXCLUDE_CHARACTERS: &str = "/@\"'\\";

/// The function's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How values are made that the issuer does not make.
    pub(crate) policy: Policy,
    /// `CA_BUNDLE`: PEM text of further CAs to trust.
    pub(crate) ca_bundle: Option<String>,
    /// `ISSUERS`: where further descriptions of issuers are.
    pub(crate) issuers: Vec<String>,
    /// `AWS_ENDPOINT_URL_SSM`: where Systems Manager is, if not at its usual place.
    pub(crate) ssm_endpoint: Option<String>,
    /// `ADMIN_SECRET_ARNS`: the only secrets that `rotation.adminSecretArn` may name. `None`: any that the function's role can read.
    pub(crate) admin_secrets: Option<Vec<String>>,
    /// `ALLOW_UNPROVEN_KEYS`: whether an admin secret may be used to replace a key that does not work and that no earlier rotation
    /// has left a proof for.
    pub(crate) allow_unproven_keys: bool,
    /// `ALLOWED_HOSTS`: hosts of issuers beside those of the descriptions.
    pub(crate) allowed_hosts: Vec<String>,
    /// `ALLOWED_PRIVATE_HOSTS`: hosts of issuers that may have private and loopback addresses.
    pub(crate) allowed_private_hosts: Vec<String>,
    /// `ISSUER_ENDPOINT_URL`: where requests to issuers go instead: `https://`, host and port.
    pub(crate) issuer_endpoint: Option<String>,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// [`ConfigurationInvalid`](rotation::Code::ConfigurationInvalid), [`PolicyImpossible`](rotation::Code::PolicyImpossible).
    pub fn read(environment: &Environment) -> Result<Self> {
        Ok(Self {
            policy: environment.password_policy(EXCLUDE_CHARACTERS)?,
            ca_bundle: environment.ca_bundle()?,
            issuers: environment.list("ISSUERS")?.unwrap_or_default(),
            ssm_endpoint: environment.text("AWS_ENDPOINT_URL_SSM")?,
            admin_secrets: environment.list("ADMIN_SECRET_ARNS")?,
            allow_unproven_keys: environment.flag("ALLOW_UNPROVEN_KEYS", false)?,
            allowed_hosts: environment.list("ALLOWED_HOSTS")?.unwrap_or_default(),
            allowed_private_hosts: environment.list("ALLOWED_PRIVATE_HOSTS")?.unwrap_or_default(),
            issuer_endpoint: environment.authority("ISSUER_ENDPOINT_URL")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_risky_is_allowed_by_default() {
        let settings = Settings::read(&Environment::of(&[]).unwrap()).unwrap();
        assert!(!settings.allow_unproven_keys);
        assert!(settings.allowed_hosts.is_empty() && settings.allowed_private_hosts.is_empty());
        assert_eq!((settings.admin_secrets, settings.issuer_endpoint), (None, None));
    }
}
