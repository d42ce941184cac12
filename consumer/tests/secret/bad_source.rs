//! Sources and values that are of no use.

use crate::support::{Server, Store};
use lockstep_secret::{Cause, ConnectError, Error, Label, ValueError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_read_at_all_is_an_error_at_once() {
    for cause in [Cause::NotFound, Cause::Denied, Cause::Invalid] {
        let store = Store::with_current("v1");
        store.fail(Some(cause));
        let error = store.secret().start().await.unwrap_err();
        let Error::Source(source) = &error else { panic!("{error:?}") };
        assert_eq!((source.cause, source.secret.as_str(), store.fetches()), (cause, "app", 1));
        assert_eq!(error.to_string(), format!("AWSCURRENT of the secret app could not be read from the test: {cause}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_down_at_the_start_is_asked_again_for_a_while() {
    for cause in [Cause::Unavailable, Cause::Throttled] {
        let store = Store::with_current("v1");
        store.fail(Some(cause));
        let began = Instant::now();
        let starting = tokio::spawn(store.secret().start_within(20 * SECOND).start());
        sleep(5 * SECOND).await;
        store.fail(None);
        let secret = starting.await.unwrap().expect("it starts when the source is back");
        assert!(began.elapsed() < 8 * SECOND, "{:?}", began.elapsed());
        drop(secret);
        store.fail(Some(cause));
        let began = Instant::now();
        let error = store.secret().start_within(20 * SECOND).start().await.unwrap_err();
        assert!(matches!(&error, Error::Source(source) if source.cause == cause), "{error:?}");
        assert!((17..=20).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        assert!(store.fetches() < 40, "{}", store.fetches());
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_without_a_value_is_an_error_of_its_own() {
    let store = Store::default();
    let error = store.secret().start().await.unwrap_err();
    assert_eq!(error, Error::NoValue { secret: "app".to_owned() });
}

#[tokio::test(start_paused = true)]
async fn a_label_that_is_taken_away_later_leaves_the_version_in_use() {
    let store = Store::with_current("v1");
    let secret = store.start().await;
    store.label(Label::Current, None);
    sleep(600 * SECOND).await;
    assert_eq!(secret.current().unwrap().version_id(), "v1");
    assert_eq!(secret.health().cause, Some(Cause::NotFound));
}

#[tokio::test(start_paused = true)]
async fn a_value_without_what_is_needed_is_an_error_that_names_the_key() {
    let connect = |value: &'static str| async move {
        let store = Store::with_current("v1");
        store.value(value);
        let secret = store.start().await;
        let attempt = |snapshot: lockstep_secret::Snapshot| async move {
            snapshot.password()?;
            Ok::<_, lockstep_secret::Attempt<std::io::Error>>(())
        };
        let error = secret.attempt_with(attempt).await.unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
        // Another version might have had it, and no patience is lost if none has.
        assert_eq!(store.forced(), Label::ALL);
        match error {
            ConnectError::Secret(Error::Value(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(connect("hunter2").await, ValueError::NotAnObject { .. }));
    let missing = connect(r#"{"pass": "hunter2"}"#).await;
    assert!(matches!(missing, ValueError::MissingKey { key, .. } if key == "password"));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_does_not_answer_is_unavailable() {
    struct Silent;
    #[async_trait::async_trait]
    impl lockstep_secret::Source for Silent {
        fn name(&self) -> String {
            "app".to_owned()
        }
        fn origin(&self) -> &'static str {
            "the test"
        }
        async fn fetch(&self, _: Label, _: bool) -> Result<Option<lockstep_secret::source::Fetched>, Cause> {
            std::future::pending().await
        }
    }
    let began = Instant::now();
    let builder = lockstep_secret::RotatingSecret::builder(Silent).start_within(12 * SECOND).fetch_within(5 * SECOND);
    let error = builder.start().await.unwrap_err();
    assert!(matches!(&error, Error::Source(source) if source.cause == Cause::Unavailable), "{error:?}");
    assert!(began.elapsed() < 18 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_is_an_error_and_is_asked_again_later() {
    let store = Store::with_current("v1");
    let secret = store.start().await;
    store.panic(true);
    assert_eq!(secret.refresh().await.unwrap_err().cause, Cause::Stopped);
    assert_eq!(secret.current().unwrap().version_id(), "v1");
    sleep(2 * SECOND).await;
    assert_eq!((secret.health().failed_reads, secret.health().cause, store.fetches()), (0, None, 3));
}

#[tokio::test(start_paused = true)]
async fn nothing_that_can_be_printed_holds_a_value() {
    let (store, server) = (Store::with_current("hunter2"), Server::default());
    store.value(r#"{"username": "app", "password": "xyzzy"}"#);
    store.create("v2");
    let secret = store.secret().search_for(SECOND).start().await.unwrap();
    let error = server.connect(&secret).await.unwrap_err();
    let snapshot = secret.current().unwrap();
    let printed = [
        format!("{error:?} {error}"),
        format!("{secret:?} {:?}", secret.health()),
        format!("{snapshot:?} {:?}", snapshot.text()),
        serde_json::to_string(&secret.health()).unwrap(),
        format!("{:?}", secret.version(Label::Pending).await),
    ];
    for text in printed {
        assert!(!text.contains("xyzzy") && !text.is_empty(), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_current_value_without_a_password_does_not_hide_a_version_that_works() {
    let (store, server) = (Store::with_current("v1"), Server::accepting(&["v1"]));
    let secret = store.start().await;
    store.create("v2");
    store.finish();
    let attempt = |snapshot: lockstep_secret::Snapshot| async move {
        match snapshot.version_id() {
            // As of a value without the field.
            "v2" => Err(lockstep_secret::Attempt::<std::io::Error>::Unusable(snapshot.field("missing").unwrap_err())),
            version => Ok(version.to_owned()),
        }
    };
    secret.refresh().await.unwrap();
    assert_eq!(secret.attempt_with(attempt).await.unwrap(), "v1");
    assert_eq!(server.opens(&secret).await, "v1");
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_current_version_does_not_hide_the_pending_one() {
    for cause in [Cause::Invalid, Cause::NotFound] {
        let (store, server) = (Store::with_current("v1"), Server::accepting(&["v2"]));
        let secret = store.start().await;
        store.create("v2");
        store.fail_for(Label::Current, cause);
        let began = Instant::now();
        assert_eq!(server.opens(&secret).await, "v2");
        assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    }
}
