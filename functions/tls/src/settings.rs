//! What the deployer decides for certificates.

use crate::http::Url;
use rotation::environment::Environment;
use rotation::error::is_host;
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
        let invalid = |field: &str, found: &str, expected: &str| {
            let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, field);
            error.with(Fact::Found, found).with(Fact::Expected, expected)
        };
        let domains = limit("ALLOWED_DOMAINS")?;
        if let Some(wrong) = domains.iter().flatten().find(|domain| !is_domain(domain)) {
            return Err(invalid("ALLOWED_DOMAINS", wrong, "domains like example.com, without *"));
        }
        let directories = limit("DIRECTORIES")?;
        if directories.iter().flatten().any(|directory| Url::parse(directory).is_none()) {
            // A URL may have a password.
            let expected = "URLs that begin with https://, without a user and without #";
            return Err(invalid("DIRECTORIES", "something that is no such URL", expected));
        }
        let endpoint_hosts = environment.list("ENDPOINT_HOSTS")?.unwrap_or_default();
        if let Some(wrong) = endpoint_hosts.iter().find(|host| !is_host(host)) {
            return Err(invalid(
                "ENDPOINT_HOSTS",
                wrong,
                "host names or addresses, without https:// and without a port",
            ));
        }
        Ok(Self {
            ca_bundle: environment.ca_bundle()?,
            account_secrets: environment.list("ACCOUNT_SECRET_ARNS")?,
            directories,
            domains,
            endpoint_hosts: endpoint_hosts.iter().map(|host| bare(host)).collect(),
            route53_endpoint: environment.text("AWS_ENDPOINT_URL_ROUTE_53")?,
            acm_endpoint: environment.text("AWS_ENDPOINT_URL_ACM")?,
            s3_endpoint: environment.text("AWS_ENDPOINT_URL_S3")?,
        })
    }

    /// Whether the deployer lists a host for `rotation.endpoint`.
    pub(crate) fn lists_endpoint(&self, host: &str) -> bool {
        self.endpoint_hosts.contains(&bare(host))
    }

    /// Whether the deployer has named a host. Its address may be a private one.
    ///
    /// **Invariant:** the name in a secret lets nobody connect to a private address: whoever writes the secret may own the name, and let it
    /// lead there. Test: `a_name_that_the_secret_alone_has_leads_to_no_private_address`.
    pub(crate) fn names_host(&self, host: &str) -> bool {
        self.lists_endpoint(host) || (self.domains.is_some() && self.allows(&bare(host)))
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

/// A host as it is compared: in small letters, an address of IPv6 without brackets.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
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
    fn settings_that_mean_nothing_are_named() {
        for (name, wrong) in [
            ("DIRECTORIES", "https://ca.example/dir,ca.example"),
            ("DIRECTORIES", "http://ca.example/dir"),
            ("ENDPOINT_HOSTS", "balancer.example:443"),
            ("ENDPOINT_HOSTS", "a.example,https://balancer.example"),
        ] {
            let error = Settings::read(&Environment::of(&[(name, wrong)]).unwrap()).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Field)), (Code::ConfigurationInvalid, Some(name)), "{wrong}");
        }
        let secret = Settings::read(&Environment::of(&[("DIRECTORIES", "https://user:hunter2@ca.example/")]).unwrap());
        assert!(!format!("{:?}", secret.unwrap_err()).contains("hunter2"));
    }

    #[test]
    fn the_deployer_names_hosts_in_any_letters() {
        let of = |list: &[(&str, &str)]| Settings::read(&Environment::of(list).unwrap()).unwrap();
        let listed = of(&[("ENDPOINT_HOSTS", "LB.example,10.0.0.7,::1")]);
        for host in ["lb.example", "Lb.Example", "10.0.0.7", "[::1]"] {
            assert!(listed.lists_endpoint(host) && listed.names_host(host), "{host}");
        }
        assert!(!listed.names_host("a.lb.example") && !listed.names_host("example.com"));
        let below = of(&[("ALLOWED_DOMAINS", "example.com")]);
        assert!(below.names_host("a.example.com") && !below.lists_endpoint("a.example.com"));
        assert!(!below.names_host("a.evil.test"));
        assert!(!of(&[]).names_host("a.example.com"), "without a list the deployer has named nobody");
    }

    #[test]
    fn a_domain_is_written_as_certificates_have_it() {
        for wrong in ["*.example.com", "Example.com", "com", "a..com", "-a.com", "a-.com", ".com", "example.com."] {
            assert_eq!(settings(wrong).unwrap_err().code(), Code::ConfigurationInvalid, "{wrong}");
        }
    }
}
