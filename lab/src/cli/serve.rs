//! `cargo lab serve`: a local AWS that stays up.

mod elsewhere;
mod intro;
mod live;
mod plan;
mod served;

use super::screen::Screen;
use super::stop::Stop;
use crate::lambda::Follower;
use live::Live;
pub(super) use plan::Serve;
use served::Served;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often the functions' output is looked at: to people, that is at once.
const LOOK: Duration = Duration::from_millis(100);

/// Serves until interrupted.
pub(super) async fn serve(screen: &Screen, options: &Serve) -> Result<(), Stop> {
    let plan = options.plan().map_err(Stop::Usage)?;
    if plan.elsewhere.is_meant() {
        return elsewhere::serve(screen, &plan).await;
    }
    let served = Served::start(screen, &plan).await?;
    // From before rotation is turned on: that already runs testSecret.
    let mut events = served.lab.watch_steps();
    let output = Follower::new(served.lab.host().clone(), served.attached.clone());
    served.show_page();
    let mut live = Live::new(screen, served.only_secret(), output);
    served.enable_rotations().await?;
    served.lab.page().ready();
    while let Ok(event) = events.try_recv() {
        live.show(event);
    }
    intro::introduce(screen, &served);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Steps first: what a function prints comes after the beginning of its step.
            biased;
            event = events.recv() => match event {
                Ok(event) => live.show(event),
                // Too many to show in time: the next ones will do. It does not end while the lab lives.
                Err(_) => tokio::task::yield_now().await,
            },
            _ = look.tick() => live.show_output(),
        }
    }
}
