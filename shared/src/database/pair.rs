//! Two users that take turns.

use crate::error::{Code, Error, Fact, Result};

/// The suffix that AWS's functions append to the partner's name. Existing pairs have it.
const CLONE_SUFFIX: &str = "_clone";

/// Alternating users. The clone is made to have the base's privileges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The user that has its privileges from an administrator.
    pub base: String,
    /// The user that is made like the base.
    pub clone: String,
    /// Whether the secret names both (`rotation.users`). If not, the database has to confirm that the two belong together, because
    /// names alone prove nothing.
    pub named: bool,
}

/// One user of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The base user.
    Base,
    /// The clone.
    Clone,
}

impl Pair {
    /// The pair of a secret's current user: `users` if the secret names both (`rotation.users`), else by the name's suffix. A
    /// current user `x_clone` is the clone of `x` only if the previous version's user was `x`. Otherwise `x_clone` may be a base
    /// whose clone is `x_clone_clone`.
    ///
    /// # Errors
    /// [`Code::FieldInvalid`] if `rotation.users` does not name the current user.
    pub(crate) fn of(user: &str, users: Option<&(String, String)>, previous_user: Option<&str>) -> Result<Self> {
        if let Some((base, clone)) = users {
            if user == base || user == clone {
                return Ok(Self { base: base.clone(), clone: clone.clone(), named: true });
            }
            return Err(Error::new(Code::FieldInvalid)
                .with(Fact::Field, "rotation.users")
                .with(Fact::Found, format_args!("{base}, {clone}"))
                .with(Fact::Expected, format_args!("two names of which one is the secret's username, {user}")));
        }
        Ok(match user.strip_suffix(CLONE_SUFFIX) {
            Some(base) if previous_user == Some(base) => {
                Self { base: base.to_owned(), clone: user.to_owned(), named: false }
            }
            _ => Self { base: user.to_owned(), clone: format!("{user}{CLONE_SUFFIX}"), named: false },
        })
    }

    /// The two pairs that a user may belong to whose name ends like a clone's: as the clone, and as the base.
    pub(crate) fn of_clones_name(user: &str) -> Option<(Self, Self)> {
        let base = user.strip_suffix(CLONE_SUFFIX)?.to_owned();
        let as_base = Self { base: user.to_owned(), clone: format!("{user}{CLONE_SUFFIX}"), named: false };
        Some((Self { base, clone: user.to_owned(), named: false }, as_base))
    }

    /// The user on one side.
    pub fn user(&self, side: Side) -> &str {
        match side {
            Side::Base => &self.base,
            Side::Clone => &self.clone,
        }
    }

    /// The user whose clone the base is, if its name ends like a clone's.
    pub fn original(&self) -> Option<&str> {
        self.base.strip_suffix(CLONE_SUFFIX)
    }

    /// The error for a pair that nothing proves.
    pub fn unproven(&self, what: &str) -> Error {
        Error::new(Code::PairUnproven)
            .with(Fact::User, &self.base)
            .with(Fact::Partner, &self.clone)
            .with(Fact::What, what)
    }

    /// The side of the other user.
    pub fn partner(&self, user: &str) -> Side {
        if user == self.base { Side::Clone } else { Side::Base }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partner<'a>(pair: &'a Pair, user: &str) -> &'a str {
        pair.user(pair.partner(user))
    }

    #[test]
    fn a_user_alternates_with_its_clone() {
        let pair = Pair::of("app", None, None).unwrap();
        assert_eq!((pair.base.as_str(), pair.clone.as_str(), pair.named), ("app", "app_clone", false));
        assert_eq!((partner(&pair, "app"), partner(&pair, "app_clone")), ("app_clone", "app"));
        assert_eq!(pair.original(), None);
    }

    #[test]
    fn a_clone_is_one_only_if_the_version_before_says_so() {
        assert_eq!(partner(&Pair::of("app_clone", None, Some("app")).unwrap(), "app_clone"), "app");
        for previous in [None, Some("app_clone"), Some("other")] {
            let pair = Pair::of("app_clone", None, previous).unwrap();
            assert_eq!((partner(&pair, "app_clone"), pair.original()), ("app_clone_clone", Some("app")));
        }
    }

    #[test]
    fn a_named_pair_needs_no_suffix_and_must_hold_the_current_user() {
        let users = ("blue".to_owned(), "green".to_owned());
        let pair = Pair::of("green", Some(&users), None).unwrap();
        assert_eq!((partner(&pair, "green"), pair.partner("green"), pair.named), ("blue", Side::Base, true));
        let error = Pair::of("red", Some(&users), None).unwrap_err();
        assert_eq!(error.fact(Fact::Field), Some("rotation.users"));
    }
}
