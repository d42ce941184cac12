//! Inputs that are hostile or broken, and have no end: none takes much memory, and each ends in a code. What each may say, fuzz tests in
//! `shared` try; here the function is a process of its own, whose memory is measured.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse as _;
use axum::routing::get;
use integration_tests::issuer::{World, lab_description};
use integration_tests::{function, uuid};
use lab::Lab;
use lab::lambda::Outcome;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// The template's limit is 128 MB.
const MOST_MEMORY: u64 = 100 << 20;
const MARKER: &str = "S3cr3t-0f-N0b0dy";
/// More than any reader may take.
const FLOOD: usize = 512 << 20;
const TIMEOUT: Duration = Duration::from_secs(8);

/// An outcome with this code, in time and in little memory, that repeats nothing.
fn ends(outcome: &Outcome, code: &str, what: &str) {
    let text = format!("{}{}", String::from_utf8_lossy(&outcome.payload), String::from_utf8_lossy(&outcome.log));
    let end = outcome.result().expect_err("it fails").error_type;
    assert_eq!(end, code, "{what}: {text}");
    assert!(!text.contains(MARKER), "{what}: {text}");
    assert!(outcome.duration < TIMEOUT, "{what}: {:?}", outcome.duration);
    let peak = outcome.peak_memory.expect("it lives");
    assert!(peak < MOST_MEMORY, "{what}: {} kB", peak >> 10);
}

/// Answers every request with a head, a beginning, and then the same without end.
fn endless(beginning: &'static str, piece: &'static str) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || flood(stream, beginning, piece));
        }
    });
    url
}

fn flood(mut stream: TcpStream, beginning: &str, piece: &str) -> std::io::Result<()> {
    let _ = stream.read(&mut [0; 16 << 10])?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nConnection: close\r\n\r\n")?;
    stream.write_all(beginning.as_bytes())?;
    let (pieces, mut sent) = (piece.repeat((64 << 10) / piece.len()), 0);
    while sent < FLOOD {
        stream.write_all(pieces.as_bytes())?;
        sent += pieces.len();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_secrets_manager_takes_much_memory() {
    for (beginning, piece) in [
        ("{\"VersionIdsToStages\":{\"v\":[\"S3cr3t-0f-N0b0dy\"", ",\"\""),
        ("{\"Tags\":[{}", ",{}"),
        ("{\"Name\":\"", "S3cr3t-0f-N0b0dy"),
        ("{\"x\":[", "["),
        (" ", " "),
    ] {
        let url = endless(beginning, piece);
        let lab = Lab::builder(function().await).env("SECRETS_MANAGER_ENDPOINT", url).timeout(TIMEOUT);
        let lab = lab.start().await.expect("the lab starts");
        let outcome = lab.invoke_step("createSecret", "arn", &uuid()).await;
        ends(&outcome, "service-unavailable", piece);
        let text = String::from_utf8_lossy(&outcome.payload).into_owned();
        assert!(text.contains("larger than any answer"), "{piece}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_an_issuer_takes_much_memory() {
    for piece in ["{\"\":0},", "[],", "{},", "[[[[[[[[{\"\":{\"\":{\"\":0}}}]]]]]]]],", "\"\","] {
        let body = format!("{{\"{MARKER}\":[{}0]}}", piece.repeat((1 << 20) / piece.len() - 9));
        let answer = move || async move { ([(header::CONTENT_TYPE, "application/json")], body).into_response() };
        let router = Router::new().fallback(get(answer.clone()).post(answer));
        let admin = json!({"token": "t"});
        let world = World::described(&lab_description(), router, admin, |function| function.timeout(TIMEOUT)).await;
        let secret = world.secret(json!({"apiKey": "k", "apiKeyId": "i"})).await;
        let token = secret.registered().await;
        let outcome = world.lab.invoke_step("createSecret", &secret.arn, &token).await;
        ends(&outcome, "answer-too-large", piece);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_takes_much_memory() {
    let lab = Lab::builder(function().await).timeout(TIMEOUT).start().await.expect("the lab starts");
    let deep = format!("{{\"{MARKER}\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let long = format!("{{\"Step\":\"{}\"}}", MARKER.repeat(300_000));
    let many = format!("[{}0]", "{\"S3cr3t-0f-N0b0dy\":0},".repeat(200_000));
    for event in [deep, long, many, format!("\"{MARKER}\""), format!("{{\"Step\":\"{MARKER}\",\"SecretId\":\"s\"}}")] {
        let outcome = lab.invoke_bytes(event.clone().into_bytes()).await;
        ends(&outcome, "event-malformed", &event.chars().take(60).collect::<String>());
    }
}
