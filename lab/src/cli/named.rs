//! Options that name one of several.

use clap::builder::{PossibleValuesParser, TypedValueParser};

/// A parser that takes, and shows, the names of these. `missing` says what there is not.
pub(super) fn named<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name: fn(T) -> &'static str,
    missing: &'static str,
) -> impl TypedValueParser<Value = T> {
    let names = PossibleValuesParser::new(all.iter().map(|one| name(*one)));
    names.try_map(move |text| all.iter().copied().find(|one| name(*one) == text).ok_or(missing))
}
