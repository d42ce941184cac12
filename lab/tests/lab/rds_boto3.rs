//! The lab's RDS as boto3 reads it. What is not in AWS's own model of the service, boto3 leaves out: an element of another name,
//! or in another place, would be missing here.

use lab::Lab;
use lab::rds::{Cluster, Instance};
use serde_json::{Value, json};
use tokio::process::Command;

const SCRIPT: &str = r#"
import boto3, botocore, json, sys
rds = boto3.client("rds", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
def answer(operation, **parameters):
    try:
        said = operation(**parameters)
        del said["ResponseMetadata"]
        return said
    except botocore.exceptions.ClientError as error:
        return [type(error).__name__, error.response["Error"]["Code"]]
print(json.dumps([
    answer(rds.describe_db_instances, DBInstanceIdentifier="Orders"),
    answer(rds.describe_db_instances, DBInstanceIdentifier="orders-ro"),
    answer(rds.describe_db_instances, DBInstanceIdentifier="arn:aws:rds:us-east-1:123456789012:db:shop-1"),
    answer(rds.describe_db_clusters, DBClusterIdentifier="shop"),
    answer(rds.describe_db_instances, DBInstanceIdentifier="none"),
    answer(rds.describe_db_clusters, DBClusterIdentifier="none"),
    len([it for page in rds.get_paginator("describe_db_instances").paginate() for it in page["DBInstances"]]),
]))
"#;

async fn ask(lab: &Lab) -> Vec<Value> {
    let (python, url) = (lab::provision::python().unwrap(), lab.url());
    let output = Command::new(python).args(["-c", SCRIPT, &url]).kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_reads_instances_clusters_and_refusals() {
    let lab = Lab::builder(env!("CARGO_BIN_EXE_scripted-function")).start().await.unwrap();
    let rds = lab.rds();
    rds.instance(Instance::new("orders", "postgres", "orders.abc.example", 5432).with_iam_authentication());
    rds.instance(Instance::new("orders-ro", "postgres", "a&b<c>", 5433).replica_of("orders"));
    rds.instance(
        Instance::new("shop-1", "aurora-mysql", "h", 1).member_of("shop").replica_of_cluster("other").in_the_making(),
    );
    rds.cluster(Cluster::new("shop", "aurora-mysql", "w", 3306).reader("r").custom("c1").custom("c2"));
    // More than a page has.
    (0..150).for_each(|number| rds.instance(Instance::new(&format!("n{number}"), "mysql", "h", 1)));
    let arn = |rest: &str| format!("arn:aws:rds:us-east-1:123456789012:{rest}");
    let expected = [
        json!({"DBInstances": [{
            "DBInstanceIdentifier": "orders", "Engine": "postgres", "DBInstanceArn": arn("db:orders"),
            "Endpoint": {"Address": "orders.abc.example", "Port": 5432},
            "IAMDatabaseAuthenticationEnabled": true,
        }]}),
        json!({"DBInstances": [{
            "DBInstanceIdentifier": "orders-ro", "Engine": "postgres", "DBInstanceArn": arn("db:orders-ro"),
            "Endpoint": {"Address": "a&b<c>", "Port": 5433}, "ReadReplicaSourceDBInstanceIdentifier": "orders",
            "IAMDatabaseAuthenticationEnabled": false,
        }]}),
        json!({"DBInstances": [{
            "DBInstanceIdentifier": "shop-1", "Engine": "aurora-mysql", "DBInstanceArn": arn("db:shop-1"),
            "DBClusterIdentifier": "shop", "ReadReplicaSourceDBClusterIdentifier": "other",
            "IAMDatabaseAuthenticationEnabled": false,
        }]}),
        json!({"DBClusters": [{
            "DBClusterIdentifier": "shop", "Engine": "aurora-mysql", "DBClusterArn": arn("cluster:shop"), "Endpoint": "w",
            "ReaderEndpoint": "r", "CustomEndpoints": ["c1", "c2"], "Port": 3306,
        }]}),
        json!(["DBInstanceNotFoundFault", "DBInstanceNotFound"]),
        json!(["DBClusterNotFoundFault", "DBClusterNotFoundFault"]),
        json!(153),
    ];
    let said = ask(&lab).await;
    for (said, expected) in said.iter().zip(&expected) {
        assert_eq!(said, expected);
    }
    assert_eq!(said.len(), expected.len());
}
