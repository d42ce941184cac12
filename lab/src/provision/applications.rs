//! What applications in Python and Node need, for `cargo lab consumers --programs`.

use super::command::run;
use super::python::{DOWNLOAD_LIMIT, START_LIMIT, make_environment, pip};
use super::store::{Item, Store};
use super::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The versions that were compared.
const PYTHON: [&str; 7] = [
    "boto3==1.43.11",
    "psycopg[binary]==3.3.9",
    "psycopg_pool==3.3.3",
    "sqlalchemy==2.1.9",
    "pymysql==1.2.4",
    "aws-secretsmanager-caching==1.2.0",
    "aws-advanced-python-wrapper==3.1.0",
];
const NODE: [&str; 4] = [
    "@aws-sdk/client-secrets-manager@3.1164.0",
    "pg@8.23.1",
    "mysql2@3.24.6",
    "@aws-lambda-powertools/parameters@2.35.0",
];

/// A Python program with drivers, pools, and AWS's libraries for secrets.
///
/// # Errors
/// As for [`python`](super::python()).
pub(crate) fn python_applications() -> Result<PathBuf> {
    let recipe = PYTHON.join(" ");
    let item = Item {
        name: "applications-python",
        title: "drivers and pools for Python, and AWS's libraries",
        recipe: &recipe,
        product: "bin/python",
    };
    let directory = Store::of_this_build().obtain(&item, |directory| {
        make_environment(directory)?;
        run(pip(directory).arg("install").args(PYTHON), DOWNLOAD_LIMIT)?;
        let check =
            ["-c", "import sqlalchemy, psycopg_pool, pymysql, aws_secretsmanager_caching, aws_advanced_python_wrapper"];
        run(Command::new(directory.join("bin/python")).args(check), START_LIMIT).map(drop)
    })?;
    Ok(directory.join("bin/python"))
}

/// A directory with the examples for Node and what they and AWS's library need. Node and npm are the machine's own; `None` if it
/// has none.
///
/// # Errors
/// [`Error::Command`] if a download failed.
pub(crate) fn node_applications() -> Result<Option<PathBuf>> {
    let is_here = |program: &&str| run(Command::new(program).arg("--version"), START_LIMIT).is_ok();
    if !["node", "npm"].iter().all(is_here) {
        return Ok(None);
    }
    let recipe = NODE.join(" ");
    let item = Item {
        name: "applications-node",
        title: "drivers and pools for Node, and AWS's library",
        recipe: &recipe,
        product: "node_modules/pg/package.json",
    };
    let directory = Store::of_this_build().obtain(&item, |directory| {
        fs::write(directory.join("package.json"), "{\"private\": true, \"type\": \"module\"}\n")
            .map_err(Error::io("write", directory))?;
        let mut npm = Command::new("npm");
        npm.current_dir(directory).args(["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts"]);
        run(npm.args(NODE), DOWNLOAD_LIMIT).map(drop)
    })?;
    // They find their packages from where they lie, so they lie there.
    copy_examples(&directory)?;
    Ok(Some(directory))
}

fn copy_examples(directory: &Path) -> Result<()> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/consumers/node");
    for name in ["rotating-secret.mjs", "with-pg.mjs", "with-mysql2.mjs"] {
        let from = examples.join(name);
        fs::copy(&from, directory.join(name)).map_err(Error::io("copy", &from))?;
    }
    Ok(())
}
