//! nginx serves what the secret holds while it is rotated, and clients that trust the CA alone are never refused.

use integration_tests::certificates::World;
use lab::servers::nginx::Nginx;
use lab::servers::pebble::Options;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::process::Command;

const ROUNDS: usize = 20;
const NAMES: [&str; 2] = ["example.com", "anything.example.com"];
/// How often a client looks whether nginx has loaded a certificate.
const MOST_LOOKS: usize = 100;

/// A program of the machine's, or one that was obtained.
async fn tool(name: &str) -> PathBuf {
    let tools = tokio::task::spawn_blocking(lab::provision::tools).await.expect("the task ends").expect("the tools");
    tools.map_or_else(|| PathBuf::from(name), |directory| directory.join(name))
}

/// A client that connects again and again, each time to the next name. Returns how often, and what it was refused with.
async fn clients(curl: PathBuf, port: u16, root: PathBuf, ends: Arc<AtomicBool>) -> (usize, Vec<String>) {
    let (mut count, mut refused) = (0, Vec::new());
    while !ends.load(Ordering::Relaxed) {
        let name = NAMES[count % NAMES.len()];
        let mut client = Command::new(&curl);
        client.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]).arg(&root);
        client.args(["--resolve", &format!("{name}:{port}:127.0.0.1"), &format!("https://{name}:{port}/")]);
        let output = client.output().await.expect("curl runs");
        if output.stdout != b"served" {
            refused.push(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        count += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (count, refused)
}

/// Waits until nginx serves this certificate, which is given as PEM text.
async fn serves(openssl: &Path, port: u16, certificate: &str) {
    for _ in 0..MOST_LOOKS {
        let mut client = Command::new(openssl);
        client.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", NAMES[0]]);
        let output = client.stdin(Stdio::null()).output().await.expect("openssl runs");
        if String::from_utf8_lossy(&output.stdout).contains(certificate.trim()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nginx has not loaded the certificate");
}

/// testSecret looks at the endpoint while that serves the certificate before.
#[tokio::test(flavor = "multi_thread")]
async fn nginx_serves_twenty_certificates_and_refuses_nobody() {
    let settings = |function: lab::stack::Builder| function.env("ENDPOINT_HOSTS", "127.0.0.1");
    let world = World::with(Options::default().reuse(100), settings).await;
    let secret = world.secret(&["example.com", "*.example.com"], json!({})).await;
    secret.rotated().await;
    let mut value = secret.at("AWSCURRENT").await;
    let text = |value: &serde_json::Value, field: &str| value[field].as_str().expect(field).to_owned();
    let nginx = Nginx::start(&text(&value, "fullChain"), &text(&value, "privateKey")).await.expect("nginx starts");
    let address = format!("127.0.0.1:{}", nginx.port());
    value["rotation"]["endpoint"] = address.clone().into();
    secret.put(&value).await;

    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root.pem");
    std::fs::write(&root, &world.root).unwrap();
    let (openssl, ends) = (tool("openssl").await, Arc::new(AtomicBool::new(false)));
    let clients = tokio::spawn(clients(tool("curl").await, nginx.port(), root, Arc::clone(&ends)));
    for _ in 0..ROUNDS {
        secret.rotated().await;
        value = secret.at("AWSCURRENT").await;
        nginx.load(&text(&value, "fullChain"), &text(&value, "privateKey")).expect("nginx loads it");
        serves(&openssl, nginx.port(), &text(&value, "certificate")).await;
    }
    ends.store(true, Ordering::Relaxed);
    let (count, refused) = clients.await.unwrap();
    assert!(count > 2 * ROUNDS, "{count}");
    assert!(refused.is_empty(), "{} of {count}: {:?}", refused.len(), refused.first());

    // A server that serves something else is found.
    let other = world.secret(&["example.com", "*.example.com"], json!({"rotation": {"endpoint": address}})).await;
    other.rotated().await;
    assert_eq!(other.refused().await.error_type, "endpoint-differs");
}
