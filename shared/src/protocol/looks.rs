//! How one invocation looks at many things: several at a time, none of them for long, and never the same ones last.

use crate::clock::Deadline;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const DAY: u64 = 86_400;
/// 2^64 divided by the golden ratio. Multiples of it, modulo 2^64, lie far from each other, however many there are (Knuth, The Art of
/// Computer Programming, volume 3, section 6.4).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// What the looks have brought.
#[derive(Debug)]
pub(crate) struct Looks<'a, T, R> {
    /// Each thing that was looked at, with what that brought, in the order of the things.
    pub(crate) brought: Vec<(&'a T, R)>,
    /// Those for which there was no time.
    pub(crate) left_out: Vec<&'a T>,
}

/// Looks at all things, six at a time. None is begun when no more than `least` is left: a look that cannot end brings nothing.
///
/// **Invariant:** whoever answers late holds up few others, and not the same ones each day. Otherwise whoever writes one secret could hide
/// all behind it for ever. Test: `one_that_is_slow_holds_up_no_other`.
pub(crate) async fn side_by_side<'a, T: Sync, R: Send, F: Future<Output = R>>(
    all: &[&'a T],
    now: Duration,
    deadline: Deadline,
    least: Duration,
    look: impl Fn(&'a T) -> F,
) -> Looks<'a, T, R> {
    let order: Vec<_> = all.iter().copied().enumerate().collect();
    let order = beginning_elsewhere(order, now);
    let (next, brought) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let lane = || async {
        while deadline.left() > least {
            let Some((number, one)) = order.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            // On the heap, because all lanes would be as large as a look.
            let seen = Box::pin(look(one)).await;
            brought.lock().unwrap_or_else(PoisonError::into_inner).push((*number, *one, seen));
        }
    };
    tokio::join!(lane(), lane(), lane(), lane(), lane(), lane());
    let mut brought = brought.into_inner().unwrap_or_else(PoisonError::into_inner);
    brought.sort_by_key(|(number, ..)| *number);
    let left_out = order.iter().skip(next.into_inner()).map(|(_, one)| *one).collect();
    Looks { brought: brought.into_iter().map(|(_, one, seen)| (one, seen)).collect(), left_out }
}

/// The things in an order that begins at another one each day. Days that follow each other begin far apart, so that whatever a day leaves out
/// is soon among the first.
pub(crate) fn beginning_elsewhere<T>(mut all: Vec<T>, now: Duration) -> Vec<T> {
    let turn = (now.as_secs() / DAY).wrapping_mul(GOLDEN);
    let count = u128::try_from(all.len()).unwrap_or_default();
    let first = usize::try_from((u128::from(turn) * count) >> 64).unwrap_or_default();
    all.rotate_left(first);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_that_is_slow_holds_up_no_other() {
        let slow = Mutex::new(Vec::new());
        let all: Vec<u64> = (0..100).collect();
        let all: Vec<_> = all.iter().collect();
        let deadline = Deadline::after(60 * SECOND);
        let look = |number: &u64| {
            let number = *number;
            let slow = &slow;
            async move {
                if number < 5 {
                    slow.lock().unwrap().push(number);
                    tokio::time::sleep(50 * SECOND).await;
                }
                number
            }
        };
        let looks = side_by_side(&all, Duration::ZERO, deadline, 5 * SECOND, look).await;
        assert_eq!(slow.lock().unwrap().len(), 5);
        let brought: Vec<_> = looks.brought.iter().map(|(_, number)| *number).collect();
        assert_eq!(brought, (0..100).collect::<Vec<_>>());
        assert!(looks.left_out.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_day_leaves_out_is_looked_at_on_another() {
        let all: Vec<u64> = (0..300).collect();
        let all: Vec<_> = all.iter().collect();
        let mut looked_at = std::collections::BTreeSet::new();
        // All are slow: in 60 s six lanes look at 66.
        for day in 0..10 {
            let look = async |number: &u64| {
                tokio::time::sleep(5 * SECOND).await;
                *number
            };
            let looks =
                side_by_side(&all, Duration::from_secs(day * DAY), Deadline::after(60 * SECOND), 5 * SECOND, look)
                    .await;
            assert_eq!((looks.brought.len(), looks.left_out.len()), (66, 234));
            looked_at.extend(looks.brought.into_iter().map(|(_, number)| number));
        }
        assert_eq!(looked_at.len(), 300);
    }

    #[test]
    fn nothing_is_lost_by_the_order() {
        for count in [0_usize, 1, 2, 7] {
            for day in 20_000..20_020 {
                let mut order = beginning_elsewhere((0..count).collect(), Duration::from_secs(day * DAY));
                order.sort_unstable();
                assert_eq!(order, (0..count).collect::<Vec<_>>());
            }
        }
    }
}
