//! Issuers that run here: RabbitMQ and OpenBao themselves, with TLS. A function that is killed at each of its calls, a lost reply
//! and twenty rotations in a row leave nobody out, and nothing behind.

use integration_tests::crash::{run_again, struck};
use integration_tests::issuer::{Secret, World};
use integration_tests::{merged, uuid};
use lab::disturb::Fault;
use lab::servers::openbao::OpenBao;
use lab::servers::rabbitmq::RabbitMq;
use lab::servers::web::Web;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Three calls to Secrets Manager in each step, and three to the issuer in all, at least.
const FEWEST_CALLS: usize = 15;

/// A server that issues credentials.
trait Live {
    /// The description.
    const ISSUER: &'static str;
    /// The secret's field with the key's id, if keys have ids.
    const ID: Option<&'static str>;

    async fn start() -> Self;
    fn web(&self) -> &Web;
    fn port(&self) -> u16;
    fn ca_pem(&self) -> &str;
    /// The admin secret, without the host.
    fn admin(&self) -> Value;
    /// What a secret says with a credential that a person has made just now.
    async fn by_hand(&self) -> Value;
    /// Whether a version's credential opens the server, with all that it needs.
    async fn opens(&self, version: &Value) -> bool;
    /// The ids of the credentials that exist, apart from other people's.
    async fn living(&self) -> BTreeSet<String>;
}

/// The function, whose requests go through the lab's disturbances.
async fn disturbed<L: Live>(server: &L) -> World {
    let admin = merged(server.admin(), json!({"host": "issuer.example.com:8443"}));
    World::with(L::ISSUER, server.web().router(), admin, |function| function).await
}

/// The function, whose requests go to the server itself.
async fn direct<L: Live>(server: &L) -> World {
    let admin = merged(server.admin(), json!({"host": format!("localhost:{}", server.port())}));
    World::with(L::ISSUER, server.web().router(), admin, |function| {
        let allowed = format!("{}=localhost", L::ISSUER);
        function.env("ISSUER_ENDPOINT_URL", "").env("CA_BUNDLE", server.ca_pem()).env("ALLOWED_PRIVATE_HOSTS", allowed)
    })
    .await
}

async fn kept<L: Live>(secret: &Secret<'_>) -> BTreeSet<String> {
    let Some(field) = L::ID else { return BTreeSet::new() };
    [secret.field("AWSCURRENT", field).await, secret.field("AWSPREVIOUS", field).await].into()
}

async fn twenty_rotations<L: Live>() {
    let server = L::start().await;
    let world = direct(&server).await;
    let secret = world.secret(server.by_hand().await).await;
    for number in 1..=20 {
        secret.rotated().await;
        assert!(server.opens(&secret.at("AWSCURRENT").await).await, "rotation {number}: AWSCURRENT is refused");
        if L::ID.is_some() {
            assert!(server.opens(&secret.at("AWSPREVIOUS").await).await, "rotation {number}: AWSPREVIOUS is refused");
            assert_eq!(server.living().await, kept::<L>(&secret).await, "rotation {number}: what lives");
        }
    }
    assert_eq!(world.https.requests(), [""; 0], "nothing went anywhere else");
}

/// A rotation with a fault at the n-th call, the same again, and one more. Without names, what a lost reply has left behind stays.
async fn strike<L: Live>(server: &L, secret: &Secret<'_>, number: usize, fault: Fault) -> bool {
    let token = uuid();
    let (struck, at) = struck(secret, &token, (number, fault), async {}).await;
    // A key that is set works from setSecret on, and the value in AWSCURRENT does not: as the strategy says.
    if L::ID.is_some() {
        assert!(server.opens(&secret.at("AWSCURRENT").await).await, "{at}: AWSCURRENT is refused");
    }
    run_again(secret, &token, Duration::ZERO, &at).await;
    assert!(server.opens(&secret.at("AWSCURRENT").await).await, "{at}: AWSCURRENT is refused");
    let report = secret.rotate().await;
    assert!(report.rotated(), "one more after {at}: {:?}", report.error());
    assert!(server.opens(&secret.at("AWSCURRENT").await).await, "one more after {at}: AWSCURRENT is refused");
    struck
}

/// Each call of a later rotation, with this fault. `orphans`: whether a key may stay whose creation was not answered, because keys
/// have no names.
async fn each_call<L: Live>(fault: Fault, orphans: bool) {
    let server = L::start().await;
    let world = disturbed(&server).await;
    let secret = world.secret(server.by_hand().await).await;
    secret.rotated().await;
    secret.rotated().await;
    let mut call = 1;
    while strike(&server, &secret, call, fault).await {
        let (living, kept) = (server.living().await, kept::<L>(&secret).await);
        assert!(living.is_superset(&kept), "{fault:?} at call {call}: a key in use is dead");
        assert!(orphans || living == kept, "{fault:?} at call {call}: {living:?} and not {kept:?}");
        call += 1;
    }
    assert!(call > FEWEST_CALLS, "only {call} calls");
    assert_eq!(server.living().await.len() > kept::<L>(&secret).await.len(), orphans, "what the description says");
}

/// RabbitMQ with a new user in each rotation.
struct NewUser(RabbitMq);

impl Live for NewUser {
    const ISSUER: &'static str = "rabbitmq";
    const ID: Option<&'static str> = Some("username");

    async fn start() -> Self {
        let server = RabbitMq::start().await.expect("RabbitMQ starts");
        let other = server.admin("PUT", "/api/users/somebody-else", json!({"password": "x", "tags": ""})).await;
        assert_eq!(other.expect("an answer").0, 201);
        Self(server)
    }

    fn web(&self) -> &Web {
        self.0.web()
    }

    fn port(&self) -> u16 {
        self.0.port()
    }

    fn ca_pem(&self) -> &str {
        self.0.ca_pem()
    }

    fn admin(&self) -> Value {
        let (user, password) = self.0.superuser();
        json!({"username": user, "password": password.expose()})
    }

    async fn by_hand(&self) -> Value {
        let (name, password) = ("made-by-hand", uuid());
        let user = json!({"password": password, "tags": ""});
        let made = self.0.admin("PUT", &format!("/api/users/{name}"), user).await.expect("an answer");
        let grants = json!({"configure": "", "write": "orders", "read": ".*"});
        let granted = self.0.admin("PUT", &format!("/api/permissions/%2F/{name}"), grants).await.expect("an answer");
        assert_eq!((made.0, granted.0), (201, 201));
        json!({"username": name, "password": password, "write": "orders"})
    }

    async fn opens(&self, version: &Value) -> bool {
        let field = |name: &str| version[name].as_str().expect(name).to_owned();
        let (user, password) = (field("username"), field("password"));
        let (_, granted) =
            self.0.admin("GET", &format!("/api/users/{user}/permissions"), Value::Null).await.expect("an answer");
        let expected = json!([{"user": user, "vhost": "/", "configure": "", "write": "orders", "read": ".*"}]);
        self.0.accepts(&user, &password).await.expect("an answer") && granted == expected
    }

    async fn living(&self) -> BTreeSet<String> {
        let (_, users) = self.0.admin("GET", "/api/users", Value::Null).await.expect("an answer");
        let names = users.as_array().expect("a list").iter().filter_map(|user| user["name"].as_str());
        names.filter(|name| !["root", "somebody-else"].contains(name)).map(str::to_owned).collect()
    }
}

/// RabbitMQ with a new password of one user.
struct OneUser(NewUser);

impl Live for OneUser {
    const ISSUER: &'static str = "rabbitmq-user";
    const ID: Option<&'static str> = None;

    async fn start() -> Self {
        Self(NewUser::start().await)
    }

    fn web(&self) -> &Web {
        self.0.web()
    }

    fn port(&self) -> u16 {
        self.0.port()
    }

    fn ca_pem(&self) -> &str {
        self.0.ca_pem()
    }

    fn admin(&self) -> Value {
        self.0.admin()
    }

    async fn by_hand(&self) -> Value {
        merged(self.0.by_hand().await, json!({"write": null}))
    }

    async fn opens(&self, version: &Value) -> bool {
        self.0.opens(version).await
    }

    async fn living(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }
}

/// OpenBao's AppRole.
struct AppRole(OpenBao);

const ROLE: &str = "/v1/auth/approle/role/app";

impl Live for AppRole {
    const ISSUER: &'static str = "vault-approle";
    const ID: Option<&'static str> = Some("secretIdAccessor");

    async fn start() -> Self {
        let server = OpenBao::start().await.expect("OpenBao starts");
        for (path, body) in [("/v1/sys/auth/approle", json!({"type": "approle"})), (ROLE, json!({"token_ttl": "60s"}))]
        {
            assert_eq!(server.root("POST", path, body).await.expect("an answer").0, 204, "{path}");
        }
        Self(server)
    }

    fn web(&self) -> &Web {
        self.0.web()
    }

    fn port(&self) -> u16 {
        self.0.port()
    }

    fn ca_pem(&self) -> &str {
        self.0.ca_pem()
    }

    fn admin(&self) -> Value {
        json!({"token": self.0.token().expose()})
    }

    async fn by_hand(&self) -> Value {
        let (_, role) = self.0.root("GET", &format!("{ROLE}/role-id"), Value::Null).await.expect("an answer");
        let (_, made) = self.0.root("POST", &format!("{ROLE}/secret-id"), json!({})).await.expect("an answer");
        json!({"role": "app", "roleId": role["data"]["role_id"], "secretId": made["data"]["secret_id"],
            "secretIdAccessor": made["data"]["secret_id_accessor"]})
    }

    async fn opens(&self, version: &Value) -> bool {
        let pair = json!({"role_id": version["roleId"], "secret_id": version["secretId"]});
        let (status, answer) = self.0.call("POST", "/v1/auth/approle/login", pair).await.expect("an answer");
        status == 200 && answer["auth"]["client_token"].is_string()
    }

    async fn living(&self) -> BTreeSet<String> {
        let (_, listed) =
            self.0.root("GET", &format!("{ROLE}/secret-id?list=true"), Value::Null).await.expect("an answer");
        let accessors = listed["data"]["keys"].as_array().into_iter().flatten();
        accessors.map(|accessor| accessor.as_str().expect("an accessor").to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_rotates_a_new_user_twenty_times() {
    twenty_rotations::<NewUser>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_rotates_one_user_twenty_times() {
    twenty_rotations::<OneUser>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openbao_rotates_a_secret_id_twenty_times() {
    twenty_rotations::<AppRole>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_each_call_with_a_new_user_of_rabbitmq() {
    each_call::<NewUser>(Fault::KillBefore, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_each_call_with_a_new_user_of_rabbitmq() {
    each_call::<NewUser>(Fault::KillAfter, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reply_is_lost_with_a_new_user_of_rabbitmq() {
    each_call::<NewUser>(Fault::LoseReply, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_each_call_with_one_user_of_rabbitmq() {
    each_call::<OneUser>(Fault::KillBefore, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_each_call_with_one_user_of_rabbitmq() {
    each_call::<OneUser>(Fault::KillAfter, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reply_is_lost_with_one_user_of_rabbitmq() {
    each_call::<OneUser>(Fault::LoseReply, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_each_call_with_a_secret_id_of_openbao() {
    // Before the value is stored, too.
    each_call::<AppRole>(Fault::KillBefore, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_each_call_with_a_secret_id_of_openbao() {
    each_call::<AppRole>(Fault::KillAfter, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reply_is_lost_with_a_secret_id_of_openbao() {
    each_call::<AppRole>(Fault::LoseReply, true).await;
}
