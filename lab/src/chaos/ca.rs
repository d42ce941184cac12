//! A CA that speaks ACME (RFC 8555), as far as rotations ask it. It looks for answers to challenges at once, and issues at once.

use super::jose::{Jws, decoded, dns_value};
use crate::route53::Route53;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, PublicKeyData};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;
use time::OffsetDateTime;
use x509_cert::der::Decode as _;

/// Where it is.
const PLACE: &str = "https://ca.example";
/// How long its certificates live. A handshake looks at the system's clock, which histories must not depend on.
const LIFE: Duration = Duration::from_secs(50 * 365 * 86_400);
const HOUR: Duration = Duration::from_secs(3600);

/// What it answers.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) nonce: Option<String>,
    pub(super) body: String,
}

/// The CA's own key and certificate: the same in all histories, because keys take time.
struct Root {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// An order for names.
struct Order {
    account: usize,
    names: Vec<String>,
    validated: Vec<bool>,
    invalid: bool,
    certificate: Option<String>,
}

/// The CA.
#[derive(Default)]
pub(super) struct Ca {
    /// The key of each account.
    accounts: Vec<Value>,
    orders: Vec<Order>,
    nonces: BTreeSet<String>,
    given: u32,
    changes: u64,
}

/// A refusal: status and type.
type Refusal = (u16, &'static str);

/// A public key, as a certificate has it.
struct Requested(Vec<u8>);

impl PublicKeyData for Requested {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn root() -> Option<&'static Root> {
    static ROOT: OnceLock<Option<Root>> = OnceLock::new();
    let make = || {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "simulated CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().ok()?;
        let pem = params.self_signed(&key).ok()?.pem();
        Some(Root { issuer: Issuer::new(params, key), pem })
    };
    ROOT.get_or_init(make).as_ref()
}

impl Ca {
    /// Its root, as PEM text.
    pub(super) fn root() -> String {
        root().map(|root| root.pem.clone()).unwrap_or_default()
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Registers a key by hand.
    pub(super) fn register(&mut self, jwk: Value) {
        self.changes += 1;
        self.accounts.push(jwk);
    }

    /// The keys of its accounts.
    pub(super) fn accounts(&self) -> &[Value] {
        &self.accounts
    }

    /// Gives the first account another key by hand, or makes it.
    pub(super) fn replace(&mut self, by: Value) {
        self.changes += 1;
        match self.accounts.first_mut() {
            Some(account) => *account = by,
            None => self.accounts.push(by),
        }
    }

    fn nonce(&mut self) -> String {
        self.given += 1;
        let nonce = format!("nonce-{}", self.given);
        self.nonces.insert(nonce.clone());
        nonce
    }

    /// Answers a request. `names` is where TXT records are looked for.
    pub(super) fn answer(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        names: &Route53,
        now: Duration,
    ) -> Reply {
        if method == "GET" {
            let at = |path: &str| format!("{PLACE}/{path}");
            let directory = json!({"newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order"),
                "keyChange": at("key-change"), "revokeCert": at("revoke")});
            return if path == "/dir" { reply(200, &directory) } else { reply(404, &json!({})) };
        }
        let nonce = Some(self.nonce());
        if method == "HEAD" {
            return Reply { nonce, ..reply(200, &json!({})) };
        }
        let answered = self.post(path, body.unwrap_or_default(), names, now);
        let answered = answered.unwrap_or_else(|(status, kind)| {
            reply(status, &json!({"type": format!("urn:ietf:params:acme:error:{kind}")}))
        });
        Reply { nonce, ..answered }
    }

    fn post(&mut self, path: &str, body: &[u8], names: &Route53, now: Duration) -> Result<Reply, Refusal> {
        let malformed = (400, "malformed");
        let value: Value = serde_json::from_slice(body).map_err(|_| malformed)?;
        let jws = Jws::read(&value).ok_or(malformed)?;
        if jws.text("url") != Some(&format!("{PLACE}{path}")) {
            return Err((401, "unauthorized"));
        }
        if !jws.text("nonce").is_some_and(|nonce| self.nonces.remove(nonce)) {
            return Err((400, "badNonce"));
        }
        if path == "/account" {
            return self.account(&jws);
        }
        let account = jws.text("kid").and_then(|kid| kid.strip_prefix(PLACE)?.strip_prefix("/acct/")?.parse().ok());
        let account: usize = account.ok_or(malformed)?;
        let key = self.accounts.get(account).ok_or((400, "accountDoesNotExist"))?.clone();
        if !jws.is_by(&key) {
            return Err((401, "unauthorized"));
        }
        let mut parts = path.trim_start_matches('/').split('/');
        let kind = parts.next().unwrap_or_default();
        let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok());
        match (kind, number(), number()) {
            ("order", ..) => self.order(account, jws.payload.as_ref()),
            ("key-change", ..) => self.change_key(account, jws.payload.as_ref()),
            ("revoke", ..) => Ok(reply(200, &json!({}))),
            (_, Some(order), place) => {
                let at = order;
                let order =
                    self.orders.get_mut(at).filter(|order| order.account == account).ok_or((404, "malformed"))?;
                match (kind, place) {
                    ("ord", _) => Ok(order.shown(at, 200)),
                    ("authz", Some(place)) => order.authorization(at, place),
                    ("chal", Some(place)) => {
                        self.changes += 1;
                        order.validate(at, place, &key, names)
                    }
                    ("fin", _) => {
                        self.changes += 1;
                        order.finalize(at, jws.payload.as_ref(), now)
                    }
                    ("cert", _) => {
                        let body = order.certificate.clone().ok_or(malformed)?;
                        Ok(Reply { body, ..reply(200, &json!({})) })
                    }
                    _ => Err(malformed),
                }
            }
            _ => Err(malformed),
        }
    }

    fn account(&mut self, jws: &Jws) -> Result<Reply, Refusal> {
        let jwk = jws.protected.get("jwk").filter(|jwk| jws.is_by(jwk)).ok_or((400, "malformed"))?;
        let known = self.accounts.iter().position(|known| known == jwk);
        let only = jws.payload.as_ref().is_some_and(|payload| payload.get("onlyReturnExisting") == Some(&json!(true)));
        let (number, status) = match known {
            Some(number) => (number, 200),
            None if only => return Err((400, "accountDoesNotExist")),
            None => {
                self.register(jwk.clone());
                (self.accounts.len() - 1, 201)
            }
        };
        let location = Some(format!("{PLACE}/acct/{number}"));
        Ok(Reply { location, ..reply(status, &json!({"status": "valid"})) })
    }

    fn order(&mut self, account: usize, payload: Option<&Value>) -> Result<Reply, Refusal> {
        let identifiers =
            payload.and_then(|payload| payload.get("identifiers")?.as_array()).ok_or((400, "malformed"))?;
        let names = identifiers.iter().filter_map(|one| one.get("value")?.as_str().map(str::to_owned));
        let names: Vec<String> = names.collect();
        let validated = vec![false; names.len()];
        self.changes += 1;
        self.orders.push(Order { account, names, validated, invalid: false, certificate: None });
        let at = self.orders.len() - 1;
        let order = self.orders.last().ok_or((500, "serverInternal"))?;
        Ok(Reply { location: Some(format!("{PLACE}/ord/{at}")), ..order.shown(at, 201) })
    }

    fn change_key(&mut self, account: usize, payload: Option<&Value>) -> Result<Reply, Refusal> {
        let malformed = (400, "malformed");
        let inner = payload.and_then(Jws::read).ok_or(malformed)?;
        let new = inner.protected.get("jwk").filter(|jwk| inner.is_by(jwk)).ok_or(malformed)?;
        let old = inner.payload.as_ref().and_then(|payload| payload.get("oldKey"));
        if old != self.accounts.get(account) {
            return Err(malformed);
        }
        if self.accounts.contains(new) {
            return Err((409, "conflict"));
        }
        self.changes += 1;
        if let Some(key) = self.accounts.get_mut(account) {
            *key = new.clone();
        }
        Ok(reply(200, &json!({"status": "valid"})))
    }
}

impl Order {
    fn status(&self) -> &'static str {
        match () {
            () if self.invalid => "invalid",
            () if self.certificate.is_some() => "valid",
            () if self.validated.iter().all(|valid| *valid) => "ready",
            () => "pending",
        }
    }

    fn shown(&self, at: usize, status: u16) -> Reply {
        let authorizations: Vec<String> =
            (0..self.names.len()).map(|place| format!("{PLACE}/authz/{at}/{place}")).collect();
        let mut body = json!({"status": self.status(), "authorizations": authorizations,
            "finalize": format!("{PLACE}/fin/{at}")});
        if let Some(fields) = body.as_object_mut().filter(|_| self.certificate.is_some()) {
            fields.insert("certificate".to_owned(), format!("{PLACE}/cert/{at}").into());
        }
        reply(status, &body)
    }

    fn authorization(&self, at: usize, place: usize) -> Result<Reply, Refusal> {
        let missing = (404, "malformed");
        let name = self.names.get(place).ok_or(missing)?.trim_start_matches("*.");
        let valid = *self.validated.get(place).ok_or(missing)?;
        let status = if self.invalid && !valid {
            "invalid"
        } else if valid {
            "valid"
        } else {
            "pending"
        };
        let challenge = json!({"type": "dns-01", "url": format!("{PLACE}/chal/{at}/{place}"), "token": token(at, place),
            "status": status});
        let identifier = json!({"type": "dns", "value": name});
        Ok(reply(200, &json!({"identifier": identifier, "status": status, "challenges": [challenge]})))
    }

    fn validate(&mut self, at: usize, place: usize, key: &Value, names: &Route53) -> Result<Reply, Refusal> {
        let missing = (404, "malformed");
        let name = self.names.get(place).ok_or(missing)?.trim_start_matches("*.");
        let values = names.zones().values(&format!("_acme-challenge.{name}"));
        let valid = self.validated.get_mut(place).ok_or(missing)?;
        if !*valid {
            *valid = values.contains(&dns_value(&token(at, place), key));
            self.invalid |= !*valid;
        }
        Ok(reply(200, &json!({"status": if *valid { "valid" } else { "invalid" }})))
    }

    fn finalize(&mut self, at: usize, payload: Option<&Value>, now: Duration) -> Result<Reply, Refusal> {
        if self.status() != "ready" {
            return Err((403, "orderNotReady"));
        }
        let request = payload.and_then(|payload| decoded(payload.get("csr")?.as_str()?));
        let request = request.and_then(|der| x509_cert::request::CertReq::from_der(&der).ok());
        let key = request.map(|request| request.info.public_key.subject_public_key.raw_bytes().to_vec());
        let certificate = key.and_then(|key| issued(&self.names, &Requested(key), now));
        self.certificate = Some(certificate.ok_or((400, "badCSR"))?);
        Ok(self.shown(at, 200))
    }
}

/// A certificate for these names and this key, as PEM text.
fn issued(names: &[String], key: &Requested, now: Duration) -> Option<String> {
    let moment = |at: Duration| OffsetDateTime::from_unix_timestamp(at.as_secs().try_into().ok()?).ok();
    let mut params = CertificateParams::new(names.to_vec()).ok()?;
    params.distinguished_name = DistinguishedName::new();
    params.not_before = moment(now - HOUR)?;
    params.not_after = moment(now + LIFE)?;
    params.use_authority_key_identifier_extension = true;
    Some(params.signed_by(key, &root()?.issuer).ok()?.pem())
}

fn token(order: usize, place: usize) -> String {
    format!("token-{order}-{place}")
}

fn reply(status: u16, body: &Value) -> Reply {
    Reply { status, location: None, nonce: None, body: body.to_string() }
}
