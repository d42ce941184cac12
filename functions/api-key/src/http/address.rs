//! Where requests may go: which host names, and which addresses behind a name.

use rotation::clock::Deadline;
use rotation::error::is_host;
use rotation::net::address;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};

/// Hosts under the name of the issuer that they are for: names, or `*.` and a domain.
pub type HostsByIssuer = BTreeMap<String, Vec<String>>;

/// The hosts that the deployer allows.
#[derive(Clone, Debug, Default)]
pub struct HostPolicy {
    /// Hosts beside those of the descriptions.
    pub hosts: HostsByIssuer,
    /// Hosts that may have private and loopback addresses.
    pub private_hosts: HostsByIssuer,
    /// Host and port that all requests go to instead, for tests and proxies.
    pub instead: Option<String>,
    /// Whether requests go there without TLS, which they do on this machine only. No setting of the function says so.
    pub without_tls: bool,
}

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The issuer's name.
    pub issuer: &'a str,
    /// The hosts that its description allows. If there are none, it allows the one that it names.
    pub hosts: &'a [String],
}

/// A host that a request may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) port: u16,
    /// Without TLS, and on this machine only.
    pub(super) plain: bool,
    private: bool,
}

impl HostPolicy {
    /// The host that a request goes to, if the request may go there.
    ///
    /// **Invariant:** a host is allowed for one issuer. Otherwise the admin's credential of another issuer could be sent there.
    /// Test: `a_host_is_allowed_for_one_issuer`.
    pub(super) fn destination(&self, authority: &str, of: Place<'_>) -> Result<Host> {
        let (name, port) = split(authority)?;
        let listed = |hosts: &[String]| hosts.iter().any(|pattern| matches(pattern, &name));
        let allowed = |by: &HostsByIssuer| by.get(of.issuer).is_some_and(|hosts| listed(hosts));
        if !of.hosts.is_empty() && !listed(of.hosts) && !allowed(&self.hosts) && !allowed(&self.private_hosts) {
            return Err(Error::new(Code::HostDenied).with(Fact::Host, &name).with(Fact::Issuer, of.issuer));
        }
        if let Some(instead) = &self.instead {
            let (name, port) = split(instead)?;
            return Ok(Host { name, port, plain: self.without_tls, private: true });
        }
        let private = allowed(&self.private_hosts);
        Ok(Host { name, port, plain: false, private })
    }

    /// The addresses of a host, without those that are not allowed.
    ///
    /// **Invariant:** no request goes to a link-local or special address, and to a private one only if the deployer allows the name.
    /// Otherwise a description could read the credentials of the cloud. Test: `a_name_is_judged_by_its_address`.
    pub(super) async fn resolve(&self, host: &Host, deadline: Deadline) -> Result<Vec<SocketAddr>> {
        let mut usable = address::resolve(&host.name, host.port, host.private, deadline).await?;
        let Some(&first) = usable.first() else { return Err(Error::new(Code::HostUnresolved)) };
        if host.plain {
            usable.retain(|address| address.ip().to_canonical().is_loopback());
        }
        if usable.is_empty() { Err(address::denied(&host.name, first.ip())) } else { Ok(usable) }
    }
}

/// Host and port of an authority (RFC 3986, section 3.2). The default port is 443.
fn split(authority: &str) -> Result<(String, u16)> {
    let invalid = || {
        let error = Error::new(Code::FieldInvalid).with(Fact::Field, "host");
        error.with(Fact::Found, "something else").with(Fact::Expected, "a host name, perhaps with a port")
    };
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            (name, port.parse().ok().filter(|&port: &u16| port > 0).ok_or_else(invalid)?)
        }
        _ => (authority, 443),
    };
    // A name with a user in front of it has a password, too, so a wrong one is not printed.
    if !is_host(name) {
        return Err(invalid());
    }
    Ok((name.trim_end_matches('.').to_ascii_lowercase(), port))
}

/// Whether a text is a host name, an address, or `*.` and a domain.
pub(crate) fn is_host_pattern(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    is_name || address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// Whether a name equals the pattern, or is below the domain after `*.`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => {
            let below = name.len().checked_sub(domain.len() + 1).and_then(|at| name.split_at_checked(at));
            below.is_some_and(|(start, rest)| {
                !start.is_empty() && rest.strip_prefix('.').is_some_and(|rest| rest.eq_ignore_ascii_case(domain))
            })
        }
        None => pattern.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACME: Place<'_> = Place { issuer: "acme", hosts: &[] };

    fn of(issuer: &str, host: &str) -> HostsByIssuer {
        HostsByIssuer::from([(issuer.to_owned(), vec![host.to_owned()])])
    }

    #[test]
    fn names_are_whole_names_or_below_a_domain() {
        for (pattern, name, expected) in [
            ("api.example.com", "api.example.com", true),
            ("api.example.com", "API.example.com", true),
            ("api.example.com", "evil-api.example.com", false),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "evilexample.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "example.com.evil.net", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn authorities_are_split_at_the_port() {
        assert_eq!(split("a.example.com").unwrap(), ("a.example.com".to_owned(), 443));
        assert_eq!(split("A.example.com.:8443").unwrap(), ("a.example.com".to_owned(), 8443));
        assert_eq!(split("[::1]:8443").unwrap(), ("[::1]".to_owned(), 8443));
        for bad in ["", ":443", "a:0", "a:x", "a:70000"] {
            assert_eq!(split(bad).unwrap_err().code(), Code::FieldInvalid, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_its_address() {
        let deadline = Deadline::after(std::time::Duration::from_secs(5));
        let policy = HostPolicy { private_hosts: of("acme", "localhost"), ..HostPolicy::default() };
        let open = policy.destination("localhost:1", ACME).unwrap();
        assert!(!policy.resolve(&open, deadline).await.unwrap().is_empty());
        let other = HostPolicy { private_hosts: of("other", "localhost"), ..HostPolicy::default() };
        for shut in [HostPolicy::default(), other] {
            let host = shut.destination("localhost:1", ACME).unwrap();
            assert_eq!(shut.resolve(&host, deadline).await.unwrap_err().code(), Code::HostDenied);
        }
        let metadata = HostPolicy { private_hosts: of("acme", "169.254.169.254"), ..HostPolicy::default() };
        let host = metadata.destination("169.254.169.254", ACME).unwrap();
        assert_eq!(metadata.resolve(&host, deadline).await.unwrap_err().code(), Code::HostDenied);
    }

    /// Everybody on the way could read a credential.
    #[tokio::test]
    async fn nothing_goes_without_tls_but_to_this_machine() {
        let deadline = Deadline::after(std::time::Duration::from_secs(5));
        let to = |instead: &str, without_tls| HostPolicy {
            instead: Some(instead.to_owned()),
            without_tls,
            ..HostPolicy::default()
        };
        for (address, plain_works) in
            [("127.0.0.1:80", true), ("[::1]:80", true), ("10.0.0.1:80", false), ("8.8.8.8:80", false)]
        {
            for (without_tls, works) in [(false, true), (true, plain_works)] {
                let policy = to(address, without_tls);
                let host = policy.destination("api.example.com", ACME).unwrap();
                assert_eq!(host.plain, without_tls);
                let resolved = policy.resolve(&host, deadline).await;
                assert_eq!(resolved.is_ok(), works, "{address} {without_tls}");
            }
        }
        // Without `instead`, TLS is never left out.
        let policy = HostPolicy { without_tls: true, ..HostPolicy::default() };
        assert!(!policy.destination("localhost:80", ACME).unwrap().plain);
    }

    #[test]
    fn a_host_that_is_not_listed_is_denied() {
        let hosts = ["*.okta.com".to_owned()];
        let okta = Place { issuer: "okta", hosts: &hosts };
        assert!(HostPolicy::default().destination("a.okta.com", okta).is_ok());
        let denied = HostPolicy::default().destination("a.okta.com.evil.net", okta).unwrap_err();
        assert_eq!((denied.code(), denied.fact(Fact::Host)), (Code::HostDenied, Some("a.okta.com.evil.net")));
    }

    #[test]
    fn a_host_is_allowed_for_one_issuer() {
        let hosts = ["*.okta.com".to_owned()];
        let okta = Place { issuer: "okta", hosts: &hosts };
        for (issuer, allowed) in [("okta", true), ("acme", false)] {
            let public = HostPolicy { hosts: of(issuer, "id.example.com"), ..HostPolicy::default() };
            let private = HostPolicy { private_hosts: of(issuer, "id.example.com"), ..HostPolicy::default() };
            for policy in [public, private] {
                assert_eq!(policy.destination("id.example.com", okta).is_ok(), allowed, "{policy:?}");
            }
        }
    }
}
