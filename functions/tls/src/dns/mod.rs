//! Answers to a CA's challenges, as TXT records in Route 53.
//!
//! Several values may be needed at one name at once: `example.com` and `*.example.com` are validated at the same name, and so are two
//! rotations that run side by side. A record set is replaced as a whole, so values are added to it and taken from it one by one, by a
//! comparison with what was read: [`plan`] decides, and [`Route53`] carries it out.

pub mod plan;
mod route53;
mod xml;

pub use plan::Owner;
pub use route53::Route53;

/// A TXT record that answers a challenge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// The hosted zone's id.
    pub zone: String,
    /// The name, without a dot at its end.
    pub name: String,
    /// The value, without quotes.
    pub value: String,
}
