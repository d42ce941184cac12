//! What an endpoint serves.

use super::certificate_secret::CertificateSecret;
use crate::certificate::why;
use crate::http::{Url, connect};
use crate::settings::Settings;
use rotation::clock::Deadline;
use rotation::net::tls;
use rotation::{Code, Error, Fact, Result};
use std::time::Duration;
use tokio_rustls::TlsConnector;

/// A handshake takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(5);

/// Checks that the endpoint of the secret serves the pending certificate or the current one, and that a client accepts it. Servers that
/// read the secret serve the current one until the promotion, and ACM takes some minutes.
///
/// # Errors
/// Those of reaching the endpoint; [`Code::EndpointDiffers`].
pub(super) async fn serves_one_of(
    pending: &CertificateSecret,
    current: &CertificateSecret,
    settings: &Settings,
    deadline: Deadline,
) -> Result<()> {
    let Some(url) = &pending.endpoint else { return Ok(()) };
    // Before the first rotation there is nothing to be served.
    if !current.is_issued() {
        return Ok(());
    }
    let served = served(pending, url, settings, deadline.within(LIMIT)).await;
    let served =
        served.map_err(|error| error.with_default(Fact::Host, url.host()).with_default(Fact::Port, url.port()))?;
    for version in [pending, current] {
        if version.issued().is_ok_and(|(chain, _)| chain.own() == served.as_slice()) {
            return Ok(());
        }
    }
    let error = Error::new(Code::EndpointDiffers).with(Fact::Host, url.host()).with(Fact::Port, url.port());
    Err(error.with(Fact::Found, "a certificate that is neither AWSCURRENT's nor AWSPENDING's"))
}

/// The certificate that an endpoint serves for one of the secret's names, in DER.
async fn served(secret: &CertificateSecret, url: &Url, settings: &Settings, deadline: Deadline) -> Result<Vec<u8>> {
    // The name that a client would ask for: the endpoint's own, if the certificate is for it.
    let own = secret.names.iter().find(|name| *name == url.host());
    let name = own.or(secret.names.first()).map_or_else(String::new, |name| name.replacen('*', "lockstep-test", 1));
    let tcp = connect(url, deadline).await?;
    let connector = TlsConnector::from(secret.trusted(settings)?.config());
    let stream = match deadline.limit(connector.connect(tls::server_name(&name)?, tcp)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            let found = inner.map_or("no TLS server", why);
            return Err(Error::new(Code::EndpointDiffers).with(Fact::Found, found));
        }
        Err(_) => return Err(Error::new(Code::ServerSilent)),
    };
    let (_, session) = stream.get_ref();
    let own = session.peer_certificates().and_then(|chain| chain.first());
    Ok(own.map(|own| own.as_ref().to_vec()).unwrap_or_default())
}
