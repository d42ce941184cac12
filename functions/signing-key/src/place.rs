//! The name of a place that keys are published in, and which secrets the deployer lets publish there.

use rotation::error::short_name;
use std::fmt;

/// A set with more keys is not one that a rotation made.
pub const MOST_KEYS: usize = 100;

/// A place that keys are published in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An object in S3: `s3://bucket/key`.
    Object {
        /// The bucket.
        bucket: String,
        /// The object's key.
        key: String,
    },
    /// A parameter of Systems Manager: `ssm:name`.
    Parameter(String),
    /// A key group of CloudFront, for signed URLs: `cloudfront:id`.
    KeyGroup(String),
}

impl Place {
    /// The most bytes that it holds. `None` if that is more than any set has.
    pub fn most_bytes(&self) -> Option<usize> {
        match self {
            Self::Object { .. } | Self::KeyGroup(_) => None,
            // An advanced parameter: https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
            Self::Parameter(_) => Some(8192),
        }
    }

    /// The most keys that it holds.
    pub fn most_keys(&self) -> usize {
        match self {
            Self::Object { .. } | Self::Parameter(_) => MOST_KEYS,
            // https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html
            Self::KeyGroup(_) => 5,
        }
    }

    /// The place that a text names. `None` if it names none.
    pub fn read(text: &str) -> Option<Self> {
        let plain = |text: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
            !text.is_empty() && text.len() <= 512 && text.chars().all(fits) && !text.split('/').any(|part| part == "..")
        };
        if let Some(name) = text.strip_prefix("ssm:") {
            return plain(name).then(|| Self::Parameter(name.to_owned()));
        }
        if let Some(id) = text.strip_prefix("cloudfront:") {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
            return ((1..=64).contains(&id.len()) && id.chars().all(fits)).then(|| Self::KeyGroup(id.to_owned()));
        }
        let (bucket, key) = text.strip_prefix("s3://")?.split_once('/')?;
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
        let in_bucket = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        let is_bucket = (3..=63).contains(&bucket.len()) && bucket.chars().all(in_bucket) && !bucket.contains("..");
        let is_key = plain(key) && !key.starts_with('/') && !key.contains("//");
        (is_bucket && is_key).then(|| Self::Object { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

/// An entry of the deployer's list of places: a place, or a secret's name, an equals sign and a place. Each may end with an asterisk, which
/// stands for any end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The name of the secret. `None`: any secret.
    secret: Option<String>,
    place: String,
}

impl Allowed {
    /// Reads an entry. `None` if it is none.
    pub fn read(entry: &str) -> Option<Self> {
        // A secret's name may have an equals sign, and a place has none.
        let (secret, place) = match entry.rsplit_once('=') {
            Some((secret, place)) => (Some(secret), place),
            None => (None, entry),
        };
        let named = secret.is_none_or(|secret| !secret.trim_end_matches('*').is_empty());
        // With an end, the beginning of a place has to be one.
        let is_place = match place.strip_suffix('*') {
            Some(beginning) => Place::read(&format!("{beginning}a")).is_some(),
            None => Place::read(place).is_some(),
        };
        (named && is_place).then(|| Self { secret: secret.map(str::to_owned), place: place.to_owned() })
    }

    /// Whether a secret, which an ARN or a name stands for, may publish in a place.
    pub fn allows(&self, secret: &str, place: &Place) -> bool {
        let matches = |pattern: &str, text: &str| match pattern.strip_suffix('*') {
            Some(beginning) => text.starts_with(beginning),
            None => pattern == text,
        };
        let is_meant = self.secret.as_deref().is_none_or(|pattern| matches(pattern, short_name(secret)));
        is_meant && matches(&self.place, &place.to_string())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Self::Parameter(name) => write!(f, "ssm:{name}"),
            Self::KeyGroup(id) => write!(f, "cloudfront:{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_shown_and_anything_else_is_none() {
        for text in ["s3://my.bucket-1/.well-known/jwks.json", "ssm:/app/jwks", "ssm:jwks", "cloudfront:4b4f-1"] {
            assert_eq!(Place::read(text).unwrap().to_string(), text);
        }
        for bad in [
            "",
            "s3://bucket",
            "s3://bucket/",
            "s3://Bucket/a",
            "s3://a/b",
            "s3://bucket//a",
            "s3://bucket/a?b",
            "s3://bucket/a/../b",
            "s3://bucket/a%2fb",
            "s3://b..c/a",
            "ssm:",
            "ssm:/a b",
            "ssm:/a:1",
            "cloudfront:",
            "cloudfront:a/b",
            "https://a.example/a",
            "file:/etc/passwd",
        ] {
            assert_eq!(Place::read(bad), None, "{bad}");
        }
    }
}
