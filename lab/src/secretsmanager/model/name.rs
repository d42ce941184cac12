//! How a secret is named in requests: by its name, its full ARN, or its partial ARN.

use super::Context;
use crate::secretsmanager::ServiceError;

/// The longest name that CreateSecret takes (CreateSecret, API reference).
const MAX_NAME: usize = 512;

/// Where the service runs; the part that all its ARNs share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) region: String,
    pub(crate) account_id: String,
}

impl Place {
    /// `arn:aws:secretsmanager:<region>:<account>:secret:`.
    fn arn_prefix(&self) -> String {
        // The partitions an SDK derives from the region's name.
        let partition = match self.region.split('-').next() {
            Some("cn") => "aws-cn",
            Some("us") if self.region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        format!("arn:{partition}:secretsmanager:{}:{}:secret:", self.region, self.account_id)
    }

    /// A fresh ARN: the name, a hyphen and six random characters, so that a secret created again under the same name
    /// is another resource (Secrets Manager user guide, "What's in a secret").
    pub(crate) fn arn(&self, name: &str, context: &mut Context<'_>) -> String {
        format!("{}{name}-{}", self.arn_prefix(), context.arn_suffix())
    }
}

/// Whether `id` names the secret with this name and ARN. The ARN may be partial: without the hyphen and the six random
/// characters ("Finding a secret from a partial ARN").
pub(crate) fn matches(id: &str, name: &str, arn: &str) -> bool {
    if !id.starts_with("arn:") {
        return id == name;
    }
    id == arn || arn.strip_suffix_chars(7) == Some(id)
}

trait StripSuffixChars {
    fn strip_suffix_chars(&self, count: usize) -> Option<&str>;
}

impl StripSuffixChars for str {
    fn strip_suffix_chars(&self, count: usize) -> Option<&str> {
        self.get(..self.len().checked_sub(count)?)
    }
}

/// Checks a new secret's name (CreateSecret: ASCII letters, digits and `/_+=.@-`).
pub(crate) fn check_new_name(name: &str) -> Result<(), ServiceError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c);
    if name.is_empty() {
        return Err(ServiceError::constraint(Some(name), "name", "Member must have length greater than or equal to 1"));
    }
    if name.len() > MAX_NAME {
        return Err(ServiceError::constraint(Some(name), "name", "Member must have length less than or equal to 512"));
    }
    if !name.chars().all(allowed) {
        return Err(ServiceError::validation(
            "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db-AbCdEf";

    #[test]
    fn a_secret_is_found_by_name_full_arn_and_partial_arn() {
        assert!(matches("app/db", "app/db", ARN));
        assert!(matches(ARN, "app/db", ARN));
        assert!(matches("arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db", "app/db", ARN));
    }

    #[test]
    fn other_regions_accounts_and_suffixes_do_not_match() {
        for id in [
            "app/db-AbCdEf",
            "app/d",
            "APP/DB",
            "arn:aws:secretsmanager:eu-west-2:123456789012:secret:app/db",
            "arn:aws:secretsmanager:eu-west-1:123456789013:secret:app/db-AbCdEf",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db-AbCdEg",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app",
        ] {
            assert!(!matches(id, "app/db", ARN), "{id}");
        }
    }

    #[test]
    fn names_keep_to_awss_characters_and_length() {
        for good in ["a", "Valid/_+=.@-Name", "Valid/_+=.@-Name-a1b2c3-", &"x".repeat(512)] {
            assert_eq!(check_new_name(good), Ok(()), "{good}");
        }
        for bad in ["", "sp ace", "b!ng", "ümlaut", "a\n", &"x".repeat(513)] {
            assert_eq!(check_new_name(bad).map_err(|e| e.error_type), Err("ValidationException"), "{bad}");
        }
    }
}
