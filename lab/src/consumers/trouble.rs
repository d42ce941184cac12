//! What goes wrong meanwhile: on the way to the server, and at Secrets Manager.

use crate::disturb::{Disturb, Fault};
use crate::relay::{Mode, Relay};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng as _};
use std::time::Duration;
use tokio::time::sleep;

/// The longest pause between two troubles.
const PAUSE: u64 = 150;
/// How long a trouble on the way to the server lasts, at most.
const LASTING: u64 = 60;
/// A login's second flight is still part of the handshake with each of the servers. A cut there loses no query.
const CUT: Mode = Mode::CutAfter(1);
const SLOW: Mode = Mode::Delay(Duration::from_millis(15));

/// How often each kind of trouble was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Troubles {
    /// Times in which new connections were cut, delayed or refused.
    pub ways: usize,
    /// Calls of GetSecretValue that were throttled, delayed, failed, or lost their answer.
    pub calls: usize,
}

/// Makes trouble until it is dropped. The function's own reads meet the same trouble as the applications'.
pub(super) async fn trouble(relay: &Relay, disturb: &Disturb, seed: u64, made: &std::sync::Mutex<Troubles>) {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        sleep(Duration::from_millis(random.random_range(20..PAUSE))).await;
        if random.random_bool(0.5) {
            let mode = *pick(&mut random, &[CUT, SLOW, SLOW, Mode::Refuse]);
            // It fails only if the relay has stopped, and then nothing is measured any more.
            let _ = relay.set(mode).await;
            sleep(Duration::from_millis(random.random_range(10..LASTING))).await;
            let _ = relay.set(Mode::Forward).await;
            count(made, |made| made.ways += 1);
        } else if disturb.waiting() == 0 {
            // One at a time: a call that fails three times in a row is an outage, which ends a rotation.
            let delay = Fault::Delay(Duration::from_millis(100));
            let fault =
                *pick(&mut random, &[Fault::Throttle, delay, Fault::Fail(503), Fault::LoseReply, Fault::StaleRead]);
            disturb.on_next("GetSecretValue", fault);
            count(made, |made| made.calls += 1);
        }
    }
}

fn pick<'a, T>(random: &mut impl Rng, of: &'a [T]) -> &'a T {
    let at = random.random_range(0..of.len());
    // The index is within the slice, and no slice here is empty.
    of.get(at).unwrap_or_else(|| unreachable!("an index within the slice"))
}

fn count(made: &std::sync::Mutex<Troubles>, what: impl FnOnce(&mut Troubles)) {
    what(&mut made.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
}
