//! What RDS answers: XML of the query protocol, version 2014-10-31.
//!
//! <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeDBInstances.html>,
//! <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeDBClusters.html>

use super::server::{Address, Arn, Server, ServerId, identifier};
use aws_smithy_xml::decode::{Document, ScopedDecoder, try_data};

/// A page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) servers: Vec<Server>,
    /// Where the next page begins, if there is one.
    pub(super) marker: Option<String>,
}

/// A page, if the bytes are the whole of one.
pub(super) fn page(bytes: &[u8]) -> Option<Page> {
    let text = whole(bytes)?;
    let mut document = Document::new(text);
    let mut root = document.root_element().ok()?;
    let mut page = None;
    while let Some(mut result) = root.next_tag() {
        if matches!(result.start_el().local(), "DescribeDBInstancesResult" | "DescribeDBClustersResult") {
            page = Some(page_of(&mut result)?);
        }
    }
    page
}

/// The error code, if the bytes are an error of the service.
pub(super) fn code_of(bytes: &[u8]) -> Option<String> {
    let mut document = Document::new(whole(bytes)?);
    let mut root = document.root_element().ok()?;
    while let Some(mut error) = root.next_tag() {
        if error.start_el().local() == "Error" {
            while let Some(mut field) = error.next_tag() {
                if field.start_el().local() == "Code" {
                    return text(&mut field).filter(|code| is_word(code));
                }
            }
        }
    }
    None
}

/// The text of a complete document. The decoder would take the end of the bytes for the end of every open tag.
fn whole(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    if Document::new(text).any(|token| token.is_err()) {
        return None;
    }
    let mut document = Document::new(text);
    let root = document.root_element().ok()?.start_el().local().to_owned();
    text.strip_suffix('>')?.trim_end().strip_suffix(root.as_str())?.ends_with("</").then_some(text)
}

fn page_of(result: &mut ScopedDecoder<'_, '_>) -> Option<Page> {
    let mut page = Page { servers: Vec::new(), marker: None };
    while let Some(mut tag) = result.next_tag() {
        match tag.start_el().local() {
            "Marker" => page.marker = text(&mut tag).filter(|marker| !marker.is_empty()),
            "DBInstances" => while_some(&mut tag, |instance| page.servers.extend(instance_of(instance))),
            "DBClusters" => while_some(&mut tag, |cluster| page.servers.extend(cluster_of(cluster))),
            _ => {}
        }
    }
    Some(page)
}

/// An instance; `None` if a part that every instance has is missing, or its ARN has another name.
fn instance_of(tag: &mut ScopedDecoder<'_, '_>) -> Option<Server> {
    let (mut id, mut arn, mut engine, mut host, mut port) = (None, None, None, None, None);
    let (mut cluster, mut source, mut iam_authentication) = (None, None, false);
    while_some(tag, |field| match field.start_el().local() {
        "DBInstanceIdentifier" => id = id_of(field).map(ServerId::Instance),
        "DBInstanceArn" => arn = arn_of(field),
        "Engine" => engine = engine_of(field),
        "DBClusterIdentifier" => cluster = id_of(field),
        // From another region or account this is an ARN, and cannot be looked up here.
        "ReadReplicaSourceDBInstanceIdentifier" => source = id_of(field).map(ServerId::Instance).or(source.take()),
        "IAMDatabaseAuthenticationEnabled" => iam_authentication = text(field).as_deref() == Some("true"),
        "ReadReplicaSourceDBClusterIdentifier" => source = id_of(field).map(ServerId::Cluster).or(source.take()),
        "Endpoint" => while_some(field, |part| match part.start_el().local() {
            "Address" => host = host_of(part),
            "Port" => port = port_of(part),
            _ => {}
        }),
        _ => {}
    });
    let address = host.zip(port).map(|(host, port)| Address::new(&host, port));
    let (arn, engine, others) = (arn_for(arn?, &id?)?, engine?, Vec::new());
    Some(Server { arn, engine, address, others, cluster, source, iam_authentication })
}

/// A cluster; `None` if a part that every cluster has is missing, or its ARN has another name.
fn cluster_of(tag: &mut ScopedDecoder<'_, '_>) -> Option<Server> {
    let (mut id, mut arn, mut engine, mut writer, mut port, mut others) = (None, None, None, None, None, Vec::new());
    let mut iam_authentication = false;
    while_some(tag, |field| match field.start_el().local() {
        "DBClusterIdentifier" => id = id_of(field).map(ServerId::Cluster),
        "DBClusterArn" => arn = arn_of(field),
        "Engine" => engine = engine_of(field),
        "Endpoint" => writer = host_of(field),
        "ReaderEndpoint" => others.extend(host_of(field)),
        "CustomEndpoints" => while_some(field, |member| others.extend(host_of(member))),
        "Port" => port = port_of(field),
        "IAMDatabaseAuthenticationEnabled" => iam_authentication = text(field).as_deref() == Some("true"),
        _ => {}
    });
    let at = |host: String| port.map(|port| Address::new(&host, port));
    let (address, others) = (writer.and_then(at), others.into_iter().filter_map(at).collect());
    let (arn, engine) = (arn_for(arn?, &id?)?, engine?);
    Some(Server { arn, engine, address, others, cluster: None, source: None, iam_authentication })
}

fn while_some(tag: &mut ScopedDecoder<'_, '_>, mut each: impl FnMut(&mut ScopedDecoder<'_, '_>)) {
    while let Some(mut child) = tag.next_tag() {
        each(&mut child);
    }
}

fn text(tag: &mut ScopedDecoder<'_, '_>) -> Option<String> {
    try_data(tag).ok().map(|text| text.trim().to_owned())
}

fn id_of(tag: &mut ScopedDecoder<'_, '_>) -> Option<String> {
    identifier(&text(tag)?)
}

fn arn_of(tag: &mut ScopedDecoder<'_, '_>) -> Option<Arn> {
    Arn::of(&text(tag)?)
}

/// An ARN, if it has this name.
fn arn_for(arn: Arn, name: &ServerId) -> Option<Arn> {
    (arn.name == *name).then_some(arn)
}

fn port_of(tag: &mut ScopedDecoder<'_, '_>) -> Option<u16> {
    text(tag)?.parse().ok().filter(|port| *port != 0)
}

fn engine_of(tag: &mut ScopedDecoder<'_, '_>) -> Option<String> {
    text(tag).filter(|engine| is_word(engine))
}

/// A host name. It goes into errors, and the function connects to it.
fn host_of(tag: &mut ScopedDecoder<'_, '_>) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    text(tag).filter(|host| (1..=253).contains(&host.len()) && host.chars().all(fits))
}

/// Whether a text can be an engine or an error code: it is short and cannot be a sentence.
fn is_word(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    (1..=64).contains(&text.len()) && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INSTANCES: &str = r#"<?xml version="1.0"?>
<DescribeDBInstancesResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/">
  <DescribeDBInstancesResult>
    <DBInstances>
      <DBInstance>
        <DBInstanceIdentifier>Orders-ro</DBInstanceIdentifier>
        <DBInstanceArn>arn:aws:rds:eu-central-1:123456789012:db:orders-ro</DBInstanceArn>
        <DBParameterGroups><DBParameterGroup><Engine>decoy</Engine></DBParameterGroup></DBParameterGroups>
        <Engine>postgres</Engine>
        <ListenerEndpoint><Address>decoy.example</Address><Port>1</Port></ListenerEndpoint>
        <Endpoint><Port>5432</Port><Address>orders-ro.abc.rds.example</Address><HostedZoneId>Z</HostedZoneId></Endpoint>
        <ReadReplicaSourceDBInstanceIdentifier>orders</ReadReplicaSourceDBInstanceIdentifier>
        <ReadReplicaDBInstanceIdentifiers/>
      </DBInstance>
      <DBInstance>
        <DBInstanceIdentifier>shop-1</DBInstanceIdentifier><Engine>aurora-mysql</Engine>
        <DBClusterIdentifier>shop</DBClusterIdentifier>
        <DBInstanceArn>arn:aws:rds:eu-central-1:123456789012:db:shop-1</DBInstanceArn>
      </DBInstance>
      <DBInstance><Engine>no name</Engine></DBInstance>
    </DBInstances>
    <Marker>n&amp;m</Marker>
  </DescribeDBInstancesResult>
  <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>
</DescribeDBInstancesResponse>
"#;

    const CLUSTERS: &str = "<DescribeDBClustersResponse><DescribeDBClustersResult><DBClusters><DBCluster>\
        <DBClusterIdentifier>shop</DBClusterIdentifier><Engine>aurora-mysql</Engine><Port>3306</Port>\
        <DBClusterArn>arn:aws:rds:eu-central-1:123456789012:cluster:shop</DBClusterArn>\
        <Endpoint>shop.cluster-abc.example</Endpoint><ReaderEndpoint>shop.cluster-ro-abc.example</ReaderEndpoint>\
        <CustomEndpoints><member>reports.cluster-custom-abc.example</member></CustomEndpoints>\
        </DBCluster></DBClusters></DescribeDBClustersResult></DescribeDBClustersResponse>";

    #[test]
    fn instances_are_read_by_what_stands_directly_in_them() {
        let page = page(INSTANCES.as_bytes()).unwrap();
        assert_eq!(page.marker.as_deref(), Some("n&m"));
        let [replica, member] = page.servers.as_slice() else { panic!("{:?}", page.servers) };
        assert_eq!(replica.arn.text, "arn:aws:rds:eu-central-1:123456789012:db:orders-ro");
        let is = (&replica.arn.name, replica.engine.as_str());
        assert_eq!(is, (&ServerId::Instance("orders-ro".to_owned()), "postgres"));
        assert_eq!(replica.address, Some(Address::new("orders-ro.abc.rds.example", 5432)));
        assert_eq!(replica.source, Some(ServerId::Instance("orders".to_owned())));
        assert_eq!((&member.address, member.cluster.as_deref()), (&None, Some("shop")));
    }

    #[test]
    fn clusters_are_read_with_all_their_endpoints() {
        let page = page(CLUSTERS.as_bytes()).unwrap();
        let [cluster] = page.servers.as_slice() else { panic!("{:?}", page.servers) };
        assert_eq!(cluster.arn.text, "arn:aws:rds:eu-central-1:123456789012:cluster:shop");
        assert_eq!(cluster.address, Some(Address::new("shop.cluster-abc.example", 3306)));
        let others: Vec<_> = cluster.others.iter().map(|address| address.host.as_str()).collect();
        assert_eq!(others, ["shop.cluster-ro-abc.example", "reports.cluster-custom-abc.example"]);
    }

    #[test]
    fn a_server_without_an_arn_of_its_own_is_none() {
        let clusters = |from: &str, to: &str| page(CLUSTERS.replace(from, to).as_bytes()).unwrap().servers.len();
        assert_eq!(clusters("", ""), 1);
        assert_eq!(clusters("DBClusterArn>", "Arn>"), 0);
        assert_eq!(clusters(":cluster:shop<", ":cluster:other<"), 0);
        assert_eq!(clusters(":cluster:shop<", ":db:shop<"), 0);
        assert_eq!(clusters("arn:aws:rds:", "arn:aws:s3:"), 0);
        let instances = |from: &str, to: &str| page(INSTANCES.replace(from, to).as_bytes()).unwrap().servers.len();
        assert_eq!(instances("", ""), 2);
        assert_eq!(instances("DBInstanceArn>", "Arn>"), 0);
        assert_eq!(instances(":db:shop-1<", ":db:other<"), 1);
    }

    #[test]
    fn a_part_of_an_answer_is_no_answer() {
        for text in [INSTANCES, CLUSTERS] {
            let bytes = text.trim().as_bytes();
            for end in 0..bytes.len() {
                assert_eq!(page(&bytes[..end]), None, "{end} bytes");
            }
        }
        assert_eq!(page(b"<a></a>"), None);
        assert_eq!(page(b"<a><b></a>\xff"), None);
    }

    #[test]
    fn what_is_printed_or_connected_to_is_checked() {
        let with = |from: &str, to: &str| page(CLUSTERS.replace(from, to).as_bytes()).unwrap().servers.pop();
        assert_eq!(with("shop.cluster-abc.example", "a b\n").unwrap().address, None);
        assert_eq!(with("3306", "99999").unwrap().address, None);
        assert_eq!(with("aurora-mysql", "my secret is"), None);
        assert_eq!(code_of(b"<ErrorResponse><Error><Code>Access Denied to x</Code></Error></ErrorResponse>"), None);
        let denied = b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code></Error></ErrorResponse>";
        assert_eq!(code_of(denied).as_deref(), Some("AccessDenied"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[<>/a-zA-Z &;!\\[\\]\"=?-]{0,200}") {
            drop((page(&bytes), code_of(&bytes), page(text.as_bytes()), code_of(text.as_bytes())));
        }
    }
}
