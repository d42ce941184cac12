//! Functions that run elsewhere: behind another Lambda endpoint, and in containers. What real containers do is in `.ci/sam`; here the
//! bridge is another address of the loopback interface, and the container engine is what says so.

use lab::disturb::Disturb;
use lab::lambda::{Function, Host, Outcome};
use lab::process::Process;
use lab::{Lab, servers};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;
use tokio_postgres_rustls::MakeRustlsConnect;

const PATIENCE: Duration = Duration::from_secs(60);

/// Stands for the bridge's address.
const BRIDGE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A host whose function `scripted` runs at `endpoint`.
fn host(endpoint: &str) -> Host {
    let host = Host::new(&Disturb::new()).unwrap();
    for name in ["scripted", "unknown"] {
        let mut function = Function::new(name, "");
        function.elsewhere = Some(endpoint.to_owned());
        host.deploy(function);
    }
    host
}

fn payload(outcome: &Outcome) -> Value {
    serde_json::from_slice(&outcome.payload).unwrap()
}

#[tokio::test]
async fn a_function_elsewhere_answers_as_if_it_were_here() {
    let there = Lab::builder(env!("CARGO_BIN_EXE_scripted-function")).name("scripted").start().await.unwrap();
    let host = host(&there.url());
    let invoke = async |event: Value| host.invoke("scripted", event.to_string().into_bytes()).await.unwrap();
    let echo = invoke(json!({"do": "echo"})).await;
    assert_eq!((payload(&echo), echo.function_error.clone()), (json!({"do": "echo"}), None));
    let failed = invoke(json!({"do": "error"})).await;
    assert_eq!(failed.function_error.as_deref(), Some("Unhandled"));
    assert_eq!(failed.result().unwrap_err().error_type, "some-code");
    assert_eq!(host.environments(), 0, "nothing is run here");
}

#[tokio::test]
async fn what_goes_wrong_with_the_endpoint_is_said() {
    let there = Lab::builder(env!("CARGO_BIN_EXE_scripted-function")).name("scripted").start().await.unwrap();
    let url = there.url();
    let failure = async |name: &str| host(&url).invoke(name, b"{}".to_vec()).await.unwrap().result().unwrap_err();
    let unknown = failure("unknown").await;
    assert_eq!(unknown.error_type, "LambdaEndpoint.Refused");
    assert!(unknown.error_message.contains("HTTP 404, Function not found: "), "{}", unknown.error_message);
    drop(there);
    let gone = failure("scripted").await;
    assert_eq!(gone.error_type, "LambdaEndpoint.Unreachable");
    let said = format!("Nothing answers at {url}. Start `sam local start-lambda`");
    assert!(gone.error_message.starts_with(&said), "{}", gone.error_message);
}

/// A container engine whose bridge is [`BRIDGE`]. It ends with the test's process.
fn engine() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 256];
            let read = stream.read(&mut request).unwrap();
            let info = request[..read].starts_with(b"GET /info ");
            let networks =
                json!([{"Name": "bridge", "IPAM": {"Config": [{"Subnet": "127.0.0.0/8", "Gateway": BRIDGE}]}}]);
            let body = if info { json!({"SecurityOptions": []}) } else { networks };
            write!(stream, "HTTP/1.0 200 OK\r\n\r\n{body}").unwrap();
        }
    });
    let host = format!("unix://{}", socket.display());
    (directory, host)
}

/// A running `lab serve`, and what it said.
struct Served {
    process: Process,
    said: Vec<String>,
    /// What it says later.
    later: Receiver<String>,
}

impl Served {
    fn start(arguments: &[&str], docker_host: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
        command.args(["serve", "--port", "0"]).args(arguments).env("DOCKER_HOST", docker_host);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::spawn(&mut command, Signal::TERM).unwrap();
        let mut said = Vec::new();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        while !said.last().is_some_and(|line: &String| line.contains("Ctrl-C")) {
            said.push(lines.next().unwrap_or_else(|| panic!("ended before it served: {said:?}")).unwrap());
        }
        // Whoever stops reading ends the command.
        let (sender, later) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        Self { process, said, later }
    }

    /// Waits until it says this.
    fn hears(&self, what: &str) {
        let mut heard = Vec::new();
        while !heard.last().is_some_and(|line: &String| line.contains(what)) {
            heard.push(
                self.later.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("it says {heard:?}, and not {what}")),
            );
        }
    }

    /// The rest of the line after `start`.
    fn after(&self, start: &str) -> &str {
        let rest = self.said.iter().find_map(|line| line.trim_start().strip_prefix(start));
        rest.unwrap_or_else(|| panic!("{start} is not in {:#?}", self.said)).trim()
    }

    fn port(&self) -> u16 {
        let url = self.after("aws ").split(": ").next().unwrap();
        url.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// What Secrets Manager answers at the bridge's address.
    async fn call(&self, operation: &str, request: Value) -> Value {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http.post(format!("http://{BRIDGE}:{}", self.port())).json(&request);
        let answer = request.header("X-Amz-Target", format!("secretsmanager.{operation}")).send().await.unwrap();
        answer.json().await.unwrap()
    }

    async fn secret(&self, name: &str) -> Value {
        let answer = self.call("GetSecretValue", json!({"SecretId": name})).await;
        serde_json::from_str(answer["SecretString"].as_str().unwrap()).unwrap()
    }

    /// What `sam local` is told of a function.
    fn variables(&self, function: &str) -> Value {
        let file = self.configuration().with_extension("json");
        serde_json::from_slice::<Value>(&std::fs::read(file).unwrap()).unwrap()[function].clone()
    }

    fn configuration(&self) -> PathBuf {
        let line = self.after("sam local start-lambda --config-file ");
        Path::new(line).to_owned()
    }
}

fn event(step: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../events/{step}.json"));
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[tokio::test]
async fn containers_reach_the_lab_at_the_bridge_and_nowhere_else() {
    let (_engine, docker_host) = engine();
    let served = Served::start(&["--for-containers", "--with", "postgres"], &docker_host);
    assert_eq!(served.after("reach "), "127.0.0.1, and 127.0.0.2 for containers in 127.0.0.0/8; no other address");
    let secret = served.secret("lab/postgres").await;
    assert_eq!(secret["host"], "host.docker.internal");
    let database = u16::try_from(secret["port"].as_u64().unwrap()).unwrap();
    for port in [served.port(), database] {
        TcpStream::connect((BRIDGE, port)).unwrap();
        let elsewhere = TcpStream::connect((Ipv4Addr::new(127, 0, 0, 3), port)).unwrap_err();
        assert_eq!(elsewhere.kind(), ErrorKind::ConnectionRefused);
    }

    // As a function in a container logs in: by the name that containers have for this machine, with the CA of its variables.
    let ca = served.variables("PostgresFunction")["CA_BUNDLE"].as_str().unwrap().to_owned();
    let mut config = tokio_postgres::Config::new();
    config.host(servers::CONTAINERS_HOST).hostaddr(BRIDGE.into()).port(database).dbname("postgres");
    config.user(secret["username"].as_str().unwrap()).password(secret["password"].as_str().unwrap());
    config.ssl_mode(tokio_postgres::config::SslMode::Require);
    let (client, connection) = config.connect(MakeRustlsConnect::new(trusting(&ca))).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SELECT 1").await.unwrap();
}

fn trusting(ca: &str) -> rustls::ClientConfig {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}

#[tokio::test]
async fn sam_is_told_what_the_functions_need_and_nothing_that_the_template_lacks() {
    let (_engine, docker_host) = engine();
    let served = Served::start(&["--for-containers", "--with", "api-key,postgres"], &docker_host);
    let template = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml")).unwrap();
    for function in ["ApiKeyFunction", "PostgresFunction"] {
        let variables = served.variables(function);
        for name in variables.as_object().unwrap().keys() {
            // The SAM CLI leaves out a variable that the template does not have.
            assert!(
                template.contains(&format!("\n        {name}: "))
                    || template.contains(&format!("\n          {name}: ")),
                "{name}"
            );
        }
        let lab = format!("http://host.docker.internal:{}", served.port());
        assert_eq!(variables["AWS_ENDPOINT_URL_SECRETS_MANAGER"], lab);
    }
    let issuer = served.variables("ApiKeyFunction");
    assert!(issuer["ISSUER_ENDPOINT_URL"].as_str().unwrap().starts_with("https://host.docker.internal:"), "{issuer}");
    let admin = served.call("DescribeSecret", json!({"SecretId": "lab/issuer-admin"})).await;
    assert_eq!(issuer["ADMIN_SECRET_ARNS"], admin["ARN"]);

    let configuration = served.configuration();
    let text = std::fs::read_to_string(&configuration).unwrap();
    assert_eq!(text.matches("add_host = [\"host.docker.internal:127.0.0.2\"]").count(), 2, "{text}");
    served.process.signal(Signal::TERM).unwrap();
    let Served { mut process, .. } = served;
    process.wait_for(PATIENCE).unwrap().expect("it ends");
    assert!(!configuration.exists() && !configuration.with_extension("json").exists(), "the files are left");
}

#[tokio::test]
async fn the_events_are_about_a_rotation_that_has_begun() {
    let (_engine, docker_host) = engine();
    let served = Served::start(&["--for-containers", "--with", "api-key"], &docker_host);
    for step in ["createSecret", "setSecret", "testSecret", "finishSecret", "diagnose", "recover"] {
        let event = event(step);
        let described = served.call("DescribeSecret", json!({"SecretId": event["SecretId"]})).await;
        assert_eq!(described["ARN"], event["SecretId"], "{step}");
        if let Some(token) = event["ClientRequestToken"].as_str() {
            assert_eq!(described["VersionIdsToStages"][token], json!(["AWSPENDING"]), "{step}");
        }
    }
    // As after a rotation that failed: RotateSecret runs the same version again.
    let token = uuid::Uuid::new_v4().to_string();
    let again = json!({"SecretId": "orders/app-user", "ClientRequestToken": token});
    let refused = served.call("RotateSecret", again).await;
    assert!(refused["Message"].as_str().unwrap().starts_with("A previous rotation isn't complete"), "{refused}");
    served.hears("✗ createSecret");
}

// Waiting for what the command says must not hold up the endpoint.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_invokes_the_function_at_the_endpoint_of_ones_choice() {
    let there = Lab::builder(env!("CARGO_BIN_EXE_scripted-function")).name("lockstep-postgres").start().await.unwrap();
    let served = Served::start(&["--lambda-endpoint", &there.url()], "unix:///nonexistent");
    assert_eq!(served.after("reach "), "127.0.0.1 alone");
    let url = format!("http://127.0.0.1:{}", served.port());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = json!({"SecretId": "lab/postgres", "ClientRequestToken": "5e1f1b3c-9d1e-4a0e-8b50-2f5f0c2a7d12"});
    let answer =
        http.post(url).header("X-Amz-Target", "secretsmanager.RotateSecret").json(&request).send().await.unwrap();
    assert!(answer.status().is_success());
    // It answers every step with an error.
    served.hears("✗ createSecret");
    assert_eq!(there.host().environments(), 1, "the function was not invoked there");
}

#[test]
fn without_a_container_engine_it_is_3_and_one_line_says_what_to_install() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(["serve", "--port", "0", "--for-containers"]).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("/nonexistent/docker.sock") && text.contains("install Docker, or Podman"), "{text}");
}
