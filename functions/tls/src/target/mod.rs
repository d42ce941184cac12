//! What the four steps of a rotation do with a certificate, and with an account's key.

mod account;
mod certificate_secret;
mod endpoint;
mod issue;
mod orders;
mod renewal;

use crate::certificate::rfc3339;
use crate::dns::Route53;
use crate::http::{Client, Url};
use crate::outlet::{Handed, Handing, Holder, Outlets};
use crate::settings::Settings;
use account::AccountSecret;
use certificate_secret::{CertificateSecret, Revocation, WRITTEN, is_certificate};
use issue::Issuing;
use orders::Orders;
use renewal::Asked;
use rotation::clock::Deadline;
use rotation::document::Document;
use rotation::protocol::context::StepContext;
use rotation::protocol::label::Label;
use rotation::protocol::observation::{Attempt, Observation, PreviousCredential};
use rotation::protocol::portrait::Portrait;
use rotation::protocol::store::PutOutcome;
use rotation::protocol::target::{
    Applied, Change, Helper, HelperSecret, Lifetime, OlderVersion, Proof, Proposal, Retired, Target, VersionWithAge,
    Versions,
};
use rotation::{Code, Error, Fact, Result};

/// The certificates of ACME CAs and the accounts there, as a [`Target`].
pub struct Certificates {
    settings: Settings,
    client: Client,
    route53: Route53,
    outlets: Outlets,
    orders: Orders,
    asked: Asked,
}

/// How often a certificate is handed on again. Each time another rotation has been promoted meanwhile, which takes seconds.
const MOST_PUT_BACK: u32 = 3;

impl Certificates {
    /// A target by these settings.
    ///
    /// # Errors
    /// [`Code::CaBundleInvalid`].
    pub fn new(settings: Settings) -> Result<Self> {
        let listed = settings.directories.iter().flatten().filter_map(|text| Url::parse(text));
        let client = Client::new(settings.ca_bundle.as_deref(), listed)?;
        let route53 = Route53::new(settings.route53_endpoint.as_deref());
        let outlets = Outlets::new(settings.acm_endpoint.as_deref(), settings.s3_endpoint.as_deref());
        Ok(Self::over(settings, client, route53, outlets))
    }

    /// A target over these services.
    pub fn over(settings: Settings, client: Client, route53: Route53, outlets: Outlets) -> Self {
        Self { settings, client, route53, outlets, orders: Orders::default(), asked: Asked::default() }
    }

    /// The account secret that a secret names.
    ///
    /// **Invariant:** an account's key signs only for the directory that its own secret names. Otherwise the writer of a secret could
    /// have it sign for another CA. Test: `an_account_serves_its_own_directory_alone`.
    async fn account(&self, context: &StepContext<'_>, secret: &CertificateSecret) -> Result<AccountSecret> {
        let id = &secret.account_secret;
        if self.settings.account_secrets.as_ref().is_some_and(|allowed| !allowed.contains(id)) {
            return Err(Error::new(Code::AccountNotAllowed).with(Fact::OtherSecret, id));
        }
        let document = context.other_secret(id).await?;
        let account = AccountSecret::read(&document, &self.settings);
        let account = account.map_err(|error| error.with_default(Fact::OtherSecret, id))?;
        if account.directory != secret.directory {
            let error = Error::new(Code::AccountNotAllowed).with(Fact::OtherSecret, id);
            return Err(error.with(Fact::Field, "directory").with(Fact::Host, secret.directory.host()));
        }
        Ok(account)
    }

    /// Proves that the rotation's certificate serves its names.
    fn proved(&self, context: &StepContext<'_>, version: &CertificateSecret) -> Result<()> {
        let proof = version.prove(&self.settings).map(drop);
        let advised = |error| given_up(error, context.secret(), context.token());
        if context.is_pending() { proof.map_err(advised) } else { proof }
    }

    /// Hands a version's certificate to where the secret says. True if something else was there.
    async fn hand_on(&self, context: &StepContext<'_>, secret: &CertificateSecret, handing: Handing) -> Result<bool> {
        let (chain, key) = secret.issued()?;
        let handed = Handed { chain: &chain, key };
        let (holder, deadline) = (Holder::new(context.secret()), context.deadline());
        let mut changed = false;
        if let Some(arn) = &secret.acm {
            changed |= self.outlets.import(arn, &handed, &holder, handing, deadline).await?;
        }
        if let Some(bucket) = &secret.bucket {
            changed |= self.outlets.put(bucket, &handed, &holder, deadline).await?;
        }
        Ok(changed)
    }

    /// Hands on the certificate of AWSCURRENT again.
    ///
    /// **Invariant:** an invocation that finds afterwards that it was overtaken does this. ACM has no lock, so a request that was held up
    /// can arrive after a later rotation has handed on its own certificate.
    /// Test: `a_certificate_that_arrives_late_is_replaced_by_the_current_one`.
    async fn put_back(&self, context: &StepContext<'_>, handing: Handing) -> Result<()> {
        for _ in 0..MOST_PUT_BACK {
            let (version, document) = context.current().await?;
            if !is_certificate(&document) {
                break;
            }
            let current = CertificateSecret::read(&document, &self.settings)?;
            if !current.is_issued() || !current.is_handed_on() {
                break;
            }
            self.hand_on(context, &current, handing).await?;
            if context.is_current(&version).await? {
                break;
            }
        }
        Ok(())
    }

    async fn revoke(
        &self,
        context: &StepContext<'_>,
        account: &AccountSecret,
        superseded: &CertificateSecret,
        reason: Revocation,
    ) -> Result<()> {
        let (chain, _) = superseded.issued()?;
        let directory = crate::acme::Directory::read(&self.client, &account.directory, context.deadline()).await?;
        let mut session = crate::acme::Session::new(&self.client, directory, account.key()?, context.deadline());
        session.find_account().await?;
        let reason = match reason {
            Revocation::KeyCompromise => 1,
            Revocation::Superseded => 4,
        };
        session.revoke(chain.own(), reason).await
    }
}

impl Target for Certificates {
    const RENEWS: bool = true;
    /// The key of an account. A certificate needs no other version.
    const SEARCHES_OLDER_VERSIONS: bool = true;

    type Made = ();
    /// Neither a CA nor ACM has a lock.
    type Held = ();

    fn throttles(&self) -> u32 {
        self.route53.throttles().saturating_add(self.outlets.throttles())
    }

    fn portrait(&self, current: &Document) -> Result<Portrait> {
        if !is_certificate(current) {
            let account = AccountSecret::read(current, &self.settings)?;
            return Ok(Portrait::new(None, "account at a CA", &at_ca(&account.directory)));
        }
        let secret = CertificateSecret::read(current, &self.settings)?;
        // A certificate has no user. Its first name tells people which one it is.
        let strategy = format!("certificate, {}", secret.key_type.as_str());
        Ok(Portrait::new(secret.names.first().map(String::as_str), &strategy, &at_ca(&secret.directory)))
    }

    fn look_begins(&self) {
        self.asked.forget();
    }

    /// setSecret needs no account.
    fn helper_secret(&self, _: &Document) -> Option<Helper> {
        None
    }

    async fn propose(&self, context: &StepContext<'_>, current: &Document) -> Result<Proposal<()>> {
        if !is_certificate(current) {
            AccountSecret::read(current, &self.settings)?;
            return Ok(Proposal { document: account::proposed(current)?, made: () });
        }
        let secret = CertificateSecret::read(current, &self.settings)?;
        let account = self.account(context, &secret).await?;
        let issuing = Issuing {
            client: &self.client,
            route53: &self.route53,
            orders: &self.orders,
            secret: &secret,
            account: &account,
        };
        let (chain, key) = issuing.issue(context).await?;
        // A stored value never changes, so one that serves nobody would stop every later step.
        let facts = chain.prove(&key, &secret.names, &secret.trusted(&self.settings)?)?;
        renewal::warn_of_a_short_life(context, facts.lifetime(false));
        Ok(Proposal { document: CertificateSecret::with(current, &chain, &key)?, made: () })
    }

    /// Whichever value was stored, the order for another one has done its work.
    async fn settle(&self, reader: &StepContext<'_>, (): (), _: PutOutcome) -> Result<()> {
        self.orders.forget(reader.token());
        Ok(())
    }

    async fn apply(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Applied> {
        if !is_certificate(versions.current) {
            return account::apply(context, versions, &self.client, &self.settings).await;
        }
        versions.unedited(&WRITTEN)?;
        let pending = CertificateSecret::read(versions.pending, &self.settings)?;
        // What no client would accept is handed to nobody.
        self.proved(context, &pending)?;
        if !pending.is_handed_on() {
            return Ok(Applied::AlreadyInEffect);
        }
        context.still_wanted().await?;
        let handed = self.hand_on(context, &pending, Handing::IfDifferent).await;
        // A request that failed may arrive all the same. Without an answer about the labels, the safe certificate is the current one.
        if let Err(error) = context.still_wanted().await {
            if let Err(failed) = self.put_back(context, Handing::Always).await {
                context.warn(failed);
            }
            return Err(error);
        }
        if !handed? {
            return Ok(Applied::AlreadyInEffect);
        }
        Ok(Applied::Changed(Change { by: "current", previous: PreviousCredential::Works }))
    }

    async fn hand_on_current(&self, context: &StepContext<'_>) -> Result<()> {
        self.put_back(context, Handing::IfDifferent).await
    }

    async fn verify(&self, context: &StepContext<'_>, versions: Versions<'_>, proof: Proof) -> Result<()> {
        if !is_certificate(versions.current) {
            return account::verify(context, versions, &self.client, &self.settings).await;
        }
        versions.unedited(&WRITTEN)?;
        let pending = CertificateSecret::read(versions.pending, &self.settings)?;
        self.proved(context, &pending)?;
        if proof == Proof::Full && pending.endpoint.is_some() {
            let current = CertificateSecret::read(versions.current, &self.settings)?;
            endpoint::serves_one_of(context, &pending, &current, &self.settings).await?;
        }
        Ok(())
    }

    async fn release(&self, (): ()) {}

    async fn retire(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Retired> {
        if !is_certificate(versions.current) {
            return Ok(Retired::Nothing);
        }
        let pending = CertificateSecret::read(versions.pending, &self.settings)?;
        // setSecret may have been left out, or AWSCURRENT have moved by hand, and nobody would look before the next rotation.
        if pending.is_handed_on() {
            self.put_back(context, Handing::IfDifferent).await?;
        }
        let superseded = CertificateSecret::read(versions.current, &self.settings)?;
        let Some((reason, serial)) = &pending.revocation else { return Ok(Retired::Nothing) };
        if !is_to_be_revoked(serial, &superseded, &pending)? {
            let warning = Error::new(Code::CertificateNotRevoked).with(Fact::Field, "rotation.revokeSerial");
            let warning = warning.with(Fact::Found, "not the serial number of the certificate that was replaced");
            let next = "Remove `rotation.revokeSuperseded` and `rotation.revokeSerial`, or correct the number and rotate again.";
            context.warn(warning.with(Fact::NextAction, next));
            return Ok(Retired::Nothing);
        }
        // Somebody may have gone back to the previous certificate since the promotion.
        if !context.is_current(context.token()).await? {
            return Err(Error::new(Code::WriteConflict).with(Fact::Version, context.token()));
        }
        let account = self.account(context, &pending).await?;
        let revoked = self.revoke(context, &account, &superseded, *reason).await;
        revoked.map(|()| Retired::Previous).map_err(|error| error.recoded(Code::CertificateNotRevoked))
    }

    async fn check(&self, context: &StepContext<'_>, current: VersionWithAge<'_>) -> Result<Retired> {
        if !is_certificate(current.document) {
            let account = AccountSecret::read(current.document, &self.settings)?;
            return account.check(&self.client, context.deadline()).await.map(|()| Retired::Nothing);
        }
        let secret = CertificateSecret::read(current.document, &self.settings)?;
        let account = self.account(context, &secret).await?;
        let tried = account.attempt(&self.client, context.deadline()).await;
        let tried = tried.map_err(|error| error.with_default(Fact::OtherSecret, &secret.account_secret))?;
        if let Some(error) = tried.error {
            return Err(error.with_default(Fact::OtherSecret, &secret.account_secret));
        }
        // Before its first rotation, a secret has no certificate.
        if secret.is_issued() {
            secret.prove(&self.settings)?;
        }
        Ok(Retired::Nothing)
    }

    async fn attempt(&self, context: &StepContext<'_>, versions: Versions<'_>, label: Label) -> Result<Attempt> {
        if is_certificate(versions.current) != is_certificate(versions.pending) {
            return Err(Error::new(Code::PendingMismatch).with(Fact::Field, "names"));
        }
        if !is_certificate(versions.pending) {
            let account = AccountSecret::read(versions.pending, &self.settings)?;
            let mut tried = account.attempt(&self.client, context.deadline()).await?;
            if label == Label::Current {
                tried.error = tried.error.map(|error| account::refused(error, Code::CurrentRejected));
            }
            return Ok(tried);
        }
        let secret = CertificateSecret::read(versions.pending, &self.settings)?;
        Ok(match secret.prove(&self.settings) {
            Ok(facts) if label == Label::Current && facts.lifetime(false).is_short() => {
                let error = Error::new(Code::CertificateExpires).with(Fact::What, rfc3339(facts.not_after));
                Attempt { observation: Observation::Works, error: Some(error) }
            }
            Ok(_) => Attempt::WORKS,
            Err(error) => Attempt { observation: Observation::Rejected, error: Some(error) },
        })
    }

    fn older(&self, _: &StepContext<'_>, versions: Versions<'_>) -> OlderVersion {
        let accounts = !is_certificate(versions.current) && !is_certificate(versions.pending);
        if accounts && account::is_worthwhile(versions, &self.settings) {
            OlderVersion::Worthwhile
        } else {
            OlderVersion::Useless
        }
    }

    async fn lifetime(&self, secret: &str, current: &Document, deadline: Deadline) -> Result<Option<Lifetime>> {
        if !is_certificate(current) {
            return Ok(None);
        }
        let version = CertificateSecret::read(current, &self.settings)?;
        if !version.is_issued() {
            return Ok(None);
        }
        renewal::lifetime(&self.asked, &self.client, secret, &version, deadline).await.map(Some)
    }

    async fn attempt_helper_secret(
        &self,
        context: &StepContext<'_>,
        current: &Document,
    ) -> Result<Option<HelperSecret>> {
        if !is_certificate(current) {
            return Ok(None);
        }
        let secret = CertificateSecret::read(current, &self.settings)?;
        let tried = match self.account(context, &secret).await {
            Ok(account) => account.attempt(&self.client, context.deadline()).await.unwrap_or_else(Attempt::unknown),
            Err(error) => Attempt::unknown(error),
        };
        // Whatever became of the certificate, the account orders another one.
        Ok(Some(HelperSecret { secret: secret.account_secret, rescues: true, tried: Some(tried) }))
    }
}

/// The CA, as people know it. The host is the text of whoever wrote the secret.
fn at_ca(directory: &Url) -> String {
    format!("CA {}", rotation::error::key(directory.host()))
}

/// The error of a stored certificate that serves nobody, with the way out: a version's value never changes, so its rotation fails for ever.
fn given_up(error: Error, secret: &str, version: &str) -> Error {
    if error.code() != Code::CertificateUnusable {
        return error;
    }
    let next = format!(
        "If the issuer is unknown, put the CA's root into `rotation.roots`. Then give this version up, and rotate again: `aws \
         secretsmanager update-secret-version-stage --secret-id {secret} --version-stage AWSPENDING --remove-from-version-id \
         {version}`, `aws secretsmanager rotate-secret --secret-id {secret}`."
    );
    error.with(Fact::NextAction, next)
}

/// Whether the superseded certificate is the one that the secret names. A certificate that is current, too, never is.
fn is_to_be_revoked(serial: &str, superseded: &CertificateSecret, current: &CertificateSecret) -> Result<bool> {
    if !superseded.is_issued() {
        return Ok(false);
    }
    let ((superseded, _), (current, _)) = (superseded.issued()?, current.issued()?);
    Ok(superseded.own() != current.own() && superseded.facts()?.serial == serial)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::Chain;
    use crate::testing::Ca;
    use rotation::environment::Environment;
    use rotation::secret::SecretText;
    use serde_json::json;

    fn version(issued: Option<&(Chain, SecretText)>) -> CertificateSecret {
        let settings = Settings::read(&Environment::of(&[]).unwrap()).unwrap();
        let mut value = json!({"directory": "https://ca.example/dir", "names": ["example.com"],
            "rotation": {"accountSecretArn": "account"}});
        if let Some((chain, key)) = issued {
            value["fullChain"] = chain.own_pem().into();
            value["privateKey"] = key.expose().into();
        }
        CertificateSecret::read(&Document::parse(value.to_string().into()).unwrap(), &settings).unwrap()
    }

    #[test]
    fn a_pending_certificate_that_has_expired_is_told_with_the_way_out() {
        let ca = Ca::new();
        let (chain, key) = ca.issues(&["example.com"], -1);
        let error = chain.prove(&key, &["example.com".to_owned()], &ca.trusted()).err().unwrap();
        let error = given_up(error, "arn:secret", "version-1");
        let next = error.fact(Fact::NextAction).unwrap();
        assert!(
            next.contains("--secret-id arn:secret") && next.contains("--remove-from-version-id version-1"),
            "{next}"
        );
        let other = given_up(Error::new(Code::PendingOutdated), "s", "v");
        assert_eq!(other.fact(Fact::NextAction), None);
    }

    #[test]
    fn a_certificate_in_use_is_never_revoked() {
        let ca = Ca::new();
        let [one, two] = [90, 91].map(|days| ca.issues(&["example.com"], days));
        let serial = one.0.facts().unwrap().serial;
        let (first, second, none) = (version(Some(&one)), version(Some(&two)), version(None));
        assert!(is_to_be_revoked(&serial, &first, &second).unwrap());
        assert!(!is_to_be_revoked(&serial, &second, &first).unwrap(), "it is another one");
        assert!(!is_to_be_revoked(&serial, &first, &first).unwrap(), "both versions have it");
        assert!(!is_to_be_revoked(&serial, &none, &first).unwrap());
    }
}
