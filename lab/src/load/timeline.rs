//! What is computed from logins and rotations: how many were refused, for how long, and when in a rotation.

use super::kind::Kind;
use serde::Serialize;
use std::time::Duration;

/// How a consumer of the secret comes by its credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumer {
    /// It reads AWSCURRENT before each login.
    Rereading,
    /// It reads AWSCURRENT before a rotation, and keeps it until the next rotation begins, as a cache does.
    Keeping,
}

/// How a login ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server let the consumer in.
    Accepted,
    /// The server said that the credential is wrong: 28P01 from PostgreSQL, 1045 from MySQL and MariaDB, 401 from the issuer.
    Refused,
    /// Anything else: no connection, no answer, or the secret could not be read.
    Failed,
}

/// A login. Times are since the beginning of the run.
#[derive(Clone, Copy, Debug)]
pub struct Login {
    /// Whose login.
    pub consumer: Consumer,
    /// When the connection was begun, with the credential at hand.
    pub began: Duration,
    /// When the server had answered.
    pub ended: Duration,
    /// What the server answered.
    pub answer: Answer,
}

/// A rotation: when each of its four steps began and ended, since the beginning of the run.
pub type Rotation = [(Duration, Duration); 4];

/// Everything that was seen of a kind of rotation.
#[derive(Debug, Default)]
pub struct Record {
    /// All logins, in the order in which they ended.
    pub logins: Vec<Login>,
    /// All rotations, in their order.
    pub rotations: Vec<Rotation>,
    /// How long all of it took.
    pub took: Duration,
    /// What the first login said that was neither accepted nor refused.
    pub failure: Option<String>,
}

/// Times of one thing, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// As many were shorter as longer.
    pub median: f64,
    /// 99 of a hundred were no longer (the nearest rank).
    pub p99: f64,
    /// The longest one.
    pub longest: f64,
}

/// Logins by their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// See [`Answer::Accepted`].
    pub accepted: usize,
    /// See [`Answer::Refused`].
    pub refused: usize,
    /// See [`Answer::Failed`].
    pub failed: usize,
}

/// The window of a single user: from the moment in which the first login began that was refused in a rotation, until the last
/// refusal. It is an upper bound, because a login takes a while.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// In how many rotations a login was refused. In the others none fell into the window.
    pub rotations: usize,
    /// The windows of these rotations.
    pub milliseconds: Times,
    /// From the beginning of setSecret to the end of finishSecret, in all rotations. A window lies within.
    pub set_to_finish_milliseconds: Times,
}

/// What the logins of a kind show.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The engine.
    pub engine: &'static str,
    /// The strategy.
    pub strategy: &'static str,
    /// How many rotations succeeded, one after another.
    pub rotations: usize,
    /// How long all of it took.
    pub seconds: f64,
    /// All logins of this time, by both kinds of consumers.
    pub logins_per_second: f64,
    /// Consumers that read AWSCURRENT before each login.
    pub rereading: Count,
    /// Consumers that keep a version until the next rotation begins.
    pub keeping: Count,
    /// Whole rotations.
    pub rotation_milliseconds: Times,
    /// Only where logins may be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Why this is no success.
    pub problems: Vec<String>,
}

impl Times {
    /// All zero where there are no times.
    #[must_use]
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<_> = times.into_iter().map(|time| time.as_secs_f64() * 1000.0).collect();
        sorted.sort_by(f64::total_cmp);
        let rank = |percent| tenth(percentile(&sorted, percent));
        Self { median: rank(50), p99: rank(99), longest: rank(100) }
    }
}

/// The value of the nearest rank: the smallest one such that `percent` of all values are no larger. Zero for no values.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

impl Count {
    /// All logins.
    #[must_use]
    pub fn all(self) -> usize {
        self.accepted + self.refused + self.failed
    }
}

impl Record {
    /// What it shows.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of logins are far below 2^52")]
    pub fn summary(&self, kind: Kind) -> Summary {
        let (rereading, keeping) = (self.count(Consumer::Rereading), self.count(Consumer::Keeping));
        let seconds = tenth(self.took.as_secs_f64());
        Summary {
            engine: kind.engine.name(),
            strategy: kind.strategy.name(),
            rotations: self.rotations.len(),
            seconds,
            logins_per_second: tenth(self.logins.len() as f64 / self.took.as_secs_f64().max(0.001)),
            rereading,
            keeping,
            rotation_milliseconds: Times::of(self.rotations.iter().map(|[first, .., last]| last.1 - first.0)),
            window: (!kind.strategy.keeps_previous()).then(|| self.window()),
            problems: self.problems(kind, rereading, keeping),
        }
    }

    fn count(&self, consumer: Consumer) -> Count {
        let mut count = Count::default();
        for login in self.logins.iter().filter(|login| login.consumer == consumer) {
            match login.answer {
                Answer::Accepted => count.accepted += 1,
                Answer::Refused => count.refused += 1,
                Answer::Failed => count.failed += 1,
            }
        }
        count
    }

    /// Whatever must not be. Logins that fail otherwise count as well: a refusal might hide behind them.
    fn problems(&self, kind: Kind, rereading: Count, keeping: Count) -> Vec<String> {
        let mut problems = Vec::new();
        for (count, who) in [
            (rereading, "consumers that read the secret before each login"),
            (keeping, "consumers that keep a version until the next rotation"),
        ] {
            if count.accepted == 0 {
                problems.push(format!("{kind}: no login was accepted of {who}"));
            }
            if count.refused > 0 && kind.strategy.keeps_previous() {
                problems.push(format!("{kind}: {} logins were refused of {who}", count.refused));
            }
            if count.failed > 0 {
                let first = self.failure.as_deref().unwrap_or("without a reason");
                problems.push(format!("{kind}: {} logins failed of {who}; the first: {first}", count.failed));
            }
        }
        problems
    }

    /// The period of each rotation: from its beginning to that of the next.
    pub(super) fn period(&self, at: Duration) -> Option<usize> {
        self.rotations.partition_point(|[first, ..]| first.0 <= at).checked_sub(1)
    }

    fn window(&self) -> Window {
        let mut windows: Vec<Option<(Duration, Duration)>> = vec![None; self.rotations.len()];
        for login in &self.logins {
            let counts = login.consumer == Consumer::Rereading && login.answer == Answer::Refused;
            let Some(window) = self.period(login.ended).filter(|_| counts).and_then(|at| windows.get_mut(at)) else {
                continue;
            };
            let (began, ended) = window.unwrap_or((login.began, login.ended));
            *window = Some((began.min(login.began), ended.max(login.ended)));
        }
        let seen: Vec<_> = windows.into_iter().flatten().map(|(began, ended)| ended - began).collect();
        Window {
            rotations: seen.len(),
            milliseconds: Times::of(seen),
            set_to_finish_milliseconds: Times::of(self.rotations.iter().map(|[_, set, _, finish]| finish.1 - set.0)),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::kind::{Engine, Strategy};
    use super::*;

    pub(in super::super) const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn login(consumer: Consumer, began: u64, ended: u64, answer: Answer) -> Login {
        Login { consumer, began: ms(began), ended: ms(ended), answer }
    }

    /// Steps of 10, 20, 10 and 10 ms, without pauses.
    pub(in super::super) fn rotation(begin: u64) -> Rotation {
        [(0, 10), (10, 30), (30, 40), (40, 50)].map(|(from, until)| (ms(begin + from), ms(begin + until)))
    }

    fn kind(strategy: Strategy) -> Kind {
        Kind { engine: Engine::Mysql, strategy }
    }

    pub(in super::super) fn record() -> Record {
        let logins = vec![
            login(Consumer::Rereading, 95, 99, Answer::Accepted),
            login(Consumer::Keeping, 100, 104, Answer::Accepted),
            login(Consumer::Rereading, 112, 115, Answer::Refused),
            login(Consumer::Keeping, 112, 170, Answer::Refused),
            login(Consumer::Rereading, 120, 141, Answer::Refused),
            login(Consumer::Rereading, 145, 151, Answer::Accepted),
            login(Consumer::Rereading, 320, 326, Answer::Refused),
            login(Consumer::Rereading, 420, 425, Answer::Accepted),
        ];
        let rotations = vec![rotation(100), rotation(300), rotation(400)];
        Record { logins, rotations, took: ms(500), failure: None }
    }

    #[test]
    fn a_percentile_is_a_value_of_the_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([50, 99, 100].map(|percent| percentile(&hundred, percent)), [50.0, 99.0, 100.0]);
        assert_eq!([1, 50, 99].map(|percent| percentile(&[3.0, 4.0, 9.0], percent)), [3.0, 4.0, 9.0]);
        assert_eq!(percentile(&[], 50), 0.0);
        let times = Times::of([ms(9), ms(1), ms(4)]);
        assert_eq!(times, Times { median: 4.0, p99: 9.0, longest: 9.0 });
    }

    #[test]
    fn a_window_reaches_from_the_first_refused_login_to_the_last_refusal_of_its_rotation() {
        let summary = record().summary(kind(Strategy::SingleUser));
        assert_eq!(summary.rereading, Count { accepted: 3, refused: 3, failed: 0 });
        assert_eq!(summary.keeping, Count { accepted: 1, refused: 1, failed: 0 });
        let window = summary.window.unwrap();
        assert_eq!(window.rotations, 2, "the third rotation was not noticed");
        assert_eq!(
            window.milliseconds,
            Times { median: 6.0, p99: 29.0, longest: 29.0 },
            "that of a cache does not count"
        );
        assert_eq!(window.set_to_finish_milliseconds.median, 40.0);
        assert_eq!(summary.logins_per_second, 16.0);
        assert_eq!(summary.problems, Vec::<String>::new());
    }

    #[test]
    fn a_refused_login_is_a_problem_where_the_previous_credential_has_to_work() {
        for strategy in [Strategy::DualPassword, Strategy::AlternatingUsers, Strategy::TwoKeys] {
            let summary = record().summary(kind(strategy));
            assert_eq!((summary.problems.len(), summary.window), (2, None), "{:?}", summary.problems);
        }
        let mut record = record();
        record.logins.retain(|login| login.answer == Answer::Accepted);
        assert_eq!(record.summary(kind(Strategy::TwoKeys)).problems, Vec::<String>::new());
    }

    #[test]
    fn a_failed_login_and_the_lack_of_logins_prove_nothing() {
        let mut record = record();
        record.logins.push(login(Consumer::Keeping, 1, 2, Answer::Failed));
        record.failure = Some("too many connections".to_owned());
        let problems = record.summary(kind(Strategy::SingleUser)).problems;
        assert!(problems.len() == 1 && problems[0].ends_with("the first: too many connections"), "{problems:?}");
        record.logins.clear();
        assert_eq!(record.summary(kind(Strategy::SingleUser)).problems.len(), 2);
    }
}
