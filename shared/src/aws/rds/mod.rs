//! Whether two secrets are about one database at RDS, and where its primary is.
//!
//! A superuser's password must go to the superuser's server and nowhere else, and what the superuser changes must be what
//! the rotated secret opens. Where both secrets name one host, that is plain. Otherwise RDS is asked:
//!
//! * A superuser's secret that RDS manages holds a user name and a password alone. RDS has tagged it with the ARN of its
//!   instance or cluster; nobody else can, as tags that begin with `aws:` are reserved. The superuser connects to the address that
//!   RDS states for that one. The whole ARN counts: RDS is asked in the function's account and region, and one of the same name
//!   there is not the superuser's.
//! * A full superuser's secret may be for the primary of which the rotated secret names a replica, or for another endpoint
//!   of one cluster. The superuser connects to the address in its own secret.
//!
//! Who is trusted: RDS, and whoever may write the superuser's secret. Whoever may write the rotated secret chooses only a name
//! to look up. The superuser never connects to it, and it counts only if RDS states that very host and port for an
//! instance or a cluster that belongs to the superuser's: an alias or a name that merely begins like one is refused. So that
//! person gains nothing. What the rotated secret says about TLS is not the superuser's either.
//! Where RDS cannot be asked, a superuser without a server of its own is left to what the protocol can prove: SCRAM bound to its
//! channel, or nothing at all (`Engine::CHANNEL_BINDING`).
//!
//! <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html>

mod answer;
mod server;
mod tags;

pub(crate) use server::Address;
pub(crate) use tags::{ManagedServer, managed_for};

use crate::aws::service::{Answer, CallError, Failure, Request, Service};
use crate::clock::Deadline;
use crate::error::{Code, Error, Fact, Result};
use answer::{Page, code_of, page};
use server::{Arn, Server, ServerId, belongs, one_database};
use std::time::Duration;

/// Longer than a look-up takes that is throttled for a while, short enough that a 30 s function can go on without it.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(10);
/// A question about one identifier has one page.
const MAX_PAGES: usize = 3;

/// RDS, in the function's region.
pub(crate) struct Rds(Service);

impl Rds {
    /// `endpoint` is where RDS is, if not at the SDKs' own choice.
    pub(crate) fn new(endpoint: Option<&str>) -> Self {
        Self(Service::new("rds", endpoint))
    }

    /// How many answers have asked to slow down, since the process began.
    pub(crate) fn throttles(&self) -> u32 {
        self.0.throttles()
    }

    /// Where the superuser that RDS manages for `anchor` logs in, once `child` is found to be an address of the same database,
    /// and that to be of one of these engines.
    ///
    /// # Errors
    /// [`Code::SuperuserMismatch`]; [`Code::EngineMismatch`]; [`Code::SuperuserServerGone`]; [`Code::ConfigurationInvalid`]; and those
    /// that say that RDS could not be asked ([`could_not_ask`]).
    pub(crate) async fn primary(
        &self,
        anchor: &ManagedServer,
        child: &Address,
        engines: &[&str],
        deadline: Deadline,
    ) -> Result<Address> {
        let anchor = anchor.server()?;
        let deadline = deadline.within(LOOK_UP_LIMIT);
        // An instance is called by the beginning of its host. Only if that is not the anchor's there is something to ask.
        let other =
            ServerId::of_host(&child.host).filter(|name| matches!(name, ServerId::Instance(_)) && *name != anchor.name);
        let (primary, other) =
            tokio::join!(self.server(&anchor.name, deadline), self.perhaps(other.as_ref(), deadline));
        let primary = the_very(anchor, primary?)?;
        if !engines.contains(&primary.engine.as_str()) {
            let error = Error::new(Code::EngineMismatch).with(Fact::Found, &primary.engine);
            return Err(error.with(Fact::Expected, engines.join(" or ")));
        }
        let not_yet = || unavailable(&anchor.name, "it has no endpoint yet");
        let address = primary.address.clone().ok_or_else(not_yet)?;
        if primary.answers_at(child) || belongs(&primary, other?.as_ref(), child) {
            Ok(address)
        } else {
            Err(mismatch(child, &address))
        }
    }

    /// Whether two secrets, each with a host of its own, are for one database.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`], and those that say that RDS could not be asked ([`could_not_ask`]).
    pub(crate) async fn same_database(&self, own: &Address, child: &Address, deadline: Deadline) -> Result<bool> {
        let deadline = deadline.within(LOOK_UP_LIMIT);
        let (own_name, child_name) = (ServerId::of_host(&own.host), ServerId::of_host(&child.host));
        // Two endpoints of one cluster begin alike.
        let second = child_name.as_ref().filter(|name| Some(*name) != own_name.as_ref());
        let (first, second) = tokio::join!(self.perhaps(own_name.as_ref(), deadline), self.perhaps(second, deadline));
        Ok(one_database((first?.as_ref(), own), (second?.as_ref(), child)))
    }

    async fn perhaps(&self, name: Option<&ServerId>, deadline: Deadline) -> Result<Option<Server>> {
        match name {
            Some(name) => self.server(name, deadline).await,
            None => Ok(None),
        }
    }

    /// What RDS says about the one of this name, if there is one.
    async fn server(&self, name: &ServerId, deadline: Deadline) -> Result<Option<Server>> {
        let mut marker = None;
        for _ in 0..MAX_PAGES {
            let request = name.request(marker.as_deref());
            let answer = self.0.call(&request, deadline).await.map_err(|failure| unanswered(name, failure))?;
            let Some(Page { servers, marker: next }) = understood(name, &answer)? else { return Ok(None) };
            if let Some(server) = servers.into_iter().find(|server| server.arn.name == *name) {
                return Ok(Some(server));
            }
            match next {
                Some(next) => marker = Some(next),
                None => return Ok(None),
            }
        }
        Err(unavailable(name, "too many pages"))
    }
}

/// The server of this ARN, if it is what RDS has found under its name.
fn the_very(anchor: &Arn, found: Option<Server>) -> Result<Server> {
    match found {
        Some(server) if server.arn == *anchor => Ok(server),
        Some(server) => {
            let error = Error::new(Code::SuperuserMismatch).with(Fact::Call, anchor.name.action());
            Err(error.with(Fact::Found, &anchor.text).with(Fact::Expected, &server.arn.text))
        }
        None => {
            let error = Error::new(Code::SuperuserServerGone).with(Fact::Call, anchor.name.action());
            Err(error.with(Fact::Found, &anchor.text))
        }
    }
}

/// Whether an error says that RDS could not be asked, as opposed to what it said.
pub(crate) fn could_not_ask(error: &Error) -> bool {
    matches!(error.code(), Code::RdsDenied | Code::RdsThrottled | Code::RdsUnavailable)
}

/// The superuser's server is another one than the child's.
pub(crate) fn mismatch(child: &Address, superuser: &Address) -> Error {
    let error = Error::new(Code::SuperuserMismatch);
    error
        .with(Fact::Found, format_args!("{}:{}", superuser.host, superuser.port))
        .with(Fact::Expected, format_args!("{}:{}", child.host, child.port))
}

impl ServerId {
    /// The action's name for IAM.
    fn action(&self) -> &'static str {
        match self {
            Self::Instance(_) => "rds:DescribeDBInstances",
            Self::Cluster(_) => "rds:DescribeDBClusters",
        }
    }

    fn request(&self, marker: Option<&str>) -> Request {
        let (action, parameter) = match self {
            Self::Instance(_) => ("DescribeDBInstances", "DBInstanceIdentifier"),
            Self::Cluster(_) => ("DescribeDBClusters", "DBClusterIdentifier"),
        };
        let id = self.id();
        let mut body = format!("Action={action}&Version=2014-10-31&{parameter}={id}");
        if let Some(marker) = marker {
            body.push_str("&Marker=");
            body.extend(marker.bytes().map(escaped));
        }
        Request { media: "application/x-www-form-urlencoded", headers: &[], body }
    }
}

/// A byte in a form.
fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

/// What an answer says; `None` if it says that there is no such server.
fn understood(name: &ServerId, answer: &Answer) -> Result<Option<Page>> {
    if answer.status == 200 {
        let what = "an answer that is not as RDS documents it";
        return page(&answer.body).map(Some).ok_or_else(|| unavailable(name, what));
    }
    let code = code_of(&answer.body);
    match code.as_deref() {
        Some("DBInstanceNotFound" | "DBInstanceNotFoundFault" | "DBClusterNotFound" | "DBClusterNotFoundFault") => {
            return Ok(None);
        }
        // The beginning of a host that cannot be an identifier.
        Some("InvalidParameterValue") => return Ok(None),
        _ => {}
    }
    let denied = matches!(answer.status, 401 | 403);
    let error = Error::new(if denied { Code::RdsDenied } else { Code::RdsUnavailable }).with(Fact::Call, name.action());
    let error = error.with(Fact::Status, answer.status);
    Err(code.into_iter().fold(error, |error, code| error.with(Fact::ServiceCode, code)))
}

fn unanswered(name: &ServerId, failure: Failure) -> Error {
    // What a deployer has to correct must not look like an outage, after which PostgreSQL goes on without RDS.
    if let CallError::BadEndpoint(misplaced) = failure.trouble {
        return misplaced.error().with(Fact::Call, name.action());
    }
    let code = if failure.trouble == CallError::Throttled { Code::RdsThrottled } else { Code::RdsUnavailable };
    let mut error = Error::new(code).with(Fact::Call, name.action()).with(Fact::What, failure.trouble.as_str());
    if let CallError::Unavailable(status) = failure.trouble {
        error = error.with(Fact::Status, status);
    }
    error.with(Fact::Attempts, failure.attempts)
}

fn unavailable(name: &ServerId, what: &str) -> Error {
    Error::new(Code::RdsUnavailable).with(Fact::Call, name.action()).with(Fact::What, what)
}

#[cfg(test)]
mod tests {
    use super::server::tests::{arn, instance};
    use super::*;
    use crate::aws::endpoint::BadEndpoint;

    #[test]
    fn a_server_of_the_same_name_elsewhere_is_not_the_superusers() {
        let here = instance("orders");
        let anchor = |text: &str| Arn::of(text).unwrap();
        assert_eq!(the_very(&arn("db:Orders"), Some(here.clone())), Ok(here.clone()));
        for elsewhere in [
            "arn:aws:rds:eu-central-1:210987654321:db:orders",
            "arn:aws:rds:eu-west-1:123456789012:db:orders",
            "arn:aws-cn:rds:eu-central-1:123456789012:db:orders",
        ] {
            let error = the_very(&anchor(elsewhere), Some(here.clone())).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Found)), (Code::SuperuserMismatch, Some(elsewhere)));
            assert_eq!(error.fact(Fact::Expected), Some(here.arn.text.as_str()));
            assert!(!could_not_ask(&error), "PostgreSQL would go on");
        }
        let gone = the_very(&arn("db:gone"), None).unwrap_err();
        assert_eq!(
            (gone.code(), gone.fact(Fact::Found)),
            (Code::SuperuserServerGone, Some(arn("db:gone").text.as_str()))
        );
    }

    #[test]
    fn a_marker_cannot_add_a_parameter() {
        let request = ServerId::Instance("orders".to_owned()).request(Some("a&Action=b+c"));
        let expected =
            "Action=DescribeDBInstances&Version=2014-10-31&DBInstanceIdentifier=orders&Marker=a%26Action%3Db%2Bc";
        assert_eq!(request.body, expected);
    }

    #[test]
    fn refusals_are_told_from_absence() {
        let name = ServerId::Cluster("shop".to_owned());
        let refusal = |status, code: &str| {
            let body = format!("<ErrorResponse><Error><Code>{code}</Code><Message>x</Message></Error></ErrorResponse>");
            understood(&name, &Answer { status, body: body.into() })
        };
        assert_eq!(refusal(404, "DBClusterNotFoundFault"), Ok(None));
        let denied = refusal(403, "AccessDenied").unwrap_err();
        assert_eq!((denied.code(), denied.fact(Fact::Call)), (Code::RdsDenied, Some("rds:DescribeDBClusters")));
        assert_eq!(denied.fact(Fact::ServiceCode), Some("AccessDenied"));
        assert_eq!(refusal(400, "Odd").unwrap_err().code(), Code::RdsUnavailable);
        for garbage in ["", "<a", "{}"] {
            let error = understood(&name, &Answer { status: 200, body: garbage.into() }).unwrap_err();
            assert_eq!(error.code(), Code::RdsUnavailable, "{garbage}");
            assert!(could_not_ask(&error));
        }
    }

    #[test]
    fn a_setting_to_correct_is_no_outage() {
        let name = ServerId::Instance("orders".to_owned());
        let of = |trouble| unanswered(&name, Failure { trouble, attempts: 1 });
        let misplaced = BadEndpoint { field: "AWS_ENDPOINT_URL_RDS", found: "a", expected: "b" };
        let error = of(CallError::BadEndpoint(misplaced));
        assert_eq!((error.code(), error.fact(Fact::Field)), (Code::ConfigurationInvalid, Some("AWS_ENDPOINT_URL_RDS")));
        assert!(!could_not_ask(&error), "PostgreSQL would go on");
        assert_eq!(of(CallError::Throttled).code(), Code::RdsThrottled);
        for trouble in
            [CallError::NotConfigured, CallError::NoConnection, CallError::Silent, CallError::Unavailable(503)]
        {
            assert_eq!(of(trouble).code(), Code::RdsUnavailable, "{trouble:?}");
        }
    }
}
