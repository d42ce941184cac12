//! Everything that a step needs to talk to an issuer about a secret, read and checked.

use crate::description::{Admin, From, Issuer};
use crate::exchange::{Exchange, Subject};
use crate::facts::{Facts, admin_fields, issuer_name, vars};
use crate::http::Client;
use crate::journal::{Prover, name_prefix};
use crate::sources::Sources;
use crate::template::{Key, Value};
use rotation::clock::Deadline;
use rotation::document::Document;
use rotation::secret::SecretText;
use rotation::store::SecretStore;
use rotation::target::Reader;
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
    pub(crate) facts: Facts,
    pub(crate) prefix: String,
    pub(crate) prover: Prover,
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
}

impl Ground<'_> {
    /// Reads a version and, where it is needed, the admin secret.
    pub(crate) async fn ready<S: SecretStore>(
        &self,
        reader: &Reader<'_, S>,
        document: &Document,
        rights: Rights,
    ) -> Result<Ready> {
        let name = issuer_name(document)?;
        let issuer = self.sources.find(&name, reader).await?;
        let facts = Facts::read(document, &issuer)?;
        let mut all = facts.vars.clone();
        let mut admin = BTreeMap::new();
        let needed = rights == Rights::Admin || issuer.vars.values().any(|var| var.from == From::Admin);
        if issuer.admin == Admin::Secret && needed {
            let id = facts.admin_secret.as_deref().ok_or_else(no_admin)?;
            if self.admin_secrets.is_some_and(|allowed| !allowed.iter().any(|known| known == id)) {
                return Err(Error::new(Code::AdminNotAllowed).with(Fact::OtherSecret, id));
            }
            let document = reader.other_secret(id).await?;
            let of_other = |error: Error| error.with_default(Fact::OtherSecret, id);
            admin = admin_fields(&document, &issuer).map_err(of_other)?;
            all.extend(vars(&document, &issuer, From::Admin).map_err(of_other)?);
        }
        let secret = reader.secret();
        let proving = (issuer.admin == Admin::Secret).then_some(&admin);
        let places = issuer.place_vars();
        let place = all.iter().filter(|(name, _)| places.contains(name.as_str()));
        let place = place.map(|(name, value)| (name.clone(), value.clone())).collect();
        let prover = Prover::new(proving, secret, &issuer.id, &place);
        Ok(Ready { prefix: name_prefix(secret), prover, facts, vars: all, admin, issuer })
    }
}

fn no_admin() -> Error {
    Error::new(Code::FieldMissing).with(Fact::Field, "rotation.adminSecretArn")
}

impl Ready {
    /// A conversation with the issuer, for which `current` is the key in use.
    pub(crate) fn exchange<'a>(&'a self, client: &'a Client, current: &'a Key, deadline: Deadline) -> Exchange<'a> {
        let subject = Subject {
            issuer: &self.issuer,
            vars: &self.vars,
            admin: &self.admin,
            current: Some(current),
            lifetime: self.facts.lifetime,
        };
        Exchange::new(client, subject, self.prefix.clone(), deadline)
    }

    /// The same for ending keys: what fails there and is tried again must leave the step the time for the rest of its work,
    /// and for its answer.
    pub(crate) fn ending<'a>(&'a self, client: &'a Client, current: &'a Key, deadline: Deadline) -> Exchange<'a> {
        self.exchange(client, current, deadline.within(TO_END.min(deadline.left() / 3)))
    }
}
