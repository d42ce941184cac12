//! Reads environment variables. No other module does. Each function's `settings` say what the variables mean.

use crate::aws::endpoint;
use crate::error::{Code, Error, Fact, Result};
use crate::password::Policy;
use std::collections::HashMap;
use std::env;

/// The environment of the process. The deployer decides it; the writer of a secret cannot change it.
///
/// Every method that reads a variable returns [`Code::ConfigurationInvalid`], with the variable's name, for a value that it does
/// not understand.
pub struct Environment {
    variable: Box<Variable>,
}

/// Which secrets the deployer allows a rotated secret to name: a superuser's, or an admin's.
///
/// An entry is an ARN, or the beginning of one and an asterisk: `arn:…:secret:rds!*` allows all secrets of that account and region whose
/// names begin with `rds!`. Thousands of secrets fit into one variable in this way; Lambda's limit of 4 KB holds 35 ARNs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedSecrets(Option<Vec<String>>);

impl AllowedSecrets {
    /// Whether a secret may name the one with this ARN. Without the variable it may name any that the function's role can read.
    pub fn allow(&self, arn: &str) -> bool {
        let names = |entry: &String| match entry.strip_suffix('*') {
            Some(beginning) => arn.starts_with(beginning),
            None => entry == arn,
        };
        self.0.as_ref().is_none_or(|entries| entries.iter().any(names))
    }
}

type Variable = dyn Fn(&str) -> Result<Option<String>>;

impl Environment {
    /// The environment of this process.
    ///
    /// # Errors
    /// [`Code::UnsafeLogging`].
    pub fn of_process() -> Result<Self> {
        Self::new(|name| match env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => Err(invalid(name, "bytes that are not UTF-8", "text")),
        })
    }

    /// An environment with these variables alone, for tests of settings.
    ///
    /// # Errors
    /// [`Code::UnsafeLogging`].
    pub fn of(variables: &[(&str, &str)]) -> Result<Self> {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let variables: HashMap<String, String> = owned.collect();
        Self::new(move |name| Ok(variables.get(name).cloned()))
    }

    fn new(variable: impl Fn(&str) -> Result<Option<String>> + 'static) -> Result<Self> {
        // If this is set, aws-smithy-runtime logs whole requests and answers, at a level that it chooses itself.
        if variable("LOG_SENSITIVE_BODIES")?.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(Error::new(Code::UnsafeLogging).with(Fact::Field, "LOG_SENSITIVE_BODIES"));
        }
        Ok(Self { variable: Box::new(variable) })
    }

    /// A variable's text, if there is any.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`].
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        Ok((self.variable)(name)?.filter(|value| !value.is_empty()))
    }

    /// Yes or no; `default` if the variable is not set.
    ///
    /// AWS's functions read `true`, `1`, `y` and `yes` as true and anything else as false. Here anything else is an error, so
    /// that a typo cannot weaken a policy.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`].
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        let Some(value) = (self.variable)(name)? else { return Ok(default) };
        match value.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "y" | "yes" => Ok(true),
            "false" | "0" | "n" | "no" | "" => Ok(false),
            _ => Err(invalid(name, "another word", "true, 1, y or yes; false, 0, n or no")),
        }
    }

    /// A list that is separated by commas. An empty list is not the same as no list.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`].
    pub fn list(&self, name: &str) -> Result<Option<Vec<String>>> {
        let split =
            |list: String| list.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect();
        Ok((self.variable)(name)?.map(split))
    }

    /// The secrets that the deployer allows, as ARNs with commas between them. See [`AllowedSecrets`].
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`], as for [`list`](Self::list).
    pub fn secrets(&self, name: &str) -> Result<AllowedSecrets> {
        Ok(AllowedSecrets(self.list(name)?))
    }

    /// A whole number above zero.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`].
    pub fn positive(&self, name: &str) -> Result<Option<usize>> {
        let parse = |value: String| value.trim().parse().ok().filter(|&number: &usize| number > 0);
        let error = || invalid(name, "text that is not a whole number above zero", "a whole number, e.g. 32");
        self.text(name)?
            .filter(|value| !value.trim().is_empty())
            .map(|value| parse(value).ok_or_else(error))
            .transpose()
    }

    /// A whole number from zero to `most`.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`].
    pub fn number(&self, name: &str, most: usize) -> Result<Option<usize>> {
        let parse = |value: String| value.trim().parse().ok().filter(|&number: &usize| number <= most);
        let error = || invalid(name, "something else", &format!("a whole number from 0 to {most}"));
        self.text(name)?
            .filter(|value| !value.trim().is_empty())
            .map(|value| parse(value).ok_or_else(error))
            .transpose()
    }

    /// The address of an AWS service. Plain `http://` is refused, except for this machine itself.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`].
    pub fn service(&self, name: &str) -> Result<Option<String>> {
        let checked =
            |value: String| endpoint::checked(&value).map_err(|found| invalid(name, found, endpoint::EXPECTED));
        self.text(name)?.map(checked).transpose()
    }

    /// Host and port of an `https://` address.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`].
    pub fn authority(&self, name: &str) -> Result<Option<String>> {
        let parse = |value: String| {
            let authority = value.trim().strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
            let authority = authority.filter(|it| !it.is_empty() && !it.contains(['/', '?', '#', '@', ' ']));
            let expected = "https:// and a host, perhaps with a port, and no path";
            authority.map(str::to_owned).ok_or_else(|| invalid(name, "something else", expected))
        };
        self.text(name)?.filter(|value| !value.trim().is_empty()).map(parse).transpose()
    }

    /// `CA_BUNDLE`: PEM text of further CAs to trust, or the path of a file with it that is packaged with the function.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`].
    pub fn ca_bundle(&self) -> Result<Option<String>> {
        let read = |value: String| {
            if !value.starts_with('/') {
                return Ok(value);
            }
            let expected = "PEM text, or a readable file";
            let unread = |_| invalid("CA_BUNDLE", "the path of a file that cannot be read", expected);
            std::fs::read_to_string(&value).map_err(unread)
        };
        self.text("CA_BUNDLE")?.map(read).transpose()
    }

    /// How new passwords are made: `PASSWORD_LENGTH`, `EXCLUDE_…` and `REQUIRE_EACH_INCLUDED_TYPE`, as in AWS's functions.
    /// `exclude_characters` is used where `EXCLUDE_CHARACTERS` is not set.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`]; [`Code::PolicyImpossible`].
    pub fn password_policy(&self, exclude_characters: &str) -> Result<Policy> {
        let error = |_| invalid("PASSWORD_LENGTH", "text that is not a whole number", "a whole number, e.g. 32");
        let length =
            (self.variable)("PASSWORD_LENGTH")?.map(|value| value.trim().parse().map_err(error)).transpose()?;
        let policy = Policy {
            length: length.unwrap_or(Policy::DEFAULT_LENGTH),
            exclude_characters: (self.variable)("EXCLUDE_CHARACTERS")?.unwrap_or_else(|| exclude_characters.to_owned()),
            exclude_numbers: self.flag("EXCLUDE_NUMBERS", false)?,
            exclude_punctuation: self.flag("EXCLUDE_PUNCTUATION", false)?,
            exclude_uppercase: self.flag("EXCLUDE_UPPERCASE", false)?,
            exclude_lowercase: self.flag("EXCLUDE_LOWERCASE", false)?,
            require_each_included_type: self.flag("REQUIRE_EACH_INCLUDED_TYPE", true)?,
        };
        policy.check()?;
        Ok(policy)
    }
}

/// The function's name, as Lambda states it.
pub(crate) fn function_name() -> String {
    env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default()
}

/// A variable that the AWS SDKs define, if it holds text.
pub(crate) fn sdk_variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
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

fn invalid(name: &str, found: &str, expected: &str) -> Error {
    Error::new(Code::ConfigurationInvalid)
        .with(Fact::Field, name)
        .with(Fact::Found, found)
        .with(Fact::Expected, expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXCLUDED: &str = ":/@\"'\\";

    fn policy(variables: &[(&str, &str)]) -> Result<Policy> {
        Environment::of(variables)?.password_policy(EXCLUDED)
    }

    #[test]
    fn defaults_are_those_of_aws() {
        let policy = policy(&[]).unwrap();
        assert_eq!((policy.length, policy.exclude_characters.as_str()), (32, EXCLUDED));
        assert!(policy.require_each_included_type && !policy.exclude_punctuation);
    }

    #[test]
    fn booleans_are_read_as_aws_reads_them_and_typos_are_errors() {
        for yes in ["true", "1", "y", "yes", "YES", " True "] {
            assert!(policy(&[("EXCLUDE_PUNCTUATION", yes)]).unwrap().exclude_punctuation, "{yes}");
        }
        for no in ["false", "0", "n", "no", ""] {
            assert!(!policy(&[("EXCLUDE_PUNCTUATION", no)]).unwrap().exclude_punctuation, "{no}");
        }
        let error = policy(&[("EXCLUDE_PUNCTUATION", "ture")]).unwrap_err();
        assert_eq!((error.code(), error.fact(Fact::Field)), (Code::ConfigurationInvalid, Some("EXCLUDE_PUNCTUATION")));
    }

    #[test]
    fn an_impossible_policy_and_a_bad_length_are_named() {
        let error = policy(&[("PASSWORD_LENGTH", "many")]).unwrap_err();
        assert_eq!((error.code(), error.fact(Fact::Field)), (Code::ConfigurationInvalid, Some("PASSWORD_LENGTH")));
        assert_eq!(policy(&[("PASSWORD_LENGTH", "3")]).unwrap_err().code(), Code::PolicyImpossible);
    }

    #[test]
    fn a_list_is_a_list_even_if_it_is_empty() {
        let list = |variables: &[_]| Environment::of(variables).unwrap().list("LIST").unwrap();
        assert_eq!(list(&[]), None);
        assert_eq!(list(&[("LIST", "")]), Some(Vec::new()));
        assert_eq!(list(&[("LIST", "a, b")]), Some(vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn an_entry_with_an_asterisk_allows_what_begins_like_it_and_nothing_else() {
        let of = |name: &str| format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:{name}");
        let allowed = |list: &str| Environment::of(&[("LIST", list)]).unwrap().secrets("LIST").unwrap();
        // The template puts a comma before the pattern even if the list is empty.
        let by_name = allowed(&format!(",{}", of("rds!*")));
        assert!(by_name.allow(&of("rds!db-0a-AbCdEf")) && by_name.allow(&of("rds!cluster-0b-AbCdEf")));
        for other in ["rds-AbCdEf", "app/rds!db-0a-AbCdEf", "*"] {
            assert!(!by_name.allow(&of(other)), "{other}");
        }
        assert!(!by_name.allow(&of("rds!db").replace("1234", "9999")), "another account");
        assert!(!by_name.allow("rds!db-0a"), "a name is no ARN");
        // Without an asterisk at its end, an entry is one secret.
        assert!(!allowed(&of("rds!")).allow(&of("rds!db-0a-AbCdEf")) && !allowed(&of("*b")).allow(&of("ab")));
        let both = allowed(&format!("{},{}", of("one-AbCdEf"), of("rds!*")));
        assert!(both.allow(&of("one-AbCdEf")) && both.allow(&of("rds!db-0a-AbCdEf")) && !both.allow(&of("two-AbCdEf")));
    }

    #[test]
    fn an_endpoint_is_an_origin() {
        let endpoint = |url| Environment::of(&[("URL", url)]).unwrap().authority("URL");
        assert_eq!(endpoint("https://localhost:8443/").unwrap().as_deref(), Some("localhost:8443"));
        assert_eq!(endpoint("").unwrap(), None);
        for bad in ["http://localhost", "localhost:1", "https://", "https://a/b", "https://u@h"] {
            assert_eq!(endpoint(bad).unwrap_err().code(), Code::ConfigurationInvalid, "{bad}");
        }
    }

    #[test]
    fn secrets_are_not_read_in_clear() {
        let endpoint = |url| Environment::of(&[("URL", url)]).unwrap().service("URL");
        for good in ["https://vpce-1.secretsmanager.eu-central-1.vpce.amazonaws.com", "http://127.0.0.1:4566"] {
            assert_eq!(endpoint(good).unwrap().as_deref(), Some(good));
        }
        assert_eq!(endpoint("").unwrap(), None);
        for bad in ["http://secretsmanager.example", "secretsmanager.example"] {
            let error = endpoint(bad).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Field)), (Code::ConfigurationInvalid, Some("URL")));
        }
    }

    #[test]
    fn sensitive_bodies_are_refused() {
        let refused = Environment::of(&[("LOG_SENSITIVE_BODIES", "True")]).err().map(|error| error.code());
        assert_eq!(refused, Some(Code::UnsafeLogging));
    }
}
