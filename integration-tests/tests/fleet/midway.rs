//! What happens to a run from outside while it runs: its window closes, and a secret is deleted.

use super::support::{POSTGRES, again, fleet, order, run, versions};
use lab::fleet::FleetLab;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// What the state machine does with a lane, until it ends.
async fn lane(fleet: &FleetLab, mut lane: Value) -> Value {
    for _ in 0..100 {
        lane = fleet.ask(&json!({"Step": "fleet", "Do": "lane", "Lane": lane})).await.unwrap();
        match lane["doing"].as_str().unwrap() {
            "ask" => {
                lane["answer"] = fleet
                    .ask_function(lane["ask"]["function"].as_str().unwrap(), &lane["ask"]["payload"])
                    .await
                    .unwrap()
            }
            "wait" => tokio::time::sleep(Duration::from_secs(lane["seconds"].as_u64().unwrap())).await,
            "end" => return lane,
            _ => {}
        }
    }
    panic!("the lane does not end: {lane}");
}

/// The window closes while the first secret of a lane rotates: it is finished, the others are not begun, and have their turn when the window
/// opens again. The test does what the state machine does, because nobody can wait for an hour to be over.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_closes_in_the_middle_holds_the_rest_until_it_opens() {
    let fleet = fleet(3, &[POSTGRES], 50, &[]).await;
    let wanted = order(
        "night",
        json!({
            "waves": {"canary": "100%", "pauseSeconds": 0}, "pace": {"perHost": 1, "perSecond": 1},
            "window": {"fromHour": now() / 3_600 % 24, "hours": 2},
        }),
    );
    let next = async |state: Value| fleet.ask(&json!({"Step": "fleet", "Do": "next", "State": state})).await.unwrap();
    let begun = fleet.ask(&json!({"Do": "begin", "Order": wanted, "Execution": {"Name": "night"}})).await.unwrap();
    let mut state = next(begun).await;
    assert_eq!((&state["doing"], state["lanes"].as_array().map(Vec::len)), (&json!("work"), Some(1)), "{state}");
    let closes = state["lanes"][0]["job"]["closes"].as_u64().expect("a lane knows when the window closes");
    assert!(closes > now() * 1_000 && closes % 3_600_000 == 0, "{closes}");

    // As if it were that late: the second secret would begin a second after the first one.
    let began = state["lanes"][0]["job"]["partBegan"].as_u64().unwrap();
    state["lanes"][0]["job"]["closes"] = json!(began + 900);
    let ended = lane(&fleet, state["lanes"][0].clone()).await;
    assert_eq!(
        (ended["done"].as_array().map(Vec::len), ended["todo"].as_array().map(Vec::len)),
        (Some(1), Some(2)),
        "{ended}"
    );
    assert_eq!(ended["done"][0]["outcome"], "rotated");
    state["results"] = json!([ended]);
    state["order"]["window"]["fromHour"] = json!((now() / 3_600 + 12) % 24);
    let waiting = next(state).await;
    assert_eq!((&waiting["doing"], &waiting["tally"]), (&json!("wait"), &json!({"rotated": 1})), "{waiting}");
    let wait = waiting["seconds"].as_u64().unwrap();
    assert!((9 * 3_600..=12 * 3_600).contains(&wait), "until the window opens: {wait}");

    let mut opened = waiting;
    opened["order"]["window"]["fromHour"] = json!(now() / 3_600 % 24);
    let mut state = next(opened).await;
    let mut results = Vec::new();
    for one in state["lanes"].as_array().unwrap() {
        results.push(lane(&fleet, one.clone()).await);
    }
    state["results"] = results.into();
    let over = next(state).await;
    assert_eq!((&over["outcome"], &over["tally"]), (&json!("finished"), &json!({"rotated": 3})), "{over}");
    for (secret, _) in fleet.secrets() {
        assert_eq!(versions(&fleet, secret).await, 2, "{secret} was rotated once");
    }
    fleet.shutdown().await;
}

/// The stop flag is set while the first secret of a lane rotates: that one is finished, and the other one is not begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_flag_stops_a_lane_between_two_secrets() {
    let fleet = fleet(2, &[POSTGRES], 50, &[]).await;
    let wanted = order(
        "flagged",
        json!({"waves": {"canary": "100%", "pauseSeconds": 0}, "pace": {"perHost": 1, "perSecond": 25}}),
    );
    let begun = fleet.ask(&json!({"Do": "begin", "Order": wanted, "Execution": {"Name": "flagged"}})).await.unwrap();
    let state = fleet.ask(&json!({"Do": "next", "State": begun})).await.unwrap();
    let mut one = fleet.ask(&json!({"Do": "lane", "Lane": state["lanes"][0]})).await.unwrap();
    assert_eq!((&one["doing"], one["todo"].as_array().map(Vec::len)), (&json!("ask"), Some(2)), "{one}");
    let function = one["ask"]["function"].as_str().unwrap().to_owned();
    one["answer"] = fleet.ask_function(&function, &one["ask"]["payload"]).await.unwrap();
    fleet.flag("flagged");
    let ended = lane(&fleet, one).await;
    assert_eq!(
        (ended["done"].as_array().map(Vec::len), ended["todo"].as_array().map(Vec::len)),
        (Some(1), Some(1)),
        "{ended}"
    );
    assert_eq!(ended["done"][0]["outcome"], "rotated");
    fleet.shutdown().await;
}

/// Somebody deletes a secret that waits for its turn, and one whose turn it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_deleted_during_a_run_is_no_success_and_keeps_no_other_from_rotating() {
    let fleet = fleet(4, &[POSTGRES], 50, &[]).await;
    let wanted = order(
        "deleted",
        json!({
            "waves": {"canary": 2, "growth": 1, "pauseSeconds": 1}, "pace": {"perHost": 1, "perSecond": 1}, "tolerate": 1,
        }),
    );
    let plan = fleet.ask_page(&json!({"Do": "plan", "Order": wanted})).await.unwrap();
    let names: Vec<_> =
        plan["items"].as_array().unwrap().iter().map(|item| item["secret"].as_str().unwrap().to_owned()).collect();
    let execution = fleet.execute("deleted", &wanted).await.unwrap();
    for _ in 0..300 {
        if versions(&fleet, &names[0]).await > 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The second one of this wave is in a lane already; the last one is in no part yet.
    for name in [&names[1], &names[3]] {
        fleet.lab().call("DeleteSecret", json!({"SecretId": name})).await.unwrap();
    }
    let ended = fleet.ended(&execution, Duration::from_secs(120)).await.unwrap();
    let report = &ended.answer;
    assert_eq!((ended.status.as_str(), &report["outcome"]), ("FAILED", &json!("not-all-reached")), "{report}");
    assert_eq!((&report["tally"], &report["notReached"]), (&json!({"rotated": 2, "failed": 1}), &json!(1)), "{report}");
    let failure = &report["failures"][0];
    assert!(failure["secret"].as_str().unwrap().contains(&names[1]), "{failure}");
    assert_eq!(failure["reason"], "deleted", "{failure}");

    // A person restores them, and the run goes on.
    for name in [&names[1], &names[3]] {
        fleet.lab().call("RestoreSecret", json!({"SecretId": name})).await.unwrap();
    }
    let finished = run(&fleet, "again", &again(&wanted)).await;
    assert_eq!(finished.answer["tally"], json!({"rotated": 2, "already": 2}), "{:?}", finished.answer);
    for (secret, kind) in fleet.secrets() {
        let value = fleet.lab().secret_value(secret, "AWSCURRENT").await.unwrap();
        assert!(fleet.opens(kind, &value).await.unwrap(), "{secret}");
        assert_eq!(versions(&fleet, secret).await, 2, "{secret} was rotated once");
    }
    fleet.shutdown().await;
}
