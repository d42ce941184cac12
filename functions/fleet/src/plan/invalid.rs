//! What cannot be followed.

use rotation::error::{Code, Error, Fact};

/// An order that cannot be followed.
pub(crate) fn invalid(field: &str, found: &str, expected: &str) -> Error {
    let error = Error::new(Code::OrderInvalid).with(Fact::Field, field);
    error.with(Fact::Found, found).with(Fact::Expected, expected)
}
