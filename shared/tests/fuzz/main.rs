//! No event, no secret and no answer of Secrets Manager breaks a function, or is repeated in its output. No text becomes markup.
//!
//! `PROPTEST_CASES=1000000 cargo test --release -p rotation --test fuzz` searches for long. `fuzz-corpus` keeps a case that fails, and
//! later runs try it first.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of a test"
)]

mod document;
mod event;
mod page;
mod secrets_manager;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Stands in the inputs at places that no output may repeat.
const MARKER: &str = "hunter2";

/// Failures of one target are kept in this file of `fuzz-corpus`.
fn config(kept: &'static str) -> ProptestConfig {
    let kept = FileFailurePersistence::Direct(kept);
    ProptestConfig { failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

/// An error that names its reason, and repeats nothing of the input.
fn judge(error: &rotation::Error) -> Result<(), TestCaseError> {
    let text = format!("{error} {error:?}");
    prop_assert!(!text.contains(MARKER), "{text}");
    prop_assert!(error.code() != rotation::Code::Internal, "{text}");
    // One line, of a length that a log takes.
    prop_assert!(!text.contains('\n') && text.len() < 40_000, "{}", text.len());
    Ok(())
}
