//! Libraries that sign and verify tokens, which others wrote: PyJWT for Python and jose for Node.

use super::command::run;
use super::python::{DOWNLOAD_LIMIT, START_LIMIT, make_environment, pip};
use super::store::{Item, Store};
use super::{Error, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const PYTHON: &str = "pyjwt[crypto]==2.15.1";
const NODE: &str = "jose@6.2.18";

/// A Python program that has PyJWT.
///
/// # Errors
/// As for [`python`](super::python()).
pub fn python_verifier() -> Result<PathBuf> {
    let item = Item { name: "verifier-python", title: "PyJWT", recipe: PYTHON, product: "bin/python" };
    let directory = Store::of_this_build().obtain(&item, |directory| {
        make_environment(directory)?;
        run(pip(directory).args(["install", PYTHON]), DOWNLOAD_LIMIT)?;
        let check = ["-c", "import jwt, jwt.algorithms; assert jwt.algorithms.has_crypto"];
        run(Command::new(directory.join("bin/python")).args(check), START_LIMIT).map(drop)
    })?;
    Ok(directory.join(item.product))
}

/// A directory that Node finds jose from. Node and npm are the machine's own; `None` if it has none.
///
/// # Errors
/// [`Error::Command`] if a download failed.
pub fn node_verifier() -> Result<Option<PathBuf>> {
    let is_here = |program: &&str| run(Command::new(program).arg("--version"), START_LIMIT).is_ok();
    if !["node", "npm"].iter().all(is_here) {
        return Ok(None);
    }
    let product = "node_modules/jose/package.json";
    let item = Item { name: "verifier-node", title: "jose for Node", recipe: NODE, product };
    let directory = Store::of_this_build().obtain(&item, |directory| {
        fs::write(directory.join("package.json"), "{\"private\": true, \"type\": \"module\"}\n")
            .map_err(Error::io("write", directory))?;
        let mut npm = Command::new("npm");
        npm.current_dir(directory).args(["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", NODE]);
        run(&mut npm, DOWNLOAD_LIMIT).map(drop)
    })?;
    Ok(Some(directory))
}
