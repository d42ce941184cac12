//! Which texts may be printed as what. People paste connection strings and passwords into the wrong field, and a server says what it
//! likes. A fact that has to be a name, an address or a code of a service is printed only if it looks like one.

use std::net::IpAddr;

/// The longest name of a user: MariaDB's, which has 80 characters. PostgreSQL's has 63 bytes, MySQL's 32 characters.
const LONGEST_NAME: usize = 80;
/// The longest host name in characters (RFC 1035, section 2.3.4).
const LONGEST_HOST: usize = 253;

/// Stands for a text that is not printed.
pub(super) const HIDDEN: &str = "(not shown: this does not look like a name)";

/// A name as it may be printed: the name, or what stands for a text that looks like something else.
pub fn name(text: &str) -> &str {
    if is_name(text) { text } else { HIDDEN }
}

/// The name or ARN of a secret as it may be printed: it, or what stands for a text that looks like something else.
pub fn secret_name(text: &str) -> &str {
    if has_only(text, "/_+=.@!:-") && !text.contains("://") { text } else { HIDDEN }
}

/// The name in a secret's ARN, which ends with a hyphen and six characters that the service chose; else the text.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html>
pub fn short_name(arn: &str) -> &str {
    let name = arn.strip_prefix("arn:").and_then(|_| arn.split_once(":secret:"));
    let name = name.and_then(|(_, name)| name.rsplit_once('-').filter(|(_, end)| end.len() == 6));
    name.map_or(arn, |(name, _)| name)
}

/// The key of a field as it may be printed: the key, or what stands for a text that looks like something else.
pub fn key(text: &str) -> &str {
    if text.len() <= 64 && has_only(text, "_.-") { text } else { HIDDEN }
}

/// Whether a text looks like a name of a user or a database, and not like a connection string or a name with a password. A name may have
/// any character, but hardly one of these. MySQL's accounts, `'user'@'host'`, are names.
pub(super) fn is_name(text: &str) -> bool {
    let (user, host) = match text.strip_prefix('\'').and_then(|text| text.split_once("'@'")) {
        Some((user, host)) => (user, host.trim_end_matches('\'')),
        None => (text, ""),
    };
    user.chars().count() <= LONGEST_NAME && !user.contains([':', '=']) && host.len() <= LONGEST_HOST + 2
}

/// Whether a text is a host name or an IP address, without a scheme, a user, a port or a path.
pub fn is_host(text: &str) -> bool {
    let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    address.parse::<IpAddr>().is_ok() || (!text.is_empty() && text.len() <= LONGEST_HOST + 1 && has_only(text, ".-_"))
}

/// Whether a text looks like the id of a key, and not like an address with a password. Some ids are paths with an address of mail.
pub(super) fn is_key_id(text: &str) -> bool {
    let is_address = text.contains("://") && text.contains('@');
    text.len() <= 128 && has_only(text, "._~:/+=@|-") && !is_address
}

pub(super) fn has_only(text: &str, marks: &str) -> bool {
    text.chars().all(|character| character.is_ascii_alphanumeric() || marks.contains(character))
}
