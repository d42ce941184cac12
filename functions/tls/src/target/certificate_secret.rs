//! The content of a version with a certificate.

use crate::certificate::{Chain, Facts, KeyType, rfc3339};
use crate::http::Url;
use crate::outlet::Bucket;
use crate::settings::{Settings, is_domain};
use rotation::document::Document;
use rotation::net::tls::Verifier;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// The options of a secret with a certificate, under `rotation`.
const OPTIONS: [&str; 13] = [
    "accountSecretArn",
    "profile",
    "keyType",
    "challenge",
    "hostedZoneId",
    "delegations",
    "roots",
    "acmCertificateArn",
    "s3Bucket",
    "s3Prefix",
    "endpoint",
    "revokeSuperseded",
    "revokeSerial",
];

/// What a rotation writes.
pub(crate) const WRITTEN: [&str; 5] = ["certificate", "chain", "fullChain", "privateKey", "notAfter"];

/// A CA takes a hundred names at most.
const MOST_NAMES: usize = 100;

/// How names are validated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// A TXT record in Route 53 (RFC 8555, section 8.4).
    #[default]
    Dns,
    /// A TXT record that stays, and that the deployer has made (draft-ietf-acme-dns-persist).
    DnsPersist,
    /// The CA knows already that the names are the account's.
    PreApproved,
}

/// Why a superseded certificate is revoked (RFC 5280, section 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revocation {
    /// Its key has become known.
    KeyCompromise,
    /// It has been replaced.
    Superseded,
}

/// The content of a version.
#[derive(Clone, Debug)]
pub(crate) struct CertificateSecret {
    pub(crate) directory: Url,
    pub(crate) names: Vec<String>,
    pub(crate) account_secret: String,
    pub(crate) profile: Option<String>,
    pub(crate) key_type: KeyType,
    pub(crate) way: Way,
    pub(crate) zone: Option<String>,
    pub(crate) delegations: BTreeMap<String, String>,
    roots: Option<String>,
    pub(crate) acm: Option<String>,
    pub(crate) bucket: Option<Bucket>,
    pub(crate) endpoint: Option<Url>,
    pub(crate) revocation: Option<(Revocation, String)>,
    issued: Option<(String, SecretText)>,
    /// The certificate and the rest of its chain, once more. Some servers read them instead of the whole.
    parts: Option<String>,
}

impl CertificateSecret {
    /// Reads a version's value.
    pub(crate) fn read(document: &Document, settings: &Settings) -> Result<Self> {
        let options = document.options(&OPTIONS)?;
        let option = |name: &str| options.as_ref().map_or(Ok(None), |options| options.optional_string(name));
        let account_secret = option("accountSecretArn")?;
        let missing = || Error::new(Code::FieldMissing).with(Fact::Field, "rotation.accountSecretArn");
        let issued = match (document.optional_string("fullChain")?, document.optional_string("privateKey")?) {
            (Some(chain), Some(key)) if !chain.is_empty() => Some((chain, SecretText::from(key))),
            _ => None,
        };
        let delegations = match &options {
            Some(options) => delegations(options, settings)?,
            None => BTreeMap::new(),
        };
        let names = names(document, settings)?;
        Ok(Self {
            directory: directory(document, settings)?,
            endpoint: option("endpoint")?.map(|text| endpoint(&text, &names, settings)).transpose()?,
            names,
            account_secret: account_secret.ok_or_else(missing)?,
            profile: option("profile")?,
            key_type: chosen(option("keyType")?, "keyType", &KeyType::ALL.map(|kind| (kind.as_str(), kind)))?,
            way: chosen(
                option("challenge")?,
                "challenge",
                &[("dns-01", Way::Dns), ("dns-persist-01", Way::DnsPersist), ("pre-approved", Way::PreApproved)],
            )?,
            zone: option("hostedZoneId")?.map(|zone| zone_id(&zone)).transpose()?,
            delegations,
            roots: option("roots")?,
            acm: option("acmCertificateArn")?.map(acm_arn).transpose()?,
            bucket: option("s3Bucket")?.map(|name| bucket(name, option("s3Prefix")?)).transpose()?,
            revocation: revocation(option("revokeSuperseded")?, option("revokeSerial")?)?,
            issued,
            parts: parts(document)?,
        })
    }

    /// The version's certificate and key.
    pub(crate) fn issued(&self) -> Result<(Chain, &SecretText)> {
        let missing = || Error::new(Code::CertificateUnusable).with(Fact::What, "the version has no certificate");
        let (chain, key) = self.issued.as_ref().ok_or_else(missing)?;
        Ok((Chain::read(chain)?, key))
    }

    /// Checks that a name that a CA wants to validate was ordered.
    ///
    /// **Invariant:** a challenge is answered for a name of the secret alone. Otherwise a CA, or who chose it, could get certificates of
    /// another CA for any name in the hosted zones. Test: `only_names_of_the_secret_are_validated`.
    ///
    /// # Errors
    /// [`Code::NameNotAllowed`].
    pub(crate) fn ordered(&self, name: &str) -> Result<()> {
        if self.names.iter().any(|ordered| ordered.strip_prefix("*.").unwrap_or(ordered) == name) {
            return Ok(());
        }
        let error = Error::new(Code::NameNotAllowed).with(Fact::Field, "names");
        let error = error.with(Fact::What, "the CA wants to validate a name that was not ordered");
        Err(error.with(Fact::NextAction, "Check `directory` in the account secret: no honest CA does so."))
    }

    /// Whether the version has a certificate, good or bad.
    pub(crate) fn is_issued(&self) -> bool {
        self.issued.is_some()
    }

    /// Whether the certificate goes anywhere but into the secret.
    pub(crate) fn is_handed_on(&self) -> bool {
        self.acm.is_some() || self.bucket.is_some()
    }

    /// What the certificate has to lead to: the roots that the secret gives, or the public ones and the deployer's.
    pub(crate) fn trusted(&self, settings: &Settings) -> Result<Verifier> {
        match (&self.roots, &settings.ca_bundle) {
            (Some(roots), _) => Verifier::with_roots(&[], &[("rotation.roots", roots)]),
            (None, Some(bundle)) => Verifier::with_roots(webpki_roots::TLS_SERVER_ROOTS, &[("CA_BUNDLE", bundle)]),
            (None, None) => Verifier::with_roots(webpki_roots::TLS_SERVER_ROOTS, &[]),
        }
    }

    /// Proves that the version's certificate serves its names.
    pub(crate) fn prove(&self, settings: &Settings) -> Result<Facts> {
        let (chain, key) = self.issued()?;
        // Whoever edits one by hand may forget the other.
        if let Some(parts) = &self.parts
            && Chain::read(parts).ok().as_ref() != Some(&chain)
        {
            let what = "`certificate` and `chain` together are not `fullChain`";
            return Err(Error::new(Code::CertificateUnusable).with(Fact::What, what));
        }
        chain.prove(key, &self.names, &self.trusted(settings)?)
    }

    /// The document with another certificate.
    pub(crate) fn with(document: &Document, chain: &Chain, key: &SecretText) -> Result<Document> {
        let facts = chain.facts()?;
        let text = |text: &str| Value::from(text).to_string();
        let (own, rest) = (chain.own_pem(), chain.rest_pem());
        let values = [
            text(&own),
            text(&rest),
            text(&format!("{own}{rest}")),
            text(key.expose()),
            text(&rfc3339(facts.not_after)),
        ];
        let changes: Vec<(&str, &str)> = WRITTEN.into_iter().zip(values.iter().map(String::as_str)).collect();
        document.with_json(&changes)
    }
}

/// Whether a secret is one for a certificate. Any other is an account's.
pub(crate) fn is_certificate(document: &Document) -> bool {
    document.has("names")
}

/// The directory that a secret names.
///
/// **Invariant:** only a directory that the deployer allows, if there is a list, gets a request. Otherwise the writer of a secret could
/// send the function to any host. Test: `what_the_deployer_did_not_list_is_refused`.
pub(crate) fn directory(document: &Document, settings: &Settings) -> Result<Url> {
    let text = document.string("directory")?;
    let url = Url::parse(&text).ok_or_else(|| document.invalid("directory", "another text", "a URL with https"))?;
    if settings.directories.as_ref().is_some_and(|allowed| !allowed.contains(&text)) {
        return Err(Error::new(Code::AccountNotAllowed).with(Fact::Field, "directory").with(Fact::Host, url.host()));
    }
    Ok(url)
}

fn names(document: &Document, settings: &Settings) -> Result<Vec<String>> {
    let expected = "an array of 1 to 100 domains in lower case, some perhaps with *. in front";
    let missing = || Error::new(Code::FieldMissing).with(Fact::Field, "names");
    let names: Vec<String> = document.typed("names", expected)?.ok_or_else(missing)?;
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    if names.is_empty() || names.len() > MOST_NAMES || sorted.len() != names.len() {
        return Err(document.invalid("names", "none, too many, or one of them twice", expected));
    }
    for name in &names {
        if !is_domain(name.strip_prefix("*.").unwrap_or(name)) {
            return Err(document.invalid("names", "another text", expected));
        }
        if !settings.allows(name) {
            return Err(Error::new(Code::NameNotAllowed).with(Fact::Host, name.trim_start_matches("*.")));
        }
    }
    Ok(names)
}

fn parts(document: &Document) -> Result<Option<String>> {
    let Some(own) = document.optional_string("certificate")?.filter(|own| !own.is_empty()) else { return Ok(None) };
    Ok(Some(format!("{own}\n{}", document.optional_string("chain")?.unwrap_or_default())))
}

/// The choice that a word of the secret names, or the default one.
fn chosen<T: Copy + Default>(word: Option<String>, option: &str, choices: &[(&str, T)]) -> Result<T> {
    let Some(word) = word else { return Ok(T::default()) };
    let choice = choices.iter().find(|(name, _)| *name == word).map(|(_, choice)| *choice);
    choice.ok_or_else(|| {
        let expected: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        invalid(option, &expected.join(", "))
    })
}

/// Which certificate to revoke, and why.
///
/// **Invariant:** only a certificate that the secret names is revoked. Otherwise an option that stays in the secret would revoke each
/// certificate that is replaced. Test: `a_revocation_names_its_certificate`.
fn revocation(reason: Option<String>, serial: Option<String>) -> Result<Option<(Revocation, String)>> {
    let choices = [("keyCompromise", Some(Revocation::KeyCompromise)), ("superseded", Some(Revocation::Superseded))];
    let Some(reason) = chosen(reason, "revokeSuperseded", &choices)? else { return Ok(None) };
    let missing = || Error::new(Code::FieldMissing).with(Fact::Field, "rotation.revokeSerial");
    let serial = serial_number(&serial.ok_or_else(missing)?);
    let serial = serial.ok_or_else(|| invalid("revokeSerial", "a serial number in hexadecimal digits"))?;
    Ok(Some((reason, serial)))
}

/// A serial number as [`Facts`] has it: openssl prints it in upper case, browsers with colons.
fn serial_number(text: &str) -> Option<String> {
    let digits = text.replace(':', "").to_ascii_lowercase();
    let digits = digits.trim_start_matches('0');
    let plain = !digits.is_empty() && digits.len() <= 40 && digits.chars().all(|c| c.is_ascii_hexdigit());
    plain.then(|| digits.to_owned())
}

/// The CNAMEs that the secret gives.
///
/// **Invariant:** none leads to the challenge of a name that the deployer does not allow. Otherwise the answer to one's own challenge could
/// stand there. Test: `a_delegation_leads_to_no_other_challenge`.
fn delegations(options: &Document, settings: &Settings) -> Result<BTreeMap<String, String>> {
    let expected = "an object: _acme-challenge. and a name, to the name that the CNAME there points to";
    let all: BTreeMap<String, String> = options.typed("delegations", expected)?.unwrap_or_default();
    let wrong =
        |(from, to): (&String, &String)| !from.starts_with("_acme-challenge.") || !is_domain(from) || !is_domain(to);
    if all.iter().any(wrong) {
        return Err(invalid("delegations", expected));
    }
    let challenged = |to: &&String| to.strip_prefix("_acme-challenge.").is_some_and(|name| !settings.allows(name));
    if let Some(to) = all.values().find(challenged) {
        let error = Error::new(Code::NameNotAllowed).with(Fact::Field, "rotation.delegations");
        return Err(error.with(Fact::Host, to));
    }
    Ok(all)
}

fn zone_id(text: &str) -> Result<String> {
    let id = text.strip_prefix("/hostedzone/").unwrap_or(text);
    let plain = !id.is_empty() && id.len() <= 32 && id.chars().all(|c| c.is_ascii_alphanumeric());
    plain.then(|| id.to_owned()).ok_or_else(|| invalid("hostedZoneId", "a hosted zone's id, like Z1D633PJN98FT9"))
}

/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscertificatemanager.html>
fn acm_arn(text: String) -> Result<String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let plain = |part: &&str| part.chars().all(|c| c.is_ascii_alphanumeric() || "-/".contains(c));
    let is_one = matches!(parts.as_slice(), ["arn", _, "acm", _, _, id] if id.starts_with("certificate/"));
    let expected = "an ARN like arn:aws:acm:eu-central-1:123456789012:certificate/1234abcd";
    if is_one && parts.iter().all(plain) { Ok(text) } else { Err(invalid("acmCertificateArn", expected)) }
}

fn bucket(name: String, prefix: Option<String>) -> Result<Bucket> {
    let plain =
        |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-._/".contains(c)) && !text.contains("..");
    let prefix = prefix.map_or_else(String::new, |prefix| format!("{}/", prefix.trim_matches('/')));
    if name.is_empty() || name.contains('/') || !plain(&name) || !plain(&prefix) {
        return Err(invalid("s3Bucket", "a bucket's name, and a prefix of letters, digits, - . _ and /"));
    }
    Ok(Bucket { name, prefix })
}

/// The endpoint that serves the certificate.
///
/// **Invariant:** only a host that the certificate is for, or that the deployer lists, gets a connection. Otherwise the writer of a secret
/// could find out which hosts and ports of the function's network answer. A host that only the certificate is for may have a public address alone.
/// Test: `only_hosts_of_the_certificate_are_connected_to`.
fn endpoint(text: &str, names: &[String], settings: &Settings) -> Result<Url> {
    let url = Url::parse(&format!("https://{text}")).filter(|url| url.as_str().matches('/').count() == 2);
    let url = url.ok_or_else(|| invalid("endpoint", "a host, or a host, a colon and a port"))?;
    let host = url.host();
    let below = host.split_once('.').map_or("", |(_, above)| above);
    let covers = |name: &String| name == host || name.strip_prefix("*.") == Some(below);
    if names.iter().any(covers) || settings.lists_endpoint(host) {
        return Ok(url);
    }
    Err(invalid("endpoint", "a host that one of the names is for, or that ENDPOINT_HOSTS lists").with(Fact::Host, host))
}

fn invalid(option: &str, expected: &str) -> Error {
    let error = Error::new(Code::FieldInvalid).with(Fact::Field, format_args!("rotation.{option}"));
    error.with(Fact::Expected, expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotation::environment::Environment;
    use serde_json::json;

    fn read(value: &Value, environment: &[(&str, &str)]) -> Result<CertificateSecret> {
        let settings = Settings::read(&Environment::of(environment).unwrap()).unwrap();
        CertificateSecret::read(&Document::parse(value.to_string().into()).unwrap(), &settings)
    }

    fn secret(names: &[&str], rotation: Value) -> Value {
        let mut rotation = rotation;
        rotation["accountSecretArn"] = "account".into();
        json!({"directory": "https://ca.example/dir", "names": names, "rotation": rotation})
    }

    #[test]
    fn a_secret_needs_little() {
        let read = read(&secret(&["example.com", "*.example.com"], json!({})), &[]).unwrap();
        assert_eq!((read.key_type, read.way, &read.revocation), (KeyType::EcdsaP256, Way::Dns, &None));
        assert!(!read.is_issued());
        assert_eq!(read.issued().err().unwrap().code(), Code::CertificateUnusable);
    }

    #[test]
    fn what_no_certificate_can_have_is_refused() {
        for names in
            [&["example"][..], &[], &["a.com", "a.com"], &["A.com"], &["a.*.com"], &["*.*.com"], &["1.2.3.4:5"]]
        {
            let error = read(&secret(names, json!({})), &[]).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Field)), (Code::FieldInvalid, Some("names")), "{names:?}");
        }
        for (option, value) in [
            ("keyType", json!("dsa")),
            ("challenge", json!("http-01")),
            ("hostedZoneId", json!("Z1/../Z2")),
            ("delegations", json!({"example.com": "b.example.com"})),
            ("s3Bucket", json!("a/b")),
            ("acmCertificateArn", json!("arn:aws:acm:eu-central-1:123456789012:certificate/1`; rm")),
            ("acmCertificateArn", json!("arn:aws:s3:::certificate/1")),
            ("endpoint", json!("https://example.com/")),
            ("revokeSuperseded", json!("always")),
        ] {
            let error = read(&secret(&["example.com"], json!({option: value})), &[]).unwrap_err();
            let field = format!("rotation.{option}");
            assert_eq!((error.code(), error.fact(Fact::Field)), (Code::FieldInvalid, Some(field.as_str())));
        }
        assert_eq!(read(&secret(&["a.com"], json!({"http": 1})), &[]).unwrap_err().code(), Code::OptionUnknown);
        let without = json!({"directory": "https://ca.example/dir", "names": ["example.com"]});
        assert_eq!(read(&without, &[]).unwrap_err().fact(Fact::Field), Some("rotation.accountSecretArn"));
        let plain = json!({"directory": "http://ca.example/dir", "names": ["example.com"]});
        assert_eq!(read(&plain, &[]).unwrap_err().fact(Fact::Field), Some("directory"));
    }

    #[test]
    fn what_the_deployer_did_not_list_is_refused() {
        let secret = secret(&["a.example.com"], json!({}));
        let code = |environment| read(&secret, environment).map(drop).map_err(|error| error.code());
        assert_eq!(code(&[("DIRECTORIES", "https://ca.example/dir")]), Ok(()));
        assert_eq!(code(&[("DIRECTORIES", "https://other.example/dir")]), Err(Code::AccountNotAllowed));
        assert_eq!(code(&[("ALLOWED_DOMAINS", "example.com")]), Ok(()));
        assert_eq!(code(&[("ALLOWED_DOMAINS", "example.org")]), Err(Code::NameNotAllowed));
    }

    #[test]
    fn a_revocation_names_its_certificate() {
        let revocation = |options| read(&secret(&["example.com"], options), &[]).map(|read| read.revocation);
        let missing = revocation(json!({"revokeSuperseded": "superseded"})).unwrap_err();
        assert_eq!(missing.fact(Fact::Field), Some("rotation.revokeSerial"));
        for serial in ["0A:BC:01", "abc01", "000ABC01"] {
            let named = revocation(json!({"revokeSuperseded": "keyCompromise", "revokeSerial": serial})).unwrap();
            assert_eq!(named, Some((Revocation::KeyCompromise, "abc01".to_owned())), "{serial}");
        }
        for wrong in ["00", "hunter2", "x"] {
            let error = revocation(json!({"revokeSuperseded": "superseded", "revokeSerial": wrong})).unwrap_err();
            assert_eq!(error.code(), Code::FieldInvalid, "{wrong}");
        }
        assert_eq!(revocation(json!({"revokeSerial": "abc01"})), Ok(None));
    }

    #[test]
    fn only_names_of_the_secret_are_validated() {
        let read = read(&secret(&["example.com", "*.a.example.com"], json!({})), &[]).unwrap();
        for name in ["example.com", "a.example.com"] {
            read.ordered(name).unwrap();
        }
        for name in ["example.org", "b.example.com", "*.a.example.com", "", "com", "Example.com"] {
            let error = read.ordered(name).unwrap_err();
            assert_eq!(error.code(), Code::NameNotAllowed, "{name}");
        }
    }

    #[test]
    fn a_delegation_leads_to_no_other_challenge() {
        let code = |to: &str| {
            let secret = secret(&["a.example.com"], json!({"delegations": {"_acme-challenge.a.example.com": to}}));
            read(&secret, &[("ALLOWED_DOMAINS", "a.example.com")]).map(drop).map_err(|error| error.code())
        };
        for to in ["x.acme.example.net", "_acme-challenge.b.a.example.com"] {
            assert_eq!(code(to), Ok(()), "{to}");
        }
        assert_eq!(code("_acme-challenge.example.org"), Err(Code::NameNotAllowed));
        assert_eq!(code("_acme-challenge.example.com"), Err(Code::NameNotAllowed));
    }

    #[test]
    fn only_hosts_of_the_certificate_are_connected_to() {
        let code = |endpoint: &str| {
            let secret = secret(&["example.com", "*.a.example.com"], json!({"endpoint": endpoint}));
            read(&secret, &[("ENDPOINT_HOSTS", "127.0.0.1,balancer.example")]).map(drop).map_err(|error| error.code())
        };
        for host in ["example.com", "x.a.example.com:8443", "127.0.0.1:4433", "balancer.example"] {
            assert_eq!(code(host), Ok(()), "{host}");
        }
        for host in ["169.254.169.254", "a.example.com", "y.x.a.example.com", "localhost:22", "b.example.com"] {
            assert_eq!(code(host), Err(Code::FieldInvalid), "{host}");
        }
    }

    #[test]
    fn parts_that_were_edited_by_hand_are_found() {
        let ca = crate::testing::Ca::new();
        let [(one, key), (other, _)] = [90, 91].map(|days| ca.issues(&["example.com"], days));
        let settings = Settings::read(&Environment::of(&[]).unwrap()).unwrap();
        let proved = |changes: &[(&str, &str)]| {
            let value = secret(&["example.com"], json!({"roots": ca.pem}));
            let document = Document::parse(value.to_string().into()).unwrap();
            let document = CertificateSecret::with(&document, &one, &key).unwrap();
            let texts: Vec<_> = changes.iter().map(|(name, text)| (*name, Value::from(*text).to_string())).collect();
            let changes: Vec<_> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
            let document = document.with_json(&changes).unwrap();
            CertificateSecret::read(&document, &settings).unwrap().prove(&settings).map(drop)
        };
        assert_eq!(proved(&[]), Ok(()));
        for field in ["certificate", "chain"] {
            let error = proved(&[(field, &other.own_pem())]).unwrap_err();
            assert!(error.fact(Fact::What).unwrap().contains("fullChain"), "{field}");
        }
        assert_eq!(proved(&[("certificate", "")]), Ok(()), "not every secret has them");
    }
}
