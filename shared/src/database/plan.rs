//! Which login to try next and what to do with its outcome: a pure function from observations to the next move.

use crate::protocol::observation::Observation;

/// A credential that may open the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// The one in AWSCURRENT.
    Current,
    /// The one in AWSPENDING.
    Pending,
    /// One in AWSPREVIOUS or in a version that has lost its labels: all that the secret still has, newest first.
    Previous,
    /// The one in the superuser's secret.
    Superuser,
}

impl Credential {
    /// The word used in errors and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Pending => "pending",
            Self::Previous => "previous",
            Self::Superuser => "superuser",
        }
    }
}

/// What the logins so far said. `None`: not tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observations {
    /// The current credential.
    pub current: Option<Observation>,
    /// The pending one.
    pub pending: Option<Observation>,
    /// The previous one.
    pub previous: Option<Observation>,
    /// The superuser's.
    pub superuser: Option<Observation>,
}

impl Observations {
    /// Notes the outcome of a login.
    pub(crate) fn note(&mut self, credential: Credential, observation: Observation) {
        let slot = match credential {
            Credential::Current => &mut self.current,
            Credential::Pending => &mut self.pending,
            Credential::Previous => &mut self.previous,
            Credential::Superuser => &mut self.superuser,
        };
        *slot = Some(observation);
    }
}

/// What a single-user rotation may fall back on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallbacks {
    /// The pending password may be tried.
    pub pending: bool,
    /// The pending password was made a moment ago, and nobody is known to have set it. Then older versions come first.
    pub fresh: bool,
    /// There may be an older version, for the same user on the same server, that was not tried.
    pub previous: bool,
    /// The secret allows the superuser to help.
    pub superuser: bool,
}

/// The next move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Try to log in with this credential.
    Try(Credential),
    /// Change the password in the session of this credential.
    ChangeAs(Credential),
    /// The pending password is in effect; nothing to change.
    AlreadyInEffect,
    /// Report why this credential's login failed. It said nothing about the password, so no other credential is tried.
    Report(Credential),
    /// Every password was refused.
    LockedOut,
}

/// Decides the next move of a single-user setSecret.
///
/// The current credential comes first, so that a healthy rotation makes no refused login. The pending one is next, unless it is
/// fresh: an earlier run of the step may have set it and lost the answer.
///
/// **Invariant:** the next credential is tried only if the server *refused* the one before. An unreachable or
/// confused server says nothing about passwords. Otherwise an outage could make the function give up a password that works, or
/// lock the user with failed logins. Test: `every_row_of_the_matrix`.
pub fn next_move(seen: Observations, fallbacks: Fallbacks) -> Move {
    use Credential::{Current, Pending, Previous, Superuser};
    let pending = (Pending, seen.pending, fallbacks.pending);
    let previous = (Previous, seen.previous, fallbacks.previous);
    let [second, third] = if fallbacks.fresh { [previous, pending] } else { [pending, previous] };
    let order = [(Current, seen.current, true), second, third, (Superuser, seen.superuser, fallbacks.superuser)];
    for (credential, observation, available) in order {
        if !available {
            continue;
        }
        match observation {
            None => return Move::Try(credential),
            Some(Observation::Works) if credential == Pending => return Move::AlreadyInEffect,
            Some(Observation::Works) => return Move::ChangeAs(credential),
            Some(Observation::Unreachable | Observation::Unknown) => return Move::Report(credential),
            // Then the fallback is broken, and that is the error to report.
            Some(Observation::Rejected) if credential == Superuser => return Move::Report(Superuser),
            Some(Observation::Rejected) => {}
        }
    }
    Move::LockedOut
}

#[cfg(test)]
mod tests {
    use super::*;
    use Credential::{Current, Pending, Previous, Superuser};
    use Observation::{Rejected, Unknown, Unreachable, Works};

    const ALL: [Option<Observation>; 5] = [None, Some(Works), Some(Rejected), Some(Unreachable), Some(Unknown)];

    fn matrix() -> impl Iterator<Item = (Observations, Fallbacks)> {
        (0..5_usize.pow(4) * 16).map(|n| {
            let pick = |place: u32| ALL[n / 16 / 5_usize.pow(place) % 5];
            let seen = Observations { current: pick(0), pending: pick(1), previous: pick(2), superuser: pick(3) };
            let bit = |bit: usize| n & bit == bit;
            (seen, Fallbacks { previous: bit(1), superuser: bit(2), pending: bit(4), fresh: bit(8) })
        })
    }

    fn observation(seen: &Observations, credential: Credential) -> Option<Observation> {
        match credential {
            Current => seen.current,
            Pending => seen.pending,
            Previous => seen.previous,
            Superuser => seen.superuser,
        }
    }

    /// The table that `next_move` has to agree with, written as rules over the whole matrix of 10,000 rows.
    #[test]
    fn every_row_of_the_matrix() {
        let mut rows = 0;
        for (seen, fallbacks) in matrix() {
            rows += 1;
            let decided = next_move(seen, fallbacks);
            let row = format!("{seen:?} {fallbacks:?} → {decided:?}");
            let order = if fallbacks.fresh {
                [Current, Previous, Pending, Superuser]
            } else {
                [Current, Pending, Previous, Superuser]
            };
            let ahead_of = |credential| &order[..order.iter().position(|one| *one == credential).unwrap()];
            let before = match decided {
                Move::Try(credential) | Move::ChangeAs(credential) | Move::Report(credential) => ahead_of(credential),
                Move::AlreadyInEffect => ahead_of(Pending),
                Move::LockedOut => ahead_of(Superuser),
            };
            // Nothing is tried, used or given up before everything ahead of it was refused, or is not to be had.
            for &credential in before {
                let skipped =
                    credential == Previous && !fallbacks.previous || credential == Pending && !fallbacks.pending;
                assert!(skipped || observation(&seen, credential) == Some(Rejected), "{row}");
            }
            match decided {
                Move::Try(credential) => {
                    assert_eq!(observation(&seen, credential), None, "{row}");
                    assert!(credential != Pending || fallbacks.pending, "{row}");
                    assert!(credential != Previous || fallbacks.previous, "{row}");
                    assert!(credential != Superuser || fallbacks.superuser, "{row}");
                }
                Move::ChangeAs(credential) => {
                    assert_eq!(observation(&seen, credential), Some(Works), "{row}");
                    assert_ne!(credential, Pending, "{row}");
                    assert!(credential != Superuser || fallbacks.superuser, "{row}");
                }
                Move::AlreadyInEffect => assert_eq!(seen.pending, Some(Works), "{row}"),
                Move::Report(Superuser) => assert!(!matches!(seen.superuser, None | Some(Works)), "{row}"),
                Move::Report(credential) => {
                    assert!(matches!(observation(&seen, credential), Some(Unreachable | Unknown)), "{row}");
                }
                Move::LockedOut => assert!(!fallbacks.superuser, "{row}"),
            }
        }
        assert_eq!(rows, 10_000);
    }

    /// From nothing known, trying what is asked for always ends, after at most one login per credential.
    #[test]
    fn every_sequence_of_logins_ends() {
        for (truth, fallbacks) in
            matrix().filter(|(seen, _)| ![seen.current, seen.pending, seen.previous, seen.superuser].contains(&None))
        {
            let mut seen = Observations::default();
            let mut tried = Vec::new();
            while let Move::Try(credential) = next_move(seen, fallbacks) {
                assert!(!tried.contains(&credential));
                tried.push(credential);
                match credential {
                    Current => seen.current = truth.current,
                    Pending => seen.pending = truth.pending,
                    Previous => seen.previous = truth.previous,
                    Superuser => seen.superuser = truth.superuser,
                }
            }
            if truth.current == Some(Works) {
                assert_eq!(tried, [Current], "a healthy rotation logs in once");
            }
        }
    }
}
