//! Throwaway PostgreSQL servers, as tests and the lab use them.

use lab::process::Process;
use lab::servers::Password;
use lab::servers::certificates::TestCa;
use lab::servers::postgres::{Options, Postgres, Tls, Version};
use rustix::process::Signal;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;

const ODD_PASSWORD: &str = r#"pa'ss\ "word" %s ü"#;

/// The processes that work in a directory: a server with all its children.
fn processes_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    entries.filter(|process| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory))).collect()
}

fn home(server: &Postgres) -> PathBuf {
    server.data_dir().parent().unwrap().to_owned()
}

async fn one_text(client: &tokio_postgres::Client, query: &str) -> String {
    client.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn every_version_starts_with_verified_tls_and_leaves_nothing_behind() {
    for version in Version::ALL {
        let number = format!("{}.", version.name());
        let server = Postgres::start(Options::default().version(version)).await.unwrap();
        let client = server.connect_superuser().await.unwrap();
        let said = one_text(&client, "SHOW server_version").await;
        assert!(said.starts_with(&number), "{said}");
        assert_eq!(one_text(&client, "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await, "true");
        let verifier = one_text(&client, "SELECT rolpassword FROM pg_authid WHERE rolname = current_user").await;
        assert!(verifier.starts_with("SCRAM-SHA-256$"));

        let directory = home(&server);
        assert!(!processes_in(&directory).is_empty(), "the test must see a server's processes");
        drop(server);
        assert_eq!(processes_in(&directory), Vec::<PathBuf>::new());
        assert!(!directory.exists());
    }
}

#[tokio::test]
async fn users_of_any_name_log_in_with_their_own_password_only() {
    let server = Postgres::start(Options::default().log_statements()).await.unwrap();
    let longest = "n".repeat(63);
    for name in ["app", r#"o"hara'; \ % ü"#, &longest] {
        let password = Password::from(ODD_PASSWORD);
        server.create_user(name, &password).await.unwrap();
        assert!(server.can_login(name, &password).await.unwrap(), "{name}");
        assert!(!server.can_login(name, &Password::random()).await.unwrap(), "{name}");
    }
    let client = server.connect_superuser().await.unwrap();
    client.batch_execute("ALTER ROLE app NOLOGIN").await.unwrap();
    let error = server.can_login("app", &Password::from(ODD_PASSWORD)).await.unwrap_err().to_string();
    assert!(error.contains("not permitted to log in (28000)"), "{error}");

    let log = server.log_text().unwrap();
    assert!(log.contains("ALTER ROLE app NOLOGIN"), "statements are logged");
    assert!(!log.contains("SCRAM-SHA-256$") && !log.contains(ODD_PASSWORD), "the lab's own secrets are not");
    assert!(!log.contains(server.superuser_password().expose()));
    assert!(!format!("{server:?}").contains(server.superuser_password().expose()));
}

#[tokio::test]
async fn tls_can_be_required_offered_or_absent() {
    for (tls, plaintext) in [(Tls::Required, false), (Tls::Offered, true), (Tls::Off, true)] {
        let server = Postgres::start(Options::default().tls(tls)).await.unwrap();
        server.connect_superuser().await.unwrap();
        assert_eq!(server.ca_pem().is_empty(), tls == Tls::Off);
        let mut config = tokio_postgres::Config::new();
        config.host(server.host()).port(server.port()).user(server.superuser());
        config.password(server.superuser_password().expose()).ssl_mode(tokio_postgres::config::SslMode::Disable);
        let result = config.connect(tokio_postgres::NoTls).await;
        assert_eq!(result.is_ok(), plaintext, "{tls:?}: {:?}", result.err());
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_good_is_refused() {
    let ca = TestCa::new("Test CA").unwrap();
    let good = ca.issue(&["localhost"]).unwrap();
    let mut server = Postgres::start(Options::default().certificate(good.clone())).await.unwrap();
    assert_eq!(server.ca_pem(), ca.pem());
    server.connect_superuser().await.unwrap();

    for (bad, why) in [
        (ca.issue_expired(&["localhost"]).unwrap(), "expired"),
        (ca.issue(&["db.example.com"]).unwrap(), "not valid for name"),
    ] {
        server.present_certificate(bad).await.unwrap();
        let error = server.connect_superuser().await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    server.present_certificate(good).await.unwrap();
    server.connect_superuser().await.unwrap();
}

#[tokio::test]
async fn settings_and_access_lines_are_obeyed() {
    let options = Options::default()
        .setting("max_connections", "7")
        .setting("password_encryption", "md5")
        .hba("hostssl all old 127.0.0.1/32 md5");
    let server = Postgres::start(options).await.unwrap();
    let client = server.connect_superuser().await.unwrap();
    assert_eq!(one_text(&client, "SHOW max_connections").await, "7");
    let password = Password::random();
    server.create_user("old", &password).await.unwrap();
    let verifier = one_text(&client, "SELECT rolpassword FROM pg_authid WHERE rolname = 'old'").await;
    assert!(verifier.starts_with("md5"));
    assert!(server.can_login("old", &password).await.unwrap());
}

#[tokio::test]
async fn a_setting_that_does_not_exist_is_told_with_the_servers_own_words() {
    let error = Postgres::start(Options::default().setting("no_such_setting", "1")).await.unwrap_err().to_string();
    assert!(error.contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn a_standby_follows_its_primary_and_is_read_only() {
    for tls in [Tls::Required, Tls::Off] {
        let primary = Postgres::start(Options::default().tls(tls)).await.unwrap();
        let standby = Postgres::standby_of(&primary).await.unwrap();
        assert_ne!(standby.port(), primary.port());
        let client = standby.connect_superuser().await.unwrap();
        let error = client.batch_execute("CREATE ROLE nobody_at_all").await.unwrap_err();
        assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::READ_ONLY_SQL_TRANSACTION));

        let password = Password::random();
        primary.create_user("late", &password).await.unwrap();
        let start = Instant::now();
        while !standby.can_login("late", &password).await.unwrap() {
            assert!(start.elapsed() < Duration::from_secs(300), "the standby does not follow");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// That nobody listens on the port, and nobody else gets it either. Before the first connection: what one leaves behind
/// (TIME-WAIT) would keep the port, too.
fn assert_refuses_and_is_kept(port: u16) {
    let address = (Ipv4Addr::LOCALHOST, port);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // The standard library's own `bind` would set SO_REUSEADDR, with which one could share it.
    let other = TcpSocket::new_v4().unwrap();
    assert_eq!(other.bind(address.into()).unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_server_that_went_down_comes_up_with_its_data_on_its_port() {
    let server = Postgres::start(Options::default()).await.unwrap();
    let (port, password) = (server.port(), Password::random());
    server.down().unwrap();
    assert_refuses_and_is_kept(port);
    server.up().await.unwrap();
    server.create_user("app", &password).await.unwrap();
    server.down().unwrap();
    assert!(server.can_login("app", &password).await.is_err());
    server.up().await.unwrap();
    assert_eq!(server.port(), port);
    assert!(server.can_login("app", &password).await.unwrap());
    server.stop().unwrap();
}

/// Set for the process that is to be killed: the file in which it tells of its server.
const ROLE: &str = "LOCKSTEP_TEST_SERVER_TO_ABANDON";

async fn start_a_server_and_wait(file: &Path) {
    let server = Postgres::start(Options::default()).await.unwrap();
    fs::write(file, server.data_dir().to_str().unwrap()).unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
}

async fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(300), "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Runs itself once more, as the lab that is killed.
#[tokio::test]
async fn a_server_does_not_outlive_a_lab_that_was_killed() {
    if let Some(file) = std::env::var_os(ROLE) {
        return start_a_server_and_wait(Path::new(&file)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("data-dir");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "servers_postgres::a_server_does_not_outlive_a_lab_that_was_killed"])
        .env(ROLE, &file)
        .stdout(Stdio::null());
    let mut lab = Process::spawn(&mut command, Signal::KILL).unwrap();
    let data = || fs::read_to_string(&file).unwrap_or_default();
    wait_until("the server starts", || !data().is_empty()).await;
    let data = data();
    let home = Path::new(&data).parent().unwrap();
    assert!(!processes_in(home).is_empty());
    lab.stop().unwrap();
    wait_until("the watchdog cleans up", || processes_in(home).is_empty() && !home.exists()).await;
}
