//! The function is killed before and after each of its external calls in turn, and each reply is lost in turn. Right after
//! that, the keys in use work; after the same rotation was run again and one more, exactly two keys live.

use super::support::{by_hand, described, id, in_use, kept, live};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn};
use integration_tests::crash::{run_again, struck};
use integration_tests::issuer::{Secret, World};
use integration_tests::uuid;
use lab::disturb::Fault;
use lab::issuer::{Issuer, Options};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) const FAULTS: [Fault; 3] = [Fault::KillBefore, Fault::KillAfter, Fault::LoseReply];

/// The least number of calls that a rotation makes: three to Secrets Manager in each step, and six to the issuer in all.
const FEWEST_CALLS: usize = 18;

/// Where all happens: a secret among others, and what lives beside its own keys.
pub(super) struct Stage<'a> {
    issuer: &'a Issuer,
    pub(super) secret: Secret<'a>,
    others: BTreeSet<String>,
    /// For how long the same rotation may say that an attempt is under way.
    patience: Duration,
    /// What AWSCURRENT's key may do at every moment.
    grants: &'static [&'static str],
}

impl<'a> Stage<'a> {
    pub(super) fn new(issuer: &'a Issuer, secret: Secret<'a>, others: BTreeSet<String>) -> Self {
        Self { issuer, secret, others, patience: Duration::ZERO, grants: &[] }
    }

    /// The same, for keys that need grants.
    pub(super) fn granted(self, grants: &'static [&'static str]) -> Self {
        Self { grants, ..self }
    }

    /// Rotates with a fault at the n-th call, then the same again without, then once more. False if there was no such call.
    pub(super) async fn strike(&self, number: usize, fault: Fault) -> bool {
        let struck = in_use(&self.secret, self.issuer, self.struck(number, fault)).await;
        let at = format!("one more after {fault:?} at call {number}");
        let report = in_use(&self.secret, self.issuer, self.secret.rotate()).await;
        assert!(report.rotated(), "{at}: {:?}", report.error());
        assert_eq!(live(self.issuer), &kept(&self.secret).await | &self.others, "{at}: not exactly two keys live");
        assert!(self.current_works().await, "{at}: AWSCURRENT is refused");
        struck
    }

    async fn struck(&self, number: usize, fault: Fault) -> bool {
        let token = uuid();
        let old = id(&self.secret, "AWSCURRENT").await;
        let (struck, at) = struck(&self.secret, &token, (number, fault), async {}).await;
        assert!(self.current_works().await, "{at}: AWSCURRENT is refused");

        run_again(&self.secret, &token, self.patience, &at).await;
        assert_eq!(self.secret.version("AWSCURRENT").await, token, "{at}");
        assert_eq!(id(&self.secret, "AWSPREVIOUS").await, old, "{at}");
        assert!(live(self.issuer).is_superset(&kept(&self.secret).await), "{at}: a key in use is dead");
        struck
    }

    async fn current_works(&self) -> bool {
        let grants = self.issuer.grants(&id(&self.secret, "AWSCURRENT").await);
        assert!(
            self.grants.iter().all(|needed| grants.iter().any(|grant| grant == needed)),
            "AWSCURRENT lacks a grant"
        );
        self.issuer.works(&self.secret.field("AWSCURRENT", "apiKey").await)
    }
}

/// Tries the calls one after the other, until there is none of that number.
pub(super) async fn each_call(mut strike: impl AsyncFnMut(usize) -> bool) {
    let mut call = 1;
    while strike(call).await {
        call += 1;
    }
    assert!(call > FEWEST_CALLS, "only {call} calls");
}

/// Each call of the first rotation: the key was made by hand.
async fn each_call_of_a_first_rotation(fault: Fault) {
    let (world, issuer) = World::lab(Options::default()).await;
    let mut others = BTreeSet::new();
    let mut call = 1;
    loop {
        let stage = Stage::new(&issuer, by_hand(&world, &issuer).await, others.clone());
        if !stage.strike(call, fault).await {
            break;
        }
        others.extend(kept(&stage.secret).await);
        call += 1;
    }
    assert!(call > FEWEST_CALLS, "only {call} calls");
}

/// Each call of the rotations that follow.
async fn each_call_of_a_later_rotation(world: &World, issuer: &Issuer, patience: Duration, fault: Fault) {
    let secret = by_hand(world, issuer).await;
    secret.rotated().await;
    secret.rotated().await;
    let stage = Stage { patience, ..Stage::new(issuer, secret, BTreeSet::new()) };
    let mut call = 1;
    while stage.strike(call, fault).await {
        call += 1;
    }
    assert!(call > FEWEST_CALLS, "only {call} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_each_call_of_a_first_rotation() {
    each_call_of_a_first_rotation(Fault::KillBefore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_each_call_of_a_first_rotation() {
    each_call_of_a_first_rotation(Fault::KillAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reply_of_a_first_rotation_is_lost() {
    each_call_of_a_first_rotation(Fault::LoseReply).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_at_each_call_of_a_later_rotation() {
    for fault in FAULTS {
        let (world, issuer) = World::lab(Options::default()).await;
        each_call_of_a_later_rotation(&world, &issuer, Duration::ZERO, fault).await;
    }
}

/// An orphan takes the last place there is, and is not touched while it may be another invocation's.
async fn each_call_where_three_keys_are_all(fault: Fault) {
    let description = described(&[("  headers: {Accept", "  timeout: 2s\n  headers: {Accept")]);
    let timeout = Duration::from_secs(8);
    let settings = |function: lab::stack::Builder| function.timeout(timeout);
    let options = Options { max_keys: Some(3), ..Options::default() };
    let (world, issuer) = World::lab_with(options, &description, settings).await;
    // It may be another invocation's for as long as one can take, and for what is allowed for clocks: 18 s.
    each_call_of_a_later_rotation(&world, &issuer, Duration::from_secs(60), fault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_each_call_where_three_keys_are_all() {
    each_call_where_three_keys_are_all(Fault::KillBefore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_each_call_where_three_keys_are_all() {
    each_call_where_three_keys_are_all(Fault::KillAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reply_is_lost_where_three_keys_are_all() {
    each_call_where_three_keys_are_all(Fault::LoseReply).await;
}

/// The key that is rotated makes its own successor, and ends its predecessor.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_at_each_call_where_a_key_rotates_itself() {
    let by_admin = [
        ("strategy: create_revoke\n", "strategy: create_revoke\nadmin: self\n"),
        ("  admin: {bearer: \"{{admin.token}}\"}\n", ""),
    ];
    for fault in FAULTS {
        let issuer = Issuer::new(Options::default());
        let router = issuer.router().layer(from_fn(admits_keys(issuer.clone())));
        let world = World::described(&described(&by_admin), router, json!({}), |function| function).await;
        each_call_of_a_later_rotation(&world, &issuer, Duration::ZERO, fault).await;
    }
}

/// Lets every key that works manage keys.
fn admits_keys(
    issuer: Issuer,
) -> impl Fn(Request, Next) -> std::pin::Pin<Box<dyn Future<Output = axum::response::Response> + Send>> + Clone + Send {
    move |mut request: Request, next: Next| {
        let key =
            request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if request.uri().path().starts_with("/v1/keys") && key.is_some_and(|key| issuer.works(key)) {
            let admin = format!("Bearer {}", issuer.admin_token());
            let admin = HeaderValue::from_str(&admin).expect("a header");
            request.headers_mut().insert(header::AUTHORIZATION, admin);
        }
        Box::pin(next.run(request))
    }
}
