//! A sound description, and how its trial ends.

use api_key::description::Issuer;
use rotation::document::Document;
use serde::Serialize;

/// A sound description, and what it is to be tried with.
pub(super) struct Checked {
    pub(super) issuer: Issuer,
    pub(super) secret: Option<Document>,
    pub(super) admin: Option<Document>,
    pub(super) ca: Option<String>,
}

/// The last line of `--json` where a description was tried, or could not be.
#[derive(Serialize)]
pub(super) struct EndLine<'a> {
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl<'a> EndLine<'a> {
    pub(super) fn works() -> Self {
        Self { outcome: "works", code: None, message: None }
    }

    pub(super) fn failed(code: &'a str, message: &'a str) -> Self {
        Self { outcome: "failed", code: Some(code), message: Some(message) }
    }
}
