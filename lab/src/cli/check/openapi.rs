//! `--openapi`: compares descriptions with the vendors' documents.

use super::super::screen::{Screen, Style};
use super::super::stop::Stop;
use crate::openapi::{Compared, Difference, Document, Entry, Unusable, catalog, compare, left_out};
use api_key::description::{Issuer, read};
use api_key::sources::BUILT_IN;
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The endings of documents' names in a directory.
const ENDINGS: [&str; 3] = ["json", "yaml", "yml"];

/// What is compared with what.
pub(super) struct Asked<'a> {
    /// The description, or all built-in ones.
    pub(super) issuer: Option<&'a Issuer>,
    /// Whether the description is the built-in one of its name.
    pub(super) is_built_in: bool,
    /// Files, or a directory. Empty names stand for the documents that are kept.
    pub(super) from: &'a [OsString],
    pub(super) excerpt: Option<&'a Path>,
}

/// Compares, and shows what differs.
pub(super) fn run(screen: &Screen, asked: &Asked<'_>) -> Result<(), Stop> {
    let entries = catalog().map_err(|error| unusable(&error))?;
    let paths: Vec<_> = asked.from.iter().filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    let Some(issuer) = asked.issuer else {
        if asked.excerpt.is_some() {
            return Err(Stop::Usage("an excerpt is for one description: name it".to_owned()));
        }
        return all(screen, &entries, &paths);
    };
    let entry = entries.iter().find(|entry| entry.issuer == issuer.id && asked.is_built_in);
    let documents = match (paths.is_empty(), entry) {
        (true, Some(entry)) => entry.kept().map_err(|error| unusable(&error))?,
        (true, None) => {
            let reason = "no document is kept for this description: name one, --openapi FILE";
            return Err(Stop::Usage(reason.to_owned()));
        }
        (false, _) => files(&paths, &issuer.id)?,
    };
    if let Some(path) = asked.excerpt {
        return write_excerpt(screen, issuer, &documents, path);
    }
    one(screen, issuer, entry, &documents)
}

/// All built-in descriptions, with the documents that are kept or that a directory has.
fn all(screen: &Screen, entries: &[Entry], paths: &[PathBuf]) -> Result<(), Stop> {
    if !paths.is_empty() && paths.iter().any(|path| !path.is_dir()) {
        let reason = "for which description? Name one, or give a directory with documents for the built-in ones";
        return Err(Stop::Usage(reason.to_owned()));
    }
    let mut result = Ok(());
    for (name, text) in BUILT_IN {
        let issuer = read(text).map_err(|_| Stop::Setup(format!("the built-in description {name} cannot be read")))?;
        let entry = entries.iter().find(|entry| entry.issuer == *name);
        let documents = match (paths.is_empty(), entry) {
            (true, Some(entry)) => entry.kept().map_err(|error| unusable(&error))?,
            (true, None) => Vec::new(),
            (false, _) => files(paths, name)?,
        };
        match one(screen, &issuer, entry, &documents) {
            Ok(()) => {}
            Err(Stop::Failed) => result = Err(Stop::Failed),
            Err(other) => return Err(other),
        }
    }
    result
}

fn unusable(unusable: &Unusable) -> Stop {
    Stop::Setup(unusable.to_string())
}

/// The files, and of directories the files that begin with the issuer's name and a dot.
fn files(paths: &[PathBuf], issuer: &str) -> Result<Vec<Document>, Stop> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let failed = |error: std::io::Error| Stop::Setup(format!("{}: {error}", path.display()));
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?.path();
            let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let is_document = entry.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
            if is_document && name.strip_prefix(issuer).is_some_and(|rest| rest.starts_with('.')) {
                files.push(entry);
            }
        }
    }
    files.sort();
    files.iter().map(|file| Document::read_file(file).map_err(|error| unusable(&error))).collect()
}

fn one(screen: &Screen, issuer: &Issuer, entry: Option<&Entry>, documents: &[Document]) -> Result<(), Stop> {
    let title = screen.paint(Style::Bold, &format!("{} ({})", issuer.title, issuer.id));
    if documents.is_empty() {
        screen.line(&format!("\n{title}"));
        elsewhere(screen, issuer, entry);
        return Ok(());
    }
    let names: Vec<_> = documents.iter().map(|document| document.name.as_str()).collect();
    screen.line(&format!("\n{title}, beside {}", names.join(", ")));
    let compared = compare(issuer, documents);
    let left_out = left_out(issuer);
    let why = |operation: &str, place: &str| entry.and_then(|entry| entry.why(operation, place));
    let mut new = 0;
    for operation in &compared {
        new += show(screen, operation, &why);
    }
    for operation in &left_out {
        screen.line(&format!("  {} {operation}: GraphQL, which no such document describes", dim(screen, "·")));
    }
    screen.json(&ComparedLine::new(issuer, &names, &compared, &left_out, &why));
    if new > 0 {
        screen.line(&format!("  {new} {}", if new == 1 { "difference" } else { "differences" }));
        return Err(Stop::Failed);
    }
    Ok(())
}

fn dim(screen: &Screen, text: &str) -> String {
    screen.paint(Style::Dim, text)
}

/// Shows one operation. Returns the number of differences that were not known.
fn show<'a>(screen: &Screen, compared: &Compared, why: &impl Fn(&str, &str) -> Option<&'a str>) -> usize {
    let Compared { operation, request, told, silent, differences, notes, .. } = compared;
    let reason = |difference: &Difference| why(operation, &difference.place);
    let new = differences.iter().filter(|difference| reason(difference).is_none()).count();
    let facts = if *told == 1 { "1 fact".to_owned() } else { format!("{told} facts") };
    screen.settle(new == 0, &format!("{operation}: {request} {}", dim(screen, &format!("({facts})"))));
    for difference in differences {
        let Difference { place, description, document } = difference;
        screen.line(&format!("      {place}: the description {description}; the document: {document}"));
        if let Some(why) = reason(difference) {
            screen.line(&format!("        {} {why}", dim(screen, "known:")));
        }
    }
    for note in notes {
        screen.line(&format!("      {} {note}", dim(screen, "note:")));
    }
    if !silent.is_empty() {
        screen.line(&dim(screen, &format!("      not told: {}", silent.join(", "))));
    }
    new
}

/// Says where the document is.
fn elsewhere(screen: &Screen, issuer: &Issuer, entry: Option<&Entry>) {
    let places: Vec<_> = entry.iter().flat_map(|entry| &entry.documents).map(|source| source.at.as_str()).collect();
    let none = entry.and_then(|entry| entry.none.as_deref());
    for source in entry.iter().flat_map(|entry| &entry.documents) {
        let checked =
            source.checked.as_deref().map_or_else(|| "not compared".to_owned(), |it| format!("compared at {it}"));
        screen.line(&format!("  {} not kept here: {} ({}; {checked})", dim(screen, "·"), source.at, source.licence));
    }
    if let Some(none) = none {
        screen.line(&format!("  {} {none}", dim(screen, "·")));
    } else if places.is_empty() {
        screen.line(&format!("  {} no document", dim(screen, "·")));
    }
    let outcome = if places.is_empty() { "none" } else { "elsewhere" };
    screen.json(&ElsewhereLine { outcome, issuer: &issuer.id, places, none });
}

fn write_excerpt(screen: &Screen, issuer: &Issuer, documents: &[Document], path: &Path) -> Result<(), Stop> {
    let [document] = documents else {
        return Err(Stop::Usage("an excerpt is of one document: --openapi FILE, once".to_owned()));
    };
    let excerpt = document.excerpt(issuer);
    let excerpt = excerpt.ok_or_else(|| Stop::Setup(format!("{} has none of the operations", document.name)))?;
    let text = serde_json::to_string_pretty(&excerpt).map_err(|error| Stop::Setup(error.to_string()))?;
    let failed = |error: std::io::Error| Stop::Setup(format!("{}: {error}", path.display()));
    std::fs::write(path, format!("{text}\n")).map_err(failed)?;
    screen.settle(true, &format!("{} has what {} uses of {}", path.display(), issuer.id, document.name));
    Ok(())
}

/// What `--json` prints of a description that was compared.
#[derive(Serialize)]
struct ComparedLine<'a> {
    outcome: &'static str,
    issuer: &'a str,
    documents: &'a [&'a str],
    operations: Vec<OperationFields<'a>>,
    #[serde(rename = "leftOut")]
    left_out: &'a [String],
}

#[derive(Serialize)]
struct OperationFields<'a> {
    operation: &'a str,
    request: &'a str,
    found: Vec<FoundFields<'a>>,
    told: usize,
    #[serde(rename = "notTold")]
    not_told: &'a [String],
    differences: Vec<DifferenceFields<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct FoundFields<'a> {
    document: &'a str,
    path: &'a str,
}

#[derive(Serialize)]
struct DifferenceFields<'a> {
    #[serde(flatten)]
    difference: &'a Difference,
    /// Why it is no mistake.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<&'a str>,
}

/// What `--json` prints of a description whose document is not here.
#[derive(Serialize)]
struct ElsewhereLine<'a> {
    outcome: &'static str,
    issuer: &'a str,
    places: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    none: Option<&'a str>,
}

impl<'a> ComparedLine<'a> {
    fn new(
        issuer: &'a Issuer,
        documents: &'a [&'a str],
        compared: &'a [Compared],
        left_out: &'a [String],
        why: &impl Fn(&str, &str) -> Option<&'a str>,
    ) -> Self {
        let operation = |it: &'a Compared| OperationFields {
            operation: &it.operation,
            request: &it.request,
            found: it.found.iter().map(|(document, path)| FoundFields { document, path }).collect(),
            told: it.told,
            not_told: &it.silent,
            notes: &it.notes,
            differences: it
                .differences
                .iter()
                .map(|difference| DifferenceFields { difference, known: why(&it.operation, &difference.place) })
                .collect(),
        };
        let operations: Vec<_> = compared.iter().map(operation).collect();
        let differs = operations.iter().flat_map(|it| &it.differences).any(|it| it.known.is_none());
        let outcome = if differs { "differs" } else { "agrees" };
        Self { outcome, issuer: &issuer.id, documents, operations, left_out }
    }
}
