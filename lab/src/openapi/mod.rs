//! Compares descriptions of issuers with the vendors' OpenAPI documents.
//!
//! A document is OpenAPI 3.0 or 3.1, or Swagger 2.0, in JSON or YAML. What a schema does not say is no difference.

mod asked;
mod catalog;
mod compare;
mod document;
mod excerpt;
mod findings;
mod path;
mod schema;
mod sent;

pub use catalog::{Entry, Known, Source, catalog};
pub use compare::{Compared, compare, left_out};
pub use document::{Document, Unusable};
pub use findings::Difference;

#[cfg(test)]
mod tests;
