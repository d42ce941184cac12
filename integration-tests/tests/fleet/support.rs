//! Fleets for tests.

use lab::build::{Profile, binary};
use lab::fleet::{Execution, FleetLab};
use lab::load::{Engine, FleetPlan, Functions, Kind, Strategy};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::OnceCell;

pub(super) const POSTGRES: Kind = Kind { engine: Engine::Postgres, strategy: Strategy::SingleUser };
pub(super) const PAIR: Kind = Kind { engine: Engine::Postgres, strategy: Strategy::AlternatingUsers };
pub(super) const MYSQL: Kind = Kind { engine: Engine::Mysql, strategy: Strategy::SingleUser };
pub(super) const DUAL: Kind = Kind { engine: Engine::Mysql, strategy: Strategy::DualPassword };
pub(super) const KEY: Kind = Kind { engine: Engine::ApiKey, strategy: Strategy::TwoKeys };

/// What hangs is cut off.
const LIMIT: Duration = Duration::from_secs(900);

async fn built(package: &'static str) -> std::path::PathBuf {
    binary(package, Profile::Release).await.expect("the function is built")
}

async fn functions() -> &'static (Functions, std::path::PathBuf) {
    static BUILT: OnceCell<(Functions, std::path::PathBuf)> = OnceCell::const_new();
    BUILT
        .get_or_init(async || {
            let mut functions = Functions::new();
            for package in ["lockstep-postgres", "lockstep-mysql", "lockstep-api-key"] {
                functions.insert(package, built(package).await);
            }
            (functions, built("lockstep-fleet").await)
        })
        .await
}

/// A fleet of so many secrets of these kinds, in turn.
pub(super) async fn fleet(secrets: usize, kinds: &[Kind], writes: u32, settings: &[(&str, &str)]) -> FleetLab {
    let (functions, fleet) = functions().await;
    let plan = FleetPlan { secrets, concurrency: 1, writes_per_second: writes, kinds: kinds.to_vec() };
    FleetLab::start(&plan, functions, fleet, settings).await.expect("the fleet starts")
}

/// An order for all secrets that a function rotates, with waves at once after one another.
pub(super) fn order(name: &str, more: Value) -> Value {
    let mut order = json!({
        "run": true,
        "name": name,
        "why": "a test",
        "select": {"names": ["load/*"]},
        "waves": {"canary": "5%", "growth": 4, "pauseSeconds": 0},
        "pace": {"perSecond": 25, "perHost": 4},
        "patienceSeconds": 30,
    });
    for (key, value) in more.as_object().expect("an object") {
        order[key] = value.clone();
    }
    order
}

/// The same order, for an execution that goes on with the run.
pub(super) fn again(order: &Value) -> Value {
    let mut order = order.clone();
    order["continue"] = json!(true);
    order
}

/// Runs an execution to its end.
pub(super) async fn run(fleet: &FleetLab, execution: &str, order: &Value) -> Execution {
    let arn = fleet.execute(execution, order).await.expect("it starts");
    fleet.ended(&arn, LIMIT).await.expect("it ends")
}

/// The version of a secret that has a label.
pub(super) async fn version(fleet: &FleetLab, secret: &str, label: &str) -> Option<String> {
    let labels = fleet.lab().labels(secret).await.expect("it is described");
    let versions = labels.as_object().cloned().unwrap_or_default();
    let has = |labels: &Value| labels.as_array().is_some_and(|labels| labels.iter().any(|it| it == label));
    versions.into_iter().find(|(_, labels)| has(labels)).map(|(version, _)| version)
}

/// How often RotateSecret's createSecret has made a version of each secret: the versions beside the first one.
pub(super) async fn versions(fleet: &FleetLab, secret: &str) -> usize {
    let request = json!({"SecretId": secret, "IncludeDeprecated": true});
    let listed = fleet.lab().call("ListSecretVersionIds", request).await.expect("it is listed");
    listed["Versions"].as_array().map_or(0, Vec::len)
}

/// The value with which each secret begins.
pub(super) async fn values(fleet: &FleetLab) -> Vec<(String, Kind, String)> {
    let mut values = Vec::new();
    for (secret, kind) in fleet.secrets() {
        let value = fleet.lab().secret_value(secret, "AWSCURRENT").await.expect("it is read");
        values.push((secret.to_owned(), kind, value));
    }
    values
}
