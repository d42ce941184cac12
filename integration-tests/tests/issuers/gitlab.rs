//! GitLab: a rotated personal token ends at once, and whoever rotates an ended one loses the whole family. Tokens of projects
//! and groups can have successors beside them.

use super::support::{Call, Double, answer, empty, kept, page, random};
use axum::http::header;
use axum::response::Response;
use integration_tests::issuer::World;
use integration_tests::merged;
use lab::disturb::Fault;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

const USER: u64 = 1337;
const NAME: &str = "deploy";
const PROJECT: &str = "166";

/// Of a list, whatever per_page says up to 100. Smaller here, so that there are several.
const PAGE: usize = 20;

#[derive(Clone, Debug)]
struct Token {
    id: u64,
    name: String,
    secret: String,
    active: bool,
    previous: Option<u64>,
    expires_at: String,
    /// Of the project, not of the user.
    of_project: bool,
}

#[derive(Clone)]
struct GitLab {
    tokens: Arc<Mutex<Vec<Token>>>,
    /// How often somebody tried to rotate a token that had ended.
    replays: Arc<Mutex<usize>>,
    admin: String,
}

impl GitLab {
    /// With another token of the same user, which is the admin's.
    fn new() -> Self {
        let double = Self { tokens: Arc::default(), replays: Arc::default(), admin: String::new() };
        let admin = double.mint("lockstep", false);
        Self { admin: admin.secret, ..double }
    }

    fn admin(&self) -> Value {
        json!({"host": "gitlab.example.com", "apiKey": self.admin})
    }

    fn mint(&self, name: &str, of_project: bool) -> Token {
        self.add(name, None, "2027-01-31", of_project)
    }

    fn add(&self, name: &str, previous: Option<u64>, expires_at: &str, of_project: bool) -> Token {
        let mut tokens = self.tokens.lock().expect("no double panics with the tokens");
        let token = Token {
            id: 40 + tokens.len() as u64,
            name: name.to_owned(),
            secret: format!("glpat-{}", random(20)),
            active: true,
            previous,
            expires_at: expires_at.to_owned(),
            of_project,
        };
        tokens.push(token.clone());
        token
    }

    fn all(&self) -> Vec<Token> {
        self.tokens.lock().expect("no double panics with the tokens").clone()
    }

    /// The ids of the tokens that work, other than the admin's and other people's, sorted as texts.
    fn live(&self) -> Vec<String> {
        let ours = |token: &Token| token.active && token.secret != self.admin && !token.name.starts_with("other");
        let mut ids: Vec<_> = self.all().into_iter().filter(ours).map(|token| token.id.to_string()).collect();
        ids.sort();
        ids
    }

    fn replays(&self) -> usize {
        *self.replays.lock().expect("no double panics with it")
    }

    fn end(&self, ends: impl Fn(&Token) -> bool) {
        let mut tokens = self.tokens.lock().expect("no double panics with the tokens");
        tokens.iter_mut().filter(|token| ends(token)).for_each(|token| token.active = false);
    }

    /// "If you attempt to use the API to rotate an access token that was already revoked, any active tokens from the same token
    /// family are revoked."
    fn end_family(&self, of: u64) {
        *self.replays.lock().expect("no double panics with it") += 1;
        let mut family = vec![of];
        for token in self.all() {
            if token.previous.is_some_and(|previous| family.contains(&previous)) {
                family.push(token.id);
            }
        }
        self.end(|token| family.contains(&token.id));
    }

    fn caller(&self, call: &Call) -> Result<Token, Box<Response>> {
        let secret = call.header("private-token").unwrap_or_default();
        match self.all().into_iter().find(|token| token.secret == secret) {
            None => Err(Box::new(answer(401, json!({"message": "401 Unauthorized"})))),
            Some(token) if !token.active => {
                let description = "Token was revoked. You have to re-authorize from the user.";
                Err(Box::new(answer(401, json!({"error": "invalid_token", "error_description": description}))))
            }
            Some(token) => Ok(token),
        }
    }

    fn list(&self, call: &Call, of_project: bool) -> Response {
        let query = call.query();
        let number = |name: &str, default| query.get(name).map_or(Ok(default), |text| text.parse::<usize>());
        let (Ok(size @ 1..=100), Ok(number @ 1..)) = (number("per_page", 20), number("page", 1)) else {
            return answer(400, json!({"error": "per_page is invalid"}));
        };
        if query.get("user_id").is_some_and(|user| *user != USER.to_string()) {
            return answer(401, json!({"message": "401 Unauthorized"}));
        }
        let search = query.get("search").cloned().unwrap_or_default();
        let state = query.get("state").map(String::as_str);
        let counts = |token: &Token| {
            let in_state = match state {
                Some("active") => token.active,
                Some(_) => !token.active,
                None => true,
            };
            token.of_project == of_project && in_state && token.name.contains(&search)
        };
        let tokens: Vec<_> = self.all().into_iter().filter(counts).collect();
        let size = size.min(PAGE);
        let data = page(&tokens, (number - 1) * size, size).iter().map(shown).collect();
        let mut answer = answer(200, data);
        if number * size < tokens.len() {
            let path = if of_project {
                format!("projects/{PROJECT}/access_tokens")
            } else {
                "personal_access_tokens".to_owned()
            };
            let next = number + 1;
            let state = state.unwrap_or("active");
            let link = format!(
                "<https://gitlab.example.com/api/v4/{path}?page={next}&per_page={size}&search={search}&state={state}>; rel=\"next\", \
                 <https://gitlab.example.com/api/v4/{path}?page=1&per_page={size}&search={search}&state={state}>; rel=\"first\""
            );
            answer.headers_mut().insert(header::LINK, link.parse().expect("a header's value"));
        }
        answer
    }

    fn rotate(&self, call: &Call, id: &str) -> Response {
        let Some(token) = self.all().into_iter().find(|token| token.id.to_string() == id && !token.of_project) else {
            return answer(404, json!({"message": "404 Not found"}));
        };
        if !token.active {
            self.end_family(token.id);
            return answer(400, json!({"message": "400 Bad request - Token already revoked"}));
        }
        let body = call.json().unwrap_or_default();
        // "If the token requires an expiration date, defaults to 1 week."
        let Some(expires_at) =
            expiry(&body["expires_at"]).filter(|_| body.as_object().is_some_and(|body| body.len() == 1))
        else {
            return answer(400, json!({"error": "expires_at is invalid"}));
        };
        self.end(|other| other.id == token.id);
        answer(200, whole(&self.add(&token.name, Some(token.id), &expires_at, false)))
    }

    fn create(&self, call: &Call) -> Response {
        let body = call.json().unwrap_or_default();
        let name = body["name"].as_str().unwrap_or_default();
        let expires_at = expiry(&body["expires_at"]).unwrap_or_default();
        let expected = json!({"name": name, "scopes": ["read_api"], "access_level": 25, "expires_at": expires_at});
        if name.is_empty() || expires_at.is_empty() || body != expected {
            return answer(400, json!({"error": "scopes, access_level or expires_at is invalid"}));
        }
        answer(201, whole(&self.add(name, None, &expires_at, true)))
    }

    fn revoke(&self, id: &str) -> Response {
        let token = self.all().into_iter().find(|token| token.id.to_string() == id && token.of_project && token.active);
        let Some(token) = token else {
            return answer(404, json!({"message": "404 Could not find project access token Not Found"}));
        };
        self.end(|other| other.id == token.id);
        empty(204)
    }
}

impl Double for GitLab {
    fn answer(&self, call: &Call) -> Response {
        let caller = match self.caller(call) {
            Ok(caller) => caller,
            Err(refusal) => return *refusal,
        };
        let (method, path) = call.route();
        let ["api", "v4", path @ ..] = &path[..] else { return answer(404, json!({"error": "404 Not Found"})) };
        match (method, path) {
            ("GET", ["personal_access_tokens", "self"]) => answer(200, shown(&caller)),
            // Tokens without the scope api, and those of projects.
            _ if caller.secret != self.admin => answer(403, json!({"error": "insufficient_scope", "scope": "api"})),
            ("GET", ["personal_access_tokens"]) => self.list(call, false),
            ("POST", ["personal_access_tokens", id, "rotate"]) => self.rotate(call, id),
            ("GET", ["projects", PROJECT, "access_tokens"]) => self.list(call, true),
            ("POST", ["projects", PROJECT, "access_tokens"]) => self.create(call),
            ("DELETE", ["projects", PROJECT, "access_tokens", id]) => self.revoke(id),
            _ => answer(404, json!({"message": "404 Not found"})),
        }
    }
}

fn shown(token: &Token) -> Value {
    json!({"id": token.id, "name": token.name, "revoked": !token.active, "created_at": "2026-08-01T15:00:00.000Z",
        "scopes": ["read_api"], "user_id": USER, "last_used_at": null, "active": token.active, "expires_at": token.expires_at})
}

fn whole(token: &Token) -> Value {
    let mut all = shown(token);
    all["token"] = json!(token.secret);
    all
}

/// A date (`YYYY-MM-DD`) within the next 365 days, which is as long as a token may live.
fn expiry(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    (1..=365).contains(&days_from_now(text)?).then(|| text.to_owned())
}

/// How many days from today a date is: by the algorithm that Howard Hinnant calls `days_from_civil`.
fn days_from_now(date: &str) -> Option<i64> {
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>());
    let (Some(Ok(year)), Some(Ok(month @ 1..=12)), Some(Ok(day @ 1..=31))) = (parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    (date.len() == 10).then_some(days - i64::try_from(now / 86_400).expect("a day's number"))
}

fn written(token: &Token) -> Value {
    json!({"apiKey": token.secret, "apiKeyId": token.id.to_string(), "userId": USER, "tokenName": NAME})
}

fn written_for_project(token: &Token) -> Value {
    json!({"apiKey": token.secret, "apiKeyId": token.id.to_string(), "of": "projects", "ofId": 166, "scopes": ["read_api"],
        "accessLevel": 25})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_personal_token_is_rolled_and_lives_longer_than_a_week() {
    let double = GitLab::new();
    let world = World::start("gitlab", double.router(), double.admin()).await;
    let secret = world.secret(written(&double.mint(NAME, false))).await;
    secret.rotated().await;
    secret.rotated().await;
    let current = secret.at("AWSCURRENT").await;
    assert_eq!(double.live(), [current["apiKeyId"].as_str().expect("an id")]);
    let token = double.all().into_iter().find(|token| current["apiKey"] == *token.secret).expect("the current token");
    assert!((59..=60).contains(&days_from_now(&token.expires_at).expect("a date")), "{}", token.expires_at);
    assert_eq!(double.replays(), 0);
}

/// It ends when that day begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_lives_as_many_days_as_the_secret_says_and_at_least_one() {
    let double = GitLab::new();
    let world = World::start("gitlab", double.router(), double.admin()).await;
    let token = double.mint(NAME, false);
    let lasting = |days: u64| world.secret(merged(written(&token), json!({"rotation": {"keyLifetimeDays": days}})));
    assert_eq!(lasting(1).await.refused().await.error_type, "field-invalid");
    let secret = lasting(2).await;
    secret.rotated().await;
    let current = secret.at("AWSCURRENT").await;
    let token = double.all().into_iter().find(|token| current["apiKey"] == *token.secret).expect("the current token");
    assert!((1..=2).contains(&days_from_now(&token.expires_at).expect("a date")), "{}", token.expires_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_whose_reply_was_lost_is_never_replayed() {
    let double = GitLab::new();
    let world = World::start("gitlab", double.router(), double.admin()).await;
    for number in 0..45 {
        double.mint(&format!("other {NAME} {number}"), false);
    }
    let secret = world.secret(written(&double.mint(NAME, false))).await;
    // From the first rotation on there is a proof that the token is this secret's to roll, even when its value is dead.
    secret.rotated().await;
    world.lab.disturb().on_next("issuer POST", Fault::LoseReply);
    secret.rotate().await;
    secret.rotated().await;
    let current = secret.at("AWSCURRENT").await;
    assert_eq!(double.replays(), 0, "a replay would have ended the token that nobody has");
    assert_eq!(double.live(), [current["apiKeyId"].as_str().expect("an id")]);
}

/// Whoever may write the secret, and has a token of their own, must not get another's by its name with the admin's help.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_secret_only_names_is_not_rolled() {
    let double = GitLab::new();
    let world = World::start("gitlab", double.router(), double.admin()).await;
    let (own, victim) = (double.mint(NAME, false), double.mint("root deploy key", false));
    let mut claimed = written(&own);
    claimed["tokenName"] = json!("root deploy key");
    let secret = world.secret(claimed).await;
    assert_eq!(secret.refused().await.error_type, "key-unproven");
    // Nor with the proof of an earlier rotation.
    let secret = world.secret(written(&own)).await;
    secret.rotated().await;
    let mut claimed = secret.at("AWSCURRENT").await;
    claimed["tokenName"] = json!("root deploy key");
    secret.put(&claimed).await;
    assert_eq!(secret.refused().await.error_type, "key-unproven");
    assert!(double.live().contains(&victim.id.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_project_is_created_verified_and_revoked() {
    let double = GitLab::new();
    let world = World::start("gitlab-access-token", double.router(), double.admin()).await;
    let secret = world.secret(written_for_project(&double.mint("by hand", true))).await;
    secret.rotated().await;
    secret.rotated().await;
    assert_eq!(double.live(), kept(&secret, "apiKeyId").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_project_whose_reply_was_lost_does_not_stay() {
    let double = GitLab::new();
    let world = World::start("gitlab-access-token", double.router(), double.admin()).await;
    let secret = world.secret(written_for_project(&double.mint("by hand", true))).await;
    world.lab.disturb().on_next("issuer POST", Fault::LoseReply);
    // Whatever becomes of this one, and of the next, nothing is left after one more.
    secret.rotate().await;
    secret.rotated().await;
    secret.rotated().await;
    assert_eq!(double.live(), kept(&secret, "apiKeyId").await);
}

#[test]
fn days_are_counted_right() {
    let today = |days: i64| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() / 86_400;
        i64::try_from(now).expect("a day's number") + days
    };
    assert_eq!(days_from_now("1970-01-01").map(today), Some(0));
    assert_eq!(days_from_now("2000-03-01").map(today), Some(11_017));
    assert_eq!(days_from_now("2024-02-29").map(today), Some(19_782));
    assert_eq!(days_from_now("2024-13-01"), None);
    assert_eq!(days_from_now("2024-1-1"), None);
}
