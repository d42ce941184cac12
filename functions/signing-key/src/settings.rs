//! What the deployer decides for signing keys.

use crate::place::{Allowed, Place};
use rotation::environment::Environment;
use rotation::error::is_host;
use rotation::{Code, Error, Fact, Result};

/// The function's settings.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `PLACES`: the only places that secrets may name. `None`: any that the function's role may
    /// write, but no key group.
    pub(crate) places: Option<Vec<Allowed>>,
    /// `VERIFY_HOSTS`: the hosts that `rotation.verifyAt` may name.
    pub(crate) verify_hosts: Vec<String>,
    /// `CA_BUNDLE`: PEM text of further CAs to trust for connections to these hosts.
    pub(crate) ca_bundle: Option<String>,
    /// `AWS_ENDPOINT_URL_S3`: where S3 is, if not at its usual place.
    pub(crate) s3_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_SSM`: where Systems Manager is, if not at its usual place.
    pub(crate) ssm_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_CLOUDFRONT`: where CloudFront is, if not at its usual place.
    pub(crate) cloudfront_endpoint: Option<String>,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// [`ConfigurationInvalid`](rotation::Code::ConfigurationInvalid).
    pub fn read(environment: &Environment) -> Result<Self> {
        let invalid = |field: &str, found: &str, expected: &str| {
            let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, field);
            error.with(Fact::Found, found).with(Fact::Expected, expected)
        };
        // The template sets these, empty where the deployer has no limit.
        let places = environment.list("PLACES")?.filter(|list| !list.is_empty());
        let places = places.map(|list| {
            let read = |entry: &String| {
                Allowed::read(entry).ok_or_else(|| {
                    invalid(
                        "PLACES",
                        entry,
                        "places like s3://bucket/jwks.json, or secret=place, each with * at its end or without",
                    )
                })
            };
            list.iter().map(read).collect::<Result<Vec<_>>>()
        });
        let verify_hosts = environment.list("VERIFY_HOSTS")?.unwrap_or_default();
        if let Some(wrong) = verify_hosts.iter().find(|host| !is_host_and_port(host)) {
            return Err(invalid("VERIFY_HOSTS", wrong, "host names, perhaps with a port, without https://"));
        }
        Ok(Self {
            places: places.transpose()?,
            verify_hosts,
            ca_bundle: environment.ca_bundle()?,
            s3_endpoint: environment.text("AWS_ENDPOINT_URL_S3")?,
            ssm_endpoint: environment.text("AWS_ENDPOINT_URL_SSM")?,
            cloudfront_endpoint: environment.text("AWS_ENDPOINT_URL_CLOUDFRONT")?,
        })
    }

    /// Checks that the deployer lets this secret, which an ARN or a name stands for, publish there.
    ///
    /// # Errors
    /// [`Code::OutletRefused`].
    pub(crate) fn allow(&self, secret: &str, place: &Place) -> Result<()> {
        let listed = |list: &Vec<Allowed>| list.iter().any(|entry| entry.allows(secret, place));
        let is_allowed = match (&self.places, place) {
            (Some(list), _) => listed(list),
            // A role's policy names objects and parameters, and CloudFront has no such policy for key groups.
            (None, Place::KeyGroup(_)) => false,
            (None, Place::Object { .. } | Place::Parameter(_)) => true,
        };
        if is_allowed {
            return Ok(());
        }
        let error = Error::new(Code::OutletRefused).with(Fact::Field, place);
        let next = "If this secret may publish there, add the place to PLACES (the template's parameter PublishedPlaces). Otherwise correct \
                    rotation.publish.";
        Err(error.with(Fact::Found, "a place that PLACES does not list for this secret").with(Fact::NextAction, next))
    }
}

fn is_host_and_port(text: &str) -> bool {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        _ => is_host(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(name: &str, value: &str) -> Result<Settings> {
        Settings::read(&Environment::of(&[(name, value)]).unwrap())
    }

    const TOKENS: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:app/tokens-AbCdEf";

    #[test]
    fn a_secret_publishes_only_where_the_deployer_lets_it() {
        let place = |text: &str| Place::read(text).unwrap();
        let allows = |places: &str, secret: &str, text: &str| {
            let allowed = settings("PLACES", places).unwrap().allow(secret, &place(text));
            assert!(allowed.as_ref().err().is_none_or(|error| error.code() == Code::OutletRefused), "{allowed:?}");
            allowed.is_ok()
        };
        for (places, secret, text, expected) in [
            ("", TOKENS, "ssm:/a", true),
            ("ssm:/a", TOKENS, "ssm:/a", true),
            ("ssm:/a", TOKENS, "ssm:/ab", false),
            ("s3://keys/*", TOKENS, "s3://keys/a/jwks.json", true),
            ("s3://keys/*", TOKENS, "s3://keys.evil/jwks.json", false),
            ("app/tokens=ssm:/a", TOKENS, "ssm:/a", true),
            ("app/tokens=ssm:/a", "app/tokens", "ssm:/a", true),
            ("app/token=ssm:/a", TOKENS, "ssm:/a", false),
            ("app/*=ssm:/app/*", TOKENS, "ssm:/app/jwks", true),
            ("ap/*=ssm:/app/*", TOKENS, "ssm:/app/jwks", false),
            // A secret's name may have an equals sign.
            ("app=eu/*=ssm:/a", "app=eu/tokens", "ssm:/a", true),
            ("app=eu/*=ssm:/a", "app", "ssm:/a", false),
            ("", TOKENS, "cloudfront:a-1", false),
            ("app/tokens=cloudfront:a-1", TOKENS, "cloudfront:a-1", true),
            ("other=ssm:/a,app/tokens=ssm:/b", TOKENS, "ssm:/a", false),
        ] {
            assert_eq!(allows(places, secret, text), expected, "{places} {text}");
        }
        assert!(Settings::default().allow(TOKENS, &place("ssm:/a")).is_ok());
    }

    #[test]
    fn settings_that_mean_nothing_are_named() {
        for (name, wrong) in [
            ("PLACES", "https://a.example"),
            ("PLACES", "*"),
            ("PLACES", "s3*"),
            ("PLACES", "=ssm:/a"),
            ("VERIFY_HOSTS", "https://a.example"),
            ("VERIFY_HOSTS", "a.example/"),
            ("VERIFY_HOSTS", "a.example:0"),
            ("VERIFY_HOSTS", "*.a.example"),
        ] {
            let error = settings(name, wrong).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Field)), (Code::ConfigurationInvalid, Some(name)), "{wrong}");
        }
        for right in ["a.example", "a.example:8443,b.example", "127.0.0.1:1", "[::1]:8443", ""] {
            settings("VERIFY_HOSTS", right).unwrap();
        }
    }
}
