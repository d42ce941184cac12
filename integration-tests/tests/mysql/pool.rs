//! Consumers that keep connecting.

use integration_tests::World;
use lab::servers::mysql::MySql;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Logs in over and over with the AWSCURRENT that it has cached, and with the one of now. Rotations here take a tenth of a
/// second instead of days, so the cache is as old as it can get if it is refreshed once between two of them.
pub(crate) struct Pool {
    stop: Arc<AtomicBool>,
    refreshes: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Pool {
    pub(crate) fn start(world: &Arc<World<MySql>>, arn: &str) -> Self {
        let (world, arn) = (Arc::clone(world), arn.to_owned());
        let (stop, refreshes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&refreshes));
        let task = tokio::spawn(async move {
            let mut cached = world.known(&arn).credential("AWSCURRENT").await;
            while !stopped.load(Ordering::SeqCst) {
                let fresh = world.known(&arn).credential("AWSCURRENT").await;
                for (which, (user, password)) in [("cached", &cached), ("fresh", &fresh)] {
                    let number = counted.load(Ordering::SeqCst);
                    assert!(world.opens(user, password).await, "the {which} credential is refused at refresh {number}");
                }
                cached = fresh;
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { stop, refreshes, task }
    }

    /// Waits until the cache has what is current by now.
    pub(crate) async fn refreshed(&self) {
        let enough = self.refreshes.load(Ordering::SeqCst) + 2;
        while self.refreshes.load(Ordering::SeqCst) < enough && !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn finish(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("no login was refused");
    }
}
