//! Debian's packages, unpacked into a directory of the project.
//!
//! A private apt state (sources, lists, an empty status file) makes `apt-get` resolve packages of another release than
//! the machine's, without root and without a trace in the system. The programs come with their own C library, and
//! [`Unpacked::bind`] makes them use it, so it does not matter which one the machine has.

use super::command::{progress, run};
use super::store::{create_public, remove};
use super::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

mod sources;

/// Enough for a slow line. apt's own time-outs notice a download that hangs.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(900);
const LOCAL_LIMIT: Duration = Duration::from_secs(120);

/// A directory with unpacked packages.
pub(super) struct Unpacked {
    root: PathBuf,
    loader: PathBuf,
    /// What programs need as their library path.
    libraries: String,
}

impl Unpacked {
    /// Fills `root` with `packages` of Debian's release `suite` and the libraries that they need.
    ///
    /// `remedy` is what to tell on a machine where this cannot work.
    pub(super) fn new(root: &Path, suite: &str, packages: &[String], remedy: &str) -> Result<Self> {
        let unavailable =
            |found: String| Error::Unavailable { what: packages.join(", "), found, remedy: remedy.to_owned() };
        let triplet = match std::env::consts::ARCH {
            architecture @ ("x86_64" | "aarch64") => format!("{architecture}-linux-gnu"),
            other => return Err(unavailable(format!("it is not obtained for {other}"))),
        };
        let architecture = run(Command::new("dpkg").arg("--print-architecture"), LOCAL_LIMIT)
            .map_err(|_| unavailable("this machine has no apt and dpkg to obtain it with".to_owned()))?;
        let mirrors = sources::of_this_machine();
        if mirrors.is_empty() {
            return Err(unavailable("apt's sources name no mirror of Debian".to_owned()));
        }
        let work = root.join("work");
        let apt = Apt::new(&work)?;
        apt.update(&mirrors, suite, architecture.trim())?;
        let wanted: Vec<&str> = packages.iter().map(String::as_str).chain(["patchelf"]).collect();
        apt.unpack(&wanted, root)?;
        remove(&work)?;
        Self::find(root, &triplet)
    }

    fn find(root: &Path, triplet: &str) -> Result<Self> {
        // Both: bookworm's libc still lies in /lib.
        let directories = [root.join("usr/lib").join(triplet), root.join("lib").join(triplet)];
        let loader = directories.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
        let loader = loader
            .map(|entry| entry.path())
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-linux-")));
        let loader = loader.ok_or_else(|| Error::Unavailable {
            what: "the loader of Debian's C library".to_owned(),
            found: format!("libc6 has none in {}", root.display()),
            remedy: "This is a bug of the lab".to_owned(),
        })?;
        let libraries = directories.map(|directory| directory.display().to_string()).join(":");
        Ok(Self { root: root.to_owned(), loader, libraries })
    }

    /// Makes `program` use the unpacked loader and libraries wherever it is started from.
    ///
    /// The path is set as RPATH and not RUNPATH: that one also holds for the libraries' own dependencies and for modules
    /// loaded later, so only programs have to be changed.
    pub(super) fn bind(&self, program: &Path) -> Result<()> {
        let mut patchelf = self.patchelf();
        patchelf.arg("--set-interpreter").arg(&self.loader);
        patchelf.args(["--force-rpath", "--set-rpath", &self.libraries]).arg(program);
        run(&mut patchelf, LOCAL_LIMIT).map(drop)
    }

    /// Makes libraries that name a directory of the system for their own dependencies look into the unpacked one.
    ///
    /// Such a library ignores the path of the program that loads it. libpulse finds libpulsecommon in this way.
    pub(super) fn bind_libraries(&self) -> Result<()> {
        for directory in self.libraries.split(':').map(Path::new).filter(|directory| directory.is_dir()) {
            for entry in fs::read_dir(directory).map_err(Error::io("list", directory))? {
                let entry = entry.map_err(Error::io("list", directory))?;
                let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
                if !is_file || !entry.file_name().to_string_lossy().contains(".so") {
                    continue;
                }
                // What is no ELF file, such as a linker script, has no path.
                let Ok(named) = run(self.patchelf().arg("--print-rpath").arg(entry.path()), LOCAL_LIMIT) else {
                    continue;
                };
                if let Some(paths) = within(&self.root, named.trim()) {
                    let paths = format!("{paths}:{}", self.libraries);
                    let mut patchelf = self.patchelf();
                    patchelf.args(["--force-rpath", "--set-rpath", &paths]).arg(entry.path());
                    run(&mut patchelf, LOCAL_LIMIT)?;
                }
            }
        }
        Ok(())
    }

    fn patchelf(&self) -> Command {
        let mut patchelf = Command::new(&self.loader);
        patchelf.args(["--library-path", &self.libraries]).arg(self.root.join("usr/bin/patchelf"));
        patchelf
    }
}

/// A library's search path with the directories of the system moved below `root`; none if it names none of them.
fn within(root: &Path, path: &str) -> Option<String> {
    let moved = |one: &str| one.strip_prefix('/').map(|one| root.join(one).display().to_string());
    let any = path.split(':').any(|one| moved(one).is_some());
    let all = path.split(':').map(|one| moved(one).unwrap_or_else(|| one.to_owned()));
    any.then(|| all.collect::<Vec<_>>().join(":"))
}

/// A private apt state in a directory.
struct Apt {
    directory: PathBuf,
}

impl Apt {
    fn new(directory: &Path) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial", "packages"] {
            create_public(&directory.join(part))?;
        }
        let apt = Self { directory: directory.to_owned() };
        apt.write("status", "")?;
        apt.write("apt.conf", &configuration(directory))?;
        Ok(apt)
    }

    fn write(&self, name: &str, content: &str) -> Result<()> {
        let path = self.directory.join(name);
        fs::write(&path, content).map_err(Error::io("write", &path))
    }

    fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        // Not APT_CONFIG: that is read before the machine's own settings, which would then override it.
        command.arg("--config-file").arg(self.directory.join("apt.conf")).arg("--quiet").env("LC_ALL", "C");
        command.current_dir(self.directory.join("packages"));
        command
    }

    /// Fetches the list of `suite`'s packages from the first mirror that has it.
    fn update(&self, mirrors: &[sources::Mirror], suite: &str, architecture: &str) -> Result<()> {
        let mut failure = None;
        for mirror in mirrors {
            progress(&format!("  fetching the list of Debian {suite}'s packages from {}", mirror.shown()));
            self.write("debian.sources", &mirror.stanza(suite, architecture))?;
            match run(self.get().arg("update"), DOWNLOAD_LIMIT) {
                Ok(_) => return Ok(()),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn unpack(&self, wanted: &[&str], root: &Path) -> Result<()> {
        let plan =
            run(self.get().args(["install", "--simulate", "--no-install-recommends"]).args(wanted), LOCAL_LIMIT)?;
        let names: Vec<&str> = closure(&plan).filter(|name| wanted.contains(name) || is_needed_library(name)).collect();
        progress(&format!("  downloading {} packages: {} and libraries", names.len(), wanted.join(", ")));
        run(self.get().arg("download").args(&names), DOWNLOAD_LIMIT)?;
        let packages = self.directory.join("packages");
        for entry in fs::read_dir(&packages).map_err(Error::io("list", &packages))? {
            let package = entry.map_err(Error::io("list", &packages))?.path();
            run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(root), LOCAL_LIMIT)?;
        }
        Ok(())
    }
}

/// The names of the packages in the output of `apt-get install --simulate`.
fn closure(plan: &str) -> impl Iterator<Item = &str> {
    plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next())
}

/// Whether a package of the closure is a library that programs load. The rest is there for a system's installation: users
/// and their log-in, init scripts, Perl. LLVM is for PostgreSQL's just-in-time compiler, which is switched off.
fn is_needed_library(package: &str) -> bool {
    const NOT: [&str; 9] = [
        "libc-bin",
        "libc-gconv-modules-extra",
        "libc-l10n",
        "libllvm",
        "libpam-modules",
        "libperl",
        "libsystemd-shared",
        "libtext-",
        "libz3",
    ];
    let library = package.starts_with("lib") || package == "zlib1g";
    library && !package.ends_with("-perl") && !NOT.iter().any(|prefix| package.starts_with(prefix))
}

fn configuration(directory: &Path) -> String {
    // Apt's configuration language quotes, but has no escape: a path with a quote cannot be written in it.
    // Error-Mode: without it `apt-get update` succeeds when the mirror cannot be reached.
    let directory = directory.display();
    format!(
        r#"Dir::Etc::SourceList "{directory}/debian.sources";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "{directory}";
Dir::State::Lists "{directory}/lists";
Dir::State::status "{directory}/status";
Dir::Cache "{directory}/cache";
APT::Default-Release "";
APT::Sandbox::User "";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
Acquire::Retries "3";
APT::Update::Error-Mode "any";
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_looks_for_its_own_below_the_root() {
        let root = Path::new("/lab/chromium");
        let moved = within(root, "/usr/lib/pulseaudio:$ORIGIN/private");
        assert_eq!(moved.as_deref(), Some("/lab/chromium/usr/lib/pulseaudio:$ORIGIN/private"));
        assert_eq!(within(root, "$ORIGIN"), None);
        assert_eq!(within(root, ""), None);
    }

    #[test]
    fn the_closure_is_read_from_a_simulation_and_cut_to_libraries() {
        let plan = "NOTE: This is only a simulation!\nInst libc6 (2.43-7 Debian:unstable [amd64]) []\n\
            Inst libperl5.42 (5 Debian:unstable [amd64])\nInst libjson-perl (4)\nInst systemd (262)\nInst libllvm14 (1)\n\
            Inst libsystemd0 (262)\nInst zlib1g (1)\nInst postgresql-18 (18.6-3 Debian:unstable [amd64])\nConf libc6 (2.43-7)\n";
        let names: Vec<&str> = closure(plan).filter(|name| is_needed_library(name)).collect();
        assert_eq!(names, ["libc6", "libsystemd0", "zlib1g"]);
        assert_eq!(closure(plan).last(), Some("postgresql-18"));
    }
}
