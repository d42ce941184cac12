//! The log: one JSON object per line on standard output, where Lambda reads it.
//!
//! Lines of other crates during an invocation, and of a panic, carry the invocation's request, secret and version in a span.
//!
//! **Invariant:** below the level `warn` only this project's own events are logged. Dependencies would print secrets there:
//! `lambda_runtime` traces the raw event, `tokio-postgres` debugs SQL, the SDK traces requests.
//! Test: `libraries_are_heard_from_warn_on`.

use crate::environment::log_level;
use crate::lambda::audit;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The log target of lines that alarms send people to. They are printed at every level.
pub(crate) const NOTICE: &str = concat!(env!("CARGO_CRATE_NAME"), "::notice");

/// The log target of a panic's line. It does not depend on where this file is.
const PANIC: &str = concat!(env!("CARGO_CRATE_NAME"), "::telemetry");

/// Installs the log, and a panic hook that prints where a panic happened and not its message. The events of the crate `function`
/// and of this crate are the project's own.
pub fn install(function: &'static str) {
    let log = subscriber(function, LevelFilter::from_level(log_level()), std::io::stdout);
    // This fails only if a log is installed already, as in tests. Then that one stays.
    let _ = log.try_init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(target: PANIC, place, "panic");
    }));
}

fn subscriber<W>(function: &'static str, own: LevelFilter, to: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let levels = Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target(env!("CARGO_CRATE_NAME"), own)
        .with_target(function, own)
        // Audit records, and the lines that alarms send people to, are printed at every log level.
        .with_target(audit::TARGET, LevelFilter::INFO)
        .with_target(NOTICE, LevelFilter::INFO)
        // The runtime would log the handler's error a second time.
        .with_target("lambda_runtime", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(to)
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false);
    tracing_subscriber::registry().with(levels).with(lines)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Printed(Arc<Mutex<Vec<u8>>>);

    impl Write for Printed {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is printed at this level of `LOG_LEVEL`.
    pub(crate) fn printed(own: LevelFilter, work: impl FnOnce()) -> Vec<Value> {
        let printed = Printed::default();
        let writer = printed.clone();
        tracing::subscriber::with_default(subscriber("own", own, move || writer.clone()), work);
        let bytes = printed.0.lock().unwrap().clone();
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    #[test]
    fn the_record_of_rotations_is_printed_at_every_level() {
        for level in [LevelFilter::ERROR, LevelFilter::WARN, LevelFilter::INFO, LevelFilter::TRACE] {
            let lines = printed(level, || {
                tracing::info!(target: audit::TARGET, "record");
                tracing::info!(target: "rotation::lambda", "step started");
            });
            assert_eq!(lines.len(), 1 + usize::from(level >= LevelFilter::INFO), "{level}");
            assert_eq!(lines[0]["message"], "record");
        }
    }

    #[test]
    fn what_a_library_says_can_be_found_by_the_rotation() {
        let lines = printed(LevelFilter::ERROR, || {
            let span =
                tracing::error_span!(target: "rotation::lambda", "invocation", version = "v", secret = Some("s"));
            span.in_scope(|| tracing::error!(target: "somebody_else", "trouble"));
            tracing::error!(target: "rotation::lambda", "our own");
        });
        assert_eq!((&lines[0]["span"]["version"], &lines[0]["span"]["secret"]), (&json!("v"), &json!("s")));
        assert_eq!(lines[1].get("span"), None, "our own lines have it themselves");
    }

    #[test]
    fn libraries_are_heard_from_warn_on() {
        let lines = printed(LevelFilter::TRACE, || {
            tracing::info!(target: "somebody_else", "the request, with everything in it");
            tracing::error!(target: "lambda_runtime", "the error once more");
            tracing::warn!(target: "somebody_else", "trouble");
            tracing::trace!(target: "own", "detail");
        });
        let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(messages, ["trouble", "detail"]);
    }
}
