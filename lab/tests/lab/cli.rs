//! The command itself: its exit codes and its behaviour as a Unix program. What it says about rotations is tested with
//! the real function, in integration-tests.

use lab::disturb::{Disturb, Fault};
use lab::issuer::{Https, Issuer, Options};
use lab::process::Process;
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A function that answers every step with an error.
const FUNCTION: &[&str] = &["--function", env!("CARGO_BIN_EXE_scripted-function")];

fn started(command: &mut Command) -> Process {
    Process::spawn(command, Signal::TERM).unwrap()
}

fn exit_code(mut child: Process) -> Option<i32> {
    child.wait_for(Duration::from_secs(300)).unwrap().expect("it ends").code()
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    assert_eq!(lab(&["rotate", "postgres", "--times", "none"]).output().unwrap().status.code(), Some(2));
    for arguments in [
        &["--engine", "mariadb", "--strategy", "dual-password"][..],
        &["--times", "0", "--secrets", "0"],
        &["--times", "0", "--plot", "logins.svg"],
        &["--plot", "/nonexistent/logins.svg"],
    ] {
        assert_eq!(lab(&["load"]).args(arguments).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
    let help = lab(&["rotate", "postgres", "--help"]).output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8(help.stdout).unwrap().contains("Exit codes"));
}

#[test]
fn a_command_that_is_not_there_is_answered_with_those_that_are() {
    let (rotate, lab_commands) = ("postgres, mysql, mariadb, api-key", "rotate, serve, diagnose, recover");
    for (arguments, named) in [
        (&["rotate", "oracle"][..], rotate),
        (&["oracle"], lab_commands),
        (&["serve", "--with", "mysql,oracle"], rotate),
    ] {
        let output = lab(arguments).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said.contains("'oracle'") && said.contains(named), "{arguments:?}: {said}");
    }
}

#[test]
fn an_attached_program_that_is_not_there_is_named_before_anything_is_built() {
    for (argument, said) in [
        ("mine=no-such-program handler", "--function mine: no-such-program is no program"),
        ("mine=/nonexistent/bootstrap", "--function mine: /nonexistent/bootstrap is no program"),
    ] {
        let start = Instant::now();
        let output =
            lab(&["serve", "--port", "0", "--with", "postgres,mysql", "--function", argument]).output().unwrap();
        assert_eq!((output.status.code(), start.elapsed() < Duration::from_secs(5)), (Some(3), true));
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
}

#[test]
fn a_function_that_is_not_there_is_3() {
    let output = lab(&["rotate", "postgres", "--json", "--function", "/nonexistent/bootstrap"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nonexistent/bootstrap"));
    let last: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&last["outcome"], &last["code"]), (&"failed".into(), &"setup".into()));
}

#[test]
fn a_taken_port_is_named_and_3() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = lab(&["serve", "--port", &port]).args(FUNCTION).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("port {port} is taken")) && text.contains("--port"), "{text}");
}

#[test]
fn a_failed_rotation_is_1_and_every_line_is_json() {
    let output = lab(&["rotate", "postgres", "--json"]).args(FUNCTION).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<serde_json::Value> =
        output.stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!((&last["outcome"], &last["step"]), (&"failed".into(), &"createSecret".into()));
    assert_eq!(last["code"], "unknown");
    assert!(!String::from_utf8_lossy(&output.stderr).contains('\x1b'), "colours without a terminal");
}

#[test]
fn a_rotation_that_fails_under_load_is_1_and_the_only_line_is_json() {
    // Both answer every step with an error.
    let functions = tempfile::tempdir().unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_scripted-function"), functions.path().join("lockstep-postgres")).unwrap();
    for (part, said) in
        [(["--times", "1", "--secrets", "0"], "problems"), (["--times", "0", "--secrets", "2"], "fleet")]
    {
        let mut command = lab(&["load", "--engine", "postgres", "--json"]);
        let output = command.args(part).env("LOCKSTEP_FUNCTIONS", functions.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{part:?}: {}", text(&output.stderr));
        let lines = json_lines(&output.stdout);
        assert_eq!((lines.len(), &lines[0]["outcome"]), (1, &"failed".into()));
        assert!(!lines[0][said].is_null(), "{}", lines[0]);
    }
}

#[test]
fn a_diagnosis_without_a_lab_is_3_and_says_what_to_start() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    for command in ["diagnose", "recover"] {
        let output = lab(&[command, "--port", &free]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{command}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(&format!("no lab answers on port {free}: start `cargo lab serve`")), "{command}: {text}");
    }
}

/// Starts `lab serve` and waits until it serves. Whoever drops the lines closes its output.
fn serving(arguments: &[&str]) -> (Process, Lines) {
    let mut child = started(lab(&["serve", "--port", "0"]).args(arguments));
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.contains("Ctrl-C")) {
        let mut line = String::new();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "ended before it served");
        lines.push(line);
    }
    (child, Lines { lines, _output: output })
}

struct Lines {
    lines: Vec<String>,
    _output: BufReader<std::process::ChildStdout>,
}

impl std::ops::Deref for Lines {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.lines
    }
}

/// The processes that this one started, by whichever of its threads. A thread may end meanwhile.
fn children(parent: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{parent}/task")).unwrap();
    let lists =
        threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn signals_end_it_with_130_and_no_process_is_left() {
    for signal in [Signal::INT, Signal::TERM] {
        let (child, _output) = serving(FUNCTION);
        let of_its_own = children(child.id());
        assert!(!of_its_own.is_empty());
        child.signal(signal).unwrap();
        assert_eq!(exit_code(child), Some(130), "{signal:?}");
        for process in of_its_own {
            assert!(!std::fs::exists(format!("/proc/{process}/exe")).unwrap(), "{process} is left after {signal:?}");
        }
    }
}

#[test]
fn an_attached_function_ends_with_the_lab_and_its_wrapper() {
    // The shell waits for the function, and passes no signal on to it.
    let attach = format!("mine=sh -c '{}; true'", env!("CARGO_BIN_EXE_scripted-function"));
    let (child, lines) = serving(&["--function", &attach]);
    let url = lines.iter().find_map(|line| line.split("AWS_ENDPOINT_URL=").nth(1)?.split(' ').next()).unwrap();
    let invoke = format!("{url}/2015-03-31/functions/mine/invocations");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = async |event: &'static str, kind: &str| {
        let request = http.post(&invoke).header("X-Amz-Invocation-Type", kind).body(event);
        request.send().await.unwrap().text().await.unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pid = runtime.block_on(async {
        let pid = send(r#"{"do": "sleep"}"#, "RequestResponse").await;
        // Busy, so that it does not notice that the lab is gone.
        send(r#"{"do": "sleep", "ms": 600000}"#, "Event").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        pid
    });
    assert!(std::fs::exists(format!("/proc/{pid}/exe")).unwrap(), "{pid}");
    child.signal(Signal::INT).unwrap();
    assert_eq!(exit_code(child), Some(130));
    let limit = Instant::now() + Duration::from_secs(10);
    while std::fs::exists(format!("/proc/{pid}/exe")).unwrap() {
        assert!(Instant::now() < limit, "{pid} is left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_closed_pipe_ends_it_without_a_panic() {
    let mut child = started(lab(&["rotate", "postgres"]).args(FUNCTION));
    drop(child.stdout.take());
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    assert_eq!(exit_code(child), Some(141));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut errors, &mut text).unwrap();
    assert!(!text.contains("panicked"), "{text}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A file of the repository's examples.
fn example(name: &str) -> String {
    format!("{}/../examples/issuers/{name}.yaml", env!("CARGO_MANIFEST_DIR"))
}

fn json_lines(output: &[u8]) -> Vec<serde_json::Value> {
    output.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

#[test]
fn a_sound_description_is_shown_with_every_request_and_no_secret() {
    let output = lab(&["check-issuer", &example("lab")]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let shown = text(&output.stdout);
    let requests: Vec<_> = shown.lines().filter(|line| line.contains(" https://issuer.example.com")).collect();
    assert_eq!(
        requests,
        [
            "    GET https://issuer.example.com/v1/keys?prefix=<namePrefix>",
            "    GET https://issuer.example.com/v1/whoami",
            "    POST https://issuer.example.com/v1/keys",
            "    GET https://issuer.example.com/v1/whoami",
            "    GET https://issuer.example.com/v1/whoami",
            "    DELETE https://issuer.example.com/v1/keys/<key.id>",
        ]
    );
    for part in [
        "API key of the lab's issuer\n",
        "create_revoke: a second key is made",
        "admin     a secret of its own, with token\n",
        "unchecked There is no live service.",
        "    Authorization: Bearer <admin.token>\n",
        "    Authorization: Bearer <key.secret>\n",
        "    {\"name\":\"<name>\"}\n",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
}

#[test]
fn every_built_in_description_is_shown_without_a_mark_left() {
    for (name, _) in api_key::sources::BUILT_IN {
        let output = lab(&["check-issuer", "--built-in", name, "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stderr));
        let [line] = &json_lines(&output.stdout)[..] else { panic!("{name}: not one line") };
        assert_eq!((&line["outcome"], &line["issuer"]), (&"valid".into(), &(*name).into()));
        assert_eq!(line["requests"].as_array().unwrap().is_empty(), *name == "generate");
        assert!(!line.to_string().contains("lockstepmark"), "{line}");
    }
}

#[test]
fn credentials_that_are_encoded_are_shown_by_their_names() {
    let output = lab(&["check-issuer", "--built-in", "twilio"]).output().unwrap();
    assert!(text(&output.stdout).contains("Authorization: Basic base64(<admin."), "{}", text(&output.stdout));
    let output = lab(&["check-issuer", "--built-in", "auth0"]).output().unwrap();
    let shown = text(&output.stdout);
    assert!(shown.contains("client_secret=<admin.clientSecret>") && shown.contains("Bearer <token>"), "{shown}");
}

#[test]
fn each_mistake_is_one_line_with_its_place_and_what_was_expected() {
    for (name, expected) in [
        (
            "misspelt",
            "verify.reject: unknown field `reject`, expected one of `as`, `get`, `post`, `put`, `patch`, `delete`, `query`, \
             `headers`, `json`, `form`, `graphql`, `timeout`, `secretInUrl`, `works`, `rejected`, `identity`, `poll`\n\
             verify: missing field `rejected`; the right form: `rejected: {status: [401]}`\n",
        ),
        ("no-revoke", "revoke: missing: this strategy needs it\n"),
        ("placeholder", "create.json.name: there is no `vars.team`\n"),
        (
            "pointers",
            "find.items: expected a JSON pointer, which begins with `/` or is empty, found `data`\n\
             create.extract.id: expected a JSON pointer, which begins with `/` or is empty, found `id`\n",
        ),
        (
            "secret-in-url",
            "verify.query.key: `{{key.secret}}` would put a secret into a URL, where proxies and logs see it; if the issuer leaves no other way, say `secretInUrl: true`\n",
        ),
    ] {
        let output = lab(&["check-issuer", &example(&format!("broken/{name}"))]).output().unwrap();
        let shown = (output.status.code(), text(&output.stdout), text(&output.stderr));
        assert_eq!(shown, (Some(1), String::new(), expected.to_owned()), "{name}");
    }
}

#[test]
fn mistakes_are_json_where_that_is_asked_for() {
    let output = lab(&["check-issuer", "--json", &example("broken/pointers")]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let [line] = &json_lines(&output.stdout)[..] else { panic!("not one line") };
    assert_eq!((&line["outcome"], &line["problems"][0]["path"]), (&"invalid".into(), &"find.items".into()));
}

#[test]
fn a_description_is_read_from_standard_input() {
    let mut child = lab(&["check-issuer", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let description = std::fs::read(example("lab")).unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &description).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("API key of the lab's issuer\n"));
}

#[test]
fn a_file_that_is_not_there_is_named_and_3() {
    let output = lab(&["check-issuer", "--json", "/nonexistent/issuer.yaml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("/nonexistent/issuer.yaml"));
    assert_eq!(json_lines(&output.stdout)[0]["code"], "setup");
}

/// An issuer, and the files that the command is told to try a description with.
struct Trial {
    issuer: Issuer,
    https: Https,
    disturb: Disturb,
    files: tempfile::TempDir,
}

impl Trial {
    fn new(options: Options) -> Self {
        let (issuer, disturb) = (Issuer::new(options), Disturb::new());
        let https = Https::start(issuer.router(), disturb.clone()).unwrap();
        let files = tempfile::tempdir().unwrap();
        let trial = Self { issuer, https, disturb, files };
        trial.write("admin.json", &format!(r#"{{"token": "{}"}}"#, trial.issuer.admin_token()));
        trial.write("ca.pem", trial.https.ca_pem());
        trial
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, description: &str) -> Command {
        self.command_against(description, &self.https.url())
    }

    fn command_against(&self, description: &str, url: &str) -> Command {
        let path = |name: &str| self.files.path().join(name).to_str().unwrap().to_owned();
        let (ca, admin) = (path("ca.pem"), path("admin.json"));
        lab(&["check-issuer", description, "--against", url, "--ca", &ca, "--admin", &admin])
    }

    async fn output(&self, command: Command) -> Output {
        let output = tokio::process::Command::from(command).kill_on_drop(true).output().await.unwrap();
        let all = text(&output.stdout) + &text(&output.stderr);
        assert!(!all.contains(self.issuer.admin_token()) && !all.contains("lab_"), "a secret is shown: {all}");
        output
    }

    /// The lab's description with changes.
    fn changed(&self, changes: &[(&str, &str)]) -> String {
        let description = std::fs::read_to_string(example("lab")).unwrap();
        let change = |text: String, (from, to): &(&str, &str)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        };
        self.write("issuer.yaml", &changes.iter().fold(description, change))
    }
}

/// `step outcome` of each line but the first, which shows the description.
fn steps(output: &Output) -> Vec<String> {
    let lines = json_lines(&output.stdout);
    let word = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap_or("end").to_owned();
    lines[1..].iter().map(|line| format!("{} {}", word(line, "step"), word(line, "outcome"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_is_tried_and_its_key_revoked() {
    let lag = Duration::from_millis(300);
    let trial = Trial::new(Options { propagation: lag, revocation_lag: lag, ..Options::default() });
    let mut command = trial.command(&example("lab"));
    command.arg("--json");
    let output = trial.output(command).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(steps(&output), ["create ok", "verify ok", "list ok", "revoke ok", "refused ok", "end works"]);
    let lines = json_lines(&output.stdout);
    assert_eq!(lines[1]["answers"], serde_json::json!([{"call": "create", "status": 201}]));
    assert_eq!((trial.issuer.created(), trial.issuer.live().len()), (1, 0));
}

/// Serves a router on this machine without TLS.
async fn plain(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_this_machine_needs_no_tls() {
    let trial = Trial::new(Options::default());
    let url = plain(trial.issuer.router()).await;
    for description in [example("lab"), example("lab-chosen")] {
        let mut command = trial.command_against(&description, &url);
        command.arg("--json");
        let output = trial.output(command).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let mut expected =
            vec!["create ok", "after ok", "verify ok", "list ok", "revoke ok", "refused ok", "end works"];
        expected.retain(|step| *step != "after ok" || description.contains("chosen"));
        assert_eq!(steps(&output), expected);
    }
    assert_eq!((trial.issuer.created(), trial.issuer.live().len()), (2, 0));
    assert_eq!(trial.https.requests(), [""; 0]);
}

/// A key that can be rolled and set. Each value that it had, the last one works.
#[derive(Clone)]
struct OneKey(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

impl OneKey {
    fn works(&self, secret: &str) -> bool {
        self.0.lock().unwrap().last().is_some_and(|last| last == secret)
    }

    fn router(&self) -> axum::Router {
        use axum::http::{HeaderMap, StatusCode};
        use axum::routing::{get, post, put};
        let bearer =
            |headers: &HeaderMap| headers["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
        let (me, roll, set) = (self.clone(), self.clone(), self.clone());
        axum::Router::new()
            .route(
                "/me",
                get(async move |headers: HeaderMap| match me.works(&bearer(&headers)) {
                    true => (StatusCode::OK, r#"{"id": "k"}"#),
                    false => (StatusCode::UNAUTHORIZED, "{}"),
                }),
            )
            .route(
                "/keys/k/roll",
                post(async move || {
                    let secret = format!("rolled-{}", uuid::Uuid::new_v4());
                    roll.0.lock().unwrap().push(secret.clone());
                    format!(r#"{{"key": "{secret}"}}"#)
                }),
            )
            .route(
                "/keys/k",
                put(async move |body: String| {
                    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
                    set.0.lock().unwrap().push(body["secret"].as_str().unwrap().to_owned());
                    StatusCode::NO_CONTENT
                }),
            )
    }
}

const ONE_KEY: &str = r#"
issuer: one
title: One key
sources: [lab/tests/lab/cli.rs]
unchecked: nothing
http: {base: https://one.example}
auth: {admin: {bearer: "{{admin.token}}"}, key: {bearer: "{{key.secret}}"}}
output: {apiKey: key.secret, apiKeyId: key.id}
verify: {get: /me, works: {status: [200]}, rejected: {status: [401]}, identity: /id}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_exchanged_only_if_that_is_asked_for_and_its_file_has_the_new_one() {
    let roll = r#"roll: {post: "/keys/{{key.id}}/roll", extract: {secret: /key}}"#;
    let set = "value: {kind: hex, bytes: 32}\nset: {put: \"/keys/{{key.id}}\", json: {secret: \"{{key.secret}}\"}}";
    let trial = Trial::new(Options::default());
    for (strategy, call, step) in [("roll", roll, "roll ok"), ("set_value", set, "set ok")] {
        let key = OneKey(std::sync::Arc::new(std::sync::Mutex::new(vec!["by-hand".to_owned()])));
        let url = plain(key.router()).await;
        let description = trial.write("issuer.yaml", &format!("strategy: {strategy}\n{call}\n{ONE_KEY}"));
        let secret =
            trial.write("secret.json", r#"{"issuer": "one", "apiKey": "by-hand", "apiKeyId": "k", "note": "mine"}"#);
        let value = || serde_json::from_str::<serde_json::Value>(&std::fs::read_to_string(&secret).unwrap()).unwrap();
        let mut command = trial.command_against(&description, &url);
        command.args(["--secret", &secret, "--json"]);
        let output = trial.output(command).await;
        assert_eq!(steps(&output), ["verify ok", "end works"], "{}", text(&output.stderr));
        assert!(key.works("by-hand"));

        let mut command = trial.command_against(&description, &url);
        command.args(["--secret", &secret, "--json", "--replace-key"]);
        let output = trial.output(command).await;
        assert_eq!(
            steps(&output),
            ["verify ok", step, "verify ok", "refused ok", "end works"],
            "{}",
            text(&output.stderr)
        );
        let now = value();
        let new = now["apiKey"].as_str().unwrap();
        assert!(key.works(new) && new != "by-hand", "{strategy}");
        assert_eq!((&now["note"], &now["apiKeyId"]), (&"mine".into(), &"k".into()));
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert!(!shown.contains(new), "{shown}");
        assert!(!std::path::Path::new(&format!("{secret}.new")).exists());
    }
    let mut command = trial.command(&example("lab"));
    let secret = trial.write("secret.json", r#"{"issuer": "lab", "apiKey": "x", "apiKeyId": "k"}"#);
    command.args(["--secret", &secret, "--replace-key"]);
    assert_eq!(trial.output(command).await.status.code(), Some(3));
}

/// The calls alone would be repeated for five minutes.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_where_nothing_listens_is_named_within_seconds() {
    let trial = Trial::new(Options::default());
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, address) in [
        (format!("https://{unused}"), unused.to_string()),
        ("https://issuer.invalid".to_owned(), "issuer.invalid:443".to_owned()),
    ] {
        let mut command = trial.command_against(&example("lab"), &url);
        command.arg("--json");
        let time = Instant::now();
        let output = trial.output(command).await;
        assert!(time.elapsed() < Duration::from_secs(20), "{:?}", time.elapsed());
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{complaint}");
        assert!(
            complaint.contains(&format!("--against: {address}")) && complaint.contains("correct the URL"),
            "{complaint}"
        );
        assert_eq!(json_lines(&output.stdout).last().unwrap()["code"], "setup");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_takes_long_says_what_it_waits_for() {
    use tokio::io::AsyncBufReadExt as _;
    let trial = Trial::new(Options::default());
    trial.disturb.on_every("issuer GET", Fault::Fail(503));
    let mut command = tokio::process::Command::from(trial.command(&example("lab")));
    command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = tokio::io::BufReader::new(child.stderr.take().unwrap()).lines();
    let said = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it goes on");
            if line.contains("verify goes on after") {
                return line;
            }
        }
    };
    let line = tokio::time::timeout(Duration::from_secs(30), said).await.expect("it is silent");
    assert!(line.contains("the last answer was 503 to `verify`"), "{line}");
}

/// That the command fails with these last steps, and no key is left.
async fn fails(trial: &Trial, description: &str, last: &[&str]) {
    let mut command = trial.command(description);
    command.arg("--json");
    let output = trial.output(command).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let steps = steps(&output);
    assert_eq!(steps[steps.len() - last.len()..], *last);
    assert_eq!((trial.issuer.live(), trial.issuer.created()), (vec![], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_not_stay_where_a_later_step_fails() {
    let trial = Trial::new(Options::default());
    let description = trial.changed(&[("works: {status: [200]}", "works: {status: [299]}"), ("upTo: 30s", "upTo: 1s")]);
    fails(&trial, &description, &["create ok", "verify failed", "remove ok", "end failed"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_id_was_not_understood_is_found_by_its_name_and_does_not_stay() {
    let trial = Trial::new(Options::default());
    let description = trial.changed(&[("extract: {id: /id,", "extract: {id: /no/such/place,")]);
    fails(&trial, &description, &["create failed", "remove ok", "end failed"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_reply_was_lost_does_not_stay_either() {
    let trial = Trial::new(Options::default());
    trial.disturb.on_next("issuer POST", Fault::LoseReply);
    fails(&trial, &example("lab"), &["create failed", "remove ok", "end failed"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_removed_is_named() {
    let trial = Trial::new(Options::default());
    let description = trial
        .changed(&[("delete: \"/v1/keys/", "delete: \"/v1/key/"), ("gone: {status: [404]}", "gone: {status: [410]}")]);
    let output = trial.output(trial.command(&description)).await;
    assert_eq!(output.status.code(), Some(1));
    let [left] = &trial.issuer.live()[..] else { panic!("not one key") };
    let said = format!("the key {} could not be removed and may be live: revoke it by hand", left.id);
    assert!(text(&output.stderr).contains(&said), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_found_either_is_named() {
    let trial = Trial::new(Options::default());
    let description =
        trial.changed(&[("{id: /id,", "{id: /no/such/place,"), ("name: /name\n", "name: /no/such/place\n")]);
    let output = trial.output(trial.command(&description)).await;
    assert_eq!(output.status.code(), Some(1));
    let [left] = &trial.issuer.live()[..] else { panic!("not one key") };
    let said = format!("whether there is a key is not known: look for one named {}, and", left.name);
    assert!(text(&output.stderr).contains(&said), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_trial_would_end_is_only_used() {
    let trial = Trial::new(Options::default());
    let description = trial.changed(&[
        ("strategy: create_revoke", "strategy: roll\nrisk: It is a test."),
        ("create:\n  post: /v1/keys\n  json: {name: \"{{name}}\"}", "roll:\n  post: \"/v1/keys/{{key.id}}\""),
        ("  limit: {status: [409], where: {/error: key_limit_reached}}\n", ""),
    ]);
    let cut = std::fs::read_to_string(&description).unwrap();
    let description = trial.write("roll.yaml", cut.split("\nrevoke:").next().unwrap());
    let (id, secret) = trial.issuer.mint("in use");
    let document = format!(r#"{{"issuer": "lab", "apiKey": "{secret}", "apiKeyId": "{id}"}}"#);
    let mut command = trial.command(&description);
    command.args(["--json", "--secret", &trial.write("secret.json", &document)]);
    let output = trial.output(command).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(steps(&output), ["verify ok", "end works"]);
    assert_eq!((trial.issuer.created(), trial.issuer.works(&secret)), (0, true));
}

#[test]
fn a_description_that_nobody_reads_to_its_end_is_141() {
    let mut child = started(&mut lab(&["check-issuer", "--built-in", "datadog"]));
    drop(child.stdout.take());
    assert_eq!(exit_code(child), Some(141));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_refused_makes_no_key_and_says_so() {
    let trial = Trial::new(Options::default());
    trial.write("admin.json", r#"{"token": "somebody else's"}"#);
    let mut command = trial.command(&example("lab"));
    command.arg("--json");
    let output = trial.output(command).await;
    assert_eq!((output.status.code(), steps(&output)), (Some(1), vec!["create failed".into(), "end failed".into()]));
    assert_eq!(json_lines(&output.stdout).last().unwrap()["code"], "admin-rejected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_trial_with_130_and_without_a_key() {
    // The key is tried until it works: there is time for a signal.
    let trial = Trial::new(Options { propagation: Duration::from_secs(600), ..Options::default() });
    let child = started(&mut trial.command(&example("lab")));
    let limit = Instant::now() + Duration::from_secs(30);
    while trial.issuer.uses().is_empty() {
        assert!(Instant::now() < limit, "the key was not tried");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    child.signal(Signal::INT).unwrap();
    let code = tokio::task::spawn_blocking(move || exit_code(child)).await.unwrap();
    assert_eq!((code, trial.issuer.live(), trial.issuer.revoked().len()), (Some(130), vec![], 1));
}
