//! Functions that are not Lockstep's: any program that speaks the Lambda Runtime API, attached with `--function NAME=COMMAND`.

use super::stop::Stop;
use crate::Lab;
use crate::stack::Builder;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;

/// How long an invocation may take: as long as the template gives the functions of this project.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The longest name of a function that Lambda takes (API reference, CreateFunction).
const LONGEST_NAME: usize = 64;

/// Where systems keep the CAs that they trust.
const SYSTEM_CAS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What `--function` of `serve` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FunctionArgument {
    /// `PATH`: a binary of one of Lockstep's functions.
    Binary(PathBuf),
    /// `NAME=COMMAND`: another function.
    Attached(Attached),
}

/// A function that is not Lockstep's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) name: String,
    program: String,
    arguments: Vec<String>,
}

impl FunctionArgument {
    /// A text is `NAME=COMMAND` if what is before the first `=` can be the name of a function, and a path otherwise.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, command)) if is_name(name) => Attached::parse(name, command).map(Self::Attached),
            _ => Ok(Self::Binary(text.into())),
        }
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    (1..=LONGEST_NAME).contains(&text.len()) && text.chars().all(allowed)
}

impl Attached {
    fn parse(name: &str, command: &str) -> Result<Self, String> {
        let words = shlex::split(command).ok_or("COMMAND ends within quotes, or with a backslash")?;
        let mut words = words.into_iter();
        let program = words.next().ok_or("COMMAND is empty")?;
        Ok(Self { name: name.to_owned(), program, arguments: words.collect() })
    }

    /// The program of its command, as a shell would find it.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn program(&self) -> Result<PathBuf, Stop> {
        let Self { name, program, .. } = self;
        find(program).ok_or_else(|| {
            Stop::Setup(format!("--function {name}: {program} is no program in this directory, or on PATH"))
        })
    }

    /// The function as a lab deploys it. It has what an environment of Lambda has, and besides the person's `PATH`, the lab's address
    /// for every AWS SDK, and trust in the lab's servers.
    ///
    /// # Errors
    /// There is no current directory.
    pub(super) fn builder(&self, program: PathBuf, url: &str, trust: &Trust) -> Result<Builder, Stop> {
        let directory = std::env::current_dir()
            .map_err(|error| Stop::Setup(format!("--function {}: this directory: {error}", self.name)))?;
        let mut builder = Lab::builder(program)
            .name(&self.name)
            .arguments(self.arguments.iter().cloned())
            .directory(directory)
            .timeout(TIMEOUT)
            .env("PATH", std::env::var("PATH").unwrap_or_default());
        for variable in ["AWS_ENDPOINT_URL", "SECRETS_MANAGER_ENDPOINT"] {
            // The second one is what AWS's own rotation functions read.
            builder = builder.env(variable, url);
        }
        for variable in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"] {
            builder = builder.env(variable, trust.everything.path().display().to_string());
        }
        for variable in ["PGSSLROOTCERT", "NODE_EXTRA_CA_CERTS"] {
            builder = builder.env(variable, trust.lab.path().display().to_string());
        }
        Ok(builder)
    }
}

/// The program as a shell would find it, as a path that holds in every directory. Links are kept: a Python in a virtual
/// environment knows by its link where it is.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates: Vec<_> = if program.contains('/') {
        vec![PathBuf::from(program)]
    } else {
        std::env::split_paths(&path).map(|directory| directory.join(program)).collect()
    };
    let found = candidates.into_iter().find(|candidate| is_executable(candidate))?;
    std::path::absolute(found).ok()
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The CAs of the lab's servers in files. Dropping it removes the files.
pub(super) struct Trust {
    /// These alone.
    pub(super) lab: NamedTempFile,
    /// These, and what the system trusts: OpenSSL reads one file.
    everything: NamedTempFile,
}

impl Trust {
    /// Writes the files.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn new(cas: &str) -> Result<Self, Stop> {
        let own = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let system = own.into_iter().chain(SYSTEM_CAS.map(PathBuf::from)).find_map(|path| std::fs::read(path).ok());
        let everything = [system.unwrap_or_default(), cas.as_bytes().to_vec()].join(&b'\n');
        let written = || Ok(Self { lab: file("ca", cas.as_bytes())?, everything: file("trust", &everything)? });
        written()
            .map_err(|error: std::io::Error| Stop::Setup(format!("the CA could not be written to a file: {error}")))
    }
}

fn file(name: &str, content: &[u8]) -> std::io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(&format!("lockstep-lab-{name}-")).suffix(".pem").tempfile()?;
    file.write_all(content)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_as_by_a_shell_and_anything_else_is_a_path() {
        let attached = |text: &str| match FunctionArgument::parse(text) {
            Ok(FunctionArgument::Attached(Attached { name, program, arguments })) => {
                Some([vec![name, program], arguments].concat())
            }
            _ => None,
        };
        for (text, words) in [
            ("mine=./bootstrap", &["mine", "./bootstrap"][..]),
            ("my-1_a=python3 -m awslambdaric app.handler", &["my-1_a", "python3", "-m", "awslambdaric", "app.handler"]),
            ("a=env 'NAME=a b' \"c d\" e\\ f", &["a", "env", "NAME=a b", "c d", "e f"]),
        ] {
            assert_eq!(attached(text).unwrap(), words, "{text}");
        }
        for path in ["target/debug/lockstep-postgres", "./a=b", "dir/a=b", "=b", &format!("{}=b", "a".repeat(65))] {
            assert_eq!(FunctionArgument::parse(path), Ok(FunctionArgument::Binary(path.into())));
        }
        for wrong in ["a=", "a=  ", "a='b", "a=b \\"] {
            assert!(FunctionArgument::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_program_is_found_as_by_a_shell() {
        assert!(find("sh").unwrap().is_absolute());
        assert_eq!(find("/bin/sh"), Some("/bin/sh".into()));
        for missing in ["no-such-program", "/nonexistent/program", "/etc/passwd", "/etc"] {
            assert_eq!(find(missing), None, "{missing}");
        }
    }
}
