//! What the four steps do with an account's key.
//!
//! A rotation gives the account another key; the first one registers the account. In both cases the new key is stored before the CA
//! hears of it. So a lost answer, or a killed step, loses no account. It loses no external account binding either: some CAs accept a
//! binding only once.

use super::certificate_secret::directory;
use crate::acme::{AccountKey, Binding, Directory, Session};
use crate::http::{Client, Url};
use crate::settings::Settings;
use rotation::clock::Deadline;
use rotation::document::Document;
use rotation::protocol::context::StepContext;
use rotation::protocol::observation::{Attempt, Observation, PreviousCredential};
use rotation::protocol::target::{Applied, Change, Versions};
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use serde_json::Value;

/// What a rotation writes.
const WRITTEN: [&str; 1] = ["accountKey"];
/// How many older versions are looked at: each rotation that is given up leaves one.
const MOST_OLDER: usize = 10;
/// What leads out when the CA knows neither the current key nor an older one.
const ANOTHER_ACCOUNT: &str = "If `directory` was changed, change it back. Otherwise the CA has deactivated the account or has forgotten it: \
                               remove `accountKey` from the account secret and rotate it, which registers a new account. If the CA wants an \
                               external account binding, it may want a new one first.";

/// The content of a version of an account secret.
#[derive(Debug)]
pub(crate) struct AccountSecret {
    pub(crate) directory: Url,
    contact: Vec<String>,
    binding: Option<Binding>,
    key: Option<SecretText>,
}

impl AccountSecret {
    /// Reads a version's value.
    pub(crate) fn read(document: &Document, settings: &Settings) -> Result<Self> {
        document.options(&[])?;
        let binding = match document.object("externalAccountBinding", "externalAccountBinding.")? {
            None => None,
            Some(binding) => {
                binding.expect_keys(&["keyId", "hmacKey"])?;
                Some(Binding::new(binding.string("keyId")?, binding.string("hmacKey")?.into()))
            }
        };
        let expected = "an array of URLs, e.g. [\"mailto:certificates@example.com\"]";
        Ok(Self {
            directory: directory(document, settings)?,
            contact: document.typed("contact", expected)?.unwrap_or_default(),
            binding,
            key: document.optional_string("accountKey")?.filter(|key| !key.is_empty()).map(SecretText::from),
        })
    }

    /// The account's key.
    ///
    /// # Errors
    /// [`Code::AccountMissing`] if the secret has never been rotated; [`Code::FieldInvalid`].
    pub(crate) fn key(&self) -> Result<AccountKey> {
        AccountKey::read(self.key.as_ref().ok_or_else(|| Error::new(Code::AccountMissing))?)
    }

    async fn session<'a>(&self, client: &'a Client, key: AccountKey, deadline: Deadline) -> Result<Session<'a>> {
        let directory = Directory::read(client, &self.directory, deadline).await?;
        Ok(Session::new(client, directory, key, deadline))
    }

    /// Tries the version's key.
    pub(crate) async fn attempt(&self, client: &Client, deadline: Deadline) -> Result<Attempt> {
        let mut session = self.session(client, self.key()?, deadline).await?;
        Ok(match session.find_account().await {
            Ok(()) => Attempt::WORKS,
            Err(error) if error.code() == Code::AdminRejected => {
                Attempt { observation: Observation::Rejected, error: Some(error) }
            }
            Err(error) => Attempt::unknown(error),
        })
    }

    /// Proves that a first rotation could register the account, or that the key of the account works.
    pub(crate) async fn check(&self, client: &Client, deadline: Deadline) -> Result<()> {
        if self.key.is_some() {
            let mut session = self.session(client, self.key()?, deadline).await?;
            return session.find_account().await.map_err(|error| refused(error, Code::CurrentRejected));
        }
        let directory = Directory::read(client, &self.directory, deadline).await?;
        if directory.binding_required && self.binding.is_none() {
            return Err(Error::new(Code::BindingRequired).with(Fact::Field, "externalAccountBinding"));
        }
        Ok(())
    }
}

/// The document with a new key. Nothing is sent to the CA.
pub(crate) fn proposed(current: &Document) -> Result<Document> {
    let key = Value::from(AccountKey::generate()?.expose()).to_string();
    current.with_json(&[("accountKey", key.as_str())])
}

/// Gives the account the pending key, or registers it.
pub(crate) async fn apply(
    context: &StepContext<'_>,
    versions: Versions<'_>,
    client: &Client,
    settings: &Settings,
) -> Result<Applied> {
    versions.unedited(&WRITTEN)?;
    let pending = AccountSecret::read(versions.pending, settings)?;
    let current = AccountSecret::read(versions.current, settings)?;
    let deadline = context.deadline();
    let mut session = pending.session(client, pending.key()?, deadline).await?;
    // An earlier run may have changed the key. Only the CA's word that it does not know the key says that it has not.
    match session.find_account().await {
        Ok(()) => return Ok(Applied::AlreadyInEffect),
        Err(error) if error.code() == Code::AdminRejected => {}
        Err(error) => return Err(error),
    }
    if current.key.is_none() {
        context.still_wanted().await?;
        session.register(&pending.contact, pending.binding.as_ref()).await?;
        return Ok(Applied::Changed(Change { by: "binding", previous: PreviousCredential::Works }));
    }
    let mut session = current.session(client, current.key()?, deadline).await?;
    let by = match session.find_account().await {
        Ok(()) => "current",
        Err(error) => {
            let error = refused(error, Code::CurrentRejected);
            session = older_session(context, &current, client, settings, error).await?;
            "previous"
        }
    };
    context.still_wanted().await?;
    session.change_key(pending.key()?).await?;
    Ok(Applied::Changed(Change { by, previous: PreviousCredential::Refused }))
}

/// A conversation by the key of an older version that the CA knows. A rotation that was given up after setSecret has left the account's
/// key in a version without a label.
///
/// **Invariant:** the key of an older version signs only for the directory that its own version names, and AWSCURRENT names the same.
/// Otherwise the writer of a secret could have it sign for another CA. Test: `only_a_version_of_the_same_directory_is_tried`.
///
/// # Errors
/// `refused`, if the CA knows none of them; those of the store and of reaching the CA.
async fn older_session<'a>(
    context: &StepContext<'_>,
    current: &AccountSecret,
    client: &'a Client,
    settings: &Settings,
    refused: Error,
) -> Result<Session<'a>> {
    if refused.code() != Code::CurrentRejected {
        return Err(refused);
    }
    for id in context.older_versions().await?.iter().take(MOST_OLDER) {
        let Some(version) = context.version(id).await? else { continue };
        let Some(key) = older_key(&version, current, settings) else { continue };
        let mut session = current.session(client, key, context.deadline()).await?;
        match session.find_account().await {
            Ok(()) => return Ok(session),
            Err(error) if error.code() == Code::AdminRejected => {}
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}

/// The key in an older version, if it is one for the directory of AWSCURRENT.
fn older_key(version: &Document, current: &AccountSecret, settings: &Settings) -> Option<AccountKey> {
    let version = AccountSecret::read(version, settings).ok()?;
    (version.directory == current.directory).then(|| version.key().ok()).flatten()
}

/// Whether a rotation would try the key of an older version.
pub(crate) fn is_worthwhile(versions: Versions<'_>, settings: &Settings) -> bool {
    let current = AccountSecret::read(versions.current, settings);
    current.is_ok_and(|current| older_key(versions.pending, &current, settings).is_some())
}

/// Proves that the CA knows the pending key.
pub(crate) async fn verify(
    context: &StepContext<'_>,
    versions: Versions<'_>,
    client: &Client,
    settings: &Settings,
) -> Result<()> {
    versions.unedited(&WRITTEN)?;
    let pending = AccountSecret::read(versions.pending, settings)?;
    let mut session = pending.session(client, pending.key()?, context.deadline()).await?;
    session.find_account().await.map_err(|error| refused(error, Code::PendingRejected))
}

/// The error of a key that the CA refuses, in the words of a rotation.
pub(crate) fn refused(error: Error, code: Code) -> Error {
    if error.code() != Code::AdminRejected {
        return error;
    }
    let kept = [Fact::ServiceCode, Fact::What].into_iter().filter_map(|fact| Some((fact, error.fact(fact)?)));
    let told = kept.fold(Error::new(code), |told, (fact, text)| told.with(fact, text));
    if code == Code::CurrentRejected { told.with(Fact::NextAction, ANOTHER_ACCOUNT) } else { told }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotation::environment::Environment;
    use serde_json::json;

    #[test]
    fn an_account_that_was_never_registered_has_no_key() {
        let settings = Settings::read(&Environment::of(&[]).unwrap()).unwrap();
        let value = json!({"directory": "https://ca.example/dir", "contact": ["mailto:a@example.com"],
            "externalAccountBinding": {"keyId": "k", "hmacKey": "aHVudGVyMg"}});
        let document = Document::parse(value.to_string().into()).unwrap();
        let secret = AccountSecret::read(&document, &settings).unwrap();
        assert_eq!(secret.key().unwrap_err().code(), Code::AccountMissing);
        assert!(!format!("{secret:?}").contains("aHVudGVyMg"));
        let proposed = proposed(&document).unwrap();
        assert!(document.same_besides(&proposed, &WRITTEN));
        AccountSecret::read(&proposed, &settings).unwrap().key().unwrap();
    }

    #[test]
    fn only_a_version_of_the_same_directory_is_tried() {
        let settings = Settings::read(&Environment::of(&[]).unwrap()).unwrap();
        let parse = |value: Value| Document::parse(value.to_string().into()).unwrap();
        let of = |directory: &str| proposed(&parse(json!({"directory": directory}))).unwrap();
        let [current, older, other] =
            ["https://ca.example/dir", "https://ca.example/dir", "https://other.example/dir"].map(of);
        let without = parse(json!({"directory": "https://ca.example/dir"}));
        let worthwhile = |pending| is_worthwhile(Versions { current: &current, pending }, &settings);
        assert!(worthwhile(&older));
        assert!(!worthwhile(&other) && !worthwhile(&without));
    }
}
