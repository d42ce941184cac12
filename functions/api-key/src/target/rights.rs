//! A version of the secret, read and checked, with the rights that a step holds: those of the version's own key
//! ([`Holder`]), or also those of the admin's credential ([`Administrator`]).

use crate::description::{Admin, Issuer, Key, VarSource, VarValue};
use crate::exchange::{Exchange, Subject, Verdict};
use crate::http::Sender;
use crate::sources::Sources;
use crate::target::journal::{Prover, name_prefix};
use crate::target::key_secret::{KeySecret, admin_fields, issuer_name, vars};
use rotation::clock::Deadline;
use rotation::document::Document;
use rotation::environment::AllowedSecrets;
use rotation::protocol::context::StepContext;
use rotation::protocol::notes::StepNotes;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The most time that one step spends on revoking keys. An issuer that can revoke one does so in a tenth of it.
const TO_REVOKE: Duration = Duration::from_secs(10);

/// What the deployer configured.
pub(crate) struct Deployment {
    pub(crate) sources: Arc<Sources>,
    pub(crate) sender: Box<dyn Sender>,
    pub(crate) admin_secrets: AllowedSecrets,
    pub(crate) allow_unproven: bool,
}

impl Deployment {
    /// Whether a secret may name this admin secret.
    pub(crate) fn allows_admin(&self, id: &str) -> bool {
        self.admin_secrets.allow(id)
    }

    /// Reads a version.
    pub(crate) async fn holder(self: &Arc<Self>, context: &StepContext<'_>, document: &Document) -> Result<Holder> {
        let issuer = self.sources.find(&issuer_name(document)?, context).await?;
        let version = KeySecret::read(document, &issuer)?;
        let (deployment, vars, admin) = (Arc::clone(self), version.vars.clone(), BTreeMap::new());
        let (prefix, notes) = (name_prefix(context.secret()), context.notes().clone());
        let mut holder = Holder { deployment, issuer, version, prefix, notes, vars, admin };
        // A variable of the admin secret may be part of every call's address.
        if holder.issuer.vars.values().any(|var| var.from == VarSource::Admin) {
            holder.read_admin(context).await?;
        }
        Ok(holder)
    }
}

/// A version with the rights of its own key: it can try keys, and change nothing.
pub(crate) struct Holder {
    deployment: Arc<Deployment>,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) version: KeySecret,
    pub(crate) prefix: String,
    notes: StepNotes,
    vars: BTreeMap<String, VarValue>,
    /// The fields of the admin secret; empty until it was read.
    admin: BTreeMap<String, SecretText>,
}

impl Holder {
    /// Tries a key. With `patience`, until the description's polling limit.
    pub(crate) async fn verify(&self, key: &Key, patience: bool, deadline: Deadline) -> Result<Verdict> {
        self.exchange(key, deadline).verify(key, patience).await
    }

    /// Adds the rights of the admin's credential.
    pub(crate) async fn with_admin(mut self, context: &StepContext<'_>) -> Result<Administrator> {
        self.read_admin(context).await?;
        let prover = self.prover(context).await?;
        Ok(Administrator { holder: self, prover })
    }

    async fn read_admin(&mut self, context: &StepContext<'_>) -> Result<()> {
        if self.issuer.admin != Admin::Secret || !self.admin.is_empty() {
            return Ok(());
        }
        let missing = || Error::new(Code::FieldMissing).with(Fact::Field, "rotation.adminSecretArn");
        let id = self.version.admin_secret.as_deref().ok_or_else(missing)?;
        if !self.deployment.allows_admin(id) {
            return Err(Error::new(Code::AdminNotAllowed).with(Fact::OtherSecret, id));
        }
        let document = context.other_secret(id).await?;
        let of_other = |error: Error| error.with_default(Fact::OtherSecret, id);
        meant_for(&document, &self.issuer).map_err(of_other)?;
        self.admin = admin_fields(&document, &self.issuer).map_err(of_other)?;
        self.vars.extend(vars(&document, &self.issuer, VarSource::Admin).map_err(of_other)?);
        Ok(())
    }

    async fn prover(&self, context: &StepContext<'_>) -> Result<Prover> {
        let KeySecret { key, journal, .. } = &self.version;
        let places = self.issuer.location_vars();
        let place = self.vars.iter().filter(|(name, _)| places.contains(name.as_str()));
        let place = place.map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut prover = Prover::new(&self.admin, context.secret(), &self.issuer.id, &place);
        let own = (key.id.as_deref().unwrap_or_default(), journal.proof.as_deref());
        let entries = journal.retire.iter().map(|entry| (entry.id.as_str(), entry.proof.as_deref()));
        let fails = |(id, proof): (&str, Option<&str>)| proof.is_some() && !prover.holds(id, proof);
        // The admin's credential may have changed since. If Secrets Manager rotates it, the previous one is AWSPREVIOUS.
        if let Some(id) = self.version.admin_secret.as_deref().filter(|_| self.issuer.admin == Admin::Secret)
            && std::iter::once(own).chain(entries).any(fails)
            && let Some(previous) = context.other_previous(id).await?
            && let Ok(fields) = admin_fields(&previous, &self.issuer)
        {
            prover.and_previous(&fields);
        }
        Ok(prover)
    }

    /// A conversation with the issuer. `current` is the key in use.
    fn exchange<'a>(&'a self, current: &'a Key, deadline: Deadline) -> Exchange<'a> {
        let subject = Subject {
            issuer: &self.issuer,
            vars: &self.vars,
            admin: &self.admin,
            current: Some(current),
            lifetime: self.version.lifetime,
        };
        Exchange::new(&*self.deployment.sender, subject, self.prefix.clone(), deadline).noting(self.notes.clone())
    }
}

/// A version with the rights of the admin's credential: it can list, create, change and revoke keys.
pub(crate) struct Administrator {
    pub(crate) holder: Holder,
    pub(crate) prover: Prover,
}

impl Administrator {
    /// Whether an earlier rotation has left a proof that the key belongs to this secret, or the deployer needs none.
    pub(crate) fn is_proven(&self) -> bool {
        self.holder.deployment.allow_unproven || self.has_proof()
    }

    /// Whether createSecret has left such a proof.
    pub(crate) fn has_proof(&self) -> bool {
        let KeySecret { key, journal, .. } = &self.holder.version;
        self.prover.holds(key.id.as_deref().unwrap_or_default(), journal.proof.as_deref())
    }

    /// Shows that the writer of the secret has its key.
    ///
    /// **Invariant:** no key is replaced with the admin's credential without a proof or this test. Otherwise the writer of a secret
    /// could name any key, and read its successor. Test: `an_application_that_the_secret_only_names_keeps_its_secret`.
    pub(crate) async fn possession(&self, key: &Key, deadline: Deadline) -> Result<()> {
        // A key that works does not prove the id beside it.
        if key.id.is_some() && !self.holder.issuer.tells_identity() {
            return Err(self.unproven());
        }
        self.holder.verify(key, false, deadline).await?.or_rejected(Code::KeyUnproven)
    }

    pub(crate) fn unproven(&self) -> Error {
        Error::new(Code::KeyUnproven).with(Fact::Issuer, &self.holder.issuer.id)
    }

    /// A conversation with the issuer about this version's key.
    pub(crate) fn exchange(&self, deadline: Deadline) -> Exchange<'_> {
        self.holder.exchange(&self.holder.version.key, deadline)
    }

    /// The same for revoking keys. Failures are retried, and must leave the step time for the rest of its work and its answer.
    pub(crate) fn revocations(&self, deadline: Deadline) -> Exchange<'_> {
        self.exchange(deadline.within(TO_REVOKE.min(deadline.left() / 3)))
    }
}

/// Checks that an admin secret is for this issuer: it names its issuer under `issuer`, or several of them under `issuers`.
///
/// **Invariant:** an admin's credential is sent to an issuer only if the admin secret names that issuer. Otherwise the writer of a
/// rotated secret, who chooses the issuer there, could send the credential of one issuer to another.
/// Test: `an_admins_credential_goes_to_its_own_issuer_alone`.
fn meant_for(admin: &Document, issuer: &Issuer) -> Result<()> {
    let field = if admin.typed::<serde_json::Value>("issuers", "an array")?.is_some() { "issuers" } else { "issuer" };
    let named = match field {
        "issuers" => admin.typed::<Vec<String>>(field, "an array of the names of issuers")?.unwrap_or_default(),
        _ => admin.optional_string(field)?.into_iter().collect(),
    };
    if named.contains(&issuer.id) {
        return Ok(());
    }
    let (code, found) = match named.is_empty() {
        true => (Code::FieldMissing, "no issuer"),
        false => (Code::AdminNotAllowed, "another issuer"),
    };
    let expected = format_args!("in the admin secret: \"issuer\": {:?}", issuer.id).to_string();
    Err(Error::new(code).with(Fact::Field, field).with(Fact::Found, found).with(Fact::Expected, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_secret_names_its_issuers() {
        let issuer = crate::description::read(
            crate::sources::BUILT_IN.iter().find(|(name, _)| *name == "cloudflare").map(|(_, text)| *text).unwrap(),
        )
        .unwrap();
        let refused = |text: &str| meant_for(&Document::parse(text.into()).unwrap(), &issuer).err().map(|it| it.code());
        for (text, code) in [
            (r#"{"issuer": "cloudflare"}"#, None),
            (r#"{"issuers": ["cloudflare-roll", "cloudflare"]}"#, None),
            // A secret that is rotated itself names the issuer of its own rotation.
            (r#"{"issuer": "cloudflare-roll", "issuers": ["cloudflare"]}"#, None),
            (r#"{"issuer": "cloudflare", "issuers": []}"#, Some(Code::FieldMissing)),
            (r#"{"issuer": "cloudflare", "issuers": ["okta"]}"#, Some(Code::AdminNotAllowed)),
            (r#"{"issuer": "Cloudflare"}"#, Some(Code::AdminNotAllowed)),
            (r#"{"issuers": "cloudflare"}"#, Some(Code::FieldInvalid)),
            (r#"{"issuers": null}"#, Some(Code::FieldMissing)),
            (r#"{"token": "x"}"#, Some(Code::FieldMissing)),
        ] {
            assert_eq!(refused(text), code, "{text}");
        }
    }
}
