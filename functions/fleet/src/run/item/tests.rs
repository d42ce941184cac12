//! Tests of the decisions.

use super::*;
use crate::plan::rounds::Rounds;
use crate::run::progress::Dead;

const NOW: u64 = 1_800_000_000_000;

fn item(least: u32, most: u32) -> Item {
    let rounds = Rounds { least, most };
    Item { secret: "s".to_owned(), function: "f".to_owned(), rounds, after: 0, used: false, unnamed: false }
}

fn job(mode: Mode) -> Job {
    Job {
        run: "r".to_owned(),
        mode,
        of: "r".to_owned(),
        kms_key: String::new(),
        end_early: false,
        end_sessions: false,
        closes: None,
        patience: 10_000,
        run_began: NOW,
        part_began: NOW,
        stops_at: 1,
    }
}

fn seen(current: &str, pending: &str, previous: &str) -> Seen {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let (current, pending, previous) = (some(current), some(pending), some(previous));
    Seen { deleted: false, enabled: true, current, pending, previous, changed: NOW, key: None }
}

fn t(round: u32) -> String {
    token("r", "s", round)
}

fn progress(asked: u32) -> Progress {
    Progress { began: NOW, since: NOW, replaced: Some("old".to_owned()), asked, ..Progress::default() }
}

/// Its credential may work on, whatever was done before.
#[test]
fn a_secret_that_is_deleted_during_the_run_is_a_failure() {
    for mode in [Mode::Rotate, Mode::Emergency, Mode::RollBack, Mode::Rekey] {
        let seen = Seen { deleted: true, ..seen(&t(1), "", "old") };
        assert_eq!(
            next(&job(mode), &item(1, 2), &progress(1), &seen, NOW),
            end(Outcome::Failed, "deleted"),
            "{mode:?}"
        );
    }
}

fn said(round: u32, finding: &str, credential: &str) -> Option<Said> {
    let (finding, credential) = (finding.to_owned(), credential.to_owned());
    let version = Some("old".to_owned()).filter(|_| !credential.is_empty());
    Some(Said { round, at: NOW + 1, labels: String::new(), version, finding, credential, hindered: false })
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
    let theirs = seen("theirs", "", &t(1));
    assert_eq!(next(&job, &one, &progress, &theirs, NOW), Next::Wait, "not at once");
    assert_eq!(next(&job, &one, &progress, &theirs, NOW + REPEAT + 1), Next::Diagnose(None));
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

/// What `hear` makes of a refusal.
fn dead(round: u32, versions: &[&str]) -> Vec<Dead> {
    versions.iter().map(|version| Dead { version: (*version).to_owned(), round, at: NOW }).collect()
}

#[test]
fn an_emergency_goes_on_until_the_leaked_credential_is_refused() {
    let job = job(Mode::Emergency);
    let once = seen(&t(1), "", "old");
    let asked = |said| Progress { said, ..progress(1) };
    let leaked = Next::Diagnose(Some("old".to_owned()));
    assert_eq!(next(&job, &item(1, 2), &asked(None), &once, NOW), leaked);
    let refused = Progress { dead: dead(1, &["old"]), ..asked(said(1, "healthy", "rejected")) };
    assert_eq!(next(&job, &item(1, 2), &refused, &once, NOW), end(Outcome::Rotated, ""));
    assert_eq!(next(&job, &item(1, 2), &asked(said(1, "healthy", "works")), &once, NOW), Next::Rotate(t(2)));
    assert_eq!(
        next(&job, &item(1, 2), &asked(said(1, "companion-fails", "works")), &once, NOW),
        Next::Rotate(t(2)),
        "the leak counts for more"
    );
    let second = Progress { asked: 2, ..asked(said(1, "healthy", "works")) };
    assert_eq!(next(&job, &item(1, 2), &second, &seen(&t(1), &t(2), "old"), NOW), Next::Wait, "not asked for again");
    assert_eq!(
        next(&job, &item(1, 1), &asked(said(1, "healthy", "works")), &once, NOW),
        failed("leaked-credential-works")
    );
    assert_eq!(next(&job, &item(2, 2), &asked(None), &once, NOW), Next::Rotate(t(2)), "a pair rotates twice");
    for unclear in ["unreachable", "unknown", "not-tried"] {
        let progress = asked(said(1, "healthy", unclear));
        assert_eq!(next(&job, &item(1, 1), &progress, &once, NOW), Next::Wait);
        assert_eq!(next(&job, &item(1, 1), &progress, &once, NOW + 10_001), failed("death-not-proved"), "{unclear}");
    }
    let unwell = Progress { dead: dead(1, &["old"]), ..asked(said(1, "previous-in-effect", "rejected")) };
    assert_eq!(next(&job, &item(1, 1), &unwell, &once, NOW), failed("previous-in-effect"));
    // A proof after the first round is none after the second.
    let twice = seen(&t(2), "", &t(1));
    assert_eq!(next(&job, &item(1, 2), &refused, &twice, NOW), leaked);
}

/// The value that was found may be the one before.
#[test]
fn the_credential_before_the_current_one_is_tried_too() {
    let (job, one, once) = (job(Mode::Emergency), item(1, 1), seen(&t(1), "", "old"));
    let before = Some("older".to_owned());
    let with = |credential: &str, refused: &[&str]| {
        let said = said(1, "healthy", credential).map(|said| Said { version: before.clone(), ..said });
        Progress { before: before.clone(), dead: dead(1, refused), said, ..progress(1) }
    };
    // First the one that was current: its death is what the report counts from.
    let neither = Progress { said: None, ..with("", &[]) };
    assert_eq!(next(&job, &one, &neither, &once, NOW), Next::Diagnose(Some("old".to_owned())));
    let first = Progress { said: said(1, "healthy", "rejected"), ..with("", &["old"]) };
    assert_eq!(next(&job, &one, &first, &once, NOW), Next::Diagnose(before.clone()));
    assert_eq!(next(&job, &one, &with("rejected", &["old", "older"]), &once, NOW), end(Outcome::Rotated, ""));
    assert_eq!(next(&job, &one, &with("works", &["old"]), &once, NOW), failed("previous-credential-works"));
    // It is for another server: there is nothing to try.
    assert_eq!(next(&job, &one, &with("not-tried", &["old"]), &once, NOW), end(Outcome::Rotated, ""));
}

#[test]
fn what_leaked_is_ended_early_and_its_sessions_at_last() {
    let job = Job { end_early: true, end_sessions: true, ..job(Mode::Emergency) };
    let (pair, once) = (item(1, 2), seen(&t(1), "", "old"));
    assert_eq!(next(&job, &pair, &progress(1), &once, NOW), Next::Retire("old".to_owned()));
    let retired = Progress { retired: 1, ..progress(1) };
    assert_eq!(next(&job, &pair, &retired, &once, NOW), Next::Diagnose(Some("old".to_owned())));
    let refused = Progress { dead: dead(1, &["old"]), said: said(1, "healthy", "rejected"), ..retired };
    let sessions = Next::EndSessions("old".to_owned());
    assert_eq!(next(&job, &pair, &refused, &once, NOW), sessions);
    let ended = |left, error: &str, asked| Progress {
        sessions: Some(Sessions { asked, at: NOW, ended: Some(2), left, error: error.to_owned() }),
        ..refused.clone()
    };
    assert_eq!(next(&job, &pair, &ended(0, "", 1), &once, NOW), end(Outcome::Rotated, ""));
    assert_eq!(next(&job, &pair, &ended(1, "", 1), &once, NOW), Next::Wait);
    assert_eq!(next(&job, &pair, &ended(1, "", 1), &once, NOW + REPEAT), sessions);
    assert_eq!(next(&job, &pair, &ended(1, "", 3), &once, NOW), failed("sessions-stay"));
    let denied = ended(0, "privilege-missing", 3);
    assert_eq!(next(&job, &pair, &denied, &once, NOW), failed("sessions-not-ended: privilege-missing"));
    // A credential that works on after it was ended early gets its second round.
    let alive = Progress { said: said(1, "healthy", "works"), dead: Vec::new(), ..refused };
    assert_eq!(next(&job, &pair, &alive, &once, NOW), Next::Rotate(t(2)));
}

/// An execution that continues a run learns from the labels what was current before, or does not claim to know.
#[test]
fn the_leaked_version_is_not_guessed() {
    assert_eq!(replaced("r", &item(1, 2), &seen("old", "", "older")).as_deref(), Some("old"));
    assert_eq!(replaced("r", &item(1, 2), &seen(&t(1), "", "old")).as_deref(), Some("old"));
    assert_eq!(replaced("r", &item(1, 2), &seen(&t(2), "", &t(1))), None);
    let unknown = Progress { replaced: None, said: said(2, "healthy", ""), ..progress(0) };
    let ended = next(&job(Mode::Emergency), &item(2, 2), &unknown, &seen(&t(2), "", &t(1)), NOW);
    assert_eq!(ended, failed("death-not-tried"), "and it is no success");
}

/// What is current may be what a run of this name has made weeks ago, and may have leaked since.
#[test]
fn a_name_that_was_used_before_proves_nothing() {
    let (used, before) = (Item { used: true, ..item(1, 1) }, seen(&t(1), "", "old"));
    for mode in [Mode::Rotate, Mode::Emergency] {
        assert_eq!(next(&job(mode), &used, &progress(0), &before, NOW), failed("name-used-before"));
    }
}

/// A rotation leaves a signing key public, and uses up one of the certificates that a CA issues in a week.
#[test]
fn a_key_that_ends_by_its_name_is_not_rotated_before_it_is_named() {
    let unnamed = Item { unnamed: true, ..item(1, 1) };
    let ended = |seen| next(&job(Mode::Emergency), &unnamed, &progress(0), &seen, NOW);
    assert_eq!(ended(seen("old", "", "")), failed("key-not-named"));
    assert_ne!(ended(seen(&t(1), "", "old")), failed("key-not-named"), "it was named, and rotated since");
}

#[test]
fn a_secret_that_never_rests_ends() {
    let (late, theirs) = (NOW + 86_400_000, seen("old", "theirs", ""));
    let unwell = seen(&t(1), "theirs", "old");
    for mode in [Mode::Rotate, Mode::Emergency, Mode::RollBack, Mode::Rekey] {
        for seen in [&theirs, &unwell] {
            let progress = Progress { since: late, said: said(1, "unclear", "unknown"), ..progress(1) };
            assert_eq!(next(&job(mode), &item(1, 3), &progress, seen, late), failed("takes-too-long"));
        }
    }
}

#[test]
fn pauses_grow() {
    assert_eq!((pause(0), pause(1), pause(5), pause(100)), (1_000, 2_000, 30_000, 30_000));
}

#[test]
fn a_secret_that_was_moved_back_or_is_off_is_left_to_people() {
    let job = job(Mode::Rotate);
    let back = seen("old", "", &t(1));
    assert_eq!(next(&job, &item(1, 1), &progress(1), &back, NOW), failed("moved-back"));
    // An execution that goes on does not know what was there before. The dates tell.
    let fresh = Progress { replaced: None, ..progress(0) };
    assert_eq!(next(&job, &item(1, 1), &fresh, &back, NOW), Next::Compare);
    let older = Progress { moved_back: Some(true), ..fresh.clone() };
    assert_eq!(next(&job, &item(1, 1), &older, &back, NOW), failed("moved-back"));
    let newer = Progress { moved_back: Some(false), said: said(1, "healthy", ""), ..fresh };
    assert_eq!(next(&job, &item(1, 1), &newer, &seen("later", "", &t(1)), NOW), end(Outcome::Already, ""));
    let off = Seen { enabled: false, ..seen("old", "", "") };
    assert_eq!(next(&job, &item(1, 1), &progress(0), &off, NOW), failed("rotation-off"));
}

#[test]
fn a_roll_back_moves_only_what_the_run_moved_and_only_to_what_works() {
    let (job, one, rotated) = (job(Mode::RollBack), item(1, 1), seen(&t(1), "", "old"));
    let with = |said: Option<Said>| {
        let said = said.map(|said| Said { labels: rotated.labels(), ..said });
        Progress { said, ..progress(0) }
    };
    let ask = Next::Diagnose(Some("old".to_owned()));
    assert_eq!(next(&job, &one, &with(None), &rotated, NOW), ask);
    let promote = Next::Promote { to: "old".to_owned(), from: t(1) };
    assert_eq!(next(&job, &one, &with(said(0, "healthy", "works")), &rotated, NOW), promote);
    // The password opens the server, and not the database.
    let hindered = said(0, "healthy", "works").map(|said| Said { hindered: true, ..said });
    assert_eq!(next(&job, &one, &with(hindered), &rotated, NOW), Next::Wait);
    let kept = |reason| end(Outcome::Kept, reason);
    assert_eq!(next(&job, &one, &with(said(0, "healthy", "rejected")), &rotated, NOW), kept("previous-refused"));
    assert_eq!(next(&job, &one, &with(said(0, "unclear", "unreachable")), &rotated, NOW), Next::Wait);
    assert_eq!(next(&job, &one, &with(None), &seen("x", "", "y"), NOW), kept("not-of-this-run"));
    assert_eq!(next(&job, &one, &with(None), &seen("old", "", &t(1)), NOW), kept("rotated-since"));
    // The proof is for one version under these labels.
    let other = seen(&t(1), "", "other");
    let ask_other = Next::Diagnose(Some("other".to_owned()));
    assert_eq!(next(&job, &one, &with(said(0, "healthy", "works")), &other, NOW), ask_other);
    // A rotation that is under way changes the user of AWSPREVIOUS.
    let during = seen(&t(1), "theirs", "old");
    assert_eq!(next(&job, &one, &with(said(0, "healthy", "works")), &during, NOW), Next::Wait);
    assert_eq!(next(&job, &one, &progress(0), &during, NOW + 10_001), kept("rotation-under-way"));
    // And AWSCURRENT has to serve afterwards.
    let back = seen("old", "", &t(1));
    let moved = |finding: &str| {
        let said = said(0, finding, "").map(|said| Said { labels: back.labels(), ..said });
        Progress { moved: true, said, ..progress(0) }
    };
    let unmoved = Progress { moved: true, ..with(said(0, "healthy", "works")) };
    assert_eq!(next(&job, &one, &unmoved, &back, NOW), Next::Diagnose(None));
    assert_eq!(next(&job, &one, &moved("healthy"), &back, NOW), end(Outcome::RolledBack, ""));
    assert_eq!(next(&job, &one, &moved("current-refused"), &back, NOW), failed("current-refused"));
}

#[test]
fn a_rekey_stops_where_the_value_cannot_be_read() {
    let (job, one, at_rest) = (job(Mode::Rekey), item(1, 1), seen("v", "", "u"));
    assert_eq!(next(&job, &one, &progress(0), &at_rest, NOW), Next::Rekey);
    let moved = |finding| Progress { moved: true, said: said(0, finding, ""), ..progress(1) };
    let unread = Progress { said: None, ..moved("") };
    assert_eq!(next(&job, &one, &unread, &at_rest, NOW), Next::Diagnose(None));
    assert_eq!(next(&job, &one, &moved("healthy"), &at_rest, NOW), end(Outcome::Rekeyed, ""));
    assert_eq!(next(&job, &one, &moved("unclear"), &at_rest, NOW), failed("unclear"));
    let again = Progress { asked: 0, ..moved("healthy") };
    assert_eq!(next(&job, &one, &again, &at_rest, NOW), end(Outcome::Already, ""));
    let alone = Item { function: String::new(), ..one };
    assert_eq!(next(&job, &alone, &unread, &at_rest, NOW), end(Outcome::Rekeyed, ""), "nobody to ask");
}
