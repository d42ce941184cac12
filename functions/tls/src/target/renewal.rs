//! When a certificate is to be renewed (RFC 9773): at a moment within the window that its CA suggests, or when a third of its life is
//! left.

use super::certificate_secret::CertificateSecret;
use crate::acme::{Directory, Renewal};
use crate::http::Client;
use aws_lc_rs::digest::{SHA256, digest};
use rotation::Result;
use rotation::clock::{Deadline, since_epoch};
use rotation::protocol::target::Lifetime;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The daily look comes again after this time. A moment before that is now (RFC 9773, section 4.2).
const NEXT_LOOK: Duration = Duration::from_secs(86_400);

/// How long a version's certificate lasts, and whether it is to be renewed now.
pub(super) async fn lifetime(
    client: &Client,
    secret: &str,
    version: &CertificateSecret,
    deadline: Deadline,
) -> Result<Lifetime> {
    let (chain, _) = version.issued()?;
    let facts = chain.facts()?;
    let lasts = facts.lifetime(false);
    let suggested = match &facts.renewal_id {
        // A CA that cannot be asked now has no suggestion.
        Some(id) => suggestion(client, version, id, deadline).await.ok().flatten(),
        None => None,
    };
    let now = since_epoch();
    let renew = match suggested.and_then(|suggested| moment(&suggested, secret)) {
        Some(moment) => moment <= now + NEXT_LOOK,
        None => lasts.left <= lasts.whole / 3,
    };
    Ok(Lifetime { renew, ..lasts })
}

async fn suggestion(
    client: &Client,
    version: &CertificateSecret,
    id: &str,
    deadline: Deadline,
) -> Result<Option<Renewal>> {
    Directory::read(client, &version.directory, deadline).await?.renewal(client, id, deadline).await
}

/// A moment within the window, as the time since the Unix epoch. It is the same for a secret at each look, and another one for each
/// secret, so that not all renew at once. `None` if the window is none.
fn moment(window: &Renewal, secret: &str) -> Option<Duration> {
    let parsed = |text: &str| {
        let seconds = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp();
        u64::try_from(seconds).ok().map(Duration::from_secs)
    };
    let (start, end) = (parsed(&window.start)?, parsed(&window.end)?);
    let length = end.checked_sub(start)?;
    let hash = digest(&SHA256, secret.as_bytes());
    let share = hash.as_ref().first().map_or(0, |byte| u32::from(*byte));
    Some(start + length * share / 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: &str, end: &str, secret: &str) -> Option<u64> {
        let window = Renewal { start: start.to_owned(), end: end.to_owned() };
        moment(&window, secret).map(|moment| moment.as_secs())
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
}
