//! The two versions of a secret that a step works with, read and compared before any password is sent.

use super::engine::Engine;
use super::pair::{Pair, Side};
use super::secret::{DatabaseSecret, Setter, Strategy};
use crate::error::{Code, Error, Fact, Result, name};
use crate::protocol::target::Versions;

/// AWSCURRENT and AWSPENDING, for one server and for users that this rotation may change.
pub(crate) struct CheckedVersions {
    pub(crate) current: DatabaseSecret,
    pub(crate) pending: DatabaseSecret,
    pub(crate) users: Users,
}

/// Whose password changes.
pub(crate) enum Users {
    /// The one user's. The setter says who changes it.
    Single { setter: Setter },
    /// That of the pair's pending side. The superuser of the secret `superuser` changes it.
    Alternating { superuser: String, pair: Pair, pending: Side },
}

impl CheckedVersions {
    /// The versions. The pending one lacks nothing that the current one has.
    ///
    /// # Errors
    /// Those of [`read`](Self::read); [`Code::PendingOutdated`].
    pub(crate) fn unedited<E: Engine>(versions: Versions<'_>) -> Result<Self> {
        let read = Self::read::<E>(versions)?;
        // The keys that a rotation writes.
        let keys = &read.current.user.keys;
        versions.unedited(&[keys.of("username"), keys.of("password")])?;
        Ok(read)
    }

    /// **Invariant:** no password is sent before the pending version's server and user were compared with the
    /// current one's. Otherwise whoever may write AWSPENDING could have the current password sent to a server of their own, or
    /// another user's password changed. Test: `a_pending_version_about_something_else_is_never_tried`.
    ///
    /// # Errors
    /// Those of [`DatabaseSecret::read`]; [`Code::PendingMismatch`].
    pub(crate) fn read<E: Engine>(versions: Versions<'_>) -> Result<Self> {
        let current = DatabaseSecret::read::<E>(versions.current)?;
        let pending = DatabaseSecret::read_beside::<E>(versions.pending, &current.user)?;
        current.same_target(&pending)?;
        let (current_user, pending_user) = (&current.user.username, &pending.user.username);
        let (expected, users) = match current.strategy.clone() {
            Strategy::SingleUser { setter } => (current_user.clone(), Users::Single { setter }),
            Strategy::AlternatingUsers { superuser, users } => {
                // createSecret read AWSPREVIOUS to choose the pending user, so that choice shows which of the two is the clone. The
                // database has to confirm that they belong together.
                let pair = Pair::of(current_user, users.as_ref(), Some(pending_user))?;
                let pending = pair.partner(current_user);
                (pair.user(pending).to_owned(), Users::Alternating { superuser, pair, pending })
            }
        };
        if *pending_user == expected {
            return Ok(Self { current, pending, users });
        }
        Err(Error::new(Code::PendingMismatch)
            .with(Fact::Field, current.user.keys.shown("username"))
            .with(Fact::Found, name(pending_user))
            .with(Fact::Expected, name(&expected))
            .with(Fact::User, current_user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::secret::tests::{Postgres, document};

    fn read(current: &str, pending: &str) -> Result<CheckedVersions> {
        CheckedVersions::read::<Postgres>(Versions { current: &document(current), pending: &document(pending) })
    }

    #[test]
    fn a_pending_version_for_something_else_is_refused() {
        let rescued = r#","rotation":{"superuserRescue":true}"#;
        let single = |user: &str, rest: &str| format!(r#""username":"{user}"{rest}{rescued}"#);
        let field = |current: &str, pending: &str| {
            let error = read(current, pending).err().unwrap();
            assert_eq!(error.code(), Code::PendingMismatch);
            error.fact(Fact::Field).unwrap().to_owned()
        };
        assert!(read(&single("app", ""), &single("app", "")).is_ok());
        assert_eq!(field(&single("app", ""), &single("admin", "")), "username");
        assert_eq!(field(&single("app", ""), &single("app", r#","port":1"#)), "port");
        let alternating = |user: &str| format!(r#""username":"{user}""#);
        assert!(read(&alternating("app"), &alternating("app_clone")).is_ok());
        assert!(read(&alternating("app_clone"), &alternating("app")).is_ok());
        for other in ["app", "admin", "app_clone_clone"] {
            assert_eq!(field(&alternating("app"), &alternating(other)), "username");
        }
    }
}
