//! What to do next with one secret. A pure function decides from what DescribeSecret and `diagnose` said.

use super::progress::{Job, Outcome, Progress, Said, Seen, Sessions};
use crate::plan::lanes::Item;
use crate::plan::order::Mode;
use crate::token::{MOST_ROUNDS, token};

/// After this time a rotation that another has begun is not under way any more: the longest time of a Lambda invocation.
const LEFT_BEHIND: u64 = 15 * 60 * 1_000;

/// How often sessions are ended before a person has to do it.
const MOST_ENDS: u32 = 3;

/// A diagnosis logs in at the server, so that it is not asked for all the time.
const REPEAT: u64 = 1_000;

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
    /// Invoke the function, so that it ends the credential of this version.
    Retire(String),
    /// Invoke the function, so that it ends the sessions of this version's user.
    EndSessions(String),
    /// Ask which version is older: AWSCURRENT, or the run's own.
    Compare,
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
///
/// **Invariant:** each secret ends. Whoever moves its labels all the time would otherwise hold the run, and have the function log in at
/// the server without an end. Test: `a_secret_that_never_rests_ends`.
pub fn next(job: &Job, item: &Item, progress: &Progress, seen: &Seen, now: u64) -> Next {
    // What it opens may work on.
    if seen.deleted {
        return end(Outcome::Failed, "deleted");
    }
    let longest = (u64::from(item.rounds.most) + 1) * 2 * job.patience + LEFT_BEHIND;
    if now.saturating_sub(progress.began) > longest {
        return end(Outcome::Failed, "takes-too-long");
    }
    match job.mode {
        Mode::Rotate | Mode::Emergency => rotate(job, item, progress, seen, now),
        Mode::RollBack => roll_back(job, item, progress, seen, now),
        Mode::Rekey => rekey(job, item, progress, seen, now),
    }
}

fn waited(job: &Job, progress: &Progress, now: u64) -> bool {
    now.saturating_sub(progress.since) > job.patience
}

fn rotate(job: &Job, item: &Item, progress: &Progress, seen: &Seen, now: u64) -> Next {
    let (done, others) = rounds_done(&job.run, item, seen);
    if item.unnamed && done == 0 && !others {
        return end(Outcome::Failed, "key-not-named");
    }
    // A run of this name was here before, and this execution does not say that it goes on with it. What is current may be what that
    // run made, and may have leaked since.
    if item.used && progress.asked == 0 {
        return end(Outcome::Failed, "name-used-before");
    }
    if others {
        let back = progress.replaced.is_some() && progress.replaced == seen.current;
        match progress.moved_back {
            _ if back => return end(Outcome::Failed, "moved-back"),
            // An execution that goes on with a run does not know what was current before it.
            None if progress.replaced.is_none() => return Next::Compare,
            Some(true) => return end(Outcome::Failed, "moved-back"),
            _ => {}
        }
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

/// Asks again, some time after the last answer, until the patience ends. The pauses grow: a diagnosis logs in, and servers count refused
/// logins.
fn repeated(job: &Job, progress: &Progress, said: &Said, version: Option<String>, now: u64, reason: &str) -> Next {
    if waited(job, progress, now) {
        end(Outcome::Failed, reason)
    } else if now.saturating_sub(said.at) < pause(progress.repeats) {
        Next::Wait
    } else {
        Next::Diagnose(version)
    }
}

/// The pause before something is asked for the next time, in milliseconds.
pub fn pause(repeats: u32) -> u64 {
    (REPEAT << repeats.min(5)).min(30_000)
}

/// What has to be seen refused in an emergency: the credential that was current when the run came, and then the one before it, which
/// works on with some strategies, and may be the one that was found.
fn suspect(job: &Job, progress: &Progress, done: u32) -> Option<String> {
    let suspects = [&progress.replaced, &progress.before].into_iter().flatten().filter(|_| job.mode == Mode::Emergency);
    let dead = |version: &String| progress.dead.iter().any(|one| one.version == *version && one.round == done);
    suspects.filter(|version| !dead(version)).map(String::clone).next()
}

/// The gate: the new credential serves, and in an emergency the old ones are refused.
fn prove(job: &Job, item: &Item, progress: &Progress, seen: &Seen, done: u32, now: u64) -> Next {
    let outcome = if progress.asked == 0 { Outcome::Already } else { Outcome::Rotated };
    let leaked = progress.replaced.clone().filter(|_| job.mode == Mode::Emergency);
    // A refusal to end it early is no failure: the proof, or one more rotation, decides.
    if let Some(leaked) = leaked.as_ref().filter(|_| job.end_early && progress.retired < done) {
        return Next::Retire(leaked.clone());
    }
    let suspect = suspect(job, progress, done);
    let fits = |said: &&Said| said.round == done && (suspect.is_none() || said.version == suspect);
    let Some(said) = progress.said.as_ref().filter(fits) else { return Next::Diagnose(suspect) };
    let again = |reason: &str| repeated(job, progress, said, suspect.clone(), now, reason);
    if !is_well(&said.finding) && !said.finding.is_empty() {
        // Between setSecret and finishSecret of somebody else's rotation, AWSCURRENT is refused. That is no finding about this one.
        let moved = !said.labels.is_empty() && said.labels != seen.labels();
        if moved || seen.is_unfinished() {
            return again(&said.finding);
        }
        // The next round ends what has leaked, whatever else is wrong.
        if said.credential == "works" && suspect.is_some() && done < item.rounds.most {
            return begin(job, item, progress, seen, done + 1, now);
        }
        return end(Outcome::Failed, &said.finding);
    }
    if said.finding.is_empty() {
        return again("not-diagnosed");
    }
    let Some(suspect) = &suspect else {
        return match leaked {
            // The labels do not show any more which version leaked. It may work.
            None if job.mode == Mode::Emergency => end(Outcome::Failed, "death-not-tried"),
            leaked => end_sessions(job, progress, leaked, outcome, now),
        };
    };
    let is_before = leaked.as_ref() != Some(suspect);
    match said.credential.as_str() {
        "works" if done < item.rounds.most => begin(job, item, progress, seen, done + 1, now),
        "works" if is_before => end(Outcome::Failed, "previous-credential-works"),
        "works" => end(Outcome::Failed, "leaked-credential-works"),
        // It is for another server or user than AWSCURRENT, or cannot be read any more.
        "none" | "not-tried" if is_before => end_sessions(job, progress, leaked, outcome, now),
        _ => again("death-not-proved"),
    }
}

/// The leaked credential is dead. Its sessions are ended where that was asked for.
fn end_sessions(job: &Job, progress: &Progress, leaked: Option<String>, outcome: Outcome, now: u64) -> Next {
    let Some(leaked) = leaked.filter(|_| job.end_sessions) else { return end(outcome, "") };
    match &progress.sessions {
        None => Next::EndSessions(leaked),
        Some(Sessions { left: 0, error, .. }) if error.is_empty() => end(outcome, ""),
        Some(sessions) if sessions.asked < MOST_ENDS && now.saturating_sub(sessions.at) >= REPEAT => {
            Next::EndSessions(leaked)
        }
        Some(sessions) if sessions.asked < MOST_ENDS => Next::Wait,
        Some(Sessions { error, .. }) if error.is_empty() => end(Outcome::Failed, "sessions-stay"),
        Some(Sessions { error, .. }) => end(Outcome::Failed, &format!("sessions-not-ended: {error}")),
    }
}

fn roll_back(job: &Job, item: &Item, progress: &Progress, seen: &Seen, now: u64) -> Next {
    if progress.moved {
        // The gate: AWSCURRENT serves.
        return match &progress.said {
            Some(said) if said.labels != seen.labels() => Next::Diagnose(None),
            Some(said) if said.finding.is_empty() => repeated(job, progress, said, None, now, "not-diagnosed"),
            Some(said) if !is_well(&said.finding) => end(Outcome::Failed, &said.finding),
            Some(_) => end(Outcome::RolledBack, ""),
            None => Next::Diagnose(None),
        };
    }
    match rounds_done(&job.of, item, seen) {
        (0, _) => return end(Outcome::Kept, "not-of-this-run"),
        (_, true) => return end(Outcome::Kept, "rotated-since"),
        (_, false) => {}
    }
    let (Some(current), Some(previous)) = (&seen.current, &seen.previous) else {
        return end(Outcome::Kept, "no-previous-version");
    };
    // A rotation may change the user of AWSPREVIOUS at this moment.
    if seen.is_unfinished() {
        return if waited(job, progress, now) { end(Outcome::Kept, "rotation-under-way") } else { Next::Wait };
    }
    match &progress.said {
        Some(said) if said.version.as_ref() == Some(previous) && said.labels == seen.labels() => {
            match said.credential.as_str() {
                "works" if !said.hindered => Next::Promote { to: previous.clone(), from: current.clone() },
                "rejected" => end(Outcome::Kept, "previous-refused"),
                _ => repeated(job, progress, said, Some(previous.clone()), now, "previous-not-proved"),
            }
        }
        _ => Next::Diagnose(Some(previous.clone())),
    }
}

/// **Invariant:** the next wave begins only after the secret's own function has read the value under the new key. Otherwise a key whose
/// policy leaves the function out locks a whole fleet out of its values. Test: `a_rekey_stops_where_the_value_cannot_be_read`.
fn rekey(job: &Job, item: &Item, progress: &Progress, seen: &Seen, now: u64) -> Next {
    if !progress.moved {
        return Next::Rekey;
    }
    let was_there = progress.asked == 0;
    let done = end(if was_there { Outcome::Already } else { Outcome::Rekeyed }, "");
    if item.function.is_empty() {
        return done;
    }
    match &progress.said {
        None => Next::Diagnose(None),
        Some(said) if said.finding.is_empty() => repeated(job, progress, said, None, now, "not-diagnosed"),
        Some(said) if !is_well(&said.finding) && seen.is_unfinished() => {
            repeated(job, progress, said, None, now, &said.finding)
        }
        Some(said) if !is_well(&said.finding) => end(Outcome::Failed, &said.finding),
        Some(_) => done,
    }
}

#[cfg(test)]
mod tests;
