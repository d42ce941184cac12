//! The same operations on moto, an independent implementation: every difference is listed here with a reason, and a
//! listed difference that no longer occurs fails the test as an unlisted one does.
//!
//! moto comes from [`lab::provision::moto`].

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::port::Reserved;
use lab::process::Process;
use lab::secretsmanager::{Consistency, Options, Service};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Sequences of operations to replay, and operations in each. Enough for every listed difference to occur many times.
const SEQUENCES: u64 = 200;
const LENGTH: usize = 25;
const STAGES: [&str; 5] = ["AWSCURRENT", "AWSPREVIOUS", "AWSPENDING", "blue", "green"];

/// A way in which moto differs from the lab.
struct Difference {
    name: &'static str,
    /// Which of the two is right, and by what source.
    reason: &'static str,
    applies: fn(&Observed) -> bool,
}

/// One operation and what it did on both sides.
struct Observed {
    operation: &'static str,
    body: Value,
    lab: Side,
    moto: Side,
    /// The labels that both sides had before.
    before: Labels,
}

#[derive(PartialEq, Debug)]
struct Side {
    error: Option<String>,
    message: String,
    labels: Labels,
    current: Option<String>,
}

type Labels = BTreeMap<String, BTreeSet<String>>;

impl Observed {
    fn puts(&self) -> bool {
        matches!(self.operation, "PutSecretValue" | "UpdateSecret")
    }

    fn moves(&self) -> bool {
        self.operation == "UpdateSecretVersionStage"
    }

    fn same_error_type(&self) -> bool {
        self.lab.error == self.moto.error
    }

    fn holder_before(&self, stage: &str) -> Option<&String> {
        self.before.iter().find(|(_, labels)| labels.contains(stage)).map(|(id, _)| id)
    }

    fn names(&self, member: &str) -> Option<&str> {
        self.body[member].as_str()
    }
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "moto reuses an id of a version that a call already made",
        reason: "lab: PutSecretValue, API reference: 'if the secret data is different, the operation fails because you \
                 cannot modify an existing version'. moto makes an exception of versions under AWSPENDING.",
        applies: |o| {
            o.puts()
                && o.moto.error.is_none()
                && (o.lab.error.as_deref() == Some("ResourceExistsException") || o.lab.labels == o.before)
                && o.names("ClientRequestToken")
                    .is_some_and(|id| o.before.get(id).is_some_and(|labels| labels.contains("AWSPENDING")))
        },
    },
    Difference {
        name: "moto takes all labels from the version that loses AWSCURRENT",
        reason: "lab: only AWSCURRENT moves; 'each staging label can be attached to only one version at a time' and \
                 leaves it by being moved (PutSecretValue, VersionStages). moto overwrites the list with AWSPREVIOUS.",
        applies: |o| {
            o.puts()
                && o.same_error_type()
                && o.holder_before("AWSCURRENT").is_some_and(|id| {
                    let only_previous = BTreeSet::from(["AWSPREVIOUS".to_owned()]);
                    o.moto.labels.get(id) == Some(&only_previous)
                        && o.lab.labels.get(id).is_some_and(|labels| labels.len() > 1)
                })
        },
    },
    Difference {
        name: "moto leaves other labels where they were when AWSCURRENT comes along",
        reason: "lab: 'if you specify a staging label that's already associated with a different version, Secrets \
                 Manager removes the label from the other version' (PutSecretValue, VersionStages). moto does that only \
                 without AWSCURRENT in the list, and then a label is on two versions.",
        applies: |o| {
            o.puts()
                && o.same_error_type()
                && has_label_twice(&o.moto.labels)
                && o.body["VersionStages"]
                    .as_array()
                    .is_some_and(|stages| stages.len() > 1 && stages.contains(&json!("AWSCURRENT")))
        },
    },
    Difference {
        name: "moto keeps AWSPENDING when a new current value is put by hand",
        reason: "lab: public recordings of the live service show the label gone (a manual PutSecretValue clears a \
                 rotation that is stuck; the event is RotationAbandoned).",
        applies: |o| {
            let pending = |labels: &Labels| labels.values().any(|labels| labels.contains("AWSPENDING"));
            o.puts() && o.same_error_type() && pending(&o.moto.labels) && !pending(&o.lab.labels)
        },
    },
    Difference {
        name: "moto loses track of the current version",
        reason: "lab: 'each staging label can be attached to only one version at a time' (UpdateSecretVersionStage). \
                 moto remembers the current version apart from the labels, UpdateSecretVersionStage does not tell it, \
                 and the next PutSecretValue labels a version AWSPREVIOUS that was not current, or leaves AWSCURRENT.",
        applies: |o| o.puts() && o.same_error_type() && has_label_twice(&o.moto.labels),
    },
    Difference {
        name: "moto lets a label be moved without RemoveFromVersionId",
        reason: "lab: 'if the staging label is currently attached to a different version and you do not specify this \
                 parameter, the operation fails' (UpdateSecretVersionStage, RemoveFromVersionId). moto asks for it only \
                 with AWSCURRENT, and otherwise puts the label on two versions.",
        applies: |o| {
            o.moves()
                && o.names("RemoveFromVersionId").is_none()
                && o.lab.error.as_deref() == Some("InvalidParameterException")
                && o.moto.error.is_none()
        },
    },
    Difference {
        name: "moto lets AWSCURRENT be removed from all versions",
        reason: "lab: 'You can only move staging label AWSCURRENT to a different secret version. It can't be completely \
                 removed.' (the live service, quoted in Terraform's AWS provider).",
        applies: |o| {
            o.moves()
                && o.names("VersionStage") == Some("AWSCURRENT")
                && o.names("MoveToVersionId").is_none()
                && o.lab.error.as_deref() == Some("InvalidParameterException")
                && o.moto.error.is_none()
        },
    },
    Difference {
        name: "moto reports an unknown version as a parameter error",
        reason: "unsure: UpdateSecretVersionStage lists ResourceNotFoundException ('can't find the resource that you \
                 asked for'), and no source shows which of the two a version id gives.",
        applies: |o| {
            o.moves()
                && o.lab.error.as_deref() == Some("ResourceNotFoundException")
                && o.moto.error.as_deref() == Some("InvalidParameterException")
        },
    },
    Difference {
        name: "moto moves AWSCURRENT onto its own version as a change",
        reason: "lab: moving a label to where it is changes nothing; moto also moves AWSPREVIOUS.",
        applies: |o| {
            o.moves()
                && o.names("RemoveFromVersionId").is_some()
                && o.names("RemoveFromVersionId") == o.names("MoveToVersionId")
                && o.lab.labels == o.before
        },
    },
    Difference {
        name: "moto lists a label twice on the version that had it already",
        reason: "lab: attaching a label to the version that has it changes nothing; labels are a set.",
        applies: |o| {
            o.moves()
                && o.names("RemoveFromVersionId").is_none()
                && o.names("MoveToVersionId").is_some()
                && o.names("MoveToVersionId")
                    == o.names("VersionStage").and_then(|s| o.holder_before(s)).map(String::as_str)
                && o.lab.labels == o.before
                && o.moto.error.is_none()
        },
    },
    Difference {
        name: "moto insists on RemoveFromVersionId although AWSCURRENT already is there",
        reason: "unsure: the parameter is needed where 'the staging label is currently attached to a different \
                 version'; here it is attached to the same one.",
        applies: |o| {
            o.moves()
                && o.names("RemoveFromVersionId").is_none()
                && o.names("MoveToVersionId").is_some()
                && o.names("MoveToVersionId") == o.holder_before("AWSCURRENT").map(String::as_str)
                && o.lab.error.is_none()
        },
    },
];

/// Whether a label is on two versions, which no state of the service is.
fn has_label_twice(labels: &Labels) -> bool {
    let mut seen = BTreeSet::new();
    !labels.values().flatten().all(|label| seen.insert(label))
}

/// moto on a loopback port of its own.
struct Moto {
    _process: Process,
    url: String,
    _port: Reserved,
}

async fn start_moto() -> Moto {
    let program = tokio::task::spawn_blocking(lab::provision::moto).await.unwrap().unwrap();
    let reserved = Reserved::new().unwrap();
    let port = reserved.number();
    let mut command = Command::new(program);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    let process = Process::spawn(&mut command, Signal::KILL).unwrap();
    let moto = Moto { _process: process, url: format!("http://127.0.0.1:{port}/"), _port: reserved };
    let deadline = Instant::now() + Duration::from_secs(300);
    while reqwest::get(format!("{}moto-api/", moto.url)).await.is_err() {
        assert!(Instant::now() < deadline, "moto_server did not answer within five minutes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    moto
}

/// Calls an operation: the body, and the error's type and message.
async fn call_moto(client: &reqwest::Client, moto: &Moto, operation: &str, body: &Value) -> Value {
    let request = client
        .post(&moto.url)
        .header("Content-Type", "application/x-amz-json-1.1")
        .header("X-Amz-Target", format!("secretsmanager.{operation}"))
        .header(
            "Authorization",
            "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/secretsmanager/aws4_request, \
             SignedHeaders=host, Signature=0",
        )
        .body(body.to_string());
    let bytes = request.send().await.unwrap().bytes().await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

async fn call_lab(service: &Service, operation: &str, body: &Value) -> Value {
    service.call(operation, body.to_string().as_bytes(), Consistency::Strong).await.body
}

/// The labels of a version; one that is listed twice is told apart from one that is listed once.
fn label_set(labels: &[String]) -> BTreeSet<String> {
    let mut set = BTreeSet::new();
    for label in labels {
        if !set.insert(label.clone()) {
            set.insert(format!("{label}, again"));
        }
    }
    set
}

fn side(reply: &Value, described: &Value, read: &Value) -> Side {
    let labels = described["VersionIdsToStages"].as_object().cloned().unwrap_or_default();
    let labels = labels
        .into_iter()
        .map(|(id, labels)| (id, label_set(&serde_json::from_value::<Vec<String>>(labels).unwrap())))
        // moto lists deprecated versions, too: "not included" (DescribeSecret, VersionIdsToStages).
        .filter(|(_, labels)| !labels.is_empty())
        .collect();
    Side {
        error: reply["__type"].as_str().map(str::to_owned),
        message: reply["Message"].as_str().or(reply["message"].as_str()).unwrap_or_default().to_owned(),
        labels,
        current: read["SecretString"].as_str().map(str::to_owned),
    }
}

fn token(n: u32) -> String {
    format!("{n:032}")
}

/// What a rotation does, and a new value after it: chance alone hardly comes by it.
fn promotion(name: &str) -> Vec<(&'static str, Value)> {
    let put = |n, stage| {
        json!({
            "SecretId": name, "ClientRequestToken": token(n), "SecretString": "value 0", "VersionStages": [stage],
        })
    };
    let promote = json!({
        "SecretId": name, "VersionStage": "AWSCURRENT", "RemoveFromVersionId": token(1), "MoveToVersionId": token(2),
    });
    vec![
        ("PutSecretValue", put(2, "blue")),
        ("UpdateSecretVersionStage", promote),
        ("PutSecretValue", put(3, "AWSCURRENT")),
    ]
}

fn random_operation(rng: &mut StdRng, name: &str) -> (&'static str, Value) {
    let mut body = json!({"SecretId": name});
    let version = |rng: &mut StdRng| json!(token(rng.random_range(1..6)));
    match rng.random_range(0..8) {
        0..4 => {
            body["ClientRequestToken"] = version(rng);
            body["SecretString"] = json!(format!("value {}", rng.random_range(0..2)));
            if rng.random_bool(0.2) {
                return ("UpdateSecret", body);
            }
            if rng.random_bool(0.7) {
                let count = rng.random_range(1..3);
                let stages: BTreeSet<_> = (0..count).map(|_| STAGES[rng.random_range(0..STAGES.len())]).collect();
                body["VersionStages"] = json!(stages);
            }
            ("PutSecretValue", body)
        }
        _ => {
            body["VersionStage"] = json!(STAGES[rng.random_range(0..STAGES.len())]);
            for (member, chance) in [("RemoveFromVersionId", 0.6), ("MoveToVersionId", 0.8)] {
                if rng.random_bool(chance) {
                    body[member] = version(rng);
                }
            }
            ("UpdateSecretVersionStage", body)
        }
    }
}

/// Replays one sequence until the two hold different labels or values, and tells all differences up to there.
async fn differences(moto: &Moto, client: &reqwest::Client, seed: u64) -> Vec<Observed> {
    let mut rng = StdRng::seed_from_u64(seed);
    let service = Service::new(Options { seed: Some(seed), ..Options::default() });
    let name = format!("secret-{seed}");
    let create = json!({"Name": name, "SecretString": "value 0", "ClientRequestToken": token(1)});
    call_lab(&service, "CreateSecret", &create).await;
    call_moto(client, moto, "CreateSecret", &create).await;
    let mut before = Labels::from([(token(1), BTreeSet::from(["AWSCURRENT".to_owned()]))]);
    let mut differences = Vec::new();
    let random = (0..LENGTH).map(|_| random_operation(&mut rng, &name));
    let operations: Vec<_> = if seed == 0 { promotion(&name) } else { random.collect() };
    for (operation, body) in operations {
        let (id, current) = (json!({"SecretId": name}), json!({"SecretId": name, "VersionStage": "AWSCURRENT"}));
        let lab = side(
            &call_lab(&service, operation, &body).await,
            &call_lab(&service, "DescribeSecret", &id).await,
            &call_lab(&service, "GetSecretValue", &current).await,
        );
        let other = side(
            &call_moto(client, moto, operation, &body).await,
            &call_moto(client, moto, "DescribeSecret", &id).await,
            &call_moto(client, moto, "GetSecretValue", &current).await,
        );
        let same_state = (&lab.labels, &lab.current) == (&other.labels, &other.current);
        let same_error = lab.error == other.error;
        let after = lab.labels.clone();
        let observed = Observed { operation, body, lab, moto: other, before: std::mem::replace(&mut before, after) };
        if !(same_state && same_error) {
            differences.push(observed);
        }
        if !same_state {
            break;
        }
    }
    differences
}

#[tokio::test]
async fn every_difference_from_moto_is_listed() {
    let moto = start_moto().await;
    let client = reqwest::Client::new();
    let mut seen = BTreeMap::new();
    let mut unlisted = Vec::new();
    for seed in 0..SEQUENCES {
        for observed in differences(&moto, &client, seed).await {
            match DIFFERENCES.iter().find(|difference| (difference.applies)(&observed)) {
                Some(difference) => *seen.entry(difference.name).or_insert(0) += 1,
                None => unlisted.push(format!(
                    "sequence {seed}: {} {}\nbefore: {:?}\nlab:    {:?}\nmoto:   {:?}",
                    observed.operation, observed.body, observed.before, observed.lab, observed.moto
                )),
            }
        }
    }
    assert!(unlisted.is_empty(), "unlisted differences:\n{}", unlisted.join("\n"));
    for difference in DIFFERENCES {
        assert!(seen.contains_key(difference.name), "no longer occurs: {} ({})", difference.name, difference.reason);
    }
}
