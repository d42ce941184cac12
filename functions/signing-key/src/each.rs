//! Work in several places: a place where it fails does not stop it in the others.

use rotation::{Code, Error, Fact, Result};

/// What failed in some of the places.
///
/// **Invariant:** each place is done before an error counts. Otherwise whoever spoils one place keeps a leaked key in all others. Test:
/// `a_bad_place_stops_nothing_in_the_others`.
#[derive(Debug, Default)]
pub struct EachPlace {
    /// Whether a key has leaked: then a bad place does not keep the key in use everywhere else.
    is_emergency: bool,
    failed: Vec<Error>,
    warnings: Vec<Error>,
}

impl EachPlace {
    /// For a rotation that ends a leaked key, or for one that does not.
    pub fn new(is_emergency: bool) -> Self {
        Self { is_emergency, ..Self::default() }
    }

    /// What the work in a place brought. `None` if it failed there.
    pub fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let is_of_the_place = matches!(
            error.code(),
            Code::OutletUnavailable | Code::OutletRefused | Code::OutletTaken | Code::PublishedSetChanged
        );
        if self.is_emergency && is_of_the_place {
            let next = "the emergency goes on without this place, which may still have the leaked key: mend it, or take it out of \
                        rotation.publish and away from verifiers";
            self.warnings.push(error.with_default(Fact::NextAction, next));
        } else {
            self.failed.push(error);
        }
        None
    }

    /// What a look at the address of verifiers brought. It does not stop an emergency either, whatever the error is.
    pub fn keep_outside(&mut self, result: Result<()>) {
        let Err(error) = result else { return };
        if self.is_emergency {
            let next = "the emergency goes on, and what verifiers fetch at rotation.verifyAt was not proved: look at it yourself";
            self.warnings.push(error.with_default(Fact::NextAction, next));
        } else {
            self.failed.push(error);
        }
    }

    /// The end. All errors but the first one become warnings.
    ///
    /// # Errors
    /// The first one.
    pub fn end(self, mut warn: impl FnMut(Error)) -> Result<()> {
        let mut failed = self.failed.into_iter();
        let first = failed.next();
        self.warnings.into_iter().chain(failed).for_each(&mut warn);
        first.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(is_emergency: bool, codes: &[Option<Code>]) -> (usize, Option<Code>, Vec<Code>) {
        let (mut each, mut warnings) = (EachPlace::new(is_emergency), Vec::new());
        let done = codes.iter().filter_map(|code| each.keep(code.map_or(Ok(()), |code| Err(Error::new(code))))).count();
        let ended = each.end(|warning| warnings.push(warning.code()));
        (done, ended.err().map(|error| error.code()), warnings)
    }

    #[test]
    fn the_first_error_counts_and_the_others_are_told() {
        let codes = [Some(Code::OutletTaken), None, Some(Code::OutletRefused), None];
        assert_eq!(ended(false, &codes), (2, Some(Code::OutletTaken), vec![Code::OutletRefused]));
        assert_eq!(ended(false, &[None]), (1, None, Vec::new()));
    }

    #[test]
    fn a_bad_place_does_not_stop_an_emergency_and_anything_else_does() {
        let codes = [Some(Code::OutletTaken), None, Some(Code::WriteConflict)];
        assert_eq!(ended(true, &codes), (1, Some(Code::WriteConflict), vec![Code::OutletTaken]));
        assert_eq!(ended(true, &[Some(Code::OutletUnavailable)]), (0, None, vec![Code::OutletUnavailable]));
        for is_emergency in [false, true] {
            let (mut each, mut warnings) = (EachPlace::new(is_emergency), 0);
            each.keep_outside(Err(Error::new(Code::ConnectTimeout)));
            assert_eq!(each.end(|_| warnings += 1).is_ok(), is_emergency);
            assert_eq!(warnings, usize::from(is_emergency));
        }
    }
}
