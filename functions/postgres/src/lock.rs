//! A transaction that holds the lock on a user or a pair.

use crate::connect::Session;
use crate::observed_pair::ObservedPair;
use crate::sql::password::Encryption;

/// A session in a transaction that holds the lock, and what was read under it. The lock ends with the transaction, and the
/// transaction ends with the session.
pub(crate) struct Locked {
    pub(crate) session: Session,
    pub(crate) encryption: Encryption,
    /// The superuser who sets another user's password. `None`: the user sets its own.
    pub(crate) superuser: Option<String>,
    /// The pair that the user belongs to, as it is.
    pub(crate) pair: Option<ObservedPair>,
}
