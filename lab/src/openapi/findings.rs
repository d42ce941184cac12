//! What a comparison finds.

use serde::Serialize;

/// Where a description and a document differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// The place in the operation: `path`, `query.limit`, `json.name`, `ok.status` …
    pub place: String,
    /// What the description does there.
    pub description: String,
    /// What the document says.
    pub document: String,
}

/// All that was found in one operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    /// The number of facts that the document confirms.
    pub(super) told: usize,
    /// The places that the document does not describe.
    pub(super) silent: Vec<String>,
    pub(super) differences: Vec<Difference>,
    /// What is no difference, but worth knowing.
    pub(super) notes: Vec<String>,
}

impl Findings {
    pub(super) fn told(&mut self) {
        self.told += 1;
    }

    pub(super) fn silent(&mut self, place: &str) {
        self.silent.push(place.to_owned());
    }

    pub(super) fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }

    pub(super) fn differs(&mut self, place: &str, description: &str, document: &str) {
        let difference =
            Difference { place: place.to_owned(), description: description.to_owned(), document: document.to_owned() };
        if !self.differences.contains(&difference) {
            self.differences.push(difference);
        }
    }

    pub(super) fn absorb(&mut self, other: Self) {
        self.told += other.told;
        self.silent.extend(other.silent);
        other.notes.iter().for_each(|note| self.note(note));
        for Difference { place, description, document } in other.differences {
            self.differs(&place, &description, &document);
        }
    }

    /// Of two alternatives, the one with the lower number fits better.
    pub(super) fn badness(&self) -> (usize, usize) {
        (self.differences.len(), self.silent.len())
    }
}
