//! Where the vendors' documents are, and those that are kept here.

use super::document::{Document, Unusable};
use serde::Deserialize;

const CATALOG: &str = include_str!("../../openapi/documents.yaml");
/// The documents that are kept, by their files' names.
const KEPT: [(&str, &str); 1] = [("vault-approle.json", include_str!("../../openapi/vault-approle.json"))];

/// What is known of the documents for one built-in description.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// The name of the description.
    pub issuer: String,
    /// The documents that together describe the issuer's API.
    #[serde(default)]
    pub documents: Vec<Source>,
    /// Why there is no document, or none that could be used.
    pub none: Option<String>,
    /// The differences from these documents that are meant, or are the document's mistakes.
    #[serde(default)]
    pub differs: Vec<Known>,
}

/// A vendor's document.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// The repository and the file, or who gives it.
    pub at: String,
    /// The licence, an SPDX identifier.
    pub licence: String,
    /// The version that the description was compared with: a commit or a release. `None`: it was not compared.
    pub checked: Option<String>,
    /// The file's name, if an excerpt is kept here.
    pub kept: Option<String>,
}

/// A difference that is known.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Known {
    /// The operation: `create`, `revoke[0]` …
    pub operation: String,
    /// The place in it, as a comparison names it.
    pub place: String,
    /// Why the description differs.
    pub why: String,
}

/// What is known of all built-in descriptions.
///
/// # Errors
/// [`Unusable`], if the catalog cannot be read. A test reads it.
pub fn catalog() -> Result<Vec<Entry>, Unusable> {
    let name = || "documents.yaml".to_owned();
    serde_saphyr::from_str(CATALOG).map_err(|error| Unusable { name: name(), reason: error.to_string() })
}

impl Entry {
    /// The documents that are kept here.
    ///
    /// # Errors
    /// [`Unusable`], if one cannot be read. A test reads them.
    pub fn kept(&self) -> Result<Vec<Document>, Unusable> {
        let names = self.documents.iter().filter_map(|source| source.kept.as_deref());
        names
            .map(|name| match KEPT.iter().find(|(known, _)| *known == name) {
                Some((_, text)) => Document::read(name, text),
                None => Err(Unusable { name: name.to_owned(), reason: "it is not among the documents".to_owned() }),
            })
            .collect()
    }

    /// Why the description differs there, if that is known.
    pub fn why(&self, operation: &str, place: &str) -> Option<&str> {
        let known = self.differs.iter().find(|known| known.operation == operation && known.place == place);
        known.map(|known| known.why.as_str())
    }
}
