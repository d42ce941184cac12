//! When in a rotation logins were answered.

use super::timeline::{Answer, Consumer, Record, Rotation, Times};
use std::time::Duration;

impl Record {
    /// The logins over a rotation of median length, in `bins` bins.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of logins are far below 2^52")]
    pub fn profile(&self, bins: usize, margin: Duration) -> Profile {
        // Where the steps begin, and where the last one ends, in milliseconds.
        let mut bounds = [0.0; 5];
        let mut at = 0.0;
        for (step, bound) in bounds.iter_mut().skip(1).enumerate() {
            at += Times::of(self.rotations.iter().map(|rotation| part(rotation, step))).median;
            *bound = at;
        }
        let margin = (margin.as_secs_f64() * 1000.0).min(at * 0.3);
        let (from, until) = (-margin, at + margin);
        let width = ((until - from) / bins.max(1) as f64).max(f64::MIN_POSITIVE);
        let mut profile =
            Profile { bounds, from, width, rereading: vec![Bin::default(); bins], keeping: vec![Bin::default(); bins] };
        for login in &self.logins {
            // A login shortly before a rotation belongs to that one.
            let near = self.period(login.ended + Duration::from_secs_f64(margin / 1000.0));
            let Some(rotation) = near.and_then(|at| self.rotations.get(at)) else { continue };
            let place = (aligned(rotation, &bounds, login.ended) - from) / width;
            let side = match login.consumer {
                Consumer::Rereading => &mut profile.rereading,
                Consumer::Keeping => &mut profile.keeping,
            };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative here")]
            let Some(bin) = (place >= 0.0).then(|| side.get_mut(place as usize)).flatten() else { continue };
            match login.answer {
                Answer::Accepted => bin.accepted += 1,
                Answer::Refused => bin.refused += 1,
                Answer::Failed => {}
            }
        }
        profile
    }
}

/// Logins over a rotation of median length.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Where each step begins and the last one ends, in milliseconds since the beginning of the rotation.
    pub bounds: [f64; 5],
    /// Where the first bin begins, in milliseconds.
    pub from: f64,
    /// How wide a bin is, in milliseconds.
    pub width: f64,
    /// Consumers that read AWSCURRENT before each login.
    pub rereading: Vec<Bin>,
    /// Consumers that keep a version until the next rotation begins.
    pub keeping: Vec<Bin>,
}

/// The logins that were answered in a part of the rotations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bin {
    /// How many were accepted.
    pub accepted: u32,
    /// How many were refused.
    pub refused: u32,
}

/// The time from the beginning of a step to that of the next, or to the end of the last one.
fn part(rotation: &Rotation, step: usize) -> Duration {
    let [create, set, test, finish] = rotation;
    let edges = [create.0, set.0, test.0, finish.0, finish.1];
    match edges.get(step..step + 2) {
        Some([from, until]) => *until - *from,
        _ => Duration::ZERO,
    }
}

/// Where a moment of a rotation lies in a rotation whose steps have these bounds: a tenth of a step stays a tenth of it.
fn aligned(rotation: &Rotation, bounds: &[f64; 5], at: Duration) -> f64 {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let [first, .., last] = rotation;
    if at < first.0 {
        return -milliseconds(first.0 - at);
    }
    let mut from = first.0;
    for (step, bound) in bounds.windows(2).enumerate() {
        let length = part(rotation, step);
        if let ([begin, end], true) = (bound, at < from + length) {
            return begin + (end - begin) * (milliseconds(at - from) / milliseconds(length));
        }
        from += length;
    }
    bounds.last().copied().unwrap_or_default() + milliseconds(at.saturating_sub(last.1))
}

#[cfg(test)]
mod tests {
    use super::super::timeline::tests::{ms, record, rotation};
    use super::*;

    #[test]
    fn a_moment_keeps_its_place_in_its_step() {
        let bounds = [0.0, 20.0, 40.0, 50.0, 60.0];
        let place = |at| aligned(&rotation(100), &bounds, ms(at));
        assert_eq!(
            [95, 100, 105, 110, 120, 130, 145, 150, 157].map(place),
            [-5.0, 0.0, 10.0, 20.0, 30.0, 40.0, 55.0, 60.0, 67.0]
        );
    }

    #[test]
    fn a_profile_has_each_login_once_and_at_its_place() {
        let profile = record().profile(16, ms(100));
        assert_eq!((profile.bounds, profile.from), ([0.0, 10.0, 30.0, 40.0, 50.0], -15.0));
        assert_eq!(profile.width, 5.0);
        // 115 and 326 are 15 and 26 ms after the beginning, 141 is 41 ms after it.
        let refused: Vec<_> = profile.rereading.iter().enumerate().filter(|(_, bin)| bin.refused > 0).collect();
        assert_eq!(refused.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [6, 8, 11]);
        let accepted: u32 = profile.rereading.iter().map(|bin| bin.accepted).sum();
        assert_eq!(accepted, 3);
        // The one that was refused 20 ms after the end is beyond the margin.
        assert_eq!(profile.keeping.iter().map(|bin| bin.accepted + bin.refused).sum::<u32>(), 1);
    }
}
