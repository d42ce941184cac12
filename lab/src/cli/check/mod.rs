//! `cargo lab check-issuer`: reads the description of an issuer as the function does, says what is wrong with it, shows what it
//! would send, and tries it.

mod about;
mod against;
mod checked;
mod file;
mod masked;
mod openapi;
mod replace;
mod trial;

use super::screen::Screen;
use super::stop::{Stop, interrupted};
use against::{Against, place};
use api_key::description::{Problem, read};
use api_key::sources::BUILT_IN;
use checked::{Checked, EndLine};
use clap::Args;
use clap::builder::PossibleValuesParser;
use rotation::document::Document;
use rotation::secret::SecretText;
use serde::Serialize;
use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// What the command takes.
#[derive(Args, Clone, Debug)]
pub(super) struct CheckIssuer {
    /// The description, in YAML; `-` for standard input.
    #[arg(value_name = "FILE", required_unless_present_any = ["built_in", "openapi"])]
    file: Option<PathBuf>,
    /// A description that is built into the function, instead of a file.
    #[arg(long, value_name = "NAME", conflicts_with = "file", value_parser = built_in_names())]
    built_in: Option<String>,
    /// Try it: make a key there, use it, look for it in the list, and revoke it. All requests go to this URL, `https://`
    /// with a host and perhaps a port, whatever the description's hosts are. `http://` is for a server on this machine.
    #[arg(long, value_name = "URL", value_parser = place)]
    against: Option<Against>,
    /// Exchange the key of --secret for a new one, where a rotation does that (roll, roll_grace, set_value), and write the new
    /// one into that file. The old one ends. Without this the key is only used.
    #[arg(long, requires = "secret")]
    replace_key: bool,
    /// The secret's value, as it will be stored: a JSON document.
    #[arg(long, value_name = "FILE.json", requires = "against")]
    secret: Option<PathBuf>,
    /// The admin secret's value.
    #[arg(long, value_name = "FILE.json", requires = "against")]
    admin: Option<PathBuf>,
    /// A CA to trust beside the public ones, in PEM.
    #[arg(long, value_name = "FILE.pem", requires = "against")]
    ca: Option<PathBuf>,
    /// Compare it with the vendor's OpenAPI document (OpenAPI 3.0 or 3.1, Swagger 2.0; JSON or YAML), or with several: paths, parameters,
    /// bodies, statuses, and the places that it reads in answers. Without a PATH: with the documents that are kept with the lab.
    /// Without a description: all built-in ones, with the documents that are kept or, as NAME.json or NAME.*.yaml, in a directory.
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "", conflicts_with = "against")]
    openapi: Option<Vec<OsString>>,
    /// Instead of comparing, write the part of the document that the description uses, without prose.
    #[arg(long, value_name = "FILE.json", requires = "openapi")]
    excerpt: Option<PathBuf>,
    /// Print JSON objects to stdout, one a line; everything else goes to stderr.
    #[arg(long)]
    pub(super) json: bool,
}

fn built_in_names() -> PossibleValuesParser {
    PossibleValuesParser::new(BUILT_IN.iter().map(|(name, _)| *name))
}

/// Checks, shows and tries. Signals are handled in here: a key that was made does not stay, whatever comes.
pub(super) async fn check(screen: &Screen, arguments: &CheckIssuer) -> Result<(), Stop> {
    if let Some(from) = &arguments.openapi {
        let result = compared(screen, arguments, from);
        return if screen.is_unread().await { Err(Stop::Unread) } else { result };
    }
    let checked = shown(screen, arguments).inspect_err(|stop| {
        if let Stop::Setup(reason) = stop {
            screen.json(&EndLine::failed("setup", reason));
        }
    })?;
    if screen.is_unread().await {
        return Err(Stop::Unread);
    }
    let Some(against) = &arguments.against else { return Ok(()) };
    let signals = interrupted(screen);
    tokio::pin!(signals);
    let replaces = arguments.secret.as_deref().filter(|_| arguments.replace_key);
    let given = trial::Given { issuer: &checked.issuer, against, checked: &checked, replaces };
    trial::run(screen, given, signals.as_mut()).await
}

fn compared(screen: &Screen, arguments: &CheckIssuer, from: &[OsString]) -> Result<(), Stop> {
    let issuer = match arguments.is_given().then(|| arguments.text()).transpose()?.map(|text| read(&text)) {
        Some(Err(problems)) => return Err(invalid(screen, &problems)),
        Some(Ok(issuer)) => Some(issuer),
        None => None,
    };
    let is_built_in = arguments.built_in.is_some();
    let asked = openapi::Asked { issuer: issuer.as_ref(), is_built_in, from, excerpt: arguments.excerpt.as_deref() };
    openapi::run(screen, &asked).inspect_err(|stop| {
        if let Stop::Setup(reason) = stop {
            screen.json(&EndLine::failed("setup", reason));
        }
    })
}

fn shown(screen: &Screen, arguments: &CheckIssuer) -> Result<Checked, Stop> {
    let issuer = match read(&arguments.text()?) {
        Ok(issuer) => issuer,
        Err(problems) => return Err(invalid(screen, &problems)),
    };
    about::show(screen, &issuer)?;
    let document = |path: &Option<PathBuf>| path.as_deref().map(document).transpose();
    let ca = arguments.ca.as_deref().map(text_of).transpose()?;
    Ok(Checked { issuer, secret: document(&arguments.secret)?, admin: document(&arguments.admin)?, ca })
}

impl CheckIssuer {
    /// Whether one description is named.
    fn is_given(&self) -> bool {
        self.file.is_some() || self.built_in.is_some()
    }

    fn text(&self) -> Result<String, Stop> {
        if let Some(name) = &self.built_in {
            let found = BUILT_IN.iter().find(|(known, _)| known == name);
            return Ok(found.map(|(_, text)| (*text).to_owned()).unwrap_or_default());
        }
        text_of(self.file.as_deref().unwrap_or(Path::new("-")))
    }
}

/// What a file says, or standard input.
fn text_of(path: &Path) -> Result<String, Stop> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|error| Stop::Setup(format!("{}: {error}", path.display())))
}

fn document(path: &Path) -> Result<Document, Stop> {
    let text = SecretText::from(text_of(path)?);
    Document::parse(text).map_err(|error| Stop::Setup(format!("{}: {error}", path.display())))
}

/// One line for each mistake, with nothing else, for editors and scripts.
fn invalid(screen: &Screen, problems: &[Problem]) -> Stop {
    for problem in problems {
        screen.problem(&problem.to_string());
    }
    let problems: Vec<_> = problems.iter().map(|it| ProblemLine { path: &it.path, message: &it.message }).collect();
    screen.json(&InvalidLine { outcome: "invalid", problems });
    Stop::Failed
}

/// What `--json` prints of a description with mistakes.
#[derive(Serialize)]
struct InvalidLine<'a> {
    outcome: &'static str,
    problems: Vec<ProblemLine<'a>>,
}

#[derive(Serialize)]
struct ProblemLine<'a> {
    path: &'a str,
    message: &'a str,
}
