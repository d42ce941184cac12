//! The runbooks: each page's commands are typed in a lab in which the page's trouble was arranged, they print what stands there,
//! and afterwards the trouble is over.

mod accounts;
mod failed;
mod issuers;
mod leaked;
mod locked_out;
mod migration;
mod network;
mod on_call;
mod roll_back;
mod stuck;
mod superusers;
mod support;

use integration_tests::merged;
use integration_tests::runbook::{Page, Play, Session};
use lab::Lab;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use support::{attached, mysql, postgres};

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
    ($($name:literal => $function:path,)*) => {
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
    "healthy" => failed::healthy,
    "watch" => failed::healthy,
    "recover" => roll_back::recover,
    "recover-off" => failed::healthy,
    "cut-once" => failed::cut_once,
    "rotation-off" => failed::rotation_off,
    "wrong-field" => failed::wrong_field,
    "wrong-field-of-a-pair" => failed::wrong_field_of_a_pair,
    "unknown-ca" => failed::unknown_ca,
    "password-refused" => failed::password_refused,
    "account-locked" => failed::account_locked,
    "role-cannot-log-in" => failed::role_cannot_log_in,
    "role-held" => failed::role_held,
    "stopped-after-set" => stuck::stopped_after_set,
    "overdue" => stuck::overdue,
    "cancelled-after-set" => stuck::cancelled_after_set,
    "cancelled-before-set" => stuck::cancelled_before_set,
    "pending-for-another-server" => stuck::pending_for_another_server,
    "function-gone" => stuck::function_gone,
    "pending-removed-after-set" => locked_out::pending_removed_after_set,
    "pending-removed-without-a-search" => locked_out::pending_removed_without_a_search,
    "password-changed-by-hand" => locked_out::password_changed_by_hand,
    "password-changed-by-hand-mysql" => locked_out::password_changed_by_hand_mysql,
    "password-changed-by-hand-mariadb" => locked_out::password_changed_by_hand_mariadb,
    "rescue" => locked_out::rescue,
    "key-deleted" => locked_out::key_deleted,
    "leaked-single-user" => leaked::leaked_single_user,
    "leaked-dual-password" => leaked::leaked_dual_password,
    "leaked-alternating" => leaked::leaked_alternating,
    "leaked-api-key" => leaked::leaked_api_key,
    "leaked-superuser" => leaked::leaked_superuser,
    "superuser-outdated" => superusers::superuser_outdated,
    "admin-outdated" => superusers::admin_outdated,
    "no-route" => network::no_route,
    "host-changed" => network::host_changed,
    "no-way-to-secrets-manager" => network::no_way_to_secrets_manager,
    "service-throttled" => network::service_throttled,
    "issuer-throttled" => issuers::issuer_throttled,
    "issuer-down" => issuers::issuer_down,
    "journal-not-draining" => issuers::journal_not_draining,
    "key-by-hand" => issuers::key_by_hand,
    "pair" => roll_back::roll_back_pair,
    "api-key" => roll_back::roll_back_api_key,
    "previous-in-effect" => roll_back::previous_in_effect,
    "single-user" => roll_back::roll_back_single_user,
    "alarm-rotation-failed" => on_call::alarm_rotation_failed,
    "alarm-errors" => on_call::alarm_errors,
    "alarm-rotation-overdue" => on_call::alarm_rotation_overdue,
    "alarm-look-missing" => failed::healthy,
    "alarm-throttled" => failed::healthy,
    "alarm-journal-not-draining" => issuers::journal_not_draining,
    "alarm-step-near-timeout" => on_call::alarm_step_near_timeout,
    "alarm-failure-rule-broken" => failed::cut_once,
    "alarm-watch-rule-broken" => failed::healthy,
    "code-rotation-disabled" => on_call::rotation_disabled,
    "code-recover-off" => on_call::recover_off,
    "code-pending-mismatch" => stuck::pending_for_another_server,
    "code-field-missing" => failed::wrong_field,
    "code-engine-mismatch" => on_call::engine_mismatch,
    "code-option-unknown" => on_call::option_unknown,
    "code-service-throttled" => network::service_throttled,
    "code-host-unresolved" => network::host_changed,
    "code-connection-refused" => on_call::connection_refused,
    "code-connect-timeout" => network::no_route,
    "code-connection-lost" => failed::cut_once,
    "code-too-many-connections" => on_call::too_many_connections,
    "code-tls-unknown-issuer" => failed::unknown_ca,
    "code-superuser-rejected" => on_call::superuser_rejected,
    "code-login-forbidden" => failed::role_cannot_log_in,
    "code-role-unusable" => failed::account_locked,
    "code-database-unusable" => on_call::database_unusable,
    "code-lock-timeout" => failed::role_held,
    "code-pair-unproven" => on_call::pair_unproven,
    "code-password-refused" => failed::password_refused,
    "code-issuer-throttled" => issuers::issuer_throttled,
    "code-issuer-unavailable" => issuers::issuer_down,
    "code-admin-rejected" => superusers::admin_outdated,
    "code-key-not-revoked" => issuers::journal_not_draining,
    "code-current-rejected" => accounts::account_deactivated,
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
    the_alarm_rotation_failed_leads_to_its_end: "alarms/rotation-failed.md",
    the_alarm_errors_leads_to_its_end: "alarms/errors.md",
    the_alarm_rotation_overdue_leads_to_its_end: "alarms/rotation-overdue.md",
    the_alarm_look_missing_is_explained: "alarms/look-missing.md",
    the_alarm_throttled_leads_to_its_end: "alarms/throttled.md",
    the_alarm_journal_not_draining_leads_to_its_end: "alarms/journal-not-draining.md",
    the_alarm_step_near_timeout_shows_the_slow_step: "alarms/step-near-timeout.md",
    the_alarm_failure_rule_broken_shows_the_rotation: "alarms/failure-rule-broken.md",
    the_alarm_watch_rule_broken_is_explained: "alarms/watch-rule-broken.md",
    rotation_disabled_is_mended: "codes/rotation-disabled.md",
    recover_off_is_explained: "codes/recover-off.md",
    pending_mismatch_is_mended: "codes/pending-mismatch.md",
    field_missing_is_mended: "codes/field-missing.md",
    engine_mismatch_is_mended: "codes/engine-mismatch.md",
    option_unknown_is_mended: "codes/option-unknown.md",
    service_throttled_is_mended: "codes/service-throttled.md",
    host_unresolved_is_mended: "codes/host-unresolved.md",
    connection_refused_is_mended: "codes/connection-refused.md",
    connect_timeout_is_mended: "codes/connect-timeout.md",
    connection_lost_is_mended: "codes/connection-lost.md",
    too_many_connections_is_mended: "codes/too-many-connections.md",
    tls_unknown_issuer_is_mended: "codes/tls-unknown-issuer.md",
    superuser_rejected_is_mended: "codes/superuser-rejected.md",
    login_forbidden_is_mended: "codes/login-forbidden.md",
    role_unusable_is_mended: "codes/role-unusable.md",
    database_unusable_is_mended: "codes/database-unusable.md",
    lock_timeout_is_mended: "codes/lock-timeout.md",
    pair_unproven_is_mended: "codes/pair-unproven.md",
    password_refused_is_mended: "codes/password-refused.md",
    issuer_throttled_is_mended: "codes/issuer-throttled.md",
    issuer_unavailable_is_mended: "codes/issuer-unavailable.md",
    admin_rejected_is_mended: "codes/admin-rejected.md",
    key_not_revoked_is_mended: "codes/key-not-revoked.md",
    current_rejected_is_mended: "codes/current-rejected.md",
}

/// Blocks that no lab can run: they ask a person, wait, or call what the lab is not. Whoever adds one says so here.
const NOT_RUN: usize = 45;

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
    let mut files: BTreeSet<_> = ["", "alarms/", "codes/"].iter().flat_map(|folder| files(folder)).collect();
    // A certificate of the lab does not expire while a test waits; the page has the commands of the other alarms.
    for without_a_lab in ["terminal.sh", "vpc-shell.md", "alarms/certificate-expires.md"] {
        assert!(files.remove(without_a_lab));
    }
    // The lab's terminal has no Step Functions; `fleet` runs what these pages are about.
    files.retain(|file| !file.starts_with("alarms/fleet-"));
    // Most codes share their commands with a page that is played; `on_call` looks at the rest.
    files.retain(|file| !file.starts_with("codes/") || read(file).contains("<!-- lab: "));
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
    let terminal = commands("README.md") + &read("terminal.sh");
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
    commands_of(page).join("\n")
}

fn commands_of(page: &str) -> Vec<String> {
    read(page).split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next()).map(str::to_owned).collect()
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

/// A statement that fails is logged with the password in it, unless all three are off.
#[test]
fn no_password_that_is_set_by_hand_is_logged_by_postgresql() {
    let mut set = 0;
    for (page, block) in blocks() {
        let Some((before, _)) = block.split_once("ALTER ROLE").filter(|(_, rest)| rest.contains("PASSWORD")) else {
            continue;
        };
        for off in ["log_statement = 'none'", "log_min_duration_statement = -1", "log_min_error_statement = 'panic'"] {
            assert!(before.contains(&format!("\nSET {off};\n")), "{page} lacks SET {off} before:\n{block}");
        }
        set += 1;
    }
    assert!(set >= 3, "only {set} passwords are set");
}

/// A session that has ended meanwhile must not keep the others alive.
#[test]
fn sessions_of_mysql_are_ended_whatever_became_of_one() {
    let ending: Vec<_> = blocks().into_iter().filter(|(_, block)| block.contains("'KILL '")).collect();
    assert!(!ending.is_empty(), "no page ends sessions");
    for (page, block) in ending {
        assert!(block.contains("\nmysql --force < "), "{page} stops at the first session that is gone:\n{block}");
    }
}

/// Each block of commands, and its page.
fn blocks() -> Vec<(&'static str, String)> {
    let pages = PAGES.iter().copied().chain(["../migration.md"]);
    pages.flat_map(|page| commands_of(page).into_iter().map(move |block| (page, block))).collect()
}

/// Statements of which the first one fails.
const DOOMED: &str = "```sh
printf '%s\\n' 'KILL 4294967295;' \"SELECT 'the other one';\" > force.sql
printf '%s\\n' 'KILL 4294967295;' 'CREATE DATABASE not_reached;' > stop.sql
mysql --force < force.sql
if mysql < stop.sql; then echo 'no error'; else echo stopped; fi
```

```text
the other one
stopped
…4294967295…
…4294967295…
```
";

/// As MySQL's own client does, which the lab has none of.
#[tokio::test(flavor = "multi_thread")]
async fn mysql_goes_on_after_an_error_only_if_it_is_told_to() {
    let world = mysql().await;
    let secret = world.user("app").await;
    let directory = tempfile::tempdir().expect("a directory");
    let page = directory.path().join("page.md");
    std::fs::write(&page, format!("<!-- lab: doomed -->\n{DOOMED}")).expect("the page is written");
    let (page, readme) = (Page::read(&page), Page::read(&self::directory().join("README.md")));
    let script = Script { session: page.sessions.first().expect("a session"), terminal: terminal(&readme) };
    script.typed(script.about(&world.lab, &secret.arn).mysql(&world.server)).await;
    assert!(world.ask("SHOW DATABASES LIKE 'not_reached'").await.is_empty(), "it went on");
}

#[test]
fn every_link_goes_somewhere() {
    let mut links = 0;
    let others = ["vpc-shell.md", "../errors.md", "../../events/README.md"].map(str::to_owned);
    let pages = ["", "alarms/", "codes/"].iter().flat_map(|folder| files(folder)).chain(others);
    for path in pages.filter(|page| page.ends_with(".md")).map(|page| directory().join(page)) {
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
    assert!(links > 500, "only {links} links");
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
        (mine("recover.json"), "recover-off"),
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

/// The files of a folder of the runbooks.
fn files(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(directory().join(folder)).expect("the directory is there");
    let files = entries.map(|it| it.expect("an entry").path()).filter(|path| path.is_file());
    let name = |path: PathBuf| format!("{folder}{}", path.file_name().expect("a name").to_string_lossy());
    files.map(name).collect()
}

fn read(page: &str) -> String {
    std::fs::read_to_string(directory().join(page)).expect("the page is there")
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/runbooks")
}
