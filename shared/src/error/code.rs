//! The table of error codes: what happened, whether it passes by itself, and what to do next.

use std::fmt;

/// Whether invoking the same step again, with nothing else changed, can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Someone has to change something first.
    Permanent,
    /// The cause passes by itself: a network, a lock, a throttle, a replica that lags.
    Retryable,
}

impl Class {
    /// The word used in logs and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Retryable => "retryable",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $class:ident, $what:literal, $next:literal;)*) => {
        /// A stable name for one kind of failure. Codes are never reused and never change their meaning:
        /// alarms, runbooks and people's scripts match on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* #[doc = ""] #[doc = concat!("`", $text, "`: ", $what, ".")] $name,)*
        }

        impl Code {
            /// Every code there is, for documentation and for tests that cover them all.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code as it stands in logs, results and runbooks.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whether trying again can help.
            pub fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)* }
            }

            /// What happened, in one clause.
            pub fn summary(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }

            /// What the reader should do next, in one sentence.
            pub fn next_action(self) -> &'static str {
                match self { $(Self::$name => $next,)* }
            }
        }
    };
}

codes! {
    // ---- the event and the labels
    /// The invocation payload lacks a field or has one of the wrong kind.
    EventMalformed = "event-malformed", Permanent,
        "the event is not one that Secrets Manager sends",
        "Send the four fields of events/*.json: SecretId, ClientRequestToken, Step and, optionally, RotationToken.";
    /// `Step` is none of the four.
    StepUnknown = "step-unknown", Permanent,
        "the step is not one of the four of a rotation",
        "Use createSecret, setSecret, testSecret or finishSecret; by hand also diagnose, recover, status, history, report, rotateNow, retire and endSessions, and on a schedule watch.";
    /// DescribeSecret says `RotationEnabled: false`.
    RotationDisabled = "rotation-disabled", Permanent,
        "rotation is not enabled for the secret",
        "If a version is AWSPENDING, do first what `diagnose` says. Then turn rotation on with `aws secretsmanager rotate-secret`, or do not invoke the function by hand for this secret.";
    /// The token is not among the secret's versions.
    VersionUnknown = "version-unknown", Permanent,
        "the version has no stage for rotation of the secret",
        "Nothing was changed. The version was never registered by RotateSecret, or lost all its labels when somebody stored a value by hand; start a rotation with `aws secretsmanager rotate-secret`.";
    /// The version lost `AWSPENDING`, or never had it.
    VersionNotPending = "version-not-pending", Permanent,
        "the version is not set as AWSPENDING",
        "Look at the labels with `aws secretsmanager describe-secret`; another rotation or a manual PutSecretValue took AWSPENDING. Start a new rotation.";
    /// Somebody asked for a recovery, and the deployer has not allowed it.
    RecoverOff = "recover-off", Permanent,
        "the deployer has not turned `recover` on",
        "Nothing was changed. Set the template's parameter AllowRecover to true (ALLOW_RECOVER=true in the function's environment), or invoke `diagnose` and do what it says by hand.";
    /// The next action of a diagnosis is none that `recover` does.
    RecoverRefused = "recover-refused", Permanent,
        "`recover` does not do by itself what leads out of this finding",
        "Nothing was changed. Do what `nextAction` says, and diagnose again.";
    /// Somebody asked for a rotation through the function, and the deployer has not allowed it.
    RotateNowOff = "rotate-now-off", Permanent,
        "the deployer has not turned `rotateNow` on",
        "Nothing was changed. Run `aws secretsmanager rotate-secret` for the secret, or set the template's parameter AllowRotateNow to true (ALLOW_ROTATE_NOW=true in the function's environment).";
    /// The function does not begin a rotation of this secret.
    RotateNowRefused = "rotate-now-refused", Permanent,
        "the function does not begin a rotation of this secret now",
        "Nothing was changed. `diagnose` says what to do about a rotation that has not ended.";
    /// Somebody asked to end a superseded credential or its sessions, and the deployer has not allowed it.
    RetireOff = "retire-off", Permanent,
        "the deployer has not turned `retire` and `endSessions` on",
        "Nothing was changed. Set the template's parameter AllowRetire to true (ALLOW_RETIRE=true in the function's environment), or do by hand what docs/runbooks/leaked-credential.md says.";
    /// It is not safe to end what a version opens, or there is nothing to end.
    RetireRefused = "retire-refused", Permanent,
        "the function does not end what this version opens now",
        "Nothing was changed. Do first what the facts name: let the rotation end, rotate a current credential, or end the credential before its sessions.";
    /// A fleet's order, or a question to its function, cannot be followed.
    OrderInvalid = "order-invalid", Permanent,
        "the fleet's order has a field that cannot be followed",
        "Nothing was changed. Correct the field that the facts name; docs/fleet.md lists the fields of an order.";
    /// Somebody asked the fleet's page for a run or a stop, and the deployer has not allowed it.
    PageRunsOff = "page-runs-off", Permanent,
        "the deployer has not allowed runs from the fleet's page",
        "Nothing was started or stopped. Set the template's parameter AllowPageRuns to true (ALLOW_PAGE_RUNS=true in the function's environment), or start and stop the run as docs/fleet.md says.";
    /// GitHub did not show the alert of a leaked credential.
    AlertUnread = "alert-unread", Retryable,
        "GitHub did not answer with the alert of a leaked credential",
        "Nothing was rotated. Read the value in the alert, and hand it over as docs/fleet.md says (Leaks).";
    /// No version carries `AWSCURRENT`.
    CurrentMissing = "current-missing", Permanent,
        "no version of the secret is AWSCURRENT",
        "Give the secret a value with `aws secretsmanager put-secret-value`.";
    /// The pending version has no value, although a step that needs it was invoked.
    PendingMissing = "pending-missing", Retryable,
        "the AWSPENDING version has no value",
        "createSecret has to run before this step; start the rotation again with `aws secretsmanager rotate-secret`.";
    /// What the token's version holds was not made by this function's createSecret.
    PendingMismatch = "pending-mismatch", Permanent,
        "the AWSPENDING version does not describe the same target as AWSCURRENT",
        "Nothing was sent anywhere. Compare the two versions' fields; remove AWSPENDING from the version and start a new rotation.";
    /// Promoting the pending version would undo an edit that somebody made meanwhile.
    PendingOutdated = "pending-outdated", Permanent,
        "AWSCURRENT was edited after the rotation began, and the AWSPENDING version lacks the edit",
        "Remove AWSPENDING from the version and start a new rotation: it begins with the edited value.";

    // ---- the secret's document
    /// `SecretString` is not a JSON object, or the value is binary.
    SecretNotJson = "secret-not-json", Permanent,
        "the secret's value is not a JSON object",
        "Store the secret as a JSON object: engine, host, username and password for a database, issuer and the key for an API, directory and names for a certificate, algorithm, maxTokenLifetime and maxCache for keys that sign tokens.";
    /// A required key is absent.
    FieldMissing = "field-missing", Permanent,
        "the secret lacks a required field",
        "Add the field to the secret's JSON.";
    /// A key has the wrong type or an impossible value.
    FieldInvalid = "field-invalid", Permanent,
        "a field of the secret has a value that cannot be used",
        "Correct the field in the secret's JSON.";
    /// `engine` names a database that this function does not rotate.
    EngineMismatch = "engine-mismatch", Permanent,
        "the secret is for another engine than this function rotates",
        "Attach the function that rotates this engine, or correct `engine` or `rotation.engine`.";
    /// A key under `rotation` that no version of this function knows.
    OptionUnknown = "option-unknown", Permanent,
        "the secret's `rotation` object has an option that does not exist",
        "Remove or correct the option; docs/secrets.md lists them, docs/certificates.md those of certificates, and docs/signing-keys.md those of keys that sign tokens.";
    /// A new document would exceed 65,536 bytes.
    SecretTooLarge = "secret-too-large", Permanent,
        "the secret would be larger than Secrets Manager allows",
        "Remove unused fields from the secret; the limit is 65,536 bytes.";

    // ---- configuration of the function
    /// An environment variable cannot be understood.
    ConfigurationInvalid = "configuration-invalid", Permanent,
        "an environment variable of the function has a value that cannot be used",
        "Correct the variable in the function's configuration.";
    /// The password policy excludes everything, or requires more classes than the length has room for.
    PolicyImpossible = "policy-impossible", Permanent,
        "no password can satisfy the password policy",
        "Relax the template's parameters ExcludeCharacters, the other Exclude parameters or PasswordLength (EXCLUDE_CHARACTERS and the like in the function's environment).";
    /// A setting would make the SDK print secret values.
    UnsafeLogging = "unsafe-logging", Permanent,
        "LOG_SENSITIVE_BODIES would make the AWS SDK print secret values",
        "Remove LOG_SENSITIVE_BODIES from the function's environment.";
    /// A custom CA bundle is not PEM, or holds no certificate.
    CaBundleInvalid = "ca-bundle-invalid", Permanent,
        "the custom CA bundle holds no usable certificate",
        "Give PEM text with at least one CERTIFICATE block.";
    /// `rotation.clientCertificate` is not PEM, has expired, or its key is encrypted or another one's.
    ClientCertificateInvalid = "client-certificate-invalid", Permanent,
        "the client's certificate in the secret, or its key, cannot be used",
        "Put a certificate that is valid now, and its key without encryption, into `rotation.clientCertificate` of the secret whose user the facts name.";

    // ---- Secrets Manager
    /// The service kept answering with a throttle until the time budget was spent.
    ServiceThrottled = "service-throttled", Retryable,
        "Secrets Manager kept throttling the call until the step's time was spent",
        "Nothing to do for one rotation: it is tried again. If it recurs, follow docs/runbooks/throttled.md: spread the schedules, or give those who read a cache.";
    /// No answer, or a 5xx, until the time budget was spent.
    ServiceUnavailable = "service-unavailable", Retryable,
        "Secrets Manager could not be reached within the step's time",
        "Check the function's route to Secrets Manager: a VPC endpoint, a NAT, the security group's egress on 443.";
    /// AccessDenied.
    ServiceDenied = "service-denied", Permanent,
        "the function's role may not make this call",
        "Grant the action on this secret (and kms:Decrypt, kms:GenerateDataKey on its key) to the function's role.";
    /// The secret (not the version's value) does not exist or is marked for deletion.
    SecretNotFound = "secret-not-found", Permanent,
        "the secret does not exist or is scheduled for deletion",
        "Check the ARN of the secret that the facts name, which is another one than the rotated secret if it is otherSecret. Restore it with `aws secretsmanager restore-secret` if it was deleted.";
    /// Any other answer of the service.
    ServiceRefused = "service-refused", Permanent,
        "Secrets Manager refused the call",
        "Find the call in CloudTrail by its error code.";
    /// What the daily look says of a customer managed key.
    KmsRotationOff = "kms-rotation-off", Permanent,
        "KMS does not rotate the key that encrypts the secret",
        "Run `aws kms enable-key-rotation --key-id` with the ARN in the facts. Nothing else has to change; docs/encryption-keys.md says what a rotation does.";
    /// What the daily look says of a key that is disabled, or waits for its deletion.
    KmsKeyPendingDeletion = "kms-key-pending-deletion", Permanent,
        "the KMS key that encrypts the secret cannot be used, or not for long",
        "Without the key nobody can read the secret. If the facts say PendingDeletion, run `aws kms cancel-key-deletion` now: after the deletion all versions are lost. Then run `aws kms enable-key` with the same ARN.";
    /// A write was refused since another write with other content came first.
    WriteConflict = "write-conflict", Retryable,
        "another writer changed the secret's versions at the same time",
        "Nothing to do: the rotation is tried again from what is there now.";

    // ---- reaching the target
    /// The host name does not resolve.
    HostUnresolved = "host-unresolved", Retryable,
        "the host's name could not be resolved",
        "Check the secret's `host`, and the function's VPC DNS settings.";
    /// The TCP connection was refused.
    ConnectionRefused = "connection-refused", Retryable,
        "the host refuses connections on this port",
        "Check that the server runs and the secret's `port` is right.";
    /// No answer to the TCP connect.
    ConnectTimeout = "connect-timeout", Retryable,
        "nothing answered on the host and port",
        "Check security groups, network ACLs and routes between the function's subnets and the server.";
    /// Connected, then silence during the handshake or login.
    ServerSilent = "server-silent", Retryable,
        "the server accepted the connection and then did not answer",
        "Check the server's health, and that the port belongs to the database.";
    /// The connection broke.
    ConnectionLost = "connection-lost", Retryable,
        "the connection to the server broke",
        "Nothing to do for one rotation: it is tried again. If it recurs, look at the server's log and at proxies in between.";
    /// The server breaks its protocol, or says more than a rotation asks for.
    ServerStrange = "server-strange", Permanent,
        "the server's answer is larger than any answer to a rotation is, or is none to what was asked",
        "Find out who answers on this host and port: it may not be your server, or a proxy in between may change its answers. If it is your server, report the error with its facts.";
    /// A pooler gives each statement to another connection.
    PoolerUnsuitable = "pooler-unsuitable", Permanent,
        "a pooler in front of the server is in statement mode, and a rotation needs transactions",
        "Nothing was changed. Let `host` and `port` of the secret, and of the superuser's secret, name the server itself, or a pooler in session or transaction mode.";
    /// The server says it is starting, stopping or recovering.
    ServerNotReady = "server-not-ready", Retryable,
        "the server is starting, stopping or in recovery",
        "Nothing to do: the rotation is tried again.";
    /// Connection limits reached.
    TooManyConnections = "too-many-connections", Retryable,
        "the server has no connection slot left",
        "Raise max_connections or the role's CONNECTION LIMIT, or find what holds the connections.";
    /// The server does not offer TLS.
    TlsNotOffered = "tls-not-offered", Permanent,
        "the server does not offer TLS, and the secret does not allow plaintext",
        "Turn TLS on at the server. Only if the network is trusted, set `\"ssl\": false` in the secret.";
    /// The certificate is past its date or not yet valid.
    TlsCertificateExpired = "tls-certificate-expired", Permanent,
        "the server's certificate is not valid at this time",
        "Renew the server's certificate.";
    /// The chain ends in a root that is not trusted.
    TlsUnknownIssuer = "tls-unknown-issuer", Permanent,
        "the server's certificate is not issued by a CA that this function trusts",
        "Trust your CA with the template's parameter CaBundle (CA_BUNDLE in the function's environment), or with `rotation.caBundle` in the secret of the user that the facts name. A superuser's login does not use the rotated secret's.";
    /// The certificate is for another name.
    TlsNameMismatch = "tls-name-mismatch", Permanent,
        "the server's certificate is for another name",
        "If `host` is an alias, put the certificate's name in `rotation.tlsServerName` of the secret whose user the facts name. A superuser's login does not use the rotated secret's.";
    /// Another failure of the TLS handshake.
    TlsFailed = "tls-failed", Permanent,
        "the TLS handshake failed",
        "Check that the server offers TLS 1.2 or 1.3 with a valid certificate.";
    /// A TLS alert about the client's certificate.
    ClientCertificateRefused = "client-certificate-refused", Permanent,
        "the server does not accept the client's certificate, or wants one and got none",
        "MySQL and MariaDB say that the password is wrong instead if an account's REQUIRE wants a certificate. Put a certificate of an authority that the server trusts for clients, and its key, into `rotation.clientCertificate` of the secret whose user the facts name.";

    // ---- logging in and changing the password
    /// Current, pending and previous were all refused, and no superuser may help.
    LockedOut = "locked-out", Permanent,
        "neither the pending, the current nor the previous password opens the target",
        "Set the current password at the server by hand (MySQL and MariaDB: first see whether SHOW CREATE USER has a REQUIRE that wants rotation.clientCertificate), or allow the superuser to (`rotation.superuserRescue: true` with `masterarn`).";
    /// A search ended early, so that the server does not block the user.
    RefusedTooOften = "refused-too-often", Permanent,
        "the server refused as many logins as a rotation may cause, and no password that was tried opens the target",
        "Remove AWSPENDING from the version, and start a new rotation, which tries older versions. If that ends here again, follow docs/runbooks/locked-out.md.";
    /// The new credential does not open the target.
    PendingRejected = "pending-rejected", Permanent,
        "the server refuses the pending credential",
        "setSecret has to run before this step; start the rotation again with `aws secretsmanager rotate-secret`. If the error returns although `diagnose` finds that AWSCURRENT works, or if the issuer makes the key, remove AWSPENDING from the version, and start a new rotation.";
    /// Superuser refused.
    SuperuserRejected = "superuser-rejected", Permanent,
        "the server refuses the superuser's credential",
        "Correct the secret that `masterarn` names.";
    /// A superuser or admin refused, in the middle of a rotation of its own secret.
    CompanionRotating = "companion-rotating", Retryable,
        "the credential of the superuser, the admin or the CA account is refused, and its own secret is being rotated at this moment",
        "Nothing to do: the rotation is tried again, with the new value of that secret. If it recurs, finish the rotation of the secret that the facts name as otherSecret.";
    /// The current credential is refused where only a test was asked for.
    CurrentRejected = "current-rejected", Permanent,
        "the server refuses the current credential",
        "Correct the credential in the secret's AWSCURRENT version. If it is the key of an account at a CA, see whether `directory` was changed: docs/certificates.md, under \"The account\".";
    /// A login is refused for a reason other than the password.
    LoginForbidden = "login-forbidden", Permanent,
        "the server does not let this user log in, whatever the password",
        "PostgreSQL: check pg_hba.conf, and that the role has LOGIN. MySQL and MariaDB: check that the account is not locked, and has the privileges that the server wants for a login.";
    /// Refused before any password was looked at, because there were too many failures.
    LoginBlocked = "login-blocked", Retryable,
        "the server blocks the user, or this function's address, after too many failed logins or connections",
        "Find out which client keeps failing. Then ALTER USER … ACCOUNT UNLOCK for the user (MariaDB: FLUSH PRIVILEGES), or TRUNCATE performance_schema.host_cache (MariaDB: FLUSH HOSTS) for the address.";
    /// The server asks for a way of authentication that would give the password away, or is not supported.
    AuthenticationUnsupported = "authentication-unsupported", Permanent,
        "the server asks for an authentication method that this function does not use",
        "PostgreSQL: use scram-sha-256 (or md5) for this user in pg_hba.conf. MySQL: use caching_sha2_password or mysql_native_password for the account. MariaDB: mysql_native_password or ed25519. If the server has no such user, create it with the password of AWSCURRENT.";
    /// SCRAM lets the server prove itself, too; this one could not.
    ServerUnproven = "server-unproven", Permanent,
        "the server did not prove that it knows the user's password, as SCRAM demands",
        "Find out who answers on this host and port: it may not be your server.";
    /// The database in `dbname` does not exist or may not be used.
    DatabaseUnusable = "database-unusable", Permanent,
        "the database does not exist or the user may not connect to it",
        "Correct `dbname` in the secret, or grant CONNECT.";
    /// A read replica or a server in recovery.
    ServerReadOnly = "server-read-only", Permanent,
        "the server is a read-only replica",
        "Point the secret's `host` at the writer.";
    /// A server that takes a SCRAM verifier for a password in clear text.
    ServerTooOld = "server-too-old", Permanent,
        "the server is older than PostgreSQL 10 and does not know SCRAM verifiers",
        "Nothing was changed. Upgrade the server; until then set the template's parameter AllowMd5 to true (ALLOW_MD5=true in the function's environment), if the server's `password_encryption` is `on`.";
    /// A lock was not granted in time.
    LockTimeout = "lock-timeout", Retryable,
        "another session holds a lock on the user",
        "PostgreSQL: find and end the transaction that altered this role, or that holds an advisory lock with classid 1282368363: see pg_locks and pg_stat_activity. MySQL and MariaDB: end the transaction that reads the grant tables, or the session that holds the user lock that the facts name: see SHOW PROCESSLIST.";
    /// A statement ran into its limit.
    StatementTimeout = "statement-timeout", Retryable,
        "the server did not finish a statement in time",
        "Look at the server's load and locks.";
    /// Insufficient privilege.
    PrivilegeMissing = "privilege-missing", Permanent,
        "the user may not make this change",
        "Grant the privilege that the facts name.";
    /// The role to rotate does not exist.
    RoleMissing = "role-missing", Permanent,
        "the user does not exist at the server",
        "Create the user, or correct `username` in the secret.";
    /// The role can never log in, or not any more.
    RoleUnusable = "role-unusable", Permanent,
        "the user cannot log in: NOLOGIN, a locked account, or an expired password",
        "PostgreSQL: correct it with ALTER ROLE … LOGIN or ALTER ROLE … VALID UNTIL. MySQL and MariaDB: ALTER USER … ACCOUNT UNLOCK, or set an expired password by hand (and the account's PASSWORD EXPIRE to more than the rotation's interval).";
    /// A role that a rotation must not touch.
    RoleProtected = "role-protected", Permanent,
        "the user is too powerful to be rotated through a superuser secret",
        "Rotate it without `masterarn`, so that it changes its own password, or set the template's parameter AllowPowerfulRoles to true (ALLOW_POWERFUL_ROLES=true in the function's environment).";
    /// Two names that cannot be proven to be a pair.
    PairUnproven = "pair-unproven", Permanent,
        "nothing proves that the two users belong together, so the partner may be another application's user",
        "If they belong together, name both in `rotation.users` (on PostgreSQL you can also make the partner a member of the base user: GRANT base TO partner); otherwise rename one.";
    /// One user name has several accounts. The secret knows the password of some of them, and not of the others.
    AccountsDiffer = "accounts-differ", Permanent,
        "the user has accounts for several hosts, and the secret does not know the password of the one that the facts name, so it may be another application's",
        "Nothing was changed. If the account is the secret's, give it the password of AWSCURRENT, or for the partner of a pair that of AWSPREVIOUS (ALTER USER … IDENTIFIED BY …). If it is another application's, rename it (RENAME USER) and change that application's configuration at the same time. A single user that may not see its other accounts (SELECT on mysql.*) changes only the one that it is logged in to.";
    /// The user, or part of its privileges, is of a kind that cannot be given to another user.
    PrivilegeUnknown = "privilege-unknown", Permanent,
        "the base user has a privilege or a setting that this function cannot give to the other user of the pair",
        "Take it from the base user, rotate the base user as a single user, or report the error with its facts.";
    /// The server's own rules refuse the new password.
    PasswordRefused = "password-refused", Permanent,
        "the server's password rules refuse the new password",
        "Nothing was changed. Let PASSWORD_LENGTH and the EXCLUDE_ variables of the function fit the server's rules (validate_password.%, password history; MariaDB: simple_password_check_%, cracklib). The version keeps the refused password, so give the version up: `aws secretsmanager update-secret-version-stage --secret-id SECRET --version-stage AWSPENDING --remove-from-version-id VERSION`, with the secret and the version that the facts name. Then run `aws secretsmanager rotate-secret --secret-id SECRET`.";
    /// The change would carry the password in clear text.
    TlsRequired = "tls-required", Permanent,
        "the connection has no TLS, and this login or change needs it",
        "Remove `\"ssl\": false` from the secret. MySQL and MariaDB let users change their own password only in ways that carry it, or that the server's rules demand to see.";
    /// A superuser's password would go to a server that only the child's secret names.
    SuperuserAddressUnproven = "superuser-address-unproven", Permanent,
        "the superuser's secret names no server, RDS could not say which server it is, and MySQL's protocol gives a server no way to prove its identity",
        "If RDS manages the superuser's secret, grant the action that the facts name to the function's role. Otherwise put engine, host and port into the superuser's secret (and rotation.caBundle or rotation.tlsServerName, where the rotated secret has them).";
    /// The two users' effective privileges differ.
    PrivilegesDiffer = "privileges-differ", Permanent,
        "the pending user does not have the same effective privileges as the base user",
        "Run the rotation again, so that setSecret converges them; the facts name the difference. PostgreSQL 12.21, 13.17, 14.14, 15.9, 16.5 and 17.1 ignore ALTER ROLE … SET role: update such a server first.";
    /// A warning: a reset of a clone's session ends its `SET role`.
    RoleNotKept = "role-not-kept", Permanent,
        "a session of the clone that is reset with DISCARD ALL, as poolers do, stops acting as the base user on a server of this version",
        "This is a warning: the step succeeded. Update PostgreSQL to its newest minor version, or let the pooler reset sessions with RESET ROLE instead of DISCARD ALL (docs/secrets.md has the statements). Until then the base user cannot use what the clone makes after a reset; setSecret gives it to the base user at the next rotation.";
    /// A warning: the base cannot reach what its clone has made.
    CloneOwnsObjects = "clone-owns-objects", Permanent,
        "the clone owns objects, or has set default privileges, that a rotation does not give to the base user",
        "This is a warning: the step succeeded. In each database that the facts name, run REASSIGN OWNED BY the clone TO the base user. For default privileges, run there ALTER DEFAULT PRIVILEGES FOR ROLE with the base user, as they were set for the clone.";
    /// The name is longer than the server allows.
    NameTooLong = "name-too-long", Permanent,
        "the user's name is longer than the server allows",
        "If it is a partner's, name the pair yourself in `rotation.users`; otherwise correct `username`.";
    /// The deployer's list does not have the secret that `masterarn` names.
    SuperuserNotAllowed = "superuser-not-allowed", Permanent,
        "`masterarn` names a secret that the deployer has not listed as a superuser's",
        "Add the secret's ARN to SUPERUSER_SECRET_ARNS (the template's parameter SuperuserSecretArns), or correct `masterarn`.";
    /// The superuser's secret is not on the same host.
    SuperuserMismatch = "superuser-mismatch", Permanent,
        "the superuser secret is for another server than the secret being rotated",
        "Correct `masterarn`, or the superuser secret's host and engine.";
    /// RDS does not know what a superuser's secret is tagged with.
    SuperuserServerGone = "superuser-server-gone", Permanent,
        "the superuser's secret is tagged with an RDS instance or cluster that does not exist",
        "Let `masterarn` name the superuser secret of the server that the rotated secret is for.";
    /// RDS refuses a look-up.
    RdsDenied = "rds-denied", Permanent,
        "the function's role may not look up the superuser's server at RDS",
        "Grant the action that the facts name to the function's role, or put engine, host and port into the superuser's secret.";
    /// RDS kept answering with a throttle.
    RdsThrottled = "rds-throttled", Retryable,
        "RDS kept throttling the look-up of the superuser's server",
        "Nothing to do for one rotation: it is tried again. If it recurs, spread the schedules of the secrets.";
    /// No answer of RDS, or none that can be read.
    RdsUnavailable = "rds-unavailable", Retryable,
        "RDS did not say where the superuser's server is",
        "Check the function's route to RDS: a VPC endpoint for RDS, a NAT, the security group's egress on 443. Or put engine, host and port into the superuser's secret.";
    /// Any other error of the target.
    TargetRefused = "target-refused", Permanent,
        "the server refused the request",
        "Look up the error code in the server's manual, and find the moment in the server's log.";

    // ---- issuers of API keys
    /// No description goes by the name that the secret has under `issuer`.
    IssuerUnknown = "issuer-unknown", Permanent,
        "no description has this issuer's name",
        "Correct `issuer` in the secret (docs/issuers.md lists the built-in ones), or add a description with the template's parameter Issuers (ISSUERS).";
    /// A description of an issuer cannot be used.
    DescriptionInvalid = "description-invalid", Permanent,
        "the description of an issuer has a mistake",
        "Run `cargo lab check-issuer` on the description: it explains each mistake.";
    /// A description's source cannot be read.
    DescriptionUnreadable = "description-unreadable", Permanent,
        "a description of an issuer cannot be read",
        "Check the source that the template's parameter Issuers (ISSUERS) names, and the function's permission to read it.";
    /// A description's source did not answer, or asked to slow down.
    DescriptionUnavailable = "description-unavailable", Retryable,
        "the source of an issuer's description could not be asked within the step's time",
        "Nothing to do for one rotation: it is tried again. If it recurs, check the function's route to Systems Manager or Secrets Manager, and spread the schedules where the facts say that it was throttled.";
    /// A request would go to a host, or an address, that nobody allowed.
    HostDenied = "host-denied", Permanent,
        "requests to this host or address are not allowed",
        "If the host is right, allow it for this issuer, as `issuer=host`: a public host in the template's parameter AllowedHosts (ALLOWED_HOSTS), a host in a private network in AllowedPrivateHosts (ALLOWED_PRIVATE_HOSTS).";
    /// The issuer kept asking to slow down.
    IssuerThrottled = "issuer-throttled", Retryable,
        "the issuer kept asking to slow down until the step's time was spent",
        "Nothing to do for one rotation: it is tried again. If it recurs, spread the schedules of the secrets of this issuer.";
    /// The issuer answers with server errors, or in a way that tells nothing.
    IssuerUnavailable = "issuer-unavailable", Retryable,
        "the issuer could not answer the request, or could not carry it out",
        "Look at the issuer's status page; the rotation is tried again.";
    /// The issuer refused a request that was authenticated.
    IssuerRefused = "issuer-refused", Permanent,
        "the issuer refused the request",
        "Compare the status and the request with the issuer's documentation; `cargo lab check-issuer` shows the requests of a description. If the issuer refuses the value of the pending version, although `diagnose` finds that AWSCURRENT works, remove AWSPENDING from the version, and start a new rotation.";
    /// The issuer refuses the admin credential.
    AdminRejected = "admin-rejected", Permanent,
        "the issuer refuses the admin credential, or gives it too few rights",
        "Correct the admin secret that `rotation.adminSecretArn` names, or give its credential the right to manage keys.";
    /// The deployer's list does not have the admin secret.
    AdminNotAllowed = "admin-not-allowed", Permanent,
        "`rotation.adminSecretArn` names a secret that the deployer has not listed as an admin secret, or that is for another issuer",
        "Correct `rotation.adminSecretArn` or `issuer`. If both are right, add the ARN to ADMIN_SECRET_ARNS (the template's parameter AdminSecretArns), or the issuer to the admin secret (`issuer`, or `issuers` for more than one).";
    /// The issuer allows no further key.
    KeyLimitReached = "key-limit-reached", Permanent,
        "the issuer allows no further key",
        "Delete unused keys at the issuer. This function does not touch keys that it did not make.";
    /// An attempt that may be under way holds the last free place.
    AttemptUnderWay = "attempt-under-way", Retryable,
        "the issuer allows no further key, and one that this rotation has made may still be in use by another invocation",
        "Nothing to do: once that invocation's time is over, the key is removed and the rotation goes on.";
    /// A success in a form that the description does not expect.
    AnswerUnexpected = "answer-unexpected", Permanent,
        "the issuer answered in a form that its description does not expect",
        "Compare the description with the issuer's documentation. If a key was made, the next rotation removes it where the issuer can list keys.";
    /// A redirect, which is never followed.
    RedirectRefused = "redirect-refused", Permanent,
        "the issuer answered with a redirect, and a credential is never sent after one",
        "Put the final address into the description.";
    /// More bytes than any answer about keys has.
    AnswerTooLarge = "answer-too-large", Permanent,
        "the issuer's answer is larger than any answer about keys should be",
        "Check the address and, for lists, the page size in the description.";
    /// Sent, and not answered: it may or may not have happened.
    ReplyLost = "reply-lost", Retryable,
        "the issuer's answer was lost, and the request may have taken effect",
        "Nothing to do: the rotation is tried again. Where the issuer can list keys, the key from the lost answer is found and removed.";
    /// Another key answers than the one that is being tried.
    KeyMismatch = "key-mismatch", Permanent,
        "the issuer says that the key belongs to another id than the secret",
        "Compare the key and its id in the secret with the issuer's list; correct the id.";
    /// A key that neither works nor was left by an earlier rotation.
    KeyUnproven = "key-unproven", Permanent,
        "the current key does not work, and nothing proves that it belongs to this secret",
        "Store a key that works in the secret. If nobody but you may write the secret, you can let the rotation replace the key without proof: set the template's parameter AllowUnprovenKeys to true (ALLOW_UNPROVEN_KEYS=true in the function's environment).";
    /// What `diagnose` says of a generated key that was stored by hand.
    KeyNotGenerated = "key-not-generated", Permanent,
        "the current key does not have the form that the secret or the issuer's description states",
        "Run `aws secretsmanager rotate-secret` for the secret: it draws a key of that form. Until then the current key is in use as it is.";
    /// Two invocations of createSecret exchanged the key.
    KeySuperseded = "key-superseded", Permanent,
        "another invocation of this step stored its key first, and this invocation has ended that key since",
        "Let no two invocations of one rotation run at once. Remove AWSPENDING from the version with `aws secretsmanager update-secret-version-stage`, and start a new rotation.";
    /// A warning: a superseded key is alive.
    KeyNotRevoked = "key-not-revoked", Retryable,
        "a superseded key could not be revoked and is still alive",
        "Nothing to do for one rotation: it stays in the journal and is tried again at the next. If it recurs, revoke the key by hand.";
    /// A warning: the key that a person made.
    KeyNotOurs = "key-not-ours", Permanent,
        "a superseded key is left alive, as nothing proves that this function issued it",
        "Revoke the key by hand at the issuer once nobody uses it: its id stands in the versions of the secret that had it.";
    /// A warning: what a crash may leave.
    OrphanPossible = "orphan-possible", Permanent,
        "an issuer that cannot list or name keys may hold one that nothing remembers",
        "Look at the issuer's list of keys for one that neither the current nor the previous version of the secret has.";

    // ---- signing keys
    /// A private key of the secret cannot be used, or is another one's.
    SigningKeyInvalid = "signing-key-invalid", Permanent,
        "a key of the secret cannot be read, or is not for its algorithm",
        "Store the private key as unencrypted PKCS#8 in PEM, for the algorithm that stands beside it. docs/signing-keys.md shows the form.";
    /// Promoted now, the next key would sign tokens that some verifiers cannot verify yet.
    TooSoon = "too-soon", Retryable,
        "the key that would sign next has not been public for `maxCache` yet",
        "Nothing to do: the rotation succeeds once that time is over. If a key has leaked, do not wait, and follow docs/signing-keys.md, under \"A key has leaked\".";
    /// S3, Systems Manager or ACM did not answer.
    OutletUnavailable = "outlet-unavailable", Retryable,
        "the place that keys are published in, or a certificate is handed to, could not be reached within the step's time",
        "Nothing to do for one rotation: it is tried again. If it recurs, check the function's route to S3, Systems Manager or ACM.";
    /// S3, Systems Manager or ACM refused.
    OutletRefused = "outlet-refused", Permanent,
        "the place that keys are published in, or a certificate is handed to, refused to be read or written",
        "Check that what the facts name exists, and that the function's role may read and write it. docs/signing-keys.md and docs/certificates.md list the permissions.";
    /// Another secret's keys, or somebody's file.
    OutletTaken = "outlet-taken", Permanent,
        "the place that keys are published in, or a certificate is handed to, is not this secret's",
        "Nothing was written. Name another place in the secret, or remove what is there if it is of no use to anybody.";
    /// What is published is not what a rotation has published.
    PublishedSetChanged = "published-set-changed", Permanent,
        "the published keys are not those of the secret",
        "Find out who changed them. The daily look puts the secret's keys back unless a rotation is unfinished: then start that rotation again, or give it up, and have the daily look run after it. A key that stands there and is not this secret's lets its owner sign tokens: remove it unless you know whose it is.";
    /// What verifiers fetch is not what is published.
    ServedSetDiffers = "served-set-differs", Permanent,
        "what verifiers fetch at `rotation.verifyAt` is not the set of this secret's keys",
        "Find out what answers at that address: whether it reads the place in `rotation.publish`, and whether a cache on the way keeps copies for longer than `maxCache`.";
    /// A warning: what an emergency costs.
    TokensRevoked = "tokens-revoked", Permanent,
        "a leaked key was taken from the published keys, and the tokens that it signed are refused",
        "Tell those whose tokens these are to get new ones. Verifiers that cache the published keys accept the old tokens until `maxCache` is over.";
    // ---- certificates by ACME
    /// The account secret has never been rotated.
    AccountMissing = "account-missing", Permanent,
        "the account secret has no account key yet",
        "Rotate the account secret that the facts name with `aws secretsmanager rotate-secret`: its first rotation registers the account. Then rotate this secret.";
    /// The account secret is for another directory, or the deployer did not list one of the two.
    AccountNotAllowed = "account-not-allowed", Permanent,
        "the secret may not use this account or this directory",
        "Let `directory` be the same in this secret and in the account secret. Then add the account secret's ARN to the template's parameter AccountSecretArns (ACCOUNT_SECRET_ARNS), which allows no account while it is empty, and the directory to Directories (DIRECTORIES), if that is set.";
    /// The deployer's list does not have a name.
    NameNotAllowed = "name-not-allowed", Permanent,
        "the deployer does not allow certificates for this name",
        "Correct `names` in the secret, or add the domain to ALLOWED_DOMAINS (the template's parameter AllowedDomains).";
    /// The CA demands an external account binding.
    BindingRequired = "binding-required", Permanent,
        "the CA registers accounts only with an external account binding, and accepts none that the account secret has",
        "Get a key id and an HMAC key from the CA, and put them into `externalAccountBinding` of the account secret, as `keyId` and `hmacKey`.";
    /// The CA refuses names or the request for a certificate.
    OrderRefused = "order-refused", Permanent,
        "the CA does not issue a certificate for these names",
        "Compare `names` and `rotation.keyType` of the secret with what the CA issues for; the facts have the CA's error type.";
    /// The CA has no such profile.
    ProfileUnknown = "profile-unknown", Permanent,
        "the CA has no profile of this name",
        "Correct or remove `rotation.profile`; the directory's `meta` lists the CA's profiles.";
    /// The CA did not find, or not believe, the answer to its challenge.
    ValidationFailed = "validation-failed", Permanent,
        "the CA could not validate that the name is yours",
        "Look up the TXT record of `_acme-challenge.` and the name that the facts have from outside (`dig TXT`): the zone that answers must be the hosted zone that this function changes. CAs limit failed validations, so correct the zone before the next rotation.";
    /// A CAA record forbids it.
    CaaForbids = "caa-forbids", Permanent,
        "a CAA record of the domain does not let this CA issue",
        "Add the CA to the CAA records of the domain, or remove them (`dig CAA` shows them, also those of the parent domains).";
    /// The CA offers no way that this secret may go.
    ChallengeUnavailable = "challenge-unavailable", Permanent,
        "the CA offers no way of validation that the secret allows",
        "Set `rotation.challenge` to one that the CA offers: dns-01, dns-persist-01, or pre-approved where the CA needs no challenge.";
    /// No hosted zone holds the name.
    ZoneUnknown = "zone-unknown", Permanent,
        "no public hosted zone of Route 53 holds the name",
        "Name the zone in `rotation.hostedZoneId`. If the domain is elsewhere, let a CNAME at `_acme-challenge.` and the name point into a hosted zone, and put it into `rotation.delegations`.";
    /// Route 53 refuses a call.
    DnsRefused = "dns-refused", Permanent,
        "Route 53 refused the call",
        "Grant the action that the facts name to the function's role, and check the zone and its limits.";
    /// Route 53 does not answer in time, or throttles.
    DnsUnavailable = "dns-unavailable", Retryable,
        "Route 53 did not carry out the change within the step's time",
        "Nothing to do for one rotation: it is tried again. If it recurs, check the function's route to Route 53, and spread the schedules: Route 53 takes five calls a second from an account.";
    /// The CA issues later than the step can wait.
    OrderPending = "order-pending", Retryable,
        "the CA had not issued the certificate when the step's time was spent",
        "Nothing to do for one rotation: the next attempt goes on with the same order. If it recurs, raise the function's timeout.";
    /// A rate limit of the CA.
    CaRateLimited = "ca-rate-limited", Retryable,
        "the CA has issued, or refused, too many certificates for these names or this account lately",
        "Wait as long as the facts say, then rotate again. Find out what orders so often: the limits count failed validations and certificates for the same names.";
    /// Any other refusal of the CA.
    CaRefused = "ca-refused", Permanent,
        "the CA refused the request",
        "Look up the error type that the facts have in RFC 8555, section 6.7, and in the CA's documentation.";
    /// A certificate that no client would accept.
    CertificateUnusable = "certificate-unusable", Permanent,
        "the certificate of the version does not serve its names",
        "If the facts say that the issuer is unknown, put the CA's root into `rotation.roots`. Otherwise remove AWSPENDING from the version, and start a new rotation.";
    /// What `diagnose` says of a certificate that has not been renewed in time.
    CertificateExpires = "certificate-expires", Permanent,
        "the current certificate is valid, and should have been renewed by now",
        "Run `aws secretsmanager rotate-secret` for the secret, and do what the error says if that fails.";
    /// An endpoint serves something else.
    EndpointDiffers = "endpoint-differs", Permanent,
        "the endpoint does not serve a certificate of this secret",
        "Find out what answers at `rotation.endpoint`, and whether it reads this secret or the certificate in ACM.";
    /// A warning: the superseded certificate was to be revoked.
    CertificateNotRevoked = "certificate-not-revoked", Retryable,
        "the superseded certificate could not be revoked and is still valid",
        "A later rotation does not revoke it. If its key has leaked, revoke it by hand: docs/certificates.md, under \"A private key leaked\".";

    // ---- the function itself
    /// The step's time ran out between two calls.
    TimeSpent = "time-spent", Retryable,
        "the step's time was spent before its work was done",
        "Raise the function's timeout, or look at what was slow.";
    /// The OS did not give random bytes.
    EntropyUnavailable = "entropy-unavailable", Retryable,
        "the operating system gave no random bytes",
        "Nothing to do for one rotation: it is tried again.";
    /// A bug.
    Internal = "internal", Permanent,
        "the function has a bug",
        "Report it with this code and the log lines of the same request.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
