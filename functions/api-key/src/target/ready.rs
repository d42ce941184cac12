//! Everything that a step needs to talk to an issuer about a secret, read and checked.

use crate::description::template::{Key, Value};
use crate::description::{Admin, From, Issuer};
use crate::exchange::{Exchange, Subject};
use crate::http::Client;
use crate::sources::Sources;
use crate::target::journal::{Prover, name_prefix};
use crate::target::key_secret::{KeySecret, admin_fields, issuer_name, vars};
use rotation::clock::Deadline;
use rotation::document::Document;
use rotation::protocol::context::StepContext;
use rotation::protocol::notes::StepNotes;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// For ending keys in one step. An issuer that can end one does so in a tenth of it.
const TO_END: Duration = Duration::from_secs(10);

/// A secret, its issuer, and who may do what there.
pub(crate) struct Ready {
    pub(crate) issuer: Arc<Issuer>,
    /// Of the version that this was made from.
    pub(crate) version: KeySecret,
    pub(crate) prefix: String,
    pub(crate) prover: Prover,
    allow_unproven: bool,
    notes: StepNotes,
    vars: BTreeMap<String, Value>,
    admin: BTreeMap<String, SecretText>,
}

/// Whether a step acts as who manages the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    Admin,
    /// Only as whoever has a key.
    Holder,
}

/// What the deployer decided.
pub(crate) struct Ground<'a> {
    pub(crate) sources: &'a Sources,
    pub(crate) admin_secrets: Option<&'a [String]>,
    pub(crate) allow_unproven: bool,
}

impl Ground<'_> {
    /// Reads a version and, where it is needed, the admin secret.
    pub(crate) async fn ready(&self, context: &StepContext<'_>, document: &Document, rights: Rights) -> Result<Ready> {
        let name = issuer_name(document)?;
        let issuer = self.sources.find(&name, context).await?;
        let version = KeySecret::read(document, &issuer)?;
        let mut all = version.vars.clone();
        let mut admin = BTreeMap::new();
        let needed = rights == Rights::Admin || issuer.vars.values().any(|var| var.from == From::Admin);
        if issuer.admin == Admin::Secret && needed {
            let id = version.admin_secret.as_deref().ok_or_else(no_admin)?;
            if self.admin_secrets.is_some_and(|allowed| !allowed.iter().any(|known| known == id)) {
                return Err(Error::new(Code::AdminNotAllowed).with(Fact::OtherSecret, id));
            }
            let document = context.other_secret(id).await?;
            let of_other = |error: Error| error.with_default(Fact::OtherSecret, id);
            meant_for(&document, &issuer).map_err(of_other)?;
            admin = admin_fields(&document, &issuer).map_err(of_other)?;
            all.extend(vars(&document, &issuer, From::Admin).map_err(of_other)?);
        }
        let prover = match rights {
            Rights::Holder => Prover::nobody(),
            Rights::Admin => self.prover(context, &issuer, &version, &all, &admin).await?,
        };
        let (prefix, allow_unproven) = (name_prefix(context.secret()), self.allow_unproven);
        let notes = context.notes().clone();
        Ok(Ready { prefix, prover, allow_unproven, notes, version, vars: all, admin, issuer })
    }

    async fn prover(
        &self,
        context: &StepContext<'_>,
        issuer: &Issuer,
        secret: &KeySecret,
        vars: &BTreeMap<String, Value>,
        admin: &BTreeMap<String, SecretText>,
    ) -> Result<Prover> {
        let places = issuer.place_vars();
        let place = vars.iter().filter(|(name, _)| places.contains(name.as_str()));
        let place = place.map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut prover = Prover::new(admin, context.secret(), &issuer.id, &place);
        let own = (secret.key.id.as_deref().unwrap_or_default(), secret.journal.proof.as_deref());
        let entries = secret.journal.retire.iter().map(|entry| (entry.id.as_str(), entry.proof.as_deref()));
        let fails = |(id, proof): (&str, Option<&str>)| proof.is_some() && !prover.holds(id, proof);
        // The admin's credential has changed since, perhaps. Rotated by the service, the one before is AWSPREVIOUS.
        if let Some(id) = secret.admin_secret.as_deref().filter(|_| issuer.admin == Admin::Secret)
            && std::iter::once(own).chain(entries).any(fails)
            && let Some(previous) = context.other_previous(id).await?
            && let Ok(fields) = admin_fields(&previous, issuer)
        {
            prover.and_previous(&fields);
        }
        Ok(prover)
    }
}

/// An admin secret may say for which issuer it is. One that says another is not sent there.
fn meant_for(admin: &Document, issuer: &Issuer) -> Result<()> {
    match admin.optional_string("issuer")? {
        Some(other) if other != issuer.id => {
            let error = Error::new(Code::AdminNotAllowed).with(Fact::Field, "issuer");
            Err(error.with(Fact::Found, "another issuer").with(Fact::Expected, &issuer.id))
        }
        _ => Ok(()),
    }
}

fn no_admin() -> Error {
    Error::new(Code::FieldMissing).with(Fact::Field, "rotation.adminSecretArn")
}

impl Ready {
    /// Whether an earlier rotation has left a proof that this secret's key is its own to replace.
    pub(crate) fn is_proven(&self) -> bool {
        let id = self.version.key.id.as_deref().unwrap_or_default();
        self.allow_unproven || self.prover.holds(id, self.version.journal.proof.as_deref())
    }

    /// Shows that whoever writes the secret has its key: with the admin's credential, the function would otherwise replace any
    /// key that the secret names, and store the new one where its writer can read it.
    pub(crate) async fn possession(&self, client: &Client, key: &Key, deadline: Deadline) -> Result<()> {
        let exchange = self.exchange(client, key, deadline);
        // That a key works says nothing about an id that somebody wrote beside it.
        if key.id.is_some() && !exchange.tells_identity() {
            return Err(self.unproven());
        }
        exchange.verify(key, false).await?.or_rejected(Code::KeyUnproven)
    }

    pub(crate) fn unproven(&self) -> Error {
        Error::new(Code::KeyUnproven).with(Fact::Issuer, &self.issuer.id)
    }

    /// A conversation with the issuer, for which `current` is the key in use.
    pub(crate) fn exchange<'a>(&'a self, client: &'a Client, current: &'a Key, deadline: Deadline) -> Exchange<'a> {
        let subject = Subject {
            issuer: &self.issuer,
            vars: &self.vars,
            admin: &self.admin,
            current: Some(current),
            lifetime: self.version.lifetime,
        };
        Exchange::new(client, subject, self.prefix.clone(), deadline).noting(self.notes.clone())
    }

    /// The same for ending keys: what fails there and is tried again must leave the step the time for the rest of its work,
    /// and for its answer.
    pub(crate) fn ending<'a>(&'a self, client: &'a Client, current: &'a Key, deadline: Deadline) -> Exchange<'a> {
        self.exchange(client, current, deadline.within(TO_END.min(deadline.left() / 3)))
    }
}
