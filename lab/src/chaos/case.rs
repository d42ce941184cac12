//! The targets and strategies, and the secrets that a history begins with.

use serde_json::{Value, json};
use std::time::Duration;

/// A kind of database server, an issuer of API keys, the places that signing keys are published in, or a CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A change is a transaction.
    Postgres,
    /// A user can have two passwords, and each change commits by itself.
    Mysql,
    /// Each change commits by itself.
    Mariadb,
    /// An issuer of API keys.
    Issuer,
    /// Verifiers of tokens, who read published keys.
    SigningKey,
    /// Clients of servers with certificates, and the CA that knows an account.
    Tls,
}

/// How a credential is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// The user changes its own password.
    SingleUser,
    /// The same, and a superuser may help (`rotation.superuserRescue`).
    SuperuserRescue,
    /// A superuser sets the one user's password (`rotation.setPasswordAs`).
    SuperuserSets,
    /// The same on MySQL, and the previous password ends after the rotation (`rotation.discardPreviousPasswordAfterHours: 0`).
    SuperuserSetsDiscard,
    /// The user changes its own password on MySQL, where the previous one keeps working.
    DualPassword,
    /// The same, and the previous password ends after the rotation (`rotation.discardPreviousPasswordAfterHours: 0`).
    DualPasswordDiscard,
    /// Two users take turns. The clone's name ends in `_clone`.
    AlternatingUsers,
    /// Two users take turns. `rotation.users` names them.
    NamedUsers,
    /// The issuer makes the next key, and the previous one ends after the next rotation (the lab's description).
    CreateRevoke,
    /// The same, and the previous key ends after the rotation (`rotation.revokePreviousAfterHours: 0`).
    CreateRevokeNow,
    /// The function chooses id and value of the next key, and stores them before the issuer gets them
    /// (`examples/issuers/lab-chosen.yaml`).
    CreateStored,
    /// One call exchanges the key for a new one (`cloudflare-roll`).
    Roll,
    /// The function draws a value, and the issuer takes it (`auth0`).
    SetValue,
    /// The function draws a value, and no issuer is asked (`generate`).
    Generate,
    /// Keys are published in S3.
    Object,
    /// Keys are published in a parameter of Systems Manager.
    Parameter,
    /// Keys are published in both.
    TwoPlaces,
    /// A CA certifies a new key, and ACM gets the certificate.
    Certificate,
    /// An account at a CA gets another key.
    Account,
}

/// An API key with its id. Not `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) id: String,
    pub(super) secret: String,
}

/// Where a history begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Case {
    /// The server.
    pub target: Target,
    /// The strategy.
    pub strategy: Strategy,
    /// How many rotations were completed before.
    pub before: u32,
}

/// The user of the secret, and the base of a pair.
pub(super) const USER: &str = "app";
pub(super) const CLONE: &str = "app_clone";
pub(super) const SUPERUSER: &str = "root";
pub(super) const STRANGER: &str = "other";
/// Cloudflare's account, and Auth0's tenant and administrator.
pub(super) const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
pub(super) const DOMAIN: &str = "example.eu.auth0.com";
pub(super) const ADMIN_CLIENT: &str = "lockstep";
/// The names of the secrets.
pub(super) const SECRET: &str = "app";
pub(super) const SUPERUSER_SECRET: &str = "root";
pub(super) const SECOND_SECRET: &str = "second";
/// Where signing keys are published: bucket and key, and a parameter's name.
pub(super) const OBJECT: &str = "keys/jwks.json";
pub(super) const PARAMETER: &str = "/app/jwks";
/// The ACME directory, the hosted zone, the certificate's names, and what ACM calls it.
pub(super) const DIRECTORY: &str = "https://ca.example/dir";
pub(super) const ZONE: &str = "Z0LAB";
pub(super) const TLS_NAMES: [&str; 2] = ["app.example.com", "*.app.example.com"];
pub(super) const ACM: &str = "arn:aws:acm:us-east-1:000000000000:certificate/lab";
/// `maxTokenLifetime` and `maxCache` of signing keys.
pub(super) const LIFETIME: Duration = Duration::from_secs(500);
pub(super) const MAX_CACHE: Duration = Duration::from_secs(100);
/// From one rotation of signing keys to the next. It is longer than `maxCache`, and shorter than the time for which a previous key
/// stays public.
pub(super) const INTERVAL: Duration = Duration::from_secs(400);

impl Target {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Postgres, Self::Mysql, Self::Mariadb, Self::Issuer, Self::SigningKey, Self::Tls];

    /// The name in a secret, in a history and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
            Self::Issuer => "issuer",
            Self::SigningKey => "signing-key",
            Self::Tls => "tls",
        }
    }

    /// The strategies that this target has.
    #[must_use]
    pub fn strategies(self) -> &'static [Strategy] {
        use Strategy::{
            Account, AlternatingUsers, Certificate, CreateRevoke, CreateRevokeNow, CreateStored, DualPassword,
            DualPasswordDiscard, Generate, NamedUsers, Object, Parameter, Roll, SetValue, SingleUser, SuperuserRescue,
            SuperuserSets, SuperuserSetsDiscard, TwoPlaces,
        };
        match self {
            Self::Postgres => &[SingleUser, SuperuserRescue, SuperuserSets, AlternatingUsers, NamedUsers],
            Self::Mysql => {
                &[DualPassword, DualPasswordDiscard, SuperuserSets, SuperuserSetsDiscard, AlternatingUsers, NamedUsers]
            }
            Self::Mariadb => &[SingleUser, SuperuserRescue, SuperuserSets, AlternatingUsers],
            Self::Issuer => &[CreateRevoke, CreateRevokeNow, CreateStored, Roll, SetValue, Generate],
            Self::SigningKey => &[Object, Parameter, TwoPlaces],
            Self::Tls => &[Certificate, Account],
        }
    }
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::SingleUser,
        Self::SuperuserRescue,
        Self::SuperuserSets,
        Self::SuperuserSetsDiscard,
        Self::DualPassword,
        Self::DualPasswordDiscard,
        Self::AlternatingUsers,
        Self::NamedUsers,
        Self::CreateRevoke,
        Self::CreateRevokeNow,
        Self::CreateStored,
        Self::Roll,
        Self::SetValue,
        Self::Generate,
        Self::Object,
        Self::Parameter,
        Self::TwoPlaces,
        Self::Certificate,
        Self::Account,
    ];

    /// The name in a history and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SingleUser => "single-user",
            Self::SuperuserRescue => "superuser-rescue",
            Self::SuperuserSets => "superuser-sets",
            Self::SuperuserSetsDiscard => "superuser-sets-discard",
            Self::DualPassword => "dual-password",
            Self::DualPasswordDiscard => "dual-password-discard",
            Self::AlternatingUsers => "alternating-users",
            Self::NamedUsers => "named-users",
            Self::CreateRevoke => "create-revoke",
            Self::CreateRevokeNow => "create-revoke-now",
            Self::CreateStored => "create-stored",
            Self::Roll => "roll",
            Self::SetValue => "set-value",
            Self::Generate => "generate",
            Self::Object => "s3-object",
            Self::Parameter => "parameter",
            Self::TwoPlaces => "two-places",
            Self::Certificate => "certificate",
            Self::Account => "account",
        }
    }

    pub(super) fn is_pair(self) -> bool {
        matches!(self, Self::AlternatingUsers | Self::NamedUsers)
    }

    /// Whether the previous password ends after the rotation.
    pub(super) fn discards(self) -> bool {
        matches!(self, Self::DualPasswordDiscard | Self::SuperuserSetsDiscard)
    }

    /// Whether the issuer makes a further key, so that two are alive.
    pub(super) fn mints(self) -> bool {
        matches!(self, Self::CreateRevoke | Self::CreateRevokeNow | Self::CreateStored)
    }

    /// Whether a write that was held up takes effect, whoever has written since: its place has neither a lock nor a condition.
    pub(super) fn takes_late_writes(self) -> bool {
        matches!(self, Self::SetValue | Self::Parameter | Self::TwoPlaces)
    }

    /// Where keys are published, as the secret names it.
    fn places(self) -> Vec<String> {
        let (object, parameter) = (format!("s3://{OBJECT}"), format!("ssm:{PARAMETER}"));
        match self {
            Self::Object => vec![object],
            Self::Parameter => vec![parameter],
            _ => vec![object, parameter],
        }
    }

    /// Where a secret has its user or the id of its key, and its password or its key, as JSON pointers. There may be no id.
    pub(super) fn fields(self) -> (&'static str, &'static str) {
        match self {
            Self::CreateRevoke | Self::CreateRevokeNow | Self::CreateStored => ("/apiKeyId", "/apiKey"),
            Self::Roll => ("/apiTokenId", "/apiToken"),
            Self::SetValue => ("/clientId", "/clientSecret"),
            Self::Generate => ("/", "/apiKey"),
            Self::Object | Self::Parameter | Self::TwoPlaces => ("/current/kid", "/current/privateKey"),
            Self::Certificate => ("/fullChain", "/privateKey"),
            Self::Account => ("/", "/accountKey"),
            _ => ("/username", "/password"),
        }
    }

    pub(super) fn has_superuser(self) -> bool {
        self.is_pair() || matches!(self, Self::SuperuserRescue | Self::SuperuserSets | Self::SuperuserSetsDiscard)
    }
}

impl Case {
    /// Whether AWSCURRENT has to work at every instant.
    pub(super) fn never_interrupts(self) -> bool {
        match self.strategy {
            Strategy::DualPassword | Strategy::DualPasswordDiscard | Strategy::Generate => true,
            Strategy::Certificate => true,
            _ if self.target == Target::SigningKey => true,
            Strategy::SuperuserSets | Strategy::SuperuserSetsDiscard => self.target == Target::Mysql,
            strategy => strategy.is_pair() || strategy.mints(),
        }
    }

    /// Whether the product acts by the clock, and so has to know the simulated one.
    pub(super) fn keeps_time(self) -> bool {
        matches!(self.target, Target::SigningKey | Target::Tls)
    }

    /// The case that a text such as `mysql/dual-password+1` names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (target, rest) = text.split_once('/')?;
        let (strategy, before) = rest.split_once('+').unwrap_or((rest, "0"));
        let target = Target::ALL.into_iter().find(|known| known.name() == target)?;
        let strategy = target.strategies().iter().copied().find(|known| known.name() == strategy)?;
        Some(Self { target, strategy, before: before.parse().ok().filter(|before| *before <= 9)? })
    }

    /// The value of the secret before the first rotation. `key` is the key that a person has made at the issuer.
    /// `roots` are those of the CA, as PEM text.
    pub(super) fn secret(self, key: &Owned, roots: &str) -> Value {
        let Owned { id, secret } = key;
        let admin = json!({"adminSecretArn": SUPERUSER_SECRET});
        match self.strategy {
            Strategy::CreateRevoke => json!({"issuer": "lab", "apiKey": secret, "apiKeyId": id, "rotation": admin}),
            Strategy::CreateRevokeNow => json!({"issuer": "lab", "apiKey": secret, "apiKeyId": id,
                "rotation": {"adminSecretArn": SUPERUSER_SECRET, "revokePreviousAfterHours": 0}}),
            Strategy::CreateStored => {
                json!({"issuer": "lab-chosen", "apiKey": secret, "apiKeyId": id, "rotation": admin})
            }
            Strategy::Roll => json!({"issuer": "cloudflare-roll", "accountId": ACCOUNT, "apiToken": secret,
                "apiTokenId": id, "rotation": admin}),
            Strategy::SetValue => {
                json!({"issuer": "auth0", "clientId": id, "clientSecret": secret, "rotation": admin})
            }
            Strategy::Generate => json!({"issuer": "generate", "apiKey": secret}),
            Strategy::Object | Strategy::Parameter | Strategy::TwoPlaces => json!({
                "algorithm": "EdDSA", "maxTokenLifetime": LIFETIME.as_secs(), "maxCache": MAX_CACHE.as_secs(),
                "rotation": {"publish": self.strategy.places()},
            }),
            Strategy::Certificate => json!({
                "directory": DIRECTORY, "names": TLS_NAMES,
                "rotation": {"accountSecretArn": SUPERUSER_SECRET, "roots": roots, "hostedZoneId": ZONE,
                    "acmCertificateArn": ACM},
            }),
            Strategy::Account => json!({"directory": DIRECTORY}),
            _ => self.database_secret(),
        }
    }

    fn database_secret(self) -> Value {
        let mut value = json!({
            "engine": self.target.name(), "host": "db.example", "port": 5432, "dbname": "shop", "ssl": false,
            "username": USER, "password": FIRST_PASSWORD,
        });
        let rotation = match self.strategy {
            Strategy::SuperuserRescue => Some(json!({"superuserRescue": true})),
            Strategy::SuperuserSets => Some(json!({"setPasswordAs": "superuser"})),
            Strategy::SuperuserSetsDiscard => {
                Some(json!({"setPasswordAs": "superuser", "discardPreviousPasswordAfterHours": 0}))
            }
            Strategy::NamedUsers => Some(json!({"users": [USER, CLONE]})),
            Strategy::DualPasswordDiscard => Some(json!({"discardPreviousPasswordAfterHours": 0})),
            _ => None,
        };
        if let Some(fields) = value.as_object_mut() {
            if self.strategy.has_superuser() {
                fields.insert("masterarn".to_owned(), json!(SUPERUSER_SECRET));
            }
            if let Some(rotation) = rotation {
                fields.insert("rotation".to_owned(), rotation);
            }
        }
        value
    }

    /// The value of the superuser's or the admin's secret.
    pub(super) fn superuser(self, password: &str) -> Value {
        match self.strategy {
            Strategy::CreateRevoke | Strategy::CreateRevokeNow => return json!({"issuer": "lab", "token": password}),
            Strategy::CreateStored => return json!({"issuer": "lab-chosen", "token": password}),
            Strategy::Roll => return json!({"issuer": "cloudflare-roll", "apiToken": password}),
            Strategy::SetValue => {
                return json!({"issuer": "auth0", "domain": DOMAIN, "clientId": ADMIN_CLIENT, "clientSecret": password});
            }
            Strategy::Certificate => return json!({"directory": DIRECTORY, "accountKey": password}),
            _ => {}
        }
        json!({
            "engine": self.target.name(), "host": "db.example", "port": 5432, "dbname": "shop", "ssl": false,
            "username": SUPERUSER, "password": password,
        })
    }
}

/// A key of the form that `generate` draws: 32 bytes.
pub(super) const FIRST_KEY: &str = "Zmlyc3Qta2V5LW9mLWEtc2VjcmV0LC0zMi1ieXRlcy4";
/// Passwords of the beginning. They look like passwords, so that a search for them in outputs finds nothing else.
pub(super) const FIRST_PASSWORD: &str = "first-password-6Q0xkzm2Wc";
pub(super) const SUPERUSER_PASSWORD: &str = "root-password-hX81mmVq0s";
pub(super) const STRANGER_PASSWORD: &str = "other-password-Kp30aavB7e";

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}+{}", self.target.name(), self.strategy.name(), self.before)
    }
}
