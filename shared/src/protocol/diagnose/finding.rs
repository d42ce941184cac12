//! What a diagnosis can find, and what to do about it.

/// The result of a diagnosis. Its words are as stable as error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// Nothing is wrong.
    Healthy,
    /// Consumers are served, and no rotation is scheduled.
    RotationOff,
    /// Consumers are served, and the rotation has been due for more than a day.
    Overdue,
    /// Consumers are served, and no rotation has made the key in the form that is stated now.
    NotGenerated,
    /// Consumers are served, and the certificate expires soon.
    CertificateExpires,
    /// No version is AWSCURRENT.
    CurrentMissing,
    /// A rotation began minutes ago.
    UnderWay,
    /// A rotation began and was not finished; consumers are served.
    Unfinished,
    /// AWSCURRENT is refused, and AWSPENDING works.
    PendingInEffect,
    /// AWSCURRENT and AWSPENDING are refused, and AWSPREVIOUS works.
    PreviousInEffect,
    /// AWSCURRENT, AWSPENDING and AWSPREVIOUS are refused, and an older version's credential works.
    OlderInEffect,
    /// All credentials are refused, and the credential of the superuser, the admin or the CA account can repair the secret.
    RescuePossible,
    /// AWSCURRENT is refused, and the credential that a rotation would use next could not be tried or used.
    CurrentRefused,
    /// All credentials that were tried are refused. Older versions were not tried, so that the server does not block the user.
    NotAllTried,
    /// All credentials are refused.
    LockedOut,
    /// It could not be found out whether AWSCURRENT works.
    Unclear,
    /// AWSCURRENT works, and the credential of the superuser, the admin or the CA account does not.
    CompanionFails,
}

impl Finding {
    /// All of them, for documentation and tests.
    pub const ALL: &[Self] = &[
        Self::Healthy,
        Self::RotationOff,
        Self::Overdue,
        Self::NotGenerated,
        Self::CertificateExpires,
        Self::CurrentMissing,
        Self::UnderWay,
        Self::Unfinished,
        Self::PendingInEffect,
        Self::PreviousInEffect,
        Self::OlderInEffect,
        Self::RescuePossible,
        Self::CurrentRefused,
        Self::NotAllTried,
        Self::LockedOut,
        Self::Unclear,
        Self::CompanionFails,
    ];

    /// The word used in results and runbooks.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::RotationOff => "rotation-off",
            Self::Overdue => "rotation-overdue",
            Self::NotGenerated => "not-generated",
            Self::CertificateExpires => "certificate-expires",
            Self::CurrentMissing => "current-missing",
            Self::UnderWay => "rotation-under-way",
            Self::Unfinished => "rotation-unfinished",
            Self::PendingInEffect => "pending-in-effect",
            Self::PreviousInEffect => "previous-in-effect",
            Self::OlderInEffect => "older-in-effect",
            Self::RescuePossible => "rescue-possible",
            Self::CurrentRefused => "current-refused",
            Self::NotAllTried => "not-all-tried",
            Self::LockedOut => "locked-out",
            Self::Unclear => "unclear",
            Self::CompanionFails => "companion-fails",
        }
    }

    /// What it means, in one clause.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Healthy => "the current credential works and no rotation is left unfinished",
            Self::RotationOff => "the current credential works, and the secret has no rotation that is turned on",
            Self::Overdue => "the current credential works, and the rotation has been due for more than a day",
            Self::NotGenerated => "the current key is in use, and was stored by hand or before its form changed",
            Self::CertificateExpires => "the current certificate is valid, and expires soon",
            Self::CurrentMissing => "no version of the secret is AWSCURRENT",
            Self::UnderWay => "a rotation began a few minutes ago",
            Self::Unfinished => "the current credential works, and a rotation was begun and not finished",
            Self::PendingInEffect => "the current credential is refused; the pending one works already",
            Self::PreviousInEffect => "the current credential is refused; the previous one still works",
            Self::OlderInEffect => "the current credential is refused; the credential of an older version still works",
            Self::RescuePossible => {
                "the secret's own credentials are refused; the credential of the superuser, the admin or the CA account works"
            }
            Self::CurrentRefused => {
                "the current credential is refused, and it could not be found out whether another one sets it right"
            }
            Self::NotAllTried => {
                "every credential that was tried is refused, and older versions were not tried, so that the server does not block the user"
            }
            Self::LockedOut => "every credential of the secret is refused, and nothing else may set it right",
            Self::Unclear => "the current credential could not be tried to the end",
            Self::CompanionFails => {
                "the current credential works, and the credential of the superuser, the admin or the CA account could not be used"
            }
        }
    }

    /// What to do next, in one sentence or two.
    pub fn next_action(self) -> &'static str {
        match self {
            Self::Healthy => "Nothing to do.",
            Self::RotationOff => "Turn rotation on with `aws secretsmanager rotate-secret`, if it is meant to rotate.",
            Self::Overdue => {
                "Run `aws secretsmanager rotate-secret` for the secret, and find out why Secrets Manager did not begin by itself: follow docs/runbooks/stuck-awspending.md, under \"The rotation is overdue\"."
            }
            Self::NotGenerated => {
                "Run `aws secretsmanager rotate-secret` for the secret: it draws a key of the form that is stated."
            }
            Self::CertificateExpires => {
                "Run `aws secretsmanager rotate-secret` for the secret, and find out why it was not renewed in time: the log of the function has the error of each attempt."
            }
            Self::CurrentMissing => "Give the secret a value with `aws secretsmanager put-secret-value`.",
            Self::UnderWay => "Wait a few minutes and diagnose again. Do not remove AWSPENDING.",
            Self::Unfinished => {
                "Run `aws secretsmanager rotate-secret` for the secret: it goes on where it stopped, also where the answer is the error \"That rotation will be reattempted\". Do not remove AWSPENDING, unless the error that the rotation ends with says so."
            }
            Self::PendingInEffect => {
                "Run `aws secretsmanager rotate-secret` for the secret: it makes the pending version current, also where the answer is the error \"That rotation will be reattempted\". Do not remove AWSPENDING, whose version holds the only credential that works."
            }
            Self::PreviousInEffect => {
                "Follow docs/runbooks/roll-back.md, under previous-in-effect: make AWSPREVIOUS current again, which serves consumers at once, and then rotate."
            }
            Self::OlderInEffect => {
                "Run `aws secretsmanager rotate-secret` for the secret: it begins with the older version, whose credential works."
            }
            Self::RescuePossible => {
                "Run `aws secretsmanager rotate-secret` for the secret: it sets a new credential with the rights of the superuser or the admin, or orders another certificate."
            }
            Self::CurrentRefused => {
                "Do what the error says, and diagnose again. Without an error, run `aws secretsmanager rotate-secret` for the secret: it tries what cannot be tried without a change."
            }
            Self::NotAllTried => {
                "If a version is AWSPENDING, remove that label from it, because its password was refused. Then run `aws secretsmanager rotate-secret` for the secret: a new rotation tries the newest versions first. If it fails, follow docs/runbooks/locked-out.md, under \"The search ended too early\"."
            }
            Self::LockedOut => {
                "Follow docs/runbooks/locked-out.md: a person with rights at the target sets the credential that the secret holds."
            }
            Self::Unclear => "Do what the error says, and diagnose again.",
            Self::CompanionFails => "Do what the error says before the next rotation, which needs that credential.",
        }
    }
}
