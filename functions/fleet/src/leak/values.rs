//! The texts of a secret that may be credentials, and what kind of secret it is.

use crate::plan::member::{Facts, Strategy, is_credential};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Shorter texts are words, ports and names.
const SHORTEST: usize = 8;
/// How deep a value is looked into.
const DEEPEST: usize = 8;
/// Fields that hold no credential, at any depth.
const PUBLIC: [&str; 27] = [
    "engine",
    "host",
    "port",
    "dbname",
    "username",
    "user",
    "masterarn",
    "issuer",
    "ssl",
    "dbInstanceIdentifier",
    "dbClusterIdentifier",
    "directory",
    "url",
    "rotation",
    "certificate",
    "chain",
    "fullChain",
    "notAfter",
    "names",
    "contact",
    "kid",
    "keyPairId",
    "algorithm",
    "createdAt",
    "publicKey",
    "jwks",
    "revoked",
];

/// The texts of one version of a secret.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Texts {
    /// In the form in which fingerprints are made of them; first those whose names say that they are credentials.
    pub(super) all: Vec<String>,
    /// Whether none was left out that has the name of a credential, and there is one at all.
    pub(super) complete: bool,
}

/// The texts that may be credentials. A secret that is no JSON object is one text.
///
/// **Invariant:** what a function of Lockstep writes into its kind of secret is among them. Otherwise such a secret is never found, and nobody
/// is told. Test: `what_the_functions_write_is_found`.
pub(super) fn texts(secret: &str) -> Texts {
    let mut found = Vec::new();
    let mut complete = true;
    if let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(secret) {
        // `rotation.fields` gives other names to AWS's keys.
        let renamed = fields.get("rotation").and_then(|rotation| rotation.get("fields")).and_then(Value::as_object);
        let names = |name: &str| {
            let mut own = renamed.into_iter().flatten().filter(|(_, own)| own.as_str() == Some(name));
            own.next().map_or_else(|| name.to_owned(), |(aws, _)| aws.clone())
        };
        complete = walk(&fields, &names, false, DEEPEST, &mut found);
    } else {
        found.push((false, canonical(secret)));
    }
    found.retain(|(_, text)| !text.is_empty());
    found.sort_by_key(|(is_credential, _)| !is_credential);
    let mut known = BTreeSet::new();
    let all: Vec<_> = found.into_iter().map(|(_, text)| text).filter(|text| known.insert(text.clone())).collect();
    Texts { complete: complete && !all.is_empty(), all }
}

fn walk(
    fields: &Map<String, Value>,
    names: &dyn Fn(&str) -> String,
    inside: bool,
    depth: usize,
    found: &mut Vec<(bool, String)>,
) -> bool {
    let mut complete = true;
    for (name, value) in fields {
        let known_as = names(name);
        if !PUBLIC.contains(&known_as.as_str()) {
            complete &= one(value, inside || is_credential(name), depth, found);
        }
    }
    complete
}

fn one(value: &Value, is_credential: bool, depth: usize, found: &mut Vec<(bool, String)>) -> bool {
    if depth == 0 {
        return false;
    }
    match value {
        Value::String(text) => {
            let text = canonical(text);
            let (is_long, is_told) = (text.len() >= SHORTEST, text.is_empty() || !is_credential);
            if is_long && !text.starts_with("arn:") {
                found.push((is_credential, text));
            }
            is_long || is_told
        }
        Value::Object(fields) => walk(fields, &|name| name.to_owned(), is_credential, depth - 1, found),
        Value::Array(items) => {
            // All of them, also after one that is not complete.
            items.iter().filter(|item| !one(item, is_credential, depth - 1, found)).count() == 0
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// The form in which a text gets its fingerprint. White space around the text is removed. PEM is reduced to its base64, because scanners,
/// editors and languages break its lines differently. Public blocks of PEM are removed.
pub(super) fn canonical(text: &str) -> String {
    let text = text.trim();
    let Some((before, block)) = text.split_once("-----BEGIN ") else { return text.to_owned() };
    let Some((label, body)) = block.split_once("-----") else { return text.to_owned() };
    let (body, after) = body.split_once("-----END").unwrap_or((body, ""));
    if matches!(label, "CERTIFICATE" | "PUBLIC KEY" | "TRUSTED CERTIFICATE" | "RSA PUBLIC KEY") {
        // A chain has several, and a key may stand behind a certificate.
        let rest = after.split_once("-----").map_or("", |(_, rest)| rest);
        return if rest.contains("-----BEGIN ") { canonical(rest) } else { before.trim().to_owned() };
    }
    // A text of JSON or of a program has the two characters of an escape where the lines were broken.
    let lines = body.replace("\\r", "").replace("\\n", "");
    lines.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')).collect()
}

/// A kind of secret whose leaked key does not end by rotations alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its credential ends by rotations.
    Usual,
    /// A key that signs tokens: it stays published, and its tokens stay valid.
    SigningKey,
    /// A certificate's private key: the certificate stays valid until it expires.
    Certificate,
}

impl Kind {
    /// The kind of a secret, from its text.
    pub(super) fn of(secret: &str) -> Self {
        match Facts::of(secret).map(|facts| facts.strategy) {
            Some(Strategy::SigningKey) => Self::SigningKey,
            Some(Strategy::Certificate) => Self::Certificate,
            _ => Self::Usual,
        }
    }

    /// The letter in a tag.
    pub(super) fn letter(self) -> Option<char> {
        match self {
            Self::Usual => None,
            Self::SigningKey => Some('s'),
            Self::Certificate => Some('x'),
        }
    }

    /// What a person does instead of an emergency; nothing if an emergency ends it.
    pub(super) fn instead(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::SigningKey => "name the key first: docs/signing-keys.md#a-key-has-leaked",
            Self::Certificate => "name the serial number first: docs/certificates.md#a-private-key-leaked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";

    fn pem(label: &str) -> String {
        let (first, second) = KEY.split_at(24);
        format!("-----BEGIN {label}-----\n{first}\n{second}\n-----END {label}-----\n")
    }

    #[test]
    fn what_the_functions_write_is_found() {
        let (key, other) = (pem("PRIVATE KEY"), pem("PRIVATE KEY").replace("MIGH", "MIGI"));
        let certificate = pem("CERTIFICATE");
        for (secret, credentials) in [
            (
                serde_json::json!({"engine": "mysql", "host": "a-long-host.example.com", "username": "a-long-username",
                "password": "a-password"}),
                vec!["a-password"],
            ),
            (
                serde_json::json!({"issuer": "an-issuer", "apiKey": "an-api-key", "apiKeyId": "an-id-of-it"}),
                vec!["an-api-key", "an-id-of-it"],
            ),
            (
                serde_json::json!({"algorithm": "ES256", "maxTokenLifetime": 3600, "maxCache": 600,
                "current": {"kid": "a-long-kid-1", "algorithm": "ES256", "privateKey": key, "createdAt": 1},
                "next": {"kid": "a-long-kid-2", "algorithm": "ES256", "privateKey": other, "createdAt": 1},
                "previous": [{"kid": "a-long-kid-3", "publicKey": pem("PUBLIC KEY"), "retireAt": 1}],
                "jwks": {"keys": [{"kty": "EC", "x": "a-long-number", "y": "a-long-number-too"}]}}),
                vec![key.as_str(), other.as_str()],
            ),
            (
                serde_json::json!({"directory": "https://ca.example.com/directory", "names": ["www.example.com"],
                "certificate": certificate, "chain": certificate, "fullChain": format!("{certificate}{certificate}"),
                "privateKey": key, "notAfter": "2026-11-29T22:00:00Z"}),
                vec![key.as_str()],
            ),
            (
                serde_json::json!({"directory": "https://ca.example.com/directory", "contact": ["mailto:a@example.com"],
                "externalAccountBinding": {"keyId": "id-at-the-ca", "hmacKey": "a-key-of-hmac"}, "accountKey": key}),
                vec![key.as_str(), "id-at-the-ca", "a-key-of-hmac"],
            ),
        ] {
            let found = texts(&secret.to_string());
            let mut expected: Vec<_> = credentials.into_iter().map(canonical).collect();
            expected.sort();
            let mut all = found.all.clone();
            all.sort();
            assert_eq!((all, found.complete), (expected, true), "{secret}");
        }
        assert_eq!(texts("plain text\n").all, ["plain text"], "as echo writes it");
    }

    #[test]
    fn what_has_no_fingerprint_is_told() {
        for secret in [
            "",
            "{}",
            r#"{"engine":"postgres","host":"a-long-host"}"#,
            r#"{"password":"short"}"#,
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        ] {
            assert!(!texts(secret).complete, "{secret}");
        }
        let deep = format!("{}\"a-password\"{}", r#"{"a":"#.repeat(12), "}".repeat(12));
        assert!(!texts(&deep).complete, "{deep}");
    }

    #[test]
    fn a_key_is_the_same_however_its_lines_are_broken() {
        let stored = pem("PRIVATE KEY");
        let one_line = stored.replace('\n', "\\n");
        let windows = stored.replace('\n', "\r\n");
        let indented = stored.replace('\n', "\n    ");
        for leaked in [stored.trim_end(), &one_line, &windows, &indented, &format!("key = \"{stored}\"")] {
            assert_eq!(canonical(leaked), KEY, "{leaked}");
        }
        assert_eq!(canonical(&format!("{}{stored}", pem("CERTIFICATE"))), KEY, "behind its certificate");
        assert_eq!(canonical("-----BEGIN "), "-----BEGIN");
    }

    #[test]
    fn the_credential_comes_first() {
        let text = r#"{"account":"an-account-name","cluster":"a-cluster-name","description":"some-words","password":"a-password"}"#;
        assert_eq!(texts(text).all[0], "a-password");
    }

    #[test]
    fn names_and_hosts_have_no_fingerprint() {
        let text = r#"{"engine":"postgres","host":"a-long-host.example.com","username":"a-long-username","masterarn":"arn:aws:x","port":5432,"password":"a-password"}"#;
        assert_eq!(texts(text).all, ["a-password"]);
        let renamed = r#"{"server":"a-long-host.example.com","pass":"a-password","rotation":{"fields":{"host":"server","password":"pass"}}}"#;
        assert_eq!(texts(renamed).all, ["a-password"]);
    }
}
