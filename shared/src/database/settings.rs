//! What the deployer decides for every kind of database.

use crate::environment::{AllowedSecrets, Environment};
use crate::error::Result;
use crate::password::Policy;

/// The settings that all database functions have.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How new passwords are made.
    pub(super) policy: Policy,
    /// `CA_BUNDLE`: PEM text of further CAs to trust.
    pub(super) ca_bundle: Option<String>,
    /// `SUPERUSER_SECRET_ARNS`: the only secrets that `masterarn` may name.
    pub(super) superuser_secrets: AllowedSecrets,
    /// `MAX_REFUSED_LOGINS`: how many refused logins may end the search for a password that works. `None`: the engine's default.
    pub(super) most_refused_logins: Option<usize>,
    /// `AWS_ENDPOINT_URL_RDS`: where RDS is, if not at its usual place.
    pub(super) rds_endpoint: Option<String>,
}

impl Settings {
    /// Reads them. `exclude_characters` is what a new password leaves out where `EXCLUDE_CHARACTERS` is not set.
    ///
    /// # Errors
    /// [`ConfigurationInvalid`](crate::Code::ConfigurationInvalid), [`PolicyImpossible`](crate::Code::PolicyImpossible).
    pub fn read(environment: &Environment, exclude_characters: &str) -> Result<Self> {
        Ok(Self {
            policy: environment.password_policy(exclude_characters)?,
            ca_bundle: environment.ca_bundle()?,
            superuser_secrets: environment.secrets("SUPERUSER_SECRET_ARNS")?,
            most_refused_logins: environment.number("MAX_REFUSED_LOGINS", 10)?,
            rds_endpoint: environment.text("AWS_ENDPOINT_URL_RDS")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_superusers_is_a_limit_even_if_it_is_empty() {
        let allows = |variables: &[_], arn: &str| {
            Settings::read(&Environment::of(variables).unwrap(), "").unwrap().superuser_secrets.allow(arn)
        };
        assert!(allows(&[], "b"));
        assert!(!allows(&[("SUPERUSER_SECRET_ARNS", "")], "b"));
        assert!(allows(&[("SUPERUSER_SECRET_ARNS", "a, b")], "b"));
        assert!(!allows(&[("SUPERUSER_SECRET_ARNS", "a, b")], "c"));
    }
}
