//! Where a description is tried: over TLS, or on this machine.

/// Where a description is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Against {
    /// The host, and perhaps the port.
    pub(super) authority: String,
    /// Whether requests go there without TLS.
    pub(super) without_tls: bool,
}

impl std::fmt::Display for Against {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", if self.without_tls { "http" } else { "https" }, self.authority)
    }
}

/// Reads a URL: a host, and perhaps a port.
pub(super) fn place(url: &str) -> Result<Against, &'static str> {
    let (rest, without_tls) = match url.strip_prefix("http://") {
        Some(rest) => (Some(rest), true),
        None => (url.strip_prefix("https://"), false),
    };
    let authority = rest.map(|rest| rest.trim_end_matches('/'));
    let authority = authority.filter(|it| !it.is_empty() && !it.contains(['/', '?', '#', '@', ' ']));
    let authority = authority.ok_or("expected https:// and a host, perhaps with a port, and no path")?;
    if !without_tls {
        return Ok(Against { authority: authority.to_owned(), without_tls });
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, "80"),
    };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    if host != "localhost" && !address.is_ok_and(|address| address.is_loopback()) {
        return Err("expected https://: http:// is only for a server on this machine, such as http://localhost:8080");
    }
    Ok(Against { authority: format!("{host}:{port}"), without_tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_and_perhaps_a_port() {
        for (url, authority, without_tls) in [
            ("https://localhost:8443/", "localhost:8443", false),
            ("https://api.example.com", "api.example.com", false),
            ("http://localhost:8080/", "localhost:8080", true),
            ("http://127.0.0.1", "127.0.0.1:80", true),
            ("http://[::1]", "[::1]:80", true),
        ] {
            assert_eq!(place(url), Ok(Against { authority: authority.to_owned(), without_tls }), "{url}");
        }
        for bad in [
            "http://api.example.com",
            "http://10.0.0.1:80",
            "http://localhost.example.com",
            "localhost:1",
            "https://",
            "https://a/b",
            "https://u@h",
            "https://a?b",
        ] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
