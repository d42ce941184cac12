//! What the deployer decides for every kind of database.

use crate::environment::Environment;
use crate::error::Result;
use crate::password::Policy;

/// The settings that all database functions have.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How new passwords are made.
    pub(super) policy: Policy,
    /// `CA_BUNDLE`: PEM text of further CAs to trust.
    pub(super) ca_bundle: Option<String>,
    /// `SUPERUSER_SECRET_ARNS`: the only secrets that `masterarn` may name. `None`: any that the function's role can read.
    pub(super) superuser_secrets: Option<Vec<String>>,
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
            superuser_secrets: environment.list("SUPERUSER_SECRET_ARNS")?,
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
        let listed = |variables: &[_]| {
            let settings = Settings::read(&Environment::of(variables).unwrap(), "").unwrap();
            settings.superuser_secrets.map(|secrets| secrets.len())
        };
        assert_eq!(listed(&[]), None);
        assert_eq!(listed(&[("SUPERUSER_SECRET_ARNS", "")]), Some(0));
        assert_eq!(listed(&[("SUPERUSER_SECRET_ARNS", "a, b")]), Some(2));
    }
}
