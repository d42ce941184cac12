//! A transaction that holds the lock on a user or a pair.

use crate::connect::Session;
use crate::observed_pair::ObservedPair;
use crate::sql::password::Encryption;

/// A session in a transaction that holds the lock, and what was read under it. The lock ends with the transaction, and the
/// transaction ends with the session.
pub(crate) struct Locked {
    pub(crate) session: Session,
    pub(crate) encryption: Encryption,
    pub(crate) pair: Option<LockedPair>,
}

/// A pair as it is, and the superuser who changes it.
pub(crate) struct LockedPair {
    pub(crate) observed: ObservedPair,
    pub(crate) superuser: String,
}
