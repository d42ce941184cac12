//! The staging labels of a secret's versions.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html#term_version>

/// The label of the version that consumers read.
pub const CURRENT: &str = "AWSCURRENT";
/// The label of the version that a rotation is making.
pub const PENDING: &str = "AWSPENDING";
/// The label of the version that was current before. The service moves it by itself.
pub const PREVIOUS: &str = "AWSPREVIOUS";

/// Our own label, for a pending version whose setSecret used up the logins that a server refuses before it blocks the user. Labels
/// of one's own are allowed, 20 a version.
pub const REFUSED: &str = "LockstepRefused";

/// One of the three staging labels of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// AWSCURRENT.
    Current,
    /// AWSPENDING.
    Pending,
    /// AWSPREVIOUS, or no label where an older version is meant.
    Previous,
}
