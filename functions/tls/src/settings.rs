//! What the deployer decides for certificates.

use rotation::environment::Environment;
use rotation::{Code, Error, Fact, Result};

/// The function's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `CA_BUNDLE`: PEM text of further CAs to trust: for connections to directories, and as roots of certificates.
    pub(crate) ca_bundle: Option<String>,
    /// `ACCOUNT_SECRET_ARNS`: the only secrets that `rotation.accountSecretArn` may name. `None`: any that the function's role can
    /// read.
    pub(crate) account_secrets: Option<Vec<String>>,
    /// `DIRECTORIES`: the only directories that secrets may name. `None`: any whose host has a public address.
    pub(crate) directories: Option<Vec<String>>,
    /// `ALLOWED_DOMAINS`: a certificate is only for these domains and what is below them. `None`: for any.
    pub(crate) domains: Option<Vec<String>>,
    /// `ENDPOINT_HOSTS`: the hosts that `rotation.endpoint` may name beside those that the certificate is for.
    pub(crate) endpoint_hosts: Vec<String>,
    /// `AWS_ENDPOINT_URL_ROUTE_53`: where Route 53 is, if not at its usual place.
    pub(crate) route53_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_ACM`: where AWS Certificate Manager is, if not at its usual place.
    pub(crate) acm_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_S3`: where S3 is, if not at its usual place.
    pub(crate) s3_endpoint: Option<String>,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// [`ConfigurationInvalid`](rotation::Code::ConfigurationInvalid).
    pub fn read(environment: &Environment) -> Result<Self> {
        // The template sets these, empty where the deployer has no limit.
        let limit = |name| environment.list(name).map(|list| list.filter(|list| !list.is_empty()));
        let domains = limit("ALLOWED_DOMAINS")?;
        if let Some(wrong) = domains.iter().flatten().find(|domain| !is_domain(domain)) {
            let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, "ALLOWED_DOMAINS");
            return Err(error.with(Fact::Found, wrong).with(Fact::Expected, "domains like example.com, without *"));
        }
        Ok(Self {
            ca_bundle: environment.ca_bundle()?,
            account_secrets: environment.list("ACCOUNT_SECRET_ARNS")?,
            directories: limit("DIRECTORIES")?,
            domains,
            endpoint_hosts: environment.list("ENDPOINT_HOSTS")?.unwrap_or_default(),
            route53_endpoint: environment.text("AWS_ENDPOINT_URL_ROUTE_53")?,
            acm_endpoint: environment.text("AWS_ENDPOINT_URL_ACM")?,
            s3_endpoint: environment.text("AWS_ENDPOINT_URL_S3")?,
        })
    }

    /// Whether the deployer allows certificates for a name, which may begin with `*.`.
    pub(crate) fn allows(&self, name: &str) -> bool {
        let name = name.strip_prefix("*.").unwrap_or(name);
        let within = |domain: &String| {
            name == domain || name.strip_suffix(domain.as_str()).is_some_and(|above| above.ends_with('.'))
        };
        self.domains.as_ref().is_none_or(|domains| domains.iter().any(within))
    }
}

/// Whether a text is a domain in lower case, without a wildcard and without a dot at its end (RFC 5890, section 2.3.1).
pub(crate) fn is_domain(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.chars().all(inside) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').count() >= 2 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(domains: &str) -> Result<Settings> {
        Settings::read(&Environment::of(&[("ALLOWED_DOMAINS", domains)]).unwrap())
    }

    #[test]
    fn a_domain_allows_itself_and_what_is_below_it() {
        let settings = settings("example.com,a.example.org").unwrap();
        for name in ["example.com", "*.example.com", "b.a.example.com", "a.example.org", "*.a.example.org"] {
            assert!(settings.allows(name), "{name}");
        }
        for name in ["badexample.com", "com", "example.org", "*.example.org", "example.com.evil.net"] {
            assert!(!settings.allows(name), "{name}");
        }
        assert!(Settings::read(&Environment::of(&[]).unwrap()).unwrap().allows("anything.example"));
    }

    #[test]
    fn a_domain_is_written_as_certificates_have_it() {
        for wrong in ["*.example.com", "Example.com", "com", "a..com", "-a.com", "a-.com", ".com", "example.com."] {
            assert_eq!(settings(wrong).unwrap_err().code(), Code::ConfigurationInvalid, "{wrong}");
        }
    }
}
