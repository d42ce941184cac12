//! From names to a certificate: the work of createSecret.

use super::account::AccountSecret;
use super::certificate_secret::{CertificateSecret, Way};
use crate::acme::{Authorization, Challenge, Directory, Order, OrderStatus, Session};
use crate::certificate::{Chain, KeyType, NewKey};
use crate::dns::plan::Wish;
use crate::dns::{Record, Route53};
use crate::http::Client;
use rotation::clock::{Deadline, since_epoch};
use rotation::protocol::context::StepContext;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Kept back from the step's time for removing records, and for storing the value.
const TO_CLEAN_UP: Duration = Duration::from_secs(4);
/// By how much a CA's clock is perhaps ahead. Most CAs date a certificate back by an hour.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);
/// How many unfinished orders one process remembers. Forgetting one costs an order, nothing else.
const MOST_ORDERS: usize = 16;

/// Orders whose certificate is not stored yet, by the version that they are for. The service usually repeats a step in the same process,
/// which then goes on with the order and the key that it has: a CA that needs minutes is waited for over several attempts, and a
/// certificate that could not be stored is fetched again. CAs issue few certificates for the same names in a week.
#[derive(Default)]
pub(crate) struct Orders(Mutex<Vec<(String, Unfinished)>>);

/// An order whose certificate is not stored yet.
#[derive(Clone)]
struct Unfinished {
    url: String,
    key: SecretText,
    wanted: Wanted,
}

/// What an order was made for. An order for anything else is of no use.
#[derive(Clone, PartialEq, Eq)]
struct Wanted {
    directory: String,
    account: String,
    names: Vec<String>,
    profile: Option<String>,
    key_type: KeyType,
}

impl Wanted {
    fn by(secret: &CertificateSecret) -> Self {
        Self {
            directory: secret.directory.as_str().to_owned(),
            account: secret.account_secret.clone(),
            names: secret.names.clone(),
            profile: secret.profile.clone(),
            key_type: secret.key_type,
        }
    }
}

impl Orders {
    fn all(&self) -> MutexGuard<'_, Vec<(String, Unfinished)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The order for this version, which stays.
    fn known(&self, version: &str, wanted: &Wanted) -> Option<Unfinished> {
        let all = self.all();
        let known = all.iter().find(|(known, _)| known == version).map(|(_, unfinished)| unfinished.clone());
        known.filter(|unfinished| unfinished.wanted == *wanted)
    }

    fn keep(&self, version: &str, unfinished: Unfinished) {
        let mut all = self.all();
        all.retain(|(known, _)| known != version);
        if all.len() >= MOST_ORDERS {
            all.remove(0);
        }
        all.push((version.to_owned(), unfinished));
    }

    /// The version has a value, or the order leads nowhere.
    pub(crate) fn forget(&self, version: &str) {
        self.all().retain(|(known, _)| known != version);
    }
}

/// What issuing needs.
pub(crate) struct Issuing<'a> {
    pub(crate) client: &'a Client,
    pub(crate) route53: &'a Route53,
    pub(crate) orders: &'a Orders,
    pub(crate) secret: &'a CertificateSecret,
    pub(crate) account: &'a AccountSecret,
}

impl Issuing<'_> {
    /// Orders a certificate, and waits for it.
    ///
    /// What is lost when the step is killed: after the order, the order, which the CA gives again or lets expire; after the records, the
    /// records, which the next attempt does not need; after the finalization, a certificate that nobody uses. The way on is never lost.
    pub(crate) async fn issue(&self, context: &StepContext<'_>) -> Result<(Chain, SecretText)> {
        let deadline = context.deadline().less(TO_CLEAN_UP);
        let directory = Directory::read(self.client, &self.account.directory, deadline).await?;
        if let Some(profile) = &self.secret.profile {
            directory.has_profile(profile)?;
        }
        let mut session = Session::new(self.client, directory, self.account.key()?, deadline);
        session.find_account().await?;
        let (order, key) = self.order(context, &mut session).await?;
        let chain = self.carry_out(context, &mut session, order, &key).await?;
        valid_by_now(&chain, deadline).await?;
        Ok((chain, key.key))
    }

    /// The order that an earlier attempt of this process has left, or a new one.
    async fn order(&self, context: &StepContext<'_>, session: &mut Session<'_>) -> Result<(Order, NewKey)> {
        let (version, wanted) = (context.token(), Wanted::by(self.secret));
        if let Some(unfinished) = self.orders.known(version, &wanted) {
            let known = session.known_order(&unfinished.url).await?;
            if let Some(order) = known.filter(|order| order.status != OrderStatus::Invalid) {
                return Ok((order, NewKey::again(&unfinished.key, &self.secret.names)?));
            }
            self.orders.forget(version);
        }
        // A certificate that cannot be read replaces nothing.
        let replaced = self.secret.issued().ok().and_then(|(chain, _)| chain.facts().ok()?.renewal_id);
        let profile = self.secret.profile.as_deref();
        let key = NewKey::draw(self.secret.key_type, &self.secret.names)?;
        Self::needed(context).await?;
        let order = session.order(&self.secret.names, profile, replaced.as_deref()).await?;
        let unfinished = Unfinished { url: order.url.clone(), key: key.key.clone(), wanted };
        self.orders.keep(version, unfinished);
        Ok((order, key))
    }

    /// Checks that a certificate for this version would be stored. CAs count orders and certificates, whatever becomes of them.
    async fn needed(context: &StepContext<'_>) -> Result<()> {
        context.still_wanted().await?;
        // Another invocation was faster. The next attempt finds its value.
        let stored = || Error::new(Code::WriteConflict).with(Fact::Version, context.token());
        if context.has_value().await? { Err(stored()) } else { Ok(()) }
    }

    async fn carry_out(
        &self,
        context: &StepContext<'_>,
        session: &mut Session<'_>,
        mut order: Order,
        key: &NewKey,
    ) -> Result<Chain> {
        if order.status == OrderStatus::Pending {
            order = self.validate(context, session, order).await?;
        }
        if order.status == OrderStatus::Ready {
            Self::needed(context).await?;
            order = session.finalize(order, &key.request).await?;
        }
        let order = session.settled(order, OrderStatus::Processing).await?;
        if order.status != OrderStatus::Valid {
            return Err(Error::new(Code::AnswerUnexpected).with(Fact::What, "an order that goes back"));
        }
        Chain::read(&session.certificate(&order).await?)
    }

    /// Answers the challenges of all names that are not valid yet, and waits for the CA.
    async fn validate(&self, context: &StepContext<'_>, session: &mut Session<'_>, order: Order) -> Result<Order> {
        let authorizations = session.authorizations(&order).await?;
        for authorization in &authorizations {
            self.secret.ordered(&authorization.name)?;
        }
        let open: Vec<&Authorization> = authorizations.iter().filter(|one| !one.valid).collect();
        let challenges = open.iter().map(|one| self.chosen(one)).collect::<Result<Vec<&Challenge>>>()?;
        let deadline = session.deadline();
        let records = match self.secret.way {
            Way::Dns => self.records(session, &open, &challenges, deadline).await?,
            Way::DnsPersist | Way::PreApproved => Vec::new(),
        };
        let validated = async {
            let changes = self.route53.change(&records, Wish::Present, deadline).await?;
            self.route53.in_sync(&changes, deadline).await?;
            for challenge in challenges {
                session.answer(challenge).await?;
            }
            session.settled(order, OrderStatus::Pending).await
        }
        .await;
        // Whatever became of it. The next attempt adds them again if it needs them.
        if !records.is_empty()
            && let Err(error) =
                self.route53.change(&records, Wish::Absent, context.deadline().within(TO_CLEAN_UP)).await
        {
            context.warn(error);
        }
        validated
    }

    /// The challenge that the secret allows.
    fn chosen<'b>(&self, authorization: &'b Authorization) -> Result<&'b Challenge> {
        let wanted = match self.secret.way {
            Way::Dns => "dns-01",
            Way::DnsPersist => "dns-persist-01",
            Way::PreApproved => "none",
        };
        let found = authorization.challenges.iter().find(|challenge| challenge.kind == wanted);
        found.ok_or_else(|| {
            let error = Error::new(Code::ChallengeUnavailable).with(Fact::Host, &authorization.name);
            error.with(Fact::Field, "rotation.challenge").with(Fact::Expected, offered(authorization))
        })
    }

    async fn records(
        &self,
        session: &Session<'_>,
        open: &[&Authorization],
        challenges: &[&Challenge],
        deadline: Deadline,
    ) -> Result<Vec<Record>> {
        // `*.example.com` and `example.com` are validated at the same name.
        let mut places: BTreeMap<&str, (String, String)> = BTreeMap::new();
        let mut records = Vec::new();
        for (authorization, challenge) in open.iter().zip(challenges) {
            let name = authorization.name.as_str();
            if !places.contains_key(name) {
                let (zone, delegations) = (self.secret.zone.as_deref(), &self.secret.delegations);
                places.insert(name, self.route53.place(name, zone, delegations, deadline).await?);
            }
            if let Some((zone, at)) = places.get(name) {
                let value = session.key().dns_value(&challenge.token);
                records.push(Record { zone: zone.clone(), name: at.clone(), value });
            }
        }
        Ok(records)
    }
}

/// Waits until a certificate is valid, if the CA's clock is a little ahead.
async fn valid_by_now(chain: &Chain, deadline: Deadline) -> Result<()> {
    let ahead = chain.facts()?.not_before.saturating_sub(since_epoch());
    if !ahead.is_zero() && ahead <= CLOCKS_DIFFER && ahead < deadline.left() {
        tokio::time::sleep(ahead).await;
    }
    Ok(())
}

/// The ways that a CA offers, as far as they are known here.
fn offered(authorization: &Authorization) -> String {
    let known = ["dns-01", "dns-persist-01", "http-01", "tls-alpn-01"];
    let kinds = authorization.challenges.iter().filter_map(|one| known.into_iter().find(|known| *known == one.kind));
    let kinds: Vec<&str> = kinds.collect();
    if kinds.is_empty() { "nothing that is known here".to_owned() } else { kinds.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use rotation::document::Document;
    use rotation::environment::Environment;
    use serde_json::json;

    fn secret(names: &[&str], roots: &str) -> CertificateSecret {
        let value = json!({"directory": "https://ca.example/dir", "names": names,
            "rotation": {"accountSecretArn": "account", "roots": roots}});
        let settings = Settings::read(&Environment::of(&[]).unwrap()).unwrap();
        CertificateSecret::read(&Document::parse(value.to_string().into()).unwrap(), &settings).unwrap()
    }

    #[test]
    fn an_order_is_kept_until_its_certificate_is_stored() {
        let (orders, wanted) = (Orders::default(), Wanted::by(&secret(&["example.com"], "a")));
        let unfinished = |url: &str| Unfinished { url: url.to_owned(), key: "key".into(), wanted: wanted.clone() };
        orders.keep("v", unfinished("1"));
        let known = |wanted: &Wanted| orders.known("v", wanted).map(|it| it.url);
        assert_eq!(known(&wanted).as_deref(), Some("1"));
        assert_eq!(known(&wanted).as_deref(), Some("1"), "to look at it does not lose it");
        // The secret was edited between two attempts. Roots are not the order's.
        assert!(known(&Wanted::by(&secret(&["example.com"], "b"))).is_some());
        assert!(known(&Wanted::by(&secret(&["example.org"], "a"))).is_none());
        for number in 1..MOST_ORDERS {
            orders.keep(&number.to_string(), unfinished("2"));
        }
        assert!(known(&wanted).is_some());
        orders.keep("one more", unfinished("2"));
        assert!(known(&wanted).is_none(), "the oldest goes first");
        orders.keep("v", unfinished("3"));
        orders.forget("v");
        assert!(known(&wanted).is_none());
    }
}
