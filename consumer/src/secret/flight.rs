//! One call for all who ask at the same time.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// A call that is under way at most once.
pub(crate) struct Flight<T>(Mutex<Option<Call<T>>>);

#[derive(Clone)]
struct Call<T> {
    answer: watch::Receiver<Option<T>>,
    /// The call ends before this. If it does not, its runtime is not driven any more, and nobody waits for it.
    stuck_at: Instant,
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// Joins the call that is under way, or starts one that ends within a time. `None` if the call ended without a result: it panicked, or
    /// its runtime ended. A call whose runtime stands still is replaced by a new one.
    ///
    /// The call is a task of its own: a caller that goes away leaves the others their answer.
    pub(crate) async fn join<F: Future<Output = T> + Send + 'static>(
        &self,
        within: Duration,
        call: impl Fn() -> F,
    ) -> Option<T> {
        for _ in 0..2 {
            let mut joined = self.board(within, &call);
            if let Ok(seen) = timeout_at(joined.stuck_at, joined.answer.wait_for(Option::is_some)).await {
                // An error means that the task is gone.
                return seen.ok()?.clone();
            }
        }
        None
    }

    /// Whether there is a call to join.
    pub(crate) fn is_under_way(&self) -> bool {
        self.slot().as_ref().is_some_and(Call::is_under_way)
    }

    fn board<F: Future<Output = T> + Send + 'static>(&self, within: Duration, call: impl Fn() -> F) -> Call<T> {
        let mut slot = self.slot();
        if let Some(under_way) = slot.as_ref().filter(|call| call.is_under_way()) {
            return under_way.clone();
        }
        let (sender, answer) = watch::channel(None);
        let call = call();
        tokio::spawn(async move { sender.send_replace(Some(call.await)) });
        let started = Call { answer, stuck_at: Instant::now() + within };
        *slot = Some(started.clone());
        started
    }

    fn slot(&self) -> MutexGuard<'_, Option<Call<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Call<T> {
    fn is_under_way(&self) -> bool {
        self.answer.has_changed().is_ok() && self.answer.borrow().is_none() && Instant::now() < self.stuck_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::time::sleep;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_at_once_share_a_call_and_those_who_ask_later_do_not() {
        let (flight, calls) = (Arc::new(Flight::default()), Arc::new(AtomicUsize::new(0)));
        let ask = || {
            let (flight, calls) = (Arc::clone(&flight), Arc::clone(&calls));
            async move {
                let call = || {
                    let calls = Arc::clone(&calls);
                    async move {
                        sleep(Duration::from_secs(1)).await;
                        calls.fetch_add(1, Ordering::SeqCst)
                    }
                };
                flight.join(MINUTE, call).await
            }
        };
        let all: Vec<_> = (0..1000).map(|_| tokio::spawn(ask())).collect();
        for one in all {
            assert_eq!(one.await.unwrap(), Some(0));
        }
        assert_eq!(ask().await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_away_takes_no_answer_with_it() {
        let flight = Arc::new(Flight::default());
        let call = || async {
            sleep(Duration::from_secs(1)).await;
            7
        };
        let first = tokio::spawn({
            let flight = Arc::clone(&flight);
            async move { flight.join(MINUTE, call).await }
        });
        tokio::task::yield_now().await;
        first.abort();
        assert_eq!(flight.join(MINUTE, || async { 8 }).await, Some(7));
    }

    #[tokio::test]
    async fn a_call_that_panics_ends_for_all_and_the_next_one_starts() {
        let flight = Flight::default();
        assert_eq!(flight.join(MINUTE, || async { panic!("on purpose") }).await, None::<u32>);
        assert_eq!(flight.join(MINUTE, || async { 1 }).await, Some(1));
    }

    /// As in a program that starts a runtime for a while and then leaves it alone.
    #[test]
    fn a_call_on_a_runtime_that_nobody_drives_is_replaced() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (left, flight) = (runtime(), Arc::new(Flight::default()));
        let within = Duration::from_millis(200);
        left.block_on(async {
            let flight = Arc::clone(&flight);
            tokio::spawn(async move { flight.join(within, std::future::pending::<u32>).await });
            tokio::task::yield_now().await;
        });
        assert!(flight.is_under_way());
        assert_eq!(runtime().block_on(flight.join(within, || async { 1 })), Some(1));
    }
}
