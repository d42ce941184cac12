//! The runbooks: each page's commands are typed in a lab in which the page's trouble was arranged, they print what stands there,
//! and afterwards the trouble is over.

use integration_tests::issuer::{self, lab_description};
use integration_tests::malformed::moved;
use integration_tests::network::full_listener;
use integration_tests::runbook::{Page, Play, Session};
use integration_tests::{Secret, Server, World, merged};
use lab::Lab;
use lab::disturb::{DATABASE, Fault};
use lab::issuer::{Issuer, Options};
use lab::relay::Mode;
use lab::servers::Password;
use lab::servers::mysql::MySql;
use lab::servers::postgres;
use lab::stack::Builder;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// A page's session, and what a reader typed before it.
#[derive(Clone, Copy)]
struct Script<'a> {
    session: &'a Session,
    terminal: &'a Session,
}

impl<'a> Script<'a> {
    /// A session about a secret that this lab's function rotates.
    fn about(self, lab: &'a Lab, secret: &'a str) -> Play<'a> {
        Play::new(self.session, lab, secret)
    }

    /// Types everything, where the lab does nothing in place of a block.
    async fn typed(self, play: Play<'_>) {
        play.play(self.terminal, async |what| panic!("what is {what}?")).await;
    }
}

type Playing<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

macro_rules! situations {
    ($($name:literal => $function:ident,)*) => {
        /// The situations that pages begin in.
        const SITUATIONS: &[&str] = &[$($name),*];

        fn situation(script: Script<'_>) -> Playing<'_> {
            match script.session.situation.as_str() {
                $($name => Box::pin($function(script)),)*
                other => panic!("no situation is called {other:?}"),
            }
        }
    };
}

situations! {
    "healthy" => healthy,
    "watch" => looked_for,
    "cut-once" => cut_once,
    "rotation-off" => rotation_off,
    "wrong-field" => wrong_field,
    "unknown-ca" => unknown_ca,
    "account-locked" => account_locked,
    "role-cannot-log-in" => role_cannot_log_in,
    "role-held" => role_held,
    "stopped-after-set" => stopped_after_set,
    "pending-for-another-server" => pending_for_another_server,
    "function-gone" => function_gone,
    "pending-removed-after-set" => pending_removed_after_set,
    "password-changed-by-hand" => password_changed_by_hand,
    "password-changed-by-hand-mysql" => password_changed_by_hand_mysql,
    "rescue" => rescue,
    "key-deleted" => key_deleted,
    "leaked-single-user" => leaked_single_user,
    "leaked-dual-password" => leaked_dual_password,
    "leaked-alternating" => leaked_alternating,
    "leaked-api-key" => leaked_api_key,
    "leaked-superuser" => leaked_superuser,
    "superuser-outdated" => superuser_outdated,
    "admin-outdated" => admin_outdated,
    "no-route" => no_route,
    "host-changed" => host_changed,
    "no-way-to-secrets-manager" => no_way_to_secrets_manager,
    "service-throttled" => service_throttled,
    "issuer-throttled" => issuer_throttled,
    "issuer-down" => issuer_down,
    "journal-not-draining" => journal_not_draining,
    "key-by-hand" => key_by_hand,
    "pair" => roll_back_pair,
    "api-key" => roll_back_api_key,
    "previous-in-effect" => previous_in_effect,
    "single-user" => roll_back_single_user,
}

macro_rules! pages {
    ($($test:ident: $page:literal,)*) => {
        /// The pages that have a test.
        const PAGES: &[&str] = &[$($page),*];

        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            works($page).await;
        })*
    };
}

pages! {
    the_terminal_is_set_up_and_diagnose_answers: "README.md",
    a_failed_rotation_is_mended: "rotation-failed.md",
    a_stuck_rotation_goes_on: "stuck-awspending.md",
    a_lock_out_ends: "locked-out.md",
    a_leaked_credential_ends: "leaked-credential.md",
    a_lost_superuser_is_replaced: "superuser-lost.md",
    a_blocked_network_is_found: "network-blocked.md",
    throttling_passes: "throttled.md",
    an_issuer_that_is_down_costs_nothing: "issuer-down.md",
    the_way_back_is_short: "roll-back.md",
}

/// Blocks that no lab can run: they ask a person, wait, or call what the lab is not. Whoever adds one says so here.
const NOT_RUN: usize = 23;

async fn works(page: &str) {
    let (read, readme) = (Page::read(&directory().join(page)), Page::read(&directory().join("README.md")));
    let terminal = terminal(&readme);
    for session in read.sessions.iter().filter(|session| session.situation != TERMINAL) {
        eprintln!("{page}: {}", session.situation);
        situation(Script { session, terminal }).await;
    }
}

/// The session in which a reader's terminal is prepared.
const TERMINAL: &str = "terminal";

fn terminal(readme: &Page) -> &Session {
    readme.sessions.iter().find(|session| session.situation == TERMINAL).expect("the terminal is set up")
}

#[test]
fn every_page_has_a_test_and_every_situation_is_used_once() {
    let entries = std::fs::read_dir(directory()).expect("the directory is there");
    let files: BTreeSet<_> =
        entries.map(|it| it.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(files, PAGES.iter().map(|page| (*page).to_owned()).collect());
    let pages: Vec<_> = PAGES.iter().map(|page| (page, Page::read(&directory().join(page)))).collect();
    for (name, page) in &pages {
        let sessions = page.sessions.iter().filter(|session| session.situation != TERMINAL);
        assert!(sessions.count() > 0, "{name} is never tried");
    }
    let played = pages.iter().flat_map(|(_, page)| &page.sessions).map(|session| session.situation.as_str());
    let mut played: Vec<_> = played.filter(|situation| *situation != TERMINAL).collect();
    let mut known = SITUATIONS.to_vec();
    played.sort_unstable();
    known.sort_unstable();
    assert_eq!(played, known);
    let skipped: Vec<_> = pages.iter().flat_map(|(_, page)| &page.skipped).collect();
    assert!(skipped.iter().all(|(_, reason)| reason.len() > 10), "a reason is missing: {skipped:#?}");
    assert_eq!(skipped.len(), NOT_RUN, "{skipped:#?}");
}

/// The reader's variables are in capitals. One that no command sets would have the next ones do something else, and say nothing.
#[test]
fn every_variable_of_the_reader_is_set_by_a_command() {
    let terminal = commands("README.md");
    let mut used = 0;
    for page in PAGES.iter().copied().chain(["../migration.md"]) {
        let text = commands(page);
        for name in variables(&text) {
            assert!(sets(&terminal, name) || sets(&text, name), "{page}: no command sets {name}");
            used += 1;
        }
        for name in HANDED_ON {
            assert!(!text.contains(&format!("${name}")), "{page}: ${name} may be empty: ${{{name}:?}}");
            let bare = text.split(&format!("${{{name}")).skip(1).find(|rest| !rest.starts_with(":?}"));
            assert!(bare.is_none(), "{page}: {name} may be empty: ${{{name}:?}}");
        }
    }
    assert!(used > 60, "only {used} uses of variables");
}

/// Variables with which a command does harm, or nothing at all and says so of nothing, if they are empty.
const HANDED_ON: [&str; 3] = ["FUNCTION_ARN", "SUPERUSER_SECRET", "LEAKED"];

/// What stands in the page's blocks of commands, those that the lab does not run among them.
fn commands(page: &str) -> String {
    let text = std::fs::read_to_string(directory().join(page)).expect("the page is there");
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.collect::<Vec<_>>().join("\n")
}

/// The names in capitals that commands read, once for each time.
fn variables(commands: &str) -> impl Iterator<Item = &str> {
    let names = commands
        .split('$')
        .skip(1)
        .filter_map(|rest| rest.trim_start_matches('{').split(|it: char| !it.is_ascii_uppercase() && it != '_').next());
    names.filter(|name| !name.is_empty())
}

/// Whether one of the commands is `NAME=…` or `read … NAME`.
fn sets(commands: &str, name: &str) -> bool {
    let reads = |line: &str| line.contains("read -") && line.split([' ', ';']).any(|word| word == name);
    commands.split_whitespace().any(|word| word.starts_with(&format!("{name}="))) || commands.lines().any(reads)
}

#[test]
fn every_link_goes_somewhere() {
    let mut links = 0;
    let others = ["../errors.md", "../../events/README.md"].map(|page| directory().join(page));
    for path in PAGES.iter().map(|page| directory().join(page)).chain(others) {
        let text = std::fs::read_to_string(&path).expect("the page is there");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().expect("a directory").join(file) };
            // Pages that are not here yet would be a mistake as well.
            let text = if target.is_dir() { Ok(String::new()) } else { std::fs::read_to_string(&target) };
            let text = text.unwrap_or_else(|error| panic!("{}: {link}: {error}", path.display()));
            assert!(anchor.is_empty() || anchors(&text).contains(anchor), "{}: nothing is at {link}", path.display());
            links += 1;
        }
    }
    assert!(links > 150, "only {links} links");
}

/// The places of a page that links can go to: headings as GitHub names them, and anchors.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
        kept.map(|it| if it == ' ' { '-' } else { it }).collect()
    });
    let anchors = text.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next().map(str::to_owned));
    headings.chain(anchors).collect()
}

/// What events/README.md tells people at the Lambda console.
#[tokio::test(flavor = "multi_thread")]
async fn the_mistakes_of_a_person_at_the_console_are_named() {
    let world = postgres().await;
    let secret = attached(&world).await;
    let old = secret.holders("AWSCURRENT").await;
    secret.rotated().await;
    let event = |name: &str| {
        let text = std::fs::read_to_string(directory().join("../../events").join(name)).expect("the file is there");
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let mine = |name: &str| merged(event(name), json!({"SecretId": secret.arn}));
    for (sent, answered) in [
        (mine("diagnose.json"), "\"healthy\": true"),
        (event("malformed/lambda-console-default.json"), "event-malformed"),
        (event("diagnose.json"), "secret-not-found"),
        (event("testSecret.json"), "secret-not-found"),
        (mine("testSecret.json"), "version-unknown"),
        (merged(mine("testSecret.json"), json!({"ClientRequestToken": old[0]})), "version-not-pending"),
    ] {
        let answer = match world.lab.invoke(&sent).await.result() {
            Ok(answer) => format!("\"healthy\": {}", answer["healthy"]),
            Err(error) => error.error_type,
        };
        assert_eq!(answer, answered, "{sent}");
        let page = std::fs::read_to_string(directory().join("../../events/README.md")).expect("the page is there");
        let row = page.lines().find(|line| line.starts_with("| ") && line.contains(&format!("ed, `{answered}` |")));
        assert!(row.is_some(), "the console's table has no row for {answered}");
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/runbooks")
}

// ---- what situations are made of

/// Rotations of this age are not under way any more, but stuck.
const AGE: Duration = Duration::from_secs(3600);
/// Long enough for any step here that succeeds; those that wait for what does not come spend it.
const SHORT: Duration = Duration::from_secs(10);

async fn postgres() -> World {
    World::with(postgres::Options::default(), |function| function.clock_behind(AGE)).await
}

async fn mysql() -> World<MySql> {
    World::mysql_with(Default::default(), |function| function.clock_behind(AGE)).await
}

/// Attaches the lab's function, which tests the configuration, and waits for that.
async fn attach(lab: &Lab, arn: &str) {
    let request = json!({"SecretId": arn, "RotationLambdaARN": lab.function_arn(), "RotateImmediately": false,
        "RotationRules": {"AutomaticallyAfterDays": 30}});
    lab.call("RotateSecret", request).await.expect("the function is attached");
    lab.service().wait_rotation(arn).await;
}

/// The secret of the database user `app`, which the function rotates from now on.
async fn attached<S: Server>(world: &World<S>) -> Secret<'_, S> {
    let secret = world.user("app").await;
    attach(&world.lab, &secret.arn).await;
    secret
}

/// A rotation that has to fail, and what the function says of it.
async fn fails(lab: &Lab, arn: &str) -> String {
    let report = lab.rotate(arn).await.expect("the rotation begins");
    report.error().expect("a step fails").error_message
}

/// A rotation whose function dies with the promotion.
async fn stops_after_set<S: Server>(world: &World<S>, secret: &Secret<'_, S>) {
    world.lab.disturb().on_next("UpdateSecretVersionStage", Fault::KillBefore);
    let report = secret.rotate().await;
    assert!(!report.rotated(), "nothing stopped it");
    assert!(secret.opens("AWSPENDING").await && !secret.opens("AWSCURRENT").await);
}

/// Consumers are served, nothing is left pending, and the next rotation succeeds.
async fn well<S: Server>(world: &World<S>, secret: &Secret<'_, S>) {
    // The last thing typed may have been a test of the configuration.
    world.lab.service().wait_rotation(&secret.arn).await;
    assert!(secret.opens("AWSCURRENT").await, "AWSCURRENT is refused");
    let (pending, current) = (secret.holders("AWSPENDING").await, secret.holders("AWSCURRENT").await);
    assert!(pending.is_empty() || pending == current, "AWSPENDING is left");
    let described =
        world.lab.call("DescribeSecret", json!({"SecretId": secret.arn})).await.expect("the secret is there");
    assert_eq!(described["RotationEnabled"], true);
    assert_eq!(described["RotationLambdaARN"], world.lab.function_arn());
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
}

// ---- rotations that failed

async fn healthy(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    well(&world, &secret).await;
}

async fn looked_for(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    well(&world, &secret).await;
}

async fn cut_once(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    world.lab.disturb().on_next(DATABASE, Fault::Fail(500));
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said)).await;
    well(&world, &secret).await;
}

async fn rotation_off(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    world.lab.call("CancelRotateSecret", json!({"SecretId": secret.arn})).await.expect("rotation is turned off");
    script.typed(script.about(&world.lab, &secret.arn)).await;
    well(&world, &secret).await;
}

async fn wrong_field(script: Script<'_>) {
    let world = postgres().await;
    let secret = world.user_with("app", json!({"engine": null})).await;
    attach(&world.lab, &secret.arn).await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said)).await;
    well(&world, &secret).await;
}

async fn unknown_ca(script: Script<'_>) {
    let trust_none = |function: Builder| function.clock_behind(AGE).env("CA_BUNDLE", "");
    let world = World::with(postgres::Options::default(), trust_none).await;
    let secret = attached(&world).await;
    let said = fails(&world.lab, &secret.arn).await;
    let play = script.about(&world.lab, &secret.arn).said(&said).file("ca.pem", world.server.ca_pem());
    script.typed(play).await;
    well(&world, &secret).await;
}

async fn account_locked(script: Script<'_>) {
    let world = mysql().await;
    let secret = attached(&world).await;
    world.sql("ALTER USER app ACCOUNT LOCK").await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said).mysql(&world.server)).await;
    well(&world, &secret).await;
}

async fn role_cannot_log_in(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    world.sql("ALTER ROLE app NOLOGIN").await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said).psql(&world.server)).await;
    well(&world, &secret).await;
}

async fn role_held(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    let holder = world.server.connect_superuser().await.expect("the superuser logs in");
    holder.batch_execute("BEGIN").await.expect("a transaction begins");
    holder.batch_execute("ALTER ROLE app CONNECTION LIMIT 50").await.expect("the role is held");
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said).psql(&world.server)).await;
    holder.batch_execute("COMMIT").await.expect_err("the session is ended");
    well(&world, &secret).await;
}

// ---- stuck

async fn stopped_after_set(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    stops_after_set(&world, &secret).await;
    let pending = secret.holders("AWSPENDING").await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    assert_eq!(secret.holders("AWSCURRENT").await, pending, "the pending version was given up");
    well(&world, &secret).await;
}

async fn pending_for_another_server(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    world.relay.set(Mode::Refuse).await.expect("the relay is closed");
    fails(&world.lab, &secret.arn).await;
    world.relay.set(Mode::Forward).await.expect("the relay is opened");
    let elsewhere = merged(secret.at("AWSCURRENT").await, json!({"host": "127.0.0.1"}));
    moved(&world, &secret, &elsewhere).await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said)).await;
    well(&world, &secret).await;
}

async fn function_gone(script: Script<'_>) {
    let world = postgres().await;
    let secret = world.user("app").await;
    secret.registered().await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    well(&world, &secret).await;
}

// ---- locked out

async fn pending_removed_after_set(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    stops_after_set(&world, &secret).await;
    let pending = secret.holders("AWSPENDING").await;
    let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": pending[0]});
    world.lab.call("UpdateSecretVersionStage", request).await.expect("the label is removed");
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said).psql(&world.server)).await;
    well(&world, &secret).await;
}

async fn password_changed_by_hand(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    world.sql("ALTER ROLE app PASSWORD 'of nobody'").await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said).psql(&world.server)).await;
    well(&world, &secret).await;
}

async fn password_changed_by_hand_mysql(script: Script<'_>) {
    let world = mysql().await;
    let secret = attached(&world).await;
    world.sql("ALTER USER app IDENTIFIED BY 'of nobody'").await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said).mysql(&world.server)).await;
    well(&world, &secret).await;
}

async fn rescue(script: Script<'_>) {
    let world = postgres().await;
    let (superuser, secret) = (world.superuser().await, world.user("app").await);
    attach(&world.lab, &secret.arn).await;
    world.sql("ALTER ROLE app PASSWORD 'of nobody'").await;
    let said = fails(&world.lab, &secret.arn).await;
    let play = script.about(&world.lab, &secret.arn).said(&said);
    play.play(script.terminal, async |what| {
        assert_eq!(what, "superuser-secret");
        format!("export SUPERUSER_SECRET={}\n", superuser.arn)
    })
    .await;
    well(&world, &secret).await;
}

async fn key_deleted(script: Script<'_>) {
    let (world, issuer) = api_keys(|function| function).await;
    let secret = world.secret(json!({"apiKey": "lab_deleted", "apiKeyId": "key_deleted"})).await;
    attach(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    served(&issuer, &secret).await;
}

// ---- leaked

async fn leaked_single_user(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    let (user, leaked) = secret.credential("AWSCURRENT").await;
    let thief = world.server.connect(&user, &leaked.as_str().into(), "postgres").await.expect("it opens the database");
    script.typed(script.about(&world.lab, &secret.arn).psql(&world.server)).await;
    thief.batch_execute("SELECT 1").await.expect_err("the session goes on");
    assert!(!world.opens(&user, &leaked).await, "what leaked still works");
    well(&world, &secret).await;
}

async fn leaked_dual_password(script: Script<'_>) {
    let world = mysql().await;
    let secret = world.dual_password_user("app").await;
    attach(&world.lab, &secret.arn).await;
    let (user, leaked) = secret.credential("AWSCURRENT").await;
    let _thief = world.server.connect(&user, &leaked.as_str().into(), None).await.expect("it opens the server");
    script.typed(script.about(&world.lab, &secret.arn).mysql(&world.server)).await;
    assert!(world.ask("SELECT id FROM information_schema.processlist WHERE user = 'app'").await.is_empty());
    assert!(!world.opens(&user, &leaked).await, "what leaked still works");
    well(&world, &secret).await;
}

async fn leaked_alternating(script: Script<'_>) {
    let world = postgres().await;
    let secret = world.alternating_user("app").await;
    attach(&world.lab, &secret.arn).await;
    let (user, leaked) = secret.credential("AWSCURRENT").await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    assert!(!world.opens(&user, &leaked).await, "what leaked still works");
    well(&world, &secret).await;
}

async fn leaked_api_key(script: Script<'_>) {
    let (world, issuer) = api_keys(|function| function).await;
    let secret = by_hand(&world, &issuer).await;
    let leaked = secret.field("AWSCURRENT", "apiKey").await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    assert!(!issuer.works(&leaked), "what leaked still works");
    served(&issuer, &secret).await;
}

async fn leaked_superuser(script: Script<'_>) {
    let world = postgres().await;
    let superuser = world.superuser().await;
    let secrets = [
        world.user_with("one", json!({"masterarn": superuser.arn})).await,
        world.user_with("other", json!({"masterarn": superuser.arn})).await,
    ];
    let mut leaked = Vec::new();
    for secret in &secrets {
        attach(&world.lab, &secret.arn).await;
        leaked.push(secret.credential("AWSCURRENT").await);
    }
    let bystander = attached(&world).await;
    let before = bystander.holders("AWSCURRENT").await;
    let play = script.about(&world.lab, &secrets[0].arn);
    play.play(script.terminal, async |what| {
        assert_eq!(what, "leaked-secret");
        format!("export LEAKED={}\n", superuser.arn)
    })
    .await;
    for (secret, (user, password)) in secrets.iter().zip(leaked) {
        assert!(!world.opens(&user, &password).await, "what was within reach still works");
        well(&world, secret).await;
    }
    assert_eq!(bystander.holders("AWSCURRENT").await, before, "a secret that does not name the superuser was rotated");
}

// ---- superusers and admins

async fn superuser_outdated(script: Script<'_>) {
    let world = postgres().await;
    world.sql("CREATE ROLE admin SUPERUSER LOGIN").await;
    let superuser = world.secret(world.document("admin", Password::random().expose())).await;
    let secret = world.user_with("app", json!({"masterarn": superuser.arn})).await;
    attach(&world.lab, &secret.arn).await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said).psql(&world.server)).await;
    assert!(superuser.opens("AWSCURRENT").await, "the superuser's secret is still wrong");
    well(&world, &secret).await;
}

async fn admin_outdated(script: Script<'_>) {
    let (world, issuer) = api_keys(|function| function).await;
    let secret = by_hand(&world, &issuer).await;
    put(&world.lab, world.admin(), &json!({"token": "labadmin_outdated"})).await;
    let said = fails(&world.lab, &secret.arn).await;
    let token = issuer.admin_token();
    let play = script.about(&world.lab, &secret.arn).said(&said);
    play.play(script.terminal, async |what| match what {
        "new-admin-token" => format!("export NEW={token}\n"),
        other => panic!("what is {other}?"),
    })
    .await;
    served(&issuer, &secret).await;
}

// ---- the network

async fn no_route(script: Script<'_>) {
    let world = postgres().await;
    let (blocked, guests) = full_listener().await;
    let port = blocked.local_addr().expect("an address").port();
    let secret = world.user_with("app", json!({"port": port})).await;
    attach(&world.lab, &secret.arn).await;
    let said = fails(&world.lab, &secret.arn).await;
    let blocked = RefCell::new(Some((blocked, guests)));
    let play = script.about(&world.lab, &secret.arn).said(&said);
    play.play(script.terminal, async |what| {
        assert_eq!(what, "network-opens");
        drop(blocked.take());
        pass_on(port, world.server.port()).await;
        String::new()
    })
    .await;
    well(&world, &secret).await;
}

/// Passes connections to one local port on to another, for as long as the test runs.
async fn pass_on(from: u16, to: u16) {
    let listener = TcpListener::bind(("127.0.0.1", from)).await.expect("the port is free again");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", to)).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
}

async fn host_changed(script: Script<'_>) {
    let world = postgres().await;
    // Reserved for names that do not exist (RFC 6761).
    let secret = world.user_with("app", json!({"host": "db.invalid"})).await;
    attach(&world.lab, &secret.arn).await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said)).await;
    well(&world, &secret).await;
}

async fn no_way_to_secrets_manager(script: Script<'_>) {
    troubled_service(script, Fault::Fail(503), "service-returns").await;
}

async fn service_throttled(script: Script<'_>) {
    troubled_service(script, Fault::Throttle, "throttling-ends").await;
}

/// Every call of the function to Secrets Manager ends like this, until the test is asked for the end of it.
async fn troubled_service(script: Script<'_>, fault: Fault, end: &str) {
    let patient = |function: Builder| function.clock_behind(AGE).timeout(SHORT);
    let world = World::with(postgres::Options::default(), patient).await;
    let secret = attached(&world).await;
    for operation in ["DescribeSecret", "GetSecretValue"] {
        world.lab.disturb().on_every(operation, fault);
    }
    let said = fails(&world.lab, &secret.arn).await;
    let play = script.about(&world.lab, &secret.arn).said(&said);
    play.play(script.terminal, async |what| {
        assert_eq!(what, end);
        world.lab.disturb().restart();
        String::new()
    })
    .await;
    well(&world, &secret).await;
}

// ---- issuers of API keys

/// The lab's own issuer, and a function that knows it.
async fn api_keys(settings: impl FnOnce(Builder) -> Builder) -> (issuer::World, Issuer) {
    let aged = |function: Builder| settings(function.clock_behind(AGE));
    issuer::World::lab_with(Options::default(), &lab_description(), aged).await
}

/// A secret with a key that a person has made.
async fn by_hand<'a>(world: &'a issuer::World, issuer: &Issuer) -> issuer::Secret<'a> {
    let (id, key) = issuer.mint("by hand");
    let secret = world.secret(json!({"apiKey": key, "apiKeyId": id})).await;
    attach(&world.lab, &secret.arn).await;
    secret
}

/// The key works, and no more keys live than the current and the previous one.
async fn served(issuer: &Issuer, secret: &issuer::Secret<'_>) {
    // The last thing typed may have been a rotation that still ends keys.
    secret.settled().await;
    assert!(issuer.works(&secret.field("AWSCURRENT", "apiKey").await), "the current key is refused");
    secret.rotated().await;
    assert!(issuer.works(&secret.field("AWSCURRENT", "apiKey").await), "the new key is refused");
    let kept = [secret.field("AWSCURRENT", "apiKeyId").await, secret.field("AWSPREVIOUS", "apiKeyId").await];
    let live: BTreeSet<_> = issuer.live().into_iter().map(|key| key.id).collect();
    assert_eq!(live, kept.into(), "a key is left over, or lost");
}

async fn put(lab: &Lab, arn: &str, value: &Value) {
    let request = json!({"SecretId": arn, "SecretString": value.to_string()});
    lab.call("PutSecretValue", request).await.expect("the value is stored");
}

async fn issuer_throttled(script: Script<'_>) {
    let (world, issuer) = api_keys(|function| function.timeout(SHORT)).await;
    let secret = by_hand(&world, &issuer).await;
    trouble(&world, &["GET", "POST"], Fault::Throttle);
    let said = fails(&world.lab, &secret.arn).await;
    until(script, &world, &secret, &said, "throttling-ends").await;
    served(&issuer, &secret).await;
}

async fn issuer_down(script: Script<'_>) {
    let (world, issuer) = api_keys(|function| function.timeout(SHORT)).await;
    let secret = by_hand(&world, &issuer).await;
    trouble(&world, &["GET", "POST", "DELETE"], Fault::Fail(503));
    let said = fails(&world.lab, &secret.arn).await;
    until(script, &world, &secret, &said, "issuer-returns").await;
    served(&issuer, &secret).await;
}

async fn journal_not_draining(script: Script<'_>) {
    let (world, issuer) = api_keys(|function| function.timeout(SHORT)).await;
    let secret = by_hand(&world, &issuer).await;
    secret.rotated().await;
    trouble(&world, &["DELETE"], Fault::Fail(503));
    for _ in 0..2 {
        let report = secret.rotated().await;
        let last = report.steps.last().expect("a step").result().expect("it succeeds");
        assert!(last["warnings"].to_string().contains("key-not-revoked"), "{last}");
    }
    assert_eq!(issuer.live().len(), 4);
    until(script, &world, &secret, "", "issuer-returns").await;
    assert_eq!(issuer.live().len(), 2, "the journal has not drained");
    served(&issuer, &secret).await;
}

async fn key_by_hand(script: Script<'_>) {
    let (world, issuer) = api_keys(|function| function.timeout(SHORT)).await;
    let secret = by_hand(&world, &issuer).await;
    trouble(&world, &["GET", "POST"], Fault::Fail(503));
    let said = fails(&world.lab, &secret.arn).await;
    let play = script.about(&world.lab, &secret.arn).said(&said);
    play.play(script.terminal, async |what| match what {
        "key-made-by-hand" => {
            let (id, key) = issuer.mint("by hand, in need");
            format!("export ID={id} KEY={key}\n")
        }
        "issuer-returns" => {
            world.lab.disturb().restart();
            String::new()
        }
        other => panic!("what is {other}?"),
    })
    .await;
    assert!(issuer.works(&secret.field("AWSCURRENT", "apiKey").await));
}

/// Every request with these methods ends like this.
fn trouble(world: &issuer::World, methods: &[&str], fault: Fault) {
    for method in methods {
        world.lab.disturb().on_every(&format!("issuer {method}"), fault);
    }
}

/// Types everything; at this word the issuer is well again.
async fn until(script: Script<'_>, world: &issuer::World, secret: &issuer::Secret<'_>, said: &str, end: &str) {
    let play = script.about(&world.lab, &secret.arn).said(said);
    play.play(script.terminal, async |what| {
        assert_eq!(what, end);
        world.lab.disturb().restart();
        String::new()
    })
    .await;
}

// ---- back

async fn roll_back_pair(script: Script<'_>) {
    let world = postgres().await;
    let secret = world.alternating_user("app").await;
    attach(&world.lab, &secret.arn).await;
    let before = secret.credential("AWSCURRENT").await;
    secret.rotated().await;
    script.typed(script.about(&world.lab, &secret.arn).psql(&world.server)).await;
    assert_eq!(secret.credential("AWSCURRENT").await, before);
    well(&world, &secret).await;
}

async fn roll_back_api_key(script: Script<'_>) {
    let (world, issuer) = api_keys(|function| function).await;
    let secret = by_hand(&world, &issuer).await;
    secret.rotated().await;
    let before = secret.field("AWSCURRENT", "apiKey").await;
    secret.rotated().await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    assert_eq!(secret.field("AWSCURRENT", "apiKey").await, before);
    let left = secret.field("AWSPREVIOUS", "apiKeyId").await;
    secret.rotated().await;
    let kept = [secret.field("AWSCURRENT", "apiKeyId").await, secret.field("AWSPREVIOUS", "apiKeyId").await, left];
    let live: BTreeSet<_> = issuer.live().into_iter().map(|key| key.id).collect();
    assert_eq!(live, kept.into(), "what the page says to revoke by hand is all that is left over");
}

async fn previous_in_effect(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    secret.rotated().await;
    let (_, previous) = secret.credential("AWSPREVIOUS").await;
    world.sql(&format!("ALTER ROLE app PASSWORD '{previous}'")).await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    well(&world, &secret).await;
}

async fn roll_back_single_user(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    let before = secret.credential("AWSCURRENT").await;
    secret.rotated().await;
    script.typed(script.about(&world.lab, &secret.arn).psql(&world.server)).await;
    assert_eq!(secret.credential("AWSCURRENT").await, before);
    well(&world, &secret).await;
}
