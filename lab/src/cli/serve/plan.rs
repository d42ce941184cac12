//! The options of `cargo lab serve`, and what they ask for.

use super::elsewhere::Elsewhere;
use crate::cli::attached::{Attached, FunctionArgument};
use crate::cli::options::{MariaDbVersion, PostgresVersion, WhichProfile};
use crate::cli::target::{Engine, Function, Kind, Strategy, Target};
use crate::cli::{certificate, issued_key, signing_key};
use clap::Args;

/// The options of the command.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Serve {
    /// The port to serve AWS on.
    #[arg(long, default_value_t = 4566)]
    port: u16,
    /// What to serve a secret of, each with a throwaway server: names with commas between them, or several times --with
    /// [default: postgres; nothing if --function attaches a function].
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',', conflicts_with_all = ["engine", "strategy"])]
    with: Vec<Kind>,
    /// As --with, for one database whose --strategy is chosen.
    #[arg(long, value_enum)]
    engine: Option<Engine>,
    /// The strategy of the rotation [default: single-user, or dual-password for mysql]. With --engine, or
    /// for postgres without it.
    #[arg(long, value_enum)]
    strategy: Option<Strategy>,
    #[command(flatten)]
    postgres: PostgresVersion,
    #[command(flatten)]
    mariadb: MariaDbVersion,
    /// NAME=COMMAND attaches a function that is not Lockstep's: COMMAND is a program that speaks the Lambda Runtime API, with its
    /// arguments, quoted as in a shell. The last argument is the handler. It may be given several times. PATH, without NAME=, is the
    /// binary of Lockstep's function that is to be used instead of building it.
    #[arg(long, value_name = "NAME=COMMAND|PATH", value_parser = FunctionArgument::parse)]
    function: Vec<FunctionArgument>,
    #[command(flatten)]
    profile: WhichProfile,
    #[command(flatten)]
    elsewhere: Elsewhere,
}

/// What is to be served.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) port: u16,
    pub(super) databases: Vec<Target>,
    pub(super) api_key: bool,
    pub(super) signing_key: bool,
    pub(super) tls: bool,
    /// Which binary Lockstep's functions have.
    pub(super) function: Function,
    pub(super) attached: Vec<Attached>,
    /// All of these, in the order in which they were asked for.
    pub(super) kinds: Vec<Kind>,
    /// Where Lockstep's functions run.
    pub(super) elsewhere: Elsewhere,
}

impl Serve {
    /// What the options ask for, or why they do not fit together.
    pub(super) fn plan(&self) -> Result<Plan, String> {
        let attached = self.attached()?;
        let kinds = self.kinds(!attached.is_empty())?;
        let has = |engine: Engine| kinds.contains(&engine.into());
        if self.postgres.postgres.is_some() && !has(Engine::Postgres) {
            return Err("--postgres is the version of a PostgreSQL server: serve one, too (--with postgres)".to_owned());
        }
        if self.mariadb.mariadb.is_some() && !has(Engine::Mariadb) {
            return Err("--mariadb is the version of a MariaDB server: serve one, too (--with mariadb)".to_owned());
        }
        let function = self.binary(&kinds)?;
        let target = |engine: Engine| Target {
            postgres: self.postgres.postgres,
            mariadb: self.mariadb.mariadb,
            ..Target::new(engine, self.strategy.unwrap_or_else(|| engine.default_strategy()), function.clone())
        };
        let databases = kinds.iter().filter_map(|kind| kind.engine()).map(target).collect();
        let asked = |kind| kinds.contains(&kind);
        let (api_key, signing_key, tls) = (asked(Kind::ApiKey), asked(Kind::SigningKey), asked(Kind::Tls));
        let elsewhere = self.elsewhere.clone();
        if elsewhere.is_meant() && (signing_key || tls) {
            return Err(
                "signing-key and tls are for functions on this machine alone: S3, the CA and Route 53 are not for \
                        containers"
                    .to_owned(),
            );
        }
        let plan = Plan { port: self.port, databases, api_key, signing_key, tls, function, attached, kinds, elsewhere };
        match plan.attached.iter().find(|attached| plan.packages().contains(&attached.name.as_str())) {
            Some(Attached { name, .. }) => {
                Err(format!("--function {name}=…: this name is that of Lockstep's own function"))
            }
            None => Ok(plan),
        }
    }

    /// What to serve, each once.
    fn kinds(&self, attaches: bool) -> Result<Vec<Kind>, String> {
        let mut kinds = Vec::new();
        for kind in &self.with {
            if !kinds.contains(kind) {
                kinds.push(*kind);
            }
        }
        let engine = self.engine.or(self.strategy.map(|_| Engine::Postgres));
        if let (Some(engine), Some(Strategy::DualPassword)) = (engine, self.strategy)
            && engine != Engine::Mysql
        {
            let reason =
                "--strategy dual-password is for --engine mysql alone: no other server keeps a second password";
            return Err(reason.to_owned());
        }
        kinds.extend(engine.map(Kind::from));
        if kinds.is_empty() && !attaches {
            kinds.push(Kind::Postgres);
        }
        Ok(kinds)
    }

    fn attached(&self) -> Result<Vec<Attached>, String> {
        let mut all: Vec<Attached> = Vec::new();
        for argument in &self.function {
            if let FunctionArgument::Attached(attached) = argument {
                if all.iter().any(|earlier| earlier.name == attached.name) {
                    return Err(format!("--function {}=… is given twice", attached.name));
                }
                all.push(attached.clone());
            }
        }
        Ok(all)
    }

    /// Which binary the functions of these kinds have.
    fn binary(&self, kinds: &[Kind]) -> Result<Function, String> {
        let mut paths = self.function.iter().filter_map(|argument| match argument {
            FunctionArgument::Binary(path) => Some(path),
            FunctionArgument::Attached(_) => None,
        });
        let Some(path) = paths.next() else { return Ok(Function::Built(self.profile.into())) };
        if self.profile.release {
            return Err("--function PATH is used as it is, and --release builds: choose one of them".to_owned());
        }
        let packages = packages(kinds.iter().copied());
        if paths.next().is_some() || packages.len() != 1 {
            return Err(format!(
                "--function PATH is the binary of one function, and this needs {}. To use several, name their directory \
                 in LOCKSTEP_FUNCTIONS. To attach a program of your own, give it a name: --function NAME=COMMAND, of \
                 letters, digits, - and _",
                if packages.is_empty() { "none".to_owned() } else { packages.join(" and ") }
            ));
        }
        Ok(Function::Own(path.clone()))
    }
}

impl Plan {
    /// The packages of Lockstep's functions that it needs.
    pub(super) fn packages(&self) -> Vec<&'static str> {
        let databases = self.databases.iter().map(|target| Kind::from(target.engine));
        let others = [(self.api_key, Kind::ApiKey), (self.signing_key, Kind::SigningKey), (self.tls, Kind::Tls)];
        packages(databases.chain(others.into_iter().filter_map(|(asked, kind)| asked.then_some(kind))))
    }
}

/// The packages of the functions that rotate these, each once.
fn packages(kinds: impl Iterator<Item = Kind>) -> Vec<&'static str> {
    let mut packages = Vec::new();
    for kind in kinds {
        let package = match kind {
            Kind::Postgres => Engine::Postgres.function(),
            Kind::Mysql => Engine::Mysql.function(),
            Kind::Mariadb => Engine::Mariadb.function(),
            Kind::ApiKey => issued_key::PACKAGE,
            Kind::SigningKey => signing_key::PACKAGE,
            Kind::Tls => certificate::PACKAGE,
        };
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        serve: Serve,
    }

    fn plan(line: &str) -> Result<Plan, String> {
        let words = shlex::split(&format!("serve {line}")).unwrap();
        Line::try_parse_from(words).map_err(|error| error.to_string())?.serve.plan()
    }

    /// The servers with their strategies, the issuer, and the attached functions.
    fn served(line: &str) -> String {
        let plan = plan(line).unwrap();
        let databases = plan.databases.iter().map(|target| format!("{} {}", target.engine.name(), target.strategy));
        let others = [(plan.api_key, "api-key"), (plan.signing_key, "signing-key"), (plan.tls, "tls")];
        let others = others.into_iter().filter(|(asked, _)| *asked).map(|(_, name)| name.to_owned());
        let attached = plan.attached.iter().map(|attached| attached.name.clone());
        databases.chain(others).chain(attached).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_options_say_what_is_served() {
        for (line, expected) in [
            ("", "postgres single-user"),
            ("--engine mariadb", "mariadb single-user"),
            ("--engine mysql", "mysql dual-password"),
            ("--strategy alternating-users", "postgres alternating-users"),
            ("--with postgres,mysql,api-key", "postgres single-user, mysql dual-password, api-key"),
            ("--with mariadb --with mysql,mariadb", "mariadb single-user, mysql dual-password"),
            ("--with api-key", "api-key"),
            ("--with tls,signing-key", "signing-key, tls"),
            ("--function a=./a --function b='./b c'", "a, b"),
            ("--with mysql --function a=./a", "mysql dual-password, a"),
            ("--engine mysql --function a=./a", "mysql dual-password, a"),
            ("--with mysql,mariadb --function ./lockstep-mysql", "mysql dual-password, mariadb single-user"),
        ] {
            assert_eq!(served(line), expected, "{line}");
        }
    }

    #[test]
    fn options_that_do_not_fit_together_are_refused_with_what_to_do() {
        for (line, says) in [
            ("--with oracle", "[possible values: postgres, mysql, mariadb, api-key, signing-key, tls]"),
            ("--with tls --for-containers=172.17.0.1", "on this machine alone"),
            ("--with mysql --engine mysql", "cannot be used with '--engine"),
            ("--with mysql --strategy single-user", "cannot be used with '--strategy"),
            ("--engine mariadb --strategy dual-password", "--engine mysql alone"),
            ("--strategy dual-password", "--engine mysql alone"),
            ("--with mysql --postgres 18", "--with postgres"),
            ("--function a=./a --postgres 18", "--with postgres"),
            ("--with mysql --mariadb 10.5", "--with mariadb"),
            ("--with postgres,mysql --function ./f", "lockstep-postgres and lockstep-mysql"),
            ("--function ./f --function ./g", "LOCKSTEP_FUNCTIONS"),
            ("--function my.own=./f --function a=./a", "--function NAME=COMMAND"),
            ("--function ./f --release", "--release"),
            ("--function a=./a --function a=./b", "given twice"),
            ("--with mysql --function lockstep-mysql=./a", "Lockstep's own function"),
            ("--function 'a='", "COMMAND is empty"),
        ] {
            let reason = plan(line).expect_err(line);
            assert!(reason.contains(says), "{line}: {reason}");
        }
    }
}
