//! Answers to the calls of Secrets Manager, from an endpoint that is broken or hostile.

use crate::{MARKER, config, judge};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use proptest::prelude::*;
use rotation::Code;
use rotation::aws::SecretsManager;
use rotation::clock::{Deadline, Stopwatch};
use rotation::protocol::store::{SecretStore, VersionSelector};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// The time of one call. Retries end with it.
const TIME: Duration = Duration::from_millis(30);
/// How much later a call may end: the machine may have other work.
const OVERTIME: Duration = Duration::from_secs(3);

/// The endpoint has one answer at a time.
static TURN: Mutex<()> = Mutex::new(());

/// An endpoint that answers every request with the same bytes, and the store that calls it.
struct Endpoint {
    store: SecretsManager,
    answer: Arc<Mutex<Vec<u8>>>,
}

fn endpoint() -> &'static Endpoint {
    static ENDPOINT: OnceLock<Endpoint> = OnceLock::new();
    ENDPOINT.get_or_init(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = said.lock().unwrap().clone();
                thread::spawn(move || serve(stream, &answer));
            }
        });
        let credentials = Credentials::new("lab", "lab", None, None, "test");
        let shared = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        Endpoint { store: SecretsManager::over(&shared, Some(&url)), answer }
    })
}

/// Reads a request's head and answers, then hangs up.
fn serve(mut stream: TcpStream, answer: &[u8]) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let (mut heard, mut buffer) = (Vec::<u8>::new(), [0; 4096]);
    while !heard.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => heard.extend(&buffer[..length]),
            _ => return,
        }
    }
    let _ = stream.write_all(answer);
}

/// Makes every call. Each has a result in time, and an error repeats nothing.
fn call(answer: Vec<u8>) -> Result<(), TestCaseError> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Endpoint { store, answer: slot } = endpoint();
    *slot.lock().unwrap() = answer;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let since = Stopwatch::start();
    let deadline = || Deadline::after(TIME);
    let errors = runtime.block_on(async {
        [
            store.describe("s", deadline()).await.err(),
            store.value("s", VersionSelector::Current, deadline()).await.err(),
            store.value("s", VersionSelector::Pending("v"), deadline()).await.err(),
            store.versions("s", deadline()).await.err(),
            store.put_pending("s", "v", None, &"{}".into(), deadline()).await.err(),
            store.promote("s", "v", "w", deadline()).await.err(),
            store.mark("s", "AWSPREVIOUS", "v", None, deadline()).await.err(),
            store.served("arn:aws:lambda:us-east-1:123456789012:function:f", deadline()).await.err(),
        ]
    });
    prop_assert!(since.elapsed() < TIME * 12 + OVERTIME, "{:?}", since.elapsed());
    for error in errors.iter().flatten() {
        judge(error)?;
    }
    Ok(())
}

fn http(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// What the service answers.
fn answers() -> Vec<Value> {
    let versions = json!({"v": ["AWSPENDING"], "w": ["AWSCURRENT", MARKER]});
    let rules = json!({"AutomaticallyAfterDays": 30, "ScheduleExpression": "rate(4 hours)", "Duration": "2h"});
    vec![
        json!({"ARN": "arn:s", "Name": "s", "RotationEnabled": true, "RotationRules": rules, "VersionIdsToStages": versions,
            "Tags": [{"Key": "k", "Value": MARKER}], "LastRotatedDate": 1_700_000_000.5, "CreatedDate": 1_600_000_000}),
        json!({"ARN": "arn:s", "Name": "s", "VersionId": "v", "SecretString": MARKER, "VersionStages": ["AWSCURRENT"], "CreatedDate": 1}),
        json!({"Versions": [{"VersionId": "v", "VersionStages": ["AWSCURRENT"], "CreatedDate": 1e9}], "NextToken": MARKER, "ARN": "arn:s"}),
        json!({"SecretList": [{"ARN": "arn:s", "RotationLambdaARN": "arn:aws:lambda:us-east-1:123456789012:function:f",
            "SecretVersionsToStages": versions, "RotationRules": rules}]}),
        json!({"__type": "ResourceNotFoundException", "Message": MARKER}),
        json!({"__type": "InvalidRequestException", "message": MARKER}),
        json!({"__type": format!("com.amazonaws#{MARKER}"), "Message": MARKER}),
    ]
}

/// A value that stands where another is expected.
fn other() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(|text| format!("{text}{MARKER}").into()),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[MARKER], {MARKER: 1}, null])),
        Just(json!({"AWSCURRENT": MARKER, "v": ["AWSCURRENT", "AWSPENDING"], "w": ["AWSCURRENT"]})),
    ]
}

/// One of the service's answers with one value exchanged or gone.
fn exchanged() -> impl Strategy<Value = String> {
    (prop::sample::select(answers()), any::<prop::sample::Index>(), prop::option::of(other())).prop_map(
        |(mut whole, at, other)| {
            let mut places = Vec::new();
            collect(&whole, String::new(), &mut places);
            let place = places[at.index(places.len())].clone();
            match (other, place.rsplit_once('/')) {
                (None, Some((parent, name))) => {
                    if let Some(fields) = whole.pointer_mut(parent).and_then(Value::as_object_mut) {
                        fields.remove(name);
                    }
                }
                (other, _) => *whole.pointer_mut(&place).unwrap() = other.unwrap_or_default(),
            }
            whole.to_string()
        },
    )
}

fn collect(value: &Value, place: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| collect(field, format!("{place}/{name}"), places));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| collect(item, format!("{place}/{index}"), places));
        }
        _ => {}
    }
    places.push(place);
}

fn status() -> impl Strategy<Value = u16> {
    prop::sample::select(&[200, 200, 200, 204, 302, 400, 400, 403, 404, 413, 429, 500, 503, 599, 999][..])
}

fn few() -> ProptestConfig {
    // Each case is eight calls and their retries.
    let config = config("fuzz-corpus/secrets-manager.txt");
    ProptestConfig { cases: config.cases.div_ceil(8), max_shrink_iters: 200, ..config }
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn an_answer_with_another_value_is_read_or_refused(body in exchanged(), status in status()) {
        call(http(status, "Content-Type: application/x-amz-json-1.1\r\n", body.as_bytes()))?;
    }

    #[test]
    fn a_damaged_answer_is_read_or_refused(
        body in exchanged(), status in status(), at in any::<prop::sample::Index>(), piece in "[\\[\\]{}\",:\\\\0é]{0,3}",
        header in prop::sample::select(&[
            "", "Content-Type: text/html\r\n", "x-amzn-errortype: hunter2:http://x/\r\n", "Content-Encoding: gzip\r\n", "Retry-After: -1\r\n",
            "Transfer-Encoding: chunked\r\n", "x-amzn-errortype: ThrottlingException\r\n", "Date: hunter2\r\n", "hunter2\r\n", "X: \u{1}\r\n",
        ][..]),
        cut in any::<prop::sample::Index>(), whole in any::<bool>(),
    ) {
        let mut letters: Vec<char> = body.chars().collect();
        let at = at.index(letters.len() + 1);
        letters.splice(at..(at + 2).min(letters.len()), piece.chars());
        let mut answer = http(status, header, letters.into_iter().collect::<String>().as_bytes());
        if !whole {
            answer.truncate(cut.index(answer.len()));
        }
        call(answer)?;
    }
}

/// Every answer that the SDK reads to its end has a limit. The integration tests measure the memory.
#[test]
fn an_answer_that_is_too_large_is_said_to_be() {
    let flood = |piece: &str, length: usize| {
        let body = format!("{{\"VersionIdsToStages\":{{\"v\":[{}\"\"]}}}}", piece.repeat(length / piece.len()));
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let Endpoint { store, answer } = endpoint();
        *answer.lock().unwrap() = http(200, "", body.as_bytes());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(store.describe("s", Deadline::after(Duration::from_secs(5)))).map(drop)
    };
    assert!(flood("\"\",", 10_000).is_ok());
    for (piece, length) in [("\"\",", 3 << 20), ("\"\",", 20 << 20), ("{},", 1 << 20), ("a long text", 20 << 20)] {
        let error = flood(piece, length).err().unwrap_or_else(|| panic!("{length} of {piece} is read"));
        assert_eq!(error.code(), Code::ServiceUnavailable);
        assert!(error.to_string().contains("larger than any answer"), "{error}");
    }
}
