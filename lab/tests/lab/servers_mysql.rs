//! Throwaway MySQL and MariaDB servers, as tests and the lab use them.

use lab::process::Process;
use lab::servers::Password;
use lab::servers::certificates::TestCa;
use lab::servers::mysql::{Kind, MySql, Options, Release, Tls, literal, quoted};
use mysql_async::prelude::Queryable as _;
use rustix::process::Signal;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;

const KINDS: [Kind; 2] = [Kind::MySql, Kind::MariaDb];
const ODD_PASSWORD: &str = r#"pa'ss\ "word" %s ü `;--"#;

/// The processes that work in a directory.
fn processes_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    entries.filter(|process| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory))).collect()
}

fn home(server: &MySql) -> PathBuf {
    server.data_dir().parent().unwrap().to_owned()
}

async fn one_text(server: &MySql, query: &str) -> String {
    let rows = server.rows(query).await.unwrap();
    rows.into_iter().next().unwrap().into_iter().next_back().unwrap().unwrap()
}

#[tokio::test]
async fn every_release_starts_with_verified_tls_and_leaves_nothing_behind() {
    for release in Release::ALL {
        let server = MySql::start(Options::default().release(release)).await.unwrap();
        assert!(server.version().starts_with(&format!("{}.", release.name())), "{}", server.version());
        // 11.8 adds who built it.
        assert!(one_text(&server, "SELECT VERSION()").await.starts_with(server.version()));
        let version = one_text(&server, "SHOW STATUS LIKE 'Ssl_version'").await;
        assert!(version.starts_with("TLSv1."), "{version:?}");
        assert_eq!(one_text(&server, "SELECT CURRENT_USER()").await, "root@%");
        let accounts = server.rows("SELECT user FROM mysql.user WHERE host <> 'localhost'").await.unwrap();
        assert_eq!(accounts, [[Some("root".to_owned())]], "{release}: nobody else is let in");

        let directory = home(&server);
        assert_eq!(processes_in(&directory).len(), 1, "the test must see a server's process");
        let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!names.contains(&"init.sql".into()), "the superuser's password is in no file: {names:?}");
        drop(server);
        assert_eq!(processes_in(&directory), Vec::<PathBuf>::new());
        assert!(!directory.exists());
    }
}

/// A server that starts removes the temporary tables that an earlier one has left in its directory for them.
#[tokio::test]
async fn a_server_that_starts_leaves_the_temporary_tables_of_others_alone() {
    for kind in KINDS {
        let server = MySql::start(Options::default().kind(kind)).await.unwrap();
        let mut session = server.connect_superuser().await.unwrap();
        session.query_drop("CREATE TEMPORARY TABLE mysql.notes (a INT) ENGINE = MyISAM").await.unwrap();
        let other = MySql::start(Options::default().kind(kind)).await.unwrap();
        session.query_drop("DROP TEMPORARY TABLE mysql.notes").await.unwrap();
        let [own, others] = [&server, &other].map(|server| one_text(server, "SELECT @@tmpdir"));
        assert_ne!(own.await, others.await, "{kind}");
    }
}

#[tokio::test]
async fn users_of_any_name_log_in_with_their_own_password_only() {
    for (kind, plugin) in [(Kind::MySql, "caching_sha2_password"), (Kind::MariaDb, "mysql_native_password")] {
        // A mode in which neither of the usual ways of quoting means what it usually does.
        let options = Options::default().kind(kind).log_statements();
        let server = MySql::start(options.setting("sql_mode", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES")).await.unwrap();
        let longest = "n".repeat(32);
        let password = Password::from(ODD_PASSWORD);
        for name in ["app", r#"o"h'ara`; \ % ü"#, &longest] {
            server.create_user(name, &password).await.unwrap();
            assert!(server.can_login(name, &password).await.unwrap(), "{name}");
            assert!(!server.can_login(name, &Password::random()).await.unwrap(), "{name}");
            let query = format!("SELECT plugin FROM mysql.user WHERE user = {}", literal(name));
            assert_eq!(one_text(&server, &query).await, plugin);
        }
        // Several: MySQL answers for each as if it had one of its plugins, chosen at random.
        for number in 0..8 {
            assert!(!server.can_login(&format!("nobody{number}"), &password).await.unwrap());
        }
        server.sql(&format!("ALTER USER {}@`%` ACCOUNT LOCK", quoted("app"))).await.unwrap();
        let error = server.can_login("app", &password).await.unwrap_err().to_string();
        assert!(error.contains("locked") && error.contains("\"app\""), "{error}");

        let log = server.log_text().unwrap();
        assert!(log.contains("ACCOUNT LOCK"), "statements are logged: {log}");
        assert!(!log.contains(r"pa\'ss") && !log.contains("pa''ss") && !log.contains("pa'ss"), "{log}");
        assert!(!log.contains(server.superuser_password().expose()));
        assert!(!format!("{server:?}").contains(server.superuser_password().expose()));
    }
}

#[tokio::test]
async fn tls_can_be_required_offered_or_absent() {
    for kind in KINDS {
        for (tls, plaintext) in [(Tls::Required, false), (Tls::Offered, true), (Tls::Off, true)] {
            let server = MySql::start(Options::default().kind(kind).tls(tls)).await.unwrap();
            server.connect_superuser().await.unwrap();
            assert_eq!(server.ca_pem().is_empty(), tls == Tls::Off);
            let password = server.superuser_password().expose();
            let options = mysql_async::OptsBuilder::default()
                .ip_or_hostname("127.0.0.1")
                .tcp_port(server.port())
                .user(Some(server.superuser()))
                .pass(Some(password))
                .prefer_socket(false);
            let result = mysql_async::Conn::new(options).await;
            assert_eq!(result.is_ok(), plaintext, "{kind} {tls:?}: {:?}", result.err());
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_good_is_refused() {
    let ca = TestCa::new("Test CA").unwrap();
    for kind in KINDS {
        let good = ca.issue(&["localhost"]).unwrap();
        let server = MySql::start(Options::default().kind(kind).certificate(good)).await.unwrap();
        assert_eq!(server.ca_pem(), ca.pem());
        server.connect_superuser().await.unwrap();
    }
    for (bad, why) in [
        (ca.issue_expired(&["localhost"]).unwrap(), "expired"),
        (ca.issue(&["db.example.com"]).unwrap(), "not valid for name"),
    ] {
        let server = MySql::start(Options::default().kind(Kind::MariaDb).certificate(bad)).await.unwrap();
        let error = server.connect_superuser().await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn an_account_of_mysql_has_two_passwords() {
    let server = MySql::start(Options::default()).await.unwrap();
    let (old, new) = (Password::random(), Password::random());
    server.create_user("app", &old).await.unwrap();
    let alter = |password: &Password| {
        format!("ALTER USER app@'%' IDENTIFIED BY {} RETAIN CURRENT PASSWORD", literal(password.expose()))
    };
    server.sql(&alter(&new)).await.unwrap();
    assert!(server.can_login("app", &old).await.unwrap());
    assert!(server.can_login("app", &new).await.unwrap());
    server.sql("ALTER USER app@'%' DISCARD OLD PASSWORD").await.unwrap();
    assert!(!server.can_login("app", &old).await.unwrap());
    assert!(server.can_login("app", &new).await.unwrap());

    let server = MySql::start(Options::default().kind(Kind::MariaDb)).await.unwrap();
    server.create_user("app", &old).await.unwrap();
    let error = server.sql(&alter(&new)).await.unwrap_err().to_string();
    assert!(error.contains("1064") && !error.contains(new.expose()), "{error}");
}

#[tokio::test]
async fn policies_for_passwords_can_be_installed() {
    let server = MySql::start(Options::default()).await.unwrap();
    server.sql("INSTALL COMPONENT 'file://component_validate_password'").await.unwrap();
    server.sql("INSTALL COMPONENT 'file://component_connection_control'").await.unwrap();
    let error = server.create_user("app", &Password::from("short")).await.unwrap_err().to_string();
    assert!(error.contains("1819"), "{error}");

    let server = MySql::start(Options::default().kind(Kind::MariaDb)).await.unwrap();
    server.sql("INSTALL SONAME 'simple_password_check'; INSTALL SONAME 'auth_ed25519'").await.unwrap();
    let error = server.create_user("app", &Password::from("short")).await.unwrap_err().to_string();
    assert!(error.contains("1819"), "{error}");
    server.sql("CREATE USER app IDENTIFIED VIA ed25519 USING PASSWORD('Sufficient-1')").await.unwrap();
}

/// One in 256 of its logins is refused by a fault of the client.
#[tokio::test]
async fn an_account_with_ed25519_can_always_log_in_with_its_password_and_never_with_another() {
    let server = MySql::start(Options::default().kind(Kind::MariaDb)).await.unwrap();
    server.sql("INSTALL SONAME 'auth_ed25519'").await.unwrap();
    server.sql("CREATE USER app IDENTIFIED VIA ed25519 USING PASSWORD('right')").await.unwrap();
    for _ in 0..1_000 {
        assert!(server.can_login("app", &"right".into()).await.unwrap());
    }
    assert!(!server.can_login("app", &"wrong".into()).await.unwrap());
}

#[tokio::test]
async fn a_setting_is_obeyed_and_one_that_does_not_exist_told_with_the_servers_own_words() {
    for kind in KINDS {
        let options = Options::default().kind(kind).setting("max_connections", "17");
        let server = MySql::start(options.clone()).await.unwrap();
        assert_eq!(one_text(&server, "SELECT @@max_connections").await, "17");
        let error = MySql::start(options.setting("no_such_setting", "1")).await.unwrap_err().to_string();
        assert!(error.contains("no_such_setting"), "{error}");
    }
}

#[tokio::test]
async fn a_query_gives_texts_and_nulls() {
    let server = MySql::start(Options::default().kind(Kind::MariaDb)).await.unwrap();
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.t (n INT, s TEXT)").await.unwrap();
    server.sql("INSERT INTO shop.t VALUES (1, 'a'), (NULL, '')").await.unwrap();
    let rows = server.rows("SELECT n, s FROM shop.t ORDER BY n DESC").await.unwrap();
    let expected = [[Some("1"), Some("a")], [None, Some("")]].map(|row| row.map(|value| value.map(str::to_owned)));
    assert_eq!(rows, expected);

    let mut connection = server.connect("root", server.superuser_password(), Some("shop")).await.unwrap();
    let database: Option<String> = connection.query_first("SELECT DATABASE()").await.unwrap();
    assert_eq!(database.as_deref(), Some("shop"));
    assert!(server.sql("SELECT 1; DROP TABLE shop.absent").await.is_err(), "a later statement's failure is told");
}

#[tokio::test]
async fn a_read_only_server_refuses_changes() {
    for kind in KINDS {
        let server = MySql::start(Options::default().kind(kind)).await.unwrap();
        server.set_read_only(true).await.unwrap();
        let admin = Password::random();
        if kind == Kind::MariaDb {
            server.set_read_only(false).await.unwrap();
            server.create_user("admin", &admin).await.unwrap();
            server.sql("GRANT CREATE USER, RELOAD ON *.* TO admin").await.unwrap();
            server.set_read_only(true).await.unwrap();
            let mut connection = server.connect("admin", &admin, None).await.unwrap();
            let error = connection.query_drop("CREATE USER late").await.unwrap_err().to_string();
            assert!(error.contains("1290"), "{error}");
        } else {
            let error = server.create_user("late", &admin).await.unwrap_err().to_string();
            assert!(error.contains("(1290)"), "{error}");
        }
        server.set_read_only(false).await.unwrap();
        server.create_user("late", &admin).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_can_be_read_only_from_the_start() {
    for (kind, setting) in [(Kind::MySql, "super_read_only"), (Kind::MariaDb, "read_only")] {
        let server = MySql::start(Options::default().kind(kind).setting(setting, "ON")).await.unwrap();
        assert_eq!(one_text(&server, &format!("SELECT @@GLOBAL.{setting}")).await, "1");
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
    for kind in KINDS {
        let server = MySql::start(Options::default().kind(kind)).await.unwrap();
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
}

/// Set for the process that is to be killed: the file in which it tells of its servers.
const ROLE: &str = "LOCKSTEP_TEST_SERVERS_TO_ABANDON";

async fn start_servers_and_wait(file: &Path) {
    let mut servers = Vec::new();
    let mut connections = Vec::new();
    for kind in KINDS {
        let server = MySql::start(Options::default().kind(kind)).await.unwrap();
        connections.push(server.connect_superuser().await.unwrap());
        servers.push(server);
    }
    let lines: Vec<String> = servers.iter().map(|server| home(server).to_str().unwrap().to_owned()).collect();
    let unfinished = file.with_extension("unfinished");
    fs::write(&unfinished, lines.join("\n")).unwrap();
    fs::rename(unfinished, file).unwrap();
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
async fn servers_do_not_outlive_a_lab_that_was_killed() {
    if let Some(file) = std::env::var_os(ROLE) {
        return start_servers_and_wait(Path::new(&file)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("homes");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "servers_mysql::servers_do_not_outlive_a_lab_that_was_killed"])
        .env(ROLE, &file)
        .stdout(Stdio::null());
    let mut lab = Process::spawn(&mut command, Signal::KILL).unwrap();
    wait_until("the servers start", || file.exists()).await;
    let homes: Vec<PathBuf> = fs::read_to_string(&file).unwrap().lines().map(PathBuf::from).collect();
    assert_eq!(homes.len(), KINDS.len());
    assert!(homes.iter().all(|home| !processes_in(home).is_empty()));
    lab.stop().unwrap();
    wait_until("the watchdog cleans up", || homes.iter().all(|home| processes_in(home).is_empty() && !home.exists()))
        .await;
}
