//! The ids of the versions that a run makes.
//!
//! **Invariant:** a token follows from the run's key, the secret and the round, and from nothing else. The key is the run's name, and says
//! whether it is an emergency. So a repeated item, a resumed
//! run and a second worker all ask for the same rotation, and Secrets Manager makes it once. Without it, a secret is rotated again
//! after each crash, and a credential that consumers hold dies early. Test: `a_repeated_item_is_the_same_rotation`.

use crate::digest;
use rotation::encoding::hex;

/// The most rounds that a run makes of one secret.
pub(crate) const MOST_ROUNDS: u32 = 3;

/// The client request token of a round, in the form of a UUID: the service takes 32 to 64 characters, and people know the form.
pub fn token(run: &str, secret: &str, round: u32) -> String {
    let bytes = digest::of(&["token", run, secret, &round.to_string()]);
    let part = |from: usize, to: usize| bytes.get(from..to).map(hex).unwrap_or_default();
    // Version 8 of RFC 9562 is for ids of one's own making.
    let (version, variant) = (part(6, 8), part(8, 10));
    let (version, variant) = (version.get(1..).unwrap_or_default(), variant.get(1..).unwrap_or_default());
    format!("{}-{}-8{version}-a{variant}-{}", part(0, 4), part(4, 6), part(10, 16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn tokens_differ_by_run_secret_and_round_and_by_nothing_else() {
        let mut all = HashSet::new();
        for run in ["a", "b"] {
            for secret in ["s", "t"] {
                for round in 1..=MOST_ROUNDS {
                    let one = token(run, secret, round);
                    assert_eq!(one, token(run, secret, round));
                    assert_eq!(one.len(), 36);
                    assert_eq!(one.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
                    assert!(all.insert(one));
                }
            }
        }
        assert_ne!(token("ab", "c", 1), token("a", "bc", 1));
    }
}
