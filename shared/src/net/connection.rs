//! What the errors of a connection mean, whichever library made them.

use crate::error::{Code, Error, Fact};
use std::io;

/// The error of a connection that broke during `call`. If an I/O error is the cause, the error names its kind in Rust's own words;
/// other texts may quote the server.
pub fn lost(call: &'static str, why: &(dyn std::error::Error + 'static)) -> Error {
    let lost = Error::new(Code::ConnectionLost).with(Fact::Call, call);
    match cause::<io::Error>(why) {
        Some(error) => lost.with(Fact::What, error.kind()),
        None => lost,
    }
}

/// The first error of this type among the causes. An `io::Error` hides its own cause from `source`.
pub fn cause<'a, T: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref::<T>()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_connection_broke_is_said_in_words_that_are_not_the_peers() {
        let reset = io::Error::new(io::ErrorKind::ConnectionReset, "S3cr3t");
        let error = lost("a statement", &reset);
        assert_eq!((error.code(), error.fact(Fact::Call)), (Code::ConnectionLost, Some("a statement")));
        assert_eq!(error.fact(Fact::What), Some("connection reset"));
        assert_eq!(lost("a statement", &std::fmt::Error).fact(Fact::What), None);
    }
}
