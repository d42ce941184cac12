//! Rotations under load, as `cargo lab load` measures them, on a small scale.

use integration_tests::{Server as _, issuer};
use lab::load::{
    Answer, Consumer, Consumption, Engine, FleetPlan, Functions, Kind, Record, Strategy, consume, rotate_fleet,
};
use lab::servers::mysql::MySql;
use lab::servers::postgres::Postgres;

const PLAN: Consumption = Consumption { times: 3, logins_per_second: 100 };

async fn record(strategy: Strategy) -> (Kind, Record) {
    let kind = Kind { engine: Engine::Mysql, strategy };
    (kind, consume(kind, &MySql::function().await, PLAN, &|_, _| {}).await.expect("it is measured"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_login_is_refused_while_a_dual_password_rotates() {
    let (kind, record) = record(Strategy::DualPassword).await;
    let summary = record.summary(kind);
    assert_eq!((summary.problems, summary.window, summary.rotations), (vec![], None, 3));
    for count in [summary.rereading, summary.keeping] {
        // For 600 ms of pauses alone 60 logins are planned; a busy machine does fewer.
        assert!(count.accepted > 10 && count.refused == 0, "{count:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_user_s_window_is_seen_and_would_be_a_problem_elsewhere() {
    let (kind, record) = record(Strategy::SingleUser).await;
    let summary = record.summary(kind);
    assert_eq!(summary.problems, Vec::<String>::new());
    assert!(summary.keeping.refused > 0, "{:?}", summary.keeping);
    let window = summary.window.expect("a single user has one");
    // A login that is refused began no earlier than the password changed, less the time of a login.
    assert!(window.milliseconds.longest <= summary.rotation_milliseconds.longest + 1_000.0, "{window:?}");
    let elsewhere = record.summary(Kind { strategy: Strategy::DualPassword, ..kind });
    assert!(elsewhere.problems.iter().any(|problem| problem.contains("refused")), "{:?}", elsewhere.problems);
    // The old password opens nothing from the end of setSecret on, and is kept until the next rotation begins.
    for [_, (_, set), _, (_, finish)] in &record.rotations {
        let kept = record.logins.iter().filter(|login| login.consumer == Consumer::Keeping);
        let between = kept.filter(|login| login.began > *set && login.ended < *finish);
        assert_eq!(between.filter(|login| login.answer != Answer::Refused).count(), 0);
    }
}

/// The service allows four writes a second, and eight secrets that rotate at a time need sixteen at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_the_service_throttles_is_rotated_all_the_same() {
    let functions = Functions::from([
        (Engine::Postgres.function(), Postgres::function().await),
        (Engine::ApiKey.function(), issuer::function().await),
    ]);
    let kinds = Kind::ALL.into_iter().filter(|kind| functions.contains_key(kind.engine.function())).collect();
    let plan = FleetPlan { secrets: 12, concurrency: 8, writes_per_second: 4, kinds };
    let fleet = rotate_fleet(&plan, &functions, &|_, _| {}).await.expect("it is rotated");
    assert_eq!((fleet.problems, fleet.rotated), (vec![], 12));
    assert!(fleet.throttled.values().sum::<u64>() > 0, "nothing was throttled: {:?}", fleet.throttled);
    assert!(fleet.processes > 1 && fleet.lab_memory.is_some());
    assert_eq!(fleet.step_milliseconds.len(), 4);
    assert_eq!(fleet.function_memory.keys().collect::<Vec<_>>(), ["lockstep-api-key", "lockstep-postgres"]);
}
