//! Which answers of AWS services ask to slow down.

/// Whether an error code, or a body that holds one, is a request to slow down.
pub(crate) fn is_throttle(text: &str) -> bool {
    ["Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown"].iter().any(|word| text.contains(word))
}
