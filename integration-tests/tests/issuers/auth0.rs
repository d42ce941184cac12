//! Auth0: one secret for an application, chosen by us. It ends when the next is set, and the next may take half a minute.

use super::support::{Call, Double, answer, empty, random};
use axum::response::Response;
use integration_tests::STEPS;
use integration_tests::issuer::World;
use lab::disturb::Fault;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const DOMAIN: &str = "example.eu.auth0.com";
const CLIENT: &str = "AaiyAPdpYdesoKnqjj8HJqRn4T5titww";

#[derive(Clone)]
struct Auth0 {
    application: Arc<Mutex<Application>>,
    /// A machine-to-machine application: its id, its secret, and what it may do.
    admin: (String, String),
    scope: &'static str,
    access_token: String,
    /// "New secrets may be delayed up to thirty seconds while rotating."
    delay: Duration,
}

struct Application {
    secret: String,
    works_from: Instant,
    /// What came before, in order.
    ended: Vec<String>,
}

impl Auth0 {
    fn new() -> Self {
        let application = Application { secret: random(64), works_from: Instant::now(), ended: Vec::new() };
        Self {
            application: Arc::new(Mutex::new(application)),
            admin: (random(32), random(64)),
            scope: "update:clients update:client_keys",
            access_token: format!("eyJ.{}", random(40)),
            delay: Duration::ZERO,
        }
    }

    fn admin(&self) -> Value {
        json!({"domain": DOMAIN, "clientId": self.admin.0, "clientSecret": self.admin.1})
    }

    fn written(&self) -> Value {
        json!({"clientId": CLIENT, "clientSecret": self.secret()})
    }

    fn secret(&self) -> String {
        self.lock(|application| application.secret.clone())
    }

    fn ended(&self) -> Vec<String> {
        self.lock(|application| application.ended.clone())
    }

    fn works(&self, secret: &str) -> bool {
        self.lock(|application| application.secret == secret && application.works_from <= Instant::now())
    }

    fn lock<T>(&self, look: impl FnOnce(&mut Application) -> T) -> T {
        look(&mut self.application.lock().expect("no double panics with the application"))
    }

    fn token(&self, call: &Call) -> Response {
        let form = call.form().unwrap_or_default();
        let field = |name: &str| form.get(name).map(String::as_str);
        if field("grant_type") != Some("client_credentials") {
            return oauth_error(400, "invalid_request", "Missing required parameter: grant_type");
        }
        if field("client_id") != Some(self.admin.0.as_str()) || field("client_secret") != Some(self.admin.1.as_str()) {
            return oauth_error(401, "access_denied", "Unauthorized");
        }
        // The tenant's own domain and the slash at the end belong to the API's name.
        if field("audience") != Some(format!("https://{DOMAIN}/api/v2/").as_str()) {
            return oauth_error(403, "access_denied", "Service not found");
        }
        let token = json!({"access_token": self.access_token, "scope": self.scope, "expires_in": 86400, "token_type": "Bearer"});
        answer(200, token)
    }

    fn set(&self, call: &Call) -> Response {
        if call.bearer() != Some(self.access_token.as_str()) {
            return error(401, "invalid_token", "Invalid token");
        }
        let body = call.json().unwrap_or_default();
        let secret = body["client_secret"].as_str().unwrap_or_default();
        if secret.is_empty() || body != json!({"client_secret": secret}) {
            return error(400, "invalid_body", "Payload validation error");
        }
        if !self.scope.contains("update:client_keys") {
            return error(403, "insufficient_scope", "Insufficient scope, expected any of: update:client_keys");
        }
        self.lock(|application| {
            if application.secret != secret {
                let before = std::mem::replace(&mut application.secret, secret.to_owned());
                application.ended.push(before);
                application.works_from = Instant::now() + self.delay;
            }
        });
        let mut client = json!({"client_id": CLIENT, "name": "My application", "app_type": "regular_web"});
        // "client_secret" is shown to those who may read it.
        if self.scope.contains("read:client_keys") || self.scope.contains("read:client_credentials") {
            client["client_secret"] = json!(secret);
        }
        answer(200, client)
    }

    /// Revokes nothing here: nobody was issued a refresh token.
    fn revoke(&self, call: &Call) -> Response {
        let form = call.form().unwrap_or_default();
        let (Some(client), Some(_)) = (form.get("client_id"), form.get("token").filter(|token| !token.is_empty()))
        else {
            return oauth_error(400, "invalid_request", "The required parameters were not sent in the request.");
        };
        if client != CLIENT || !form.get("client_secret").is_some_and(|secret| self.works(secret)) {
            return oauth_error(401, "invalid_client", "The request is not authorized.");
        }
        empty(200)
    }
}

impl Double for Auth0 {
    fn answer(&self, call: &Call) -> Response {
        match call.route() {
            ("POST", path) if path == ["oauth", "token"] => self.token(call),
            ("POST", path) if path == ["oauth", "revoke"] => self.revoke(call),
            ("PATCH", path) if path == ["api", "v2", "clients", CLIENT] => self.set(call),
            _ => error(404, "inexistent_client", "The client does not exist"),
        }
    }
}

fn error(status: u16, code: &str, message: &str) -> Response {
    answer(status, json!({"statusCode": status, "error": "Refused", "message": message, "errorCode": code}))
}

fn oauth_error(status: u16, code: &str, description: &str) -> Response {
    answer(status, json!({"error": code, "error_description": description}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_set_and_verified() {
    let double = Auth0::new();
    let by_hand = double.secret();
    let world = World::start("auth0", double.router(), double.admin()).await;
    let secret = world.secret(double.written()).await;
    secret.rotated().await;
    secret.rotated().await;
    let (current, previous) = (secret.at("AWSCURRENT").await, secret.at("AWSPREVIOUS").await);
    assert!(double.works(current["clientSecret"].as_str().expect("a secret")));
    assert_eq!(double.ended(), [by_hand, previous["clientSecret"].as_str().expect("a secret").to_owned()]);
    assert_eq!(current["clientSecret"].as_str().map(str::len), Some(64));
    assert_eq!(current["clientId"], CLIENT);
}

/// Whoever may write the secret, and no more, must not get somebody else's application with the admin's help.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_the_secret_only_names_keeps_its_secret() {
    let double = Auth0::new();
    let world = World::start("auth0", double.router(), double.admin()).await;
    let before = double.secret();
    let claimed = json!({"clientId": CLIENT, "clientSecret": random(64)});
    let secret = world.secret(claimed.clone()).await;
    assert_eq!(secret.refused().await.error_type, "key-unproven");
    // Nor with a proof that is made up.
    let mut forged = claimed;
    forged["rotation"] = json!({"journal": {"proof": random(32)}});
    let secret = world.secret(forged).await;
    assert_eq!(secret.refused().await.error_type, "key-unproven");
    assert_eq!(double.secret(), before);
}

/// createSecret makes no call as the administrator, so that a wrong credential shows only in setSecret.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_goes_on_once_the_admin_secret_is_corrected() {
    let double = Auth0::new();
    let mut wrong = double.admin();
    wrong["clientSecret"] = json!(random(64));
    let world = World::start("auth0", double.router(), wrong).await;
    let secret = world.secret(double.written()).await;
    assert_eq!(secret.refused().await.error_type, "admin-rejected");
    let right = integration_tests::merged(json!({"issuer": "auth0"}), double.admin());
    let request = json!({"SecretId": world.admin(), "SecretString": right.to_string()});
    world.lab.call("PutSecretValue", request).await.expect("the admin secret is corrected");
    secret.rotated().await;
    assert!(double.works(secret.at("AWSCURRENT").await["clientSecret"].as_str().expect("a secret")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_takes_a_while_is_waited_for() {
    let double = Auth0 { delay: Duration::from_secs(4), ..Auth0::new() };
    let world = World::start("auth0", double.router(), double.admin()).await;
    let secret = world.secret(double.written()).await;
    secret.rotated().await;
    assert!(double.works(secret.at("AWSCURRENT").await["clientSecret"].as_str().expect("a secret")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_whose_reply_was_lost_is_set_again_and_stays_the_same() {
    let double = Auth0::new();
    let world = World::start("auth0", double.router(), double.admin()).await;
    let secret = world.secret(double.written()).await;
    world.lab.disturb().on_next("issuer PATCH", Fault::LoseReply);
    secret.rotate().await;
    secret.rotated().await;
    assert!(double.works(secret.at("AWSCURRENT").await["clientSecret"].as_str().expect("a secret")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_without_the_scope_changes_nothing() {
    let double = Auth0 { scope: "read:clients", ..Auth0::new() };
    let world = World::start("auth0", double.router(), double.admin()).await;
    let secret = world.secret(double.written()).await;
    assert_eq!(secret.refused().await.error_type, "admin-rejected");
    assert_eq!(double.ended(), [""; 0]);
    assert_eq!(secret.at("AWSCURRENT").await["clientSecret"], double.secret());
}

/// While a request is held up, by the network or by the issuer, an operator gives the rotation up, and the next one succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_arrives_late_is_replaced_by_the_current_one() {
    let double = Auth0::new();
    let world = World::start("auth0", double.router(), double.admin()).await;
    let secret = world.secret(double.written()).await;
    secret.rotated().await;
    for (fault, sent) in [(Fault::Delay(Duration::from_secs(2)), 3), (Fault::Throttle, 1)] {
        let late = secret.registered().await;
        secret.steps(&["createSecret"], &late).await;
        let before = double.ended().len();
        world.lab.disturb().restart();
        world.lab.disturb().on_next("issuer PATCH", fault);
        let overtaking = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": late});
            world.lab.call("UpdateSecretVersionStage", request).await.expect("the rotation is given up");
            let token = secret.registered().await;
            secret.steps(&STEPS, &token).await;
        };
        let (held, ()) = tokio::join!(secret.step("setSecret", &late), overtaking);
        assert_eq!(world.lab.disturb().fired(), 1, "{fault:?}");
        assert_eq!(held.expect_err("overtaken").error_type, "version-unknown", "{fault:?}");
        let current = secret.field("AWSCURRENT", "clientSecret").await;
        assert!(double.works(&current), "{fault:?}: AWSCURRENT is dead");
        assert_eq!(double.ended().len() - before, sent, "{fault:?}: the values that were set");
    }
}
