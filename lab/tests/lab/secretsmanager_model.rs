//! The label rules against a model of them that was written separately: after every operation the labels are the same,
//! and so is whether the operation was refused.

use std::collections::{BTreeMap, BTreeSet};

use lab::secretsmanager::{Consistency, Options, Service};
use proptest::prelude::*;
use serde_json::json;

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";
const PENDING: &str = "AWSPENDING";
const STAGES: [&str; 5] = [CURRENT, PREVIOUS, PENDING, "blue", "green"];

/// An operation on one secret; versions and labels by number.
#[derive(Clone, Debug)]
enum Op {
    Put { version: u8, value: u8, stages: Option<BTreeSet<usize>> },
    Update { version: u8, value: u8 },
    Move { stage: usize, from: Option<u8>, to: Option<u8> },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let version = || 1..6_u8;
    let stages = proptest::option::of(proptest::collection::btree_set(0..STAGES.len(), 1..4));
    let op = prop_oneof![
        3 => (version(), 0..2_u8, stages).prop_map(|(version, value, stages)| Op::Put { version, value, stages }),
        1 => (version(), 0..2_u8).prop_map(|(version, value)| Op::Update { version, value }),
        4 => (0..STAGES.len(), proptest::option::of(version()), proptest::option::of(version()))
            .prop_map(|(stage, from, to)| Op::Move { stage, from, to }),
    ];
    proptest::collection::vec(op, 1..25)
}

/// The reference: where each label is, and what each version holds.
#[derive(Default)]
struct Model {
    labels: BTreeMap<&'static str, u8>,
    values: BTreeMap<u8, u8>,
}

impl Model {
    fn apply(&mut self, op: &Op) -> Result<(), &'static str> {
        match op {
            Op::Put { version, value, stages } => {
                let stages = stages.as_ref().map(|stages| stages.iter().map(|stage| STAGES[*stage]).collect());
                self.put(*version, *value, &stages.unwrap_or_else(|| vec![CURRENT]))
            }
            Op::Update { version, value } => self.put(*version, *value, &[CURRENT]),
            Op::Move { stage, from, to } => self.relocate(STAGES[*stage], *from, *to),
        }
    }

    fn put(&mut self, version: u8, value: u8, stages: &[&'static str]) -> Result<(), &'static str> {
        if let Some(known) = self.values.get(&version) {
            return if *known == value { Ok(()) } else { Err("ResourceExistsException") };
        }
        let first = self.values.is_empty();
        self.values.insert(version, value);
        let takes_current = first || stages.contains(&CURRENT);
        if takes_current && !stages.contains(&PENDING) {
            self.labels.remove(PENDING);
        }
        self.labels.extend(stages.iter().filter(|stage| **stage != CURRENT).map(|stage| (*stage, version)));
        if takes_current {
            self.make_current(version);
        }
        Ok(())
    }

    fn make_current(&mut self, version: u8) {
        if let Some(demoted) = self.labels.insert(CURRENT, version).filter(|demoted| *demoted != version) {
            self.labels.insert(PREVIOUS, demoted);
        }
    }

    fn relocate(&mut self, stage: &'static str, from: Option<u8>, to: Option<u8>) -> Result<(), &'static str> {
        if [from, to].into_iter().flatten().any(|version| !self.values.contains_key(&version)) {
            return Err("ResourceNotFoundException");
        }
        let holder = self.labels.get(stage).copied();
        let wrong_holder = from.is_some() && from != holder;
        let unnamed_holder = from.is_none() && to.is_some() && holder.is_some() && holder != to;
        let nowhere = to.is_none() && (from.is_none() || stage == CURRENT);
        if wrong_holder || unnamed_holder || nowhere {
            return Err("InvalidParameterException");
        }
        match to {
            None => drop(self.labels.remove(stage)),
            Some(to) if stage == CURRENT => self.make_current(to),
            Some(to) => drop(self.labels.insert(stage, to)),
        }
        Ok(())
    }

    fn by_version(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut by_version: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (label, version) in &self.labels {
            by_version.entry(token(*version)).or_default().insert((*label).to_owned());
        }
        by_version
    }
}

fn token(version: u8) -> String {
    format!("{version:032}")
}

fn request(op: &Op) -> (&'static str, serde_json::Value) {
    match op {
        Op::Put { version, value, stages } => {
            let mut body = json!({
                "SecretId": "s", "ClientRequestToken": token(*version), "SecretString": format!("value {value}"),
            });
            if let Some(stages) = stages {
                body["VersionStages"] = stages.iter().map(|stage| STAGES[*stage]).collect();
            }
            ("PutSecretValue", body)
        }
        Op::Update { version, value } => {
            let value = format!("value {value}");
            let body = json!({"SecretId": "s", "ClientRequestToken": token(*version), "SecretString": value});
            ("UpdateSecret", body)
        }
        Op::Move { stage, from, to } => {
            let mut body = json!({"SecretId": "s", "VersionStage": STAGES[*stage]});
            if let Some(from) = from {
                body["RemoveFromVersionId"] = json!(token(*from));
            }
            if let Some(to) = to {
                body["MoveToVersionId"] = json!(token(*to));
            }
            ("UpdateSecretVersionStage", body)
        }
    }
}

/// Runs the operations on both and compares after each.
fn compare(ops: &[Op]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let service = Service::new(Options { seed: Some(0), ..Options::default() });
    let call = |operation: &str, body: &serde_json::Value| {
        runtime.block_on(service.call(operation, body.to_string().as_bytes(), Consistency::Strong))
    };
    let created = call("CreateSecret", &json!({"Name": "s", "ClientRequestToken": token(0)}));
    assert_eq!(created.error_type, None);
    let mut model = Model::default();
    for op in ops {
        let (operation, body) = request(op);
        let reply = call(operation, &body);
        let expected = model.apply(op).err();
        assert_eq!(reply.error_type.as_deref(), expected, "{op:?}: {}", reply.body);
        let mut labels = service.labels("s").unwrap();
        labels.retain(|_, labels| !labels.is_empty());
        assert_eq!(labels, model.by_version(), "after {op:?}");
        let current = call("GetSecretValue", &json!({"SecretId": "s"}));
        let held = model.labels.get(CURRENT).map(|version| format!("value {}", model.values[version]));
        assert_eq!(current.body["SecretString"].as_str(), held.as_deref(), "after {op:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn labels_follow_the_model(ops in ops()) {
        compare(&ops);
    }
}

/// Shrunk: the reference had forgotten AWSPREVIOUS.
#[test]
fn regression_a_second_put_demotes_the_first() {
    let put = |version| Op::Put { version, value: 0, stages: None };
    compare(&[put(1), put(2)]);
}
