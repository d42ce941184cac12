//! The pages of alarms and codes, which a person opens who was woken, and what only they begin with.

use super::support::{attached, broken_by_hand, fails, postgres, stops_after_set, well};
use super::{PAGES, Script, commands_of, directory, files, read, terminal};
use integration_tests::World;
use integration_tests::runbook::Page;
use lab::relay::Mode;
use lab::servers::{Password, postgres};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

/// The interval of [`attached`], and the days after which a rotation is overdue.
const MONTH: Duration = Duration::from_secs(32 * 24 * 3_600);
/// The lines of a page that a reader sees at a time.
const SCREEN: usize = 40;

/// The mail's page leads to that of the code, and that to the end.
pub async fn alarm_rotation_failed(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    world.sql("ALTER ROLE app NOLOGIN").await;
    fails(&world.lab, &secret.arn).await;
    let page = Page::read(&directory().join("codes/login-forbidden.md"));
    let next = Script { session: page.sessions.first().expect("a session"), ..script };
    for script in [script, next] {
        script.typed(script.about(&world.lab, &secret.arn).woken().psql(&world.server)).await;
    }
    well(&world, &secret).await;
}

pub async fn alarm_errors(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    stops_after_set(&world, &secret).await;
    script.typed(script.about(&world.lab, &secret.arn).woken()).await;
    well(&world, &secret).await;
}

pub async fn alarm_rotation_overdue(script: Script<'_>) {
    let world = World::with(postgres::Options::default(), |function| function.clock_behind(MONTH)).await;
    let secret = attached(&world).await;
    secret.rotated().await;
    world.lab.set_clock_behind(Duration::ZERO);
    script.typed(script.about(&world.lab, &secret.arn).woken()).await;
    well(&world, &secret).await;
}

pub async fn alarm_step_near_timeout(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    secret.rotated().await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    well(&world, &secret).await;
}

pub async fn rotation_disabled(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    world.lab.call("CancelRotateSecret", json!({"SecretId": secret.arn})).await.expect("rotation is turned off");
    said_by_hand(&world, &secret.arn, "testSecret", "rotation-disabled").await;
    script.typed(script.about(&world.lab, &secret.arn).woken()).await;
    well(&world, &secret).await;
}

pub async fn recover_off(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    said_by_hand(&world, &secret.arn, "recover", "recover-off").await;
    script.typed(script.about(&world.lab, &secret.arn).woken()).await;
    well(&world, &secret).await;
}

/// Somebody sends an event by hand, and the function refuses it.
async fn said_by_hand(world: &World, arn: &str, step: &str, code: &str) {
    let token = integration_tests::uuid();
    let event = json!({"SecretId": arn, "ClientRequestToken": token, "Step": step});
    let error = world.lab.invoke(&event).await.result().expect_err("it is refused");
    assert_eq!(error.error_type, code);
}

pub async fn engine_mismatch(script: Script<'_>) {
    wrong_value(script, json!({"engine": "mysql"})).await;
}

pub async fn option_unknown(script: Script<'_>) {
    wrong_value(script, json!({"rotation": {"superuserRescu": true}})).await;
}

pub async fn database_unusable(script: Script<'_>) {
    wrong_value(script, json!({"dbname": "nowhere"})).await;
}

async fn wrong_value(script: Script<'_>, wrong: Value) {
    let world = postgres().await;
    let secret = world.user_with("app", wrong).await;
    secret.attached().await;
    fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).woken()).await;
    well(&world, &secret).await;
}

pub async fn connection_refused(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    world.relay.set(Mode::Refuse).await.expect("the relay is closed");
    fails(&world.lab, &secret.arn).await;
    let play = script.about(&world.lab, &secret.arn).woken();
    play.play(script.terminal, async |what| {
        assert_eq!(what, "server-starts");
        world.relay.set(Mode::Forward).await.expect("the relay is opened");
        String::new()
    })
    .await;
    well(&world, &secret).await;
}

pub async fn too_many_connections(script: Script<'_>) {
    broken_by_hand(script, "ALTER ROLE app CONNECTION LIMIT 0").await;
}

pub async fn superuser_rejected(script: Script<'_>) {
    let world = postgres().await;
    world.sql("CREATE ROLE admin SUPERUSER LOGIN").await;
    let password = Password::random();
    let superuser = world.secret(world.document("admin", password.expose())).await;
    let secret = world.user_with("app", json!({"masterarn": superuser.arn})).await;
    secret.attached().await;
    fails(&world.lab, &secret.arn).await;
    let play = script.about(&world.lab, &secret.arn).woken();
    play.play(script.terminal, async |what| {
        assert_eq!(what, "superuser-returns");
        world.sql(&format!("ALTER ROLE admin PASSWORD '{}'", password.expose())).await;
        String::new()
    })
    .await;
    well(&world, &secret).await;
}

pub async fn pair_unproven(script: Script<'_>) {
    let world = postgres().await;
    let secret = world.alternating_user("app").await;
    world.sql("CREATE ROLE app_clone LOGIN").await;
    secret.attached().await;
    fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).woken()).await;
    well(&world, &secret).await;
}

/// The headings of a page, in their order.
const HEADINGS: [&str; 5] = ["What it means", "Find", "Do", "Done when", "More"];

#[test]
fn every_page_of_an_alarm_or_a_code_is_a_screen_with_the_same_headings() {
    let pages: Vec<_> = ["alarms/", "codes/"].iter().flat_map(|folder| files(folder)).collect();
    assert!(pages.len() > 100, "{}", pages.len());
    for page in pages {
        let text = read(&page);
        let headings: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(headings, HEADINGS, "{page}");
        let seen =
            text.lines().filter(|line| !line.is_empty() && !line.starts_with("```") && !line.starts_with("<!--"));
        assert!(seen.count() <= SCREEN, "{page} is longer than a screen");
        // A command that finds the failed or late secrets by itself comes first.
        let block = commands_of(&page).into_iter().next().unwrap_or_default();
        let code = page.trim_start_matches("codes/").trim_end_matches(".md");
        let first = block.lines().find(|line| !line.starts_with("export FUNCTION=") && !line.starts_with("source "));
        match page.starts_with("codes/") {
            true => assert_eq!(first, Some(format!("failures {code}").as_str()), "{page}"),
            // The function has written nothing if Lambda refused to start it.
            false if page == "alarms/throttled.md" => {
                assert!(first.is_some_and(|it| it.starts_with("aws lambda get-function-concurrency")), "{first:?}");
            }
            // A fleet is asked through Step Functions and its own log.
            false if page.starts_with("alarms/fleet-") => {
                assert!(first.is_some_and(|it| it.starts_with("aws ")), "{page}: {first:?}");
            }
            false => assert!(first.is_some_and(|it| it.starts_with("failures") || it == "late"), "{page}: {first:?}"),
        }
    }
}

/// Commands that only look, which no page that is played has.
const LOOKS: [&str; 3] = [
    "value_of AWSCURRENT | jq .apiKeyId",
    "for label in AWSCURRENT AWSPREVIOUS; do value_of \"$label\" | jq .apiKeyId; done",
    "jq -r '.[-1].request' failures.json",
];

/// A page that no situation plays has commands that another page is played with, or says why they are not run.
#[test]
fn what_no_lab_plays_is_played_on_another_page() {
    let commands = |page: &str| Page::commands(&directory().join(page));
    let played: BTreeSet<_> = PAGES.iter().flat_map(|page| commands(page)).collect();
    let known = ["failures", "diagnose", "rotate", "drop_pending", "fields", "edit"];
    let (mut pages, mut edits) = (0, 0);
    for page in files("codes/").iter().filter(|page| !PAGES.contains(&page.as_str())) {
        for line in commands(page) {
            let command = line.split(' ').next().unwrap_or_default();
            let fine = played.contains(&line) || known.contains(&command) || LOOKS.contains(&line.as_str());
            assert!(fine, "{page}: where is {line:?} tried?");
        }
        pages += 1;
    }
    // The filters are jq's: each of them changes a secret's value.
    for page in files("codes/") {
        for line in commands_of(&page).iter().flat_map(|block| block.lines()).filter(|line| line.starts_with("edit '"))
        {
            let filter = line.split('\'').nth(1).expect("a filter");
            assert!(changed(filter), "{page}: {filter} does nothing");
            edits += 1;
        }
    }
    assert!(pages > 60 && edits > 15, "{pages} pages, {edits} filters");
}

/// Whether a filter makes another object of a secret's value.
fn changed(filter: &str) -> bool {
    let value = json!({"engine": "-", "host": "-", "port": 1, "dbname": "-", "username": "-", "password": "-", "ssl": false,
        "masterarn": "-", "accountKey": "-", "rotation": {"superuserRescu": true, "caBundle": "-", "revokeSuperseded": "-", "revokeSerial": "-"}});
    let mut jq = Command::new("jq");
    jq.args(["-cn", "--argjson", "value", &value.to_string()]).arg(format!("$value | {filter}"));
    let output = jq.env("KEY", "key").env("ID", "id").env("NEW", "new").output().expect("jq runs");
    let made: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    made.is_object() && made != value
}

/// What a shell prints that has loaded the commands of the pages and types these lines. The log has these events.
fn in_the_terminal(events: &[Value], lines: &str) -> String {
    let log: Vec<_> = events.iter().map(|it| json!({"message": it.to_string()})).collect();
    let folder = tempfile::tempdir().expect("a directory");
    // In place of the AWS CLI.
    let script = format!(
        "aws() {{ case $1 in logs) echo \"$LOG\" ;; *) echo arn:f ;; esac; }}\nsource \"$PAGES\"/terminal.sh\n{lines}"
    );
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).current_dir(folder.path()).env_remove("SECRET").env("FUNCTION", "f");
    shell.env("PAGES", directory().canonicalize().expect("the pages")).env("LOG", json!({"events": log}).to_string());
    let output = shell.output().expect("bash runs");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn a_failed_look_does_not_take_the_place_of_a_failed_secret() {
    let failed = |minute: u8, span: Value| json!({"timestamp": format!("2026-01-01T00:{minute:02}:00Z"), "level": "ERROR", "code": "service-denied", "message": "-", "span": span});
    let look = failed(2, json!({"step": "watch", "request": "2"}));
    let rotation = failed(1, json!({"step": "setSecret", "request": "1", "secret": "arn:a"}));
    let printed = in_the_terminal(&[rotation, look.clone()], "failures");
    assert!(printed.contains("(the daily look)\n") && printed.ends_with("SECRET=arn:a\n"), "{printed}");
    let printed = in_the_terminal(&[look], "SECRET=arn:b; failures");
    assert!(printed.ends_with("SECRET=arn:b\n"), "{printed}");
}

#[test]
fn a_command_about_a_secret_asks_for_its_name() {
    for command in ["diagnose", "recover", "rotate"] {
        for named in ["", "SECRET='(the daily look)'"] {
            let printed = in_the_terminal(&[], &format!("{named}\n{command} && echo went on"));
            assert_eq!(printed, "name the secret first: export SECRET=ARN\n", "{command}");
        }
    }
}

/// What the woken person has read when `AWSCURRENT` works again: the alarm's page, the code's, and the long one behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_somebody_changed_is_mended_from_the_mail() {
    let world = postgres().await;
    let secret = attached(&world).await;
    world.sql("ALTER ROLE app PASSWORD 'of nobody'").await;
    let said = fails(&world.lab, &secret.arn).await;
    let readme = Page::read(&directory().join("README.md"));
    assert!(said.starts_with("[locked-out]"));
    // The alarm's page says: the code's page; and that leads here, by the finding.
    let code = read("codes/locked-out.md");
    let row = code.lines().find(|line| line.starts_with("| `locked-out` |")).expect("the finding has a row");
    assert!(row.contains("../locked-out.md#the-password-was-changed-at-the-server"));
    let page = Page::read(&directory().join("locked-out.md"));
    let session = page.sessions.iter().find(|it| it.situation == "password-changed-by-hand").expect("the section");
    let script = Script { session, terminal: terminal(&readme) };
    script.typed(script.about(&world.lab, &secret.arn).said(&said).psql(&world.server)).await;
    well(&world, &secret).await;
}

/// A client that waits for a minute and sends the event again has a server refuse three times as many logins.
#[test]
fn no_command_sends_an_event_to_a_function_twice() {
    let pages =
        ["docs/runbooks/terminal.sh", "docs/deploy.md", "events/README.md", "examples/deploy/README.md", "README.md"];
    for page in pages {
        let text = std::fs::read_to_string(directory().join("../..").join(page)).expect("the page is there");
        let text = text.replace("\\\n", " ");
        let commands: Vec<_> = text.lines().filter(|line| line.contains("aws lambda invoke")).collect();
        assert!(!commands.is_empty(), "{page} invokes nothing");
        for command in commands {
            let once = command.contains("AWS_MAX_ATTEMPTS=1 aws ") && command.contains("--cli-read-timeout 0");
            assert!(once, "{page}: {command}");
        }
    }
    // All other pages use the terminal's commands.
    for page in ["", "alarms/", "codes/"].iter().flat_map(|folder| files(folder)).filter(|page| page.ends_with(".md")) {
        assert!(commands_of(&page).iter().all(|block| !block.contains("lambda invoke")), "{page} invokes by itself");
    }
}
