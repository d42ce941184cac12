//! A Lambda host: runs unmodified function binaries over the [Lambda Runtime API] (2018-06-01).
//!
//! Each *execution environment* is one child process with its own Runtime API on a loopback port. An environment
//! serves one invocation at a time and is used again while it lives; invocations at the same time get an environment
//! each. Time-outs, crashes and failed initialisation end as they do on AWS, in the same error objects.
//!
//! What it does not do: freeze an environment between invocations, limit memory, or retry asynchronous invocations.
//!
//! [Lambda Runtime API]: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html

mod elsewhere;
mod environment;
mod follow;
mod host;
mod log;
mod outcome;
mod runtime_api;
mod steps;

pub use follow::Follower;
pub use host::Host;
pub use outcome::{Outcome, StepError, UnknownFunction};
pub use steps::{StepEvent, StepReport, Steps};

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The region that the lab pretends to be in.
pub const REGION: &str = "us-east-1";

/// The account that the lab pretends to be: AWS's documentation's own example.
pub const ACCOUNT: &str = "123456789012";

/// The access key ids of execution environments begin with this, so that the endpoint recognises their calls.
pub const ACCESS_KEY_PREFIX: &str = "ASIALOCKSTEP";

/// The largest request or response of a synchronous invocation: 6 MB and a little, as on AWS.
pub const PAYLOAD_LIMIT: usize = 6_291_556;

/// A function to deploy: what CreateFunction would be told.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name, the last part of its ARN.
    pub name: String,
    /// The executable, i.e. the `bootstrap` of a deployment package.
    pub binary: PathBuf,
    /// Its arguments, e.g. `-m awslambdaric app.handler`. The last one is the function's handler.
    pub arguments: Vec<String>,
    /// Where it runs; in the directory of its executable unless given.
    pub directory: Option<PathBuf>,
    /// Where it runs instead: the URL of another Lambda endpoint, which knows it by its name. The binary, its environment and its
    /// times then mean nothing here.
    pub elsewhere: Option<String>,
    /// Environment variables; they win over the ones that the host sets.
    pub environment: Vec<(String, String)>,
    /// How long an invocation may take. AWS's default is 3 s, its limit 15 min.
    pub timeout: Duration,
    /// For how much longer than that it may take. AWS gives it nothing; where it has to end by itself, a machine with other
    /// work to do would sometimes end it first.
    pub overtime: Duration,
    /// How long an environment may take to start before it is started again within the invocation's own time.
    pub init_timeout: Duration,
    /// Told to the function, not enforced.
    pub memory_mb: u32,
}

impl Function {
    /// A function with AWS's defaults: 3 s, 128 MB, and 10 s to initialise.
    pub fn new(name: impl Into<String>, binary: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            binary: binary.into(),
            arguments: Vec::new(),
            directory: None,
            elsewhere: None,
            environment: Vec::new(),
            timeout: Duration::from_secs(3),
            overtime: Duration::ZERO,
            init_timeout: Duration::from_secs(10),
            memory_mb: 128,
        }
    }

    /// The handler that Lambda tells the function in `_HANDLER`: its last argument. Binaries are told `bootstrap`.
    pub fn handler(&self) -> &str {
        self.arguments.last().map_or("bootstrap", String::as_str)
    }

    /// The directory that it runs in.
    pub(crate) fn root(&self) -> &Path {
        let beside = || self.binary.parent().filter(|path| !path.as_os_str().is_empty());
        self.directory.as_deref().or_else(beside).unwrap_or(Path::new("."))
    }

    /// Its ARN in the lab's region and account.
    pub fn arn(&self) -> String {
        format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", self.name)
    }
}
