//! Which secrets are meant.

use super::invalid::invalid;
use super::member::Member;
use rotation::error::Result;
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
    /// [`Code::OrderInvalid`](rotation::error::Code::OrderInvalid).
    pub fn check(&self) -> Result<()> {
        if (Self { except: Vec::new(), ..self.clone() }) == Self::default() {
            let expected = "at least one criterion; {\"names\": [\"*\"]} selects all secrets";
            return Err(invalid("select", "no criterion", expected));
        }
        // What looks like a pattern and is none would leave nothing out.
        let inside = |pattern: &String| pattern.trim_end_matches('*').contains('*') || pattern.ends_with("**");
        if self.names.iter().chain(&self.except).any(inside) || self.secrets.iter().any(|one| one.contains('*')) {
            let expected = "an asterisk at the end alone; in secrets none";
            return Err(invalid("select", "an asterisk at another place", expected));
        }
        Ok(())
    }

    /// The entries of `secrets` that stand for none of these secrets, which were selected: nobody rotates what they mean.
    pub fn missing(&self, selected: &[Member]) -> Vec<String> {
        unmatched(&self.secrets, selected)
    }

    /// The entries of `except` that stand for none of these secrets, which are all: what they mean may be rotated.
    pub fn excepted_nobody(&self, all: &[Member]) -> Vec<String> {
        unmatched(&self.except, all)
    }

    /// Whether a secret's value has to be read to decide.
    pub fn reads_values(&self) -> bool {
        !self.hosts.is_empty() || !self.databases.is_empty()
    }

    /// The first criterion that the secret does not meet, of those that need no value, in a word; `None` if it meets all. `own` says whether a version is one that the run itself has made: a run
    /// that goes on does not lose the secrets that it has rotated.
    pub fn unmet(&self, member: &Member, now: u64, own: impl Fn(&Member) -> bool) -> Option<&'static str> {
        let any = |list: &[String], test: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|one| test(one));
        let function = |wanted: &str| wanted == member.function || Some(wanted) == name_of(&member.function);
        let old =
            |days: u64| member.changed.is_some_and(|changed| now.saturating_sub(changed) > days.saturating_mul(86_400));
        let tagged =
            |(key, value): (&String, &String)| member.tags.get(key).is_some_and(|it| value.is_empty() || it == value);
        let named =
            any(&self.secrets, &|wanted| is_named(member, wanted)) && any(&self.names, &|it| is_named(member, it));
        let unmet = [
            (named, "name"),
            (any(&self.functions, &function), "function"),
            (any(&self.owners, &|owner| member.tags.get(OWNER).is_some_and(|it| it == owner)), "owner"),
            (self.tags.iter().all(tagged), "tag"),
            (self.older_than_days.is_none_or(|days| old(days) || own(member)), "age"),
            (!self.except.iter().any(|pattern| is_named(member, pattern)), "excepted"),
        ];
        unmet.into_iter().find(|(met, _)| !met).map(|(_, word)| word)
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

fn unmatched(entries: &[String], members: &[Member]) -> Vec<String> {
    let known = |entry: &&String| members.iter().any(|member| is_named(member, entry));
    entries.iter().filter(|entry| !known(entry)).cloned().collect()
}

/// Whether a name or an ARN, with an asterisk at its end or without, means this secret. An ARN may lack the six random characters, as in
/// AWS's own API.
fn is_named(member: &Member, pattern: &str) -> bool {
    let whole = if pattern.starts_with("arn:") { &member.arn } else { &member.name };
    match pattern.strip_suffix('*') {
        Some(start) => whole.starts_with(start),
        None => {
            let partial =
                |arn: &str| arn.rsplit_once('-').is_some_and(|(arn, random)| random.len() == 6 && arn == pattern);
            whole == pattern || pattern.starts_with("arn:") && partial(whole)
        }
    }
}

/// The name in the ARN of a function, with an alias or a version behind it or without.
fn name_of(function: &str) -> Option<&str> {
    function.split(':').nth(6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::member::{Facts, Rules};

    const DAY: u64 = 86_400;

    fn member() -> Member {
        Member {
            labels: BTreeMap::new(),
            arn: "arn:aws:secretsmanager:us-east-1:1:secret:shop/orders-AbCdEf".to_owned(),
            name: "shop/orders".to_owned(),
            function: "arn:aws:lambda:us-east-1:1:function:lockstep-postgres".to_owned(),
            enabled: true,
            tags: [("env".to_owned(), "prod".to_owned()), (OWNER.to_owned(), "anna".to_owned())].into(),
            changed: Some(100 * DAY),
            versions: Vec::new(),
            rules: Rules::default(),
            value: Some(Facts { host: "db1".to_owned(), database: "orders".to_owned(), ..Facts::default() }),
        }
    }

    #[test]
    fn each_criterion_selects_and_leaves_out() {
        let select = |json: &str| serde_json::from_str::<Select>(json).unwrap();
        let meets = |select: &Select| {
            select.unmet(&member(), 131 * DAY, |_| false).is_none() && select.meets_by_value(&member())
        };
        for (yes, no) in [
            (r#"{"secrets":["shop/orders"]}"#, r#"{"secrets":["shop"]}"#),
            (r#"{"names":["shop/*"]}"#, r#"{"names":["shops/*"]}"#),
            (r#"{"names":["*"]}"#, r#"{"names":["*"],"except":["shop/*"]}"#),
            (r#"{"names":["arn:aws:secretsmanager:us-east-1:1:secret:shop/*"]}"#, r#"{"names":["arn:aws:x*"]}"#),
            (
                r#"{"secrets":["arn:aws:secretsmanager:us-east-1:1:secret:shop/orders"]}"#,
                r#"{"secrets":["arn:aws:secretsmanager:us-east-1:1:secret:shop/order"]}"#,
            ),
            (r#"{"names":["*"]}"#, r#"{"names":["*"],"except":["arn:aws:secretsmanager:us-east-1:1:secret:shop/*"]}"#),
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
        let unread = Member { value: None, ..member() };
        assert!(!select(r#"{"hosts":["db1"]}"#).meets_by_value(&unread));
    }

    #[test]
    fn a_function_with_an_alias_has_its_name() {
        let aliased = Member { function: member().function + ":live", ..member() };
        let select = |name: &str| Select { functions: vec![name.to_owned()], ..Select::default() };
        assert_eq!(select("lockstep-postgres").unmet(&aliased, 0, |_| false), None);
        assert_eq!(select("live").unmet(&aliased, 0, |_| false), Some("function"));
    }

    #[test]
    fn what_is_named_and_not_there_is_told() {
        let select = r#"{"secrets":["shop/orders","shop/ordres"],"except":["billing/*"]}"#;
        let select: Select = serde_json::from_str(select).unwrap();
        assert_eq!(select.missing(&[member()]), ["shop/ordres"]);
        assert_eq!(select.excepted_nobody(&[member()]), ["billing/*"]);
    }

    #[test]
    fn an_age_does_not_exclude_what_the_run_itself_rotated() {
        let select: Select = serde_json::from_str(r#"{"names":["*"],"olderThanDays":30}"#).unwrap();
        assert_eq!(select.unmet(&member(), 101 * DAY, |_| false), Some("age"));
        assert_eq!(select.unmet(&member(), 101 * DAY, |_| true), None);
    }

    #[test]
    fn nothing_is_selected_by_an_oversight() {
        assert!(Select::default().check().is_err());
        assert!(Select { except: vec!["a".to_owned()], ..Select::default() }.check().is_err());
        assert!(serde_json::from_str::<Select>(r#"{"name":["a"]}"#).is_err(), "a misspelt criterion");
    }
}
