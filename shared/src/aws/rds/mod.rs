//! Whether two secrets are for one database at RDS, and where its primary is.
//!
//! A superuser's password must go to the superuser's server only, and that server must hold the database that the rotated
//! secret opens. If both secrets name one host, both are certain. Otherwise RDS is asked:
//!
//! * A superuser's secret that RDS manages holds only a user name and a password. RDS tags it with the ARN of its instance or
//!   cluster. Nobody else can write that tag, because AWS reserves tags that begin with `aws:`. The superuser connects to the
//!   address that RDS states for the ARN. The whole ARN counts: RDS is asked in the function's account and region, and may have a
//!   server of the same name there.
//! * A full superuser's secret may name the primary while the rotated secret names a replica, or another endpoint of the same
//!   cluster. The superuser connects to the address in its own secret.
//!
//! RDS is trusted, and whoever may write the superuser's secret. Whoever may write the rotated secret chooses only a name to
//! look up. The superuser never connects to that name. The name counts only if RDS states this host and port for a server that
//! shares its data with the superuser's. The TLS settings of the rotated secret do not apply to the superuser either.
//! If RDS cannot be asked, a superuser without a server of its own depends on what the protocol proves: SCRAM with channel
//! binding, or nothing (`Engine::CHANNEL_BINDING`).
//!
//! <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html>

mod answer;
mod server;
mod tags;

pub(crate) use server::Address;
pub(crate) use tags::{ManagedServer, managed_for};

use crate::aws::service::{Answer, Codes, Failure, Request, Service};
use crate::clock::Deadline;
use crate::error::{Code, Error, Fact, Result};
use answer::{Page, code_of, page};
use server::{Arn, Server, ServerId, belongs, one_database};
use std::time::Duration;

/// A look-up that is throttled for a while is faster. A function with 30 s can still go on without RDS afterwards.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(10);
/// The answer about one identifier has one page.
const MAX_PAGES: usize = 3;

/// RDS, in the function's region.
pub(crate) struct Rds(Service);

/// What RDS states about the server of a superuser whose secret it manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Primary {
    /// Where the superuser logs in.
    pub(crate) address: Address,
    /// Whether users may log in with a token in place of a password.
    pub(crate) iam_authentication: bool,
}

impl Rds {
    /// `endpoint` is where RDS is, if not where the SDKs look for it.
    pub(crate) fn new(endpoint: Option<&str>) -> Self {
        Self(Service::new("rds", endpoint))
    }

    /// How many answers have asked to slow down, since the process began.
    pub(crate) fn throttles(&self) -> u32 {
        self.0.throttles()
    }

    /// The server of the superuser of a secret that RDS manages. The server must be of one of these engines, and `child` must be
    /// an address of the same database.
    ///
    /// # Errors
    /// [`Code::SuperuserMismatch`]; [`Code::EngineMismatch`]; [`Code::SuperuserServerGone`]; [`Code::ConfigurationInvalid`]; and those
    /// that say that RDS could not be asked ([`could_not_ask`]).
    pub(crate) async fn primary(
        &self,
        managed: &ManagedServer,
        child: &Address,
        engines: &[&str],
        deadline: Deadline,
    ) -> Result<Primary> {
        let arn = managed.server()?;
        let deadline = deadline.within(LOOK_UP_LIMIT);
        // An instance's host begins with its name. If that is not the name of the superuser's server, RDS is asked about it, too.
        let other =
            ServerId::of_host(&child.host).filter(|name| matches!(name, ServerId::Instance(_)) && *name != arn.name);
        let (primary, other) =
            tokio::join!(self.server(Some(&arn.name), deadline), self.server(other.as_ref(), deadline));
        let primary = expect_arn(arn, primary?)?;
        if !engines.contains(&primary.engine.as_str()) {
            let error = Error::new(Code::EngineMismatch).with(Fact::Found, &primary.engine);
            return Err(error.with(Fact::Expected, engines.join(" or ")));
        }
        let not_yet = || unavailable(&arn.name, "it has no endpoint yet");
        let address = primary.address.clone().ok_or_else(not_yet)?;
        if primary.answers_at(child) || belongs(&primary, other?.as_ref(), child) {
            Ok(Primary { address, iam_authentication: primary.iam_authentication })
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
        let (first, second) = tokio::join!(self.server(own_name.as_ref(), deadline), self.server(second, deadline));
        Ok(one_database((first?.as_ref(), own), (second?.as_ref(), child)))
    }

    /// What RDS states about the server of this name, if there is one.
    async fn server(&self, name: Option<&ServerId>, deadline: Deadline) -> Result<Option<Server>> {
        let Some(name) = name else { return Ok(None) };
        let mut marker = None;
        for _ in 0..MAX_PAGES {
            let request = name.request(marker.as_deref());
            let answer = self.0.call(&request, deadline).await.map_err(|failure| of_failed_call(name, failure))?;
            let Some(Page { servers, marker: next }) = read_answer(name, &answer)? else { return Ok(None) };
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

/// The server that RDS found under the ARN's name, if it has the ARN.
fn expect_arn(arn: &Arn, found: Option<Server>) -> Result<Server> {
    match found {
        Some(server) if server.arn == *arn => Ok(server),
        Some(server) => {
            let error = Error::new(Code::SuperuserMismatch).with(Fact::Call, arn.name.action());
            Err(error.with(Fact::Found, &arn.text).with(Fact::Expected, &server.arn.text))
        }
        None => {
            let error = Error::new(Code::SuperuserServerGone).with(Fact::Call, arn.name.action());
            Err(error.with(Fact::Found, &arn.text))
        }
    }
}

/// Whether an error says that RDS could not be asked. Other errors follow from an answer.
pub(crate) fn could_not_ask(error: &Error) -> bool {
    matches!(error.code(), Code::RdsDenied | Code::RdsThrottled | Code::RdsUnavailable)
}

/// The error for a superuser whose server is another one than the child's.
pub(crate) fn mismatch(child: &Address, superuser: &Address) -> Error {
    Error::new(Code::SuperuserMismatch)
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
        Request::post("application/x-www-form-urlencoded", &[], body)
    }
}

/// A byte in a form body.
fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

/// Reads an answer; `None` if RDS has no such server.
fn read_answer(name: &ServerId, answer: &Answer) -> Result<Option<Page>> {
    if answer.status == 200 {
        let what = "an answer that is not as RDS documents it";
        return page(&answer.body).map(Some).ok_or_else(|| unavailable(name, what));
    }
    let code = code_of(&answer.body);
    match code.as_deref() {
        Some("DBInstanceNotFound" | "DBInstanceNotFoundFault" | "DBClusterNotFound" | "DBClusterNotFoundFault") => {
            return Ok(None);
        }
        // The beginning of the host cannot be an identifier.
        Some("InvalidParameterValue") => return Ok(None),
        _ => {}
    }
    let denied = matches!(answer.status, 401 | 403);
    let error = Error::new(if denied { Code::RdsDenied } else { Code::RdsUnavailable }).with(Fact::Call, name.action());
    let error = error.with(Fact::Status, answer.status);
    Err(code.into_iter().fold(error, |error, code| error.with(Fact::ServiceCode, code)))
}

fn of_failed_call(name: &ServerId, failure: Failure) -> Error {
    // What stays is told as an outage, too: PostgreSQL goes on without RDS then.
    let codes = Codes { passes: Code::RdsUnavailable, throttled: Code::RdsThrottled, stays: Code::RdsUnavailable };
    failure.error(name.action(), codes)
}

fn unavailable(name: &ServerId, what: &str) -> Error {
    Error::new(Code::RdsUnavailable).with(Fact::Call, name.action()).with(Fact::What, what)
}

#[cfg(test)]
mod tests {
    use super::server::tests::{arn, instance};
    use super::*;
    use crate::aws::endpoint::BadEndpoint;
    use crate::aws::service::CallError;

    #[test]
    fn a_server_of_the_same_name_elsewhere_is_not_the_superusers() {
        let here = instance("orders");
        let anchor = |text: &str| Arn::of(text).unwrap();
        assert_eq!(expect_arn(&arn("db:Orders"), Some(here.clone())), Ok(here.clone()));
        for elsewhere in [
            "arn:aws:rds:eu-central-1:210987654321:db:orders",
            "arn:aws:rds:eu-west-1:123456789012:db:orders",
            "arn:aws-cn:rds:eu-central-1:123456789012:db:orders",
        ] {
            let error = expect_arn(&anchor(elsewhere), Some(here.clone())).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Found)), (Code::SuperuserMismatch, Some(elsewhere)));
            assert_eq!(error.fact(Fact::Expected), Some(here.arn.text.as_str()));
            assert!(!could_not_ask(&error), "PostgreSQL would go on");
        }
        let gone = expect_arn(&arn("db:gone"), None).unwrap_err();
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
            read_answer(&name, &Answer { status, headers: Vec::new(), body: body.into() })
        };
        assert_eq!(refusal(404, "DBClusterNotFoundFault"), Ok(None));
        let denied = refusal(403, "AccessDenied").unwrap_err();
        assert_eq!((denied.code(), denied.fact(Fact::Call)), (Code::RdsDenied, Some("rds:DescribeDBClusters")));
        assert_eq!(denied.fact(Fact::ServiceCode), Some("AccessDenied"));
        assert_eq!(refusal(400, "Odd").unwrap_err().code(), Code::RdsUnavailable);
        for garbage in ["", "<a", "{}"] {
            let error =
                read_answer(&name, &Answer { status: 200, headers: Vec::new(), body: garbage.into() }).unwrap_err();
            assert_eq!(error.code(), Code::RdsUnavailable, "{garbage}");
            assert!(could_not_ask(&error));
        }
    }

    #[test]
    fn a_setting_to_correct_is_no_outage() {
        let name = ServerId::Instance("orders".to_owned());
        let of = |trouble| of_failed_call(&name, Failure { trouble, attempts: 1 });
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
