//! The hosts that a daily look has asked.

use rotation::clock::Deadline;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

/// What a look knows of the hosts that secrets name.
///
/// **Invariant:** a host that does not answer is waited for once in a look. Otherwise whoever owns one host, or writes secrets that name it,
/// could hold up the look at all others. Test: `a_silent_host_is_waited_for_once`.
#[derive(Debug, Default)]
pub(crate) struct Asked(std::sync::Mutex<BTreeMap<String, Arc<Host>>>);

#[derive(Debug, Default)]
struct Host {
    /// Until the host has answered somebody, one asks and the others wait for what comes of it.
    turn: tokio::sync::Mutex<()>,
    has_answered: AtomicBool,
    silent: OnceLock<Code>,
}

impl Asked {
    /// Another look begins.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Asks a host, unless it was silent before in this look. `patience` is the time that an answer may take.
    ///
    /// # Errors
    /// Those of `ask`, or the same code as before.
    pub(crate) async fn once<T>(
        &self,
        host: String,
        (deadline, patience): (Deadline, Duration),
        ask: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let known = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(host).or_default());
        let turn = match known.has_answered.load(Ordering::Relaxed) {
            true => None,
            false => Some(known.turn.lock().await),
        };
        if let Some(code) = known.silent.get() {
            return Err(
                Error::new(*code).with(Fact::What, "it was silent in this look before, and was not asked again")
            );
        }
        // Whoever had little time left has not found out whether the host is silent.
        let has_time = deadline.left() >= patience;
        let asked = ask.await;
        match &asked {
            Err(error) if matches!(error.code(), Code::ServerSilent | Code::ConnectTimeout | Code::HostUnresolved) => {
                if has_time {
                    let _ = known.silent.set(error.code());
                }
            }
            _ => known.has_answered.store(true, Ordering::Relaxed),
        }
        drop(turn);
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    const PATIENCE: Duration = Duration::from_secs(5);

    async fn asked(hosts: &Asked, host: &str, has: Duration, answers: Result<()>, count: &AtomicUsize) -> Option<Code> {
        let ask = async {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(if answers.is_ok() { Duration::ZERO } else { PATIENCE.min(has) }).await;
            answers
        };
        let once = hosts.once(host.to_owned(), (Deadline::after(has), PATIENCE), ask);
        once.await.err().map(|error| error.code())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_host_is_waited_for_once() {
        let (hosts, count) = (Asked::default(), AtomicUsize::new(0));
        let silent = || Err(Error::new(Code::ServerSilent));
        let began = tokio::time::Instant::now();
        let ask = |host| asked(&hosts, host, 2 * PATIENCE, silent(), &count);
        assert_eq!(
            tokio::join!(ask("a"), ask("a"), ask("a")),
            (Some(Code::ServerSilent), Some(Code::ServerSilent), Some(Code::ServerSilent))
        );
        assert_eq!((count.load(Ordering::Relaxed), began.elapsed()), (1, PATIENCE));
        assert_eq!(asked(&hosts, "b", PATIENCE, Ok(()), &count).await, None, "another host is asked");
        hosts.forget();
        assert_eq!(asked(&hosts, "a", PATIENCE, Ok(()), &count).await, None, "the next look asks again");
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn who_had_no_time_calls_no_host_silent() {
        let (hosts, count) = (Asked::default(), AtomicUsize::new(0));
        let silent = Err(Error::new(Code::ServerSilent));
        assert_eq!(asked(&hosts, "a", PATIENCE / 2, silent, &count).await, Some(Code::ServerSilent));
        assert_eq!(asked(&hosts, "a", PATIENCE, Ok(()), &count).await, None);
    }
}
