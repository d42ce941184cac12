//! What is read when, and what is served meanwhile.

use crate::support::{CALL, Server, Store};
use lockstep_secret::{Cause, Error, Label, RotatingSecret, State};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, advance, sleep};

const SECOND: Duration = Duration::from_secs(1);

fn version(secret: &RotatingSecret) -> String {
    secret.current().expect("it is served").version_id().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_read_ahead_of_its_time_and_not_by_all_processes_at_once() {
    let mut times = Vec::new();
    for _ in 0..50 {
        let store = Store::with_current("v1");
        let secret = store.secret().refresh_every(100 * SECOND).start().await.unwrap();
        let began = Instant::now();
        while store.fetches() < 2 {
            sleep(SECOND).await;
        }
        times.push(began.elapsed().as_secs());
        drop(secret);
    }
    assert!(times.iter().all(|time| (80..=101).contains(time)), "{times:?}");
    times.sort_unstable();
    times.dedup();
    assert!(times.len() > 5, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_new_version_arrives_with_the_next_refresh_and_a_snapshot_stays_what_it_was() {
    let store = Store::with_current("v1");
    let secret = store.secret().refresh_every(100 * SECOND).start().await.unwrap();
    let before = secret.current().unwrap();
    store.create("v2");
    store.finish();
    assert_eq!(version(&secret), "v1");
    sleep(101 * SECOND).await;
    let after = secret.current().unwrap();
    assert_eq!((after.version_id(), after.password()), ("v2", Ok("v2")));
    assert_eq!((before.version_id(), before.password()), ("v1", Ok("v1")));
    assert_eq!(secret.health().counts.changes, 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_tasks_that_ask_at_once_cause_one_read() {
    let store = Store::with_current("v1");
    let secret = store.start().await;
    store.create("v2");
    store.finish();
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let secret = secret.clone();
            tokio::spawn(async move { secret.refresh().await.unwrap().version_id().to_owned() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "v2");
    }
    assert_eq!(store.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_served_while_its_source_is_down_and_not_for_ever() {
    let store = Store::with_current("v1");
    let builder = store.secret().refresh_every(60 * SECOND).serve_stale_for(1000 * SECOND);
    let secret = builder.start().await.unwrap();
    assert_eq!(secret.health().state, State::Fresh);
    store.fail(Some(Cause::Unavailable));
    sleep(900 * SECOND).await;
    assert_eq!(version(&secret), "v1");
    let health = secret.health();
    assert_eq!((health.state, health.cause, health.is_ready()), (State::Stale, Some(Cause::Unavailable), true));
    // The pauses between failed reads have grown to the refresh interval.
    assert!((15..30).contains(&store.fetches()), "{}", store.fetches());
    sleep(200 * SECOND).await;
    let error = secret.current().unwrap_err();
    assert!(matches!(error, Error::TooOld { cause: Some(Cause::Unavailable), .. }), "{error:?}");
    assert!(!secret.health().is_ready());
    store.fail(None);
    sleep(61 * SECOND).await;
    assert_eq!((version(&secret), secret.health().state), ("v1".to_owned(), State::Fresh));
}

#[tokio::test(start_paused = true)]
async fn the_task_that_refreshes_ends_with_the_last_handle() {
    let store = Store::with_current("v1");
    let secret = store.secret().refresh_every(SECOND).start().await.unwrap();
    let other = secret.clone();
    drop(secret);
    sleep(10 * SECOND).await;
    assert!(store.fetches() > 5, "it went on for the second handle");
    drop(other);
    sleep(SECOND).await;
    let (fetches, handles) = (store.fetches(), store.handles());
    sleep(100 * SECOND).await;
    assert_eq!((store.fetches(), handles), (fetches, 1));
}

/// As on Lambda, where nothing runs between two invocations, or in tests with a runtime each.
#[test]
fn nothing_depends_on_the_task_that_refreshes() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let store = Store::with_current("v1");
    let first = runtime();
    let secret = first.block_on(store.start());
    drop(first);
    store.create("v2");
    store.finish();
    runtime().block_on(async {
        advance(3600 * SECOND).await;
        // What is there is served at once, and the refresh that is late starts.
        assert_eq!(version(&secret), "v1");
        sleep(2 * CALL).await;
        assert_eq!(version(&secret), "v2");
        assert_eq!(store.fetches(), 2);
        let server = Server::accepting(&["v3"]);
        store.create("v3");
        store.finish();
        assert_eq!(server.opens(&secret).await, "v3");
    });
}

#[tokio::test(start_paused = true)]
async fn a_verifier_gets_the_versions_of_all_labels_and_the_source_is_asked_once() {
    let store = Store::with_current("v1");
    let secret = store.start().await;
    let id = |label| {
        let secret = secret.clone();
        async move { secret.version(label).await.unwrap().map(|it| (it.label(), it.version_id().to_owned())) }
    };
    assert_eq!(id(Label::Previous).await, None);
    store.create("v2");
    store.finish();
    store.create("v3");
    sleep(600 * SECOND).await;
    for _ in 0..10 {
        for (label, version) in [(Label::Current, "v2"), (Label::Pending, "v3"), (Label::Previous, "v1")] {
            assert_eq!(id(label).await, Some((label, version.to_owned())));
        }
    }
    // The first read, one for AWSPREVIOUS before, refreshes of AWSCURRENT, and one each for the other labels.
    assert!(store.fetches() <= 7, "{}", store.fetches());
}

#[tokio::test(start_paused = true)]
async fn the_first_use_of_a_version_is_told_once_with_the_time_that_it_took() {
    let (store, updates) = (Store::with_current("v1"), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&updates);
    let builder = store.secret().on_update(move |update| seen.lock().unwrap().push(update.clone()));
    let secret = builder.refresh_every(100 * SECOND).start().await.unwrap();
    let server = Server::accepting(&["v1", "v2"]);
    sleep(10 * SECOND).await;
    for _ in 0..3 {
        server.opens(&secret).await;
    }
    store.create("v2");
    store.finish();
    sleep(101 * SECOND).await;
    server.opens(&secret).await;
    let updates = updates.lock().unwrap();
    let of: Vec<_> = updates.iter().map(|update| (update.version_id.as_str(), update.latency.as_secs())).collect();
    assert!(matches!(of[..], [("v1", 10), ("v2", 11..=31)]), "{of:?}");
    let counts = secret.health().counts;
    assert!(counts.longest_update_milliseconds >= 10_000 && counts.accepted_logins == 4, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn no_setting_is_too_long() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&[]));
    let longest = Duration::MAX;
    let builder = store.secret().refresh_every(longest).serve_stale_for(longest).fetch_within(longest);
    let builder = builder.start_within(longest).search_for(longest).retire_over(longest);
    let secret = builder.forced_fetches(1, longest).retried_logins(1, longest).start().await.unwrap();
    let connecting = tokio::spawn({
        let (secret, server) = (secret.clone(), server.clone());
        async move { server.connect(&secret).await.map_err(drop) }
    });
    sleep(100 * SECOND).await;
    assert!(!connecting.is_finished() && secret.current().is_ok());
    assert!(!secret.is_retired_at_age(longest));
}

/// A virtual machine that was suspended: nothing ran meanwhile, and then the first query comes.
#[test]
fn after_a_freeze_the_first_login_reads_once_instead_of_failing() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (store, server) = (Store::with_current("v1"), Server::accepting(&["v2"]));
    let first = runtime();
    let secret = first.block_on(store.secret().serve_stale_for(1000 * SECOND).start()).unwrap();
    drop(first);
    store.create("v2");
    store.finish();
    runtime().block_on(async {
        advance(3600 * SECOND).await;
        let logins = (0..100).map(|_| {
            let (secret, server) = (secret.clone(), server.clone());
            tokio::spawn(async move { server.opens(&secret).await })
        });
        for login in logins.collect::<Vec<_>>() {
            assert_eq!(login.await.unwrap(), "v2");
        }
        assert_eq!(store.fetches(), 2);
        // If it cannot be read, the error is what it was.
        store.fail(Some(Cause::Unavailable));
        advance(3600 * SECOND).await;
        let error = server.connect(&secret).await.unwrap_err().to_string();
        assert!(error.contains("The last read failed: the service cannot be reached"), "{error}");
    });
}

#[tokio::test(start_paused = true)]
async fn a_verifier_causes_no_storm_while_another_version_is_in_use_or_a_label_cannot_be_read() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&["v2"]));
    let secret = store.start().await;
    store.create("v2");
    assert_eq!(server.opens(&secret).await, "v2");
    let before = store.fetches();
    for _ in 0..1000 {
        let current = secret.version(Label::Current).await.unwrap().unwrap();
        assert_eq!((current.label(), current.version_id()), (Label::Current, "v1"));
    }
    assert_eq!(store.fetches(), before);
    store.fail_for(Label::Previous, Cause::Throttled);
    let began = Instant::now();
    while began.elapsed() < 100 * SECOND {
        let error = secret.version(Label::Previous).await.unwrap_err();
        assert!(matches!(&error, Error::Source(source) if source.cause == Cause::Throttled), "{error:?}");
        sleep(Duration::from_millis(50)).await;
    }
    // After 1, 2, 4 … 64 seconds.
    assert!((before + 7..=before + 9).contains(&store.fetches()), "{}", store.fetches());
}
