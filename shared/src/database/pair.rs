//! Two users that take turns.

use super::facts::Facts;
use crate::error::{Code, Error, Fact, Result};

/// What AWS's functions append to make the partner's name, and so what existing pairs are called.
const CLONE_SUFFIX: &str = "_clone";

/// The alternating users. The base's privileges are the truth; the clone's are made to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The user whose privileges count.
    pub base: String,
    /// The user that is made to be like the base.
    pub clone: String,
    /// Whether the secret names both (`rotation.users`). If not, the names alone prove nothing, and the database has
    /// to confirm that the two belong together.
    pub named: bool,
}

/// One of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The base user.
    Base,
    /// The clone.
    Clone,
}

impl Pair {
    /// The pair that the current user belongs to. A current user `x_clone` is the clone of `x` only if the version before
    /// was `x`: it could as well be a user of that very name, whose partner is `x_clone_clone`.
    ///
    /// # Errors
    /// [`Code::FieldInvalid`] if `rotation.users` does not name the current user.
    pub fn of(current: &Facts, previous_user: Option<&str>) -> Result<Self> {
        if let Some((base, clone)) = &current.users {
            let pair = Self { base: base.clone(), clone: clone.clone(), named: true };
            return match pair.side(&current.username) {
                Some(_) => Ok(pair),
                None => Err(Error::new(Code::FieldInvalid)
                    .with(Fact::Field, "rotation.users")
                    .with(Fact::Found, format_args!("{base}, {clone}"))
                    .with(
                        Fact::Expected,
                        format_args!("two names of which one is the secret's username, {}", current.username),
                    )),
            };
        }
        let user = &current.username;
        Ok(match user.strip_suffix(CLONE_SUFFIX) {
            Some(base) if previous_user == Some(base) => {
                Self { base: base.to_owned(), clone: user.clone(), named: false }
            }
            _ => Self { base: user.clone(), clone: format!("{user}{CLONE_SUFFIX}"), named: false },
        })
    }

    /// Whether [`of`](Self::of) needs to know who the previous user was.
    pub fn needs_previous(current: &Facts) -> bool {
        current.users.is_none() && current.username.ends_with(CLONE_SUFFIX)
    }

    /// Which of the two a user is.
    pub fn side(&self, user: &str) -> Option<Side> {
        if user == self.base {
            Some(Side::Base)
        } else if user == self.clone {
            Some(Side::Clone)
        } else {
            None
        }
    }

    /// The user on one side.
    pub fn user(&self, side: Side) -> &str {
        match side {
            Side::Base => &self.base,
            Side::Clone => &self.clone,
        }
    }

    /// The user that the base itself would be the clone of, as its name has it.
    pub fn original(&self) -> Option<&str> {
        self.base.strip_suffix(CLONE_SUFFIX)
    }

    /// The other one.
    pub fn partner(&self, user: &str) -> &str {
        if user == self.base { &self.clone } else { &self.base }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::facts::tests::facts;

    #[test]
    fn a_user_alternates_with_its_clone() {
        let pair = Pair::of(&facts(r#""username":"app""#), None).unwrap();
        assert_eq!((pair.base.as_str(), pair.clone.as_str(), pair.named), ("app", "app_clone", false));
        assert_eq!((pair.partner("app"), pair.partner("app_clone")), ("app_clone", "app"));
        assert_eq!(pair.original(), None);
    }

    #[test]
    fn a_clone_is_one_only_if_the_version_before_says_so() {
        let current = facts(r#""username":"app_clone""#);
        assert_eq!(Pair::of(&current, Some("app")).unwrap().partner("app_clone"), "app");
        for previous in [None, Some("app_clone"), Some("other")] {
            let pair = Pair::of(&current, previous).unwrap();
            assert_eq!((pair.partner("app_clone"), pair.original()), ("app_clone_clone", Some("app")));
        }
    }

    #[test]
    fn a_named_pair_needs_no_suffix_and_must_hold_the_current_user() {
        let pair = Pair::of(&facts(r#""username":"green","rotation":{"users":["blue","green"]}"#), None).unwrap();
        assert_eq!((pair.partner("green"), pair.side("green"), pair.named), ("blue", Some(Side::Clone), true));
        let error = Pair::of(&facts(r#""username":"red","rotation":{"users":["blue","green"]}"#), None).unwrap_err();
        assert_eq!(error.fact(Fact::Field), Some("rotation.users"));
    }
}
