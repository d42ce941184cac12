//! A history as text: `postgres/single-user+1 12:crash-after 15:strip-pending`.
//!
//! The calls of the tested rotation are numbered from 1, those of later attempts go on from there. Events at one call happen in
//! their order: what people do comes before the call, or while an invocation is held up there.

use super::case::Case;
use std::fmt;

/// What can happen to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The process ends before the call.
    CrashBefore,
    /// The process ends after the call's effect.
    CrashAfter,
    /// The call has its effect, and its reply is lost.
    ReplyLost,
    /// The call has no effect, and its error says that nobody answered.
    TimeOut,
    /// Secrets Manager or the issuer throttles the call until the step's time is spent.
    Throttle,
    /// The issuer does what it was asked for, and its gateway answers 502.
    BadGateway,
    /// The server has become read-only, and refuses.
    ReadOnly,
    /// The read shows what its label said before its last change.
    StaleRead,
    /// A write arrives twice: whoever sent it has sent it again, because the first reply was lost.
    SentTwice,
    /// The step is delivered once more after it has ended.
    DeliveredTwice,
    /// Another invocation of the step runs before this call goes on.
    AtOnce,
    /// The invocation stops here while everything else goes on, and goes on then.
    HeldUp,
}

/// What people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// UpdateSecretVersionStage takes AWSPENDING away.
    StripPending,
    /// CancelRotateSecret.
    Cancel,
    /// RotateSecret.
    Rotate,
    /// PutSecretValue of the current document.
    PutSame,
    /// PutSecretValue of the current document with one more field.
    PutEdited,
    /// PutSecretValue of the current document with one more field and a label of its own, to which AWSCURRENT moves then.
    LabelEdited,
    /// AWSCURRENT moves to the pending version.
    CurrentToPending,
    /// AWSCURRENT moves to the previous version.
    CurrentToPrevious,
    /// AWSCURRENT moves to the newest version without a label.
    CurrentToUnlabelled,
    /// DeleteSecret.
    Delete,
    /// RestoreSecret.
    Restore,
    /// The database is restored to its state before the tested rotation.
    RestoreDatabase,
    /// The database is restored to its state before the last completed rotation.
    RestoreOlderDatabase,
    /// The password of the user in AWSCURRENT is changed by hand.
    ChangePassword,
    /// The user in AWSCURRENT is dropped.
    DropCurrentUser,
    /// The base user is dropped.
    DropBase,
    /// The clone is dropped.
    DropClone,
    /// The superuser gets another password, in its secret, too.
    RotateSuperuser,
    /// Another secret for the same user or with the same key is rotated.
    RotateSecond,
    /// The key in AWSCURRENT is deleted at the issuer.
    RevokeKey,
    /// The key in AWSPENDING is deleted at the issuer.
    RevokePendingKey,
    /// The key in AWSCURRENT gets another value at the issuer.
    ChangeKey,
    /// The issuer's administrator gets another credential, in its secret, too.
    RotateAdmin,
    /// The key that signs has leaked, and the secret says so.
    LeakCurrent,
    /// The next key has leaked, and the secret says so.
    LeakNext,
    /// The key that signs is removed from the first place.
    DropPublished,
    /// All keys are removed from the first place.
    EmptyPublished,
    /// The first place's set is deleted.
    DeletePublished,
    /// A key of somebody else is added to the first place.
    AddPublished,
    /// All TXT values at the names are removed.
    ClearTxt,
    /// The daily look comes. A schedule does that, and no person.
    DailyLook,
}

/// A fault or an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Of the machinery.
    Fault(Fault),
    /// Of people.
    Act(Act),
}

/// What happens at which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    /// The call's number.
    pub at: u32,
    /// What happens.
    pub what: What,
}

/// Where a history begins, and what happens in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct History {
    /// The beginning.
    pub case: Case,
    /// In the order of the calls.
    pub events: Vec<Event>,
}

const FAULTS: [(Fault, &str); 12] = [
    (Fault::CrashBefore, "crash-before"),
    (Fault::CrashAfter, "crash-after"),
    (Fault::ReplyLost, "reply-lost"),
    (Fault::TimeOut, "time-out"),
    (Fault::Throttle, "throttle"),
    (Fault::BadGateway, "bad-gateway"),
    (Fault::ReadOnly, "read-only"),
    (Fault::StaleRead, "stale-read"),
    (Fault::SentTwice, "sent-twice"),
    (Fault::DeliveredTwice, "delivered-twice"),
    (Fault::AtOnce, "at-once"),
    (Fault::HeldUp, "held-up"),
];

const ACTS: [(Act, &str); 31] = [
    (Act::StripPending, "strip-pending"),
    (Act::Cancel, "cancel"),
    (Act::Rotate, "rotate"),
    (Act::PutSame, "put-same"),
    (Act::PutEdited, "put-edited"),
    (Act::LabelEdited, "label-edited"),
    (Act::CurrentToPending, "current-to-pending"),
    (Act::CurrentToPrevious, "current-to-previous"),
    (Act::CurrentToUnlabelled, "current-to-unlabelled"),
    (Act::Delete, "delete"),
    (Act::Restore, "restore"),
    (Act::RestoreDatabase, "restore-database"),
    (Act::RestoreOlderDatabase, "restore-older-database"),
    (Act::ChangePassword, "change-password"),
    (Act::DropCurrentUser, "drop-current-user"),
    (Act::DropBase, "drop-base"),
    (Act::DropClone, "drop-clone"),
    (Act::RotateSuperuser, "rotate-superuser"),
    (Act::RotateSecond, "rotate-second"),
    (Act::RevokeKey, "revoke-key"),
    (Act::RevokePendingKey, "revoke-pending-key"),
    (Act::ChangeKey, "change-key"),
    (Act::RotateAdmin, "rotate-admin"),
    (Act::LeakCurrent, "leak-current"),
    (Act::LeakNext, "leak-next"),
    (Act::DropPublished, "drop-published"),
    (Act::EmptyPublished, "empty-published"),
    (Act::DeletePublished, "delete-published"),
    (Act::AddPublished, "add-published"),
    (Act::ClearTxt, "clear-txt"),
    (Act::DailyLook, "daily-look"),
];

impl Fault {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        FAULTS.into_iter().map(|(fault, _)| fault)
    }
}

impl Act {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        ACTS.into_iter().map(|(act, _)| act)
    }

    /// Whether the act can take the last credential away from the secret. Then an error that says what to do is enough.
    pub(super) fn destroys(self) -> bool {
        matches!(
            self,
            Self::RestoreDatabase
                | Self::RestoreOlderDatabase
                | Self::ChangePassword
                | Self::DropCurrentUser
                | Self::DropBase
                | Self::DropClone
                | Self::RotateSecond
                | Self::RevokeKey
                | Self::RevokePendingKey
                | Self::ChangeKey
                | Self::DropPublished
                | Self::EmptyPublished
                | Self::DeletePublished
        )
    }
}

impl What {
    /// The name in a history.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fault(fault) => FAULTS.iter().find(|(known, _)| *known == fault).map_or("", |(_, name)| name),
            Self::Act(act) => ACTS.iter().find(|(known, _)| *known == act).map_or("", |(_, name)| name),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let fault = FAULTS.iter().find(|(_, known)| *known == name).map(|(fault, _)| Self::Fault(*fault));
        fault.or_else(|| ACTS.iter().find(|(_, known)| *known == name).map(|(act, _)| Self::Act(*act)))
    }
}

impl History {
    /// The history that a text names.
    ///
    /// # Errors
    /// The word that is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let case = words.next().unwrap_or_default();
        let case = Case::parse(case).ok_or_else(|| format!("no such target and strategy: {case}"))?;
        let event = |word: &str| {
            let (at, what) = word.split_once(':')?;
            Some(Event { at: at.parse().ok()?, what: What::parse(what)? })
        };
        let events = words.map(|word| event(word).ok_or_else(|| format!("no such event: {word}")));
        Ok(Self { case, events: events.collect::<Result<_, _>>()? })
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.case)?;
        self.events.iter().try_for_each(|Event { at, what }| write!(f, " {at}:{}", what.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_survives_its_text() {
        let text = "mysql/alternating-users+2 3:held-up 3:strip-pending 17:crash-after";
        assert_eq!(History::parse(text).unwrap().to_string(), text);
        for wrong in [
            "",
            "oracle/single-user",
            "postgres/dual-password",
            "postgres/single-user x:crash-after",
            "postgres/single-user 1:fly",
        ] {
            assert!(History::parse(wrong).is_err(), "{wrong}");
        }
    }
}
