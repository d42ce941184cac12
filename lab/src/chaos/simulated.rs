//! A simulated server without a history around it, so that it can be compared with a real one.

use super::case::{Case, Strategy, Target};
use super::engine::{MySqlLike, PostgresLike};
use super::lambda;
use super::person;
use super::server::{PRIVILEGES, User};
use super::world::{Hooks, World};
use rotation::Result;
use rotation::database::Engine;
use std::sync::Arc;

/// A server that histories are tried on, with its engine, and what people do to it.
pub struct Simulated(Arc<World>);

impl Simulated {
    /// The users that it has from the beginning: one with privileges, and a superuser.
    pub const USERS: [&str; 2] = [super::case::USER, super::case::SUPERUSER];
    /// What a user may have: the names of privileges.
    pub const PRIVILEGES: [&str; 2] = PRIVILEGES;

    /// A new server of this kind.
    ///
    /// # Errors
    /// If the function's default settings are refused.
    pub fn new(target: Target) -> Result<Self> {
        let case = Case { target, strategy: Strategy::SingleUser, before: 0 };
        let hooks = Hooks { steps: lambda::steps, act: |world, act| Box::pin(person::act(world, act)) };
        Ok(Self(World::new(case, &[], false, None, hooks)?))
    }

    /// The engine of PostgreSQL on this server.
    #[must_use]
    pub fn postgres(&self) -> impl Engine + use<> {
        PostgresLike(self.0.process())
    }

    /// The engine of MySQL and MariaDB on this server.
    #[must_use]
    pub fn mysql(&self) -> impl Engine + use<> {
        MySqlLike(self.0.process())
    }

    /// Makes a user with all privileges.
    pub fn create_user(&self, name: &str, password: &str) {
        let privileges = PRIVILEGES.into_iter().collect();
        let user = User { primary: password.to_owned(), privileges, ..User::default() };
        self.0.inner().server.change().insert(name.to_owned(), user);
    }

    /// Removes a user, if there is one.
    pub fn drop_user(&self, name: &str) {
        self.0.inner().server.drop_user(name);
    }

    /// Sets a user's only password, as a superuser does by hand.
    pub fn set_password(&self, name: &str, password: &str) {
        self.change(name, |user| {
            password.clone_into(&mut user.primary);
            user.secondary = None;
        });
    }

    /// Locks or unlocks a user.
    pub fn lock_user(&self, name: &str, locked: bool) {
        self.change(name, |user| user.locked = locked);
    }

    /// Takes a privilege from a user, who has it directly.
    pub fn revoke(&self, name: &str, privilege: &str) {
        self.change(name, |user| user.privileges.retain(|one| *one != privilege));
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut User)) {
        if let Some(user) = self.0.inner().server.change().get_mut(name) {
            change(user);
        }
    }

    /// Whether a login would succeed.
    #[must_use]
    pub fn opens(&self, name: &str, password: &str) -> bool {
        self.0.inner().server.opens(name, password)
    }

    /// What a user may do, by itself or as a member of roles. `None` if there is no such user.
    #[must_use]
    pub fn privileges(&self, name: &str) -> Option<Vec<&'static str>> {
        let inner = self.0.inner();
        let user = inner.server.users.get(name)?;
        Some(inner.server.reaches(user).into_iter().collect())
    }
}
