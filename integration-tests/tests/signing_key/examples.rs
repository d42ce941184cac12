//! The examples in `examples/signing-keys` sign with a real secret and verify with its published set, over rotations.

use integration_tests::program;
use integration_tests::signing::{Secret, World};
use lab::provision;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::time::sleep;

const CACHE: u64 = 2;
const ROTATIONS: usize = 3;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/signing-keys")
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signing_key")
}

async fn rotating<'a>(world: &'a World, algorithm: &str) -> Secret<'a> {
    let fields = json!({"algorithm": algorithm, "maxTokenLifetime": 60, "maxCache": CACHE});
    let secret = world.secret(&["s3://tokens.example.com/jwks.json"], fields).await;
    secret.rotated().await;
    secret
}

fn settings(world: &World, secret: &Secret<'_>, algorithm: &str) -> String {
    let (manager, jwks) = (world.lab.url(), world.url("jwks.json"));
    json!({"secret": secret.arn, "secretsManager": manager, "jwks": jwks, "maxCache": CACHE, "algorithm": algorithm})
        .to_string()
}

/// Has a program sign a token before each rotation, right after it and a while later, and verify all tokens each time. A while later the key
/// of AWSCURRENT has to sign.
async fn drive(command: std::process::Command, secret: &Secret<'_>) {
    let mut command = Command::from(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    let mut child = command.spawn().expect("the example starts");
    let mut input = child.stdin.take().expect("its input");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut signed = 0;
    let mut go = async || {
        input.write_all(b"go\n").await.expect("it reads");
        signed += 1;
        let line = lines.next_line().await.expect("it answers").unwrap_or_default();
        line.strip_prefix(&format!("{signed} ")).unwrap_or_else(|| panic!("{line:?}")).to_owned()
    };
    go().await;
    for _ in 0..ROTATIONS {
        sleep(Duration::from_secs(CACHE)).await;
        assert_eq!(go().await, secret.at("AWSCURRENT").await["current"]["kid"]);
        secret.rotated().await;
        go().await;
    }
    drop(input);
    assert_eq!(lines.next_line().await.expect("it answers").as_deref(), Some("refused 2"));
    assert!(child.wait().await.expect("it ends").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_in_python_signs_and_verifies() {
    let world = World::start().await;
    let secret = rotating(&world, "ES256").await;
    let python = tokio::task::spawn_blocking(provision::python_verifier).await.expect("no panic");
    let mut command = program(python.expect("PyJWT is obtained"));
    command
        .arg("-B")
        .arg(here().join("example.py"))
        .arg(examples().join("python"))
        .arg(settings(&world, &secret, "ES256"));
    drive(command, &secret).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_in_node_signs_and_verifies() {
    let node = tokio::task::spawn_blocking(provision::node_verifier).await.expect("no panic");
    let Some(modules) = node.expect("jose is obtained") else { return };
    let world = World::start().await;
    let secret = rotating(&world, "EdDSA").await;
    // Node finds packages from where a file lies.
    let copied = |from: PathBuf| {
        let to = modules.join(from.file_name().expect("a name"));
        std::fs::copy(from, &to).expect("it is copied");
        to
    };
    copied(examples().join("node/tokens.mjs"));
    let mut command = program("node");
    command.arg(copied(here().join("example.mjs"))).arg(settings(&world, &secret, "EdDSA"));
    drive(command, &secret).await;
}

/// The program that drives the example in Rust. The example is a workspace of its own, and what is built of it is kept.
async fn driver() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/examples");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--quiet", "--example", "driver", "--target-dir"]).arg(&built);
    let status = command.current_dir(examples().join("rust")).stdin(Stdio::null()).status().await;
    assert!(status.expect("cargo starts").success(), "cargo says why above");
    built.join("debug/examples/driver")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_in_rust_signs_and_verifies() {
    let driver = driver().await;
    for algorithm in ["RS256", "EdDSA"] {
        let world = World::start().await;
        let secret = rotating(&world, algorithm).await;
        let mut command = program(&driver);
        command.arg(settings(&world, &secret, algorithm));
        drive(command, &secret).await;
    }
}
