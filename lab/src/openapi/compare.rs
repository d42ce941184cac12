//! Compares a description with the vendor's documents.

use super::asked::{Answer, Asked, Read, SUCCESS, Shape, asked, graphql};
use super::document::{Content, Document, Operation, Response, is_json};
use super::findings::{Difference, Findings};
use super::path::Route;
use super::schema::{Parts, Schemas, Told, named_shapes, shapes_of};
use super::sent;
use api_key::description::Issuer;
use serde_json::Value;
use std::collections::BTreeSet;

/// What the comparison of one operation has found.
#[derive(Clone, Debug)]
pub struct Compared {
    /// `create`, `revoke[0]`, `auth.admin` …, as in the description.
    pub operation: String,
    /// `POST /keys`, as the description has it.
    pub request: String,
    /// The documents' paths for it: a document's name, and the path there. Empty if there is none.
    pub found: Vec<(String, String)>,
    /// The number of facts that the document confirms.
    pub told: usize,
    /// The places that the document does not describe.
    pub silent: Vec<String>,
    /// The differences.
    pub differences: Vec<Difference>,
    /// What is no difference, but worth knowing: the operation is deprecated, or has another success.
    pub notes: Vec<String>,
}

/// Compares all operations of a description with documents that together describe the issuer's API.
pub fn compare(issuer: &Issuer, documents: &[Document]) -> Vec<Compared> {
    asked(issuer).iter().map(|asked| compared(issuer, asked, documents)).collect()
}

/// The calls that no OpenAPI document can describe, because they are GraphQL.
pub fn left_out(issuer: &Issuer) -> Vec<String> {
    graphql(issuer).map(|call| call.what.clone()).collect()
}

/// The operations of these documents that a description uses.
pub(super) fn used<'a>(issuer: &Issuer, documents: &'a [Document]) -> Vec<Operation<'a>> {
    let all = asked(issuer);
    let routes = all.iter().flat_map(|asked| asked.routes.iter().map(move |route| (asked, route)));
    routes.filter_map(|(asked, route)| best(issuer, asked, route, documents)).map(|(operation, _)| operation).collect()
}

/// The operation of a route with the fewest differences.
fn best<'a>(
    issuer: &Issuer,
    asked: &Asked<'_>,
    route: &Route,
    documents: &'a [Document],
) -> Option<(Operation<'a>, Findings)> {
    let operations = route.find(documents, asked.method).into_iter();
    let all = operations.map(|operation| {
        let findings = of_operation(issuer, asked, &operation);
        (operation, findings)
    });
    all.min_by_key(|(_, findings)| findings.badness())
}

fn compared(issuer: &Issuer, asked: &Asked<'_>, documents: &[Document]) -> Compared {
    let mut findings = Findings::default();
    let mut found = Vec::new();
    for route in &asked.routes {
        match best(issuer, asked, route, documents) {
            Some((operation, of_operation)) => {
                findings.told();
                found.push((operation.document.name.clone(), operation.path.to_owned()));
                findings.absorb(of_operation);
            }
            None => absent(asked, route, documents, &mut findings),
        }
    }
    let Findings { told, mut silent, differences, notes } = findings;
    silent.sort();
    silent.dedup();
    let request = format!("{} {}", asked.method, asked.path);
    Compared { operation: asked.what.clone(), request, found, told, silent, differences, notes }
}

fn absent(asked: &Asked<'_>, route: &Route, documents: &[Document], findings: &mut Findings) {
    let request = format!("{} {}", asked.method, asked.path);
    let methods = route.methods(documents);
    let instead = if !methods.is_empty() {
        format!("the path has {} alone", methods.join(", ").to_uppercase())
    } else if let Some(nearest) = route.nearest(documents) {
        format!("no such path; the nearest is {nearest}")
    } else {
        "no such path".to_owned()
    };
    findings.differs("path", &format!("sends {request}"), &instead);
}

fn of_operation(issuer: &Issuer, asked: &Asked<'_>, operation: &Operation<'_>) -> Findings {
    let mut findings = Findings::default();
    let (takes, responses) = (operation.takes(), operation.responses());
    let schemas = Schemas::of(operation.document);
    sent::parameters(asked, operation, &schemas, &mut findings);
    sent::body(issuer, asked, takes.as_ref(), &schemas, &mut findings);
    if operation.is_deprecated() {
        findings.note("the document calls the operation deprecated");
    }
    other_successes(asked, &responses, &mut findings);
    for answer in &asked.answers {
        if answer.success {
            statuses(answer, &responses, &mut findings);
        }
        reads(asked, answer, &responses, &schemas, &mut findings);
    }
    for reference in schemas.broken() {
        findings.differs("document", "needs it", &format!("refers to `{reference}`, which it does not have"));
    }
    findings
}

/// Whether the statuses of success are documented.
fn statuses(answer: &Answer, responses: &[Response<'_>], findings: &mut Findings) {
    let place = format!("{}.status", answer.name);
    if responses.is_empty() {
        return findings.silent(&place);
    }
    for (low, high) in &answer.status {
        let is_documented = responses.iter().any(|it| overlaps(it.code, (*low, *high)));
        let has_default = responses.iter().any(|it| it.code == "default");
        if is_documented {
            findings.told();
        } else if has_default {
            findings.silent(&place);
        } else {
            let codes: Vec<_> = responses.iter().map(|it| it.code).collect();
            findings.differs(&place, &format!("expects {}", written(*low, *high)), &codes.join(", "));
        }
    }
}

/// A success that the description takes for a failure.
fn other_successes(asked: &Asked<'_>, responses: &[Response<'_>], findings: &mut Findings) {
    let known: Vec<_> = asked.answers.iter().flat_map(|answer| &answer.status).collect();
    let is_other = |code: &str| overlaps(code, SUCCESS) && !known.iter().any(|range| overlaps(code, **range));
    for response in responses.iter().filter(|it| is_other(it.code)) {
        findings
            .note(&format!("the document has another success, {}, which the description does not know", response.code));
    }
}

fn written(low: u16, high: u16) -> String {
    if low == high { low.to_string() } else { format!("{low} to {high}") }
}

/// Whether `200` or `2XX` is in a range of statuses.
fn overlaps(code: &str, (low, high): (u16, u16)) -> bool {
    let digits = |by: char| code.to_lowercase().replace('x', &by.to_string()).parse::<u16>();
    match (digits('0'), digits('9')) {
        (Ok(first), Ok(last)) => first <= high && last >= low,
        _ => false,
    }
}

/// Whether the places that are read are in the schemas of the answers with such a status.
fn reads<'a>(
    asked: &Asked<'_>,
    answer: &Answer,
    responses: &'a [Response<'a>],
    schemas: &Schemas<'a>,
    findings: &mut Findings,
) {
    let mut fitting: Vec<&Response<'_>> =
        responses.iter().filter(|it| answer.status.iter().any(|range| overlaps(it.code, *range))).collect();
    if fitting.is_empty() && answer.success {
        fitting.extend(responses.iter().filter(|it| it.code == "default"));
    }
    if fitting.is_empty() {
        // For success, the status is a difference already. Few documents have all failures.
        if !answer.success && !answer.reads.is_empty() {
            findings.silent(&format!("{}.where", answer.name));
        }
        return;
    }
    let found: Vec<_> = fitting.iter().flat_map(|response| bodies(asked, response)).collect();
    for read in &answer.reads {
        let told = found.iter().map(|schema| match schema {
            Some(schema) => read_in(read, schema, schemas),
            None => Ok(false),
        });
        let told: Vec<_> = told.collect();
        let place = format!("{} {}", read.name, shown(&read.pointer));
        if told.contains(&Ok(true)) {
            findings.told();
        } else if told.is_empty() || told.contains(&Ok(false)) {
            findings.silent(&place);
        } else {
            let said: BTreeSet<_> = told.into_iter().filter_map(Result::err).collect();
            let said = said.into_iter().collect::<Vec<_>>().join("; ");
            findings.differs(&place, "reads it", &said);
        }
    }
}

fn shown(pointer: &str) -> &str {
    if pointer.is_empty() { "(the whole answer)" } else { pointer }
}

/// The schemas of an answer in JSON: of the media type that was asked for, or of all.
fn bodies<'a>(asked: &Asked<'_>, response: &'a Response<'a>) -> Vec<Option<&'a Value>> {
    let schema = |(_, schema): &'a Content<'a>| schema.as_deref();
    let exact = response.contents.iter().find(|(media, _)| asked.accept.as_ref() == Some(media));
    if let Some(exact) = exact {
        return vec![schema(exact)];
    }
    let json: Vec<_> = response.contents.iter().filter(|(media, _)| is_json(media)).map(schema).collect();
    if json.is_empty() { vec![None] } else { json }
}

/// Whether a place is in a schema. `Ok(false)`: it does not say. An error says what there is instead.
fn read_in<'a>(read: &Read, schema: &'a Value, schemas: &Schemas<'a>) -> Result<bool, String> {
    let here = match schemas.place(schema, &read.pointer) {
        Told::Silent => return Ok(false),
        Told::Not(instead) => return Err(instead),
        Told::Here(here) => here,
    };
    let fits = |parts: &Parts<'_>| {
        let Some(shapes) = shapes_of(parts) else { return true };
        match read.shape {
            Shape::Any => true,
            Shape::List => shapes.contains("array"),
            Shape::Text => shapes.iter().any(|shape| !matches!(shape.as_str(), "array" | "object" | "boolean")),
        }
    };
    if here.iter().any(fits) {
        return Ok(true);
    }
    let shapes: BTreeSet<_> = here.iter().filter_map(shapes_of).flatten().collect();
    Err(format!("it is {}", named_shapes(&shapes)))
}
