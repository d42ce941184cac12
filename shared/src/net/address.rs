//! The addresses behind a host's name, and which of them may be connected to.
//!
//! Whoever writes a secret, or a description, names hosts. A function inside a network must not become a way into it.

use crate::clock::Deadline;
use crate::error::{Code, Error, Fact, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The addresses of a host, without those that are not allowed. `private` says whether it may have private and loopback addresses.
/// Link-local and other special addresses are never allowed: clouds keep credentials there.
///
/// Connect to what this returns: a name that is looked up again may have another address by then.
///
/// # Errors
/// [`Code::HostUnresolved`]; [`Code::HostDenied`] if no address is allowed.
pub async fn resolve(host: &str, port: u16, private: bool, deadline: Deadline) -> Result<Vec<SocketAddr>> {
    let unresolved = || Error::new(Code::HostUnresolved);
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = match name.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => {
            let resolved = deadline.limit(tokio::net::lookup_host((name, port))).await;
            resolved.map_err(|_| unresolved())?.map_err(|_| unresolved())?.collect()
        }
    };
    let first = found.first().copied().ok_or_else(unresolved)?;
    let usable: Vec<_> = found.into_iter().filter(|address| may_connect(address.ip(), private)).collect();
    if usable.is_empty() { Err(denied(host, first.ip())) } else { Ok(usable) }
}

/// The error of a host whose address is not allowed.
pub fn denied(host: &str, address: IpAddr) -> Error {
    let error = Error::new(Code::HostDenied).with(Fact::Host, host);
    error.with(Fact::Found, format_args!("the {} address {address}", kind(address).as_str()))
}

/// The kind of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressKind {
    Public,
    /// Private or loopback: allowed if the deployer says so.
    Private,
    /// Link-local, where clouds keep credentials, and all other special addresses: never allowed.
    Special,
}

impl AddressKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private or loopback",
            Self::Special => "link-local or special-purpose",
        }
    }
}

fn may_connect(address: IpAddr, private: bool) -> bool {
    match kind(address) {
        AddressKind::Public => true,
        AddressKind::Private => private,
        AddressKind::Special => false,
    }
}

/// By IANA's registries of special-purpose addresses (RFC 6890):
/// <https://www.iana.org/assignments/iana-ipv4-special-registry>, <https://www.iana.org/assignments/iana-ipv6-special-registry>.
fn kind(address: IpAddr) -> AddressKind {
    match address {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

fn kind_v4(address: Ipv4Addr) -> AddressKind {
    match address.octets() {
        [10, ..] | [127, ..] | [192, 168, ..] => AddressKind::Private,
        [172, second, ..] if (16..32).contains(&second) => AddressKind::Private,
        // Shared address space (RFC 6598), which VPCs also use.
        [100, second, ..] if (64..128).contains(&second) => AddressKind::Private,
        [0, ..] | [169, 254, ..] | [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => AddressKind::Special,
        [198, 51, 100, _] | [203, 0, 113, _] | [224..=255, ..] => AddressKind::Special,
        _ => AddressKind::Public,
    }
}

fn kind_v6(address: Ipv6Addr) -> AddressKind {
    let embedded = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        kind_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressKind::Private,
        // IPv4-mapped, NAT64 (RFC 6052) and 6to4 addresses contain an IPv4 address, which decides.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            embedded(high, low)
        }
        // AWS's services on an instance, such as the instance metadata.
        [0xfd00, 0x0ec2, ..] => AddressKind::Special,
        [first, ..] if first & 0xfe00 == 0xfc00 => AddressKind::Private,
        // Global unicast is 2000::/3, except for documentation, benchmarks and tunnels.
        [0x2001, 0xdb8 | 0..=0x1ff, ..] | [0x3fff, 0..=0xfff, ..] => AddressKind::Special,
        [first, ..] if first & 0xe000 == 0x2000 => AddressKind::Public,
        _ => AddressKind::Special,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn addresses_are_public_private_or_never() {
        for (kinds, addresses) in [
            (
                AddressKind::Public,
                &[
                    "8.8.8.8",
                    "172.15.0.1",
                    "172.32.0.1",
                    "100.63.0.1",
                    "169.253.1.1",
                    "2606:4700::1111",
                    "64:ff9b::808:808",
                ][..],
            ),
            (
                AddressKind::Private,
                &[
                    "10.0.0.1",
                    "172.16.0.1",
                    "172.31.255.255",
                    "192.168.1.1",
                    "127.0.0.1",
                    "100.64.0.1",
                    "::1",
                    "fd12::1",
                    "::ffff:10.0.0.1",
                    "::ffff:127.0.0.1",
                    "64:ff9b::a00:1",
                    "2002:a00:1::",
                ],
            ),
            (
                AddressKind::Special,
                &[
                    "169.254.169.254",
                    "0.0.0.0",
                    "::",
                    "224.0.0.1",
                    "255.255.255.255",
                    "fe80::1",
                    "fd00:ec2::254",
                    "::ffff:169.254.169.254",
                    "2002:a9fe:a9fe::",
                    "64:ff9b::a9fe:a9fe",
                    "2001:db8::1",
                    "ff02::1",
                    "198.18.0.1",
                    "::7f00:1",
                ],
            ),
        ] {
            for address in addresses {
                assert_eq!(kind(address.parse().unwrap()), kinds, "{address}");
            }
        }
    }

    #[tokio::test]
    async fn an_address_inside_is_refused_unless_it_is_allowed() {
        let code = async |host: &str, private| {
            let deadline = Deadline::after(Duration::from_secs(5));
            resolve(host, 1, private, deadline).await.map(drop).map_err(|error| error.code())
        };
        for inside in ["localhost", "127.0.0.1", "10.0.0.1", "[::1]", "192.168.1.1"] {
            assert_eq!(
                (code(inside, false).await, code(inside, true).await),
                (Err(Code::HostDenied), Ok(())),
                "{inside}"
            );
        }
        for never in ["169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "0.0.0.0"] {
            assert_eq!(code(never, true).await, Err(Code::HostDenied), "{never}");
        }
        assert_eq!(code("8.8.8.8", false).await, Ok(()));
    }
}
