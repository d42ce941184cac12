//! Which server RDS manages a superuser's secret for, by the secret's tags.

use super::server::Arn;
use crate::error::{Code, Error, Fact, Result};
use std::collections::HashMap;

/// The servers in the tags of a secret that RDS manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ManagedServer {
    /// The server that the secret is for.
    One(Arn),
    /// More than one: none of them counts.
    Several(Vec<Arn>),
}

/// The instance or the cluster that RDS manages a secret for, by the secret's tags; `None` if it does not manage it.
pub(crate) fn managed_for(tags: &HashMap<String, String>) -> Option<ManagedServer> {
    let mut arns: Vec<_> =
        tags.iter().filter(|(key, _)| names_a_server(key)).filter_map(|(_, arn)| Arn::of(arn)).collect();
    if arns.len() > 1 {
        arns.sort_by(|one, other| one.text.cmp(&other.text));
        return Some(ManagedServer::Several(arns));
    }
    arns.pop().map(ManagedServer::One)
}

/// Whether RDS wrote a tag. AWS documents the prefix in lower case as reserved, and says nothing of other cases. In the rest of the
/// key, AWS's own rotation functions ignore the case.
fn names_a_server(key: &str) -> bool {
    let is =
        |rest: &str| ["primarydbinstancearn", "primarydbclusterarn"].iter().any(|it| rest.eq_ignore_ascii_case(it));
    key.strip_prefix("aws:rds:").is_some_and(is)
}

impl ManagedServer {
    /// The server, if there is exactly one.
    pub(super) fn server(&self) -> Result<&Arn> {
        match self {
            Self::One(arn) => Ok(arn),
            Self::Several(arns) => {
                let arns: Vec<_> = arns.iter().map(|arn| arn.text.as_str()).collect();
                let error = Error::new(Code::SuperuserMismatch).with(Fact::Found, arns.join(" and "));
                Err(error.with(Fact::Expected, "one tag of RDS").with(Fact::What, "the superuser secret's tags"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::rds::server::ServerId;
    use crate::aws::rds::server::tests::arn;

    #[test]
    fn a_secret_is_managed_for_what_its_tag_names() {
        let tagged = |key: &str, arn: &str| managed_for(&HashMap::from([(key.to_owned(), arn.to_owned())]));
        let (db, cluster) = ("aws:rds:primaryDBInstanceArn", "aws:rds:primarydbclusterarn");
        let text = |rest: &str| format!("arn:aws:rds:eu-central-1:123456789012:{rest}");
        let found = tagged(db, &text("db:Orders"));
        assert_eq!(found, Some(ManagedServer::One(arn("db:orders"))));
        assert_eq!(arn("db:orders").name, ServerId::Instance("orders".to_owned()));
        assert_eq!(tagged(cluster, &text("cluster:orders")), Some(ManagedServer::One(arn("cluster:orders"))));
        assert_eq!(arn("cluster:orders").name, ServerId::Cluster("orders".to_owned()));
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
}
