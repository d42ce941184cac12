//! Alternating users: whose turn is next, and setSecret for them.

use super::engine::{Engine, PasswordChange, Turn, Work};
use super::evidence::{Holder, VersionsOfSecret};
use super::lock::wanted;
use super::login::Logins;
use super::pair::{Pair, Side};
use super::plan::Credential;
use super::secret::DatabaseUser;
use super::versions::CheckedVersions;
use crate::error::Result;
use crate::protocol::context::StepContext;
use crate::protocol::observation::PreviousCredential;
use crate::protocol::target::{Applied, Change};

/// The user whose turn is next.
pub(crate) async fn next_user<E: Engine>(
    context: &StepContext<'_>,
    current: &DatabaseUser,
    users: Option<&(String, String)>,
) -> Result<String> {
    let previous = match Pair::of_clones_name(&current.username).filter(|_| users.is_none()) {
        None => None,
        // The user may be the clone of a base, or a base whose name ends like a clone's.
        Some((as_clone, as_base)) => {
            let versions = VersionsOfSecret::<E>::new(context, current);
            match versions.newest_of(&[&as_clone.base, &as_base.clone]).await? {
                Holder::Of(user) => Some(user),
                Holder::NoVersion => None,
                // A wrong guess would be stored, and a stored value never changes.
                Holder::Others => {
                    let what = "the secret's user has the name of a clone, and no older version of the secret says of whom: \
                                name the base and the clone in rotation.users";
                    return Err(as_clone.unproven(what));
                }
            }
        }
    };
    let pair = Pair::of(&current.username, users, previous.as_deref())?;
    Ok(pair.user(pair.partner(&current.username)).to_owned())
}

/// Makes the clone like the base and sets the pending side's password, as the superuser.
pub(crate) async fn apply<E: Engine>(
    logins: &Logins<'_, E>,
    versions: &CheckedVersions,
    superuser: &str,
    (pair, pending): (&Pair, Side),
) -> Result<Applied> {
    let (context, engine, current) = (logins.context, logins.engine, &versions.current.user);
    let session = logins.superuser_session(superuser, current).await?;
    let turn = Turn { pair, pending, new: &versions.pending.user.password, current: &current.password };
    let evidence = VersionsOfSecret::<E>::new(context, current);
    let locked = engine.lock(session, Work::Turn(turn), &evidence).await?;
    let mut locked = wanted(engine, context, locked, [turn.current, turn.new]).await?;
    let at_server = |remark| current.locate(remark);
    engine.remarks(&locked, turn).into_iter().map(at_server).for_each(|remark| context.warn(remark));
    // **Invariant:** the privileges come before the password. Otherwise a user that consumers can log in as could do less than
    // they need.
    engine.align(&mut locked, turn).await?;
    let change = PasswordChange { user: pair.user(pending), from: &current.password, to: turn.new };
    engine.set_password(locked, change).await?;
    Ok(Applied::Changed(Change { by: Credential::Superuser.as_str(), previous: PreviousCredential::Works }))
}
