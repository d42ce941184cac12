//! What the deployer decides for PostgreSQL alone.

use rotation::Result;
use rotation::environment::Environment;

/// What AWS's function for PostgreSQL leaves out of a password: characters that trouble connection strings and shells.
pub const EXCLUDE_CHARACTERS: &str = ":/@\"'\\";

/// The settings that only this function has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// `ALLOW_MD5`: whether an md5 verifier may be stored where the server's `password_encryption` asks for one.
    pub(crate) allow_md5: bool,
    /// `ALLOW_POWERFUL_ROLES`: whether a superuser secret may be used to rotate roles that are superusers themselves.
    pub(crate) allow_powerful_roles: bool,
}

impl Settings {
    pub(crate) fn read(environment: &Environment) -> Result<Self> {
        Ok(Self {
            allow_md5: environment.flag("ALLOW_MD5", false)?,
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
        assert!(!settings.allow_md5 && !settings.allow_powerful_roles);
    }
}
