//! What is asked once the lock is held.

use super::engine::Engine;
use crate::error::Result;
use crate::protocol::context::StepContext;
use crate::secret::Password;

/// Passes the lock on if the rotation still wants the change, and ends the session if not.
///
/// **Invariant:** the labels are asked after the lock is held, and before anything is changed. Whoever holds the lock can be
/// held up for as long as it takes: no other invocation changes the password meanwhile. Without the lock, a rotation that an
/// operator has given up could set its password after the next rotation has succeeded, and AWSCURRENT would open nothing.
/// Test: `an_invocation_that_was_overtaken_changes_nothing`.
///
/// `passwords` are those that this step may have shown to the server. A server that answers with one as the name of an account is not
/// repeated.
pub(crate) async fn wanted<E: Engine>(
    engine: &E,
    context: &StepContext<'_>,
    locked: E::Locked,
    passwords: [&Password; 2],
) -> Result<E::Locked> {
    match context.still_wanted().await {
        Ok(()) => {
            let mut names = engine.left_alone(&locked);
            names.retain(|name| !passwords.iter().any(|password| name.contains(password.expose())));
            context.notes().left_alone(names);
            Ok(locked)
        }
        Err(error) => {
            engine.unlock(locked).await;
            Err(error)
        }
    }
}
