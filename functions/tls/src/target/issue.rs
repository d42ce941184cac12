//! From names to a certificate: the work of createSecret.

use super::account::AccountSecret;
use super::certificate_secret::{CertificateSecret, Way};
use super::orders::{Added, Orders, Unfinished, Wanted};
use crate::acme::{Authorization, Challenge, Directory, Order, OrderStatus, Session};
use crate::certificate::{Chain, NewKey};
use crate::dns::plan::Wish;
use crate::dns::{Owner, Record, Route53};
use crate::http::Client;
use crate::settings::is_domain;
use rotation::clock::{Deadline, since_epoch};
use rotation::protocol::context::StepContext;
use rotation::secret::SecretText;
use rotation::{Class, Code, Error, Fact, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// Kept back from the step's time for removing records, and for storing the value.
const TO_CLEAN_UP: Duration = Duration::from_secs(4);
/// By how much a CA's clock is perhaps ahead. Most CAs date a certificate back by an hour.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

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
        let chain = self.carry_out(context, &mut session, order, &key).await;
        // The next attempt of this process goes on with the order. If the values stay, it does not wait for them from the beginning.
        if chain.as_ref().is_err_and(|error| error.class() != Class::Retryable) {
            self.clean_up(context, context.token()).await;
        }
        let chain = chain?;
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
        }
        // What is left of orders that have ended, or whose version was given up.
        for version in self.orders.versions(context.secret()) {
            self.clean_up(context, &version).await;
            self.orders.forget(&version);
        }
        // A certificate that cannot be read replaces nothing.
        let replaced = self.secret.issued().ok().and_then(|(chain, _)| chain.facts().ok()?.renewal_id);
        let profile = self.secret.profile.as_deref();
        let key = NewKey::draw(self.secret.key_type, &self.secret.names)?;
        Self::needed(context).await?;
        let order = session.order(&self.secret.names, profile, replaced.as_deref()).await?;
        let unfinished = Unfinished {
            secret: context.secret().to_owned(),
            url: order.url.clone(),
            key: key.key.clone(),
            wanted,
            added: None,
        };
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
        // The CA may have looked between two attempts.
        self.clean_up(context, context.token()).await;
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
        let standing = self.standing_record(session, &challenges);
        let validated = async {
            self.make_known(context, records, deadline).await?;
            for challenge in challenges {
                session.answer(challenge).await?;
            }
            session.settled(order, OrderStatus::Pending).await
        }
        .await;
        validated.map_err(|error| match standing {
            Some(value) if error.code() == Code::ValidationFailed => advised(error, &value),
            _ => error,
        })
    }

    /// The value of the TXT record that stays, if that is the secret's way (draft-ietf-acme-dns-persist).
    fn standing_record(&self, session: &Session<'_>, challenges: &[&Challenge]) -> Option<String> {
        if self.secret.way != Way::DnsPersist {
            return None;
        }
        // Both are the CA's own text.
        let issuer = challenges.iter().flat_map(|one| &one.issuers).find(|issuer| is_domain(issuer))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/:".contains(c);
        let account = session.account_url().filter(|url| url.len() <= 200 && url.chars().all(plain))?;
        let is_wild = self.secret.names.iter().any(|name| name.starts_with("*."));
        Some(format!("{issuer}; accounturi={account}{}", if is_wild { "; policy=wildcard" } else { "" }))
    }

    /// Adds the values of these records, if they are not there yet, and waits until all name servers have them.
    async fn make_known(&self, context: &StepContext<'_>, records: Vec<Record>, deadline: Deadline) -> Result<()> {
        let mut added = self.orders.added(context.token()).unwrap_or_else(|| Added::at(since_epoch()));
        added
            .records
            .extend(records.iter().filter(|record| !added.records.contains(record)).cloned().collect::<Vec<_>>());
        // A change whose answer is lost is carried out or not.
        self.orders.remember(context.token(), &added);
        let owner = Owner::new(context.secret(), added.since);
        let changes = self.route53.change(&records, Wish::Present, &owner, deadline).await?;
        added.changes.extend(changes);
        self.orders.remember(context.token(), &added);
        self.route53.in_sync(&added.changes, deadline).await
    }

    /// Removes the values that were added for the order of a version: nobody needs them any more.
    async fn clean_up(&self, context: &StepContext<'_>, version: &str) {
        let Some(added) = self.orders.added(version) else { return };
        let owner = Owner::new(context.secret(), added.since);
        let deadline = context.deadline().within(TO_CLEAN_UP);
        match self.route53.change(&added.records, Wish::Absent, &owner, deadline).await {
            Ok(_) => self.orders.removed(version),
            Err(error) => context.warn(error),
        }
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

/// The error of a name without the TXT record that stays, with that record.
fn advised(error: Error, value: &str) -> Error {
    let Some(name) = error.fact(Fact::Host) else { return error };
    let next = format!(
        "Make a TXT record at `_validation-persist.{name}` with the value `{value}`, and let it stay. Then rotate again."
    );
    error.with(Fact::NextAction, next)
}

/// The ways that a CA offers, as far as they are known here.
fn offered(authorization: &Authorization) -> String {
    let known = ["dns-01", "dns-persist-01", "http-01", "tls-alpn-01"];
    let kinds = authorization.challenges.iter().filter_map(|one| known.into_iter().find(|known| *known == one.kind));
    let kinds: Vec<&str> = kinds.collect();
    if kinds.is_empty() { "nothing that is known here".to_owned() } else { kinds.join(", ") }
}
