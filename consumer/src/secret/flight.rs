//! One call for all who ask at the same time.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// A call that is under way at most once.
pub(crate) struct Flight<T>(Mutex<Option<watch::Receiver<Option<T>>>>);

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// Joins the call that is under way, or starts one. `None` if the call ended without a result: it panicked, or its runtime ended.
    ///
    /// The call is a task of its own: a caller that goes away leaves the others their answer.
    pub(crate) async fn join<F: Future<Output = T> + Send + 'static>(&self, call: impl FnOnce() -> F) -> Option<T> {
        let mut answer = self.board(call);
        // An error means that the task is gone.
        let seen = answer.wait_for(Option::is_some).await.ok()?;
        seen.clone()
    }

    fn board<F: Future<Output = T> + Send + 'static>(&self, call: impl FnOnce() -> F) -> watch::Receiver<Option<T>> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(under_way) = slot.as_ref().filter(|answer| is_under_way(answer)) {
            return under_way.clone();
        }
        let (sender, answer) = watch::channel(None);
        let call = call();
        tokio::spawn(async move { sender.send_replace(Some(call.await)) });
        *slot = Some(answer.clone());
        answer
    }
}

fn is_under_way<T>(answer: &watch::Receiver<Option<T>>) -> bool {
    answer.has_changed().is_ok() && answer.borrow().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_at_once_share_a_call_and_those_who_ask_later_do_not() {
        let (flight, calls) = (Arc::new(Flight::default()), Arc::new(AtomicUsize::new(0)));
        let ask = || {
            let (flight, calls) = (Arc::clone(&flight), Arc::clone(&calls));
            async move {
                let call = || async move {
                    sleep(Duration::from_secs(1)).await;
                    calls.fetch_add(1, Ordering::SeqCst)
                };
                flight.join(call).await
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
            async move { flight.join(call).await }
        });
        tokio::task::yield_now().await;
        first.abort();
        assert_eq!(flight.join(|| async { 8 }).await, Some(7));
    }

    #[tokio::test]
    async fn a_call_that_panics_ends_for_all_and_the_next_one_starts() {
        let flight = Flight::default();
        assert_eq!(flight.join(|| async { panic!("on purpose") }).await, None::<u32>);
        assert_eq!(flight.join(|| async { 1 }).await, Some(1));
    }
}
