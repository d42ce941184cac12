//! The superuser: which secret may be a superuser's, and where the superuser logs in.
//!
//! **Invariant:** a superuser's password goes only to a server that RDS, the superuser's own secret or the deployer
//! names. Any other login uses channel binding, or is not made. Otherwise whoever may write the rotated secret could name a server
//! of their own and get the superuser's password. Test:
//! `a_superuser_secret_that_cannot_serve_is_refused_before_its_password_is_sent`.
//!
//! This file is the only one in `database/` that asks AWS. `aws::rds` says how it finds the server.

use super::engine::Engine;
use super::key_names::KeyNames;
use super::secret::{DatabaseSecret, DatabaseUser};
use crate::aws::rds::{Address, Rds, could_not_ask, managed_for, mismatch};
use crate::document::Document;
use crate::environment::AllowedSecrets;
use crate::error::{Class, Code, Error, Fact, Result};
use crate::protocol::context::StepContext;
use crate::secret::Password;

/// Finds superusers in the secrets that the deployer allows.
pub(crate) struct Superusers {
    allowed: AllowedSecrets,
    rds: Rds,
}

/// A superuser, ready to log in. It talks in plaintext only if both secrets say so.
#[derive(Clone, Debug)]
pub(crate) struct Superuser {
    pub(crate) user: DatabaseUser,
    pub(crate) address: AddressSource,
}

/// Who names the superuser's server. The rotated secret never says which CAs to trust there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressSource {
    /// RDS, the superuser's own secret or the deployer.
    Trusted,
    /// The writer of the rotated secret, so the login must use channel binding: only a server that knows the superuser's
    /// password can complete it.
    RotatedSecret,
}

impl Superusers {
    pub(crate) fn new(allowed: AllowedSecrets, rds_endpoint: Option<&str>) -> Self {
        Self { allowed, rds: Rds::new(rds_endpoint) }
    }

    /// How many answers of RDS have asked to slow down, since the process began.
    pub(crate) fn throttles(&self) -> u32 {
        self.rds.throttles()
    }

    /// Whether the deployer allows this secret as a superuser's (`SUPERUSER_SECRET_ARNS`).
    ///
    /// The function's role can also read the secrets that it rotates. Without the limit, whoever may write one of them could
    /// name another one in `masterarn` and have it used as a superuser's.
    pub(crate) fn may_read(&self, id: &str) -> bool {
        self.allowed.allow(id)
    }

    /// The superuser of the secret `id`, compared with the child before its password is sent.
    pub(crate) async fn find<E: Engine>(
        &self,
        context: &StepContext<'_>,
        id: &str,
        child: &DatabaseUser,
    ) -> Result<Superuser> {
        if !self.may_read(id) {
            return Err(Error::new(Code::SuperuserNotAllowed).with(Fact::OtherSecret, id));
        }
        let document = context.other_secret(id).await?;
        let superuser = async {
            match SuperuserSecret::read::<E>(&document)? {
                SuperuserSecret::Full(own) => self.with_server(context, *own, child).await,
                SuperuserSecret::Alone { username, password } => {
                    self.without_server::<E>(context, id, child, username, password).await
                }
            }
        };
        superuser.await.map_err(|error| error.with_default(Fact::OtherSecret, id))
    }

    /// A superuser whose own secret names a server: the child's, or one that holds the child's database by RDS's account.
    async fn with_server(
        &self,
        context: &StepContext<'_>,
        own: DatabaseUser,
        child: &DatabaseUser,
    ) -> Result<Superuser> {
        let (here, there) = (Address::new(&own.host, own.port), Address::new(&child.host, child.port));
        if here == there {
            return Ok(Superuser::at_own_server(own, child));
        }
        let mismatch = || mismatch(&there, &here);
        // A server has one port.
        if here.host == there.host {
            return Err(mismatch());
        }
        match self.rds.same_database(&here, &proven_address(child), context.deadline()).await {
            Ok(true) => Ok(Superuser::at_own_server(own, child)),
            Ok(false) => Err(mismatch()),
            Err(why) => Err(explained(mismatch(), why)),
        }
    }

    /// A superuser whose secret names no server. It logs in at the address that RDS states. If RDS states none, it logs in at the
    /// child's address, but only if the engine can bind a login to its channel.
    async fn without_server<E: Engine>(
        &self,
        context: &StepContext<'_>,
        id: &str,
        child: &DatabaseUser,
        username: String,
        password: Password,
    ) -> Result<Superuser> {
        let why = match self.look_up::<E>(context, id, child).await {
            Ok(Some(address)) => return Ok(Superuser::at_rds_address(child, username, password, address)),
            Ok(None) => None,
            Err(error) if could_not_ask(&error) || error.code() == Code::ServiceDenied => Some(error),
            Err(error) => return Err(error),
        };
        if E::CHANNEL_BINDING {
            why.into_iter().for_each(|why| context.warn(why));
            return Ok(Superuser::at_childs_address(child, username, password));
        }
        let unproven = Error::new(Code::SuperuserAddressUnproven).with(Fact::User, username);
        Err(why.into_iter().fold(unproven, explained))
    }

    /// The superuser's address as RDS states it; `None` if RDS does not manage the secret.
    async fn look_up<E: Engine>(
        &self,
        context: &StepContext<'_>,
        id: &str,
        child: &DatabaseUser,
    ) -> Result<Option<Address>> {
        let Some(server) = managed_for(&context.describe_other(id).await?.tags) else { return Ok(None) };
        let primary = self.rds.primary(&server, &proven_address(child), E::NAMES, context.deadline()).await?;
        context.notes().iam_authentication(primary.iam_authentication);
        Ok(Some(primary.address))
    }
}

/// The address that the server has to prove: its host or, where that is an alias, the name in its certificate.
fn proven_address(user: &DatabaseUser) -> Address {
    let proven = user.tls_server_name.as_ref().filter(|_| !user.plaintext);
    Address::new(proven.unwrap_or(&user.host), user.port)
}

/// An error, and why RDS could not be asked about it. A retryable reason becomes the error itself, because nobody has to change
/// anything then.
fn explained(error: Error, why: Error) -> Error {
    let (main, other) = if why.class() == Class::Retryable { (why, error) } else { (error, why) };
    other.facts().fold(main, |main, (fact, value)| main.with_default(fact, value))
}

/// What a superuser's secret says.
enum SuperuserSecret {
    /// A user name and a password, as RDS manages them, without a server.
    Alone { username: String, password: Password },
    /// All that a database user's secret says.
    Full(Box<DatabaseUser>),
}

impl SuperuserSecret {
    fn read<E: Engine>(document: &Document) -> Result<Self> {
        let keys = KeyNames::read(document)?;
        if keys.login_only(document) {
            return Ok(Self::Alone {
                username: keys.value("username", |key| document.string(key))?,
                password: keys.value("password", |key| document.password(key))?,
            });
        }
        Ok(Self::Full(Box::new(DatabaseSecret::read::<E>(document)?.user)))
    }
}

impl Superuser {
    /// A superuser whose secret names no server: at the address that the child's secret names.
    ///
    /// **Invariant:** what the child trusts (`rotation.caBundle`, `rotation.tlsServerName`) does not count for a superuser, nor does the
    /// certificate that the child shows: only
    /// Amazon's roots, the deployer's CA_BUNDLE and the superuser's own secret do. Otherwise a writer of the child who has seen the
    /// superuser's verifier could complete its login at a server of their own, and learn from that how to log in as it.
    /// Test: `what_the_rotated_secret_trusts_does_not_count_for_a_superuser`.
    fn at_childs_address(child: &DatabaseUser, username: String, password: Password) -> Self {
        let child = child.without_trust();
        let user = DatabaseUser { username, password, plaintext: false, ..child };
        Self { user, address: AddressSource::RotatedSecret }
    }

    /// A superuser whose secret names no server: at the address that RDS states.
    fn at_rds_address(child: &DatabaseUser, username: String, password: Password, address: Address) -> Self {
        let Address { host, port } = address;
        let child = child.without_trust();
        let user = DatabaseUser { host, port, username, password, plaintext: false, ..child };
        Self { user, address: AddressSource::Trusted }
    }

    /// A superuser whose own secret names its server: the child's, or another one that was found to have the child's database.
    fn at_own_server(own: DatabaseUser, child: &DatabaseUser) -> Self {
        let (database, plaintext) = (child.database.clone(), own.plaintext && child.plaintext);
        let user = DatabaseUser { engine: child.engine.clone(), database, plaintext, ..own };
        Self { user, address: AddressSource::Trusted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::secret::tests::{Postgres, secret};

    fn superuser(text: &str) -> DatabaseUser {
        match SuperuserSecret::read::<Postgres>(&Document::parse(text.into()).unwrap()).unwrap() {
            SuperuserSecret::Full(secret) => *secret,
            SuperuserSecret::Alone { username, .. } => panic!("{username} is alone"),
        }
    }

    #[test]
    fn a_superuser_without_a_server_is_told_from_one_with() {
        let read = |text: &str| SuperuserSecret::read::<Postgres>(&Document::parse(text.into()).unwrap());
        assert!(matches!(read(r#"{"username":"s","password":"p"}"#), Ok(SuperuserSecret::Alone { .. })));
        let named = r#"{"user":"s","pass":"p","rotation":{"fields":{"username":"user","password":"pass"}}}"#;
        assert!(matches!(read(named), Ok(SuperuserSecret::Alone { .. })));
        // One key more, and all have to be there.
        let error = read(r#"{"username":"s","password":"p","port":5432}"#).err().unwrap();
        assert_eq!((error.code(), error.fact(Fact::Field)), (Code::FieldMissing, Some("engine")));
    }

    #[test]
    fn the_superuser_is_never_weaker_than_its_own_secret() {
        let plain_child = secret(r#""username":"app","ssl":false"#).user;
        let alone = Superuser::at_childs_address(&plain_child, "s".to_owned(), "p".into());
        assert!(!alone.user.plaintext && alone.address == AddressSource::RotatedSecret);
        let silent = superuser(r#"{"engine":"postgres","host":"DB.example","username":"s","password":"p"}"#);
        let silent = Superuser::at_own_server(silent, &plain_child);
        assert!(!silent.user.plaintext && silent.address == AddressSource::Trusted);
        let agreeing =
            superuser(r#"{"engine":"postgres","host":"db.example","username":"s","password":"p","ssl":false}"#);
        assert!(Superuser::at_own_server(agreeing, &plain_child).user.plaintext);

        let child_with_ca = secret(r#""username":"app","rotation":{"caBundle":"pem","tlsServerName":"mine"}"#).user;
        let full = superuser(r#"{"engine":"postgres","host":"db.example","username":"s","password":"p"}"#);
        let alone = Superuser::at_childs_address(&child_with_ca, "s".to_owned(), "p".into());
        for superuser in [Superuser::at_own_server(full, &child_with_ca), alone] {
            assert_eq!((superuser.user.ca_bundle, superuser.user.tls_server_name), (None, None));
        }
        let own_ca = superuser(
            r#"{"engine":"postgres","host":"db.example","username":"s","password":"p","rotation":{"caBundle":"own"}}"#,
        );
        assert_eq!(Superuser::at_own_server(own_ca, &child_with_ca).user.ca_bundle.as_deref(), Some("own"));
    }

    #[test]
    fn a_superuser_shows_its_own_certificate_and_never_the_childs() {
        let with = r#""rotation":{"clientCertificate":{"certificate":"c","key":"k"}}"#;
        let child = secret(&format!(r#""username":"app",{with}"#)).user;
        assert!(child.client_certificate.is_some());
        let full = |more: &str| {
            superuser(&format!(r#"{{"engine":"postgres","host":"db.example","username":"s","password":"p"{more}}}"#))
        };
        for superuser in [
            Superuser::at_own_server(full(""), &child),
            Superuser::at_childs_address(&child, "s".to_owned(), "p".into()),
            Superuser::at_rds_address(&child, "s".to_owned(), "p".into(), Address::new("primary", 1)),
        ] {
            assert!(superuser.user.client_certificate.is_none());
        }
        let own = full(&format!(",{}", with.replace(r#""k""#, r#""own""#)));
        let own = Superuser::at_own_server(own, &child).user.client_certificate.unwrap();
        assert_eq!(own.key.expose(), "own");
    }

    #[test]
    fn at_another_host_than_the_childs_nothing_that_the_child_trusts_counts() {
        let child = secret(
            r#""username":"app","dbname":"orders","ssl":false,"rotation":{"caBundle":"pem","tlsServerName":"mine"}"#,
        )
        .user;
        let own = superuser(r#"{"engine":"postgres","host":"primary","port":1,"username":"s","password":"p"}"#);
        let full = Superuser::at_own_server(own, &child);
        let managed = Superuser::at_rds_address(&child, "s".to_owned(), "p".into(), Address::new("primary", 1));
        for superuser in [full, managed] {
            let user = superuser.user;
            assert_eq!((user.host.as_str(), user.port, user.username.as_str()), ("primary", 1, "s"));
            assert_eq!((user.plaintext, &user.ca_bundle, &user.tls_server_name), (false, &None, &None));
            assert_eq!(user.database.as_deref(), Some("orders"));
            assert_eq!(superuser.address, AddressSource::Trusted);
        }
    }

    #[test]
    fn an_address_is_whom_the_server_has_to_prove_to_be() {
        let of = |fields: &str| proven_address(&secret(&format!(r#""username":"app",{fields}"#)).user);
        let address = |host: &str| Address::new(host, 5432);
        assert_eq!(of(r#""ssl":true"#), address("DB.example."));
        assert_eq!(of(r#""rotation":{"tlsServerName":"orders.rds"}"#), address("orders.rds"));
        // Nothing is proven without TLS.
        assert_eq!(of(r#""ssl":false,"rotation":{"tlsServerName":"orders.rds"}"#), address("db.example"));
    }
}
