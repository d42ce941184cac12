//! The present time, and the dates that a step knows of its secret.

use crate::plan::Dates;
use rotation::clock::since_epoch;
use rotation::protocol::context::StepContext;

/// Seconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    since_epoch().as_secs()
}

/// When the secret was last rotated and changed.
pub(crate) fn dates(context: &StepContext<'_>) -> Dates {
    let seconds = |date: Option<std::time::Duration>| date.map(|date| date.as_secs());
    let description = context.description();
    Dates { rotated: seconds(description.last_rotated), changed: seconds(description.last_changed) }
}
