//! Applications that sign and verify all the time, with libraries that others wrote, while the key rotates: PyJWT, jose for Node and
//! OpenBao. No token is refused in its life, and what a retired key signs is refused once its time is over.

use integration_tests::program;
use integration_tests::signing::World;
use lab::provision;
use lab::servers::openbao::OpenBao;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::sleep;

const LIFETIME: u64 = 3;
const CACHE: u64 = 2;

/// All fifty rotations take minutes, so a run of the tests makes a few of them.
fn rotations() -> usize {
    if std::env::var_os("LOCKSTEP_ALL").is_some_and(|value| !value.is_empty()) { 50 } else { 6 }
}

fn started(mut command: std::process::Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    Command::from(command).kill_on_drop(true).spawn().expect("the program starts")
}

/// Closes a program's input, and returns what it counted.
async fn counted(mut child: Child) -> Value {
    drop(child.stdin.take());
    let output = child.wait_with_output().await.expect("it is waited for");
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).expect("a line of JSON")
}

/// An OpenBao that lets in whoever has a token of these keys.
async fn openbao(world: &World) -> OpenBao {
    let server = OpenBao::start().await.expect("OpenBao starts");
    let jwks_url = world.url("jwks.json");
    for (path, body) in [
        ("/v1/sys/auth/jwt", json!({"type": "jwt"})),
        ("/v1/auth/jwt/config", json!({"jwks_url": jwks_url})),
        (
            "/v1/auth/jwt/role/lab",
            json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": "lab", "clock_skew_leeway": -1}),
        ),
    ] {
        let (status, answer) = server.root("POST", path, body).await.expect("OpenBao answers");
        assert!(status < 300, "{path}: {status} {answer}");
    }
    server
}

async fn proved(algorithm: &str) {
    let world = World::start().await;
    let fields = json!({"algorithm": algorithm, "maxTokenLifetime": LIFETIME, "maxCache": CACHE});
    let secret = world.secret(&["s3://tokens.example.com/jwks.json"], fields).await;
    secret.rotated().await;
    let bao = openbao(&world).await;
    let settings = json!({
        "secret": secret.arn, "secretsManager": world.lab.url(), "jwks": world.url("jwks.json"),
        "maxTokenLifetime": LIFETIME, "maxCache": CACHE,
        "openbao": {"url": format!("https://localhost:{}", bao.port()), "ca": bao.ca_pem()},
    })
    .to_string();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signing_key");
    let python = tokio::task::spawn_blocking(provision::python_verifier).await.expect("no panic");
    let mut command = program(python.expect("PyJWT is obtained"));
    command.arg(here.join("client.py")).arg(&settings);
    let python = started(command);
    let node =
        tokio::task::spawn_blocking(provision::node_verifier).await.expect("no panic").expect("jose is obtained");
    let node = node.map(|directory| {
        // It finds its packages from where it lies.
        let script = directory.join("client.mjs");
        std::fs::copy(here.join("client.mjs"), &script).expect("the program is copied");
        let mut command = program("node");
        command.arg(script).arg(&settings);
        started(command)
    });
    for _ in 0..rotations() {
        sleep(Duration::from_secs(CACHE + 1)).await;
        secret.rotated().await;
        let looked = world.look().await;
        assert_eq!(looked["noticed"], Value::Null);
    }
    // The last keys retire.
    sleep(Duration::from_secs(LIFETIME + CACHE + 1)).await;
    world.look().await;
    sleep(Duration::from_secs(3 * CACHE + 1)).await;
    let python = counted(python).await;
    println!("{algorithm}, PyJWT and OpenBao: {python}");
    let count = |counts: &Value, name: &str| counts[name].as_u64().expect(name);
    for (refusals, proofs, least) in
        [("refused", "verified", 100), ("openbaoRefused", "openbao", 10), ("retiredAccepted", "retiredTried", 4)]
    {
        assert!(count(&python, refusals) == 0 && count(&python, proofs) >= least, "{python}");
    }
    assert_eq!(count(&python, "keys") as usize, rotations() + 1, "{python}");
    if let Some(node) = node {
        let node = counted(node).await;
        println!("{algorithm}, jose: {node}");
        assert!(count(&node, "refused") == 0 && count(&node, "verified") >= 100, "{node}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_refused_in_its_life() {
    proved("ES256").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_of_an_rsa_key_is_refused_in_its_life() {
    proved("RS256").await;
}
