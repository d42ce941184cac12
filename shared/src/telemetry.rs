//! Logs: one JSON object per line on standard output, where Lambda takes them from.
//!
//! Only this project's own events are logged below warn. Dependencies print what we promise never to print:
//! `lambda_runtime` traces the raw event, `tokio-postgres` debugs SQL, the SDK traces requests.

use crate::environment::log_level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Installs the log and a panic hook that prints where a panic happened and not what it said.
/// `function` is the crate whose events are the project's own, beside this one.
pub fn install(function: &'static str) {
    let own = LevelFilter::from_level(log_level());
    let levels = Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target(env!("CARGO_CRATE_NAME"), own)
        .with_target(function, own)
        // The runtime logs the handler's error once more, after we have logged it with its facts.
        .with_target("lambda_runtime", LevelFilter::OFF);
    let lines =
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
    // Fails only if a log is installed already, as in tests; then that one stays.
    let _ = tracing_subscriber::registry().with(levels).with(lines).try_init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
}
