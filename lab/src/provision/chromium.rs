//! Chromium, in which the tests look at pages.

use super::apt::Unpacked;
use super::command::run;
use super::store::{Item, Store};
use super::{Error, Result, own_program};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SUITE: &str = "bookworm";
const VERSION_LIMIT: Duration = Duration::from_secs(30);
const PROGRAM: &str = "usr/lib/chromium/chromium";
const INSTALLED: &str = "/usr/bin/chromium";
/// What fontconfig is told where it has no configuration of the machine.
const FONTS: &str = "fonts.conf";

/// Chromium's program, and the variables that it needs.
#[derive(Clone, Debug)]
pub struct Chromium {
    /// The program.
    pub program: PathBuf,
    /// Environment variables.
    pub variables: Vec<(&'static str, PathBuf)>,
}

/// Chromium: the person's own, the machine's, or one that is obtained from Debian.
///
/// # Errors
/// [`Error::Unavailable`] if the variable names none that can be used, or the machine is not one that Debian's packages run on;
/// [`Error::Command`] if a download failed.
pub fn chromium() -> Result<Chromium> {
    let plain = |program| Chromium { program, variables: Vec::new() };
    if let Some(program) = own_program("LOCKSTEP_CHROMIUM")? {
        return Ok(plain(program));
    }
    let installed = PathBuf::from(INSTALLED);
    if installed.is_file() { Ok(plain(installed)) } else { obtain(&Store::of_this_build()) }
}

fn obtain(store: &Store) -> Result<Chromium> {
    let item = Item {
        name: "chromium",
        title: "Chromium",
        recipe: &format!("chromium chromium-common fonts-dejavu-core of {SUITE} 2"),
        product: PROGRAM,
    };
    let directory = store.obtain(&item, |directory| {
        let packages = ["chromium", "chromium-common", "fonts-dejavu-core"].map(str::to_owned);
        let remedy = "Install Chromium, or set LOCKSTEP_CHROMIUM to its program";
        let unpacked = Unpacked::new(directory, SUITE, &packages, remedy)?;
        unpacked.bind(&directory.join(PROGRAM))?;
        unpacked.bind_libraries()?;
        let fonts = directory.join(FONTS);
        let found = directory.join("usr/share/fonts");
        let configuration = format!(
            "<?xml version=\"1.0\"?><!DOCTYPE fontconfig SYSTEM \"fonts.dtd\"><fontconfig><dir>{}</dir></fontconfig>",
            found.display()
        );
        fs::write(&fonts, configuration).map_err(Error::io("write", &fonts))?;
        let Chromium { program, variables } = obtained(directory);
        run(Command::new(program).arg("--version").envs(variables), VERSION_LIMIT).map(drop)
    })?;
    Ok(obtained(&directory))
}

fn obtained(directory: &Path) -> Chromium {
    let (program, fonts) = (directory.join(PROGRAM), directory.join(FONTS));
    Chromium { program, variables: vec![("FONTCONFIG_FILE", fonts)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Obtains it even where the machine has one: a machine that has none is the one that needs it.
    #[test]
    fn it_can_be_obtained() {
        let Chromium { program, variables } = obtain(&Store::of_this_build()).unwrap();
        let page = "data:text/html,<p>Hello</p><script>document.title = 'It runs'</script>";
        let mut browser = Command::new(program);
        browser.envs(variables).args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page]);
        let said = run(&mut browser, Duration::from_secs(60)).unwrap();
        assert!(said.contains("It runs"), "{said}");
    }
}
