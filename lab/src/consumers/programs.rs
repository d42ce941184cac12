//! Applications in other languages, with the examples in `examples/consumers` and with AWS's own libraries, on the same secret and
//! through the same rotations. `lab/consumers` has what drives them.

use crate::lambda::REGION;
use crate::load::Engine;
use crate::provision::{node_applications, python_applications};
use crate::stack::Lab;
use serde::{Deserialize, Serialize};
use std::io::{Read as _, Seek as _, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Until the first query. Only what hangs should be cut off.
const START_LIMIT: Duration = Duration::from_secs(60);
/// For the last queries. Some of them wait for a password that works.
const END_LIMIT: Duration = Duration::from_secs(90);
/// How much of what a program has written is told if it ends early.
const TOLD: usize = 600;
/// What AWS's agent demands of whoever asks it.
const AGENT_TOKEN: &str = "lab";
/// How long AWS's agent keeps a value by default, in seconds.
const AGENT_TTL: u32 = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runtime {
    Python,
    Node,
}

/// A way to follow a rotation.
#[derive(Clone, Copy, Debug)]
struct Program {
    /// What the drivers in `lab/consumers` call it.
    client: &'static str,
    title: &'static str,
    runtime: Runtime,
    engines: &'static [Engine],
    /// It is one of the project's examples, so no query may fail.
    ours: bool,
}

const POSTGRES: &[Engine] = &[Engine::Postgres];
const MYSQL: &[Engine] = &[Engine::Mysql, Engine::Mariadb];
const DATABASES: &[Engine] = &[Engine::Postgres, Engine::Mysql, Engine::Mariadb];

const PROGRAMS: [Program; 9] = [
    ours("sqlalchemy", "Python, SQLAlchemy: the example", Runtime::Python, DATABASES),
    ours("psycopg", "Python, psycopg's pool: the example", Runtime::Python, POSTGRES),
    ours("pg", "Node, pg: the example", Runtime::Node, POSTGRES),
    ours("mysql2", "Node, mysql2: the example", Runtime::Node, MYSQL),
    others("aws-caching-python", "AWS's cache for Python, an hour (default)", Runtime::Python),
    others("aws-caching-python-1s", "AWS's cache for Python, a second", Runtime::Python),
    others("aws-advanced-python-wrapper", "AWS's advanced Python wrapper", Runtime::Python),
    others("powertools", "Powertools for TypeScript, 5 s (default)", Runtime::Node),
    others(AGENT, "AWS's agent, 300 s (default)", Runtime::Python),
];
const AGENT: &str = "aws-agent";

const fn ours(client: &'static str, title: &'static str, runtime: Runtime, engines: &'static [Engine]) -> Program {
    Program { client, title, runtime, engines, ours: true }
}

const fn others(client: &'static str, title: &'static str, runtime: Runtime) -> Program {
    Program { client, title, runtime, engines: POSTGRES, ours: false }
}

/// Where the programs are that applications run in.
#[derive(Clone, Debug)]
pub struct Runtimes {
    python: PathBuf,
    node: Option<PathBuf>,
    agent: Option<PathBuf>,
    others: bool,
}

impl Runtimes {
    /// Obtains them, for the examples alone. Without Node on this machine its examples are left out.
    ///
    /// # Errors
    /// What cannot be had on this machine, and what to install.
    pub fn obtain() -> Result<Self, crate::provision::Error> {
        Ok(Self { python: python_applications()?, node: node_applications()?, agent: None, others: false })
    }

    /// Also applications with AWS's libraries, and with its agent if the person has that: AWS publishes it as source.
    #[must_use]
    pub fn and_others(mut self, agent: Option<PathBuf>) -> Self {
        (self.others, self.agent) = (true, agent);
        self
    }

    /// Whether there is Node.
    #[must_use]
    pub fn has_node(&self) -> bool {
        self.node.is_some()
    }

    fn has(&self, program: Program) -> bool {
        let runs = program.runtime == Runtime::Python || self.node.is_some();
        runs && (program.ours || self.others) && (program.client != AGENT || self.agent.is_some())
    }
}

/// What one of these applications has seen.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramRow {
    /// The way to follow a rotation.
    pub program: &'static str,
    /// Whether it is an example of this project.
    pub ours: bool,
    /// What it counted.
    #[serde(flatten)]
    pub seen: ProgramSeen,
}

/// The counts of an application.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramSeen {
    /// Queries, those that failed among them.
    pub queries: usize,
    /// Queries that were not answered.
    pub failed: usize,
    /// How long the longest query took, in milliseconds, with all that it waited for.
    #[serde(rename(deserialize = "longestMs"))]
    pub longest_milliseconds: u64,
    /// The kind of the first failure.
    pub first: Option<String>,
}

/// The applications of one secret. They end when this is dropped.
pub(super) struct Applications {
    running: Vec<Running>,
    /// Read by the applications while they live.
    _files: Vec<NamedTempFile>,
    _agent: Option<Child>,
}

struct Running {
    program: Program,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    errors: std::fs::File,
}

impl Applications {
    /// Starts all that there are for this engine, and waits until each queries.
    pub(super) async fn start(
        runtimes: &Runtimes,
        engine: Engine,
        lab: &Lab,
        secret: &str,
        ca: &str,
    ) -> Result<Self, String> {
        let ca = written(ca, ".pem")?;
        let mut files = Vec::new();
        let (mut agent, mut agent_url) = (None, String::new());
        if let Some(program) = runtimes.agent.as_ref().filter(|_| POSTGRES.contains(&engine)) {
            let port = crate::port::Reserved::new().map_err(|error| error.to_string())?.number();
            let configuration = written(
                &format!(
                    "http_port = \"{port}\"\nttl_seconds = \"{AGENT_TTL}\"\nregion = \"{REGION}\"\nlog_to_file = false\nvalidate_credentials = false\n"
                ),
                ".toml",
            )?;
            let mut command = Command::new(program);
            aws(&mut command, lab).arg("--config").arg(configuration.path());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
            agent = Some(command.spawn().map_err(|error| format!("{} does not start: {error}", program.display()))?);
            listens(port).await.map_err(|()| format!("{} does not listen on its port", program.display()))?;
            agent_url = format!("http://localhost:{port}");
            files.push(configuration);
        }
        let mut running = Vec::new();
        let here = |program: &Program| program.engines.contains(&engine) && runtimes.has(*program);
        for program in PROGRAMS.into_iter().filter(here) {
            let mut command = program.command(runtimes);
            aws(&mut command, lab)
                .env("LOCKSTEP_SECRET", secret)
                .env("LOCKSTEP_CA", ca.path())
                .env("LOCKSTEP_AGENT", &agent_url);
            running.push(Running::start(program, command).await?);
        }
        files.push(ca);
        Ok(Self { running, _files: files, _agent: agent })
    }

    /// Lets each end its queries, and tells what all have seen.
    pub(super) async fn finish(self) -> Result<Vec<ProgramRow>, String> {
        let mut rows = Vec::new();
        for running in self.running {
            rows.push(running.finish().await?);
        }
        Ok(rows)
    }
}

async fn listens(port: u16) -> Result<(), ()> {
    let connect = async || tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok();
    let until = async {
        while !connect().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(START_LIMIT, until).await.map_err(drop)
}

fn written(text: &str, suffix: &str) -> Result<NamedTempFile, String> {
    let write = || {
        let mut file = tempfile::Builder::new().prefix("lockstep-lab-").suffix(suffix).tempfile()?;
        file.write_all(text.as_bytes())?;
        Ok(file)
    };
    write().map_err(|error: std::io::Error| format!("a file for the applications could not be written: {error}"))
}

fn aws<'a>(command: &'a mut Command, lab: &Lab) -> &'a mut Command {
    command
        .env("AWS_ENDPOINT_URL", lab.url())
        .env("AWS_DEFAULT_REGION", REGION)
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", "lab")
        .env("AWS_SECRET_ACCESS_KEY", "lab")
        .env("AWS_TOKEN", AGENT_TOKEN)
}

impl Program {
    fn command(self, runtimes: &Runtimes) -> Command {
        let drivers = Path::new(env!("CARGO_MANIFEST_DIR")).join("consumers");
        match self.runtime {
            Runtime::Python => {
                let mut command = Command::new(&runtimes.python);
                command.arg("-B").arg(drivers.join("drive.py")).arg(self.client);
                command
            }
            Runtime::Node => {
                let mut command = Command::new("node");
                command.arg(drivers.join("drive.mjs")).arg(self.client).args(&runtimes.node);
                command
            }
        }
    }
}

impl Running {
    async fn start(program: Program, mut command: Command) -> Result<Self, String> {
        let failed = |what: &str| format!("{}: {what}", program.title);
        let errors = tempfile::tempfile().map_err(|error| failed(&error.to_string()))?;
        let too = errors.try_clone().map_err(|error| failed(&error.to_string()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(too).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed(&format!("it does not start: {error}")))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("it has no input or output"));
        };
        let mut running = Self { program, child, input, output: BufReader::new(output).lines(), errors };
        match running.line(START_LIMIT).await {
            Some(line) if line == "ready" => Ok(running),
            _ => Err(running.told("it did not begin to query")),
        }
    }

    async fn finish(mut self) -> Result<ProgramRow, String> {
        let Self { program, .. } = self;
        // The end of its input is what it waits for.
        let input = self.input;
        drop(input);
        let line = timeout(END_LIMIT, self.output.next_line()).await;
        let _ = self.child.start_kill();
        let seen = line.ok().and_then(Result::ok).flatten().and_then(|line| serde_json::from_str(&line).ok());
        let Some(seen) = seen else {
            return Err(format!("{}: it ended without its counts{}", program.title, last(&mut self.errors)));
        };
        Ok(ProgramRow { program: program.title, ours: program.ours, seen })
    }

    async fn line(&mut self, limit: Duration) -> Option<String> {
        timeout(limit, self.output.next_line()).await.ok()?.ok()?
    }

    fn told(&mut self, what: &str) -> String {
        format!("{}: {what}{}", self.program.title, last(&mut self.errors))
    }
}

/// The end of what a program has written to its standard error. The lab's passwords are worth nothing.
fn last(errors: &mut std::fs::File) -> String {
    let mut text = String::new();
    if errors.rewind().and_then(|()| errors.read_to_string(&mut text)).is_err() || text.trim().is_empty() {
        return String::new();
    }
    let text = text.trim();
    let from = text.char_indices().rev().nth(TOLD).map_or(0, |(at, _)| at);
    format!(": {}", text.get(from..).unwrap_or(text))
}
