//! What the deployer decides for API keys.

use crate::http::{HostsByIssuer, is_host_pattern};
use rotation::environment::{AllowedSecrets, Environment};
use rotation::password::Policy;
use rotation::{Code, Error, Fact, Result};

/// The characters that AWS's rotation functions, except for PostgreSQL, exclude from a password.
pub const EXCLUDE_CHARACTERS: &str = "/@\"'\\";

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
    /// `ADMIN_SECRET_ARNS`: the only secrets that `rotation.adminSecretArn` may name.
    pub(crate) admin_secrets: AllowedSecrets,
    /// `ALLOW_UNPROVEN_KEYS`: whether an admin secret may be used to replace a key that does not work and that no earlier rotation
    /// has left a proof for.
    pub(crate) allow_unproven_keys: bool,
    /// `ALLOWED_HOSTS`: hosts of issuers beside those of the descriptions, under the issuers' names.
    pub(crate) allowed_hosts: HostsByIssuer,
    /// `ALLOWED_PRIVATE_HOSTS`: hosts of issuers that may have private and loopback addresses.
    pub(crate) allowed_private_hosts: HostsByIssuer,
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
            admin_secrets: environment.secrets("ADMIN_SECRET_ARNS")?,
            allow_unproven_keys: environment.flag("ALLOW_UNPROVEN_KEYS", false)?,
            allowed_hosts: hosts(environment, "ALLOWED_HOSTS")?,
            allowed_private_hosts: hosts(environment, "ALLOWED_PRIVATE_HOSTS")?,
            issuer_endpoint: environment.authority("ISSUER_ENDPOINT_URL")?,
        })
    }
}

/// Reads `ISSUER=HOST,…`. A host without an issuer is refused: it would be allowed for the admin's credentials of all issuers.
fn hosts(environment: &Environment, name: &str) -> Result<HostsByIssuer> {
    let mut hosts = HostsByIssuer::new();
    for item in environment.list(name)?.unwrap_or_default() {
        let (issuer, host) = item
            .split_once('=')
            .map(|(issuer, host)| (issuer.trim(), host.trim()))
            .filter(|(issuer, host)| !issuer.is_empty() && is_host_pattern(host))
            .ok_or_else(|| {
                let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, name).with(Fact::Found, &item);
                error.with(
                    Fact::Expected,
                    "an issuer, = and a host for each, e.g. gitlab=gitlab.example.com,okta=*.example.com",
                )
            })?;
        hosts.entry(issuer.to_owned()).or_default().push(host.to_owned());
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowed_host_names_its_issuer() {
        let read = |text| Settings::read(&Environment::of(&[("ALLOWED_HOSTS", text)]).unwrap());
        let settings = read("gitlab=git.example.com, gitlab=*.git.example.com,acme=10.0.0.1").unwrap();
        assert_eq!(settings.allowed_hosts["gitlab"], ["git.example.com", "*.git.example.com"]);
        assert_eq!(settings.allowed_hosts["acme"], ["10.0.0.1"]);
        assert!(read("").unwrap().allowed_hosts.is_empty());
        for bad in ["git.example.com", "gitlab=", "=git.example.com", "gitlab=https://git.example.com", "a=b,c", "a=*"]
        {
            assert_eq!(read(bad).unwrap_err().code(), Code::ConfigurationInvalid, "{bad}");
        }
    }

    #[test]
    fn nothing_risky_is_allowed_by_default() {
        let settings = Settings::read(&Environment::of(&[]).unwrap()).unwrap();
        assert!(!settings.allow_unproven_keys);
        assert!(settings.allowed_hosts.is_empty() && settings.allowed_private_hosts.is_empty());
        assert_eq!((settings.admin_secrets, settings.issuer_endpoint), (AllowedSecrets::default(), None));
    }
}
