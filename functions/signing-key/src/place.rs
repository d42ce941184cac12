//! The name of a place that keys are published in.

use std::fmt;

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
}

impl Place {
    /// The most bytes that it holds. `None` if that is more than any set has.
    pub fn most_bytes(&self) -> Option<usize> {
        match self {
            Self::Object { .. } => None,
            // An advanced parameter: https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
            Self::Parameter(_) => Some(8192),
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
        let (bucket, key) = text.strip_prefix("s3://")?.split_once('/')?;
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
        let in_bucket = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        let is_bucket = (3..=63).contains(&bucket.len()) && bucket.chars().all(in_bucket) && !bucket.contains("..");
        let is_key = plain(key) && !key.starts_with('/') && !key.contains("//");
        (is_bucket && is_key).then(|| Self::Object { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Self::Parameter(name) => write!(f, "ssm:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_shown_and_anything_else_is_none() {
        for text in ["s3://my.bucket-1/.well-known/jwks.json", "ssm:/app/jwks", "ssm:jwks"] {
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
            "https://a.example/a",
            "file:/etc/passwd",
        ] {
            assert_eq!(Place::read(bad), None, "{bad}");
        }
    }
}
