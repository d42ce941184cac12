//! When a certificate is to be renewed (RFC 9773): at a moment within the window that its CA suggests, or when a third of its life is
//! left.

use super::certificate_secret::CertificateSecret;
use crate::acme::{Directory, Renewal};
use crate::http::Client;
use aws_lc_rs::digest::{SHA256, digest};
use rotation::clock::{Deadline, since_epoch};
use rotation::protocol::context::StepContext;
use rotation::protocol::target::Lifetime;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::OnceCell;

const DAY: Duration = Duration::from_secs(86_400);
/// The daily look comes again after this time. A moment before that is now (RFC 9773, section 4.2).
const NEXT_LOOK: Duration = DAY;
/// What a rotation needs, with a few attempts that fail and a person who looks.
const MARGIN: Duration = Duration::from_secs(12 * 3_600);
/// A daily look cannot keep certificates alive for sure that live shorter than this.
const SHORTEST_LIFE: Duration = Duration::from_secs(2 * 86_400);

/// The time for one question to a CA. Two of them leave time for the rotation that a look begins.
const ASKING: Duration = Duration::from_secs(2);

/// The CAs that a daily look has asked.
///
/// **Invariant:** a CA that does not answer is waited for once in a look. Otherwise whoever writes one secret could hold up the renewal of
/// all others. Test: `a_directory_that_is_silent_holds_up_nobody`.
#[derive(Default)]
pub(super) struct Asked(Mutex<BTreeMap<String, Arc<Ca>>>);

/// What a look knows of a CA.
#[derive(Default)]
struct Ca {
    /// `None` if there was no directory to be read.
    directory: OnceCell<Option<Directory>>,
    is_silent: AtomicBool,
}

impl Asked {
    /// Another look begins.
    pub(super) fn forget(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Ca>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the CA of a version suggests for the certificate with this id. A CA that cannot be asked now has no suggestion.
    async fn suggestion(
        &self,
        client: &Client,
        version: &CertificateSecret,
        id: &str,
        deadline: Deadline,
    ) -> Option<Renewal> {
        let url = &version.directory;
        let ca = Arc::clone(self.all().entry(url.as_str().to_owned()).or_default());
        let read = async || Directory::read(client, url, deadline.within(ASKING)).await.ok();
        let directory = ca.directory.get_or_init(read).await.as_ref()?;
        if ca.is_silent.load(Ordering::Relaxed) {
            return None;
        }
        let suggested = directory.renewal(client, id, deadline.within(ASKING)).await;
        let silent =
            |error: &Error| matches!(error.code(), Code::ServerSilent | Code::ConnectTimeout | Code::CaRateLimited);
        if suggested.as_ref().is_err_and(silent) {
            ca.is_silent.store(true, Ordering::Relaxed);
        }
        suggested.ok().flatten()
    }
}

/// How long a version's certificate lasts, and whether it is to be renewed now.
pub(super) async fn lifetime(
    asked: &Asked,
    client: &Client,
    secret: &str,
    version: &CertificateSecret,
    deadline: Deadline,
) -> Result<Lifetime> {
    let (chain, _) = version.issued()?;
    let facts = chain.facts()?;
    let lasts = facts.lifetime(false);
    let suggested = match &facts.renewal_id {
        Some(id) => asked.suggestion(client, version, id, deadline).await,
        None => None,
    };
    let window = suggested.and_then(|suggested| Window::of(&suggested, secret));
    Ok(Lifetime { renew: is_due(lasts, window, since_epoch()), ..lasts })
}

/// Whether a certificate is to be renewed at this look.
///
/// **Invariant:** whatever a CA suggests, one that may end before the look after the next is renewed. A window can be wrong, or be moved
/// away for ever. Test: `no_window_lets_a_certificate_end`.
fn is_due(lasts: Lifetime, window: Option<Window>, now: Duration) -> bool {
    let least = NEXT_LOOK + MARGIN;
    let Some(window) = window else { return lasts.left <= least.max(lasts.whole / 3) };
    if lasts.left <= least.max(lasts.whole / 6) {
        return true;
    }
    // A CA that always answers with the past would have each look order another certificate.
    let is_new = lasts.whole.saturating_sub(lasts.left) < DAY;
    let is_past = window.end < now;
    window.moment <= now + NEXT_LOOK && !(is_new && is_past)
}

/// Warns of a life that is too short for a daily look.
pub(super) fn warn_of_a_short_life(context: &StepContext<'_>, lasts: Lifetime) {
    if lasts.whole < SHORTEST_LIFE {
        let what = "it lives for less than two days, and the daily look may renew it too late";
        let warning = Error::new(Code::CertificateExpires).with(Fact::What, what);
        let next = "Choose a profile of the CA with a longer life, or rotate by a schedule of hours.";
        context.warn(warning.with(Fact::NextAction, next));
    }
}

/// When to renew, as the time since the Unix epoch.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// A moment within the window. It is the same for a secret at each look, and another one for each secret, so that not all renew at
    /// once.
    moment: Duration,
    end: Duration,
}

impl Window {
    /// `None` if the window is none.
    fn of(window: &Renewal, secret: &str) -> Option<Self> {
        let parsed = |text: &str| {
            let seconds = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp();
            u64::try_from(seconds).ok().map(Duration::from_secs)
        };
        let (start, end) = (parsed(&window.start)?, parsed(&window.end)?);
        let length = end.checked_sub(start)?;
        let hash = digest(&SHA256, secret.as_bytes());
        let share = hash.as_ref().first().map_or(0, |byte| u32::from(*byte));
        Some(Self { moment: start + length * share / 256, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: &str, end: &str, secret: &str) -> Option<u64> {
        let window = Renewal { start: start.to_owned(), end: end.to_owned() };
        Window::of(&window, secret).map(|window| window.moment.as_secs())
    }

    #[test]
    fn a_moment_is_within_the_window_and_differs_between_secrets() {
        let (start, end) = ("2026-01-01T00:00:00Z", "2026-01-03T00:00:00+00:00");
        let moments: Vec<u64> = (0..20).map(|n| at(start, end, &n.to_string()).unwrap()).collect();
        let (first, last) = (1_767_225_600, 1_767_398_400);
        assert!(moments.iter().all(|moment| (first..last).contains(moment)), "{moments:?}");
        assert!(moments.iter().any(|moment| moment != &moments[0]));
        assert_eq!(at(start, end, "a"), at(start, end, "a"));
    }

    #[test]
    fn what_is_no_window_suggests_nothing() {
        for (start, end) in [("soon", "later"), ("2026-01-03T00:00:00Z", "2026-01-01T00:00:00Z"), ("", "")] {
            assert_eq!(at(start, end, "a"), None, "{start}");
        }
    }

    const HOUR: Duration = Duration::from_secs(3_600);
    const NOW: Duration = Duration::from_secs(1_800_000_000);

    /// Whether a certificate is due. `left` and `whole` are hours of its life; `window` is the hours until the window that the CA suggests,
    /// which is one hour long.
    fn due(left: u32, whole: u32, window: Option<i32>) -> bool {
        let lasts = Lifetime { left: left * HOUR, whole: whole * HOUR, renew: false };
        let window = window.map(|hours| {
            let distance = hours.unsigned_abs() * HOUR;
            let moment = if hours < 0 { NOW - distance } else { NOW + distance };
            Window { moment, end: moment + HOUR }
        });
        is_due(lasts, window, NOW)
    }

    #[test]
    fn no_window_lets_a_certificate_end() {
        let (days, years) = (|days: u32| days * 24, 365 * 24 * 10);
        assert!(!due(days(60), days(90), Some(years)));
        for left in [0, 1, 24, 36, days(15)] {
            assert!(due(left, days(90), Some(years)), "{left}");
        }
        assert!(due(36, days(6), Some(years)) && !due(37, days(6), Some(years)));
        assert!(due(days(60), days(90), Some(23)) && !due(days(60), days(90), Some(25)));
    }

    #[test]
    fn a_short_life_is_renewed_before_the_look_after_the_next() {
        for whole in [24, 48, 72, 6 * 24] {
            assert!(due(36, whole, None), "{whole}");
        }
        assert!(!due(4 * 24, 6 * 24, None) && due(2 * 24, 6 * 24, None));
        assert!(due(30 * 24, 90 * 24, None) && !due(31 * 24, 90 * 24, None));
    }

    #[test]
    fn a_window_in_the_past_does_not_order_a_certificate_each_day() {
        let whole = 90 * 24;
        assert!(!due(whole - 23, whole, Some(-1_000)), "it is new");
        assert!(due(whole - 25, whole, Some(-1_000)));
        assert!(due(whole - 1, whole, Some(0)), "the window is now");
        assert!(due(20, 24, Some(-1_000)), "little is left");
    }
}
