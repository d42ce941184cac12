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

use crate::aws::service::{Answer, CallError, Failure, Request, Service};
use crate::clock::Deadline;
use crate::error::{Code, Error, Fact, Result};
use answer::{Page, code_of, page};
use std::collections::HashMap;
use std::time::Duration;

/// Longer than a look-up takes that is throttled for a while, short enough that a 30 s function can go on without it.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(10);
/// A question about one identifier has one page.
const MAX_PAGES: usize = 3;

/// RDS, in the function's region.
pub(crate) struct Rds(Service);

/// An instance or a cluster, by its identifier in lower case: RDS does not tell cases apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Instance(String),
    Cluster(String),
}

/// An instance or a cluster among those of all accounts and regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arn {
    /// In lower case: RDS does not tell cases apart.
    text: String,
    name: Name,
}

/// What the tags of a secret that RDS manages say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// Which server the secret is for.
    Server(Arn),
    /// More than one, of which none counts.
    Several(Vec<Arn>),
}

/// A host and a port, comparable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// In lower case, without a dot at the end.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// What RDS says about an instance or a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    /// Of its account and region, which are the function's.
    arn: Arn,
    engine: String,
    /// Of an instance, or of a cluster's writer. None while it is being made.
    address: Option<Address>,
    /// A cluster's reader endpoint and custom endpoints.
    others: Vec<Address>,
    /// The cluster that an instance is a member of.
    cluster: Option<String>,
    /// Which one it is a read replica of.
    source: Option<Name>,
}

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
        anchor: &Anchor,
        child: &Address,
        engines: &[&str],
        deadline: Deadline,
    ) -> Result<Address> {
        let anchor = anchor.server()?;
        let deadline = deadline.within(LOOK_UP_LIMIT);
        // An instance is called by the beginning of its host. Only if that is not the anchor's there is something to ask.
        let other = Name::of_host(&child.host).filter(|name| matches!(name, Name::Instance(_)) && *name != anchor.name);
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
        let (own_name, child_name) = (Name::of_host(&own.host), Name::of_host(&child.host));
        // Two endpoints of one cluster begin alike.
        let second = child_name.as_ref().filter(|name| Some(*name) != own_name.as_ref());
        let (first, second) = tokio::join!(self.perhaps(own_name.as_ref(), deadline), self.perhaps(second, deadline));
        Ok(one_database((first?.as_ref(), own), (second?.as_ref(), child)))
    }

    async fn perhaps(&self, name: Option<&Name>, deadline: Deadline) -> Result<Option<Server>> {
        match name {
            Some(name) => self.server(name, deadline).await,
            None => Ok(None),
        }
    }

    /// What RDS says about the one of this name, if there is one.
    async fn server(&self, name: &Name, deadline: Deadline) -> Result<Option<Server>> {
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

/// The instance or the cluster that RDS manages a secret for, by the secret's tags; `None` if it does not manage it.
pub(crate) fn managed_for(tags: &HashMap<String, String>) -> Option<Anchor> {
    let mut arns: Vec<_> =
        tags.iter().filter(|(key, _)| names_a_server(key)).filter_map(|(_, arn)| Arn::of(arn)).collect();
    if arns.len() > 1 {
        arns.sort_by(|one, other| one.text.cmp(&other.text));
        return Some(Anchor::Several(arns));
    }
    arns.pop().map(Anchor::Server)
}

/// Whether a tag is one of RDS's. AWS reserves the prefix as it stands here, and nobody knows whether in another case, too; in
/// the rest AWS's own rotation functions do not tell cases apart.
fn names_a_server(key: &str) -> bool {
    let is =
        |rest: &str| ["primarydbinstancearn", "primarydbclusterarn"].iter().any(|it| rest.eq_ignore_ascii_case(it));
    key.strip_prefix("aws:rds:").is_some_and(is)
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

/// Whether `other` is what is at `place`, and belongs to `primary`.
fn belongs(primary: &Server, other: Option<&Server>, place: &Address) -> bool {
    other.is_some_and(|other| other.answers_at(place) && primary.shares_data_with(other))
}

/// Whether two places are the same database: each with what RDS says about the one by whose name it is called.
fn one_database((first, own): (Option<&Server>, &Address), (second, child): (Option<&Server>, &Address)) -> bool {
    let first = first.filter(|server| server.answers_at(own));
    let second = second.filter(|server| server.answers_at(child));
    match (first, second) {
        (Some(first), Some(second)) => first.shares_data_with(second),
        // A custom endpoint is not called by its cluster's name; only the cluster knows it.
        (Some(first), None) => first.answers_at(child),
        (None, Some(second)) => second.answers_at(own),
        (None, None) => false,
    }
}

impl Server {
    fn answers_at(&self, place: &Address) -> bool {
        self.address.iter().chain(&self.others).any(|address| address == place)
    }

    /// Whether what is changed here comes about there.
    fn shares_data_with(&self, other: &Self) -> bool {
        let one_cluster = self.in_cluster().is_some() && self.in_cluster() == other.in_cluster();
        let follows = match &other.source {
            Some(Name::Cluster(source)) => self.in_cluster() == Some(source),
            source => source.as_ref() == Some(&self.arn.name),
        };
        one_cluster || follows
    }

    fn in_cluster(&self) -> Option<&String> {
        match &self.arn.name {
            Name::Cluster(id) => Some(id),
            Name::Instance(_) => self.cluster.as_ref(),
        }
    }
}

impl Address {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        let host = host.strip_suffix('.').unwrap_or(host);
        Self { host: host.to_ascii_lowercase(), port }
    }
}

impl Anchor {
    /// The server, if there is one alone.
    fn server(&self) -> Result<&Arn> {
        match self {
            Self::Server(arn) => Ok(arn),
            Self::Several(arns) => {
                let arns: Vec<_> = arns.iter().map(|arn| arn.text.as_str()).collect();
                let error = Error::new(Code::SuperuserMismatch).with(Fact::Found, arns.join(" and "));
                Err(error.with(Fact::Expected, "one tag of RDS").with(Fact::What, "the superuser secret's tags"))
            }
        }
    }
}

impl Arn {
    /// `arn:aws:rds:eu-central-1:123456789012:db:orders`
    fn of(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split(':').collect();
        let ["arn", partition, "rds", region, account, kind, id] = parts.as_slice() else { return None };
        let (_, _, id) = (identifier(partition)?, identifier(region)?, identifier(id)?);
        let is_account = account.len() == 12 && account.chars().all(|c| c.is_ascii_digit());
        let name = match *kind {
            "db" => Name::Instance(id),
            "cluster" => Name::Cluster(id),
            _ => return None,
        };
        is_account.then(|| Self { text: text.to_ascii_lowercase(), name })
    }
}

impl Name {
    /// By the shape of RDS's endpoints: `orders.abc.…`, `orders.cluster-abc.…`, `orders.cluster-ro-abc.…`. Custom endpoints of
    /// a cluster and proxies have names of their own. Whether there is such a one, and at this host, is for RDS to say.
    fn of_host(host: &str) -> Option<Self> {
        let mut labels = host.split('.');
        let id = identifier(labels.next()?)?;
        let second = labels.next().unwrap_or_default();
        if second.starts_with("cluster-custom-") || second.starts_with("proxy-") {
            None
        } else if second.starts_with("cluster-") {
            Some(Self::Cluster(id))
        } else {
            Some(Self::Instance(id))
        }
    }

    fn id(&self) -> &str {
        let (Self::Instance(id) | Self::Cluster(id)) = self;
        id
    }

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

/// At most 63 letters, digits and hyphens.
fn identifier(text: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    ((1..=63).contains(&text.len()) && text.chars().all(fits)).then(|| text.to_ascii_lowercase())
}

/// What an answer says; `None` if it says that there is no such server.
fn understood(name: &Name, answer: &Answer) -> Result<Option<Page>> {
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

fn unanswered(name: &Name, failure: Failure) -> Error {
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

fn unavailable(name: &Name, what: &str) -> Error {
    Error::new(Code::RdsUnavailable).with(Fact::Call, name.action()).with(Fact::What, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::endpoint::BadEndpoint;

    const SUFFIX: &str = "abc.eu-central-1.rds.amazonaws.com";

    fn address(host: &str) -> Address {
        Address::new(host, 5432)
    }

    fn arn(kind_and_id: &str) -> Arn {
        Arn::of(&format!("arn:aws:rds:eu-central-1:123456789012:{kind_and_id}")).unwrap()
    }

    fn instance(id: &str) -> Server {
        Server {
            arn: arn(&format!("db:{id}")),
            engine: "postgres".to_owned(),
            address: Some(address(&format!("{id}.{SUFFIX}"))),
            others: Vec::new(),
            cluster: None,
            source: None,
        }
    }

    fn cluster(id: &str) -> Server {
        let endpoint = |name: &str, kind: &str| address(&format!("{name}.{kind}-{SUFFIX}"));
        Server {
            arn: arn(&format!("cluster:{id}")),
            address: Some(endpoint(id, "cluster")),
            others: vec![endpoint(id, "cluster-ro"), endpoint("reports", "cluster-custom")],
            ..instance(id)
        }
    }

    fn member(id: &str, of: &str) -> Server {
        Server { cluster: Some(of.to_owned()), ..instance(id) }
    }

    fn replica(id: &str, of: Name) -> Server {
        Server { source: Some(of), ..instance(id) }
    }

    fn at(server: &Server) -> Address {
        server.address.clone().unwrap()
    }

    #[test]
    fn hosts_are_names_of_instances_or_clusters() {
        let host = |beginning: &str| Name::of_host(&format!("{beginning}.eu-central-1.rds.amazonaws.com"));
        assert_eq!(host("Orders.abc"), Some(Name::Instance("orders".to_owned())));
        assert_eq!(host("orders.cluster-abc"), Some(Name::Cluster("orders".to_owned())));
        assert_eq!(host("orders.cluster-ro-abc"), Some(Name::Cluster("orders".to_owned())));
        assert_eq!(host("reports.cluster-custom-abc"), None);
        assert_eq!(host("pool.proxy-abc"), None);
        for nothing in ["", ".a", "a&Action=x.b", "a_b.c", &"a".repeat(64)] {
            assert_eq!(Name::of_host(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_secret_is_managed_for_what_its_tag_names() {
        let tagged = |key: &str, arn: &str| managed_for(&HashMap::from([(key.to_owned(), arn.to_owned())]));
        let (db, cluster) = ("aws:rds:primaryDBInstanceArn", "aws:rds:primarydbclusterarn");
        let text = |rest: &str| format!("arn:aws:rds:eu-central-1:123456789012:{rest}");
        let found = tagged(db, &text("db:Orders"));
        assert_eq!(found, Some(Anchor::Server(arn("db:orders"))));
        assert_eq!(arn("db:orders").name, Name::Instance("orders".to_owned()));
        assert_eq!(tagged(cluster, &text("cluster:orders")), Some(Anchor::Server(arn("cluster:orders"))));
        assert_eq!(arn("cluster:orders").name, Name::Cluster("orders".to_owned()));
        assert_eq!(
            tagged("aws:rds:primaryDBClusterArn", &text("cluster:orders")),
            tagged(cluster, &text("cluster:orders"))
        );
        for bad in [
            "",
            "orders",
            &text("snapshot:orders"),
            &text("db:a:b"),
            &text("db:a&b"),
            "arn:aws:s3:::db:x",
            "arn:aws:rds:::db:x",
            "arn:aws:rds:eu-central-1::db:x",
            "arn:aws:rds:eu-central-1:me:db:x",
            "x:aws:rds:eu-central-1:123456789012:db:x",
        ] {
            assert_eq!(tagged(db, bad), None, "{bad}");
        }
    }

    /// AWS documents the prefix `aws:` as reserved, and says nothing of `AWS:`.
    #[test]
    fn only_tags_that_nobody_but_aws_can_write_are_trusted() {
        let text = &arn("db:orders").text;
        for key in [
            "AWS:RDS:primaryDBInstanceArn",
            "Aws:rds:primaryDBInstanceArn",
            "aws:RDS:primaryDBInstanceArn",
            "rds:primarydbinstancearn",
            " aws:rds:primarydbinstancearn",
            "aws:rds:primarydbinstancearn2",
            "my-aws:rds:primaryDBClusterArn",
        ] {
            assert_eq!(managed_for(&HashMap::from([(key.to_owned(), text.clone())])), None, "{key}");
        }
    }

    #[test]
    fn two_tags_are_refused_and_not_chosen_from() {
        let tags = [
            ("aws:rds:primaryDBInstanceArn", arn("db:orders")),
            ("aws:rds:primarydbinstancearn", arn("db:billing")),
            ("aws:rds:primaryDBClusterArn", arn("cluster:shop")),
        ];
        for left_out in 0..tags.len() {
            let two = tags.iter().enumerate().filter(|(index, _)| *index != left_out).map(|(_, tag)| tag);
            let map = two.clone().map(|(key, arn)| ((*key).to_owned(), arn.text.clone())).collect();
            let error = managed_for(&map).unwrap().server().unwrap_err();
            assert_eq!(error.code(), Code::SuperuserMismatch);
            let found = error.fact(Fact::Found).unwrap();
            assert!(two.clone().all(|(_, arn)| found.contains(&arn.text)), "{found}");
        }
    }

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
    fn what_belongs_to_one_database_does_so_both_ways_round_and_nothing_else_does() {
        let primary = instance("orders");
        let context = replica("orders-ro", primary.arn.name.clone());
        let stranger = instance("billing");
        let whole = cluster("shop");
        let (writer, second) = (member("shop-1", "shop"), member("shop-2", "shop"));
        let follower = replica("shop-copy", whole.arn.name.clone());
        let same =
            |first: &Server, second: &Server| one_database((Some(first), &at(first)), (Some(second), &at(second)));

        assert!(same(&primary, &context) && same(&whole, &writer) && same(&writer, &whole) && same(&writer, &second));
        assert!(same(&whole, &follower) && same(&writer, &follower));
        // The superuser of a replica cannot change anything there.
        assert!(!same(&context, &primary) && !same(&follower, &whole));
        for server in [&primary, &context, &whole, &writer, &follower] {
            assert!(!same(server, &stranger) && !same(&stranger, server), "{server:?}");
        }
        assert!(!same(&primary, &whole) && !same(&whole, &cluster("other")));
    }

    #[test]
    fn endpoints_count_by_host_and_port_and_not_by_their_beginning() {
        let (primary, whole) = (instance("orders"), cluster("shop"));
        let context = replica("orders-ro", primary.arn.name.clone());
        let is = |place: &Address| one_database((Some(&primary), &at(&primary)), (Some(&context), place));
        assert!(is(&at(&context)));
        assert!(!is(&address("orders-ro.evil.example")));
        assert!(!is(&Address { port: 1, ..at(&context) }));

        let custom = whole.others[1].clone();
        assert!(one_database((Some(&whole), &at(&whole)), (None, &custom)));
        assert!(one_database((None, &custom), (Some(&whole), &at(&whole))));
        assert!(!one_database((Some(&whole), &at(&whole)), (None, &address("reports.cluster-custom-evil.example"))));
        assert!(!one_database((None, &custom), (None, &custom)));
    }

    #[test]
    fn a_marker_cannot_add_a_parameter() {
        let request = Name::Instance("orders".to_owned()).request(Some("a&Action=b+c"));
        let expected =
            "Action=DescribeDBInstances&Version=2014-10-31&DBInstanceIdentifier=orders&Marker=a%26Action%3Db%2Bc";
        assert_eq!(request.body, expected);
    }

    #[test]
    fn refusals_are_told_from_absence() {
        let name = Name::Cluster("shop".to_owned());
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
        let name = Name::Instance("orders".to_owned());
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
