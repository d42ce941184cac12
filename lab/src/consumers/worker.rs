//! Somebody who queries all the time.

use super::client::{Client, Failure};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Between two queries of a worker.
const PAUSE: Duration = Duration::from_millis(20);
/// For how long a worker connects again if the way to the server is cut. The lab's cuts are shorter by far.
const PERSISTENCE: Duration = Duration::from_secs(20);
/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(10);
/// So many different errors are told.
const TOLD: usize = 5;

/// What workers have seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The time of each query that was answered, from asking for a connection to the row.
    pub(super) waits: Vec<Duration>,
    /// Queries that were not answered.
    pub(super) failed: usize,
    /// Logins that were cut or refused on their way, and repeated.
    pub(super) reconnected: usize,
    /// What the first failures said.
    pub(super) errors: Vec<String>,
}

/// Workers with one client. They end when this is dropped, in the middle of a query.
pub(super) struct Workers {
    seen: Arc<Mutex<Seen>>,
    stop: tokio::sync::watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Workers {
    pub(super) fn start(client: Box<dyn Client>, number: u32) -> Self {
        let (client, seen): (Arc<dyn Client>, _) = (client.into(), Arc::new(Mutex::new(Seen::default())));
        let stop = tokio::sync::watch::Sender::new(false);
        let work = |_| {
            let (client, seen, stop) = (Arc::clone(&client), Arc::clone(&seen), stop.subscribe());
            tokio::spawn(async move {
                while !*stop.borrow() {
                    query(&*client, &seen).await;
                    tokio::time::sleep(PAUSE).await;
                }
            })
        };
        let tasks = (0..number).map(work).collect();
        Self { seen, stop, tasks }
    }

    /// How many queries have ended so far.
    pub(super) fn ended(&self) -> usize {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.waits.len() + seen.failed
    }

    /// Lets each worker end its query, and tells what all have seen.
    pub(super) async fn finish(self) -> Seen {
        self.stop.send_replace(true);
        for task in self.tasks {
            // A worker that panicked is missed in the numbers, so it is counted as a failure.
            if task.await.is_err() {
                note(&self.seen, |seen| seen.fail("a worker panicked".to_owned()));
            }
        }
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Seen {
    fn fail(&mut self, error: String) {
        self.failed += 1;
        if self.errors.len() < TOLD && !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }
}

async fn query(client: &dyn Client, seen: &Mutex<Seen>) {
    let began = Instant::now();
    loop {
        match client.query().await {
            Ok(()) => return note(seen, |seen| seen.waits.push(began.elapsed())),
            Err(Failure::Unconnected(_)) if began.elapsed() < PERSISTENCE => {
                note(seen, |seen| seen.reconnected += 1);
                tokio::time::sleep(AGAIN).await;
            }
            Err(Failure::Unconnected(error) | Failure::Failed(error)) => return note(seen, |seen| seen.fail(error)),
        }
    }
}

fn note(seen: &Mutex<Seen>, what: impl FnOnce(&mut Seen)) {
    what(&mut seen.lock().unwrap_or_else(PoisonError::into_inner));
}
