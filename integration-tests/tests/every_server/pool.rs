//! Consumers that keep connecting, while users rotate whose previous credential goes on working.

use integration_tests::{Options, Server, World, world};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

on! { (postgres, mysql, mariadb):
    a_pool_that_keeps_connecting_is_never_refused_in_twenty_rotations;
}

async fn a_pool_that_keeps_connecting_is_never_refused_in_twenty_rotations<O: Options>(options: O) {
    let world = Arc::new(world(options).await);
    for strategy in world.server.strategies().into_iter().filter(|strategy| strategy.keeps_previous()) {
        let arn = world.user_of(strategy, &format!("{strategy:?}").to_lowercase()).await.arn;
        let pool = Pool::start(&world, &arn);
        let mut during_rotations = 0;
        for _ in 0..20 {
            let before = pool.refreshes();
            world.known(&arn).rotated().await;
            during_rotations += pool.refreshes() - before;
            pool.refreshed().await;
        }
        pool.finish().await;
        assert!(during_rotations >= 10, "{during_rotations} refreshes during 20 rotations are too few");
    }
}

/// Logs in over and over with the AWSCURRENT that it has cached, and with the one of now. Rotations here take a tenth of a
/// second instead of days, so the cache is as old as it can get if it is refreshed once between two of them.
struct Pool {
    stop: Arc<AtomicBool>,
    refreshes: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Pool {
    fn start<S: Server>(world: &Arc<World<S>>, arn: &str) -> Self {
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

    fn refreshes(&self) -> u32 {
        self.refreshes.load(Ordering::SeqCst)
    }

    /// Waits until the cache has what is current by now.
    async fn refreshed(&self) {
        let enough = self.refreshes() + 2;
        while self.refreshes() < enough && !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn finish(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("no login was refused");
    }
}
