//! The creation of a key: once, if the issuer chooses anything of it, and as often as need be, if it chooses nothing.

use crate::description::{Create, Further, Key, OwnId, Scope};
use crate::exchange::{Exchange, Resend, asked_by_nobody, internal};
use crate::http::Response;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;

impl<'a> Exchange<'a> {
    /// Creates a key of this name, and of this value if the function draws it. The request is never repeated, because the outcome of an
    /// unanswered one is unknown. [`after`](Self::after) completes the key.
    ///
    /// # Errors
    /// [`Code::KeyLimitReached`]; [`Code::ReplyLost`]; others. After any but the first, a key may exist.
    pub async fn create(&self, name: &str, value: Option<SecretText>) -> Result<Key> {
        let create = self.create_call()?;
        let id = (create.id == Some(OwnId::Name)).then(|| name.to_owned());
        let known = Key { id, secret: value, fields: BTreeMap::new() };
        let about = if known.id.is_some() || known.secret.is_some() { Some(&known) } else { self.current };
        let scope = self.scope(about, Some(name), None);
        self.further(asked_by_nobody, &create.before, &scope).await?;
        let answer = self.once(&create.call, &scope, Resend::IfNotProcessed).await?;
        if self.is(&create.ok, &create.call, &answer, &scope)? {
            return self.extracted(&create.call, &create.extract, &answer, known);
        }
        Err(self.not_created(create, &answer, &scope))
    }

    /// Makes the calls that a new key needs. They may be repeated.
    ///
    /// # Errors
    /// Why one of them failed.
    pub async fn after(&self, key: &Key, name: &str) -> Result<()> {
        self.further(asked_by_nobody, &self.create_call()?.after, &self.scope(Some(key), Some(name), None)).await
    }

    /// Creates a key whose id and value are stored, with all that it needs. As often as need be: id and value stay the same.
    /// `wanted` is asked before each request: a later rotation may have begun.
    ///
    /// # Errors
    /// [`Code::KeyLimitReached`]; others; those of `wanted`. After any of them, the key may exist.
    pub async fn create_stored<W: Future<Output = Result<()>> + Send>(
        &self,
        key: &Key,
        wanted: impl Fn() -> W + Send + Sync,
    ) -> Result<()> {
        let create = self.create_call()?;
        let scope = self.scope(Some(key), key.id.as_deref(), None);
        self.further(&wanted, &create.before, &scope).await?;
        let known: Vec<_> = std::iter::once(&create.ok).chain(&create.limit).collect();
        let answer = self.send_while(&wanted, &create.call, &scope, Resend::Always, &known, |_| Ok(())).await?;
        if !self.is(&create.ok, &create.call, &answer, &scope)? {
            return Err(self.not_created(create, &answer, &scope));
        }
        self.further(&wanted, &create.after, &scope).await
    }

    fn create_call(&self) -> Result<&'a Create> {
        self.issuer.create.as_ref().ok_or_else(|| internal("no `create`"))
    }

    /// Makes calls that may be repeated, one after the other.
    async fn further<W: Future<Output = Result<()>>>(
        &self,
        wanted: impl Fn() -> W,
        calls: &[Further],
        scope: &Scope<'_>,
    ) -> Result<()> {
        for Further { call, ok } in calls {
            let answer = self.send_while(&wanted, call, scope, Resend::Always, &[ok], |_| Ok(())).await?;
            self.accepted(answer, ok, call, scope)?;
        }
        Ok(())
    }

    fn not_created(&self, create: &Create, answer: &Response, scope: &Scope<'_>) -> Error {
        match create.limit.as_ref().map_or(Ok(false), |limit| limit.hold(answer.answer(), scope)) {
            Ok(true) => self.about(&create.call, Code::KeyLimitReached).with(Fact::Status, answer.status),
            Ok(false) => self.refused(&create.call, answer),
            Err(error) => error,
        }
    }
}
