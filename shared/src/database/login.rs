//! Logging in, as a secret's user or as the superuser.

use super::engine::{Engine, Login};
use super::login_failure::LoginFailure;
use super::plan::Credential;
use super::secret::DatabaseUser;
use super::superuser::{AddressSource, Superuser, Superusers};
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::context::StepContext;
use crate::protocol::observation::Observation;

type LoginResult<E> = Result<<E as Engine>::Session, LoginFailure>;

/// The logins of one step.
pub(crate) struct Logins<'a, E> {
    pub(crate) engine: &'a E,
    pub(crate) superusers: &'a Superusers,
    pub(crate) deployers_ca: Option<&'a str>,
    pub(crate) context: &'a StepContext<'a>,
}

impl<E: Engine> Logins<'_, E> {
    /// A session, with a credential that has to work.
    pub(crate) async fn session(&self, user: &DatabaseUser, credential: Credential) -> Result<E::Session> {
        let code = if credential == Credential::Pending { Code::PendingRejected } else { Code::CurrentRejected };
        self.log_in(user, credential).await.map_err(|failure| failure.or_rejected(code))
    }

    /// A session of the superuser, whose credential has to work.
    pub(crate) async fn superuser_session(&self, id: &str, child: &DatabaseUser) -> Result<E::Session> {
        let superuser = self.superusers.find::<E>(self.context, id, child).await?;
        let session = self.log_in_superuser(&superuser).await;
        session.map_err(|failure| failure.or_rejected(Code::SuperuserRejected).with_default(Fact::OtherSecret, id))
    }

    pub(crate) async fn log_in_superuser(&self, superuser: &Superuser) -> LoginResult<E> {
        let binding = superuser.address == AddressSource::RotatedSecret;
        self.log_in_with(&superuser.user, Credential::Superuser, binding).await
    }

    /// Logs in with a credential that is expected to work.
    pub(crate) async fn log_in(&self, user: &DatabaseUser, credential: Credential) -> LoginResult<E> {
        self.log_in_with(user, credential, false).await
    }

    /// Tries one of several credentials, of which one is in effect: the current one, as a rule.
    pub(crate) async fn try_to_log_in(&self, user: &DatabaseUser, credential: Credential) -> LoginResult<E> {
        if let Some(error) = self.context.was_refused(&user.username, &user.password) {
            let error = error.with(Fact::Credential, credential.as_str());
            return Err(LoginFailure { observation: Observation::Rejected, error });
        }
        match credential {
            Credential::Current => self.log_in(user, credential).await,
            _ => self.log_in_once(user, credential, false).await,
        }
    }

    async fn log_in_with(&self, user: &DatabaseUser, credential: Credential, binding: bool) -> LoginResult<E> {
        let first = self.log_in_once(user, credential, binding).await;
        let refused = |failure: &LoginFailure| failure.observation == Observation::Rejected;
        if first.as_ref().is_err_and(refused) && self.engine.may_refuse_wrongly(&user.engine) {
            return self.log_in_once(user, credential, binding).await;
        }
        first
    }

    async fn log_in_once(&self, user: &DatabaseUser, credential: Credential, binding: bool) -> LoginResult<E> {
        let named = |error: Error| user.locate(error.with_default(Fact::Credential, credential.as_str()));
        let endpoint = user.endpoint(self.deployers_ca).map_err(|error| LoginFailure::unknown(named(error)))?;
        let login = Login {
            endpoint: &endpoint,
            user: &user.username,
            password: &user.password,
            channel_binding_required: binding,
        };
        self.engine.connect(login, self.context.deadline()).await.map_err(|failure| {
            let error = named(failure.error);
            if failure.observation == Observation::Rejected {
                self.context.notes().refused_login();
                self.context.refused(&user.username, &user.password, &error);
            }
            LoginFailure { error, ..failure }
        })
    }
}
