//! The release binary under AWS's own Runtime Interface Emulator, so that not only our lab calls it Lambda.

use integration_tests::{STEPS, Secret, World, function};
use lab::port::Reserved;
use lab::process::Process;
use lab::provision;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long the emulator may take to listen: it is a single program.
const START_LIMIT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_whole_rotation() {
    let world = World::start().await;
    let emulator = Emulator::start(&[
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &world.lab.url()),
        ("CA_BUNDLE", world.server.ca_pem()),
    ])
    .await;
    let secret = world.user("app").await;
    let (_, old_password) = secret.credential("AWSCURRENT").await;
    let token = secret.registered().await;
    let mut outcomes = Vec::new();
    for step in STEPS {
        let (status, answer) = emulator.invoke(&event(step, &secret, &token)).await;
        assert_eq!(status, 200, "{step}: {answer}");
        assert_eq!(answer["step"], step, "{answer}");
        outcomes.push(answer["outcome"].clone());
    }
    assert_eq!(outcomes, ["proposed", "changed", "verified", "promoted"]);
    assert!(secret.opens("AWSCURRENT").await);
    assert!(!world.opens("app", &old_password).await, "the old password still opens the database");
    assert_eq!(secret.labels().await[&token], json!(["AWSCURRENT", "AWSPENDING"]));

    let output = emulator.stop();
    let (_, new_password) = secret.credential("AWSCURRENT").await;
    assert!(output.contains("step done"), "the function's log is missing: {output}");
    assert!(![old_password, new_password].iter().any(|password| output.contains(password.as_str())));
    // The emulator reports a cold start once: all steps were served by one process.
    assert_eq!(output.matches("INIT START").count() + output.matches("INIT RTDONE").count(), 2, "{output}");
}

#[tokio::test]
async fn errors_come_back_with_their_code_as_type() {
    let world = World::start().await;
    // No CA: the server's certificate is by one that nobody knows.
    let emulator = Emulator::start(&[("AWS_ENDPOINT_URL_SECRETS_MANAGER", &world.lab.url())]).await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    let not_there = Event { secret: "not/there", ..event("createSecret", &secret, &token) };
    for (event, code) in [
        (event("createSecret", &secret, &token), None),
        (event("setSecret", &secret, &token), Some("tls-unknown-issuer")),
        (event("finishSecret", &secret, &token), Some("tls-unknown-issuer")),
        (event("dropSecret", &secret, &token), Some("step-unknown")),
        (not_there, Some("secret-not-found")),
        (event("setSecret", &secret, "00000000-0000-0000-0000-000000000000"), Some("version-unknown")),
    ] {
        let (_, answer) = emulator.invoke(&event).await;
        assert_eq!(answer.get("errorType").and_then(Value::as_str), code, "{answer}");
        if let Some(code) = code {
            let message = answer["errorMessage"].as_str().expect("a message");
            assert!(message.starts_with(&format!("[{code}] ")), "{message}");
        }
    }
    // After all these, the process is still the first one.
    let output = emulator.stop();
    assert!(!output.contains("Runtime exited") && !output.contains("panic"), "{output}");
}

#[tokio::test]
async fn the_files_in_events_can_be_posted() {
    let world = lab::Lab::builder(function().await).start().await.expect("the lab starts");
    let emulator = Emulator::start(&[("AWS_ENDPOINT_URL_SECRETS_MANAGER", &world.url())]).await;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    for (name, code) in [("testSecret.json", "secret-not-found"), ("malformed/missing-step.json", "event-malformed")] {
        let (_, answer) = emulator.post(std::fs::read(directory.join(name)).expect(name)).await;
        assert_eq!(answer["errorType"], code, "{name}: {answer}");
    }
}

/// What Secrets Manager sends.
struct Event<'a> {
    step: &'a str,
    secret: &'a str,
    token: &'a str,
}

fn event<'a>(step: &'a str, secret: &'a Secret<'_>, token: &'a str) -> Event<'a> {
    Event { step, secret: &secret.arn, token }
}

/// AWS's emulator with our function. Ends when dropped.
struct Emulator {
    process: Process,
    address: SocketAddr,
    output: TempDir,
    _ports: [Reserved; 2],
}

impl Emulator {
    async fn start(environment: &[(&str, &str)]) -> Self {
        let program = tokio::task::spawn_blocking(|| provision::rie().expect("the emulator is there"));
        let program = program.await.expect("no panic");
        let output = tempfile::tempdir().expect("a directory");
        let log = File::create(output.path().join("log")).expect("a file");
        // It takes no port 0.
        let ports = [(); 2].map(|()| Reserved::new().expect("a free port"));
        let [address, api] = ports.each_ref().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port.number())));
        let mut command = Command::new(program);
        command
            .args(["--runtime-interface-emulator-address", &address.to_string()])
            .args(["--runtime-api-address", &api.to_string()])
            .arg(function().await)
            .env_clear()
            .envs([("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "any"), ("AWS_SECRET_ACCESS_KEY", "any")])
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", "30")
            .envs(environment.iter().copied())
            .current_dir(output.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .process_group(0);
        // The emulator starts the function in a process group of its own, but ends it when it is told to end itself.
        let process = Process::spawn(&mut command, Signal::TERM).expect("the emulator starts");
        let emulator = Self { process, address, output, _ports: ports };
        let start = Instant::now();
        while tokio::net::TcpStream::connect(address).await.is_err() {
            assert!(start.elapsed() < START_LIMIT, "the emulator does not listen: {}", emulator.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        emulator
    }

    async fn invoke(&self, event: &Event<'_>) -> (u16, Value) {
        let Event { step, secret, token } = event;
        let event = json!({"Step": step, "SecretId": secret, "ClientRequestToken": token});
        self.post(event.to_string().into_bytes()).await
    }

    async fn post(&self, event: Vec<u8>) -> (u16, Value) {
        let url = format!("http://{}/2015-03-31/functions/function/invocations", self.address);
        let direct = reqwest::Client::builder().no_proxy().build().expect("a client");
        let response = direct.post(url).body(event).send().await.expect("the emulator answers");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}\n{}", self.log())))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.output.path().join("log")).unwrap_or_default()
    }

    /// Ends it and returns all that it and the function printed.
    fn stop(mut self) -> String {
        self.process.stop().expect("the emulator stops");
        self.log()
    }
}
