//! What a request carries, beside what an operation takes.

use super::asked::{Asked, Field, Sent, constant, kind};
use super::document::{Content, Operation, Takes, is_form, is_json, is_true, text};
use super::findings::Findings;
use super::schema::{Parts, Schemas, Step, listed, named_shapes, shapes_of};
use api_key::description::{Issuer, JsonTemplate, VarKind};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Headers that are no parameters (OpenAPI 3, "Parameter Object").
const NO_PARAMETERS: [&str; 3] = ["accept", "authorization", "content-type"];

/// The query's parameters, and the headers that the operation requires.
pub(super) fn parameters(asked: &Asked<'_>, operation: &Operation<'_>, schemas: &Schemas<'_>, findings: &mut Findings) {
    let parameters = operation.parameters();
    let of = |place: &'static str| parameters.iter().copied().filter(move |it| text(it, "in") == Some(place));
    for field in &asked.query {
        let place = format!("query.{}", field.name);
        let Some(parameter) = of("query").find(|it| takes_name(it, &field.name)) else {
            let names: BTreeSet<_> = of("query").filter_map(|it| text(it, "name")).collect();
            findings.differs(&place, "sends it", &format!("no such parameter; {}", listed(&names)));
            continue;
        };
        findings.told();
        let schema = parameter.get("schema").unwrap_or(parameter);
        let alternatives = schemas.alternatives(&[schema]);
        allowed(field.constant.as_deref(), &alternatives, &place, findings);
    }
    for parameter in parameters.iter().filter(|it| is_true(it.get("required"))) {
        let (Some(name), Some(place)) = (text(parameter, "name"), text(parameter, "in")) else { continue };
        let is_sent = match place {
            "query" => asked.query.iter().any(|field| takes_name(parameter, &field.name)),
            "header" => {
                let name = name.to_lowercase();
                NO_PARAMETERS.contains(&name.as_str()) || asked.headers.contains(&name)
            }
            _ => true,
        };
        if !is_sent {
            findings.differs(&format!("{place}.{name}"), "does not send it", "requires it");
        }
    }
}

/// Whether a parameter is the one of this name. Fields of an object can be sent as `name[field]`.
fn takes_name(parameter: &Value, sent: &str) -> bool {
    let Some(name) = text(parameter, "name") else { return false };
    let deep = text(parameter, "style") == Some("deepObject");
    name == sent || deep && sent.strip_prefix(name).is_some_and(|rest| rest.starts_with('[') && rest.ends_with(']'))
}

/// The body.
pub(super) fn body<'a>(
    issuer: &Issuer,
    asked: &Asked<'_>,
    takes: Option<&'a Takes<'a>>,
    schemas: &Schemas<'a>,
    findings: &mut Findings,
) {
    let (name, fits): (_, fn(&str) -> bool) = match &asked.body {
        Sent::Nothing => {
            if takes.is_some_and(|takes| takes.required) {
                findings.differs("body", "sends none", "requires one");
            }
            return;
        }
        Sent::Json(_) | Sent::Fields { json: true, .. } => ("json", is_json),
        Sent::Fields { json: false, .. } => ("form", is_form),
    };
    let Some(takes) = takes else {
        // An empty object is what some servers want to see in place of nothing.
        if !matches!(asked.body, Sent::Json(JsonTemplate::Object(fields)) if fields.is_empty()) {
            findings.differs(name, "sends a body", "takes none");
        }
        return;
    };
    let fitting: Vec<&Content<'_>> = takes.contents.iter().filter(|(media, _)| fits(media)).collect();
    if fitting.is_empty() && !takes.contents.is_empty() {
        let media: BTreeSet<_> = takes.contents.iter().map(|(media, _)| media.as_str()).collect();
        findings.differs(name, "sends this format", &format!("another format; {}", listed(&media)));
        return;
    }
    let exact = fitting.iter().find(|(media, _)| asked.content_type.as_ref() == Some(media)).copied();
    let Some(schema) = exact.or(fitting.first().copied()).and_then(|(_, schema)| schema.as_ref()) else {
        findings.silent(name);
        return;
    };
    let schema: &Value = schema;
    let alternatives = schemas.alternatives(&[schema]);
    match &asked.body {
        Sent::Json(tree) => findings.absorb(value(issuer, tree, &alternatives, schemas, name)),
        Sent::Fields { fields, .. } => findings.absorb(best(&alternatives, |parts| flat(fields, parts, schemas, name))),
        Sent::Nothing => {}
    }
}

/// What the alternative finds that a value fits best.
fn best<'a>(alternatives: &[Parts<'a>], of: impl Fn(&Parts<'a>) -> Findings) -> Findings {
    alternatives.iter().map(of).min_by_key(Findings::badness).unwrap_or_default()
}

/// A part of a JSON body.
fn value<'a>(
    issuer: &Issuer,
    tree: &JsonTemplate,
    alternatives: &[Parts<'a>],
    schemas: &Schemas<'a>,
    place: &str,
) -> Findings {
    best(alternatives, |parts| {
        let mut findings = Findings::default();
        if !shape(issuer, tree, parts, place, &mut findings) {
            return findings;
        }
        match tree {
            JsonTemplate::Plain(_) => {}
            JsonTemplate::Text(template) => {
                allowed(constant(template).as_deref(), std::slice::from_ref(parts), place, &mut findings);
            }
            JsonTemplate::Array(items) => {
                for item in items {
                    step(parts, "0", schemas, &format!("{place}[]"), &mut findings, |there, place| {
                        value(issuer, item, there, schemas, place)
                    });
                }
            }
            JsonTemplate::Object(fields) => {
                for (name, field) in fields {
                    named(parts, name, schemas, place, &mut findings, |there, place| {
                        value(issuer, field, there, schemas, place)
                    });
                }
                missing(fields.iter().map(|(name, _)| name.as_str()), parts, schemas, place, &mut findings);
            }
        }
        findings
    })
}

/// The fields of a form. All are text, whatever their type.
fn flat<'a>(fields: &[Field], parts: &Parts<'a>, schemas: &Schemas<'a>, place: &str) -> Findings {
    let mut findings = Findings::default();
    for field in fields {
        named(parts, &field.name, schemas, place, &mut findings, |there, place| {
            let mut findings = Findings::default();
            allowed(field.constant.as_deref(), there, place, &mut findings);
            findings
        });
    }
    missing(fields.iter().map(|field| field.name.as_str()), parts, schemas, place, &mut findings);
    findings
}

/// A field of an object.
fn named<'a>(
    parts: &Parts<'a>,
    name: &str,
    schemas: &Schemas<'a>,
    place: &str,
    findings: &mut Findings,
    deeper: impl FnOnce(&[Parts<'a>], &str) -> Findings,
) {
    let place = format!("{place}.{name}");
    if schemas.is_read_only(parts, name) {
        findings.differs(&place, "sends it", "only in answers (readOnly)");
        return;
    }
    step(parts, name, schemas, &place, findings, deeper);
}

fn step<'a>(
    parts: &Parts<'a>,
    token: &str,
    schemas: &Schemas<'a>,
    place: &str,
    findings: &mut Findings,
    deeper: impl FnOnce(&[Parts<'a>], &str) -> Findings,
) {
    match schemas.step(parts, token) {
        Step::To(there) => {
            findings.told();
            findings.absorb(deeper(&schemas.alternatives(&there), place));
        }
        Step::Silent => findings.silent(place),
        Step::Not(instead) => findings.differs(place, "sends it", &format!("no such field; {instead}")),
    }
}

/// The required fields that are not sent.
fn missing<'a>(
    sent: impl Iterator<Item = &'a str>,
    parts: &Parts<'_>,
    schemas: &Schemas<'_>,
    place: &str,
    findings: &mut Findings,
) {
    let sent: BTreeSet<_> = sent.collect();
    for name in schemas.required(parts) {
        if !sent.contains(name) {
            findings.differs(&format!("{place}.{name}"), "does not send it", "requires it");
        }
    }
}

/// Whether a value has a type that is taken.
fn shape(issuer: &Issuer, tree: &JsonTemplate, parts: &Parts<'_>, place: &str, findings: &mut Findings) -> bool {
    let Some(taken) = shapes_of(parts) else { return true };
    let (sent, fitting): (_, &[&str]) = match tree {
        JsonTemplate::Object(_) => ("an object", &["object"]),
        JsonTemplate::Array(_) => ("an array", &["array"]),
        JsonTemplate::Text(template) => match kind(issuer, template) {
            VarKind::Json => return true,
            VarKind::Integer => ("a number", &["integer", "number"]),
            VarKind::String => ("text", &["string"]),
        },
        JsonTemplate::Plain(Value::Number(_)) => ("a number", &["integer", "number"]),
        JsonTemplate::Plain(Value::Bool(_)) => ("true or false", &["boolean"]),
        JsonTemplate::Plain(_) => return true,
    };
    // Types that are none of JSON Schema's, such as `date`, are texts.
    let known = |shape: &String| {
        let of_json = ["object", "array", "string", "integer", "number", "boolean", "null"].contains(&shape.as_str());
        fitting.contains(&shape.as_str()) || (!of_json && fitting.contains(&"string"))
    };
    if taken.iter().any(known) {
        return true;
    }
    findings.differs(place, &format!("sends {sent}"), &named_shapes(&taken));
    false
}

/// Whether a text that never changes is one of the values that are taken.
fn allowed<'a>(constant: Option<&str>, alternatives: &[Parts<'a>], place: &str, findings: &mut Findings) {
    let Some(constant) = constant else { return };
    let mut names = BTreeSet::new();
    for parts in alternatives {
        let of = |part: &&'a Map<String, Value>| match part.get("const") {
            Some(one) => Some(std::slice::from_ref(one)),
            None => part.get("enum").and_then(Value::as_array).map(Vec::as_slice),
        };
        let values: Vec<_> = parts.iter().filter_map(of).collect();
        if values.iter().all(|values| values.iter().any(|value| written(value) == constant)) {
            return;
        }
        names.extend(values.into_iter().flatten().map(written));
    }
    let names: BTreeSet<_> = names.iter().map(Cow::as_ref).collect();
    findings.differs(place, &format!("sends `{constant}`"), &format!("another value; {}", listed(&names)));
}

/// A value as a query would have it.
fn written(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed)
}
