//! Under the service's limits, and two runs at once.

use super::support::{DUAL, PAIR, POSTGRES, fleet, order, run, versions};
use serde_json::json;

/// Ten writes a second are enough for five rotations a second; the run asks for 25.
#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_run_rotates_all() {
    let fleet = fleet(24, &[POSTGRES], 10, &[]).await;
    let order = order(
        "throttled",
        json!({"waves": {"canary": "100%", "pauseSeconds": 0}, "pace": {"perHost": 12, "perSecond": 25}}),
    );
    let ended = run(&fleet, "one", &order).await;
    assert_eq!(ended.answer["tally"], json!({"rotated": 24}), "{:?}", ended.answer);
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_rotate_each_secret_once_each() {
    let fleet = fleet(9, &[POSTGRES, PAIR, DUAL], 50, &[]).await;
    let (one, other) = (order("one", json!({})), order("other", json!({})));
    let (one, other) = tokio::join!(run(&fleet, "one", &one), run(&fleet, "other", &other));
    for ended in [&one, &other] {
        assert_eq!(ended.status, "SUCCEEDED", "{:?}", ended.answer);
    }
    for (secret, kind) in fleet.secrets() {
        let value = fleet.lab().secret_value(secret, "AWSCURRENT").await.unwrap();
        assert!(fleet.opens(kind, &value).await.unwrap(), "{secret}");
        assert_eq!(versions(&fleet, secret).await, 3, "{secret}: once by each run");
    }
    fleet.shutdown().await;
}
