//! Sets a password. The server gets a verifier, which does not reveal the password.

use crate::connect::Session;
use crate::sql::preamble::{ServerInfo, limits};
use crate::sql::quote;
use postgres_protocol::password::{md5, scram_sha_256};
use rotation::secret::Password;
use rotation::{Code, Error, Fact, Result};
use secrecy::{ExposeSecret, SecretString};

/// PostgreSQL 10, as `server_version_num` says it (its release notes: SCRAM-SHA-256 is new).
const FIRST_WITH_SCRAM: u32 = 100_000;

/// How the server stores passwords (`password_encryption`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// `scram-sha-256`, and values that are unknown here.
    ScramSha256,
    /// `md5`, for clients that know nothing else.
    Md5,
}

impl Encryption {
    /// `md5` only if the server asks for it *and* the deployer allows it: whoever reads an md5 verifier can log in with it. A SCRAM
    /// verifier also serves `md5` lines in pg_hba.conf (PostgreSQL manual 20.5).
    ///
    /// # Errors
    /// [`Code::ServerTooOld`] if the server would take a SCRAM verifier for the password itself, and lock the user out.
    pub(crate) fn choose(server: &ServerInfo, allow_md5: bool) -> Result<Self> {
        // `on` is the name of md5 before version 10.
        if allow_md5 && matches!(server.password_encryption.as_str(), "md5" | "on") {
            return Ok(Self::Md5);
        }
        if server.version < FIRST_WITH_SCRAM {
            return Err(Error::new(Code::ServerTooOld).with(Fact::Found, server.version));
        }
        Ok(Self::ScramSha256)
    }
}

/// The verifier to store for a user's password.
fn verifier(encryption: Encryption, user: &str, password: &Password) -> SecretString {
    let password = password.expose().as_bytes();
    match encryption {
        Encryption::ScramSha256 => scram_sha_256(password),
        Encryption::Md5 => md5(password, user),
    }
    .into()
}

/// Sets a user's password and commits the session's transaction, in one round trip.
///
/// # Errors
/// [`Code::LockTimeout`], [`Code::PrivilegeMissing`]; others by SQLSTATE. The end of the session then rolls the transaction back.
pub(crate) async fn set_password(session: Session, user: &str, new: &Password, encryption: Encryption) -> Result<()> {
    let statement = alter_role_password(user, &verifier(encryption, user, new));
    session.run(&format!("{}; {}; COMMIT", limits(&session)?, statement.expose_secret())).await?;
    session.close().await;
    Ok(())
}

/// `ALTER ROLE … PASSWORD …`, as a value that is not printed.
fn alter_role_password(user: &str, verifier: &SecretString) -> SecretString {
    let (user, verifier) = (quote::identifier(user), quote::literal(verifier.expose_secret()));
    format!("ALTER ROLE {user} PASSWORD {verifier}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_needs_both_to_agree() {
        let chosen = |setting, allow_md5| Encryption::choose(&server(150_004, setting), allow_md5).unwrap();
        assert_eq!(chosen("md5", true), Encryption::Md5);
        assert_eq!(chosen("md5", false), Encryption::ScramSha256);
        assert_eq!(chosen("scram-sha-256", true), Encryption::ScramSha256);
    }

    #[test]
    fn a_server_without_scram_gets_md5_or_nothing() {
        assert_eq!(Encryption::choose(&server(100_000, "md5"), false).unwrap(), Encryption::ScramSha256);
        assert_eq!(Encryption::choose(&server(90_624, "on"), true).unwrap(), Encryption::Md5);
        for (setting, allow_md5) in [("on", false), ("off", true), ("off", false)] {
            let error = Encryption::choose(&server(90_624, setting), allow_md5).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Found)), (Code::ServerTooOld, Some("90624")));
        }
    }

    fn server(version: u32, password_encryption: &str) -> ServerInfo {
        ServerInfo {
            version,
            password_encryption: password_encryption.to_owned(),
            session_user: String::new(),
            current_user: String::new(),
        }
    }

    #[test]
    fn a_statement_holds_the_verifier_and_not_the_password() {
        let password = Password::from("hunter2");
        for encryption in [Encryption::ScramSha256, Encryption::Md5] {
            let statement = alter_role_password("u\"x", &verifier(encryption, "u\"x", &password));
            assert!(statement.expose_secret().starts_with("ALTER ROLE \"u\"\"x\" PASSWORD '"));
            assert!(!statement.expose_secret().contains("hunter2"));
            assert!(!format!("{statement:?}").contains("ALTER"));
        }
    }
}
