//! How often to rotate until a leaked credential is dead.
//!
//! This is the table of docs/runbooks/leaked-credential.md. Where the value does not tell, the number has a range, and the run rotates
//! until a refused use proves that the credential is dead.

use super::member::{Facts, Strategy};
use serde::{Deserialize, Serialize};

/// How many rotations end a leaked credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rounds {
    /// So many in any case.
    pub least: u32,
    /// So many at most. If the credential still works then, a person has to end it.
    pub most: u32,
}

impl Rounds {
    /// One rotation, which replaces AWSCURRENT.
    pub const ONCE: Self = Self { least: 1, most: 1 };

    /// For an emergency. `early`: the credential of a pair's other user is ended after the first rotation.
    pub fn until_dead(facts: Option<&Facts>, early: bool) -> Self {
        let Some(facts) = facts else { return Self { least: 1, most: 2 } };
        match facts.strategy {
            // Once it is named, one rotation ends the key; a second one is refused for a while, or uses up what a CA issues.
            Strategy::SingleUser | Strategy::SigningKey | Strategy::Certificate => Self::ONCE,
            // If the superuser cannot end it, the second rotation does.
            Strategy::AlternatingUsers if early => Self { least: 1, most: 2 },
            // The second rotation changes the user whose password leaked.
            Strategy::AlternatingUsers => Self { least: 2, most: 2 },
            // The server knows whether it kept the previous password.
            Strategy::PerhapsDualPassword | Strategy::Unknown => Self { least: 1, most: 2 },
            // The second rotation revokes the key that leaked. A key in the journal was not revoked at its time; if the leaked key comes
            // after it, one more rotation may be needed.
            Strategy::ApiKey => Self { least: 1, most: if facts.journal > 0 { 3 } else { 2 } },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_those_of_the_runbook() {
        let rounds = |strategy, journal| {
            let Rounds { least, most } =
                Rounds::until_dead(Some(&Facts { strategy, journal, ..Facts::default() }), false);
            (least, most)
        };
        assert_eq!(rounds(Strategy::SingleUser, 0), (1, 1));
        assert_eq!((rounds(Strategy::SigningKey, 0), rounds(Strategy::Certificate, 0)), ((1, 1), (1, 1)));
        assert_eq!(rounds(Strategy::PerhapsDualPassword, 0), (1, 2));
        assert_eq!(rounds(Strategy::AlternatingUsers, 0), (2, 2));
        assert_eq!(rounds(Strategy::ApiKey, 0), (1, 2));
        assert_eq!(rounds(Strategy::ApiKey, 1), (1, 3));
        assert_eq!(Rounds::until_dead(None, false), Rounds { least: 1, most: 2 });
        let pair = Facts { strategy: Strategy::AlternatingUsers, ..Facts::default() };
        assert_eq!(Rounds::until_dead(Some(&pair), true), Rounds { least: 1, most: 2 });
    }
}
