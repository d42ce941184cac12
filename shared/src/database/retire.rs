//! Ends what a superseded version of a database user's secret still opens: the previous password of the same user, the password of the
//! side of a pair whose turn has passed, and the sessions of that user.

use super::engine::{Engine, PasswordChange, Turn, Work};
use super::evidence::VersionsOfSecret;
use super::login::Logins;
use super::pair::{Pair, Side};
use super::plan::Credential;
use super::secret::{DatabaseSecret, DatabaseUser};
use super::versions::{CheckedVersions, Users};
use crate::error::{Code, Error, Fact, Result};
use crate::password::{OsEntropy, Policy};
use crate::protocol::label::CURRENT;
use crate::protocol::target::{Retired, Sessions, Versions};

/// The user of a superseded version, beside the one of AWSCURRENT.
enum Superseded {
    /// They are the same user.
    Same,
    /// It is the other side of the pair. The superuser of the secret `superuser` changes it.
    Partner { superuser: String, pair: Pair, side: Side },
}

/// AWSCURRENT, and the user of the superseded version, which was compared with it.
fn read<E: Engine>(versions: Versions<'_>) -> Result<(DatabaseSecret, Superseded)> {
    let error = match CheckedVersions::read::<E>(versions) {
        Ok(CheckedVersions { current, users: Users::Alternating { superuser, pair, pending }, .. }) => {
            return Ok((current, Superseded::Partner { superuser, pair, side: pending }));
        }
        Ok(CheckedVersions { current, .. }) => return Ok((current, Superseded::Same)),
        Err(error) => error,
    };
    // The version before AWSPREVIOUS of a pair has the current user again.
    let current = DatabaseSecret::read::<E>(versions.current)?;
    let older = DatabaseSecret::read_beside::<E>(versions.pending, &current.user)?;
    if current.same_login(&older) { Ok((current, Superseded::Same)) } else { Err(error) }
}

/// Ends the credential of a superseded version, which has just worked.
pub(crate) async fn end_credential<E: Engine>(
    logins: Logins<'_, E>,
    policy: &Policy,
    versions: Versions<'_>,
) -> Result<Retired> {
    let version = logins.context.token();
    match read::<E>(versions)? {
        (current, Superseded::Same) => discard(&logins, &current, version).await,
        (current, Superseded::Partner { superuser, pair, side }) => {
            let shut = shut(&logins, policy, &current.user, &superuser, (&pair, side)).await;
            shut.map_err(|error| current.user.locate(error))
        }
    }
}

/// Ends every password of the user of AWSCURRENT but that of `secret`.
///
/// **Invariant:** the labels are asked under the lock. Otherwise the password of AWSCURRENT could end here, if somebody has moved
/// the label back meanwhile. Test: `a_label_that_was_moved_back_keeps_its_password`.
pub(crate) async fn discard<E: Engine>(
    logins: &Logins<'_, E>,
    secret: &DatabaseSecret,
    version: &str,
) -> Result<Retired> {
    let (engine, user) = (logins.engine, &secret.user);
    let (session, work) = match secret.strategy.superuser() {
        Some(superuser) if secret.strategy.is_set_by_superuser() => {
            (logins.superuser_session(superuser, user).await?, Work::DiscardOther { user: &user.username })
        }
        _ => (logins.session(user, Credential::Current).await?, Work::Discard { user: &user.username }),
    };
    let evidence = VersionsOfSecret::<E>::new(logins.context, user);
    let locked = engine.lock(session, work, &evidence).await.map_err(|error| user.locate(error))?;
    match logins.context.is_current(version).await {
        Ok(true) => {}
        other => {
            engine.unlock(locked).await;
            return other.map(|_| Retired::Nothing);
        }
    }
    let discarded = engine.discard_previous_password(locked, &user.password).await;
    let discarded = discarded.map_err(|error| user.locate(error))?;
    Ok(if discarded { Retired::Previous } else { Retired::Nothing })
}

/// Gives the side of a pair whose turn has passed a password that nobody knows. The next rotation sets one again, as the superuser.
///
/// **Invariant:** it is a turn of a rotation without its end: the same lock, the same proofs that both users are a pair of this secret,
/// and the labels are asked under the lock. Otherwise the writer of a secret could have another's user locked out, or a rotation that
/// has just begun would lose its password. Tests: `a_version_of_a_strangers_user_is_not_retired`, `a_rotation_under_way_keeps_its_password`.
async fn shut<E: Engine>(
    logins: &Logins<'_, E>,
    policy: &Policy,
    current: &DatabaseUser,
    superuser: &str,
    (pair, side): (&Pair, Side),
) -> Result<Retired> {
    let nobodys = policy.generate(&OsEntropy)?;
    let turn = Turn { pair, pending: side, new: &nobodys, current: &current.password };
    let locked = lock_at_rest(logins, current, superuser, Work::Shut(turn)).await?;
    let change = PasswordChange { user: pair.user(side), from: &current.password, to: &nobodys };
    logins.engine.set_password(locked, change).await?;
    Ok(Retired::Previous)
}

/// Takes the lock on a pair as its superuser, while no rotation of the secret is under way.
async fn lock_at_rest<E: Engine>(
    logins: &Logins<'_, E>,
    current: &DatabaseUser,
    superuser: &str,
    work: Work<'_>,
) -> Result<E::Locked> {
    let session = logins.superuser_session(superuser, current).await?;
    let evidence = VersionsOfSecret::<E>::new(logins.context, current);
    let locked = logins.engine.lock(session, work, &evidence).await?;
    match logins.context.is_settled().await {
        Ok(true) => Ok(locked),
        other => {
            logins.engine.unlock(locked).await;
            other?;
            Err(Error::new(Code::WriteConflict).with(Fact::Labels, CURRENT))
        }
    }
}

/// Ends the sessions of the user of a superseded version, whose password was just refused. The user ends its own; the other side of a
/// pair has no password that anybody knows, so the superuser ends them.
///
/// **Invariant:** no other user's sessions end: the user is AWSCURRENT's own, or the other side of a pair that the server or the secret's
/// versions prove. Otherwise the writer of a secret could have another's sessions ended. Tests: `only_the_users_own_sessions_end`,
/// `a_version_of_a_strangers_user_is_not_retired`.
pub(crate) async fn end_sessions<E: Engine>(logins: Logins<'_, E>, versions: Versions<'_>) -> Result<Sessions> {
    let (current, superseded) = read::<E>(versions)?;
    let user = &current.user;
    let ended = async {
        match &superseded {
            Superseded::Same => {
                let session = logins.session(user, Credential::Current).await?;
                let evidence = VersionsOfSecret::<E>::new(logins.context, user);
                let work = Work::Discard { user: &user.username };
                let locked = logins.engine.lock(session, work, &evidence).await?;
                logins.engine.end_sessions(locked, &user.username).await
            }
            Superseded::Partner { superuser, pair, side } => {
                // Nothing is set. The passwords are there to be told from those that somebody else has set.
                let turn = Turn { pair, pending: *side, new: &user.password, current: &user.password };
                let locked = lock_at_rest(&logins, user, superuser, Work::Turn(turn)).await?;
                logins.engine.end_sessions(locked, pair.user(*side)).await
            }
        }
    };
    ended.await.map_err(|error| user.locate(error))
}
