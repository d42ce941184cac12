//! What the deployer decides for MySQL and MariaDB alone.

use rotation::Result;
use rotation::environment::Environment;

/// What AWS's functions for MySQL and MariaDB leave out of a password: characters that trouble connection strings and shells.
pub const EXCLUDE_CHARACTERS: &str = "/@\"'\\";

/// The settings that only this function has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// `USERNAME_CHARACTER_LIMIT`: the longest user name, where it is not the server's own limit.
    pub(crate) username_limit: Option<usize>,
    /// `ALLOW_POWERFUL_ROLES`: whether a superuser secret may be used to rotate users that are superusers themselves.
    pub(crate) allow_powerful_roles: bool,
}

impl Settings {
    pub(crate) fn read(environment: &Environment) -> Result<Self> {
        Ok(Self {
            username_limit: environment.positive("USERNAME_CHARACTER_LIMIT")?,
            allow_powerful_roles: environment.flag("ALLOW_POWERFUL_ROLES", false)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_risky_is_allowed_by_default() {
        let settings = Settings::read(&Environment::of(&[]).unwrap()).unwrap();
        assert!(!settings.allow_powerful_roles);
        assert_eq!(settings.username_limit, None);
    }
}
