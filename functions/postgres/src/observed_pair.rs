//! The two users of a pair as the server shows them, and whether they belong together.

use crate::catalog::Role;
use rotation::database::{Pair, Side};
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;

/// The pair, and the user whose clone the base may be.
pub(crate) fn related_names(pair: &Pair) -> Vec<&str> {
    [Some(pair.base.as_str()), Some(pair.clone.as_str()), pair.original()].into_iter().flatten().collect()
}

/// The pair as it is.
#[derive(Debug)]
pub(crate) struct ObservedPair {
    pub(crate) base: Option<Role>,
    pub(crate) clone: Option<Role>,
}

impl ObservedPair {
    pub(crate) fn new(pair: &Pair, roles: Vec<Role>) -> Self {
        let mut by_name: BTreeMap<String, Role> = roles.into_iter().map(|role| (role.name.clone(), role)).collect();
        Self { base: by_name.remove(&pair.base), clone: by_name.remove(&pair.clone) }
    }

    /// The base user, if the two belong together.
    ///
    /// **Invariant:** a pair's user is changed only if the secret or the database proves that the two belong
    /// together. A name that ends in `_clone` proves nothing: AWS's function resets the unrelated user `x` if an ordinary user is
    /// called `x_clone`. Test: `only_a_provable_pair_is_touched`.
    ///
    /// A clone that is gone cannot be asked. `clone_was_ours` says that an older version of the secret holds the base.
    pub(crate) fn provable(&self, pair: &Pair, pending: Side, clone_was_ours: bool) -> Result<&Role> {
        let unproven = |what| Err(pair.unproven(what));
        let Some(base) = &self.base else {
            return Err(Error::new(Code::RoleMissing).with(Fact::User, &pair.base).with(Fact::Partner, &pair.clone));
        };
        if base.reach.contains_key(&pair.clone) {
            return unproven("the base user is a member of the other one");
        }
        if !pair.named && pair.original().is_some_and(|original| base.is_in(original)) {
            return unproven(
                "the secret's user is itself a clone, and the secret's previous version does not say of whom",
            );
        }
        match &self.clone {
            Some(clone) if !pair.named && !clone.is_in(&pair.base) => {
                unproven("the partner exists and is not a member of the base user")
            }
            None if pending == Side::Base && !pair.named && !clone_was_ours => {
                unproven("the user that the secret holds now does not exist at the server")
            }
            _ => Ok(base),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::changes::tests::{followed, member, role};

    #[test]
    fn only_a_provable_pair_is_touched() {
        let pair = Pair { base: "app".to_owned(), clone: "app_clone".to_owned(), named: false };
        let named = Pair { named: true, ..pair.clone() };
        let stranger = role("app_clone");
        let observed = ObservedPair { base: Some(role("app")), clone: Some(stranger.clone()) };
        assert_eq!(observed.provable(&pair, Side::Clone, false).unwrap_err().code(), Code::PairUnproven);
        assert!(observed.provable(&named, Side::Clone, false).is_ok());

        let observed = ObservedPair { base: None, clone: Some(stranger) };
        assert_eq!(observed.provable(&pair, Side::Clone, false).unwrap_err().code(), Code::RoleMissing);

        let mut clone_of_clone = role("app");
        clone_of_clone.reach.insert("app_clone".to_owned(), None);
        let observed = ObservedPair { base: Some(clone_of_clone), clone: Some(followed(&role("app"))) };
        assert_eq!(observed.provable(&named, Side::Clone, false).unwrap_err().code(), Code::PairUnproven);

        let mut base = role("x_clone");
        base.member_of.push(member("x"));
        let pair = Pair { base: "x_clone".to_owned(), clone: "x_clone_clone".to_owned(), named: false };
        let observed = ObservedPair { base: Some(base), clone: None };
        assert_eq!(observed.provable(&pair, Side::Clone, false).unwrap_err().code(), Code::PairUnproven);
    }
}
