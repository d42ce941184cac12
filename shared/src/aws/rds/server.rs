//! What RDS states about its instances and clusters, and whether two of them hold one database.

/// An instance or a cluster, by its identifier in lower case: RDS does not tell cases apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerId {
    Instance(String),
    Cluster(String),
}

/// An instance or a cluster among those of all accounts and regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arn {
    /// In lower case: RDS does not tell cases apart.
    pub(super) text: String,
    pub(super) name: ServerId,
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
pub(super) struct Server {
    /// Its account and region are the function's.
    pub(super) arn: Arn,
    pub(super) engine: String,
    /// An instance's address, or that of a cluster's writer. None while RDS makes the server.
    pub(super) address: Option<Address>,
    /// A cluster's reader endpoint and custom endpoints.
    pub(super) others: Vec<Address>,
    /// The cluster that an instance is a member of.
    pub(super) cluster: Option<String>,
    /// The server that this one is a read replica of.
    pub(super) source: Option<ServerId>,
    /// Whether users may open it with a token in place of a password.
    pub(super) iam_authentication: bool,
}

/// Whether `other` answers at this address and shares its data with `primary`.
pub(super) fn belongs(primary: &Server, other: Option<&Server>, address: &Address) -> bool {
    other.is_some_and(|other| other.answers_at(address) && primary.shares_data_with(other))
}

/// Whether two addresses are of one database. With each comes what RDS states about the server that its host names.
pub(super) fn one_database(
    (first, own): (Option<&Server>, &Address),
    (second, child): (Option<&Server>, &Address),
) -> bool {
    let first = first.filter(|server| server.answers_at(own));
    let second = second.filter(|server| server.answers_at(child));
    match (first, second) {
        (Some(first), Some(second)) => first.shares_data_with(second),
        // The host of a custom endpoint does not name its cluster. Only the cluster's list of endpoints has it.
        (Some(first), None) => first.answers_at(child),
        (None, Some(second)) => second.answers_at(own),
        (None, None) => false,
    }
}

impl Server {
    pub(super) fn answers_at(&self, address: &Address) -> bool {
        self.address.iter().chain(&self.others).any(|own| own == address)
    }

    /// Whether a change here arrives there.
    fn shares_data_with(&self, other: &Self) -> bool {
        let one_cluster = self.in_cluster().is_some() && self.in_cluster() == other.in_cluster();
        let follows = match &other.source {
            Some(ServerId::Cluster(source)) => self.in_cluster() == Some(source),
            source => source.as_ref() == Some(&self.arn.name),
        };
        one_cluster || follows
    }

    fn in_cluster(&self) -> Option<&String> {
        match &self.arn.name {
            ServerId::Cluster(id) => Some(id),
            ServerId::Instance(_) => self.cluster.as_ref(),
        }
    }
}

impl Address {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        let host = host.strip_suffix('.').unwrap_or(host);
        Self { host: host.to_ascii_lowercase(), port }
    }
}

impl Arn {
    /// `arn:aws:rds:eu-central-1:123456789012:db:orders`
    pub(super) fn of(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split(':').collect();
        let ["arn", partition, "rds", region, account, kind, id] = parts.as_slice() else { return None };
        let (_, _, id) = (identifier(partition)?, identifier(region)?, identifier(id)?);
        let is_account = account.len() == 12 && account.chars().all(|c| c.is_ascii_digit());
        let name = match *kind {
            "db" => ServerId::Instance(id),
            "cluster" => ServerId::Cluster(id),
            _ => return None,
        };
        is_account.then(|| Self { text: text.to_ascii_lowercase(), name })
    }
}

impl ServerId {
    /// The server that a host names, by the shape of RDS's endpoints: `orders.abc.…`, `orders.cluster-abc.…`,
    /// `orders.cluster-ro-abc.…`. Custom endpoints of a cluster and proxies have names of their own. RDS must confirm that the
    /// server exists and has this host.
    pub(super) fn of_host(host: &str) -> Option<Self> {
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

    pub(super) fn id(&self) -> &str {
        let (Self::Instance(id) | Self::Cluster(id)) = self;
        id
    }
}

/// At most 63 letters, digits and hyphens.
pub(super) fn identifier(text: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    ((1..=63).contains(&text.len()) && text.chars().all(fits)).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const SUFFIX: &str = "abc.eu-central-1.rds.amazonaws.com";

    fn address(host: &str) -> Address {
        Address::new(host, 5432)
    }

    pub(in crate::aws::rds) fn arn(kind_and_id: &str) -> Arn {
        Arn::of(&format!("arn:aws:rds:eu-central-1:123456789012:{kind_and_id}")).unwrap()
    }

    pub(in crate::aws::rds) fn instance(id: &str) -> Server {
        Server {
            arn: arn(&format!("db:{id}")),
            engine: "postgres".to_owned(),
            address: Some(address(&format!("{id}.{SUFFIX}"))),
            others: Vec::new(),
            cluster: None,
            source: None,
            iam_authentication: false,
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

    fn replica(id: &str, of: ServerId) -> Server {
        Server { source: Some(of), ..instance(id) }
    }

    fn at(server: &Server) -> Address {
        server.address.clone().unwrap()
    }

    #[test]
    fn hosts_are_names_of_instances_or_clusters() {
        let host = |beginning: &str| ServerId::of_host(&format!("{beginning}.eu-central-1.rds.amazonaws.com"));
        assert_eq!(host("Orders.abc"), Some(ServerId::Instance("orders".to_owned())));
        assert_eq!(host("orders.cluster-abc"), Some(ServerId::Cluster("orders".to_owned())));
        assert_eq!(host("orders.cluster-ro-abc"), Some(ServerId::Cluster("orders".to_owned())));
        assert_eq!(host("reports.cluster-custom-abc"), None);
        assert_eq!(host("pool.proxy-abc"), None);
        for nothing in ["", ".a", "a&Action=x.b", "a_b.c", &"a".repeat(64)] {
            assert_eq!(ServerId::of_host(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_belongs_to_one_database_does_so_both_ways_round_and_nothing_else_does() {
        let primary = instance("orders");
        let read_replica = replica("orders-ro", primary.arn.name.clone());
        let stranger = instance("billing");
        let whole = cluster("shop");
        let (writer, second) = (member("shop-1", "shop"), member("shop-2", "shop"));
        let follower = replica("shop-copy", whole.arn.name.clone());
        let same =
            |first: &Server, second: &Server| one_database((Some(first), &at(first)), (Some(second), &at(second)));

        assert!(
            same(&primary, &read_replica) && same(&whole, &writer) && same(&writer, &whole) && same(&writer, &second)
        );
        assert!(same(&whole, &follower) && same(&writer, &follower));
        // The superuser of a replica cannot change anything there.
        assert!(!same(&read_replica, &primary) && !same(&follower, &whole));
        for server in [&primary, &read_replica, &whole, &writer, &follower] {
            assert!(!same(server, &stranger) && !same(&stranger, server), "{server:?}");
        }
        assert!(!same(&primary, &whole) && !same(&whole, &cluster("other")));
    }

    #[test]
    fn endpoints_count_by_host_and_port_and_not_by_their_beginning() {
        let (primary, whole) = (instance("orders"), cluster("shop"));
        let replica = replica("orders-ro", primary.arn.name.clone());
        let is = |address: &Address| one_database((Some(&primary), &at(&primary)), (Some(&replica), address));
        assert!(is(&at(&replica)));
        assert!(!is(&address("orders-ro.evil.example")));
        assert!(!is(&Address { port: 1, ..at(&replica) }));

        let custom = whole.others[1].clone();
        assert!(one_database((Some(&whole), &at(&whole)), (None, &custom)));
        assert!(one_database((None, &custom), (Some(&whole), &at(&whole))));
        assert!(!one_database((Some(&whole), &at(&whole)), (None, &address("reports.cluster-custom-evil.example"))));
        assert!(!one_database((None, &custom), (None, &custom)));
    }
}
