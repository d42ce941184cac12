//! Orders, authorizations and challenges (RFC 8555, section 7.1).

use super::{Answered, Doing, Problem, Session, text, unexpected};
use crate::encoding::encoded;
use crate::http::Answer;
use http::header;
use rotation::{Code, Error, Fact, Result};
use serde_json::{Value, json};
use std::time::Duration;

/// The pause between two looks at a resource, unless the CA asks for a longer one.
const POLL: Duration = Duration::from_secs(1);
/// An order has at most a hundred names at any public CA, and an authorization for each.
const MOST: usize = 200;

/// An order.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its URL.
    pub url: String,
    /// Its state.
    pub status: OrderStatus,
    authorizations: Vec<String>,
    finalize: String,
    certificate: Option<String>,
    problem: Option<Problem>,
    retry_after: Option<Duration>,
}

/// The state of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    /// Names are to be validated.
    Pending,
    /// The CA waits for the request of the certificate.
    Ready,
    /// The CA issues.
    Processing,
    /// The certificate is there.
    Valid,
    /// It cannot go on.
    Invalid,
}

/// The authorization of one name.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// The name, without `*.`.
    pub name: String,
    /// Whether it is valid already.
    pub valid: bool,
    /// The ways that the CA offers.
    pub challenges: Vec<Challenge>,
    problem: Option<Problem>,
    pending: bool,
}

/// A way of validation.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// `dns-01` and the like.
    pub kind: String,
    url: String,
    /// What the answer is made of; empty where the way has none.
    pub token: String,
    /// The CA's names in a TXT record that stays (draft-ietf-acme-dns-persist).
    pub issuers: Vec<String>,
    /// Whether the CA was told to look already.
    told: bool,
}

impl Session<'_> {
    /// Orders a certificate. `replaces` is the id of the certificate that it is to replace (RFC 9773, section 5).
    ///
    /// A CA may refuse the replacement: another order has replaced that certificate, or another account requested it, or it is for
    /// other names. Nothing depends on the replacement, so the order is made without it.
    ///
    /// # Errors
    /// Those of the CA's refusals, and of reaching it.
    pub async fn order(&mut self, names: &[String], profile: Option<&str>, replaces: Option<&str>) -> Result<Order> {
        let mut refused = self.try_order(names, profile, replaces).await?;
        if let (Err(problem), Some(_)) = (&refused, replaces)
            && !matches!(problem.kind, Some("rateLimited" | "serverInternal" | "badNonce" | "accountDoesNotExist"))
            && problem.status != 429
            && problem.status < 500
        {
            refused = self.try_order(names, profile, None).await?;
        }
        let answer = refused.map_err(|problem| problem.error(Doing::Order))?;
        let url = answer.header(&header::LOCATION).ok_or_else(|| unexpected("newOrder"))?.to_owned();
        self.resource(&url)?;
        Order::read(url, &answer)
    }

    async fn try_order(&mut self, names: &[String], profile: Option<&str>, replaces: Option<&str>) -> Result<Answered> {
        let identifiers: Vec<Value> = names.iter().map(|name| json!({"type": "dns", "value": name})).collect();
        let mut request = json!({"identifiers": identifiers});
        if let Some(fields) = request.as_object_mut() {
            fields.extend(profile.map(|profile| ("profile".to_owned(), profile.into())));
            fields.extend(replaces.map(|id| ("replaces".to_owned(), id.into())));
        }
        let url = self.directory.new_order.clone();
        self.post(&url, &request.to_string()).await
    }

    /// Looks at an order that was made before. `None` if the CA does not know it.
    ///
    /// # Errors
    /// Those of the CA's refusals, and of reaching it.
    pub async fn known_order(&mut self, url: &str) -> Result<Option<Order>> {
        let place = self.resource(url)?;
        match self.post(&place, "").await? {
            Ok(answer) => Order::read(url.to_owned(), &answer).map(Some),
            Err(problem) if matches!(problem.status, 404 | 410) || problem.kind == Some("malformed") => Ok(None),
            // It is another account's: the account was found right before.
            Err(problem) if problem.kind == Some("unauthorized") => Ok(None),
            Err(problem) => Err(problem.error(Doing::Order)),
        }
    }

    /// The authorizations of an order.
    ///
    /// # Errors
    /// [`Code::ValidationFailed`] for one that cannot become valid any more; those of reaching the CA.
    pub async fn authorizations(&mut self, order: &Order) -> Result<Vec<Authorization>> {
        let mut all = Vec::new();
        for url in order.authorizations.iter().take(MOST) {
            let url = self.resource(url)?;
            let answer = self.told(&url, "", Doing::Order).await?;
            let authorization = Authorization::read(&answer)?;
            if !authorization.valid && !authorization.pending {
                return Err(authorization.error());
            }
            all.push(authorization);
        }
        Ok(all)
    }

    /// Tells the CA to look for the answer to a challenge.
    ///
    /// # Errors
    /// Those of the CA's refusals, and of reaching it.
    pub async fn answer(&mut self, challenge: &Challenge) -> Result<()> {
        if challenge.told {
            return Ok(());
        }
        let url = self.resource(&challenge.url)?;
        match self.post(&url, "{}").await? {
            Ok(_) => Ok(()),
            // Another invocation told it in the meantime, and the order shows how that ended.
            Err(problem) if problem.kind == Some("malformed") => Ok(()),
            Err(problem) => Err(problem.error(Doing::Validation)),
        }
    }

    /// Waits until an order has left the state in which the CA works on it.
    ///
    /// # Errors
    /// [`Code::OrderPending`] if the time is spent before; [`Code::ValidationFailed`] and the like if the order failed; those of
    /// reaching the CA.
    pub async fn settled(&mut self, mut order: Order, works: OrderStatus) -> Result<Order> {
        while order.status == works {
            if !self.pause(order.retry_after, POLL).await {
                return Err(Error::new(Code::OrderPending));
            }
            let url = self.resource(&order.url)?;
            let answer = self.told(&url, "", Doing::Order).await?;
            order = Order::read(order.url, &answer)?;
        }
        if order.status == OrderStatus::Invalid {
            return Err(self.why_invalid(&order).await);
        }
        Ok(order)
    }

    /// The reason is with the order, or with the authorization that failed.
    async fn why_invalid(&mut self, order: &Order) -> Error {
        if let Err(error) = self.authorizations(order).await {
            return error;
        }
        match &order.problem {
            Some(problem) => problem.error(Doing::Order),
            None => Error::new(Code::OrderRefused).with(Fact::Found, "an order that has failed"),
        }
    }

    /// Sends the request for the certificate, in DER.
    ///
    /// # Errors
    /// Those of the CA's refusals, and of reaching it.
    pub async fn finalize(&mut self, order: Order, request: &[u8]) -> Result<Order> {
        let url = self.resource(&order.finalize)?;
        let body = json!({"csr": encoded(request)}).to_string();
        match self.post(&url, &body).await? {
            Ok(answer) => Order::read(order.url, &answer),
            // An earlier attempt's request arrived, and its answer was lost.
            Err(problem) if problem.kind == Some("orderNotReady") => {
                let known = self.known_order(&order.url).await?;
                known.ok_or_else(|| problem.error(Doing::Order))
            }
            Err(problem) => Err(problem.error(Doing::Order)),
        }
    }

    /// The chain of certificates, as PEM text: first the order's own.
    ///
    /// # Errors
    /// Those of the CA's refusals, and of reaching it.
    pub async fn certificate(&mut self, order: &Order) -> Result<String> {
        let url = self.resource(order.certificate.as_deref().ok_or_else(|| unexpected("order"))?)?;
        let answer = self.told(&url, "", Doing::Order).await?;
        String::from_utf8(answer.body.to_vec()).map_err(|_| unexpected("certificate"))
    }
}

impl Order {
    fn read(url: String, answer: &Answer) -> Result<Self> {
        let body: Value = serde_json::from_slice(&answer.body).map_err(|_| unexpected("order"))?;
        let status = match text(&body, "/status") {
            Some("pending") => OrderStatus::Pending,
            Some("ready") => OrderStatus::Ready,
            Some("processing") => OrderStatus::Processing,
            Some("valid") => OrderStatus::Valid,
            Some("invalid") => OrderStatus::Invalid,
            _ => return Err(unexpected("order")),
        };
        let texts = body.get("authorizations").and_then(Value::as_array).into_iter().flatten();
        let authorizations = texts.filter_map(Value::as_str).map(str::to_owned).collect();
        let problem = body.get("error").filter(|error| error.is_object());
        Ok(Self {
            url,
            status,
            authorizations,
            finalize: text(&body, "/finalize").unwrap_or_default().to_owned(),
            certificate: text(&body, "/certificate").map(str::to_owned),
            problem: problem.map(|problem| Problem::read(status_of(problem), problem, None)),
            retry_after: answer.retry_after(),
        })
    }
}

impl Authorization {
    fn read(answer: &Answer) -> Result<Self> {
        let body: Value = serde_json::from_slice(&answer.body).map_err(|_| unexpected("authorization"))?;
        let name = text(&body, "/identifier/value").ok_or_else(|| unexpected("authorization"))?;
        let mut problem = None;
        let mut challenges = Vec::new();
        for challenge in body.get("challenges").and_then(Value::as_array).into_iter().flatten() {
            let part = |name: &str| challenge.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            if let Some(error) = challenge.get("error").filter(|error| error.is_object()) {
                problem = Some(Problem::read(status_of(error), error, None));
            }
            let told = part("status") != "pending";
            let issuers = challenge.get("issuer-domain-names").and_then(Value::as_array).into_iter().flatten();
            let issuers = issuers.filter_map(Value::as_str).map(str::to_owned).collect();
            challenges.push(Challenge { kind: part("type"), url: part("url"), token: part("token"), issuers, told });
        }
        let status = text(&body, "/status");
        let (valid, pending) = (status == Some("valid"), status == Some("pending"));
        Ok(Self { name: name.to_owned(), valid, challenges, problem, pending })
    }

    /// Why it is not valid.
    fn error(&self) -> Error {
        let error = match &self.problem {
            Some(problem) => problem.error(Doing::Validation),
            None => Error::new(Code::ValidationFailed),
        };
        // The name is the CA's own text.
        if crate::settings::is_domain(&self.name) { error.with_default(Fact::Host, &self.name) } else { error }
    }
}

/// The status in a problem document that is part of an answer.
fn status_of(problem: &Value) -> u16 {
    problem.get("status").and_then(Value::as_u64).and_then(|status| status.try_into().ok()).unwrap_or(400)
}
