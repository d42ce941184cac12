//! The operations as a client sees them, without rotation.

use serde_json::{Value, json};

use super::testing::{Bench, token};

fn with_secret() -> Bench {
    let mut bench = Bench::new();
    bench.ok("CreateSecret", json!({"Name": "app/db", "SecretString": "one", "ClientRequestToken": token(1)}));
    bench
}

fn put(bench: &mut Bench, n: u32, value: &str) -> Value {
    bench.ok("PutSecretValue", json!({"SecretId": "app/db", "SecretString": value, "ClientRequestToken": token(n)}))
}

#[test]
fn a_new_secret_is_read_by_name_arn_and_partial_arn() {
    let mut bench = with_secret();
    let described = bench.ok("DescribeSecret", json!({"SecretId": "app/db"}));
    let arn = described["ARN"].as_str().unwrap().to_owned();
    assert!(arn.starts_with("arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db-"), "{arn}");
    assert_eq!(arn.rsplit('-').next().unwrap().len(), 6);
    for id in ["app/db", &arn, arn.rsplit_once('-').unwrap().0] {
        let value = bench.ok("GetSecretValue", json!({"SecretId": id}));
        assert_eq!(value["SecretString"], "one");
        assert_eq!(value["VersionId"], token(1));
        assert_eq!(value["VersionStages"], json!(["AWSCURRENT"]));
        assert_eq!(value["CreatedDate"], json!(1_700_000_000.0));
    }
    assert!(described.get("RotationEnabled").is_none(), "absent until rotation is configured");
    assert!(described.get("OwningService").is_none() && described.get("LastAccessedDate").is_none());
    let accessed = &bench.ok("DescribeSecret", json!({"SecretId": "app/db"}))["LastAccessedDate"];
    assert_eq!(*accessed, json!(1_699_920_000.0), "by the day");
}

#[test]
fn creating_again_is_fine_only_as_a_repetition() {
    let mut bench = with_secret();
    let create = |value: &str, n| json!({"Name": "app/db", "SecretString": value, "ClientRequestToken": token(n)});
    assert_eq!(bench.ok("CreateSecret", create("one", 1))["VersionId"], token(1));
    assert_eq!(bench.err("CreateSecret", create("two", 1)).0, "ResourceExistsException");
    let (kind, message) = bench.err("CreateSecret", create("one", 2));
    assert_eq!(kind, "ResourceExistsException");
    assert_eq!(message, "The operation failed because the secret app/db already exists.");
}

#[test]
fn the_service_insists_on_a_token_of_32_to_64_characters() {
    let mut bench = with_secret();
    let (kind, message) = bench.err("PutSecretValue", json!({"SecretId": "app/db", "SecretString": "x"}));
    assert_eq!(kind, "InvalidRequestException");
    assert_eq!(message, "You must provide a ClientRequestToken value. We recommend a UUID-type value.");
    let rotate = json!({"SecretId": "app/db", "RotationLambdaARN": "arn:f"});
    assert_eq!(bench.err("RotateSecret", rotate).0, "InvalidParameterException");
    for token in ["x".repeat(31), "x".repeat(65)] {
        let body = json!({"SecretId": "app/db", "SecretString": "x", "ClientRequestToken": token});
        assert_eq!(bench.err("PutSecretValue", body).0, "ValidationException");
    }
}

#[test]
fn values_are_text_or_binary_up_to_64_kib() {
    let mut bench = with_secret();
    let mut put = |member: &str, value: String| {
        bench.call("PutSecretValue", json!({"SecretId": "app/db", member: value, "ClientRequestToken": token(2)}))
    };
    let error = put("SecretString", "x".repeat(65_537)).unwrap_err();
    assert_eq!(error.error_type, "ValidationException");
    assert!(!error.message.contains("xxx"), "a value must not be quoted");
    assert_eq!(put("SecretString", String::new()).unwrap_err().error_type, "ValidationException");
    assert_eq!(put("SecretBinary", "not base64!".into()).unwrap_err().error_type, "ValidationException");
    put("SecretBinary", "AAH/".into()).unwrap();
    let read = bench.ok("GetSecretValue", json!({"SecretId": "app/db"}));
    assert_eq!(read["SecretBinary"], "AAH/");
    assert!(read.get("SecretString").is_none());
    put_largest(&mut bench);
    let both = json!({
        "SecretId": "app/db", "SecretString": "x", "SecretBinary": "AAH/", "ClientRequestToken": token(4),
    });
    assert_eq!(bench.err("PutSecretValue", both).0, "InvalidParameterException");
    let none = json!({"SecretId": "app/db", "ClientRequestToken": token(4)});
    assert_eq!(bench.err("PutSecretValue", none).0, "InvalidRequestException");
}

fn put_largest(bench: &mut Bench) {
    put(bench, 3, &"x".repeat(65_536));
}

#[test]
fn reading_a_version_or_label_that_is_not_there() {
    let mut bench = with_secret();
    let mut refused = |body| bench.err("GetSecretValue", body);
    assert_eq!(
        refused(json!({"SecretId": "nothing"})),
        ("ResourceNotFoundException", "Secrets Manager can't find the specified secret.".into())
    );
    let pending = refused(json!({"SecretId": "app/db", "VersionStage": "AWSPENDING"}));
    assert_eq!(pending.1, "Secrets Manager can't find the specified secret value for staging label: AWSPENDING");
    let version = refused(json!({"SecretId": "app/db", "VersionId": token(9)}));
    assert_eq!(version.1, format!("Secrets Manager can't find the specified secret value for VersionId: {}", token(9)));
    let mismatch = json!({"SecretId": "app/db", "VersionId": token(1), "VersionStage": "AWSPREVIOUS"});
    assert_eq!(refused(mismatch).0, "InvalidRequestException");
}

#[test]
fn deprecated_versions_are_read_by_id_and_listed_on_demand() {
    let mut bench = with_secret();
    put(&mut bench, 2, "two");
    put(&mut bench, 3, "three");
    assert_eq!(bench.labels("app/db"), json!({token(2): ["AWSPREVIOUS"], token(3): ["AWSCURRENT"]}));
    assert_eq!(bench.ok("GetSecretValue", json!({"SecretId": "app/db", "VersionId": token(1)}))["SecretString"], "one");
    let mut listed = |body| bench.ok("ListSecretVersionIds", body)["Versions"].as_array().unwrap().len();
    assert_eq!(listed(json!({"SecretId": "app/db"})), 2);
    assert_eq!(listed(json!({"SecretId": "app/db", "IncludeDeprecated": true})), 3);
}

#[test]
fn an_update_without_a_value_makes_no_version() {
    let mut bench = with_secret();
    let reply = bench.ok("UpdateSecret", json!({"SecretId": "app/db", "Description": "mine"}));
    assert!(reply.get("VersionId").is_none());
    let described = bench.ok("DescribeSecret", json!({"SecretId": "app/db"}));
    assert_eq!(described["Description"], "mine");
    let update = json!({"SecretId": "app/db", "SecretString": "two", "ClientRequestToken": token(2)});
    assert_eq!(bench.ok("UpdateSecret", update)["VersionId"], token(2));
    assert_eq!(bench.labels("app/db"), json!({token(1): ["AWSPREVIOUS"], token(2): ["AWSCURRENT"]}));
}

#[test]
fn a_marked_secret_is_kept_but_not_used() {
    let mut bench = with_secret();
    let reply = bench.ok("DeleteSecret", json!({"SecretId": "app/db", "RecoveryWindowInDays": 7}));
    assert_eq!(reply["DeletionDate"], json!(1_700_604_800.0));
    let (kind, message) = bench.err("GetSecretValue", json!({"SecretId": "app/db"}));
    assert_eq!(kind, "InvalidRequestException");
    assert_eq!(message, "You can't perform this operation on the secret because it was marked for deletion.");
    let create = json!({"Name": "app/db", "ClientRequestToken": token(2)});
    assert_eq!(
        bench.err("CreateSecret", create.clone()).1,
        "You can't create this secret because a secret with this name is already scheduled for deletion."
    );
    assert!(bench.ok("DescribeSecret", json!({"SecretId": "app/db"})).get("DeletedDate").is_some());
    bench.ok("RestoreSecret", json!({"SecretId": "app/db"}));
    assert_eq!(bench.ok("GetSecretValue", json!({"SecretId": "app/db"}))["SecretString"], "one");
    bench.ok("DeleteSecret", json!({"SecretId": "app/db", "RecoveryWindowInDays": 7}));
    bench.advance_days(7);
    assert_eq!(bench.err("DescribeSecret", json!({"SecretId": "app/db"})).0, "ResourceNotFoundException");
    bench.ok("CreateSecret", create);
}

#[test]
fn deletion_takes_a_window_or_force_but_not_both() {
    let mut bench = with_secret();
    for days in [6, 31] {
        let body = json!({"SecretId": "app/db", "RecoveryWindowInDays": days});
        assert_eq!(bench.err("DeleteSecret", body).0, "InvalidParameterException");
    }
    let both = json!({"SecretId": "app/db", "RecoveryWindowInDays": 7, "ForceDeleteWithoutRecovery": true});
    assert_eq!(bench.err("DeleteSecret", both).0, "InvalidParameterException");
    let force = json!({"SecretId": "app/db", "ForceDeleteWithoutRecovery": true});
    bench.ok("DeleteSecret", force.clone());
    bench.ok("DeleteSecret", force);
    assert_eq!(bench.err("DeleteSecret", json!({"SecretId": "app/db"})).0, "ResourceNotFoundException");
}

#[test]
fn lists_are_filtered_sorted_and_paged() {
    let mut bench = Bench::new();
    for (n, name) in ["beta", "alpha", "gamma"].into_iter().enumerate() {
        let tags = json!([{"Key": "team", "Value": name}]);
        let body = json!({
            "Name": name, "Description": format!("About {name}"), "Tags": tags,
            "ClientRequestToken": token(u32::try_from(n).unwrap()),
        });
        bench.ok("CreateSecret", body);
    }
    let mut names = |body: Value| {
        let reply = bench.ok("ListSecrets", body);
        let secrets = reply["SecretList"].as_array().unwrap().clone();
        let names: Vec<_> = secrets.iter().map(|secret| secret["Name"].as_str().unwrap().to_owned()).collect();
        (names, reply.get("NextToken").cloned())
    };
    let filter = |key: &str, value: &str| json!({"Filters": [{"Key": key, "Values": [value]}]});
    assert_eq!(names(json!({})).0, ["beta", "alpha", "gamma"]);
    assert_eq!(names(json!({"SortBy": "name", "SortOrder": "desc"})).0, ["gamma", "beta", "alpha"]);
    assert_eq!(names(filter("name", "al")).0, ["alpha"]);
    assert_eq!(names(filter("name", "AL")).0, [""; 0]);
    assert_eq!(names(filter("name", "!al")).0, ["beta", "gamma"]);
    assert_eq!(names(filter("description", "aBOUT g")).0, ["gamma"]);
    assert_eq!(names(filter("tag-value", "bet")).0, ["beta"]);
    assert_eq!(names(filter("all", "GAMMA about")).0, ["gamma"]);
    let (first, next) = names(json!({"MaxResults": 2}));
    assert_eq!(first.len(), 2);
    assert_eq!(names(json!({"MaxResults": 2, "NextToken": next.unwrap()})), (vec!["gamma".to_owned()], None));
    assert_eq!(bench.err("ListSecrets", json!({"NextToken": "2"})).0, "InvalidNextTokenException");
    assert_eq!(bench.err("ListSecrets", filter("colour", "x")).0, "ValidationException");
}

#[test]
fn a_batch_reports_errors_beside_values() {
    let mut bench = with_secret();
    let reply = bench.ok("BatchGetSecretValue", json!({"SecretIdList": ["app/db", "nothing"]}));
    assert_eq!(reply["SecretValues"][0]["SecretString"], "one");
    assert_eq!(reply["Errors"][0]["ErrorCode"], "ResourceNotFoundException");
    assert_eq!(reply["Errors"][0]["SecretId"], "nothing");
    assert_eq!(bench.err("BatchGetSecretValue", json!({})).0, "InvalidParameterException");
}

#[test]
fn tags_are_added_replaced_and_removed() {
    let mut bench = with_secret();
    let mut tag = |key: &str, value: &str| {
        bench.call("TagResource", json!({"SecretId": "app/db", "Tags": [{"Key": key, "Value": value}]}))
    };
    tag("a", "1").unwrap();
    tag("b", "2").unwrap();
    tag("a", "3").unwrap();
    assert_eq!(tag("aws:x", "1").unwrap_err().error_type, "InvalidParameterException");
    bench.ok("UntagResource", json!({"SecretId": "app/db", "TagKeys": ["b"]}));
    let described = bench.ok("DescribeSecret", json!({"SecretId": "app/db"}));
    assert_eq!(described["Tags"], json!([{"Key": "a", "Value": "3"}]));
}

#[test]
fn requests_of_the_wrong_shape_are_refused_without_quoting_them() {
    let mut bench = with_secret();
    let error = bench.call("PutSecretValue", json!({"SecretId": "app/db", "SecretString": ["hunter2"]})).unwrap_err();
    assert_eq!(error.error_type, "SerializationException");
    assert!(!error.message.contains("hunter2"));
    assert_eq!(bench.err("GetSecretValue", json!({})).0, "ValidationException");
    assert_eq!(bench.err("ReplicateSecretToRegions", json!({})).0, "UnknownOperationException");
}

#[test]
fn uuids_have_version_4_and_the_rfc_variant() {
    let uuid = Bench::new().with_context(|_, context| context.uuid());
    assert_eq!(uuid.len(), 36);
    let fields: Vec<_> = uuid.split('-').collect();
    assert!(fields[2].starts_with('4') && fields[3].starts_with(['8', '9', 'a', 'b']), "{uuid}");
}
