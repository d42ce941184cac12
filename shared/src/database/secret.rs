//! What a secret says about a database user. Keys and defaults are those of AWS's own functions.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html>

use super::endpoint::{Endpoint, Transport};
use super::engine::Engine;
use super::pair::Pair;
use crate::aws::rds::Address;
use crate::document::Document;
use crate::error::{Code, Error, Fact, Result};
use crate::net::tls::Verifier;
use crate::secret::Password;
use std::time::Duration;

const OPTIONS: &[&str] = &["users", "superuserRescue", "caBundle", "tlsServerName"];
const DISCARD: &str = "discardPreviousPasswordAfterHours";

/// A database user's secret, read and checked.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseSecret {
    /// Which of the engine's names the secret has.
    pub(crate) engine: String,
    /// Host name or address.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
    /// User name.
    pub(crate) username: String,
    /// Password.
    pub(crate) password: Password,
    /// Database, or the engine's default.
    pub(crate) database: Option<String>,
    /// `"ssl": false`.
    pub(crate) plaintext: bool,
    /// `masterarn`: the superuser's secret.
    pub(crate) superuser: Option<String>,
    /// `rotation.users`: base and clone.
    pub(crate) users: Option<(String, String)>,
    /// `rotation.superuserRescue`: single user, but the superuser may help a user that is locked out.
    pub(crate) rescue: bool,
    /// `rotation.caBundle`: PEM text of further CAs.
    pub(crate) ca_bundle: Option<String>,
    /// `rotation.tlsServerName`: the name in the server's certificate, where it is not the host.
    pub(crate) tls_server_name: Option<String>,
    /// `rotation.discardPreviousPasswordAfterHours`: how long a previous password that the server keeps may go on working;
    /// without it, until the next rotation.
    pub(crate) discard_after: Option<Duration>,
}

/// Which users a rotation changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// The user changes its own password.
    SingleUser,
    /// A superuser changes the password of the user that is not in use.
    AlternatingUsers,
}

impl DatabaseSecret {
    /// Reads a secret for engine `E`.
    ///
    /// # Errors
    /// [`Code::FieldMissing`], [`Code::FieldInvalid`], [`Code::EngineMismatch`], [`Code::OptionUnknown`].
    pub(crate) fn read<E: Engine>(document: &Document) -> Result<Self> {
        let engine = document.string("engine")?;
        if !E::NAMES.contains(&engine.as_str()) {
            return Err(Error::new(Code::EngineMismatch)
                .with(Fact::Found, engine)
                .with(Fact::Expected, E::NAMES.join(" or ")));
        }
        let options: Vec<&str> = OPTIONS.iter().copied().chain(E::DUAL_PASSWORDS.then_some(DISCARD)).collect();
        let default_database = || E::DEFAULT_DATABASE.map(str::to_owned);
        let mut facts = Self {
            engine,
            host: document.string("host")?,
            port: document.port("port")?.unwrap_or(E::DEFAULT_PORT),
            username: document.string("username")?,
            password: document.password("password")?,
            database: document.optional_string("dbname")?.or_else(default_database),
            plaintext: document.boolean("ssl")? == Some(false),
            superuser: document.optional_string("masterarn")?,
            users: None,
            rescue: false,
            ca_bundle: None,
            tls_server_name: None,
            discard_after: None,
        };
        if let Some(options) = document.options(&options)? {
            facts.users = options.pair_of_names("users")?;
            facts.rescue = options.boolean("superuserRescue")? == Some(true);
            facts.ca_bundle = options.optional_string("caBundle")?;
            facts.tls_server_name = options.optional_string("tlsServerName")?;
            facts.discard_after = options.hours(DISCARD)?;
            let needs_superuser = match (&facts.superuser, &facts.users, facts.rescue) {
                (None, Some(_), _) => Some("users"),
                (None, None, true) => Some("superuserRescue"),
                _ => None,
            };
            if let Some(option) = needs_superuser {
                return Err(Error::new(Code::FieldMissing)
                    .with(Fact::Field, "masterarn")
                    .with(Fact::What, format_args!("rotation.{option} needs a superuser's secret")));
            }
            if facts.users.is_some() && facts.rescue {
                return Err(options.invalid("superuserRescue", "together with rotation.users", "one of the two"));
            }
            if facts.discard_after.is_some() && facts.strategy() == Strategy::AlternatingUsers {
                return Err(options.invalid(
                    DISCARD,
                    "together with alternating users",
                    "a single user: the previous one of a pair works until its turn",
                ));
            }
        }
        Ok(facts)
    }

    pub(crate) fn strategy(&self) -> Strategy {
        if self.superuser.is_some() && !self.rescue { Strategy::AlternatingUsers } else { Strategy::SingleUser }
    }

    /// The pair that this secret's user belongs to, if the version before held `previous_user`.
    ///
    /// # Errors
    /// Those of [`Pair::of`].
    pub(crate) fn pair(&self, previous_user: Option<&str>) -> Result<Pair> {
        Pair::of(&self.username, self.users.as_ref(), previous_user)
    }

    /// Where this secret's server is, and whom to trust there.
    ///
    /// # Errors
    /// [`Code::CaBundleInvalid`].
    pub(crate) fn endpoint(&self, deployers_ca: Option<&str>) -> Result<Endpoint> {
        let transport = if self.plaintext {
            Transport::Plaintext
        } else {
            let deployer = deployers_ca.map(|pem| ("CA_BUNDLE", pem));
            let own = self.ca_bundle.as_deref().map(|pem| ("rotation.caBundle", pem));
            let extra: Vec<(&str, &str)> = deployer.into_iter().chain(own).collect();
            let server_name = self.tls_server_name.clone().unwrap_or_else(|| self.host.clone());
            Transport::Tls { server_name, verifier: Verifier::new(&extra)? }
        };
        Ok(Endpoint { host: self.host.clone(), port: self.port, database: self.database.clone(), transport })
    }

    /// The address that the server has to prove: its host or, where that is an alias, the name in its certificate.
    pub(crate) fn proven_address(&self) -> Address {
        let proven = self.tls_server_name.as_ref().filter(|_| !self.plaintext);
        Address::new(proven.unwrap_or(&self.host), self.port)
    }

    /// Checks that another version is about the same server, before any of its credentials is sent there.
    ///
    /// # Errors
    /// [`Code::PendingMismatch`] naming the first field that differs.
    pub(crate) fn same_target(&self, other: &Self) -> Result<()> {
        let same = [
            ("host", self.host.eq_ignore_ascii_case(&other.host)),
            ("port", self.port == other.port),
            ("dbname", self.database == other.database),
            ("ssl", self.plaintext == other.plaintext),
            ("masterarn", self.superuser == other.superuser),
            ("rotation.users", self.users == other.users),
            ("rotation.superuserRescue", self.rescue == other.rescue),
            ("rotation.caBundle", self.ca_bundle == other.ca_bundle),
            ("rotation.tlsServerName", self.tls_server_name == other.tls_server_name),
            ("rotation.discardPreviousPasswordAfterHours", self.discard_after == other.discard_after),
        ];
        match same.iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((field, _)) => Err(Error::new(Code::PendingMismatch).with(Fact::Field, field)),
        }
    }
}

/// What a superuser's secret says.
pub(crate) enum SuperuserSecret {
    /// A user name and a password, as RDS manages them. The server is not named.
    Alone {
        /// User name.
        username: String,
        /// Password.
        password: Password,
    },
    /// All that a database user's secret says.
    Full(Box<DatabaseSecret>),
}

impl SuperuserSecret {
    /// Reads a superuser's secret of engine `E`.
    ///
    /// # Errors
    /// Those of [`DatabaseSecret::read`].
    pub(crate) fn read<E: Engine>(document: &Document) -> Result<Self> {
        if document.keys().all(|key| key == "username" || key == "password") {
            return Ok(Self::Alone {
                username: document.string("username")?,
                password: document.password("password")?,
            });
        }
        DatabaseSecret::read::<E>(document).map(Box::new).map(Self::Full)
    }
}

/// A superuser, ready to log in. It talks in plaintext only if both secrets say so.
#[derive(Clone, Debug)]
pub(crate) struct Superuser {
    pub(crate) facts: DatabaseSecret,
    /// Whether RDS or the superuser's own secret names the server, and the latter or the deployer whom to trust there. If
    /// not, whoever may write the child secret does, and the password must not be given to a server that cannot prove to know
    /// it.
    pub(crate) address_is_vouched_for: bool,
}

impl Superuser {
    /// A superuser whose secret does not name the server, where only the child says where that is.
    pub(crate) fn beside(child: &DatabaseSecret, username: String, password: Password) -> Self {
        let facts = DatabaseSecret { username, password, plaintext: false, ..child.clone() };
        Self { facts, address_is_vouched_for: false }
    }

    /// A superuser whose server was looked up. Whom the child trusts does not count there.
    pub(crate) fn managed(child: &DatabaseSecret, username: String, password: Password, at: Address) -> Self {
        let Address { host, port } = at;
        let child = DatabaseSecret { ca_bundle: None, tls_server_name: None, ..child.clone() };
        let facts = DatabaseSecret { host, port, username, password, plaintext: false, ..child };
        Self { facts, address_is_vouched_for: true }
    }

    /// A superuser whose own secret names the server that the child's names.
    pub(crate) fn of_same_server(own: DatabaseSecret, child: &DatabaseSecret) -> Self {
        // Whom the child trusts is not whom the superuser trusts, unless it says so itself.
        let address_is_vouched_for = own.ca_bundle == child.ca_bundle && own.tls_server_name == child.tls_server_name
            || child.ca_bundle.is_none() && child.tls_server_name.is_none();
        let facts = DatabaseSecret {
            database: child.database.clone(),
            plaintext: own.plaintext && child.plaintext,
            ca_bundle: own.ca_bundle.or_else(|| child.ca_bundle.clone()),
            tls_server_name: own.tls_server_name.or_else(|| child.tls_server_name.clone()),
            username: own.username,
            password: own.password,
            ..child.clone()
        };
        Self { facts, address_is_vouched_for }
    }

    /// A superuser whose own secret names another server, which was found to have the child's database.
    pub(crate) fn of_same_database(own: DatabaseSecret, child: &DatabaseSecret) -> Self {
        let facts = DatabaseSecret {
            host: own.host,
            port: own.port,
            username: own.username,
            password: own.password,
            plaintext: own.plaintext && child.plaintext,
            ca_bundle: own.ca_bundle,
            tls_server_name: own.tls_server_name,
            ..child.clone()
        };
        Self { facts, address_is_vouched_for: true }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::clock::Deadline;
    use crate::database::{Evidence, Login, LoginFailure, OwnChange, Side, Turn};
    use crate::protocol::observation::PreviousCredential;

    /// An engine that is never asked to connect.
    pub(crate) struct Postgres;

    impl Engine for Postgres {
        type Session = ();
        const NAMES: &'static [&'static str] = &["postgres", "aurora-postgresql"];
        const DEFAULT_PORT: u16 = 5432;
        const DEFAULT_DATABASE: Option<&'static str> = Some("postgres");
        const DUAL_PASSWORDS: bool = false;
        const CHANNEL_BINDING: bool = true;
        const SUPERUSER_COMPARES: bool = false;

        fn check_name(&self, _: &str, _: &str) -> Result<()> {
            Ok(())
        }
        async fn connect(&self, _: Login<'_>, _: Deadline) -> Result<(), LoginFailure> {
            unreachable!()
        }
        async fn change_own_password(&self, (): (), _: OwnChange<'_>, _: Deadline) -> Result<PreviousCredential> {
            unreachable!()
        }
        fn is_a_second_run(&self, _: &Error) -> bool {
            unreachable!()
        }
        async fn discard_previous_password(&self, (): (), _: &str, _: &Password, _: Deadline) -> Result<bool> {
            unreachable!()
        }
        async fn rescue(&self, (): (), _: OwnChange<'_>, _: Deadline) -> Result<()> {
            unreachable!()
        }
        async fn converge(&self, (): (), _: Turn<'_>, _: &impl Evidence, _: Deadline) -> Result<()> {
            unreachable!()
        }
        async fn compare(&self, (): (), _: &Pair, _: Side, _: Deadline) -> Result<()> {
            unreachable!()
        }
        async fn prove(&self, (): (), _: &str, _: Option<&Pair>, _: Deadline) -> Result<()> {
            unreachable!()
        }
    }

    fn document(fields: &str) -> Document {
        let rest = r#""engine":"postgres","host":"db.example","password":"p","masterarn":"arn:superuser""#;
        Document::parse(format!("{{{fields},{rest}}}").as_str().into()).unwrap()
    }

    pub(crate) fn facts(fields: &str) -> DatabaseSecret {
        DatabaseSecret::read::<Postgres>(&document(fields)).unwrap()
    }

    fn read(text: &str) -> Result<DatabaseSecret> {
        DatabaseSecret::read::<Postgres>(&Document::parse(text.into()).unwrap())
    }

    #[test]
    fn defaults_are_those_of_aws_except_that_tls_is_demanded() {
        let facts = read(r#"{"engine":"postgres","host":"h","username":"u","password":"p"}"#).unwrap();
        assert_eq!((facts.port, facts.database.as_deref(), facts.plaintext), (5432, Some("postgres"), false));
        assert_eq!(facts.strategy(), Strategy::SingleUser);
        assert!(matches!(facts.endpoint(None).unwrap().transport, Transport::Tls { .. }));
    }

    #[test]
    fn each_required_field_is_missed_by_name() {
        for field in ["engine", "host", "username", "password"] {
            let mut all = serde_json::json!({"engine":"postgres","host":"h","username":"u","password":"p"});
            all.as_object_mut().unwrap().remove(field);
            let error = read(&all.to_string()).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Field)), (Code::FieldMissing, Some(field)));
        }
    }

    #[test]
    fn another_engine_is_refused() {
        let error = read(r#"{"engine":"mysql","host":"h","username":"u","password":"p"}"#).unwrap_err();
        assert_eq!((error.code(), error.fact(Fact::Found)), (Code::EngineMismatch, Some("mysql")));
    }

    fn superuser(text: &str) -> DatabaseSecret {
        match SuperuserSecret::read::<Postgres>(&Document::parse(text.into()).unwrap()).unwrap() {
            SuperuserSecret::Full(secret) => *secret,
            SuperuserSecret::Alone { username, .. } => panic!("{username} is alone"),
        }
    }

    #[test]
    fn a_superuser_without_a_server_is_told_from_one_with() {
        let read = |text: &str| SuperuserSecret::read::<Postgres>(&Document::parse(text.into()).unwrap());
        assert!(matches!(read(r#"{"username":"s","password":"p"}"#), Ok(SuperuserSecret::Alone { .. })));
        // One key more, and all have to be there.
        let error = read(r#"{"username":"s","password":"p","port":5432}"#).err().unwrap();
        assert_eq!((error.code(), error.fact(Fact::Field)), (Code::FieldMissing, Some("engine")));
    }

    #[test]
    fn the_superuser_is_never_weaker_than_its_own_secret() {
        let plain_child = facts(r#""username":"app","ssl":false"#);
        let alone = Superuser::beside(&plain_child, "s".to_owned(), "p".into());
        assert!(!alone.facts.plaintext && !alone.address_is_vouched_for);
        let silent = superuser(r#"{"engine":"postgres","host":"DB.example","username":"s","password":"p"}"#);
        let silent = Superuser::of_same_server(silent, &plain_child);
        assert!(!silent.facts.plaintext && silent.address_is_vouched_for);
        let agreeing =
            superuser(r#"{"engine":"postgres","host":"db.example","username":"s","password":"p","ssl":false}"#);
        assert!(Superuser::of_same_server(agreeing, &plain_child).facts.plaintext);

        let child_with_ca = facts(r#""username":"app","rotation":{"caBundle":"pem"}"#);
        let full = superuser(r#"{"engine":"postgres","host":"db.example","username":"s","password":"p"}"#);
        assert!(!Superuser::of_same_server(full, &child_with_ca).address_is_vouched_for);
    }

    #[test]
    fn at_another_host_than_the_childs_nothing_that_the_child_trusts_counts() {
        let child = facts(
            r#""username":"app","dbname":"orders","ssl":false,"rotation":{"caBundle":"pem","tlsServerName":"mine"}"#,
        );
        let own = superuser(r#"{"engine":"postgres","host":"primary","port":1,"username":"s","password":"p"}"#);
        let full = Superuser::of_same_database(own, &child);
        let managed = Superuser::managed(&child, "s".to_owned(), "p".into(), Address::new("primary", 1));
        for superuser in [full, managed] {
            let facts = superuser.facts;
            assert_eq!((facts.host.as_str(), facts.port, facts.username.as_str()), ("primary", 1, "s"));
            assert_eq!((facts.plaintext, &facts.ca_bundle, &facts.tls_server_name), (false, &None, &None));
            assert_eq!(facts.database.as_deref(), Some("orders"));
            assert!(superuser.address_is_vouched_for);
        }
    }

    #[test]
    fn an_address_is_whom_the_server_has_to_prove_to_be() {
        let of = |fields: &str| facts(&format!(r#""username":"app",{fields}"#)).proven_address();
        let address = |host: &str| Address::new(host, 5432);
        assert_eq!(of(r#""ssl":true"#), address("DB.example."));
        assert_eq!(of(r#""rotation":{"tlsServerName":"orders.rds"}"#), address("orders.rds"));
        // Nothing is proven without TLS.
        assert_eq!(of(r#""ssl":false,"rotation":{"tlsServerName":"orders.rds"}"#), address("db.example"));
    }

    #[test]
    fn a_difference_between_versions_is_named() {
        let current = facts(r#""username":"app""#);
        for (fields, field) in [
            (r#""username":"app","port":5433"#, "port"),
            (r#""username":"app","ssl":"false""#, "ssl"),
            (r#""username":"app","dbname":"other""#, "dbname"),
            (r#""username":"app","rotation":{"tlsServerName":"x"}"#, "rotation.tlsServerName"),
        ] {
            let error = current.same_target(&facts(fields)).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Field)), (Code::PendingMismatch, Some(field)));
        }
        assert!(current.same_target(&facts(r#""username":"other","port":"5432""#)).is_ok());
    }

    #[test]
    fn options_that_need_a_superuser_say_so() {
        let error = read(
            r#"{"engine":"postgres","host":"h","username":"u","password":"p","rotation":{"superuserRescue":true}}"#,
        );
        assert_eq!(error.unwrap_err().fact(Fact::Field), Some("masterarn"));
        assert_eq!(facts(r#""username":"app","rotation":{"superuserRescue":true}"#).strategy(), Strategy::SingleUser);
        assert_eq!(facts(r#""username":"app""#).strategy(), Strategy::AlternatingUsers);
    }
}
