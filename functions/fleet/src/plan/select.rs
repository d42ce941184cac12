//! Which secrets are meant.

use super::member::Member;
use rotation::error::{Code, Error, Fact, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The tag that names a secret's owner.
pub const OWNER: &str = "lockstep:owner";

/// Criteria. A secret is selected if it meets all of those that are given, and no name in `except`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Select {
    /// ARNs or names of secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Names, with `*` at the end for all that begin so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// ARNs or names of functions that rotate the secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
    /// Tags with their values. An empty value stands for any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Owners: values of the tag `lockstep:owner`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
    /// Hosts of databases, or names of issuers. The values of all other selected secrets are read for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Names of databases, likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<String>,
    /// The value has been the same for more than so many days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_than_days: Option<u64>,
    /// Names or ARNs that are left out, with `*` at the end for all that begin so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

impl Select {
    /// Whether it selects by anything. Everything is selected by the name `*`, and not by an oversight.
    ///
    /// # Errors
    /// [`Code::FieldMissing`].
    pub fn check(&self) -> Result<()> {
        if (Self { except: Vec::new(), ..self.clone() }) == Self::default() {
            let error = Error::new(Code::FieldMissing).with(Fact::Field, "select");
            return Err(error.with(Fact::Expected, "at least one criterion; {\"names\": [\"*\"]} selects all secrets"));
        }
        Ok(())
    }

    /// Whether a secret's value has to be read to decide.
    pub fn reads_values(&self) -> bool {
        !self.hosts.is_empty() || !self.databases.is_empty()
    }

    /// Whether the secret meets the criteria that need no value. Only secrets that a function rotates can be selected.
    pub fn meets(&self, member: &Member, now: u64) -> bool {
        let any = |list: &[String], test: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|one| test(one));
        let same = |wanted: &str| wanted == member.arn || wanted == member.name;
        let named = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => member.name.starts_with(start),
            None => same(pattern),
        };
        let function = |wanted: &str| wanted == member.function || member.function.rsplit(':').next() == Some(wanted);
        let old =
            |days: u64| member.changed.is_some_and(|changed| now.saturating_sub(changed) > days.saturating_mul(86_400));
        !member.function.is_empty()
            && any(&self.secrets, &same)
            && any(&self.names, &named)
            && any(&self.functions, &function)
            && any(&self.owners, &|owner| member.tags.get(OWNER).is_some_and(|it| it == owner))
            && self
                .tags
                .iter()
                .all(|(key, value)| member.tags.get(key).is_some_and(|it| value.is_empty() || it == value))
            && self.older_than_days.is_none_or(old)
            && !self.except.iter().any(|pattern| named(pattern))
    }

    /// Whether the secret's value meets the other criteria. A value that could not be read meets none.
    pub fn meets_by_value(&self, member: &Member) -> bool {
        let facts = member.value.as_ref();
        let has = |list: &[String], value: Option<&str>| {
            list.is_empty() || value.is_some_and(|value| list.iter().any(|one| one.eq_ignore_ascii_case(value)))
        };
        has(&self.hosts, facts.map(|facts| facts.host.as_str()))
            && has(&self.databases, facts.map(|facts| facts.database.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::member::Facts;

    const DAY: u64 = 86_400;

    fn member() -> Member {
        Member {
            arn: "arn:aws:secretsmanager:us-east-1:1:secret:shop/orders-AbCdEf".to_owned(),
            name: "shop/orders".to_owned(),
            function: "arn:aws:lambda:us-east-1:1:function:lockstep-postgres".to_owned(),
            enabled: true,
            tags: [("env".to_owned(), "prod".to_owned()), (OWNER.to_owned(), "anna".to_owned())].into(),
            changed: Some(100 * DAY),
            value: Some(Facts { host: "db1".to_owned(), database: "orders".to_owned(), ..Facts::default() }),
        }
    }

    #[test]
    fn each_criterion_selects_and_leaves_out() {
        let select = |json: &str| serde_json::from_str::<Select>(json).unwrap();
        let meets = |select: &Select| select.meets(&member(), 131 * DAY) && select.meets_by_value(&member());
        for (yes, no) in [
            (r#"{"secrets":["shop/orders"]}"#, r#"{"secrets":["shop"]}"#),
            (r#"{"names":["shop/*"]}"#, r#"{"names":["shops/*"]}"#),
            (r#"{"names":["*"]}"#, r#"{"names":["*"],"except":["shop/*"]}"#),
            (r#"{"functions":["lockstep-postgres"]}"#, r#"{"functions":["postgres"]}"#),
            (r#"{"tags":{"env":"prod"}}"#, r#"{"tags":{"env":"test"}}"#),
            (r#"{"tags":{"env":""}}"#, r#"{"tags":{"stage":""}}"#),
            (r#"{"owners":["anna"]}"#, r#"{"owners":["ben"]}"#),
            (r#"{"hosts":["DB1"]}"#, r#"{"hosts":["db2"]}"#),
            (r#"{"databases":["orders"]}"#, r#"{"databases":["order"]}"#),
            (r#"{"olderThanDays":30}"#, r#"{"olderThanDays":31}"#),
            (r#"{"names":["shop/*"],"owners":["anna"]}"#, r#"{"names":["shop/*"],"owners":["ben"]}"#),
        ] {
            assert!(meets(&select(yes)), "{yes}");
            assert!(!meets(&select(no)), "{no}");
        }
        let unrotated = Member { function: String::new(), ..member() };
        assert!(!select(r#"{"names":["*"]}"#).meets(&unrotated, 0));
        let unread = Member { value: None, ..member() };
        assert!(!select(r#"{"hosts":["db1"]}"#).meets_by_value(&unread));
    }

    #[test]
    fn nothing_is_selected_by_an_oversight() {
        assert!(Select::default().check().is_err());
        assert!(Select { except: vec!["a".to_owned()], ..Select::default() }.check().is_err());
        assert!(serde_json::from_str::<Select>(r#"{"name":["a"]}"#).is_err(), "a misspelt criterion");
    }
}
