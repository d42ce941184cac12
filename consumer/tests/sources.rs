//! Files, the agent and IAM tokens. `integration-tests` has those that need the lab.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that panics fails")]

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use lockstep_secret::source::{Agent, File, RdsIam, auth_token};
use lockstep_secret::{Cause, Error, Label, RotatingSecret, Source};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::sleep;

/// Both were made by botocore 1.43.11's `generate_db_auth_token` with its clock fixed (`botocore.auth.get_current_datetime`
/// replaced), the first one also by `aws rds generate-db-auth-token` of AWS CLI 1.45.11 in the same process.
#[test]
fn a_token_is_the_one_that_the_aws_cli_makes() {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_955_696);
    let token = |session: Option<&str>, region, host, port, user| {
        let session = session.map(str::to_owned);
        let key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let credentials = Credentials::new("AKIDEXAMPLE", key, session, None, "test");
        auth_token(credentials, region, host, port, user, time).unwrap().expose().to_owned()
    };
    assert_eq!(
        token(None, "eu-west-1", "app.cluster-c1x2y3.eu-west-1.rds.amazonaws.com", 5432, "app"),
        "app.cluster-c1x2y3.eu-west-1.rds.amazonaws.com:5432/?Action=connect&DBUser=app&X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential=AKIDEXAMPLE%2F20261129%2Feu-west-1%2Frds-db%2Faws4_request&X-Amz-Date=20261129T123456Z\
         &X-Amz-Expires=900&X-Amz-SignedHeaders=host\
         &X-Amz-Signature=150d4d67a8f6b89eb7ee691f8faf15c0694271958721d2ddada789fa925e8544"
    );
    let session = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVzLWVhc3QtMSJH+abc=";
    assert_eq!(
        token(Some(session), "us-east-1", "db-1.abcdefghijkl.us-east-1.rds.amazonaws.com", 3306, "app user+ä@x/y~_.-"),
        "db-1.abcdefghijkl.us-east-1.rds.amazonaws.com:3306/?Action=connect&DBUser=app%20user%2B%C3%A4%40x%2Fy~_.-\
         &X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential=AKIDEXAMPLE%2F20261129%2Fus-east-1%2Frds-db%2Faws4_request&X-Amz-Date=20261129T123456Z\
         &X-Amz-Expires=900&X-Amz-SignedHeaders=host\
         &X-Amz-Security-Token=IQoJb3JpZ2luX2VjEXAMPLE%2F%2F%2F%2F%2F%2F%2F%2F%2F%2FwEaCXVzLWVhc3QtMSJH%2Babc%3D\
         &X-Amz-Signature=c54aeb88538e33c4779a9b5a72d0f9c5c99f1b1ecae940fb75ca11a1befd8da4"
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_its_end_and_connections_outlive_it() {
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let source = RdsIam::new(credentials, "eu-west-1", "db.example.com", 5432, "app");
    let secret = RotatingSecret::builder(source).refresh_every(Duration::from_secs(3600)).start().await.unwrap();
    let first = secret.current().unwrap();
    assert_eq!(
        (first.username(), first.field("host"), first.field("port")),
        (Ok("app"), Ok("db.example.com"), Ok("5432"))
    );
    assert!(first.password().unwrap().starts_with("db.example.com:5432/?Action=connect&DBUser=app&X-Amz-Algorithm="));
    let ticket = lockstep_secret::Ticket::new(&first);
    for _ in 0..48 {
        sleep(Duration::from_secs(300)).await;
        let token = secret.current().unwrap();
        assert!(token.age() < Duration::from_secs(10 * 60), "{:?}", token.age());
    }
    assert_ne!(secret.current().unwrap().version_id(), first.version_id());
    assert!(!secret.is_retired(&ticket) && !secret.is_retired_at_age(Duration::from_secs(7200)));
    assert_eq!(secret.version(Label::Pending).await.unwrap().map(|it| it.age()), None);
}

/// Credentials that cannot be had for as long as a test wants.
#[derive(Clone, Debug, Default)]
struct Lent(Arc<Mutex<bool>>);

impl aws_credential_types::provider::ProvideCredentials for Lent {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let lent = *self.0.lock().unwrap();
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
        let answer = if lent { Ok(credentials) } else { Err(CredentialsError::not_loaded("none")) };
        aws_credential_types::provider::future::ProvideCredentials::ready(answer)
    }
}

/// A token is served for 14.5 minutes at most, however long an application wants a secret to be served.
#[tokio::test(start_paused = true)]
async fn a_token_is_not_served_after_its_end() {
    let lent = Lent::default();
    let start = || RotatingSecret::builder(RdsIam::new(lent.clone(), "eu-west-1", "db", 5432, "app")).start();
    let error = start().await.unwrap_err();
    assert!(
        matches!(&error, Error::Source(source) if source.cause == Cause::Denied && source.origin == "IAM"),
        "{error}"
    );
    *lent.0.lock().unwrap() = true;
    let secret = start().await.unwrap();
    *lent.0.lock().unwrap() = false;
    sleep(Duration::from_secs(14 * 60)).await;
    assert!(secret.current().is_ok());
    sleep(Duration::from_secs(60)).await;
    assert!(matches!(secret.current(), Err(Error::TooOld { .. })));
}

/// Neither call gets as far as the network.
#[tokio::test]
async fn without_credentials_or_a_region_the_cause_is_denied() {
    use lockstep_secret::aws_sdk_secretsmanager::config::{BehaviorVersion, Region};
    use lockstep_secret::aws_sdk_secretsmanager::{Client, Config};
    let config = || Config::builder().behavior_version(BehaviorVersion::v2026_01_12());
    let without_credentials = config().region(Region::from_static("us-east-1")).build();
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let without_region = config().credentials_provider(credentials).build();
    let not_loaded = config().region(Region::from_static("us-east-1")).credentials_provider(Lent::default()).build();
    for config in [without_credentials, without_region, not_loaded] {
        let source = lockstep_secret::source::SecretsManager::new(Client::from_conf(config), "app");
        assert_eq!(read(&source, Label::Current).await, Err(Cause::Denied));
    }
}

async fn read(source: &impl Source, label: Label) -> Result<Option<(String, String)>, Cause> {
    let fetched = source.fetch(label, false).await?;
    Ok(fetched.map(|fetched| (fetched.version_id, fetched.value.expose().to_owned())))
}

fn version(id: &str, value: &str) -> Result<Option<(String, String)>, Cause> {
    Ok(Some((id.to_owned(), value.to_owned())))
}

#[tokio::test]
async fn a_file_that_changes_is_a_new_version_and_one_that_changes_back_is_not() {
    let home = tempfile::tempdir().unwrap();
    let (current, previous) = (home.path().join("current"), home.path().join("previous"));
    fs::write(&current, r#"{"password": "1"}"#).unwrap();
    let file = File::new(&current).previous(&previous);
    assert_eq!(read(&file, Label::Current).await, version("file-1", r#"{"password": "1"}"#));
    assert_eq!(read(&file, Label::Current).await, version("file-1", r#"{"password": "1"}"#));
    assert_eq!((read(&file, Label::Previous).await, read(&file, Label::Pending).await), (Ok(None), Ok(None)));
    fs::write(&previous, r#"{"password": "1"}"#).unwrap();
    fs::write(&current, r#"{"password": "2"}"#).unwrap();
    assert_eq!(read(&file, Label::Current).await, version("file-2", r#"{"password": "2"}"#));
    assert_eq!(read(&file, Label::Previous).await, version("file-1", r#"{"password": "1"}"#));
    // A file that is being written, or a mistake, does not replace what works.
    fs::write(&current, r#"{"passw"#).unwrap();
    assert_eq!(read(&file, Label::Current).await, Err(Cause::Invalid));
    fs::write(&current, "x".repeat(70_000)).unwrap();
    assert_eq!(read(&file, Label::Current).await, Err(Cause::Invalid));
    fs::remove_file(&current).unwrap();
    assert_eq!(read(&file, Label::Current).await, Err(Cause::NotFound));
}

/// Kubernetes makes a directory of a secret's keys, under a link that it replaces at once.
#[tokio::test]
async fn a_mounted_directory_is_an_object_and_is_read_again_when_its_link_moves() {
    let home = tempfile::tempdir().unwrap();
    let mount = home.path().join("mount");
    for (number, password) in [("..1", "one"), ("..2", "two \"quoted\"\n")] {
        let data = mount.join(number);
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("username"), "app").unwrap();
        fs::write(data.join("password"), password).unwrap();
    }
    symlink("..1", mount.join("..data")).unwrap();
    for name in ["username", "password"] {
        symlink(format!("..data/{name}"), mount.join(name)).unwrap();
    }
    let source = File::new(&mount).check_every(Duration::from_millis(20));
    let secret = RotatingSecret::builder(source).start().await.unwrap();
    let before = secret.current().unwrap();
    assert_eq!((before.username(), before.password()), (Ok("app"), Ok("one")));
    symlink("..2", mount.join("..new")).unwrap();
    fs::rename(mount.join("..new"), mount.join("..data")).unwrap();
    let mut waited = 0;
    while secret.current().unwrap().version_id() == before.version_id() {
        sleep(Duration::from_millis(10)).await;
        waited += 1;
        assert!(waited < 500, "the new version never came");
    }
    assert_eq!(secret.current().unwrap().password(), Ok("two \"quoted\"\n"));
}

/// A double of AWS's agent, which answers as its source does: `cache_manager.rs`, `parse.rs` and `server.rs`.
struct AgentDouble {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl AgentDouble {
    async fn start(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap();
                let (status, body) = answer(&request);
                seen.lock().unwrap().push(request);
                let head =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            }
        });
        Self { port, requests }
    }
}

#[tokio::test]
async fn the_agent_is_asked_with_its_token_and_asked_anew_after_a_refusal() {
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("token");
    fs::write(&token, "t0ken\n").unwrap();
    let double = AgentDouble::start(|request| {
        if !request.contains("t0ken\r\n") {
            return (403, "Bad Token".to_owned());
        }
        if request.contains("AWSPREVIOUS") {
            let message = "Secrets Manager can't find the specified secret value for staging label: AWSPREVIOUS";
            return (400, format!(r#"{{"__type":"ResourceNotFoundException", "message":"{message}"}}"#));
        }
        let value = r#"{\"username\":\"app\",\"password\":\"hunter2\"}"#;
        (
            200,
            format!(
                r#"{{"ARN":"arn","Name":"app/db","VersionId":"v1","SecretString":"{value}","VersionStages":["AWSCURRENT"],"CreatedDate":"1569534789.046"}}"#
            ),
        )
    });
    let double = double.await;
    let agent = || Agent::new("app/db+1").port(double.port).token_file(&token);
    let fetched = agent().fetch(Label::Current, false).await.unwrap().unwrap();
    assert_eq!(
        (fetched.version_id.as_str(), fetched.value.expose()),
        ("v1", r#"{"username":"app","password":"hunter2"}"#)
    );
    assert_eq!(fetched.created, Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(1_569_534_789.046)));
    assert_eq!(read(&agent(), Label::Previous).await, Ok(None));
    agent().fetch(Label::Pending, true).await.unwrap();
    let lines: Vec<_> =
        double.requests.lock().unwrap().iter().map(|it| it.lines().next().unwrap().to_owned()).collect();
    assert_eq!(
        lines,
        [
            "GET /secretsmanager/get?secretId=app%2Fdb%2B1&versionStage=AWSCURRENT HTTP/1.1",
            "GET /secretsmanager/get?secretId=app%2Fdb%2B1&versionStage=AWSPREVIOUS HTTP/1.1",
            "GET /secretsmanager/get?secretId=app%2Fdb%2B1&versionStage=AWSPENDING&refreshNow=true HTTP/1.1",
        ]
    );
    fs::write(&token, "another").unwrap();
    assert_eq!(read(&agent(), Label::Current).await, Err(Cause::Denied));
    fs::remove_file(&token).unwrap();
    assert_eq!(read(&agent(), Label::Current).await, Err(Cause::Denied));
}

#[tokio::test]
async fn the_agents_errors_have_their_causes() {
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("token");
    fs::write(&token, "t0ken").unwrap();
    for (status, kind, expected) in [
        (400, "ResourceNotFoundException", Cause::NotFound),
        (400, "AccessDeniedException", Cause::Denied),
        (400, "ThrottlingException", Cause::Throttled),
        (429, "", Cause::Throttled),
        (500, "InternalFailure", Cause::Unavailable),
        (502, "ConnectionError", Cause::Unavailable),
        (504, "TimeoutError", Cause::Unavailable),
        (400, "SomethingNew", Cause::Invalid),
        (200, "not the answer", Cause::Invalid),
    ] {
        let body = format!(r#"{{"__type":"{kind}", "message":"no"}}"#);
        let double = AgentDouble::start(move |_| (status, body.clone())).await;
        let agent = Agent::new("app").port(double.port).token_file(&token);
        assert_eq!(read(&agent, Label::Current).await, Err(expected), "{status} {kind}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let agent = Agent::new("app").port(closed).token_file(&token);
    assert_eq!(read(&agent, Label::Current).await, Err(Cause::Unavailable));
}
