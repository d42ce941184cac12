//! What to do next with one secret. A pure function decides from what DescribeSecret and `diagnose` said.

use super::token::{MOST_ROUNDS, token};
use crate::plan::lanes::Item;
use crate::plan::order::Mode;
use serde::{Deserialize, Serialize};

/// After this time a rotation that another has begun is not under way any more: the longest time of a Lambda invocation.
const LEFT_BEHIND: u64 = 15 * 60 * 1_000;

/// A diagnosis logs in at the server, so that it is not asked for all the time.
const REPEAT: u64 = 1_000;

/// What all secrets of a run have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The run's name.
    pub run: String,
    /// What is done.
    pub mode: Mode,
    /// The run that is undone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub of: String,
    /// The new KMS key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kms_key: String,
    /// How long to wait for a rotation, in milliseconds.
    pub patience: u64,
    /// When the run began, in milliseconds since the Unix epoch.
    pub run_began: u64,
    /// When this part of it began.
    pub part_began: u64,
    /// So many failures end a lane.
    pub stops_at: usize,
}

/// What the labels of a secret say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether its rotation is turned on.
    pub enabled: bool,
    /// The version with AWSCURRENT.
    pub current: Option<String>,
    /// The version with AWSPENDING.
    pub pending: Option<String>,
    /// The version with AWSPREVIOUS.
    pub previous: Option<String>,
    /// The last change of anything in the secret, in milliseconds since the Unix epoch.
    pub changed: u64,
}

impl Seen {
    /// AWSCURRENT and AWSPENDING, to be compared.
    pub fn labels(&self) -> String {
        let id = |version: &Option<String>| version.clone().unwrap_or_default();
        format!("{} {}", id(&self.current), id(&self.pending))
    }
}

/// How far the work on a secret has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// When the secret's turn came, in milliseconds since the Unix epoch.
    pub began: u64,
    /// Since when it has been waited for.
    pub since: u64,
    /// The version that was current before the first round, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<String>,
    /// The rounds for which RotateSecret was accepted in this execution.
    pub asked: u32,
    /// RotateSecret was called for the rotation of another.
    pub nudged: bool,
    /// AWSCURRENT was moved back.
    pub moved: bool,
    /// What `diagnose` said, after so many rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
}

/// An answer of `diagnose`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Said {
    /// After so many rounds.
    pub round: u32,
    /// When, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The labels that the secret had before: AWSCURRENT and AWSPENDING.
    pub labels: String,
    /// The finding; empty if the diagnosis failed.
    pub finding: String,
    /// What the target said of the version that was asked for: `works`, `rejected`, or another word.
    pub credential: String,
}

/// How the work on a secret ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// This execution rotated it.
    Rotated,
    /// It was done before this execution came.
    Already,
    /// AWSCURRENT is back on the previous version.
    RolledBack,
    /// AWSCURRENT stays where it is, because the run did not move it, or the previous credential is refused.
    Kept,
    /// Its versions are under the new key.
    Rekeyed,
    /// It failed, and a person has to look.
    Failed,
    /// The lane ended before its turn.
    NotBegun,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Call RotateSecret with this token.
    Rotate(String),
    /// Call RotateSecret, so that the service goes on with the rotation that another left behind.
    Nudge,
    /// Look again later.
    Wait,
    /// Invoke the function with `diagnose`, and have it try this version as well.
    Diagnose(Option<String>),
    /// Move AWSCURRENT.
    Promote {
        /// To this version.
        to: String,
        /// From this one.
        from: String,
    },
    /// Encrypt the versions with the new key.
    Rekey,
    /// It is over.
    End {
        /// How.
        outcome: Outcome,
        /// Why, for a failure and for what was kept.
        reason: String,
    },
}

fn end(outcome: Outcome, reason: &str) -> Next {
    Next::End { outcome, reason: reason.to_owned() }
}

/// The findings with which the next wave may begin: consumers are served. The others need a person.
pub fn is_well(finding: &str) -> bool {
    matches!(finding, "healthy" | "rotation-overdue" | "rotation-off" | "rotation-under-way" | "not-generated")
}

/// How many of the run's rotations are done, and whether somebody has rotated the secret since.
pub fn rounds_done(run: &str, item: &Item, seen: &Seen) -> (u32, bool) {
    let round = |version: &Option<String>| {
        let version = version.as_deref()?;
        (1..=MOST_ROUNDS).find(|round| token(run, &item.secret, *round) == version)
    };
    match (round(&seen.current), round(&seen.previous)) {
        (Some(done), _) => (done, false),
        (None, Some(done)) => (done, true),
        (None, None) => (0, false),
    }
}

/// What was current before the run came, as far as the labels still show it.
pub fn replaced(run: &str, item: &Item, seen: &Seen) -> Option<String> {
    match rounds_done(run, item, seen) {
        (0, _) => seen.current.clone(),
        (1, false) => seen.previous.clone(),
        _ => None,
    }
}

/// Decides. `now` is in milliseconds since the Unix epoch.
pub fn next(job: &Job, item: &Item, progress: &Progress, seen: &Seen, now: u64) -> Next {
    match job.mode {
        Mode::Rotate | Mode::Emergency => rotate(job, item, progress, seen, now),
        Mode::RollBack => roll_back(job, item, progress, seen, now),
        Mode::Rekey if progress.moved => end(Outcome::Rekeyed, ""),
        Mode::Rekey => Next::Rekey,
    }
}

fn waited(job: &Job, progress: &Progress, now: u64) -> bool {
    now.saturating_sub(progress.since) > job.patience
}

fn rotate(job: &Job, item: &Item, progress: &Progress, seen: &Seen, now: u64) -> Next {
    let (done, others) = rounds_done(&job.run, item, seen);
    if others && progress.replaced.is_some() && progress.replaced == seen.current {
        return end(Outcome::Failed, "moved-back");
    }
    if done >= item.rounds.least || others {
        return prove(job, item, progress, seen, done, now);
    }
    begin(job, item, progress, seen, done + 1, now)
}

/// The next round.
fn begin(job: &Job, item: &Item, progress: &Progress, seen: &Seen, round: u32, now: u64) -> Next {
    if !seen.enabled {
        return end(Outcome::Failed, "rotation-off");
    }
    let wanted = token(&job.run, &item.secret, round);
    let pending = seen.pending.as_deref().filter(|pending| seen.current.as_deref() != Some(pending));
    let patient = !waited(job, progress, now);
    match pending {
        Some(pending) if pending == wanted && !patient => given_up(progress, round, "stands-still"),
        Some(pending) if pending != wanted && !patient => given_up(progress, round, "other-rotation"),
        // An execution that continues a run: the rotation may stand still since then, and RotateSecret has it go on.
        Some(pending) if pending == wanted && progress.asked < round && !progress.nudged => Next::Nudge,
        Some(pending) if pending != wanted && !progress.nudged && now.saturating_sub(seen.changed) > LEFT_BEHIND => {
            Next::Nudge
        }
        Some(_) => Next::Wait,
        // An accepted rotation whose label is not to be seen: the read is old, or somebody has given the rotation up.
        None if progress.asked >= round && patient => Next::Wait,
        None if progress.asked >= round => given_up(progress, round, "abandoned"),
        // RotateSecret was called again and again, and the service says that something is unfinished.
        None if !patient && progress.asked + 1 == round => given_up(progress, round, "not-accepted"),
        None => Next::Rotate(wanted),
    }
}

/// A failure, after one diagnosis that says more.
fn given_up(progress: &Progress, round: u32, reason: &str) -> Next {
    match &progress.said {
        Some(said) if said.round + 1 == round && said.at > progress.since => {
            let finding = if said.finding.is_empty() { "not diagnosed" } else { &said.finding };
            end(Outcome::Failed, &format!("{reason}: {finding}"))
        }
        _ => Next::Diagnose(None),
    }
}

/// Asks again, a moment after the last answer, until the patience ends.
fn repeated(job: &Job, progress: &Progress, said: &Said, version: Option<String>, now: u64, reason: &str) -> Next {
    if waited(job, progress, now) {
        end(Outcome::Failed, reason)
    } else if now.saturating_sub(said.at) < REPEAT {
        Next::Wait
    } else {
        Next::Diagnose(version)
    }
}

/// The gate: the new credential serves, and in an emergency the old one is refused.
fn prove(job: &Job, item: &Item, progress: &Progress, seen: &Seen, done: u32, now: u64) -> Next {
    let outcome = if progress.asked == 0 { Outcome::Already } else { Outcome::Rotated };
    let leaked = progress.replaced.clone().filter(|_| job.mode == Mode::Emergency);
    let Some(said) = progress.said.as_ref().filter(|said| said.round == done) else { return Next::Diagnose(leaked) };
    let again = |reason: &str| repeated(job, progress, said, leaked.clone(), now, reason);
    if !is_well(&said.finding) && !said.finding.is_empty() {
        // Between setSecret and finishSecret of somebody else's rotation, AWSCURRENT is refused. That is no finding about this one.
        if !said.labels.is_empty() && said.labels != seen.labels() {
            return Next::Diagnose(leaked);
        }
        if seen.pending.is_some() && seen.pending != seen.current {
            return again(&said.finding);
        }
    }
    match (said.finding.as_str(), leaked.is_some(), said.credential.as_str()) {
        ("", ..) => again("not-diagnosed"),
        (finding, true, "rejected") if !is_well(finding) => end(Outcome::Failed, finding),
        (_, true, "rejected") => end(outcome, ""),
        (_, true, "works") if done < item.rounds.most => begin(job, item, progress, seen, done + 1, now),
        (_, true, "works") => end(Outcome::Failed, "leaked-credential-works"),
        (_, true, _) => again("death-not-proved"),
        (finding, false, _) if !is_well(finding) => end(Outcome::Failed, finding),
        // The labels do not show any more which version leaked.
        (_, false, _) if job.mode == Mode::Emergency => end(outcome, "death-not-tried"),
        _ => end(outcome, ""),
    }
}

fn roll_back(job: &Job, item: &Item, progress: &Progress, seen: &Seen, now: u64) -> Next {
    if progress.moved {
        return end(Outcome::RolledBack, "");
    }
    match rounds_done(&job.of, item, seen) {
        (0, _) => return end(Outcome::Kept, "not-of-this-run"),
        (_, true) => return end(Outcome::Already, ""),
        (_, false) => {}
    }
    let (Some(current), Some(previous)) = (&seen.current, &seen.previous) else {
        return end(Outcome::Kept, "no-previous-version");
    };
    match &progress.said {
        None => Next::Diagnose(Some(previous.clone())),
        Some(said) => match said.credential.as_str() {
            "works" => Next::Promote { to: previous.clone(), from: current.clone() },
            "rejected" => end(Outcome::Kept, "previous-refused"),
            _ => repeated(job, progress, said, Some(previous.clone()), now, "previous-not-proved"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::rounds::Rounds;

    const NOW: u64 = 1_800_000_000_000;

    fn item(least: u32, most: u32) -> Item {
        Item { secret: "s".to_owned(), function: "f".to_owned(), rounds: Rounds { least, most }, after: 0 }
    }

    fn job(mode: Mode) -> Job {
        Job {
            run: "r".to_owned(),
            mode,
            of: "r".to_owned(),
            kms_key: String::new(),
            patience: 10_000,
            run_began: NOW,
            part_began: NOW,
            stops_at: 1,
        }
    }

    fn seen(current: &str, pending: &str, previous: &str) -> Seen {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Seen { enabled: true, current: some(current), pending: some(pending), previous: some(previous), changed: NOW }
    }

    fn t(round: u32) -> String {
        token("r", "s", round)
    }

    fn progress(asked: u32) -> Progress {
        Progress { began: NOW, since: NOW, replaced: Some("old".to_owned()), asked, ..Progress::default() }
    }

    fn said(round: u32, finding: &str, credential: &str) -> Option<Said> {
        let (finding, credential) = (finding.to_owned(), credential.to_owned());
        Some(Said { round, at: NOW + 1, labels: String::new(), finding, credential })
    }

    fn failed(reason: &str) -> Next {
        end(Outcome::Failed, reason)
    }

    #[test]
    fn a_repeated_item_is_the_same_rotation() {
        let (job, one) = (job(Mode::Rotate), item(1, 1));
        assert_eq!(next(&job, &one, &progress(0), &seen("old", "", ""), NOW), Next::Rotate(t(1)));
        // Whoever repeats it before it is done has the service go on with it once, and waits.
        assert_eq!(next(&job, &one, &progress(0), &seen("old", &t(1), ""), NOW), Next::Nudge);
        let nudged = Progress { nudged: true, ..progress(0) };
        assert_eq!(next(&job, &one, &nudged, &seen("old", &t(1), ""), NOW), Next::Wait);
        assert_eq!(next(&job, &one, &progress(1), &seen("old", &t(1), ""), NOW), Next::Wait);
        assert_eq!(next(&job, &one, &progress(1), &seen("old", "", ""), NOW), Next::Wait);
        // And afterwards it is done.
        let after = Progress { said: said(1, "healthy", ""), ..progress(0) };
        assert_eq!(next(&job, &one, &after, &seen(&t(1), &t(1), "old"), NOW), end(Outcome::Already, ""));
        // Also if somebody has rotated since.
        assert_eq!(next(&job, &one, &after, &seen("later", "", &t(1)), NOW), end(Outcome::Already, ""));
    }

    #[test]
    fn the_gate_is_a_diagnosis() {
        let (job, one, rotated) = (job(Mode::Rotate), item(1, 1), seen(&t(1), "", "old"));
        assert_eq!(next(&job, &one, &progress(1), &rotated, NOW), Next::Diagnose(None));
        for (finding, expected) in [
            ("healthy", end(Outcome::Rotated, "")),
            ("previous-in-effect", failed("previous-in-effect")),
            ("unclear", failed("unclear")),
            ("companion-fails", failed("companion-fails")),
            ("", Next::Wait),
        ] {
            let progress = Progress { said: said(1, finding, ""), ..progress(1) };
            assert_eq!(next(&job, &one, &progress, &rotated, NOW), expected, "{finding}");
        }
    }

    /// Two runs at once: a diagnosis may fall between setSecret and finishSecret of the other's rotation.
    #[test]
    fn the_window_of_anothers_rotation_is_no_failure() {
        let (job, one) = (job(Mode::Rotate), item(1, 1));
        let during = seen(&t(1), "theirs", "old");
        let mut said = said(1, "pending-in-effect", "").unwrap();
        said.labels = during.labels();
        let progress = Progress { said: Some(said), ..progress(1) };
        assert_eq!(next(&job, &one, &progress, &during, NOW), Next::Wait);
        assert_eq!(next(&job, &one, &progress, &during, NOW + REPEAT + 1), Next::Diagnose(None));
        assert_eq!(next(&job, &one, &progress, &during, NOW + 10_001), failed("pending-in-effect"));
        // Meanwhile theirs is done: the answer is about labels of the past.
        assert_eq!(next(&job, &one, &progress, &seen("theirs", "", &t(1)), NOW), Next::Diagnose(None));
    }

    #[test]
    fn a_rotation_that_stands_still_is_diagnosed_and_failed() {
        let (job, one, stuck, late) = (job(Mode::Rotate), item(1, 1), seen("old", &t(1), ""), NOW + 10_001);
        assert_eq!(next(&job, &one, &progress(1), &stuck, NOW + 10_000), Next::Wait);
        assert_eq!(next(&job, &one, &progress(1), &stuck, late), Next::Diagnose(None));
        let diagnosed = Progress { said: said(0, "rotation-unfinished", ""), ..progress(1) };
        assert_eq!(next(&job, &one, &diagnosed, &stuck, late), failed("stands-still: rotation-unfinished"));
        assert_eq!(next(&job, &one, &diagnosed, &seen("old", "", ""), late), failed("abandoned: rotation-unfinished"));
    }

    #[test]
    fn the_rotation_of_another_is_waited_for() {
        let (job, one) = (job(Mode::Rotate), item(1, 1));
        let theirs = seen("old", "theirs", "");
        assert_eq!(next(&job, &one, &progress(0), &theirs, NOW), Next::Wait);
        let left = Seen { changed: NOW - LEFT_BEHIND - 1, ..theirs.clone() };
        assert_eq!(next(&job, &one, &progress(0), &left, NOW), Next::Nudge);
        assert_eq!(next(&job, &one, &Progress { nudged: true, ..progress(0) }, &left, NOW), Next::Wait);
        let diagnosed = Progress { said: said(0, "rotation-under-way", ""), ..progress(0) };
        assert_eq!(
            next(&job, &one, &diagnosed, &seen("old", "", ""), NOW + 10_001),
            failed("not-accepted: rotation-under-way")
        );
        assert_eq!(next(&job, &one, &diagnosed, &theirs, NOW + 10_001), failed("other-rotation: rotation-under-way"));
        // A finished rotation may keep its label for a while.
        assert_eq!(next(&job, &one, &progress(0), &seen("theirs", "theirs", "old"), NOW), Next::Rotate(t(1)));
    }

    #[test]
    fn an_emergency_goes_on_until_the_leaked_credential_is_refused() {
        let job = job(Mode::Emergency);
        let once = seen(&t(1), "", "old");
        let asked = |said| Progress { said, ..progress(1) };
        let leaked = Next::Diagnose(Some("old".to_owned()));
        assert_eq!(next(&job, &item(1, 2), &asked(None), &once, NOW), leaked);
        assert_eq!(
            next(&job, &item(1, 2), &asked(said(1, "healthy", "rejected")), &once, NOW),
            end(Outcome::Rotated, "")
        );
        assert_eq!(next(&job, &item(1, 2), &asked(said(1, "healthy", "works")), &once, NOW), Next::Rotate(t(2)));
        let second = Progress { asked: 2, ..asked(said(1, "healthy", "works")) };
        assert_eq!(
            next(&job, &item(1, 2), &second, &seen(&t(1), &t(2), "old"), NOW),
            Next::Wait,
            "not asked for again"
        );
        assert_eq!(
            next(&job, &item(1, 1), &asked(said(1, "healthy", "works")), &once, NOW),
            failed("leaked-credential-works")
        );
        assert_eq!(next(&job, &item(2, 2), &asked(None), &once, NOW), Next::Rotate(t(2)), "a pair rotates twice");
        for unclear in ["unreachable", "unknown", "not-tried"] {
            let progress = asked(said(1, "healthy", unclear));
            assert_eq!(next(&job, &item(1, 1), &progress, &once, NOW), Next::Wait);
            assert_eq!(
                next(&job, &item(1, 1), &progress, &once, NOW + 10_001),
                failed("death-not-proved"),
                "{unclear}"
            );
        }
        let dead = asked(said(1, "previous-in-effect", "rejected"));
        assert_eq!(next(&job, &item(1, 1), &dead, &once, NOW), failed("previous-in-effect"));
        // A proof after the first round is none after the second.
        let twice = seen(&t(2), "", &t(1));
        assert_eq!(next(&job, &item(1, 2), &asked(said(1, "healthy", "rejected")), &twice, NOW), leaked);
    }

    /// An execution that continues a run learns from the labels what was current before, or does not claim to know.
    #[test]
    fn the_leaked_version_is_not_guessed() {
        assert_eq!(replaced("r", &item(1, 2), &seen("old", "", "older")).as_deref(), Some("old"));
        assert_eq!(replaced("r", &item(1, 2), &seen(&t(1), "", "old")).as_deref(), Some("old"));
        assert_eq!(replaced("r", &item(1, 2), &seen(&t(2), "", &t(1))), None);
        let unknown = Progress { replaced: None, said: said(2, "healthy", ""), ..progress(0) };
        let ended = next(&job(Mode::Emergency), &item(2, 2), &unknown, &seen(&t(2), "", &t(1)), NOW);
        assert_eq!(ended, end(Outcome::Already, "death-not-tried"));
    }

    #[test]
    fn a_secret_that_was_moved_back_or_is_off_is_left_to_people() {
        let job = job(Mode::Rotate);
        assert_eq!(next(&job, &item(1, 1), &progress(1), &seen("old", "", &t(1)), NOW), failed("moved-back"));
        let off = Seen { enabled: false, ..seen("old", "", "") };
        assert_eq!(next(&job, &item(1, 1), &progress(0), &off, NOW), failed("rotation-off"));
    }

    #[test]
    fn a_roll_back_moves_only_what_the_run_moved_and_only_to_what_works() {
        let (job, one, rotated) = (job(Mode::RollBack), item(1, 1), seen(&t(1), "", "old"));
        let with = |said| Progress { said, ..progress(0) };
        assert_eq!(next(&job, &one, &with(None), &rotated, NOW), Next::Diagnose(Some("old".to_owned())));
        let promote = Next::Promote { to: "old".to_owned(), from: t(1) };
        assert_eq!(next(&job, &one, &with(said(0, "healthy", "works")), &rotated, NOW), promote);
        let kept = end(Outcome::Kept, "previous-refused");
        assert_eq!(next(&job, &one, &with(said(0, "healthy", "rejected")), &rotated, NOW), kept);
        assert_eq!(next(&job, &one, &with(said(0, "unclear", "unreachable")), &rotated, NOW), Next::Wait);
        assert_eq!(next(&job, &one, &with(None), &seen("x", "", "y"), NOW), end(Outcome::Kept, "not-of-this-run"));
        assert_eq!(next(&job, &one, &with(None), &seen("old", "", &t(1)), NOW), end(Outcome::Already, ""));
    }
}
