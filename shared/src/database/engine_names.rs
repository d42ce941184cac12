//! The names of engines that people know.

/// The engines that an error may name: those of RDS (CreateDBInstance, `Engine`) and of AWS's rotation functions, and how people call
/// them.
const ENGINES: &[&str] = &[
    "aurora",
    "aurora-mysql",
    "aurora-postgres",
    "aurora-postgresql",
    "custom-oracle-ee",
    "custom-oracle-ee-cdb",
    "custom-oracle-se2",
    "custom-oracle-se2-cdb",
    "custom-sqlserver-ee",
    "custom-sqlserver-se",
    "custom-sqlserver-web",
    "db2",
    "db2-ae",
    "db2-se",
    "docdb",
    "documentdb",
    "mariadb",
    "mongo",
    "mongodb",
    "mysql",
    "neptune",
    "oracle",
    "oracle-ee",
    "oracle-ee-cdb",
    "oracle-se2",
    "oracle-se2-cdb",
    "postgres",
    "postgresql",
    "redshift",
    "sqlserver",
    "sqlserver-ee",
    "sqlserver-ex",
    "sqlserver-se",
    "sqlserver-web",
];

/// Whether an error may repeat a value of `engine`. Any other text may have been meant for another field, such as the password.
pub(crate) fn is_an_engine(text: &str) -> bool {
    ENGINES.iter().any(|engine| engine.eq_ignore_ascii_case(text))
}
