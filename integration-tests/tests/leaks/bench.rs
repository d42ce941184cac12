//! Rotations that fail in every way, whatever the server is, and a search of all that a function puts out meanwhile.

use super::search::Secrets;
use super::wiretap::Wiretap;
use integration_tests::{OVERTIME, Secret, Server, World, merged};
use lab::Lab;
use lab::disturb::Fault;
use lab::lambda::{Outcome, StepEvent, StepReport};
use lab::relay::Mode;
use lab::servers::Password;
use lab::servers::certificates::TestCa;
use lab::stack::Builder;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;

/// All that can be logged, by each of the settings for it.
pub const EVERYTHING: &[(&str, &str)] =
    &[("RUST_LOG", "trace"), ("LOG_LEVEL", "trace"), ("AWS_LAMBDA_LOG_LEVEL", "TRACE")];

/// The dependencies are asked for by name.
pub const DEPENDENCIES: &[(&str, &str)] = &[
    (
        "RUST_LOG",
        "trace,tokio_postgres=trace,mysql_async=trace,mysql_common=trace,lambda_runtime=trace,aws=trace,\
         aws_smithy_runtime=trace,aws_sdk_secretsmanager=trace,aws_config=trace,hyper=trace,hyper_util=trace,\
         rustls=trace,h2=trace",
    ),
    ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
];

/// What a kind of server makes of passwords.
pub trait Hashing: Server {
    /// Every hash that the server has at the moment, and each part of one that tells something by itself.
    fn parts_of_hashes(world: &World<Self>) -> impl Future<Output = Vec<String>>;
    /// Whether a text has a hash of any password in it, or a statement that sets one.
    fn shows_hash(text: &str) -> bool;
}

/// Where everything is collected: what must not be printed, and what was.
pub struct Bench<S> {
    // Dropped before the files that its function might have written.
    pub world: World<S>,
    settings: Vec<(String, String)>,
    tap: Wiretap,
    steps: Mutex<Receiver<StepEvent>>,
    secrets: Mutex<Secrets>,
    printed: Mutex<Vec<Printed>>,
    tls_keys: PathBuf,
}

/// Some output, and where it came from.
struct Printed {
    source: String,
    text: String,
}

impl<S: Hashing> Bench<S> {
    /// A lab around a server, with these settings for the function among others.
    pub async fn start(server: S, settings: &[(&str, &str)]) -> Self {
        let tap = Wiretap::start().await;
        let tls_keys = std::env::temp_dir().join(format!("lockstep-tls-keys-{}", integration_tests::uuid()));
        let (secret_key, session) = (random(), random());
        let own = [
            ("AWS_SECRET_ACCESS_KEY", secret_key.as_str()),
            ("AWS_SESSION_TOKEN", session.as_str()),
            ("RUST_BACKTRACE", "full"),
            // Where TLS libraries that support it write the keys of each connection.
            ("SSLKEYLOGFILE", tls_keys.to_str().expect("text")),
            // Without credentials the SDK would ask the machine, which may be one in a cloud.
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let settings: Vec<_> = settings.iter().chain(&own).map(owned).collect();
        let world = World::around(server, |builder| {
            let builder = builder.timeout(Duration::from_secs(5)).retries(0);
            with_settings(builder.env("AWS_ENDPOINT_URL_SECRETS_MANAGER", tap.url()), &settings)
        })
        .await;
        tap.forward_to(&world.lab.url());
        let mut secrets = Secrets::default();
        secrets.add("the superuser's password", world.server.superuser().1.expose());
        secrets.add("the secret access key", &secret_key);
        secrets.add("the session token", &session);
        let steps = Mutex::new(world.lab.watch_steps());
        Self { world, settings, tap, steps, secrets: Mutex::new(secrets), printed: Mutex::default(), tls_keys }
    }

    /// A user whose password has characters that are written differently in JSON, SQL, URLs and logs.
    pub async fn user_with_strange_password(&self, name: &str) -> Secret<'_, S> {
        let strange = "quote' \"back\\slash %41 ä€😀 $$ {}";
        self.world.server.create_user(name, &strange.into()).await;
        self.world.secret(self.world.document(name, strange)).await
    }

    /// A user who shows a client's certificate of this authority. Its key must not be printed.
    pub async fn user_with_certificate(&self, name: &str, ca: &TestCa) -> Secret<'_, S> {
        let client = ca.issue_client(name).expect("a certificate");
        self.learn_key(client.key_pem());
        let both = json!({"certificate": client.cert_pem(), "key": client.key_pem()});
        self.world.user_with(name, json!({"rotation": {"clientCertificate": both}})).await
    }

    /// A private key, line by line: what stands around it is the same for all keys.
    fn learn_key(&self, pem: &str) {
        let mut secrets = self.secrets.lock().expect("no test panicked");
        let lines = pem.lines().filter(|line| line.len() > 15 && !line.starts_with('-'));
        lines.for_each(|line| secrets.add("a client's key", line));
    }

    /// Rotates each of these twice.
    pub async fn rotate_twice(&self, secrets: &[&Secret<'_, S>]) {
        for secret in [secrets, secrets].concat() {
            secret.rotated().await;
            self.learn_hashes().await;
        }
    }

    /// All the ways in which a rotation can fail whatever the server is: the codes for a user that does not exist, the flight after
    /// which a connection is cut in the middle of setSecret, and the code for a connection without TLS.
    pub async fn everything_fails(&self, nobody: &[&str], flights: usize, no_tls: &str) {
        self.credentials_are_refused(nobody).await;
        self.secrets_are_malformed().await;
        self.pending_versions_are_wrong().await;
        self.the_service_fails().await;
        self.the_server_fails(flights, no_tls).await;
        self.the_function_is_killed().await;
        self.events_are_wrong().await;
        self.the_function_is_misconfigured().await;
    }

    /// Passwords that are not, or no longer, those of the users. `nobody` has the codes for a user that does not exist.
    async fn credentials_are_refused(&self, nobody: &[&str]) {
        self.world.user("locked_out").await;
        let locked_out = self.world.secret(self.world.document("locked_out", &random())).await;
        self.fails(&locked_out, "locked-out").await;
        let absent = self.world.secret(self.world.document("nobody", &random())).await;
        self.fails_in_one_way(&absent, nobody).await;

        let superuser = self.world.secret(self.world.document(self.world.server.superuser().0, &random())).await;
        let child = self.world.user_with("child", json!({"masterarn": superuser.arn})).await;
        self.fails(&child, "superuser-rejected").await;
        let powerless = self.world.user("powerless").await;
        let child = self.world.user_with("other_child", json!({"masterarn": powerless.arn})).await;
        self.fails(&child, "privilege-missing").await;
        let rescue = json!({"masterarn": superuser.arn, "rotation": {"superuserRescue": true}});
        self.world.user("rescued").await;
        let rescued = self.world.secret(merged(self.world.document("rescued", &random()), rescue)).await;
        self.fails(&rescued, "superuser-rejected").await;
        // The previous password helps out of this one.
        let replaced = self.world.user("replaced").await;
        replaced.put(&self.world.document("replaced", &random())).await;
        replaced.rotated().await;
    }

    /// Values that are no secret of a database user.
    async fn secrets_are_malformed(&self) {
        let whole = self.world.document("app", &random());
        let texts = [
            ("secret-not-json", random()),
            ("secret-not-json", format!("{{\"username\": \"app\", \"password\": \"{}\"", random())),
            ("secret-not-json", format!("{{\"username\": \"app\", \"password\": {}}}", random())),
            ("secret-not-json", json!(random()).to_string()),
            ("secret-not-json", json!([random()]).to_string()),
            ("secret-not-json", json!(whole.to_string()).to_string()),
            ("field-invalid", format!("{{\"password\": \"{}\", \"password\": \"{}\"}}", random(), random())),
            ("field-missing", merged(whole.clone(), json!({"engine": null})).to_string()),
            ("field-missing", merged(whole.clone(), json!({"host": null})).to_string()),
            ("engine-mismatch", merged(whole.clone(), json!({"engine": "oracle"})).to_string()),
            ("field-invalid", merged(whole.clone(), json!({"password": [random()]})).to_string()),
            ("field-invalid", merged(whole.clone(), json!({"password": {"value": random()}})).to_string()),
            ("field-invalid", merged(whole.clone(), json!({"password": format!("{}\0", random())})).to_string()),
            ("field-invalid", merged(whole.clone(), json!({"port": random()})).to_string()),
            ("field-invalid", merged(whole.clone(), json!({"ssl": random()})).to_string()),
            ("field-invalid", merged(whole.clone(), json!({"rotation": random()})).to_string()),
            ("field-invalid", merged(whole.clone(), json!({"rotation": {"users": random()}})).to_string()),
            ("ca-bundle-invalid", merged(whole.clone(), json!({"rotation": {"caBundle": random()}})).to_string()),
        ];
        for (code, text) in texts.into_iter().chain(self.wrong_certificates(&whole)) {
            self.fails(&self.world.secret_text(&text).await, code).await;
        }
        let request = json!({"Name": random(), "SecretBinary": "c2VjcmV0IGJ5dGVz"});
        let binary = self.world.lab.call("CreateSecret", request).await.expect("the secret is created");
        let arn = binary["ARN"].as_str().expect("an ARN");
        let report = self.world.lab.rotate(arn).await.expect("the rotation begins");
        assert!(!report.rotated());
    }

    /// Secrets with certificates of clients that cannot serve.
    fn wrong_certificates(&self, whole: &Value) -> Vec<(&'static str, String)> {
        let ca = TestCa::new("clients").expect("an authority");
        let [client, other, expired] = [ca.issue_client("app"), ca.issue_client("app"), ca.issue_expired_client("app")]
            .map(|it| it.expect("issued"));
        for certificate in [&client, &other, &expired] {
            self.learn_key(certificate.key_pem());
        }
        let with = |both: Value| merged(whole.clone(), json!({"rotation": {"clientCertificate": both}})).to_string();
        vec![
            ("client-certificate-invalid", with(json!({"certificate": client.key_pem(), "key": client.key_pem()}))),
            ("client-certificate-invalid", with(json!({"certificate": client.cert_pem(), "key": other.key_pem()}))),
            ("client-certificate-invalid", with(json!({"certificate": client.cert_pem(), "key": random()}))),
            ("client-certificate-invalid", with(json!({"certificate": expired.cert_pem(), "key": expired.key_pem()}))),
            ("field-invalid", with(json!({"certificate": client.cert_pem(), "key": [client.key_pem()]}))),
            ("field-missing", with(json!({"key": client.key_pem()}))),
            ("option-unknown", with(json!({"certificate": client.cert_pem(), client.key_pem(): "key"}))),
            ("field-invalid", with(json!(client.key_pem()))),
        ]
    }

    /// Versions that no step of this function would have left.
    async fn pending_versions_are_wrong(&self) {
        let elsewhere = json!({"host": "elsewhere.invalid", "password": random()});
        let others = json!({"username": "somebody_else", "password": random()});
        for (number, change) in [elsewhere, others].into_iter().enumerate() {
            let user = format!("tampered_{number}");
            let secret = self.world.user(&user).await;
            let token = self.pending(&secret, &merged(secret.at("AWSCURRENT").await, change).to_string()).await;
            for step in ["setSecret", "testSecret", "finishSecret"] {
                self.step_fails(&secret, &token, step, "pending-mismatch").await;
            }
        }
        let secret = self.world.user("unset").await;
        let token = secret.registered().await;
        self.step_fails(&secret, &token, "finishSecret", "pending-missing").await;
        secret.steps(&["createSecret"], &token).await;
        self.step_fails(&secret, &token, "testSecret", "pending-rejected").await;
        self.step_fails(&secret, &token, "finishSecret", "pending-rejected").await;
        let secret = self.world.user("no_json").await;
        let token = self.pending(&secret, &random()).await;
        self.step_fails(&secret, &token, "setSecret", "secret-not-json").await;
    }

    /// Secrets Manager refuses, or its answer is lost.
    async fn the_service_fails(&self) {
        let secret = self.world.user("unserved").await;
        for (operation, fault, code) in [
            ("GetSecretValue", Fault::Throttle, "service-throttled"),
            ("PutSecretValue", Fault::LoseReply, "service-unavailable"),
        ] {
            self.world.lab.disturb().on_every(operation, fault);
            self.fails(&secret, code).await;
            self.world.lab.disturb().restart();
        }
    }

    /// The server is out of reach, or does not want what the secrets say. A connection is cut after
    /// `flights`, which is in the middle of setSecret. `no_tls` is the code for a connection without TLS.
    async fn the_server_fails(&self, flights: usize, no_tls: &str) {
        let secret = self.world.user("unreached").await;
        for (mode, code) in [
            (Mode::Refuse, "connection-refused"),
            (Mode::Silent, "server-silent"),
            (Mode::CutAfter(1), "connection-lost"),
            (Mode::CutAfter(flights), "connection-lost"),
        ] {
            self.world.relay.set(mode).await.expect("the relay obeys");
            self.fails(&secret, code).await;
        }
        self.world.relay.set(Mode::Forward).await.expect("the relay obeys");
        let renamed = json!({"rotation": {"tlsServerName": "elsewhere.example"}});
        self.fails(&self.world.user_with("renamed", renamed).await, "tls-name-mismatch").await;
        self.fails(&self.world.user_with("plaintext", json!({"ssl": false})).await, no_tls).await;
        self.fails(&self.world.user_with("no_database", json!({"dbname": "none_such"})).await, "database-unusable")
            .await;
    }

    /// The process ends in the middle, and another one takes over.
    async fn the_function_is_killed(&self) {
        let secret = self.world.user("killed").await;
        for (call, fault) in
            [(2, Fault::KillAfter), (7, Fault::KillBefore), (12, Fault::KillAfter), (25, Fault::KillAfter)]
        {
            self.world.lab.disturb().restart();
            self.world.lab.disturb().on_call(call, fault);
            let report = secret.rotate().await;
            let fired = self.world.lab.disturb().fired();
            self.world.lab.disturb().restart();
            assert_eq!(fired, 1, "call {call} was not made");
            if !report.rotated() {
                secret.rotate().await;
            }
            assert!(secret.opens("AWSCURRENT").await);
        }
    }

    /// Events that the service would not send.
    async fn events_are_wrong(&self) {
        let secret = self.world.user("misused").await;
        let token = secret.registered().await;
        let rotation_token = self.secret("a RotationToken");
        let event = json!({
            "SecretId": secret.arn, "ClientRequestToken": token, "Step": "createSecret", "RotationToken": rotation_token,
        });
        // The service refuses a token that it did not make, once it was handed on.
        self.invoke(&event, Some("service-denied")).await;
        for change in [
            json!({"Step": null}),
            json!({"Step": {"name": "createSecret"}}),
            json!({"Step": "dropSecret"}),
            json!({"SecretId": null}),
            json!({"SecretId": "not/there"}),
            json!({"ClientRequestToken": [1]}),
            json!({"RotationToken": [rotation_token]}),
        ] {
            self.invoke(&merged(event.clone(), change), None).await;
        }
        self.invoke(&json!([event]), Some("event-malformed")).await;
        self.invoke(&json!(event.to_string()), Some("event-malformed")).await;
    }

    /// Settings that no rotation can succeed with.
    async fn the_function_is_misconfigured(&self) {
        for (name, value, code) in [
            ("CA_BUNDLE", "", "tls-unknown-issuer"),
            ("LOG_SENSITIVE_BODIES", "true", "unsafe-logging"),
            ("PASSWORD_LENGTH", "3", "policy-impossible"),
            ("AWS_ACCESS_KEY_ID", "", "service-unavailable"),
        ] {
            let builder = Lab::builder(S::function().await).env("CA_BUNDLE", self.world.server.ca_pem());
            let settings = with_settings(builder.timeout(Duration::from_secs(5)).overtime(OVERTIME), &self.settings);
            let lab = settings.env(name, value).start().await.expect("the lab starts");
            let user = format!("user_of_{}", name.to_lowercase());
            let password = self.secret("a password");
            self.world.server.create_user(&user, &password.as_str().into()).await;
            let document = merged(self.world.document(&user, &password), json!({"port": self.world.server.port()}));
            let arn = lab.create_secret("app", &document.to_string()).await.expect("the secret is created");
            let report = lab.rotate(&arn).await.expect("the rotation begins");
            assert_eq!(report.error().map(|error| error.error_type).as_deref(), Some(code), "with {name}={value:?}");
            report.steps.iter().for_each(|step| self.keep_step(step));
            self.keep(format!("the output with {name}={value:?}"), lab.function_output());
            self.learn_values(&lab).await;
        }
    }

    /// A rotation that has to fail like this.
    pub async fn fails(&self, secret: &Secret<'_, S>, code: &str) {
        self.fails_in_one_way(secret, &[code]).await;
    }

    async fn fails_in_one_way(&self, secret: &Secret<'_, S>, codes: &[&str]) {
        let report = secret.rotate().await;
        let error = report.error().unwrap_or_else(|| panic!("none of {codes:?}, but {:?}", report.outcome));
        assert!(codes.contains(&error.error_type.as_str()), "not {codes:?}, but {}", error.error_message);
    }

    /// A step that has to fail like this.
    pub async fn step_fails(&self, secret: &Secret<'_, S>, token: &str, step: &str, code: &str) {
        let event = json!({"SecretId": secret.arn, "ClientRequestToken": token, "Step": step});
        self.invoke(&event, Some(code)).await;
    }

    /// An invocation that has to fail, like this if given.
    async fn invoke(&self, event: &Value, code: Option<&str>) {
        let outcome = self.world.lab.invoke(event).await;
        let error = outcome.result().expect_err("the step failed");
        assert_eq!(error.error_type, code.unwrap_or(&error.error_type), "{}", error.error_message);
        self.keep_outcome("an invocation", &outcome);
    }

    /// A pending version with this value, as somebody who may write the secret could put it there.
    pub async fn pending(&self, secret: &Secret<'_, S>, value: &str) -> String {
        let token = secret.registered().await;
        let request = json!({
            "SecretId": secret.arn, "ClientRequestToken": token, "SecretString": value, "VersionStages": ["AWSPENDING"],
        });
        self.world.lab.call("PutSecretValue", request).await.expect("the value is stored");
        token
    }

    /// A random text that must not be printed.
    fn secret(&self, what: &str) -> String {
        let value = random();
        self.secrets.lock().expect("nobody panicked").add(what, &value);
        value
    }

    fn keep(&self, source: impl Into<String>, text: String) {
        self.printed.lock().expect("nobody panicked").push(Printed { source: source.into(), text });
    }

    fn keep_outcome(&self, source: &str, outcome: &Outcome) {
        self.keep(format!("the answer of {source}"), String::from_utf8_lossy(&outcome.payload).into_owned());
        self.keep(format!("the log of {source}"), String::from_utf8_lossy(&outcome.log).into_owned());
    }

    fn keep_step(&self, report: &StepReport) {
        self.keep_outcome(&report.step, &report.outcome);
    }

    /// The server keeps only the latest hashes, so they are asked for after each rotation.
    pub async fn learn_hashes(&self) {
        let hashes = S::parts_of_hashes(&self.world).await;
        let mut secrets = self.secrets.lock().expect("nobody panicked");
        hashes.iter().for_each(|hash| secrets.add("a hash", hash));
    }

    /// The password, or else the whole text, of every version that there ever was.
    async fn learn_values(&self, lab: &Lab) {
        for value in values(lab).await {
            let fields = serde_json::from_str::<Value>(&value).unwrap_or_default();
            let password = fields["password"].as_str().map(|password| password.trim_end_matches('\0').to_owned());
            let mut secrets = self.secrets.lock().expect("nobody panicked");
            match password {
                Some(password) => secrets.add("a password", &password),
                None => secrets.add("a value", value.trim_start_matches(['"', '['])),
            }
            for field in ["port", "ssl", "rotation"] {
                if let Some(text) = fields[field].as_str() {
                    secrets.add("a misplaced value", text);
                }
            }
        }
    }

    /// Fails if anything that the function put out holds anything of what it must not. Returns that, for the server's log.
    pub async fn judge(mut self) -> (World<S>, Secrets) {
        self.learn_hashes().await;
        self.learn_values(&self.world.lab).await;
        let tokens = self.tap.rotation_tokens();
        assert!(tokens.len() > 20, "the wiretap heard only {} tokens", tokens.len());
        let version = self.keep_watched_steps();
        for (pid, command, environment) in processes(&S::function().await, self.tls_keys.to_str().expect("text")) {
            self.keep(format!("the command line of process {pid}"), command);
            self.keep(format!("the environment of process {pid}"), without_credentials(&environment));
        }
        self.keep("the function's output", self.world.lab.function_output());

        let mut secrets = self.secrets.into_inner().expect("nobody panicked");
        tokens.iter().for_each(|token| secrets.add("the service's RotationToken", token));
        let printed = self.printed.into_inner().expect("nobody panicked");
        assert!(secrets.len() > 60 && printed.len() > 80, "{} secrets, {} texts", secrets.len(), printed.len());
        let leaks: BTreeSet<String> = printed
            .iter()
            .flat_map(|Printed { source, text }| {
                let hash = S::shows_hash(text).then_some("a statement or a hash");
                let found = secrets.found_in(text).into_iter().chain(hash);
                found.map(move |what| format!("{what} in {source}")).collect::<Vec<_>>()
            })
            .collect();
        assert!(leaks.is_empty(), "{leaks:#?}");
        assert!(!self.tls_keys.exists(), "the keys of TLS connections were written to a file");
        let traces_of_panics = ["panicked at", "\"message\":\"panic\"", "[internal]"];
        let panicked = |it: &&Printed| traces_of_panics.iter().any(|trace| it.text.contains(trace));
        let panics: Vec<_> = printed.iter().filter(panicked).map(|it| &it.source).collect();
        assert!(panics.is_empty(), "{panics:#?}");

        // The search finds what is there: a version id is no secret.
        let mut control = Secrets::default();
        control.add("a version", &version);
        assert!(
            printed.iter().any(|it| it.source == "the function's output" && !control.found_in(&it.text).is_empty())
        );
        (self.world, secrets)
    }

    /// Keeps what every step so far answered and logged. Returns the version that the first was for.
    fn keep_watched_steps(&mut self) -> String {
        let receiver = self.steps.get_mut().expect("nobody panicked");
        let mut reports = Vec::new();
        loop {
            match receiver.try_recv() {
                Ok(StepEvent::Ended(report)) => reports.push(*report),
                Ok(StepEvent::Started { .. }) | Err(tokio::sync::broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => break,
            }
        }
        assert!(reports.len() > 40, "only {} steps were watched", reports.len());
        reports.iter().for_each(|report| self.keep_step(report));
        reports[0].token.clone()
    }
}

fn with_settings(builder: Builder, settings: &[(String, String)]) -> Builder {
    settings.iter().fold(builder, |builder, (name, value)| builder.env(name, value))
}

/// The text of every version of every secret of a lab.
async fn values(lab: &Lab) -> Vec<String> {
    let mut values = Vec::new();
    let mut next = Value::Null;
    loop {
        let page = merged(json!({"MaxResults": 100}), json!({"NextToken": next}));
        let listed = lab.call("ListSecrets", page).await.expect("the secrets are listed");
        for secret in listed["SecretList"].as_array().expect("a list") {
            let request = json!({"SecretId": secret["ARN"], "IncludeDeprecated": true, "MaxResults": 100});
            let versions = lab.call("ListSecretVersionIds", request).await.expect("the versions are listed");
            for version in versions["Versions"].as_array().expect("a list") {
                let request = json!({"SecretId": secret["ARN"], "VersionId": version["VersionId"]});
                // A version that a rotation registered and did not fill has no value.
                if let Ok(version) = lab.call("GetSecretValue", request).await {
                    let text = version["SecretString"].as_str().or(version["SecretBinary"].as_str());
                    values.push(text.expect("a value").to_owned());
                }
            }
        }
        next = listed["NextToken"].clone();
        if next.is_null() {
            return values;
        }
    }
}

/// The running processes of a program with this mark in their environment: id, command line and environment. An ended one
/// has no longer anything to show.
fn processes(program: &Path, mark: &str) -> Vec<(String, String, String)> {
    let read = |pid: &str, file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let text = |pid: &str, file: &str| String::from_utf8_lossy(&read(pid, file)).replace('\0', "\n");
    let entries = std::fs::read_dir("/proc").expect("a /proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let ours = |pid: &String| {
        std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path == program)
            && text(pid, "environ").contains(mark)
    };
    let found: Vec<_> = pids.filter(ours).map(|pid| (text(&pid, "cmdline"), text(&pid, "environ"), pid)).collect();
    assert!(!found.is_empty(), "no process of the function was seen");
    found.into_iter().map(|(command, environment, pid)| (pid, command, environment)).collect()
}

/// Lambda itself puts the credentials of the function's role into its environment.
fn without_credentials(environment: &str) -> String {
    let credentials = ["AWS_SECRET_ACCESS_KEY=", "AWS_SESSION_TOKEN="];
    let others = environment.lines().filter(|line| !credentials.iter().any(|name| line.starts_with(name)));
    others.collect::<Vec<_>>().join("\n")
}

/// A password that nobody knows.
pub fn random() -> String {
    Password::random().expose().to_owned()
}
