//! The address that verifiers fetch the published set from, as the secret names it.

use rotation::error::is_host;
use rotation::{Error, Fact};

/// The field that names the address.
const FIELD: &str = "rotation.verifyAt";

/// The address that verifiers fetch the set from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
}

impl PublicAddress {
    /// Reads an `https` URL with a host, perhaps a port, and a path. `None` if it is none, or has more: a user or a query would be
    /// chosen by whoever writes the secret, and a fragment is never sent.
    pub fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, 443),
        };
        let in_path = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
        let fits = is_host(host) && port > 0 && path.len() <= 512 && path.chars().all(in_path);
        let path = if path.is_empty() { "/" } else { path };
        fits.then(|| Self { host: host.to_ascii_lowercase(), port, path: path.to_owned() })
    }

    /// Host and port, as they stand in a URL and in the header `host`.
    pub(crate) fn authority(&self) -> String {
        if self.port == 443 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The error with the address that it is about. The path is left out: whoever writes the secret chose it.
    pub fn placed(&self, error: Error) -> Error {
        let error = error.with_default(Fact::Field, FIELD).with_default(Fact::Host, &self.host);
        error.with_default(Fact::Port, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_https_url_without_anything_that_could_be_a_secret() {
        let read = |text: &str| PublicAddress::read(text).map(|at| (at.authority(), at.path));
        let is = |authority: &str, path: &str| Some((authority.to_owned(), path.to_owned()));
        assert_eq!(
            read("https://Tokens.example.com/.well-known/jwks.json"),
            is("tokens.example.com", "/.well-known/jwks.json")
        );
        assert_eq!(read("https://tokens.example.com:443"), is("tokens.example.com", "/"));
        assert_eq!(read("https://[::1]:8443/a"), is("[::1]:8443", "/a"));
        for wrong in [
            "http://a.example/",
            "https://",
            "https:///a",
            "https://u:p@a.example/",
            "https://a.example/?q",
            "https://a.example/#f",
            "https://a.example:0/",
            "https://a.example:x/",
            "https://a.example/a b",
            "https://a.example/%0d",
            "a.example",
            "",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
