//! A hostile server, to a single user and to a pair: whatever it says, a step ends in time and in little memory, with a code that the
//! documentation has, and repeats nothing of it.
//!
//! `LOCKSTEP_FUZZ_CASES=10000` tries more, and `LOCKSTEP_SEED` others. `fuzz-corpus/frames.txt` keeps the plans that failed.

use integration_tests::hostile::{Hostile, Kind, MARKER, Place, Plan, Protocol};
use integration_tests::{Options, Server, merged, world_with};
use lab::lambda::Outcome;
use lab::servers::certificates::TestCa;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

on! { (postgres, mysql, mariadb):
    whatever_a_server_says_a_step_ends_with_a_code;
    a_flood_has_a_limit;
    whatever_a_server_calls_itself_is_not_printed;
}

/// The template's limit is 128 MB.
const MOST_MEMORY: u64 = 100 << 20;
/// How long a step may take. Some plans end in silence. The lab ends a function that does not answer in time, and its error has no code
/// of the documentation.
const TIMEOUT: Duration = Duration::from_secs(6);
/// Cases of a run of the tests.
const SAMPLE: u64 = 16;
/// How many run side by side.
const WORKERS: usize = 4;

/// More than an answer to the functions has.
const MOST_COLUMNS: usize = 20;

const KEPT: &str = include_str!("../../fuzz-corpus/frames.txt");

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn protocol<S: Server>() -> Protocol {
    if S::FUNCTION == "lockstep-postgres" { Protocol::Postgres } else { Protocol::MySql }
}

fn codes() -> BTreeSet<String> {
    let page = include_str!("../../../docs/errors.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| [`")?.split_once('`'));
    rows.map(|(code, _)| code.to_owned()).filter(|code| code != "internal").collect()
}

async fn whatever_a_server_says_a_step_ends_with_a_code<O: Options>(options: O) {
    let cases = number("LOCKSTEP_FUZZ_CASES").unwrap_or(SAMPLE);
    let seed = number("LOCKSTEP_SEED").unwrap_or(1);
    let server = if protocol::<O::Server>() == Protocol::Postgres { "postgres " } else { "mysql " };
    let kept = KEPT.lines().filter_map(|line| line.strip_prefix(server)).map(|plan| plan.parse().expect("a plan"));
    let plans = kept.chain((0..cases).map(|case| Plan::of(seed.wrapping_mul(1_000_003).wrapping_add(case))));
    try_all(options, plans.collect(), false).await;
}

async fn a_flood_has_a_limit<O: Options>(options: O) {
    let floods = Kind::ALL.iter().skip_while(|kind| **kind != Kind::FloodOfTiny).filter(|kind| **kind != Kind::Renamed);
    // In the login, and in place of the first answer.
    let places = [Place::Login(1), Place::Work(0)];
    let plans = floods.flat_map(|kind| places.map(|place| Plan { place, kind: *kind, seed: 1 }));
    try_all(options, plans.collect(), true).await;
}

/// Who a session belongs to, what the settings are called, which version it is: whatever an answer has in a column.
async fn whatever_a_server_calls_itself_is_not_printed<O: Options>(options: O) {
    // Each for a single user and for a pair.
    let plans = (0..MOST_COLUMNS).flat_map(|column| std::iter::repeat_n(Plan::renaming(column), 2));
    try_all(options, plans.collect(), false).await;
}

/// Tries each plan in a rotation of its own, and fails with all that went wrong. Whether each plan has to be carried out, and to fail
/// setSecret: some of those that are drawn wait for a message that does not come, or change nothing that matters.
async fn try_all<O: Options>(options: O, plans: Vec<Plan>, each_matters: bool) {
    let certificate = TestCa::new("Test CA").expect("a CA").issue(&["localhost", "127.0.0.1"]).expect("a certificate");
    let world = world_with(options.certificate(certificate.clone()), |function| function.timeout(TIMEOUT)).await;
    let protocol = protocol::<O::Server>();
    let known = codes();
    let work = async |worker: usize| {
        let hostile = Hostile::start(world.server.port(), protocol, &certificate).await;
        let mut fields = json!({"port": hostile.port});
        if worker % 2 == 1 {
            let (superuser, password) = world.server.superuser();
            let document = merged(world.document(superuser, password.expose()), fields.clone());
            fields["masterarn"] = world.secret(document).await.arn.into();
            // MySQL cannot tell whose clone it is that a rotation has made and given up.
            fields["rotation"] = json!({"users": [format!("app{worker}"), format!("app{worker}_clone")]});
        }
        let secret = world.user_with(&format!("app{worker}"), fields).await;
        let (mut wrong, mut ends, mut peak) = (Vec::new(), BTreeMap::<String, usize>::new(), 0);
        for plan in plans.iter().skip(worker).step_by(WORKERS) {
            hostile.set(None);
            let token = secret.registered().await;
            secret.steps(&["createSecret"], &token).await;
            let before = hostile.done();
            hostile.set(Some(plan.clone()));
            for step in ["setSecret", "testSecret"] {
                let outcome = world.lab.invoke_step(step, &secret.arn, &token).await;
                let end = outcome.result().map_or_else(|error| error.error_type, |_| "done".to_owned());
                peak = peak.max(outcome.peak_memory.unwrap_or_default());
                if each_matters && step == "setSecret" && (end == "done" || hostile.done() == before) {
                    wrong.push(format!("{plan}: ends with {end}, carried out {} times", hostile.done() - before));
                }
                if each_matters && outcome.peak_memory.is_none() {
                    wrong.push(format!("{plan}: {step}: nobody knows how much memory it took"));
                }
                wrong.extend(judge(&outcome, &end, &known).map(|what| format!("{plan}: {step}: {what}")));
                if number("LOCKSTEP_FUZZ_SHOW").is_some() {
                    println!(
                        "{plan}: {step}: {end}, {:?}, {} kB",
                        outcome.duration,
                        outcome.peak_memory.unwrap_or_default() >> 10
                    );
                }
                *ends.entry(end).or_default() += 1;
            }
            let given_up = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
            world.lab.call("UpdateSecretVersionStage", given_up).await.expect("AWSPENDING is removed");
            let (user, password) = secret.credential("AWSCURRENT").await;
            world.server.set_password(&user, &password).await;
        }
        // With nobody in between, it rotates.
        hostile.set(None);
        let mut last = secret.rotate().await;
        for _ in 0..2 {
            // A server may notice late that a client is gone, and keep its lock until then.
            if last.error().is_some_and(|error| error.error_type == "lock-timeout") {
                last = secret.rotate().await;
            }
        }
        wrong.extend(last.error().map(|error| format!("afterwards: {error:?}")));
        println!("{}: {ends:?}, peak {} kB, changed {}", world.server, peak >> 10, hostile.done());
        (wrong, hostile.done())
    };
    let all = tokio::join!(work(0), work(1), work(2), work(3));
    let (wrong, done): (Vec<_>, Vec<_>) = [all.0, all.1, all.2, all.3].into_iter().unzip();
    let (wrong, done) = (wrong.concat(), done.into_iter().sum::<usize>());
    assert!(done > 0, "no plan was carried out");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), plans.len(), wrong.join("\n"));
}

/// What is wrong with the end of a step, if anything is.
fn judge(outcome: &Outcome, end: &str, known: &BTreeSet<String>) -> Option<String> {
    let text = format!("{}{}", String::from_utf8_lossy(&outcome.payload), String::from_utf8_lossy(&outcome.log));
    if end != "done" && !known.contains(end) {
        return Some(format!("ends with {end}: {}", text.chars().take(1500).collect::<String>()));
    }
    if text.contains(&MARKER[..12]) {
        return Some(format!("repeats the server: {text}"));
    }
    match outcome.peak_memory {
        Some(peak) if peak > MOST_MEMORY => Some(format!("takes {} kB, and ends with {end}", peak >> 10)),
        _ => None,
    }
}
