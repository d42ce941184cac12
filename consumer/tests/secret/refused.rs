//! What happens when the server refuses a credential.

use crate::support::{LoginError, Server, Store};
use lockstep_secret::{Cause, ConnectError, Label, RotatingSecret};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

fn in_use(secret: &RotatingSecret) -> (Label, String) {
    let snapshot = secret.current().expect("it is served");
    (snapshot.label(), snapshot.version_id().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_version_that_was_missed_is_read_at_once() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&["v2"]));
    let secret = store.start().await;
    store.create("v2");
    store.finish();
    let began = Instant::now();
    assert_eq!(server.opens(&secret).await, "v2");
    assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
    assert_eq!(server.logins(), ["v1", "v2"]);
    assert_eq!(store.forced(), [Label::Current]);
}

#[tokio::test(start_paused = true)]
async fn in_the_gap_of_a_rotation_the_pending_version_is_used_by_everybody() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&["v2"]));
    let secret = store.start().await;
    store.create("v2");
    assert_eq!(server.opens(&secret).await, "v2");
    assert_eq!(store.forced(), [Label::Current, Label::Pending]);
    assert_eq!(in_use(&secret), (Label::Pending, "v2".to_owned()));
    assert!(!secret.health().refused);
    // Those who come later ask nobody, and neither does a refresh that still sees the old AWSCURRENT take it away.
    for _ in 0..10 {
        assert_eq!(server.opens(&secret).await, "v2");
    }
    sleep(600 * SECOND).await;
    assert_eq!(server.opens(&secret).await, "v2");
    assert_eq!(server.logins().iter().filter(|password| *password == "v1").count(), 1);
    store.finish();
    sleep(301 * SECOND).await;
    assert_eq!(in_use(&secret), (Label::Current, "v2".to_owned()));
    assert_eq!(secret.health().counts.changes, 1);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_is_given_up_leads_back_to_the_current_version() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&["v2"]));
    let secret = store.start().await;
    store.create("v2");
    assert_eq!(server.opens(&secret).await, "v2");
    // Somebody sets AWSCURRENT's password again, and removes AWSPENDING.
    server.accept(&["v1"]);
    store.label(Label::Pending, None);
    sleep(SECOND).await;
    assert_eq!(server.opens(&secret).await, "v1");
    assert_eq!(in_use(&secret), (Label::Current, "v1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_previous_version_is_used_for_a_while_if_it_alone_works() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&["v1"]));
    let secret = store.start().await;
    store.create("v2");
    store.finish();
    secret.refresh().await.unwrap();
    assert_eq!(in_use(&secret).1, "v2");
    assert_eq!(server.opens(&secret).await, "v1");
    assert_eq!(in_use(&secret), (Label::Previous, "v1".to_owned()));
    server.accept(&["v1", "v2"]);
    sleep(40 * SECOND).await;
    assert_eq!(in_use(&secret), (Label::Current, "v2".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_works_only_later_is_found_when_it_does() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&[]));
    let secret = store.start().await;
    store.create("v2");
    let waiting = tokio::spawn({
        let (secret, server) = (secret.clone(), server.clone());
        async move { server.opens(&secret).await }
    });
    sleep(5 * SECOND).await;
    server.accept(&["v2"]);
    store.finish();
    let began = Instant::now();
    assert_eq!(waiting.await.unwrap(), "v2");
    assert!(began.elapsed() < 3 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_dead_password_ends_in_an_error_that_says_what_was_tried() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&[]));
    store.label(Label::Previous, Some("v0"));
    let secret = store.secret().search_for(20 * SECOND).start().await.unwrap();
    let began = Instant::now();
    let error = server.connect(&secret).await.unwrap_err();
    assert!((20..21).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let text = error.to_string();
    assert!(
        text.starts_with(
            "the credential in the secret app is refused: tried AWSCURRENT (version v1), AWSPREVIOUS (version v0)."
        ),
        "{text}"
    );
    assert!(secret.health().refused && !secret.health().is_ready());
    assert_eq!(error.into_inner(), Some(LoginError::Refused));
}

/// Neither a storm on Secrets Manager nor a locked account: for an hour, a thousand tasks try to connect all the time.
#[tokio::test(start_paused = true)]
async fn a_dead_password_becomes_neither_a_storm_nor_many_logins() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&[]));
    store.label(Label::Previous, Some("v0"));
    store.create("v2");
    let secret = store.secret().serve_stale_for(SECOND * 100_000).start().await.unwrap();
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let (secret, server) = (secret.clone(), server.clone());
            tokio::spawn(async move {
                loop {
                    assert!(matches!(server.connect(&secret).await, Err(ConnectError::Refused(_))));
                }
            })
        })
        .collect();
    sleep(Duration::from_millis(100)).await;
    let at_once = server.logins().len();
    sleep(3600 * SECOND).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    // Those that were under way when the first one was refused, and the search's own.
    assert!((1000..=1003).contains(&at_once), "{at_once}");
    let later = server.logins().len() - at_once;
    // One in 20 seconds, and a few at the beginning.
    assert!((100..=190).contains(&later), "{later}");
    // Two a second, and twenty at the beginning.
    let forced = store.forced().len();
    assert!((1000..=7300).contains(&forced), "{forced}");
}

/// For servers that lock an account after a few refused logins.
#[tokio::test(start_paused = true)]
async fn the_logins_with_a_dead_password_can_be_limited_further() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&[]));
    store.create("v2");
    let secret = store.secret().retried_logins(1, 1000 * SECOND).start().await.unwrap();
    let began = Instant::now();
    while began.elapsed() < 3600 * SECOND {
        assert!(server.connect(&secret).await.is_err());
    }
    // Each version once, one more, and then one in 1000 seconds.
    assert!((4..=6).contains(&server.logins().len()), "{:?}", server.logins());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_says_nothing_about_a_password() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&["v1"]));
    let secret = store.start().await;
    store.create("v2");
    server.down(true);
    for _ in 0..100 {
        let error = server.connect(&secret).await.unwrap_err();
        assert!(matches!(error, ConnectError::Failed(LoginError::Unreachable)), "{error:?}");
    }
    assert_eq!((store.forced(), secret.health().counts.refused_logins), (vec![], 0));
    server.down(false);
    assert_eq!(server.opens(&secret).await, "v1");
}

#[tokio::test(start_paused = true)]
async fn a_search_that_is_dropped_is_continued_by_the_next() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&[]));
    let secret = store.start().await;
    let connect = || {
        let (secret, server) = (secret.clone(), server.clone());
        tokio::spawn(async move { server.opens(&secret).await })
    };
    let (first, second) = (connect(), connect());
    sleep(SECOND).await;
    first.abort();
    sleep(SECOND).await;
    server.accept(&["v2"]);
    store.create("v2");
    let began = Instant::now();
    assert_eq!(second.await.unwrap(), "v2");
    assert!(began.elapsed() < 3 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_search_says_when_secrets_manager_cannot_be_asked_and_goes_on_when_it_can() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&["v2"]));
    let secret = store.secret().search_for(10 * SECOND).start().await.unwrap();
    store.create("v2");
    store.fail(Some(Cause::Denied));
    let text = server.connect(&secret).await.unwrap_err().to_string();
    assert!(
        text.contains(
            "AWSCURRENT of the secret app could not be read from the test: reading the secret is not allowed"
        ),
        "{text}"
    );
    let waiting = tokio::spawn({
        let (secret, server) = (secret.clone(), server.clone());
        async move { server.opens(&secret).await }
    });
    sleep(2 * SECOND).await;
    store.fail(None);
    assert_eq!(waiting.await.unwrap(), "v2");
}

/// The process of a fleet that is refused at the moment of a rotation, in a hundred tasks.
#[tokio::test(start_paused = true)]
async fn a_hundred_tasks_that_are_refused_at_once_share_one_search() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&["v2"]));
    let secret = store.start().await;
    store.create("v2");
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (secret, server) = (secret.clone(), server.clone());
            tokio::spawn(async move { server.opens(&secret).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "v2");
    }
    assert_eq!(store.forced(), [Label::Current, Label::Pending]);
    assert_eq!(server.logins().len(), 200);
}

/// A refusal can be wrong. While Secrets Manager is down, the version in use is all there is.
#[tokio::test(start_paused = true)]
async fn one_wrong_refusal_does_not_stop_connections_while_secrets_manager_is_down() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&[]));
    let secret = store.start().await;
    store.fail(Some(Cause::Unavailable));
    let waiting = tokio::spawn({
        let (secret, server) = (secret.clone(), server.clone());
        async move { server.opens(&secret).await }
    });
    sleep(Duration::from_millis(20)).await;
    server.accept(&["v1"]);
    let began = Instant::now();
    assert_eq!(waiting.await.unwrap(), "v1");
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

/// A server that accepts a TCP connection, and says nothing any more.
#[tokio::test(start_paused = true)]
async fn a_silent_server_does_not_keep_the_turn_and_is_not_called_a_refusal() {
    let store = Store::with_current("v1");
    store.create("v2");
    let secret = store.secret().search_for(10 * SECOND).start().await.unwrap();
    let connect = || {
        let secret = secret.clone();
        tokio::spawn(async move {
            let connect = |snapshot: lockstep_secret::Snapshot| async move {
                match snapshot.version_id() {
                    "v1" => Err(LoginError::Refused),
                    _ => std::future::pending::<Result<(), _>>().await,
                }
            };
            secret.connect_with(connect, |error| *error == LoginError::Refused).await.unwrap_err()
        })
    };
    let began = Instant::now();
    let first = connect();
    sleep(SECOND).await;
    let later = [connect(), connect(), connect()];
    // It has seen a refusal itself.
    assert!(matches!(first.await.unwrap(), ConnectError::Refused(_)));
    let mut unanswered = 0;
    for one in later {
        match one.await.unwrap() {
            ConnectError::NoAnswer { .. } => unanswered += 1,
            ConnectError::Refused(refused) => assert!(!refused.tried.is_empty(), "{refused}"),
            other => panic!("{other}"),
        }
    }
    // One of them got the turn, and saw the refusal again.
    assert_eq!(unanswered, 2);
    assert!(began.elapsed() < 12 * SECOND, "{:?}", began.elapsed());
    // The turn is free again.
    let found = secret.connect_with(|_| async { Ok::<_, LoginError>(()) }, |_| true).await;
    assert!(found.is_ok());
}

#[tokio::test(start_paused = true)]
async fn those_who_waited_connect_side_by_side_once_the_version_is_found() {
    let store = Store::with_current("v1");
    store.create("v2");
    let secret = store.start().await;
    let began = Instant::now();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let secret = secret.clone();
            tokio::spawn(async move {
                let connect = |snapshot: lockstep_secret::Snapshot| async move {
                    sleep(SECOND).await;
                    if snapshot.version_id() == "v2" { Ok(()) } else { Err(LoginError::Refused) }
                };
                secret.connect_with(connect, |error| *error == LoginError::Refused).await
            })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().is_ok());
    }
    // One refusal, the search's login, and that of all the others.
    assert!(began.elapsed() < 4 * SECOND, "{:?}", began.elapsed());
}

/// Somebody moves AWSCURRENT back and forth, and the server knows neither version.
#[tokio::test(start_paused = true)]
async fn labels_that_move_back_and_forth_give_no_logins() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&[]));
    let builder = store.secret().search_for(SECOND).retried_logins(2, 1000 * SECOND);
    let secret = builder.start().await.unwrap();
    for round in 0..1000 {
        store.label(Label::Current, Some(if round % 2 == 0 { "v2" } else { "v1" }));
        secret.refresh().await.unwrap();
        assert!(server.connect(&secret).await.is_err());
    }
    // Each version once, once more when it came back for the first time, two more, and one in 1000 seconds.
    assert!((5..=8).contains(&server.logins().len()), "{:?}", server.logins());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_makes_a_version_at_each_read_gives_no_logins_by_that() {
    let (store, server) = (Store::with_current("any"), Server::accepting(&[]));
    store.make_versions();
    let builder = store.secret().search_for(SECOND).retried_logins(2, 1000 * SECOND);
    let secret = builder.start().await.unwrap();
    let began = Instant::now();
    while began.elapsed() < 500 * SECOND {
        assert!(server.connect(&secret).await.is_err());
    }
    assert!((3..=4).contains(&server.logins().len()), "{:?}", server.logins());
    // A token that is new is tried, and works.
    let (store, server) = (Store::with_current("any"), Server::accepting(&["token-2"]));
    store.make_versions();
    let secret = store.start().await;
    assert_eq!(server.opens(&secret).await, "token-2");
}
