//! When connections of an old version close.

use crate::support::Store;
use lockstep_secret::{RotatingSecret, Ticket};
use std::time::Duration;
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

async fn secret(store: &Store) -> RotatingSecret {
    store.secret().retire_over(100 * SECOND).start().await.expect("the secret is read")
}

async fn rotate(store: &Store, secret: &RotatingSecret, version: &str) {
    store.create(version);
    store.finish();
    secret.refresh().await.expect("the secret is read");
}

fn tickets(secret: &RotatingSecret) -> Vec<Ticket> {
    let snapshot = secret.current().unwrap();
    (0..100).map(|_| Ticket::new(&snapshot)).collect()
}

fn retired(secret: &RotatingSecret, tickets: &[Ticket]) -> usize {
    tickets.iter().filter(|ticket| secret.is_retired(ticket)).count()
}

#[tokio::test(start_paused = true)]
async fn connections_of_an_old_version_close_one_after_the_other() {
    let store = Store::with_current("v1");
    let secret = secret(&store).await;
    let old = tickets(&secret);
    sleep(1000 * SECOND).await;
    assert_eq!(retired(&secret, &old), 0, "the version is in use");
    rotate(&store, &secret, "v2").await;
    let new = tickets(&secret);
    let mut counts = Vec::new();
    for _ in 0..10 {
        counts.push(retired(&secret, &old));
        sleep(10 * SECOND).await;
    }
    counts.push(retired(&secret, &old));
    assert!(counts.is_sorted() && counts[0] < 5 && counts[10] == 100, "{counts:?}");
    assert!((30..70).contains(&counts[5]), "not at a pace: {counts:?}");
    assert_eq!(retired(&secret, &new), 0);
    // A version of long ago: its connections close at once.
    for version in 3..20 {
        rotate(&store, &secret, &format!("v{version}")).await;
    }
    assert_eq!(retired(&secret, &new), 100);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_found_in_the_gap_and_becomes_current_is_the_same_one() {
    let store = Store::with_current("v1");
    let secret = secret(&store).await;
    let server = crate::support::Server::accepting(&["v2"]);
    store.create("v2");
    server.opens(&secret).await;
    let pending = tickets(&secret);
    store.finish();
    secret.refresh().await.unwrap();
    sleep(1000 * SECOND).await;
    assert_eq!(retired(&secret, &pending), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_only_knows_ages_closes_what_was_opened_before_the_change() {
    let store = Store::with_current("v1");
    let secret = secret(&store).await;
    sleep(100 * SECOND).await;
    rotate(&store, &secret, "v2").await;
    sleep(50 * SECOND).await;
    // Connections that were opened at a hundred moments before the change, and after it.
    let due =
        |ages: std::ops::Range<u64>| ages.filter(|age| secret.is_retired_at_age(Duration::from_secs(*age))).count();
    assert!((20..80).contains(&due(51..151)), "{}", due(51..151));
    assert_eq!(due(0..50), 0);
    sleep(60 * SECOND).await;
    let due =
        |ages: std::ops::Range<u64>| ages.filter(|age| secret.is_retired_at_age(Duration::from_secs(*age))).count();
    assert_eq!((due(111..211), due(0..110)), (100, 0));
}
