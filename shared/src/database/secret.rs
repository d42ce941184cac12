//! What a database user's secret says. Keys and defaults are those of AWS's own functions.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html>

use super::endpoint::{Endpoint, Transport};
use super::engine::Engine;
use super::engine_names::is_an_engine;
use super::key_names::KeyNames;
use crate::document::Document;
use crate::error::{Code, Error, Fact, Result, is_host};
use crate::net::client_certificate::ClientCertificate;
use crate::net::tls::Verifier;
use crate::secret::Password;
use std::time::Duration;

const OPTIONS: &[&str] =
    &["users", "superuserRescue", SET_AS, "caBundle", "tlsServerName", "clientCertificate", "fields", "engine"];
const SET_AS: &str = "setPasswordAs";
const CLIENT: &str = "clientCertificate";
const DISCARD: &str = "discardPreviousPasswordAfterHours";

/// A user, the server it logs in to, and what it trusts there.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseUser {
    /// The value of `engine`, one of the engine's names.
    pub(crate) engine: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) username: String,
    pub(crate) password: Password,
    /// Database, or the engine's default.
    pub(crate) database: Option<String>,
    /// `"ssl": false`.
    pub(crate) plaintext: bool,
    /// `rotation.caBundle`: PEM text of further CAs.
    pub(crate) ca_bundle: Option<String>,
    /// `rotation.tlsServerName`: the name in the server's certificate, where it is not the host.
    pub(crate) tls_server_name: Option<String>,
    /// `rotation.clientCertificate`, which a server may want besides the password.
    pub(crate) client_certificate: Option<ClientCertificate>,
    /// `rotation.fields`: under which keys the secret holds all this.
    pub(crate) keys: KeyNames,
}

/// A database user's secret, read and checked.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseSecret {
    pub(crate) user: DatabaseUser,
    pub(crate) strategy: Strategy,
    /// `rotation.discardPreviousPasswordAfterHours`: how long the previous password may keep working on a server that keeps it.
    /// `None`: until the next rotation.
    pub(crate) discard_after: Option<Duration>,
}

/// Whose password a rotation changes, and who changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// One user's password changes. The setter says who changes it.
    SingleUser { setter: Setter },
    /// The superuser of the secret `superuser` (`masterarn`) changes the password of the user that is not in use. `users` are the
    /// base and the clone, if `rotation.users` names them.
    AlternatingUsers { superuser: String, users: Option<(String, String)> },
}

/// Who sets a single user's password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Setter {
    /// The user itself. If it is locked out and `rotation.superuserRescue` allows it, the superuser of the secret `rescuer`
    /// (`masterarn`) does.
    User { rescuer: Option<String> },
    /// The superuser of this secret (`masterarn`), always: `rotation.setPasswordAs`. It sets the password of a user that is locked
    /// out, too.
    Superuser(String),
}

impl DatabaseSecret {
    /// Reads a secret for engine `E`.
    ///
    /// # Errors
    /// [`Code::FieldMissing`], [`Code::FieldInvalid`], [`Code::EngineMismatch`], [`Code::OptionUnknown`].
    pub(crate) fn read<E: Engine>(document: &Document) -> Result<Self> {
        Self::read_under::<E>(document, KeyNames::read(document)?)
    }

    /// Reads another version of the secret. One that says nothing about its keys and cannot be read under AWS's names is read under
    /// those of `current`: it may have been written before `rotation.fields` was.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub(crate) fn read_beside<E: Engine>(document: &Document, current: &DatabaseUser) -> Result<Self> {
        let read = Self::read::<E>(document);
        if read.is_ok() || current.keys == KeyNames::default() || KeyNames::are_in(document) {
            return read;
        }
        Self::read_under::<E>(document, current.keys.clone()).or(read)
    }

    fn read_under<E: Engine>(document: &Document, keys: KeyNames) -> Result<Self> {
        let mut user = DatabaseUser::read::<E>(document, keys)?;
        let superuser = user.keys.value("masterarn", |key| document.optional_string(key))?;
        let known: Vec<&str> = OPTIONS.iter().copied().chain(E::DUAL_PASSWORDS.then_some(DISCARD)).collect();
        let Some(options) = document.options(&known)? else {
            return Ok(Self { user, strategy: Strategy::of(superuser, None, Helps::InTurns), discard_after: None });
        };
        let users = options.pair_of_names("users")?;
        let rescue = options.boolean("superuserRescue")? == Some(true);
        let sets = match options.optional_string(SET_AS)?.as_deref() {
            None => false,
            Some("superuser") => true,
            Some(_) => return Err(options.invalid(SET_AS, "another text", "superuser, or no such option")),
        };
        user.ca_bundle = options.optional_string("caBundle")?;
        user.tls_server_name = options.optional_string("tlsServerName")?;
        user.client_certificate = client_certificate(&options)?;
        if user.plaintext && user.client_certificate.is_some() {
            return Err(options.invalid(CLIENT, "together with \"ssl\": false", "TLS, or no certificate"));
        }
        let discard_after = options.hours(DISCARD)?;
        let in_need = [("users", users.is_some()), ("superuserRescue", rescue), (SET_AS, sets)];
        let in_need = in_need.into_iter().find(|(_, given)| *given).filter(|_| superuser.is_none());
        if let Some((option, _)) = in_need {
            return Err(Error::new(Code::FieldMissing)
                .with(Fact::Field, user.keys.shown("masterarn"))
                .with(Fact::What, format_args!("rotation.{option} needs a superuser's secret")));
        }
        if users.is_some() && rescue {
            return Err(options.invalid("superuserRescue", "together with rotation.users", "one of the two"));
        }
        if sets && users.is_some() {
            let expected = "one of the two: the superuser sets the passwords of a pair anyway";
            return Err(options.invalid(SET_AS, "together with rotation.users", expected));
        }
        if sets && rescue {
            let expected = "one of the two: a superuser that sets each password also rescues the user";
            return Err(options.invalid(SET_AS, "together with rotation.superuserRescue", expected));
        }
        let helps = match (rescue, sets) {
            (_, true) => Helps::Always,
            (true, false) => Helps::AtLast,
            (false, false) => Helps::InTurns,
        };
        let strategy = Strategy::of(superuser, users, helps);
        if discard_after.is_some() && matches!(strategy, Strategy::AlternatingUsers { .. }) {
            return Err(options.invalid(
                DISCARD,
                "together with alternating users",
                "a single user: the previous one of a pair works until its turn",
            ));
        }
        Ok(Self { user, strategy, discard_after })
    }

    /// Whether an older version is for the same user at the same server, which it trusts as this one does. Other fields may have been
    /// edited since.
    pub(crate) fn same_login(&self, older: &Self) -> bool {
        let (this, that) = (&self.user, &older.user);
        this.username == that.username
            && this.host.eq_ignore_ascii_case(&that.host)
            && this.port == that.port
            && this.plaintext == that.plaintext
            && this.ca_bundle == that.ca_bundle
            && this.tls_server_name == that.tls_server_name
    }

    /// Checks that another version is for the same server, before any of its credentials is sent there.
    ///
    /// # Errors
    /// [`Code::PendingMismatch`] naming the first field that differs.
    pub(crate) fn same_target(&self, other: &Self) -> Result<()> {
        let (this, that) = (&self.user, &other.user);
        let same = [
            ("host", this.host.eq_ignore_ascii_case(&that.host)),
            ("port", this.port == that.port),
            ("dbname", this.database == that.database),
            ("ssl", this.plaintext == that.plaintext),
            ("masterarn", self.strategy.superuser() == other.strategy.superuser()),
            ("rotation.users", self.strategy.users() == other.strategy.users()),
            ("rotation.setPasswordAs", self.strategy.is_set_by_superuser() == other.strategy.is_set_by_superuser()),
            ("rotation.superuserRescue", self.strategy == other.strategy),
            ("rotation.caBundle", this.ca_bundle == that.ca_bundle),
            ("rotation.tlsServerName", this.tls_server_name == that.tls_server_name),
            ("rotation.discardPreviousPasswordAfterHours", self.discard_after == other.discard_after),
        ];
        match same.iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((field, _)) => Err(Error::new(Code::PendingMismatch).with(Fact::Field, this.keys.shown(field))),
        }
    }
}

/// What the superuser does, if the secret names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Helps {
    /// It sets the passwords of two users that take turns.
    InTurns,
    /// It sets the one user's password if the user is locked out.
    AtLast,
    /// It sets the one user's password, always.
    Always,
}

impl Strategy {
    fn of(superuser: Option<String>, users: Option<(String, String)>, helps: Helps) -> Self {
        match (superuser, helps) {
            (Some(superuser), Helps::InTurns) => Self::AlternatingUsers { superuser, users },
            (Some(superuser), Helps::Always) => Self::SingleUser { setter: Setter::Superuser(superuser) },
            (rescuer, _) => Self::SingleUser { setter: Setter::User { rescuer } },
        }
    }

    /// In a few words, for people.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::SingleUser { setter: Setter::User { rescuer: None } } => "single user",
            Self::SingleUser { setter: Setter::User { rescuer: Some(_) } } => "single user, superuser rescue",
            Self::SingleUser { setter: Setter::Superuser(_) } => "single user, set by the superuser",
            Self::AlternatingUsers { .. } => "alternating users",
        }
    }

    /// Whether the superuser sets the password of a single user, always.
    pub(crate) fn is_set_by_superuser(&self) -> bool {
        matches!(self, Self::SingleUser { setter: Setter::Superuser(_) })
    }

    /// `masterarn`: the superuser's secret.
    pub(crate) fn superuser(&self) -> Option<&str> {
        match self {
            Self::SingleUser { setter } => setter.superuser(),
            Self::AlternatingUsers { superuser, .. } => Some(superuser),
        }
    }

    fn users(&self) -> Option<&(String, String)> {
        match self {
            Self::SingleUser { .. } => None,
            Self::AlternatingUsers { users, .. } => users.as_ref(),
        }
    }
}

impl Setter {
    /// `masterarn`: the superuser's secret, if the superuser may set the password.
    pub(crate) fn superuser(&self) -> Option<&str> {
        match self {
            Self::User { rescuer } => rescuer.as_deref(),
            Self::Superuser(superuser) => Some(superuser),
        }
    }
}

impl DatabaseUser {
    /// Reads what stands outside of `rotation`.
    fn read<E: Engine>(document: &Document, keys: KeyNames) -> Result<Self> {
        let engine = keys.engine(document)?;
        if !E::NAMES.contains(&engine.as_str()) {
            return Err(Error::new(Code::EngineMismatch)
                .with(Fact::Found, if is_an_engine(&engine) { &engine } else { "a text that names no engine" })
                .with(Fact::Expected, E::NAMES.join(" or ")));
        }
        let database = keys.value("dbname", |key| document.optional_string(key))?;
        Ok(Self {
            engine,
            host: keys.value("host", |key| host(document, key))?,
            port: keys.value("port", |key| document.port(key))?.unwrap_or(E::DEFAULT_PORT),
            username: keys.value("username", |key| document.string(key))?,
            password: keys.value("password", |key| document.password(key))?,
            database: database.or_else(|| E::DEFAULT_DATABASE.map(str::to_owned)),
            plaintext: keys.value("ssl", |key| document.boolean(key))? == Some(false),
            ca_bundle: None,
            tls_server_name: None,
            client_certificate: None,
            keys,
        })
    }

    /// The server, the CAs to trust there, and the client's certificate to show.
    ///
    /// # Errors
    /// [`Code::CaBundleInvalid`], [`Code::ClientCertificateInvalid`].
    pub(crate) fn endpoint(&self, deployers_ca: Option<&str>) -> Result<Endpoint> {
        let transport = if self.plaintext {
            Transport::Plaintext
        } else {
            let deployer = deployers_ca.map(|pem| ("CA_BUNDLE", pem));
            let own = self.ca_bundle.as_deref().map(|pem| ("rotation.caBundle", pem));
            let extra: Vec<(&str, &str)> = deployer.into_iter().chain(own).collect();
            let server_name = self.tls_server_name.clone().unwrap_or_else(|| self.host.clone());
            let verifier = match &self.client_certificate {
                None => Verifier::new(&extra)?,
                Some(client) => Verifier::with_client_certificate(&extra, client)?,
            };
            Transport::Tls { server_name, verifier }
        };
        Ok(Endpoint { host: self.host.clone(), port: self.port, database: self.database.clone(), transport })
    }

    /// The same without what this user's own secret trusts and shows to servers, for the login of another user.
    pub(crate) fn without_trust(&self) -> Self {
        Self { ca_bundle: None, tls_server_name: None, client_certificate: None, ..self.clone() }
    }

    /// Adds the server and the user to an error that does not name them.
    pub(crate) fn locate(&self, error: Error) -> Error {
        // Over TLS a server may ask for the password itself, and could answer with it as the name of anything.
        error
            .hiding(self.password.expose())
            .with_default(Fact::Host, &self.host)
            .with_default(Fact::Port, self.port)
            .with_default(Fact::User, &self.username)
    }
}

/// The host. Whoever pastes a connection string here pastes a password, too, so a wrong value is not printed.
fn host(document: &Document, key: &str) -> Result<String> {
    let host = document.string(key)?;
    if is_host(&host) && !host.starts_with('[') {
        return Ok(host);
    }
    let expected = "a host name or an address alone, without a scheme, a user, a port or a path";
    Err(document.invalid(key, "a text that is no host", expected))
}

/// `rotation.clientCertificate`: both texts, or nothing. Whether a client can use them is seen when it is to log in.
fn client_certificate(options: &Document) -> Result<Option<ClientCertificate>> {
    let Some(both) = options.object(CLIENT, "rotation.clientCertificate.")? else { return Ok(None) };
    both.expect_keys(&["certificate", "key"])?;
    let (certificate, key) = (both.string("certificate")?, both.string("key")?.into());
    Ok(Some(ClientCertificate { certificate, key }))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::clock::Deadline;
    use crate::database::{Evidence, Hold, Login, LoginFailure, Pair, PasswordChange, Side, Turn, Work};
    use crate::protocol::observation::PreviousCredential;
    use proptest::prelude::{Just, any, prop, prop_assert, prop_assert_ne, prop_oneof, proptest};
    use proptest::strategy::Strategy as _;

    /// An engine that is never asked to connect.
    pub(crate) struct Postgres;

    impl Engine for Postgres {
        type Session = ();
        type Locked = ();
        const NAMES: &'static [&'static str] = &["postgres", "aurora-postgresql"];
        const DEFAULT_PORT: u16 = 5432;
        const DEFAULT_DATABASE: Option<&'static str> = Some("postgres");
        const DUAL_PASSWORDS: bool = false;
        const CHANNEL_BINDING: bool = true;
        const MEMBERSHIPS: bool = true;
        const SUPERUSER_COMPARES: bool = false;

        fn check_name(&self, _: &str, _: &str) -> Result<()> {
            Ok(())
        }
        fn most_refused_logins(&self, _: &str) -> usize {
            unreachable!()
        }
        async fn connect(&self, _: Login<'_>, _: Deadline) -> Result<(), LoginFailure> {
            unreachable!()
        }
        async fn lock(&self, (): (), _: Work<'_>, _: &impl Evidence) -> Result<()> {
            unreachable!()
        }
        async fn align(&self, (): &mut (), _: Turn<'_>) -> Result<()> {
            unreachable!()
        }
        async fn set_password(&self, (): (), _: PasswordChange<'_>) -> Result<PreviousCredential> {
            unreachable!()
        }
        async fn unlock(&self, (): ()) {
            unreachable!()
        }
        fn is_a_second_run(&self, _: &Error) -> bool {
            unreachable!()
        }
        async fn discard_previous_password(&self, (): (), _: &Password) -> Result<bool> {
            unreachable!()
        }
        async fn compare(&self, (): (), _: &Pair, _: Side) -> Result<()> {
            unreachable!()
        }
        async fn prove(&self, (): (), _: &str, _: Option<&Pair>, _: Hold) -> Result<()> {
            unreachable!()
        }
        async fn close(&self, (): ()) {
            unreachable!()
        }
    }

    pub(crate) fn document(fields: &str) -> Document {
        let rest = r#""engine":"postgres","host":"db.example","password":"p","masterarn":"arn:superuser""#;
        Document::parse(format!("{{{fields},{rest}}}").as_str().into()).unwrap()
    }

    pub(crate) fn secret(fields: &str) -> DatabaseSecret {
        DatabaseSecret::read::<Postgres>(&document(fields)).unwrap()
    }

    fn read(text: &str) -> Result<DatabaseSecret> {
        DatabaseSecret::read::<Postgres>(&Document::parse(text.into()).unwrap())
    }

    #[test]
    fn defaults_are_those_of_aws_except_that_tls_is_demanded() {
        let secret = read(r#"{"engine":"postgres","host":"h","username":"u","password":"p"}"#).unwrap();
        let user = &secret.user;
        assert_eq!((user.port, user.database.as_deref(), user.plaintext), (5432, Some("postgres"), false));
        assert_eq!(secret.strategy, Strategy::SingleUser { setter: Setter::User { rescuer: None } });
        assert!(matches!(user.endpoint(None).unwrap().transport, Transport::Tls { .. }));
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

    const TOOLS: &str = r#"{"type":"pg","user":"u","pass":"p","hostname":"h","db_port":"6000","database":"d","rotation":{
        "engine":"postgres",
        "fields":{"username":"user","password":"pass","host":"hostname","port":"db_port","dbname":"database"}}}"#;

    #[test]
    fn the_keys_of_another_tool_are_read_and_named() {
        let user = read(TOOLS).unwrap().user;
        assert_eq!((user.engine.as_str(), user.host.as_str(), user.port), ("postgres", "h", 6000));
        assert_eq!((user.username.as_str(), user.password.expose(), user.database.as_deref()), ("u", "p", Some("d")));
        for (from, to, code, field) in [
            (r#""h""#, r#""h/path""#, Code::FieldInvalid, "hostname"),
            (r#""6000""#, "0", Code::FieldInvalid, "db_port"),
            (r#""u""#, "7", Code::FieldInvalid, "user"),
            (r#""u""#, "null", Code::FieldMissing, "user"),
            (r#""p""#, r#""""#, Code::FieldInvalid, "pass"),
            (r#""pass":"p","#, "", Code::FieldMissing, "rotation.fields.password"),
            (r#""engine":"postgres","#, "", Code::FieldMissing, "engine"),
        ] {
            let error = read(&TOOLS.replacen(from, to, 1)).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Field)), (code, Some(field)), "{from} {to}");
            assert!(error.fact(Fact::What).is_some(), "{error}");
        }
        // `rotation.engine` counts instead of a word that another tool has under `engine`.
        let other = TOOLS.replace(r#""type":"pg""#, r#""engine":"django.db.backends.postgresql""#);
        assert_eq!(read(&other).unwrap().user.engine, "postgres");
        let error = read(&TOOLS.replace(r#""postgres""#, r#""mysql""#)).unwrap_err();
        assert_eq!(error.code(), Code::EngineMismatch);
    }

    #[test]
    fn a_version_from_before_the_names_were_given_is_read_under_them() {
        let current = read(TOOLS).unwrap();
        let beside =
            |text: &str| DatabaseSecret::read_beside::<Postgres>(&Document::parse(text.into()).unwrap(), &current.user);
        let before = r#"{"user":"u","pass":"older","hostname":"h","db_port":6000,"database":"d"}"#;
        let older = beside(before).unwrap();
        assert_eq!(older.user.password.expose(), "older");
        assert!(current.same_login(&older));
        let awss = r#"{"engine":"postgres","username":"u","password":"oldest","host":"h","port":6000}"#;
        assert_eq!(beside(awss).unwrap().user.password.expose(), "oldest");
        // Its own names count, if it has any.
        let own = r#"{"user":"u","pass":"p","hostname":"h","rotation":{"engine":"postgres","fields":{}}}"#;
        assert_eq!(beside(own).unwrap_err().fact(Fact::Field), Some("host"));
        assert_eq!(read(before).unwrap_err().fact(Fact::Field), Some("engine"));
    }

    #[test]
    fn a_clients_certificate_is_there_as_a_whole_or_not_at_all() {
        let with = |client: &str| format!(r#""username":"app","rotation":{{"clientCertificate":{client}}}"#);
        let both = secret(&with(r#"{"certificate":"c","key":"hunter2"}"#)).user;
        assert!(both.client_certificate.is_some() && !format!("{both:?}").contains("hunter2"));
        assert!(secret(&with("null")).user.client_certificate.is_none());
        assert_eq!(both.endpoint(None).unwrap_err().code(), Code::ClientCertificateInvalid);
        for (fields, code, field) in [
            (with(r#"{"certificate":"c"}"#), Code::FieldMissing, "rotation.clientCertificate.key"),
            (with(r#"{"key":"k"}"#), Code::FieldMissing, "rotation.clientCertificate.certificate"),
            (with(r#"{"certificate":"c","key":["k"]}"#), Code::FieldInvalid, "rotation.clientCertificate.key"),
            (with(r#""-----BEGIN""#), Code::FieldInvalid, "rotation.clientCertificate"),
            (
                with(r#"{"certificate":"c","key":"k"}"#) + r#","ssl":false"#,
                Code::FieldInvalid,
                "rotation.clientCertificate",
            ),
        ] {
            let error = DatabaseSecret::read::<Postgres>(&document(&fields)).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Field)), (code, Some(field)), "{fields}");
        }
        let unknown = DatabaseSecret::read::<Postgres>(&document(&with(r#"{"secretArn":"arn"}"#))).unwrap_err();
        assert_eq!(unknown.fact(Fact::Found), Some("rotation.clientCertificate.secretArn"));
    }

    #[test]
    fn another_engine_is_refused() {
        let error = read(r#"{"engine":"mysql","host":"h","username":"u","password":"p"}"#).unwrap_err();
        assert_eq!((error.code(), error.fact(Fact::Found)), (Code::EngineMismatch, Some("mysql")));
    }

    proptest! {
        #[test]
        fn what_is_wrong_with_a_field_is_said_without_its_value(
            field in prop::sample::select(&[
                "engine", "host", "port", "username", "password", "dbname", "ssl", "masterarn", "rotation",
            ][..]),
            value in prop_oneof![
                "(mysql|postgres|oracle_|)\\PC{0,9}hunter2".prop_map(serde_json::Value::from),
                Just(serde_json::json!({"caBundle": "hunter2", "users": ["hunter2", "hunter2"]})),
                Just(serde_json::json!({"users": ["a", "hunter2"], "superuserRescue": "hunter2"})),
                Just(serde_json::json!({"tlsServerName": ["hunter2"], DISCARD: "hunter2"})),
                Just(serde_json::json!({"fields": {"username": "a:hunter2", "host": "u", "a:hunter2": "h"}})),
                Just(serde_json::json!({"fields": {"username": "hunter2"}, "engine": "hunter2"})),
                Just(serde_json::json!({"clientCertificate": {"certificate": "hunter2", "key": "hunter2"}})),
                Just(serde_json::json!({"clientCertificate": {"key": ["hunter2"], "hunter 2": "hunter2"}})),
                Just(serde_json::json!({SET_AS: "hunter2"})),
                any::<i64>().prop_map(serde_json::Value::from),
                Just(serde_json::json!(["hunter2", {"hunter2": 1}])),
                Just(serde_json::json!("hunter2\0")),
            ],
            gone in 0_usize..9,
        ) {
            let mut all = serde_json::json!({"engine":"postgres","host":"h","username":"u","password":"p"});
            all[field] = value;
            if let Some(name) = ["engine", "host", "username", "password"].get(gone) {
                all.as_object_mut().unwrap().remove(*name);
            }
            let read = read(&all.to_string()).and_then(|secret| secret.user.endpoint(None));
            if let Err(error) = read {
                prop_assert!(!format!("{error}{error:?}").contains("hunter2"), "{error}");
                prop_assert_ne!(error.code(), Code::Internal);
            }
        }
    }

    #[test]
    fn a_difference_between_versions_is_named() {
        let current = secret(r#""username":"app""#);
        for (fields, field) in [
            (r#""username":"app","port":5433"#, "port"),
            (r#""username":"app","ssl":"false""#, "ssl"),
            (r#""username":"app","dbname":"other""#, "dbname"),
            (r#""username":"app","rotation":{"tlsServerName":"x"}"#, "rotation.tlsServerName"),
            (r#""username":"app","rotation":{"setPasswordAs":"superuser"}"#, "rotation.setPasswordAs"),
            (r#""username":"app","rotation":{"superuserRescue":true}"#, "rotation.superuserRescue"),
        ] {
            let error = current.same_target(&secret(fields)).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Field)), (Code::PendingMismatch, Some(field)));
        }
        assert!(current.same_target(&secret(r#""username":"other","port":"5432""#)).is_ok());
        let tools = read(TOOLS).unwrap();
        let error = tools.same_target(&read(&TOOLS.replace("6000", "6001")).unwrap()).unwrap_err();
        assert_eq!(error.fact(Fact::Field), Some("db_port"));
    }

    #[test]
    fn a_superuser_that_sets_each_password_is_asked_for_plainly_or_not_at_all() {
        for (options, found) in [
            (r#""setPasswordAs":"user""#, "another text"),
            (r#""setPasswordAs":"Superuser""#, "another text"),
            (r#""setPasswordAs":"superuser","superuserRescue":true"#, "together with rotation.superuserRescue"),
            (r#""setPasswordAs":"superuser","users":["app","other"]"#, "together with rotation.users"),
        ] {
            let document = document(&format!(r#""username":"app","rotation":{{{options}}}"#));
            let error = DatabaseSecret::read::<Postgres>(&document).unwrap_err();
            let facts = (error.code(), error.fact(Fact::Field), error.fact(Fact::Found));
            assert_eq!(facts, (Code::FieldInvalid, Some("rotation.setPasswordAs"), Some(found)), "{options}");
        }
        // An option that is turned off may stand beside it, and an empty one counts as absent.
        for options in [r#""setPasswordAs":"superuser","superuserRescue":false"#, r#""setPasswordAs":"""#] {
            secret(&format!(r#""username":"app","rotation":{{{options}}}"#));
        }
    }

    #[test]
    fn options_that_need_a_superuser_say_so() {
        for option in [r#""superuserRescue":true"#, r#""setPasswordAs":"superuser""#, r#""users":["u","v"]"#] {
            let rest = r#""engine":"postgres","host":"h","username":"u","password":"p""#;
            let error = read(&format!(r#"{{{rest},"rotation":{{{option}}}}}"#)).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Field)), (Code::FieldMissing, Some("masterarn")), "{option}");
        }
        let superuser = "arn:superuser".to_owned();
        let rescued = secret(r#""username":"app","rotation":{"superuserRescue":true}"#);
        let setter = Setter::User { rescuer: Some(superuser.clone()) };
        assert_eq!(rescued.strategy, Strategy::SingleUser { setter });
        let set = secret(r#""username":"app","rotation":{"setPasswordAs":"superuser"}"#);
        assert_eq!(set.strategy, Strategy::SingleUser { setter: Setter::Superuser(superuser.clone()) });
        assert!(set.strategy.is_set_by_superuser() && !rescued.strategy.is_set_by_superuser());
        assert_eq!(secret(r#""username":"app""#).strategy, Strategy::AlternatingUsers { superuser, users: None });
    }
}
