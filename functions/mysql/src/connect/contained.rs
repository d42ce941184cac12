//! What a server can do to the driver, and what becomes of it.
//!
//! A server that breaks the protocol makes the driver panic: with an invalid RSA key, a result with too many columns, or an empty row.
//! And the driver keeps all columns of a result before it passes on the first row, however many there are. It makes its own
//! connection, so nobody can count what comes on it. What can be counted is the memory that the process takes meanwhile.

use mysql_async::Conn;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::{fs, mem};

/// By how much the process may grow during one call of the driver. A rotation's calls take less than a megabyte. Without them the
/// function takes about 20 MB, and a Lambda function has at least 128 MB. Between two looks the driver reads a few megabytes at most,
/// because tokio has it pause after so many reads.
const MOST_GROWTH: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Broken {
    /// What the driver says.
    Driver(mysql_async::Error),
    /// What the server did that the driver cannot deal with, in our own words.
    Strange(&'static str),
}

/// Does the driver's work. It ends if the driver panics, or takes too much memory; afterwards nothing uses the connection.
pub(crate) async fn contained<T>(work: impl Future<Output = mysql_async::Result<T>>) -> Result<T, Broken> {
    contained_by(resident, work).await
}

async fn contained_by<T>(
    resident: impl Fn() -> Option<usize>,
    work: impl Future<Output = mysql_async::Result<T>>,
) -> Result<T, Broken> {
    let mut work = pin!(work);
    let before = resident();
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        let grown = resident().zip(before).is_some_and(|(now, before)| now > before.saturating_add(MOST_GROWTH));
        match polled {
            Err(_) => Poll::Ready(Err(Broken::Strange("an answer that breaks the protocol"))),
            Ok(Poll::Pending) if grown => Poll::Ready(Err(Broken::Strange("an answer that does not fit into memory"))),
            Ok(polled) => polled.map_err(Broken::Driver),
        }
    })
    .await
}

/// Closes a connection in the middle of an answer. The driver's own way is to read the rest first, in a task of its own, and that may have
/// no end. On a thread without a runtime there is no such task.
pub(crate) fn abandon(conn: Option<Conn>) {
    let held = Arc::new(Mutex::new(conn));
    let handed_over = Arc::clone(&held);
    let thread = thread::Builder::new().spawn(move || drop(handed_over.lock().map(|mut conn| conn.take())));
    if thread.is_err() {
        // No thread could be started. Dropped here, the connection would be read on. So it stays until the process ends.
        mem::forget(held);
    }
}

/// The memory that the process takes, in bytes (`RssAnon` in proc(5), which leaves out the program itself). `None` on a system without
/// it: functions run on Linux.
fn resident() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.trim_end().parse::<usize>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn work_that_takes_too_much_memory_is_ended() {
        // Not of the whole process, in which other tests run.
        let (taken, polls) = (Cell::new(0), Cell::new(0));
        let greedy = |each: usize| {
            taken.set(0);
            polls.set(0);
            poll_fn({
                let (taken, polls) = (&taken, &polls);
                move |context| {
                    taken.set(taken.get() + each);
                    polls.set(polls.get() + 1);
                    context.waker().wake_by_ref();
                    if polls.get() == 50 { Poll::Ready(Ok(())) } else { Poll::Pending }
                }
            })
        };
        let measured = || Some((20 << 20) + taken.get());
        assert!(contained_by(measured, greedy(MOST_GROWTH / 50)).await.is_ok());
        assert!(matches!(contained_by(measured, greedy(MOST_GROWTH / 5)).await, Err(Broken::Strange(_))));
        assert_eq!(polls.get(), 6);
        assert!(contained_by(|| None, greedy(MOST_GROWTH)).await.is_ok());
    }

    #[test]
    fn the_memory_of_a_process_is_known() {
        // Nothing more is taken here: that would end the logins of other tests.
        assert!((1 << 16..1 << 34).contains(&resident().unwrap()));
    }
}
