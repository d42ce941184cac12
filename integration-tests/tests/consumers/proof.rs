//! No query fails while secrets rotate, as `cargo lab consumers` shows it, on a small scale.

use integration_tests::{Server as _, issuer};
use lab::consumers::{Adapter, Plan, Runtimes, run};
use lab::load::{Engine, Kind, Strategy};
use lab::servers::mysql::MySql;
use lab::servers::postgres::Postgres;
use std::path::PathBuf;
use std::time::Duration;

const PLAN: Plan = Plan { times: 3, workers: 2, trouble: true, every: Duration::ZERO, seed: 4711 };
/// A single user's rotation takes a fraction of a second. What is longer by far is a wait for a time limit.
const LONGEST: f64 = 10_000.0;

async fn no_query_fails(engine: Engine, function: PathBuf) {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.engine == engine) {
        let summary = run(kind, &function, PLAN, None, &|_, _| {}).await.expect("it is measured");
        assert_eq!((&summary.problems, summary.rotations), (&vec![], 3), "{kind}");
        // The same rotations do refuse an application that keeps its password, where the strategy ends that.
        let refused = if kind.strategy == Strategy::SingleUser { 3 } else { 0 };
        assert_eq!(summary.refused_without, refused, "{kind}");
        assert!(summary.troubles.ways > 0 && summary.troubles.calls > 0, "{kind}: {:?}", summary.troubles);
        assert_eq!(summary.rows.len(), 2 * Adapter::of(engine).len());
        for row in &summary.rows {
            assert!(row.queries > 3 && row.failed == 0, "{kind}: {row:?}");
            assert!(row.wait_milliseconds.longest < LONGEST, "{kind}: {row:?}");
            assert!(row.counts.changes > 0, "{kind}: it saw no rotation: {row:?}");
            // Only what reads nothing by itself is refused by a strategy that keeps the previous credential.
            if kind.strategy.keeps_previous() && !row.refreshing {
                assert!(row.counts.refused_logins > 0, "{kind}: {row:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_fails_on_postgresql() {
    no_query_fails(Engine::Postgres, Postgres::function().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_fails_on_mysql() {
    no_query_fails(Engine::Mysql, MySql::function().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_fails_on_mariadb() {
    no_query_fails(Engine::Mariadb, MySql::function().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_with_an_api_key() {
    no_query_fails(Engine::ApiKey, issuer::function().await).await;
}

/// The examples in `examples/consumers`, in Python and, where Node is here, in JavaScript.
async fn no_query_of_an_example_fails(kind: Kind, function: PathBuf) {
    let runtimes = tokio::task::spawn_blocking(Runtimes::obtain).await.expect("no panic").expect("they are here");
    let plan = Plan { workers: 1, trouble: false, ..PLAN };
    let summary = run(kind, &function, plan, Some(&runtimes), &|_, _| {}).await.expect("it is measured");
    assert_eq!((&summary.problems, summary.rotations), (&vec![], 3), "{kind}");
    let in_python = if kind.engine == Engine::Postgres { 2 } else { 1 };
    let in_node = if runtimes.has_node() { 1 } else { 0 };
    assert_eq!(summary.programs.len(), in_python + in_node, "{kind}");
    for row in &summary.programs {
        assert!(row.ours && row.seen.queries > 10 && row.seen.failed == 0, "{kind}: {row:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_of_an_example_fails_on_postgresql() {
    let kind = Kind { engine: Engine::Postgres, strategy: Strategy::SingleUser };
    no_query_of_an_example_fails(kind, Postgres::function().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_of_an_example_fails_on_mysql() {
    let kind = Kind { engine: Engine::Mysql, strategy: Strategy::SingleUser };
    no_query_of_an_example_fails(kind, MySql::function().await).await;
}
