//! The catalog of the vendors' documents, and the documents that are kept.

use super::super::{catalog, compare, left_out};
use super::issuer;
use api_key::sources::BUILT_IN;
use std::collections::BTreeSet;

#[test]
fn every_built_in_description_is_in_the_catalog_once() {
    let entries = catalog().unwrap();
    let listed: Vec<_> = entries.iter().map(|entry| entry.issuer.as_str()).collect();
    let built_in: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    let sorted: BTreeSet<_> = built_in.iter().copied().collect();
    assert_eq!(listed, sorted.into_iter().collect::<Vec<_>>());
    for entry in &entries {
        assert_eq!(entry.none.is_none(), !entry.documents.is_empty(), "{}", entry.issuer);
        let text = BUILT_IN.iter().find(|(name, _)| *name == entry.issuer).unwrap().1;
        let issuer = issuer(text);
        let graphql = !left_out(&issuer).is_empty();
        assert_eq!(graphql, entry.none.as_deref() == Some("The API for keys is GraphQL."), "{}", entry.issuer);
    }
}

#[test]
fn every_kept_document_agrees_with_its_description() {
    let mut kept = 0;
    for entry in catalog().unwrap() {
        let documents = entry.kept().unwrap();
        if documents.is_empty() {
            continue;
        }
        kept += 1;
        let issuer = issuer(BUILT_IN.iter().find(|(name, _)| *name == entry.issuer).unwrap().1);
        let compared = compare(&issuer, &documents);
        let mut known = 0;
        for operation in &compared {
            assert!(!operation.found.is_empty(), "{}: {}", entry.issuer, operation.operation);
            for difference in &operation.differences {
                let why = entry.why(&operation.operation, &difference.place);
                assert!(why.is_some(), "{}: {}: {difference:?}", entry.issuer, operation.operation);
                known += 1;
            }
        }
        assert_eq!(known, entry.differs.len(), "{}: a known difference is no longer there", entry.issuer);
    }
    assert_eq!(kept, 1);
}

/// The rows of the table in docs/issuers.md.
#[test]
fn the_documentation_has_the_catalog() {
    let documentation = include_str!("../../../../docs/issuers.md");
    for entry in catalog().unwrap() {
        let mut rows: Vec<_> =
            entry.none.iter().map(|none| format!("| `{}` | none: {none} | | |", entry.issuer)).collect();
        rows.extend(entry.documents.iter().map(|source| {
            let checked = source.checked.as_deref().unwrap_or("not compared");
            let kept = if source.kept.is_some() { ", kept" } else { "" };
            format!("| `{}` | {} | {} | {checked}{kept} |", entry.issuer, source.at, source.licence)
        }));
        for row in rows {
            assert!(documentation.lines().any(|line| line == row), "docs/issuers.md needs the row\n{row}");
        }
    }
}
