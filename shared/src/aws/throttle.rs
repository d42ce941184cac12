//! Recognizes throttled answers of AWS services.

/// Whether an error code, or a body that holds one, means that the call was throttled.
pub(crate) fn is_throttle(text: &str) -> bool {
    ["Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown"].iter().any(|word| text.contains(word))
}
