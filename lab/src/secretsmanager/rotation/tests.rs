use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::*;
use crate::secretsmanager::{Consistency, Invoker, Options, Reply};

type Handler = dyn Fn(Service, Value) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync;

/// A rotation function in a closure, and the events that it got.
struct Function {
    service: Service,
    handler: Box<Handler>,
    events: Arc<Mutex<Vec<Value>>>,
}

impl Invoker for Function {
    fn invoke<'a>(
        &'a self,
        _function_arn: &'a str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invocation> + Send + 'a>> {
        let event: Value = serde_json::from_slice(&payload).unwrap();
        self.events.lock().unwrap().push(event.clone());
        Box::pin(async move {
            match (self.handler)(self.service.clone(), event).await {
                Ok(()) => Invocation { payload: b"null".to_vec(), function_error: None },
                Err(message) => Invocation {
                    payload: json!({"errorMessage": message}).to_string().into_bytes(),
                    function_error: Some("Unhandled".into()),
                },
            }
        })
    }
}

struct Bench {
    service: Service,
    events: Arc<Mutex<Vec<Value>>>,
}

fn token(n: u32) -> String {
    format!("{n:032}")
}

/// A secret `db` with version 1 under AWSCURRENT, and a function.
async fn bench<F, R>(retries: u32, handler: F) -> Bench
where
    F: Fn(Service, Value) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), String>> + Send + 'static,
{
    let service = Service::new(Options { rotation_retries: retries, seed: Some(1), ..Options::default() });
    let events = Arc::new(Mutex::new(Vec::new()));
    let handler: Box<Handler> = Box::new(move |service, event| Box::pin(handler(service, event)));
    // The function and the service point to each other; a test process ends before that matters.
    service.set_invoker(Arc::new(Function { service: service.clone(), handler, events: events.clone() }));
    let bench = Bench { service, events };
    bench.ok("CreateSecret", json!({"Name": "db", "SecretString": "old", "ClientRequestToken": token(1)})).await;
    bench
}

impl Bench {
    async fn call(&self, operation: &str, body: Value) -> Reply {
        self.service.call(operation, body.to_string().as_bytes(), Consistency::Strong).await
    }

    async fn ok(&self, operation: &str, body: Value) -> Value {
        let reply = self.call(operation, body).await;
        assert_eq!(reply.error_type, None, "{operation}: {}", reply.body);
        reply.body
    }

    async fn rotate(&self, n: u32) -> Reply {
        let body = json!({
            "SecretId": "db", "ClientRequestToken": token(n), "RotationLambdaARN": "arn:function",
            "RotationRules": {"AutomaticallyAfterDays": 30},
        });
        self.call("RotateSecret", body).await
    }

    fn steps(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        events.iter().map(|event| event["Step"].as_str().unwrap().to_owned()).collect()
    }

    fn labels(&self) -> BTreeMap<String, Vec<String>> {
        let labels = self.service.labels("db").unwrap().into_iter();
        labels.map(|(id, labels)| (id, labels.into_iter().collect())).collect()
    }

    fn assert_labels(&self, expected: &[(u32, &[&str])]) {
        let expected: BTreeMap<_, Vec<_>> = expected
            .iter()
            .map(|(n, labels)| (token(*n), labels.iter().map(|label| (*label).to_owned()).collect()))
            .collect();
        assert_eq!(self.labels(), expected);
    }

    async fn described(&self) -> Value {
        self.ok("DescribeSecret", json!({"SecretId": "db"})).await
    }
}

/// A function that does what a rotation function does.
async fn well_behaved(service: Service, event: Value) -> Result<(), String> {
    let call = async |operation: &str, body: Value| {
        let reply = service.call(operation, body.to_string().as_bytes(), Consistency::Strong).await;
        if reply.error_type.is_some() { Err(reply.body.to_string()) } else { Ok(reply.body) }
    };
    let (id, token) = (&event["SecretId"], &event["ClientRequestToken"]);
    match event["Step"].as_str().unwrap() {
        "createSecret" => {
            let pending = json!({"SecretId": id, "VersionId": token, "VersionStage": "AWSPENDING"});
            if call("GetSecretValue", pending).await.is_err() {
                let put = json!({
                    "SecretId": id, "ClientRequestToken": token, "SecretString": "new",
                    "VersionStages": ["AWSPENDING"], "RotationToken": event["RotationToken"],
                });
                call("PutSecretValue", put).await?;
            }
        }
        "finishSecret" => {
            let current = call("GetSecretValue", json!({"SecretId": id})).await?;
            let update = json!({
                "SecretId": id, "VersionStage": "AWSCURRENT", "MoveToVersionId": token,
                "RemoveFromVersionId": current["VersionId"],
            });
            call("UpdateSecretVersionStage", update).await?;
        }
        _ => {}
    }
    Ok(())
}

#[tokio::test]
async fn a_rotation_runs_four_steps_and_cleans_up() {
    let bench = bench(0, well_behaved).await;
    let mut events = bench.service.subscribe();
    let reply = bench.rotate(2).await;
    assert_eq!(reply.body["VersionId"], token(2));
    assert_eq!(bench.service.wait_rotation("db").await, Some(RotationOutcome::Succeeded));
    assert_eq!(bench.steps(), ["createSecret", "setSecret", "testSecret", "finishSecret"]);
    bench.assert_labels(&[(1, &["AWSPREVIOUS"]), (2, &["AWSCURRENT"])]);
    let described = bench.described().await;
    assert_eq!(described["RotationEnabled"], true);
    let last = described["LastRotatedDate"].as_f64().unwrap();
    assert_eq!(described["NextRotationDate"].as_f64().unwrap(), last + 30.0 * 86_400.0);

    let event = bench.events.lock().unwrap()[0].clone();
    assert_eq!(event["SecretId"], described["ARN"]);
    assert_eq!(event["ClientRequestToken"], token(2));
    assert_eq!(event.as_object().unwrap().len(), 4);
    assert_eq!(event["RotationToken"].as_str().unwrap().len(), 36);

    let mut kinds = Vec::new();
    while let Ok(event) = events.try_recv() {
        kinds.push(event.kind);
    }
    assert_eq!(kinds.first(), Some(&RotationEventKind::RotationStarted));
    assert_eq!(kinds.last(), Some(&RotationEventKind::RotationSucceeded));
    assert_eq!(kinds.len(), 10);
}

/// Or the news of one attempt would be taken for that of the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sees_the_end_has_been_told_of_it() {
    let bench = bench(0, async |_, _| Err("refused".into())).await;
    for attempt in 0..1_000 {
        let mut events = bench.service.subscribe();
        bench.rotate(2).await;
        // Without a pause: the end is seen in the moment in which it comes.
        while bench.service.update(|state, _| state.find("db").unwrap().run().is_some()) {
            std::hint::spin_loop();
        }
        let kinds: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).map(|event| event.kind).collect();
        let last = kinds.last();
        assert!(matches!(last, Some(RotationEventKind::RotationFailed { .. })), "attempt {attempt}: {kinds:?}");
    }
}

#[tokio::test]
async fn the_pending_version_has_no_value_until_it_is_put() {
    let bench = bench(0, async |service: Service, event: Value| {
        let read = json!({"SecretId": event["SecretId"], "VersionId": event["ClientRequestToken"]});
        let reply = service.call("GetSecretValue", read.to_string().as_bytes(), Consistency::Strong).await;
        Err(reply.error_type.unwrap_or_default())
    })
    .await;
    bench.rotate(2).await;
    let outcome = bench.service.wait_rotation("db").await;
    let Some(RotationOutcome::Failed(reason)) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("createSecret failed") && reason.contains("ResourceNotFoundException"), "{reason}");
    bench.assert_labels(&[(1, &["AWSCURRENT"]), (2, &["AWSPENDING"])]);
}

#[tokio::test]
async fn an_unfinished_rotation_is_reattempted_under_its_token() {
    let failed_once = Arc::new(Mutex::new(false));
    let bench = bench(0, move |service, event| {
        let first = event["Step"] == "setSecret" && !std::mem::replace(&mut *failed_once.lock().unwrap(), true);
        async move { if first { Err("refused".into()) } else { well_behaved(service, event).await } }
    })
    .await;
    bench.rotate(2).await;
    assert!(matches!(bench.service.wait_rotation("db").await, Some(RotationOutcome::Failed(_))));
    let reply = bench.rotate(3).await;
    assert_eq!(reply.error_type.as_deref(), Some("InvalidRequestException"));
    assert_eq!(reply.body["Message"], "A previous rotation isn't complete. That rotation will be reattempted.");
    assert_eq!(bench.service.wait_rotation("db").await, Some(RotationOutcome::Succeeded));
    bench.assert_labels(&[(1, &["AWSPREVIOUS"]), (2, &["AWSCURRENT"])]);
    let events = bench.events.lock().unwrap();
    assert_ne!(events[0]["RotationToken"], events[2]["RotationToken"], "fresh for each attempt");
}

#[tokio::test]
async fn retries_repeat_the_whole_rotation() {
    let bench =
        bench(2, async |_, event: Value| if event["Step"] == "setSecret" { Err("refused".to_owned()) } else { Ok(()) })
            .await;
    bench.rotate(2).await;
    assert!(matches!(bench.service.wait_rotation("db").await, Some(RotationOutcome::Failed(_))));
    assert_eq!(bench.steps(), ["createSecret", "setSecret"].repeat(3));
}

#[tokio::test]
async fn a_function_that_leaves_pending_behind_has_failed() {
    let bench = bench(0, async |_, _| Ok(())).await;
    bench.rotate(2).await;
    let outcome = bench.service.wait_rotation("db").await;
    assert!(matches!(&outcome, Some(RotationOutcome::Failed(reason)) if reason.contains("AWSPENDING")), "{outcome:?}");
    assert!(bench.described().await.get("LastRotatedDate").is_none());
}

#[tokio::test]
async fn a_manual_put_abandons_the_rotation() {
    let bench = bench(3, async |service: Service, event: Value| {
        if event["Step"] == "setSecret" {
            let put = json!({"SecretId": "db", "SecretString": "by hand", "ClientRequestToken": token(9)});
            service.call("PutSecretValue", put.to_string().as_bytes(), Consistency::Strong).await;
        }
        well_behaved(service, event).await
    })
    .await;
    bench.rotate(2).await;
    assert_eq!(bench.service.wait_rotation("db").await, Some(RotationOutcome::Abandoned));
    assert_eq!(bench.steps(), ["createSecret", "setSecret"]);
    bench.assert_labels(&[(1, &["AWSPREVIOUS"]), (2, &[]), (9, &["AWSCURRENT"])]);
}

#[tokio::test]
async fn cancelling_turns_rotation_off_and_leaves_the_label() {
    let bench = bench(0, async |service: Service, event: Value| {
        if event["Step"] == "setSecret" {
            service.call("CancelRotateSecret", br#"{"SecretId":"db"}"#, Consistency::Strong).await;
        }
        well_behaved(service, event).await
    })
    .await;
    let refused = bench.call("CancelRotateSecret", json!({"SecretId": "db"})).await;
    assert_eq!(refused.error_type.as_deref(), Some("InvalidRequestException"), "rotation was never configured");
    bench.rotate(2).await;
    assert_eq!(bench.service.wait_rotation("db").await, Some(RotationOutcome::Abandoned));
    let described = bench.described().await;
    assert_eq!(described["RotationEnabled"], false);
    assert!(described.get("NextRotationDate").is_none());
    bench.assert_labels(&[(1, &["AWSCURRENT"]), (2, &["AWSPENDING"])]);
}

#[tokio::test]
async fn without_rotate_immediately_only_the_test_runs() {
    let bench = bench(0, async |_, _| Ok(())).await;
    let body = json!({
        "SecretId": "db", "ClientRequestToken": token(2), "RotationLambdaARN": "arn:function",
        "RotateImmediately": false,
    });
    bench.ok("RotateSecret", body).await;
    bench.assert_labels(&[(1, &["AWSCURRENT"]), (2, &["AWSPENDING"])]);
    assert_eq!(bench.service.wait_rotation("db").await, Some(RotationOutcome::Succeeded));
    assert_eq!(bench.steps(), ["testSecret"]);
    bench.assert_labels(&[(1, &["AWSCURRENT"])]);
    assert!(bench.described().await.get("LastRotatedDate").is_none());
}

#[tokio::test]
async fn a_wrong_rotation_token_is_refused() {
    let bench = bench(0, well_behaved).await;
    let staged = bench.service.stage_rotation("db", "arn:function", &token(2)).unwrap();
    assert!(!format!("{staged:?}").contains(&staged.rotation_token));
    let put = |rotation_token: &str| {
        json!({
            "SecretId": "db", "ClientRequestToken": token(2), "SecretString": "new", "VersionStages": ["AWSPENDING"],
            "RotationToken": rotation_token,
        })
    };
    let refused = bench.call("PutSecretValue", put("00000000-0000-0000-0000-000000000000")).await;
    assert_eq!(refused.error_type.as_deref(), Some("AccessDeniedException"));
    bench.ok("PutSecretValue", put(&staged.rotation_token)).await;
    assert_eq!(bench.service.value("db", &token(2)).unwrap(), b"new");
}

#[tokio::test]
async fn rotation_needs_a_function_and_someone_to_invoke_it() {
    let bench = bench(0, well_behaved).await;
    let reply = bench.call("RotateSecret", json!({"SecretId": "db", "ClientRequestToken": token(2)})).await;
    assert_eq!(reply.body["Message"], "No Lambda rotation function ARN is associated with this secret.");
    let alone = Service::new(Options::default());
    let reply = alone.call("RotateSecret", b"{}", Consistency::Strong).await;
    assert_eq!(reply.error_type.as_deref(), Some("AccessDeniedException"));
}

#[tokio::test]
async fn a_stale_read_misses_the_last_write_only() {
    let bench = bench(0, well_behaved).await;
    for (n, value) in [(2, "two"), (3, "three")] {
        let body = json!({"SecretId": "db", "SecretString": value, "ClientRequestToken": token(n)});
        bench.ok("PutSecretValue", body).await;
    }
    let read = async |consistency| {
        let reply = bench.service.call("GetSecretValue", br#"{"SecretId":"db"}"#, consistency).await;
        reply.body["SecretString"].as_str().unwrap().to_owned()
    };
    assert_eq!(read(Consistency::Stale).await, "two");
    assert_eq!(read(Consistency::Strong).await, "three");
    assert_eq!(read(Consistency::Stale).await, "two", "a read is no write");
}
