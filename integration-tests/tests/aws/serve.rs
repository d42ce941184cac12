//! `cargo lab serve` with several secrets, with secrets that a person makes, and with functions that are not Lockstep's.

use super::support::{BUILD, PATIENCE, Serve, cargo_lab, commands, provisioned, root, shell};
use lab::provision;
use mysql_async::{Conn, OptsBuilder, SslOpts};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const FUNCTIONS: &str = "arn:aws:lambda:us-east-1:123456789012:function";

/// A running lab, and what its screen said.
struct Lab {
    serve: Serve,
    url: String,
    /// What sets the AWS CLI up.
    exports: Vec<String>,
    /// All lines that are to be typed.
    typed: Vec<String>,
    ca: PathBuf,
    /// Where the issuer answers, if there is one.
    issuer: String,
}

impl Lab {
    async fn start(arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let start = move || {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            let serve = Serve::start(&arguments);
            let lines = serve.read_until("Ctrl-C", BUILD);
            (serve, lines)
        };
        let (serve, lines) = tokio::task::spawn_blocking(start).await.expect("no panic");
        let typed = commands(&lines);
        let exports: Vec<_> = typed.iter().filter(|line| line.starts_with("export ")).cloned().collect();
        let word = |start: &str| {
            let words = typed.iter().flat_map(|line| line.split([' ', '\'']));
            words.filter_map(|word| word.strip_prefix(start)).next().unwrap_or_default().to_owned()
        };
        let (url, ca) = (word("AWS_ENDPOINT_URL="), word("sslrootcert=").into());
        let issuer = lines.iter().find_map(|line| line.trim_start().strip_prefix("issuer")?.trim().split_once(','));
        let issuer = issuer.map(|(url, _)| url.to_owned()).unwrap_or_default();
        Self { serve, url, exports, typed, ca, issuer }
    }

    /// Types lines in a shell that the exports have set up.
    async fn shell(&self, lines: &[String]) -> String {
        shell(&[self.exports.as_slice(), lines].concat()).await
    }

    /// Types the lines of docs/lab.md that are marked so.
    async fn documented(&self, mark: &str) {
        let lines = page();
        let block =
            lines.split(&format!("<!-- typed: {mark} -->\n```sh\n")).nth(1).and_then(|rest| rest.split("```").next());
        let variables = format!("CA={} ISSUER={}", self.ca.display(), self.issuer);
        self.shell(&[variables, block.expect("a block").to_owned()]).await;
    }

    async fn aws(&self, command: &str) -> String {
        self.shell(&[format!("aws --output json {command}")]).await
    }

    /// A secret's value with this label.
    async fn value(&self, secret: &str, label: &str) -> Value {
        let command = format!("secretsmanager get-secret-value --secret-id {secret} --version-stage {label}");
        let answer: Value = serde_json::from_str(&self.aws(&command).await).expect("JSON");
        serde_json::from_str(answer["SecretString"].as_str().expect("a text")).expect("JSON")
    }

    /// Logs in at a PostgreSQL of the lab, and asks it something or has it do something.
    async fn psql(&self, credential: &Value, sql: &str) -> String {
        let text = |name: &str| credential[name].as_str().expect("a text").to_owned();
        let ca = self.ca.display();
        let command = format!(
            "PGUSER={} PGPASSWORD={} psql --no-psqlrc --tuples-only --no-align --command {} 'host=localhost port={} dbname=postgres \
             sslmode=verify-full sslrootcert={ca}' 2>&1 || true",
            text("username"),
            quoted(&text("password")),
            quoted(sql),
            credential["port"],
        );
        self.shell(&[command]).await
    }

    /// Waits until this many rotations have ended, and returns the lines of it.
    fn rotations(&self, count: usize) -> String {
        (0..count).flat_map(|_| self.serve.read_until("✓ finishSecret", PATIENCE)).collect::<Vec<_>>().join("\n")
    }
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/lab.md")).expect("the page is there")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

async fn opens_mysql(credential: &Value, ca: &Path) -> bool {
    let text = |name: &str| credential[name].as_str().map(str::to_owned);
    let options = OptsBuilder::default()
        .ip_or_hostname("localhost")
        .tcp_port(credential["port"].as_u64().and_then(|port| port.try_into().ok()).expect("a port"))
        .user(text("username"))
        .pass(text("password"))
        .prefer_socket(false)
        .ssl_opts(SslOpts::default().with_root_certs(vec![ca.to_owned().into()]));
    Conn::new(options).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_three_kinds_rotate_and_so_does_one_of_the_persons_own() {
    let mut lab = Lab::start(&["--with", "postgres,mysql,api-key"]).await;
    let secrets = ["lab/postgres", "lab/mysql", "lab/api-key"];
    let mut before = Vec::new();
    for secret in secrets {
        before.push(lab.value(secret, "AWSCURRENT").await);
    }

    // All at once: the steps of one are carried out between those of another.
    lab.shell(&secrets.map(rotate_secret)).await;
    let shown = lab.rotations(3);
    assert_eq!((shown.matches('✓').count(), shown.matches("Rotation of lab/").count()), (12, 3), "{shown}");
    for (secret, before) in secrets.iter().zip(&before) {
        let key = if *secret == "lab/api-key" { "apiKey" } else { "password" };
        assert_ne!(lab.value(secret, "AWSCURRENT").await[key], before[key], "{secret}");
        assert_eq!(lab.value(secret, "AWSPREVIOUS").await[key], before[key], "{secret}");
    }
    the_shown_lines_open_what_rotated(&lab, &before).await;

    // What the page says about secrets of one's own is typed.
    lab.documented("postgres").await;
    let shown = lab.rotations(1);
    assert!(shown.contains("Rotation of shop\n") && shown.matches('✓').count() == 4, "{shown}");
    let (rotated, first) = (lab.value("shop", "AWSCURRENT").await, lab.value("shop", "AWSPREVIOUS").await);
    assert_eq!(lab.psql(&rotated, "SELECT session_user").await.trim(), "shop");
    assert!(lab.psql(&first, "SELECT 1").await.contains("password authentication failed"));
    lab.documented("api-key").await;
    let shown = lab.rotations(1);
    assert!(shown.contains("Rotation of my-key\n") && shown.matches('✓').count() == 4, "{shown}");
    let (rotated, first) = (lab.value("my-key", "AWSCURRENT").await, lab.value("my-key", "AWSPREVIOUS").await);
    assert_ne!(rotated["apiKeyId"], first["apiKeyId"]);

    // A function that is not there is refused, and the secret keeps the one that it has.
    let wrong =
        format!("aws secretsmanager rotate-secret --secret-id shop --rotation-lambda-arn {FUNCTIONS}:lockstep-oracle");
    let refused = lab.shell(&[format!("{wrong} 2>&1 || true")]).await;
    assert!(refused.contains("(AccessDeniedException) when calling the RotateSecret operation"), "{refused}");
    let described = lab.aws("secretsmanager describe-secret --secret-id shop").await;
    assert!(described.contains(":function:lockstep-postgres\"") && !described.contains("AWSPENDING"), "{described}");

    // Each secret is diagnosed by its own function.
    let (code, _, said) = cargo_lab(&lab.url, &["diagnose"]).await;
    assert_eq!(code, Some(3), "{said}");
    for secret in secrets.into_iter().chain(["shop", "my-key"]) {
        assert!(said.contains(secret), "{said}");
        let (code, answer, said) = cargo_lab(&lab.url, &["diagnose", secret]).await;
        assert_eq!((code, &answer["finding"]), (Some(0), &json!("healthy")), "{secret}: {said}");
    }
    lab.serve.interrupt();
    assert!(!lab.ca.exists(), "the CA's file is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_signing_keys_are_served_and_so_are_those_of_the_persons_own() {
    let mut lab = Lab::start(&["--with", "signing-key,tls"]).await;
    lab.shell(&["lab/signing-key", "lab/certificate"].map(rotate_secret)).await;
    let shown = lab.rotations(2);
    assert_eq!(shown.matches('✓').count(), 8, "{shown}");
    let shown_by = |program: &str| {
        let at = lab.typed.iter().position(|line| line.contains(program)).expect("a line with the program");
        // A line that ends in a pipe goes on in the next one.
        let from = at - usize::from(at > 0 && lab.typed[at - 1].ends_with('|'));
        lab.typed[from..=at].to_vec()
    };
    let published: Value = serde_json::from_str(&lab.shell(&shown_by("curl ")).await).expect("JSON");
    let keys = lab.value("lab/signing-key", "AWSCURRENT").await;
    assert_eq!(published["keys"][0]["kid"], keys["current"]["kid"], "{published}");
    let certificate = lab.shell(&shown_by("openssl ")).await;
    assert!(certificate.contains("DNS:*.app.example.com"), "{certificate}");

    // What the page says about secrets of one's own is typed.
    lab.documented("tls").await;
    lab.documented("signing-key").await;
    let shown = lab.rotations(2);
    assert_eq!(shown.matches('✓').count(), 8, "{shown}");
    assert!(lab.value("my-certificate", "AWSCURRENT").await["fullChain"].is_string());
    assert!(lab.value("my-signing-key", "AWSCURRENT").await["next"]["kid"].is_string());
    for secret in ["lab/signing-key", "lab/certificate", "lab/ca-account", "my-certificate", "my-signing-key"] {
        let (code, answer, said) = cargo_lab(&lab.url, &["diagnose", secret]).await;
        assert_eq!((code, &answer["finding"]), (Some(0), &json!("healthy")), "{secret}: {said}");
    }
    lab.serve.interrupt();
}

fn rotate_secret(secret: &str) -> String {
    format!("aws secretsmanager rotate-secret --secret-id {secret}")
}

/// What the screen shows for PostgreSQL and the API key is typed. There is no client of MySQL to type for, so a driver logs in.
async fn the_shown_lines_open_what_rotated(lab: &Lab, before: &[Value]) {
    let typed = |program: &str| {
        let at = lab.typed.iter().position(|line| line.contains(program)).expect("a line with the program");
        let from = lab.typed[..at].iter().rposition(|line| line.starts_with("secret=")).expect("a line before it");
        lab.typed[from..=at].to_vec()
    };
    // The shell's input is a query.
    assert_eq!(lab.shell(&typed("psql ")).await.lines().last(), Some("app"));
    let key = lab.value("lab/api-key", "AWSCURRENT").await;
    let answer: Value = serde_json::from_str(&lab.shell(&typed("curl ")).await).expect("JSON");
    assert_eq!(answer["id"], key["apiKeyId"]);
    let mysql = lab.value("lab/mysql", "AWSCURRENT").await;
    assert!(opens_mysql(&mysql, &lab.ca).await && opens_mysql(&before[1], &lab.ca).await, "a dual password");
    assert!(!opens_mysql(&json!({"port": mysql["port"], "username": "app", "password": "x"}), &lab.ca).await);
    assert!(lab.typed.iter().any(|line| line.contains("mysql --protocol=TCP")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_function_of_the_persons_own_rotates_a_secret() {
    let python = provisioned(provision::python).await;
    let directory = root().join("integration-tests/tests/aws");
    // In its own directory, as the README of the lab shows it.
    let command = format!(
        "env -C {} PYTHONDONTWRITEBYTECODE=1 {} -m awslambdaric python_function.handler",
        directory.display(),
        python.display()
    );
    let attach = format!("mine={command}");
    let mut lab = Lab::start(&["--with", "postgres", "--function", &attach]).await;
    let invoke = async |event: &str| {
        let file = lab.serve.directory.path().join("answer.json");
        let command = format!("lambda invoke --function-name mine --payload {} {}", quoted(event), file.display());
        (lab.aws(&command).await, std::fs::read_to_string(&file).expect("an answer"))
    };

    let (_, told) = invoke(r#"{"do": "tell"}"#).await;
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let arn = format!("{FUNCTIONS}:mine");
    assert_eq!(told, json!({"handler": "python_function.handler", "name": "mine", "arn": arn, "in time": true}));
    // The page's table of variables.
    let (_, set) = invoke(r#"{"do": "variables"}"#).await;
    let set: Vec<String> = serde_json::from_str(&set).expect("JSON");
    let page = page();
    let rows =
        page.split("| variable | |\n|---|---|\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a table");
    let names: Vec<_> =
        rows.split('`').filter(|text| text.chars().all(|it| it.is_ascii_uppercase() || it == '_')).collect();
    assert!(names.len() >= 7 && names.iter().all(|name| set.iter().any(|it| it == name)), "{names:?}, but {set:?}");
    assert!(!set.contains(&"HOME".to_owned()) && set.contains(&"AWS_LAMBDA_RUNTIME_API".to_owned()), "{set:?}");

    let before = lab.value("lab/postgres", "AWSCURRENT").await;
    let rotate = format!("secretsmanager rotate-secret --secret-id lab/postgres --rotation-lambda-arn {arn}");
    lab.aws(&rotate).await;
    let shown = lab.rotations(1);
    assert_eq!(shown.matches('✓').count(), 4, "{shown}");
    for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
        assert!(shown.contains(&format!("mine | python does {step}\n  ✓ {step}")), "{shown}");
    }
    let after = lab.value("lab/postgres", "AWSCURRENT").await;
    assert_ne!(after["password"], before["password"]);
    assert_eq!(lab.psql(&after, "SELECT session_user").await.trim(), "app");
    assert!(lab.psql(&before, "SELECT 1").await.contains("password authentication failed"));

    // After a crash there is a new environment.
    let (answer, error) = invoke(r#"{"do": "exit"}"#).await;
    assert!(answer.contains("Unhandled") && error.contains("Runtime exited with error: exit status 3"), "{error}");
    lab.aws(&rotate).await;
    assert_eq!(lab.rotations(1).matches('✓').count(), 4);
    // What it raises is the error of the step.
    let (_, error) = invoke(r#"{"Step": "launchSecret"}"#).await;
    assert!(error.contains("\"errorType\": \"KeyError\"") && error.contains("launchSecret"), "{error}");

    // Only Lockstep's functions can be asked, and the same secret can go to one of them.
    let (code, _, said) = cargo_lab(&lab.url, &["diagnose"]).await;
    assert!(
        code == Some(1) && said.contains(&format!("rotated by {arn}, which is not a function of Lockstep")),
        "{said}"
    );
    let ours = format!("'{FUNCTIONS}:lockstep-postgres:$LATEST'");
    lab.aws(&format!("secretsmanager rotate-secret --secret-id lab/postgres --rotation-lambda-arn {ours}")).await;
    assert_eq!(lab.rotations(1).matches('✓').count(), 4);
    let (code, answer, _) = cargo_lab(&lab.url, &["diagnose"]).await;
    assert_eq!((code, &answer["finding"]), (Some(0), &json!("healthy")));
    lab.serve.interrupt();
}

/// Without a database, and without a function of Lockstep: nothing is built.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_the_persons_own_is_enough_and_its_screen_can_be_typed() {
    let scripted = tempfile::tempdir().expect("a directory");
    let program = scripted.path().join("function.py");
    // No runtime interface client: the Runtime API is HTTP, and any program can speak it.
    std::fs::write(&program, PLAIN).expect("the program is written");
    let mut lab = Lab::start(&["--function", &format!("plain=python3 {}", program.display())]).await;
    let typed: Vec<_> = lab.typed.iter().filter(|line| line.starts_with("aws ")).cloned().collect();
    assert_eq!(typed.len(), 3, "{typed:#?}");
    lab.shell(&typed[..2]).await;
    let shown = lab.rotations(1);
    assert_eq!(shown.matches('✓').count(), 4, "{shown}");
    let described = lab.shell(&typed[2..]).await;
    assert!(described.contains("\"AWSPREVIOUS\""), "{described}");
    assert_eq!(lab.value("mine", "AWSCURRENT").await, json!({"password": "the next"}));
    lab.serve.interrupt();
}

const PLAIN: &str = r#"
import json, os, urllib.request

def call(url, body=None, **headers):
    return urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers))

def manager(operation, **request):
    headers = {"X-Amz-Target": "secretsmanager." + operation, "Content-Type": "application/x-amz-json-1.1"}
    return json.load(call(os.environ["AWS_ENDPOINT_URL"], json.dumps(request).encode(), **headers))

runtime = "http://%s/2018-06-01/runtime/invocation/" % os.environ["AWS_LAMBDA_RUNTIME_API"]
while True:
    with call(runtime + "next") as answer:
        event, id = json.load(answer), answer.headers["Lambda-Runtime-Aws-Request-Id"]
    secret, token = event["SecretId"], event["ClientRequestToken"]
    if event["Step"] == "createSecret":
        value = json.dumps({"password": "the next"})
        manager("PutSecretValue", SecretId=secret, ClientRequestToken=token, SecretString=value, VersionStages=["AWSPENDING"])
    if event["Step"] == "finishSecret":
        versions = manager("DescribeSecret", SecretId=secret)["VersionIdsToStages"]
        current = next(version for version, labels in versions.items() if "AWSCURRENT" in labels)
        manager("UpdateSecretVersionStage", SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current)
    call(runtime + id + "/response", b"null").close()
"#;
