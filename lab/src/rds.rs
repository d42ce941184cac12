//! RDS, as far as a rotation asks it: which instances and clusters there are, at which addresses, and what belongs together.
//!
//! No servers run behind these. A test or a person declares which throwaway server stands for which instance or cluster.
//! <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/>, version 2014-10-31, the query protocol.

use crate::lambda::{ACCOUNT, REGION};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most records of a page: the default and the limit of both operations.
const PAGE: usize = 100;

/// The instances and clusters of the lab's account. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub struct Rds(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By identifier in lower case.
    instances: BTreeMap<String, Instance>,
    clusters: BTreeMap<String, Cluster>,
    denied: BTreeSet<String>,
    scripted: BTreeMap<String, String>,
}

/// A database instance.
#[derive(Clone, Debug)]
pub struct Instance {
    id: String,
    engine: String,
    endpoint: Option<(String, u16)>,
    replica_of: Option<String>,
    replica_of_cluster: Option<String>,
    cluster: Option<String>,
    iam_authentication: bool,
}

/// A database cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    id: String,
    engine: String,
    writer: String,
    reader: Option<String>,
    custom: Vec<String>,
    port: u16,
}

/// An answer of the query protocol.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// The error's code, if it is one.
    pub(crate) error: Option<String>,
}

impl Instance {
    /// An instance of this identifier and engine (`postgres`, `mysql`, `mariadb`, `aurora-postgresql` …), with its endpoint.
    pub fn new(id: &str, engine: &str, host: &str, port: u16) -> Self {
        Self {
            id: id.to_owned(),
            engine: engine.to_owned(),
            endpoint: Some((host.to_owned(), port)),
            replica_of: None,
            replica_of_cluster: None,
            cluster: None,
            iam_authentication: false,
        }
    }

    /// One that is still being made: it has no endpoint.
    #[must_use]
    pub fn in_the_making(mut self) -> Self {
        self.endpoint = None;
        self
    }

    /// A read replica of the instance with this identifier.
    #[must_use]
    pub fn replica_of(mut self, instance: &str) -> Self {
        self.replica_of = Some(instance.to_owned());
        self
    }

    /// A read replica of the cluster with this identifier.
    #[must_use]
    pub fn replica_of_cluster(mut self, cluster: &str) -> Self {
        self.replica_of_cluster = Some(cluster.to_owned());
        self
    }

    /// A member of the cluster with this identifier.
    #[must_use]
    pub fn member_of(mut self, cluster: &str) -> Self {
        self.cluster = Some(cluster.to_owned());
        self
    }

    /// One whose users may log in with a token of IAM.
    #[must_use]
    pub fn with_iam_authentication(mut self) -> Self {
        self.iam_authentication = true;
        self
    }

    /// Its ARN.
    pub fn arn(&self) -> String {
        format!("arn:aws:rds:{REGION}:{ACCOUNT}:db:{}", self.id)
    }

    fn xml(&self) -> String {
        let mut xml = element("DBInstanceIdentifier", &self.id) + &element("Engine", &self.engine);
        if let Some((host, port)) = &self.endpoint {
            let parts = element("Address", host) + &element("Port", &port.to_string());
            xml += &format!("<Endpoint>{parts}</Endpoint>");
        }
        let optional = [
            ("DBClusterIdentifier", &self.cluster),
            ("ReadReplicaSourceDBInstanceIdentifier", &self.replica_of),
            ("ReadReplicaSourceDBClusterIdentifier", &self.replica_of_cluster),
        ];
        xml.extend(optional.iter().filter_map(|(name, value)| Some(element(name, value.as_deref()?))));
        xml += &element("DBInstanceArn", &self.arn());
        xml += &element("IAMDatabaseAuthenticationEnabled", &self.iam_authentication.to_string());
        format!("<DBInstance>{xml}</DBInstance>")
    }
}

impl Cluster {
    /// A cluster of this identifier and engine, with the endpoint of its writer.
    pub fn new(id: &str, engine: &str, writer: &str, port: u16) -> Self {
        let (id, engine, writer) = (id.to_owned(), engine.to_owned(), writer.to_owned());
        Self { id, engine, writer, reader: None, custom: Vec::new(), port }
    }

    /// Its reader endpoint.
    #[must_use]
    pub fn reader(mut self, host: &str) -> Self {
        self.reader = Some(host.to_owned());
        self
    }

    /// A custom endpoint.
    #[must_use]
    pub fn custom(mut self, host: &str) -> Self {
        self.custom.push(host.to_owned());
        self
    }

    /// Its ARN.
    pub fn arn(&self) -> String {
        format!("arn:aws:rds:{REGION}:{ACCOUNT}:cluster:{}", self.id)
    }

    fn xml(&self) -> String {
        let mut xml = element("DBClusterIdentifier", &self.id) + &element("Endpoint", &self.writer);
        if let Some(reader) = &self.reader {
            xml += &element("ReaderEndpoint", reader);
        }
        let custom: String = self.custom.iter().map(|host| element("member", host)).collect();
        xml += &format!("<CustomEndpoints>{custom}</CustomEndpoints>");
        xml += &element("Engine", &self.engine);
        xml += &element("Port", &self.port.to_string());
        xml += &element("DBClusterArn", &self.arn());
        format!("<DBCluster>{xml}</DBCluster>")
    }
}

impl Rds {
    /// Adds an instance, or replaces the one of its identifier.
    pub fn instance(&self, instance: Instance) {
        self.state().instances.insert(instance.id.to_lowercase(), instance);
    }

    /// Adds a cluster, or replaces the one of its identifier.
    pub fn cluster(&self, cluster: Cluster) {
        self.state().clusters.insert(cluster.id.to_lowercase(), cluster);
    }

    /// Deletes the instance and the cluster of this identifier.
    pub fn remove(&self, id: &str) {
        let mut state = self.state();
        state.instances.remove(&id.to_lowercase());
        state.clusters.remove(&id.to_lowercase());
    }

    /// Refuses an operation from now on, as IAM does where no policy allows it.
    pub fn deny(&self, operation: &str) {
        self.state().denied.insert(operation.to_owned());
    }

    /// Answers an operation with this body and status 200 from now on, whatever is asked.
    pub fn answer(&self, operation: &str, body: &str) {
        self.state().scripted.insert(operation.to_owned(), body.to_owned());
    }

    /// Performs the operation of a form.
    pub(crate) fn call(&self, form: &[(String, String)]) -> Answer {
        let field = |name: &str| form.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
        let operation = field("Action").unwrap_or_default();
        let state = self.state();
        if state.denied.contains(operation) {
            let message = format!("User is not authorized to perform: rds:{operation}");
            return Answer::failure(403, "AccessDenied", &message);
        }
        if let Some(body) = state.scripted.get(operation) {
            return Answer { status: 200, body: body.clone(), error: None };
        }
        if field("Version") != Some("2014-10-31") {
            return Answer::failure(400, "InvalidAction", "Could not find operation for this version.");
        }
        match operation {
            "DescribeDBInstances" => {
                let records =
                    state.instances.iter().map(|(id, instance)| (id.as_str(), instance.arn(), instance.xml()));
                let wanted = field("DBInstanceIdentifier");
                answer(operation, "DBInstances", records, wanted, field("Marker"))
                    .unwrap_or_else(|| Answer::not_found("DBInstanceNotFound", wanted))
            }
            "DescribeDBClusters" => {
                let records = state.clusters.iter().map(|(id, cluster)| (id.as_str(), cluster.arn(), cluster.xml()));
                let wanted = field("DBClusterIdentifier");
                answer(operation, "DBClusters", records, wanted, field("Marker"))
                    .unwrap_or_else(|| Answer::not_found("DBClusterNotFoundFault", wanted))
            }
            _ => Answer::failure(400, "InvalidAction", "The lab's RDS has DescribeDBInstances and DescribeDBClusters."),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The page of records that `marker` asks for; `None` if `wanted` is not there. The identifier may be an ARN.
fn answer<'a>(
    operation: &str,
    list: &str,
    records: impl Iterator<Item = (&'a str, String, String)>,
    wanted: Option<&str>,
    marker: Option<&str>,
) -> Option<Answer> {
    let all: Vec<String> = records
        .filter(|(id, arn, _)| wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(id) || wanted == arn))
        .map(|(_, _, xml)| xml)
        .collect();
    if wanted.is_some() && all.is_empty() {
        return None;
    }
    let from = marker.and_then(|marker| marker.parse().ok()).unwrap_or(0);
    let page: String = all.iter().skip(from).take(PAGE).map(String::as_str).collect();
    let mut result = String::new();
    if from + PAGE < all.len() {
        result += &element("Marker", &(from + PAGE).to_string());
    }
    let _ = write!(result, "<{list}>{page}</{list}>");
    let body = format!("<{operation}Result>{result}</{operation}Result>");
    Some(Answer { status: 200, body: enveloped(&format!("{operation}Response"), &body, true), error: None })
}

impl Answer {
    /// An error, as the query protocol has it.
    pub(crate) fn failure(status: u16, code: &str, message: &str) -> Self {
        let kind = if status < 500 { "Sender" } else { "Receiver" };
        let error = element("Type", kind) + &element("Code", code) + &element("Message", message);
        let body = enveloped("ErrorResponse", &format!("<Error>{error}</Error>"), false);
        Self { status, body, error: Some(code.to_owned()) }
    }

    fn not_found(code: &str, id: Option<&str>) -> Self {
        Self::failure(404, code, &format!("{} not found.", id.unwrap_or_default()))
    }
}

fn enveloped(root: &str, content: &str, metadata: bool) -> String {
    let id = element("RequestId", &uuid::Uuid::new_v4().to_string());
    let id = if metadata { format!("<ResponseMetadata>{id}</ResponseMetadata>") } else { id };
    format!("<{root} xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\">{content}{id}</{root}>")
}

fn element(name: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<{name}>{text}</{name}>")
}
