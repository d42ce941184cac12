//! What an endpoint serves.

use super::certificate_secret::CertificateSecret;
use crate::certificate::Chain;
use crate::http::{Url, connect};
use crate::settings::Settings;
use rotation::clock::Deadline;
use rotation::document::Document;
use rotation::net::tls;
use rotation::protocol::context::StepContext;
use rotation::{Code, Error, Fact, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsConnector;

/// A handshake takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(5);

/// Checks that the endpoint of the secret serves the certificate of AWSPENDING, AWSCURRENT or AWSPREVIOUS. Servers that read the secret
/// serve the current one until the promotion, some a while longer, and ACM takes some minutes. That the last two still serve is not
/// asked: their certificate may have expired, which is what the rotation mends.
///
/// # Errors
/// Those of reaching the endpoint; [`Code::EndpointDiffers`].
pub(super) async fn serves_one_of(
    context: &StepContext<'_>,
    pending: &CertificateSecret,
    current: &CertificateSecret,
    settings: &Settings,
) -> Result<()> {
    let Some(url) = &pending.endpoint else { return Ok(()) };
    // Before the first rotation there is nothing to be served.
    if !current.is_issued() {
        return Ok(());
    }
    let placed = |error: Error| error.with_default(Fact::Host, url.host()).with_default(Fact::Port, url.port());
    let private = settings.names_host(url.host());
    let served = served(&pending.names, url, private, context.deadline().within(LIMIT)).await.map_err(placed)?;
    if is_expected(&served, pending, current, settings).map_err(placed)? {
        return Ok(());
    }
    let differs = |found| placed(Error::new(Code::EndpointDiffers).with(Fact::Found, found));
    if context.previous().await?.is_some_and(|previous| is_of(&served, &previous)) {
        context.warn(differs("AWSPREVIOUS's certificate: the server has not loaded AWSCURRENT's"));
        return Ok(());
    }
    Err(differs("a certificate of none of the secret's versions"))
}

/// Whether the chain is AWSPENDING's or AWSCURRENT's.
///
/// # Errors
/// [`Code::EndpointDiffers`] if a client refuses the new certificate as the endpoint serves it.
fn is_expected(
    served: &Chain,
    pending: &CertificateSecret,
    current: &CertificateSecret,
    settings: &Settings,
) -> Result<bool> {
    if let Ok((chain, key)) = pending.issued()
        && chain.own() == served.own()
    {
        return match served.prove(key, &pending.names, &pending.trusted(settings)?) {
            Ok(_) => Ok(true),
            Err(error) => {
                let found = error.fact(Fact::What).unwrap_or("a chain that a client refuses").to_owned();
                Err(Error::new(Code::EndpointDiffers).with(Fact::Found, found))
            }
        };
    }
    Ok(current.issued().is_ok_and(|(chain, _)| chain.own() == served.own()))
}

/// Whether a version, whatever its options are, has this certificate.
fn is_of(served: &Chain, version: &Document) -> bool {
    let chain = version.optional_string("fullChain").ok().flatten().and_then(|chain| Chain::read(&chain).ok());
    chain.is_some_and(|chain| chain.own() == served.own())
}

/// The chain that an endpoint serves for one of the names. `private` says whether its address may be a private one: a balancer of one's own
/// may be inside. What clouds keep at link-local addresses is none.
async fn served(names: &[String], url: &Url, private: bool, deadline: Deadline) -> Result<Chain> {
    // The name that a client would ask for: the endpoint's own, if the certificate is for it.
    let own = names.iter().find(|name| *name == url.host());
    let name = own.or(names.first()).map_or_else(String::new, |name| name.replacen('*', "lockstep-test", 1));
    let tcp = connect(url, private, deadline).await.map_err(denied)?;
    let connector = TlsConnector::from(Arc::new(unverified()?));
    let stream = match deadline.limit(connector.connect(tls::server_name(&name)?, tcp)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) => return Err(Error::new(Code::EndpointDiffers).with(Fact::Found, "no TLS server")),
        Err(_) => return Err(Error::new(Code::ServerSilent)),
    };
    let (_, session) = stream.get_ref();
    Ok(Chain::sent(session.peer_certificates().unwrap_or_default()))
}

/// What to do about an address that is not allowed.
fn denied(error: Error) -> Error {
    if error.code() != Code::HostDenied {
        return error;
    }
    let next = "If the host is yours and its address is a private one, add it to ENDPOINT_HOSTS (the template's parameter EndpointHosts). \
                Otherwise correct `rotation.endpoint`.";
    error.with(Fact::NextAction, next)
}

/// A client that takes any certificate, and sends nothing: what it is shown is compared with what the secret holds.
fn unverified() -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| Error::new(Code::Internal).with(Fact::What, "TLS protocol versions"))?;
    let verifier = Arc::new(AnyCertificate(provider));
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Takes any certificate from a server that has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Ca;
    use rotation::environment::Environment;
    use rotation::secret::SecretText;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject as _;
    use serde_json::json;
    use tokio_rustls::TlsAcceptor;

    /// A server with this certificate, for one client.
    async fn serving((chain, key): &(Chain, SecretText)) -> Url {
        let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).unwrap();
        let chain = vec![CertificateDer::from(chain.own().to_vec())];
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let _ = TlsAcceptor::from(Arc::new(config)).accept(tcp).await;
        });
        Url::parse(&format!("https://127.0.0.1:{port}")).unwrap()
    }

    fn version((chain, key): &(Chain, SecretText), roots: &str) -> (Document, CertificateSecret) {
        let value = json!({"directory": "https://ca.example/dir", "names": ["example.com"],
            "fullChain": chain.own_pem(), "privateKey": key.expose(),
            "rotation": {"accountSecretArn": "account", "roots": roots}});
        let document = Document::parse(value.to_string().into()).unwrap();
        let read = CertificateSecret::read(&document, &settings()).unwrap();
        (document, read)
    }

    fn settings() -> Settings {
        Settings::read(&Environment::of(&[]).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_name_that_the_secret_alone_has_leads_to_no_private_address() {
        let ca = Ca::new();
        let url = serving(&ca.issues(&["localhost"], 90)).await;
        let url = Url::parse(&url.as_str().replace("127.0.0.1", "localhost")).unwrap();
        let closed = Url::parse("https://localhost:9").unwrap();
        let names = ["localhost".to_owned()];
        for url in [&closed, &url] {
            let error = served(&names, url, false, Deadline::after(LIMIT)).await.err().unwrap();
            assert_eq!(error.code(), Code::HostDenied, "an open port and a closed one look the same");
            assert!(error.fact(Fact::NextAction).unwrap().contains("ENDPOINT_HOSTS"));
        }
        served(&names, &url, true, Deadline::after(LIMIT)).await.unwrap();
    }

    #[tokio::test]
    async fn a_served_certificate_that_has_expired_is_still_the_current_one() {
        let (ca, other) = (Ca::new(), Ca::new());
        let [expired, new, previous] = [-1, 90, -2].map(|days| ca.issues(&["example.com"], days));
        // The roots changed meanwhile, too.
        let ((_, current), (_, pending)) = (version(&expired, &other.pem), version(&new, &ca.pem));
        let expected = async |it: &(Chain, SecretText), pending: &CertificateSecret| {
            let url = serving(it).await;
            let names = ["example.com".to_owned()];
            let served = served(&names, &url, true, Deadline::after(LIMIT)).await.unwrap();
            is_expected(&served, pending, &current, &settings()).map_err(|error| error.code())
        };
        assert_eq!(expected(&expired, &pending).await, Ok(true));
        assert_eq!(expected(&new, &pending).await, Ok(true));
        assert_eq!(expected(&previous, &pending).await, Ok(false));
        assert!(is_of(&previous.0, &version(&previous, &ca.pem).0) && !is_of(&new.0, &version(&previous, &ca.pem).0));
        // The new one has to convince a client.
        let (_, distrusted) = version(&new, &other.pem);
        assert_eq!(expected(&new, &distrusted).await, Err(Code::EndpointDiffers));
    }
}
