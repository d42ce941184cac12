//! Waves: the plan, the canary, the stop, and going on.

use super::support::{DUAL, MYSQL, PAIR, POSTGRES, again, fleet, order, run, values, versions};
use lab::disturb::Fault;
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_changes_nothing_and_a_run_rotates_once() {
    let fleet = fleet(6, &[POSTGRES, PAIR, DUAL], 50, &[]).await;
    let before = values(&fleet).await;
    // Without "run", the answer is the plan, and nothing happens.
    let mut wanted = order("first", json!({}));
    wanted["run"] = json!(false);
    let planned = run(&fleet, "plan", &wanted).await;
    assert_eq!(planned.status, "SUCCEEDED", "{:?}", planned.answer);
    assert_eq!((&planned.answer["secrets"], &planned.answer["waves"]), (&json!(6), &json!([1, 4, 1])));
    assert_eq!(values(&fleet).await, before);

    let ended = run(&fleet, "run", &order("first", json!({}))).await;
    assert_eq!(ended.status, "SUCCEEDED", "{:?}\n{}", ended.answer, fleet.printed());
    assert_eq!(ended.answer["tally"], json!({"rotated": 6}));
    for (secret, kind, old) in &before {
        let new = fleet.lab().secret_value(secret, "AWSCURRENT").await.unwrap();
        assert!(new != *old && fleet.opens(*kind, &new).await.unwrap(), "{secret}");
        assert_eq!(versions(&fleet, secret).await, 2, "{secret} was rotated once");
    }
    // The same run goes on, and does nothing a second time.
    let first = order("first", json!({}));
    let same = run(&fleet, "same", &again(&first)).await;
    assert_eq!(same.answer["tally"], json!({"already": 6}), "{:?}", same.answer);
    // Whoever uses the name for another run is told so.
    let reused = run(&fleet, "reused", &first).await;
    assert_eq!((reused.status.as_str(), &reused.answer["outcome"]), ("FAILED", &json!("stopped-by-failures")));
    assert_eq!(reused.answer["failures"][0]["reason"], "name-used-before");
    for (secret, ..) in &before {
        assert_eq!(versions(&fleet, secret).await, 2, "{secret}");
    }
    assert!(!fleet.printed().contains("password\\\":\\\""), "no value is in the log");
    fleet.shutdown().await;
}

/// A user of the third wave may not log in.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_in_the_third_wave_stops_the_run_which_then_goes_on() {
    // With LOCKSTEP_ALL the size that the documentation states.
    let all = std::env::var_os("LOCKSTEP_ALL").is_some();
    let (count, waves) = if all { (200, [10, 40, 150]) } else { (42, [3, 12, 27]) };
    let fleet = fleet(count, &[POSTGRES, MYSQL], 50, &[]).await;
    let order = order("third", json!({"patienceSeconds": 8}));
    let mut wanted = order.clone();
    wanted["run"] = json!(false);
    let plan = run(&fleet, "plan", &wanted).await.answer;
    assert_eq!(plan["waves"], json!(waves));
    let mut items = plan["items"].as_array().unwrap().iter();
    let third = items.find(|item| item["wave"] == 3 && item["strategy"] == "single-user").unwrap();
    let victim = third["secret"].as_str().unwrap().to_owned();
    let user = victim.trim_start_matches("load/").to_owned();
    fleet.forbid(&user, true).await.unwrap();

    let stopped = run(&fleet, "one", &order).await;
    assert_eq!(stopped.status, "FAILED", "{:?}", stopped.answer);
    let report = stopped.answer;
    assert_eq!(report["outcome"], "stopped-by-failures", "{report}");
    let failure = &report["failures"][0];
    assert!(failure["secret"].as_str().unwrap().contains(&victim), "{failure}");
    assert_eq!((&report["wave"], &report["tally"]["failed"]), (&json!(3), &json!(1)));
    assert!(failure["reason"].as_str().unwrap().starts_with("stands-still: "), "{failure}");

    // A person corrects the cause. Then the same run goes on.
    fleet.forbid(&user, false).await.unwrap();
    let finished = run(&fleet, "two", &again(&order)).await;
    assert_eq!(finished.status, "SUCCEEDED", "{:?}", finished.answer);
    let tally = &finished.answer["tally"];
    let (rotated, already) = (tally["rotated"].as_u64().unwrap_or(0), tally["already"].as_u64().unwrap_or(0));
    assert_eq!(rotated + already, count as u64, "{tally}");
    assert!(already >= waves[0] + waves[1], "{tally}");
    for (secret, kind) in fleet.secrets() {
        let value = fleet.lab().secret_value(secret, "AWSCURRENT").await.unwrap();
        assert!(fleet.opens(kind, &value).await.unwrap(), "{secret}");
        assert_eq!(versions(&fleet, secret).await, 2, "{secret} was rotated once");
    }
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_goes_on_and_rotates_nothing_twice() {
    let fleet = fleet(16, &[POSTGRES, MYSQL], 50, &[]).await;
    let order = order(
        "killed",
        json!({"waves": {"canary": 2, "growth": 3, "pauseSeconds": 0}, "pace": {"perHost": 2, "perSecond": 1}}),
    );
    let execution = fleet.execute("one", &order).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    fleet.stop(&execution).await.unwrap();
    assert_eq!(fleet.ended(&execution, Duration::from_secs(60)).await.unwrap().status, "ABORTED");
    let finished = run(&fleet, "two", &again(&order)).await;
    assert_eq!(finished.status, "SUCCEEDED", "{:?}", finished.answer);
    for (secret, kind) in fleet.secrets() {
        let value = fleet.lab().secret_value(secret, "AWSCURRENT").await.unwrap();
        assert!(fleet.opens(kind, &value).await.unwrap(), "{secret}");
        assert_eq!(versions(&fleet, secret).await, 2, "{secret} was rotated once");
    }
    assert!(finished.answer["tally"]["already"].as_u64().unwrap_or(0) > 0, "{}", finished.answer["tally"]);
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_stops_a_run_between_two_parts() {
    let fleet = fleet(4, &[POSTGRES], 50, &[]).await;
    fleet.flag("another-run");
    let order = order("flagged", json!({}));
    fleet.flag("flagged");
    let stopped = run(&fleet, "one", &order).await;
    assert_eq!((stopped.status.as_str(), &stopped.answer["outcome"]), ("FAILED", &json!("stopped-by-flag")));
    assert_eq!(stopped.answer["notReached"], 4);
    fleet.flag("another-run");
    assert_eq!(run(&fleet, "two", &order).await.answer["tally"], json!({"rotated": 4}));
    fleet.shutdown().await;
}

/// What is wrong with an order is said before anything happens.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_selects_nothing_or_not_all_is_no_success() {
    let fleet = fleet(2, &[POSTGRES], 50, &[]).await;
    let nothing = order("nothing", json!({"select": {"names": ["lod/*"]}}));
    let refused = run(&fleet, "nothing", &nothing).await;
    assert_eq!(refused.status, "FAILED");
    assert!(refused.answer.to_string().contains("no secret meets"), "{:?}", refused.answer);
    let excepted = order("excepted", json!({"select": {"names": ["load/*"], "except": ["laod/app1"]}}));
    let refused = run(&fleet, "excepted", &excepted).await;
    assert!(refused.answer.to_string().contains("laod/app1"), "{:?}", refused.answer);
    let all: Vec<_> = values(&fleet).await.into_iter().map(|(secret, ..)| secret).collect();
    let one_wrong = json!({"mode": "emergency", "select": {"secrets": [all[0], "load/app7"]}});
    let ended = run(&fleet, "wrong", &order("wrong", one_wrong)).await;
    assert_eq!((ended.status.as_str(), &ended.answer["outcome"]), ("FAILED", &json!("finished-with-failures")));
    let failure = &ended.answer["failures"][0];
    assert_eq!((&failure["secret"], &failure["reason"]), (&json!("load/app7"), &json!("not-selected")));
    assert_eq!((versions(&fleet, &all[0]).await, versions(&fleet, &all[1]).await), (2, 1), "the other one is rotated");
    fleet.shutdown().await;
}

/// A role that allows secrets by what they are refuses one that is not there, and one of another function.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_may_not_be_seen_keeps_no_other_from_rotating() {
    let fleet = fleet(2, &[POSTGRES], 50, &[]).await;
    let secrets: Vec<_> = fleet.secrets().map(|(secret, _)| secret.to_owned()).collect();
    fleet.lab().disturb().on_next("DescribeSecret", Fault::Fail(403));
    let order = json!({"mode": "emergency", "select": {"secrets": secrets}});
    let plan = fleet.ask_page(&json!({"Do": "plan", "Order": order})).await.unwrap();
    assert_eq!((&plan["secrets"], plan["notSelected"].as_array().map(Vec::len)), (&json!(1), Some(1)), "{plan}");
    fleet.shutdown().await;
}
