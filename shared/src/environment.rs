//! The function's configuration. The only module that reads environment variables.

use crate::aws::endpoint;
use crate::error::{Code, Error, Fact, Result};
use crate::password::Policy;
use std::env;

/// What the deployer decided, as opposed to what a secret says. Whoever may write a secret cannot change these.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How new passwords are made.
    pub policy: Policy,
    /// `SECRETS_MANAGER_ENDPOINT`: where Secrets Manager is, if not at the SDK's own choice.
    pub endpoint: Option<String>,
    /// `CA_BUNDLE`: PEM text of further CAs to trust.
    pub ca_bundle: Option<String>,
    /// `SUPERUSER_SECRET_ARNS`: the only secrets that `masterarn` may name. `None`: any that the function's role can read.
    pub superuser_secrets: Option<Vec<String>>,
    /// `USERNAME_CHARACTER_LIMIT`: the longest user name, where it is not the engine's own limit.
    pub username_limit: Option<usize>,
    /// `ISSUERS`: where further descriptions of issuers are.
    pub issuers: Vec<String>,
    /// `AWS_ENDPOINT_URL_SSM`: where Systems Manager is, if not at its usual place.
    pub ssm_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_RDS`: where RDS is, if not at its usual place.
    pub rds_endpoint: Option<String>,
    /// `ADMIN_SECRET_ARNS`: the only secrets that `rotation.adminSecretArn` may name. `None`: any that the function's role can read.
    pub admin_secrets: Option<Vec<String>>,
    /// `ALLOW_UNPROVEN_KEYS`: whether an admin secret may be used to replace a key that does not work and that no earlier rotation
    /// has left a proof for.
    pub allow_unproven_keys: bool,
    /// `ALLOWED_HOSTS`: hosts of issuers beside those of the descriptions.
    pub allowed_hosts: Vec<String>,
    /// `ALLOWED_PRIVATE_HOSTS`: hosts of issuers that may have private and loopback addresses.
    pub allowed_private_hosts: Vec<String>,
    /// `ISSUER_ENDPOINT_URL`: where requests to issuers go instead: `https://`, host and port.
    pub issuer_endpoint: Option<String>,
    /// `ALLOW_MD5`: whether an md5 verifier may be stored where the server's `password_encryption` asks for one.
    pub allow_md5: bool,
    /// `ALLOW_POWERFUL_ROLES`: whether a superuser secret may be used to rotate roles that are superusers themselves.
    pub allow_powerful_roles: bool,
}

/// What an engine contributes to the defaults.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// Used where `EXCLUDE_CHARACTERS` is not set.
    pub exclude_characters: &'static str,
}

impl Settings {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`] naming the variable; [`Code::PolicyImpossible`]; [`Code::UnsafeLogging`].
    pub fn from_env(defaults: Defaults) -> Result<Self> {
        Self::read(defaults, |name| match env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => Err(invalid(name, "bytes that are not UTF-8", "text")),
        })
    }

    fn read(defaults: Defaults, variable: impl Fn(&str) -> Result<Option<String>>) -> Result<Self> {
        // aws-smithy-runtime logs whole request and response bodies when this is set, at a level it chooses itself.
        if variable("LOG_SENSITIVE_BODIES")?.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(Error::new(Code::UnsafeLogging).with(Fact::Field, "LOG_SENSITIVE_BODIES"));
        }
        let flag = |name: &str, default: bool| match variable(name)? {
            None => Ok(default),
            Some(value) => parse_flag(name, &value),
        };
        let length = match variable("PASSWORD_LENGTH")? {
            None => Policy::DEFAULT_LENGTH,
            Some(value) => value.trim().parse().map_err(|_| {
                invalid("PASSWORD_LENGTH", "text that is not a whole number", "a whole number, e.g. 32")
            })?,
        };
        let username_limit = match variable("USERNAME_CHARACTER_LIMIT")?.filter(|value| !value.trim().is_empty()) {
            None => None,
            Some(value) => Some(value.trim().parse().ok().filter(|&limit: &usize| limit > 0).ok_or_else(|| {
                let found = "text that is not a whole number above zero";
                invalid("USERNAME_CHARACTER_LIMIT", found, "a whole number, e.g. 32")
            })?),
        };
        let policy = Policy {
            length,
            exclude_characters: variable("EXCLUDE_CHARACTERS")?
                .unwrap_or_else(|| defaults.exclude_characters.to_owned()),
            exclude_numbers: flag("EXCLUDE_NUMBERS", false)?,
            exclude_punctuation: flag("EXCLUDE_PUNCTUATION", false)?,
            exclude_uppercase: flag("EXCLUDE_UPPERCASE", false)?,
            exclude_lowercase: flag("EXCLUDE_LOWERCASE", false)?,
            require_each_included_type: flag("REQUIRE_EACH_INCLUDED_TYPE", true)?,
        };
        policy.check()?;
        let list = |name: &str| {
            let split = |list: String| {
                list.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect::<Vec<_>>()
            };
            Ok::<_, Error>(variable(name)?.map(split))
        };
        Ok(Self {
            policy,
            endpoint: variable("SECRETS_MANAGER_ENDPOINT")?
                .filter(|value| !value.is_empty())
                .map(|value| service_at("SECRETS_MANAGER_ENDPOINT", &value))
                .transpose()?,
            ca_bundle: variable("CA_BUNDLE")?.filter(|value| !value.is_empty()).map(read_bundle).transpose()?,
            superuser_secrets: list("SUPERUSER_SECRET_ARNS")?,
            issuers: list("ISSUERS")?.unwrap_or_default(),
            ssm_endpoint: variable("AWS_ENDPOINT_URL_SSM")?.filter(|value| !value.is_empty()),
            rds_endpoint: variable("AWS_ENDPOINT_URL_RDS")?.filter(|value| !value.is_empty()),
            admin_secrets: list("ADMIN_SECRET_ARNS")?,
            allow_unproven_keys: flag("ALLOW_UNPROVEN_KEYS", false)?,
            allowed_hosts: list("ALLOWED_HOSTS")?.unwrap_or_default(),
            allowed_private_hosts: list("ALLOWED_PRIVATE_HOSTS")?.unwrap_or_default(),
            issuer_endpoint: variable("ISSUER_ENDPOINT_URL")?
                .filter(|value| !value.trim().is_empty())
                .map(|value| authority_of("ISSUER_ENDPOINT_URL", value.trim()))
                .transpose()?,
            username_limit,
            allow_md5: flag("ALLOW_MD5", false)?,
            allow_powerful_roles: flag("ALLOW_POWERFUL_ROLES", false)?,
        })
    }
}

/// The function's name, as Lambda states it.
pub(crate) fn function_name() -> String {
    env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default()
}

/// Whether Lambda has started this process.
pub(crate) fn in_lambda() -> bool {
    env::var_os("AWS_LAMBDA_RUNTIME_API").is_some()
}

/// The level at which this project's own events are logged: `LOG_LEVEL`, else Lambda's `AWS_LAMBDA_LOG_LEVEL`, else
/// `RUST_LOG` if it is a plain level, else info. An unknown word counts as info: a typo must not stop a rotation.
pub fn log_level() -> tracing::Level {
    ["LOG_LEVEL", "AWS_LAMBDA_LOG_LEVEL", "RUST_LOG"]
        .into_iter()
        .filter_map(|name| env::var(name).ok())
        .find_map(|value| value.trim().parse().ok())
        .unwrap_or(tracing::Level::INFO)
}

/// AWS's functions read `true`, `1`, `y` and `yes` as true and anything else as false; here anything else is an error,
/// so that a typo cannot weaken a policy.
fn parse_flag(name: &str, value: &str) -> Result<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "y" | "yes" => Ok(true),
        "false" | "0" | "n" | "no" | "" => Ok(false),
        _ => Err(invalid(name, "another word", "true, 1, y or yes; false, 0, n or no")),
    }
}

/// Host and port of an `https://` address.
fn authority_of(name: &str, value: &str) -> Result<String> {
    let authority = value.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
    let authority = authority.filter(|it| !it.is_empty() && !it.contains(['/', '?', '#', '@', ' ']));
    let expected = "https:// and a host, perhaps with a port, and no path";
    authority.map(str::to_owned).ok_or_else(|| invalid(name, "something else", expected))
}

/// The address of a service, which is not asked in clear but within this machine.
fn service_at(name: &str, value: &str) -> Result<String> {
    endpoint::checked(value).map_err(|found| invalid(name, found, endpoint::EXPECTED))
}

/// `CA_BUNDLE` is the PEM text itself, or the path of a file packaged with the function.
fn read_bundle(value: String) -> Result<String> {
    if !value.starts_with('/') {
        return Ok(value);
    }
    std::fs::read_to_string(&value)
        .map_err(|_| invalid("CA_BUNDLE", "the path of a file that cannot be read", "PEM text, or a readable file"))
}

fn invalid(name: &str, found: &str, expected: &str) -> Error {
    Error::new(Code::ConfigurationInvalid)
        .with(Fact::Field, name)
        .with(Fact::Found, found)
        .with(Fact::Expected, expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults = Defaults { exclude_characters: ":/@\"'\\" };

    fn read(variables: &[(&str, &str)]) -> Result<Settings> {
        Settings::read(DEFAULTS, |name| Ok(variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())))
    }

    #[test]
    fn defaults_are_those_of_aws() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.policy.length, 32);
        assert_eq!(settings.policy.exclude_characters, ":/@\"'\\");
        assert!(settings.policy.require_each_included_type);
        assert!(!settings.policy.exclude_punctuation && !settings.allow_md5 && !settings.allow_powerful_roles);
    }

    #[test]
    fn booleans_are_read_as_aws_reads_them_and_typos_are_errors() {
        for yes in ["true", "1", "y", "yes", "YES", " True "] {
            assert!(read(&[("EXCLUDE_PUNCTUATION", yes)]).unwrap().policy.exclude_punctuation, "{yes}");
        }
        for no in ["false", "0", "n", "no", ""] {
            assert!(!read(&[("EXCLUDE_PUNCTUATION", no)]).unwrap().policy.exclude_punctuation, "{no}");
        }
        let error = read(&[("EXCLUDE_PUNCTUATION", "ture")]).unwrap_err();
        assert_eq!((error.code(), error.fact(Fact::Field)), (Code::ConfigurationInvalid, Some("EXCLUDE_PUNCTUATION")));
    }

    #[test]
    fn an_impossible_policy_and_a_bad_length_are_named() {
        let error = read(&[("PASSWORD_LENGTH", "many")]).unwrap_err();
        assert_eq!((error.code(), error.fact(Fact::Field)), (Code::ConfigurationInvalid, Some("PASSWORD_LENGTH")));
        assert_eq!(read(&[("PASSWORD_LENGTH", "3")]).unwrap_err().code(), Code::PolicyImpossible);
    }

    #[test]
    fn a_list_of_superusers_is_a_limit_even_if_it_is_empty() {
        assert_eq!(read(&[]).unwrap().superuser_secrets, None);
        assert_eq!(read(&[("SUPERUSER_SECRET_ARNS", "")]).unwrap().superuser_secrets, Some(Vec::new()));
        let listed = read(&[("SUPERUSER_SECRET_ARNS", "a, b")]).unwrap().superuser_secrets;
        assert_eq!(listed, Some(vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn an_endpoint_is_an_origin() {
        let endpoint = |url: &str| read(&[("ISSUER_ENDPOINT_URL", url)]);
        assert_eq!(endpoint("https://localhost:8443/").unwrap().issuer_endpoint.as_deref(), Some("localhost:8443"));
        assert_eq!(endpoint("").unwrap().issuer_endpoint, None);
        for bad in ["http://localhost", "localhost:1", "https://", "https://a/b", "https://u@h"] {
            assert_eq!(endpoint(bad).unwrap_err().code(), Code::ConfigurationInvalid, "{bad}");
        }
    }

    #[test]
    fn secrets_are_not_read_in_clear() {
        let endpoint = |url: &str| read(&[("SECRETS_MANAGER_ENDPOINT", url)]);
        for good in ["https://vpce-1.secretsmanager.eu-central-1.vpce.amazonaws.com", "http://127.0.0.1:4566"] {
            assert_eq!(endpoint(good).unwrap().endpoint.as_deref(), Some(good));
        }
        assert_eq!(endpoint("").unwrap().endpoint, None);
        for bad in ["http://secretsmanager.example", "secretsmanager.example"] {
            let error = endpoint(bad).unwrap_err();
            assert_eq!(
                (error.code(), error.fact(Fact::Field)),
                (Code::ConfigurationInvalid, Some("SECRETS_MANAGER_ENDPOINT"))
            );
        }
    }

    #[test]
    fn sensitive_bodies_are_refused() {
        assert_eq!(read(&[("LOG_SENSITIVE_BODIES", "True")]).unwrap_err().code(), Code::UnsafeLogging);
    }
}
