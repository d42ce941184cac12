//! One user, whose password a superuser sets: always (`rotation.setPasswordAs`), or if the user is locked out.
//!
//! The superuser reads the hashes of all accounts of the user, and sets a hash. No password is sent, and none is needed to tell
//! whether an earlier run has set the pending one: retaining that would end the password that consumers read.

use crate::catalog::accounts::{self, Account, Accounts, usable};
use crate::catalog::options::Means;
use crate::connect::Session;
use crate::lock::{About, Locked};
use crate::ownership::{self, Known};
use crate::pair;
use crate::sql::changes::Right;
use crate::sql::preamble::ServerInfo;
use crate::sql::{hash, password};
use rotation::database::{Evidence, PasswordChange};
use rotation::protocol::observation::PreviousCredential;
use rotation::secret::Password;
use rotation::{Code, Error, Fact, Result};

/// Takes the lock on a user that is locked out, as a superuser who may set its password. One round trip.
///
/// # Errors
/// Those of [`read`] and [`Read::can_be_opened`]; [`Code::LoginForbidden`] if a new password would not help; [`Code::AccountsDiffer`].
pub(crate) async fn lock_to_rescue(
    superuser: Session,
    change: PasswordChange<'_>,
    allow_powerful: bool,
    evidence: &impl Evidence,
) -> Result<Locked> {
    let read = read(superuser, change.user, allow_powerful).await?;
    // The server also says "wrong password" if the connection lacks what the account REQUIREs, or without TLS if
    // MariaDB wants TLS. Consumers that can log in must not be locked out because of that.
    if let Some(account) = read.accounts.of(change.user).into_iter().find(|account| account.has(change.from)) {
        let what = "the password of AWSCURRENT is right, so the server refuses the login for another reason: what the account \
                    REQUIREs, or TLS";
        return Err(Error::new(Code::LoginForbidden).with(Fact::User, &account.name).with(Fact::What, what));
    }
    read.can_be_opened(change.user, evidence)?;
    // A password that somebody has set by hand is in no version. With several of them, one may be another application's.
    let known = Known { passwords: &[change.to], is_the_secrets: false };
    ownership::check(&read.accounts, change.user, known, evidence).await?;
    Ok(read.locked(false))
}

/// Takes the lock on a user whom `change.from` has opened, as a superuser who sets its password. One round trip.
///
/// # Errors
/// Those of [`read`] and [`Read::can_be_opened`]; [`Code::AccountsDiffer`].
pub(crate) async fn lock(
    superuser: Session,
    change: PasswordChange<'_>,
    allow_powerful: bool,
    evidence: &impl Evidence,
) -> Result<Locked> {
    let read = read(superuser, change.user, allow_powerful).await?;
    read.can_be_opened(change.user, evidence)?;
    let known = Known { passwords: &[change.from, change.to], is_the_secrets: false };
    ownership::check(&read.accounts, change.user, known, evidence).await?;
    let retain = read.server.has_dual_passwords();
    Ok(read.locked(retain))
}

/// Takes the lock on a user whose previous password is to end, as a superuser. One round trip.
///
/// # Errors
/// Those of [`read`].
pub(crate) async fn lock_to_discard(superuser: Session, user: &str, allow_powerful: bool) -> Result<Locked> {
    Ok(read(superuser, user, allow_powerful).await?.locked(false))
}

/// What was read about a user, under the lock.
struct Read {
    session: Session,
    server: ServerInfo,
    accounts: Accounts,
}

impl Read {
    /// Checks that a password is all that the login of a user needs, beside what the secret says about it.
    ///
    /// # Errors
    /// [`Code::AuthenticationUnsupported`], [`Code::TlsRequired`].
    fn can_be_opened(&self, user: &str, evidence: &impl Evidence) -> Result<()> {
        let means = Means { encrypted: evidence.uses_tls(), certificate: evidence.has_client_certificate() };
        accounts::need_a_password_only(&self.accounts.of(user), user, &self.server, means)
    }

    fn locked(self, retain: bool) -> Locked {
        let Self { session, server, accounts } = self;
        let left_alone = accounts.left_alone.clone();
        Locked { session, server, about: About::Other { accounts, retain }, left_alone }
    }
}

/// Takes the lock, and checks that a superuser may change the user.
///
/// # Errors
/// [`Code::RoleMissing`]; [`Code::RoleUnusable`]; [`Code::RoleProtected`]; those of reading.
async fn read(mut session: Session, user: &str, allow_powerful: bool) -> Result<Read> {
    let (server, accounts) = accounts::read(&mut session, &[user]).await?;
    let own = accounts.of(user);
    usable(&own, user)?;
    for account in &own {
        account.unprotected(&server, allow_powerful)?;
    }
    Ok(Read { session, server, accounts })
}

/// Sets the password on all accounts of a user. With `retain` the password before stays valid, and an account that has the new
/// password already is left alone; otherwise every other password ends. One round trip.
///
/// # Errors
/// Those of [`password::set`] and [`password::set_and_retain`].
pub(crate) async fn set(
    superuser: &mut Session,
    server: &ServerInfo,
    accounts: &Accounts,
    change: PasswordChange<'_>,
    retain: bool,
) -> Result<PreviousCredential> {
    let set = if retain {
        password::set_and_retain(superuser, server, accounts, change).await
    } else {
        password::set(superuser, server, accounts, change.user, change.to).await
    };
    set.map_err(|error| pair::explain(error, "the password", &Right::CreateUser, server))?;
    Ok(if retain { PreviousCredential::Works } else { PreviousCredential::Refused })
}

/// Ends the secondary password of the accounts whose primary one is `current`. `false` if they have none. At most one round trip.
///
/// **Invariant:** nothing is discarded while `current` is the secondary password of an account. Consumers read it, and the primary one
/// is that of a rotation that was not finished. Test: `a_superuser_discards_no_password_that_consumers_read`.
///
/// # Errors
/// [`Code::TargetRefused`]; [`Code::PrivilegeMissing`]; others by error number.
pub(crate) async fn discard_previous_password(
    superuser: &mut Session,
    server: &ServerInfo,
    accounts: &Accounts,
    current: &Password,
) -> Result<bool> {
    if !server.has_dual_passwords() {
        return Ok(false);
    }
    let (primary, others): (Vec<&Account>, Vec<&Account>) =
        accounts.list.iter().partition(|account| hash::matches(&account.authentication.hash.0, current));
    if primary.is_empty() || others.iter().any(|account| account.has(current)) {
        let what = "the current password is the account's secondary one: a rotation was begun and not finished";
        return Err(Error::new(Code::TargetRefused).with(Fact::What, what));
    }
    let ends: Vec<String> = primary
        .iter()
        .filter(|account| account.authentication.secondary)
        .map(|account| format!("{} DISCARD OLD PASSWORD", account.name))
        .collect();
    if ends.is_empty() {
        return Ok(false);
    }
    let discarded = superuser.run(&format!("ALTER USER {}", ends.join(", "))).await;
    discarded.map_err(|error| pair::explain(error, "DISCARD OLD PASSWORD", &Right::CreateUser, server))?;
    Ok(true)
}
