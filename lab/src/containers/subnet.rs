//! A range of IPv4 addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A range of addresses in CIDR notation, such as `172.17.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    first: Ipv4Addr,
    prefix: u8,
}

/// The text is no range of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a range of IPv4 addresses in CIDR notation")]
pub struct NoSubnet;

impl Subnet {
    /// Whether the address lies in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.first.to_bits()
    }

    /// The address that engines give to the bridge if they do not name another: the one after the network's own.
    pub fn usual_gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first.to_bits() | 1)
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl FromStr for Subnet {
    type Err = NoSubnet;

    fn from_str(text: &str) -> Result<Self, NoSubnet> {
        let (address, prefix) = text.split_once('/').ok_or(NoSubnet)?;
        let address: Ipv4Addr = address.parse().map_err(|_| NoSubnet)?;
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or(NoSubnet)?;
        let subnet = Self { first: address, prefix };
        Ok(Self { first: Ipv4Addr::from_bits(address.to_bits() & subnet.mask()), prefix })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_its_own_addresses_and_no_other() {
        let subnet: Subnet = "172.17.0.1/16".parse().unwrap();
        assert_eq!((subnet.to_string().as_str(), subnet.usual_gateway()), ("172.17.0.0/16", [172, 17, 0, 1].into()));
        for inside in [[172, 17, 0, 0], [172, 17, 255, 255]] {
            assert!(subnet.contains(inside.into()), "{inside:?}");
        }
        for outside in [[172, 16, 255, 255], [172, 18, 0, 0], [127, 0, 0, 1]] {
            assert!(!subnet.contains(outside.into()), "{outside:?}");
        }
        let one: Subnet = "10.0.0.7/32".parse().unwrap();
        assert!(one.contains([10, 0, 0, 7].into()) && !one.contains([10, 0, 0, 6].into()));
        assert!("0.0.0.0/0".parse::<Subnet>().unwrap().contains([1, 2, 3, 4].into()));
    }

    #[test]
    fn other_texts_are_none() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "fd00::/64", "10.0.0.0/x"] {
            assert_eq!(text.parse::<Subnet>(), Err(NoSubnet), "{text}");
        }
    }
}
