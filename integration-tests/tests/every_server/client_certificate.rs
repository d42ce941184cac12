//! Users who need a client's certificate besides their password (`rotation.clientCertificate`).

use integration_tests::{Options, Secret, Server, World, merged, world};
use lab::servers::Password;
use lab::servers::certificates::{Certificate, TestCa};
use lab::servers::mysql::{self, MySql};
use lab::servers::postgres::{self, Postgres};
use serde_json::{Value, json};
use std::future::Future;

on! { (postgres, mysql, mariadb):
    a_user_with_a_certificate_rotates_again_and_again;
    a_pair_logs_in_with_one_certificate;
    a_superuser_shows_its_own_certificate_alone;
    a_certificate_that_cannot_serve_is_refused_before_anything_changes;
}

/// The users who need a certificate.
const USERS: [&str; 3] = ["app", "app_clone", "boss"];

/// In what servers differ for certificates of clients.
trait Certified: Server {
    /// The code for a login without a certificate that is wanted, by a user and by a superuser.
    const WITHOUT: [&'static str; 2];

    /// Options of a server that trusts this authority for clients, and wants a certificate of each of [`USERS`].
    fn demanding(options: Self::Options, ca: &TestCa) -> Self::Options;
    /// Has the server want a certificate of this user, if it does not yet.
    fn demand(world: &World<Self>, user: &str) -> impl Future<Output = ()>;
    /// Makes this user a superuser.
    fn exalt(world: &World<Self>, user: &str) -> impl Future<Output = ()>;
    /// Whether this user can log in, with a certificate or without.
    fn opens_with(&self, user: &str, password: &str, certificate: Option<&Certificate>) -> impl Future<Output = bool>;
}

impl Certified for Postgres {
    const WITHOUT: [&'static str; 2] = ["login-forbidden", "login-forbidden"];

    fn demanding(options: postgres::Options, ca: &TestCa) -> postgres::Options {
        let line = |user| format!("hostssl all {user} 127.0.0.1/32 scram-sha-256 clientcert=verify-ca");
        USERS.iter().fold(options.client_ca(ca.pem()), |options, user| options.hba(&line(user)))
    }
    async fn demand(_: &World<Self>, _: &str) {}
    async fn exalt(world: &World<Self>, user: &str) {
        world.sql(&format!("ALTER ROLE {user} SUPERUSER")).await;
    }
    async fn opens_with(&self, user: &str, password: &str, certificate: Option<&Certificate>) -> bool {
        self.can_login_with(user, &password.into(), certificate).await.expect("the server answers")
    }
}

impl Certified for MySql {
    const WITHOUT: [&'static str; 2] = ["locked-out", "superuser-rejected"];

    fn demanding(options: mysql::Options, ca: &TestCa) -> mysql::Options {
        // The server trusts the authority of its own certificate.
        options.certificate(ca.issue(&["localhost", "127.0.0.1"]).unwrap())
    }
    async fn demand(world: &World<Self>, user: &str) {
        world.sql(&format!("ALTER USER {user} REQUIRE X509")).await;
    }
    async fn exalt(world: &World<Self>, user: &str) {
        world.sql(&format!("GRANT ALL ON *.* TO {user} WITH GRANT OPTION")).await;
    }
    async fn opens_with(&self, user: &str, password: &str, certificate: Option<&Certificate>) -> bool {
        self.can_login_with(user, &password.into(), certificate).await.expect("the server answers")
    }
}

/// A server that wants certificates, and its authority for them.
async fn demanding<O: Options>(options: O) -> (World<O::Server>, TestCa)
where
    O::Server: Certified,
{
    let ca = TestCa::new("clients").unwrap();
    let world = world(O::Server::demanding(options, &ca)).await;
    (world, ca)
}

/// What stands in a secret for a certificate.
fn showing(certificate: &Certificate) -> Value {
    let both = json!({"certificate": certificate.cert_pem(), "key": certificate.key_pem()});
    json!({"rotation": {"clientCertificate": both}})
}

async fn opens<S: Certified>(
    world: &World<S>,
    secret: &Secret<'_, S>,
    label: &str,
    certificate: Option<&Certificate>,
) -> bool {
    let (user, password) = secret.credential(label).await;
    world.server.opens_with(&user, &password, certificate).await
}

async fn a_user_with_a_certificate_rotates_again_and_again<O: Options>(options: O)
where
    O::Server: Certified,
{
    let (world, ca) = demanding(options).await;
    let certificate = ca.issue_client("somebody").unwrap();
    let password = Password::random();
    world.server.create_user("app", &password).await;
    O::Server::demand(&world, "app").await;
    let document = world.document("app", password.expose());
    let error = world.secret(document.clone()).await.refused().await;
    assert_eq!(error.error_type, O::Server::WITHOUT[0], "{error:?}");

    let secret = world.secret(merged(document, showing(&certificate))).await;
    for _ in 0..20 {
        secret.rotated().await;
    }
    assert!(opens(&world, &secret, "AWSCURRENT", Some(&certificate)).await);
    assert!(!opens(&world, &secret, "AWSCURRENT", None).await, "the server wants no certificate");
    assert!(!opens(&world, &secret, "AWSPREVIOUS", Some(&certificate)).await);
    assert_eq!(secret.at("AWSCURRENT").await["rotation"], showing(&certificate)["rotation"]);
}

async fn a_pair_logs_in_with_one_certificate<O: Options>(options: O)
where
    O::Server: Certified,
{
    let (world, ca) = demanding(options).await;
    let certificate = ca.issue_client("both").unwrap();
    let superuser = world.superuser().await;
    let more = merged(json!({"masterarn": superuser.arn}), showing(&certificate));
    let secret = world.user_with("app", more).await;
    O::Server::demand(&world, "app").await;
    for user in ["app_clone", "app"] {
        secret.rotated().await;
        assert_eq!(secret.credential("AWSCURRENT").await.0, user);
        for label in ["AWSCURRENT", "AWSPREVIOUS"] {
            assert!(opens(&world, &secret, label, Some(&certificate)).await, "{user}, {label}");
            assert!(!opens(&world, &secret, label, None).await, "{user}, {label}: the server wants no certificate");
        }
    }
}

async fn a_superuser_shows_its_own_certificate_alone<O: Options>(options: O)
where
    O::Server: Certified,
{
    let (world, ca) = demanding(options).await;
    let (own, childs) = (ca.issue_client("boss").unwrap(), ca.issue_client("app").unwrap());
    let boss = world.user("boss").await;
    O::Server::exalt(&world, "boss").await;
    O::Server::demand(&world, "boss").await;
    let secret = world.user_with("app", merged(json!({"masterarn": boss.arn}), showing(&childs))).await;
    let token = integration_tests::uuid();
    let report = world.lab.rotate_to(&secret.arn, &token).await.unwrap();
    assert_eq!(report.error().unwrap().error_type, O::Server::WITHOUT[1], "{:?}", report.error());
    boss.put(&merged(boss.at("AWSCURRENT").await, showing(&own))).await;
    let report = world.lab.rotate_to(&secret.arn, &token).await.unwrap();
    assert!(report.rotated(), "{:?}", report.error());
    assert!(opens(&world, &secret, "AWSCURRENT", Some(&childs)).await);
}

async fn a_certificate_that_cannot_serve_is_refused_before_anything_changes<O: Options>(options: O)
where
    O::Server: Certified,
{
    let (world, ca) = demanding(options).await;
    let (good, other) = (ca.issue_client("app").unwrap(), ca.issue_client("app").unwrap());
    let stranger = TestCa::new("nobody trusts it").unwrap().issue_client("app").unwrap();
    let both = |certificate: &Certificate, key: &Certificate| json!({"rotation": {"clientCertificate": {"certificate": certificate.cert_pem(), "key": key.key_pem()}}});
    let expired = ca.issue_expired_client("app").unwrap();
    let password = Password::random();
    world.server.create_user("app", &password).await;
    O::Server::demand(&world, "app").await;
    let cases = [
        (showing(&expired), "client-certificate-invalid"),
        (both(&good, &other), "client-certificate-invalid"),
        (showing(&stranger), "client-certificate-refused"),
    ];
    for (certificate, code) in cases {
        let secret = world.secret(merged(world.document("app", password.expose()), certificate)).await;
        let hashes = world.server.hashes().await;
        let error = secret.refused().await;
        assert_eq!(error.error_type, code, "{error:?}");
        assert!(error.error_message.contains("user=\"app\""), "{error:?}");
        assert_eq!(world.server.hashes().await, hashes);
    }
    assert!(world.server.opens_with("app", password.expose(), Some(&good)).await);
}
