//! What a description says, in words and as JSON.

use super::super::screen::{Screen, Style};
use super::super::stop::Stop;
use super::masked::{Masked, requests};
use api_key::description::{Admin, Issuer, Strategy, Var, VarKind, VarSource};
use api_key::target::key_secret::admin_names;
use serde::Serialize;
use std::collections::BTreeMap;

/// Prints what a sound description says, and every request of a rotation.
pub(super) fn show(screen: &Screen, issuer: &Issuer) -> Result<(), Stop> {
    // A description that can be read can be filled in; if not, that is a mistake in it, too.
    let requests = requests(issuer).map_err(|error| Stop::Setup(error.to_string()))?;
    screen.line(&screen.paint(Style::Bold, &issuer.title));
    screen.fact("issuer", &issuer.id);
    screen.fact("strategy", &format!("{}: {}", strategy(issuer.strategy), order(issuer.strategy)));
    screen.fact("admin", &admin(issuer));
    for (name, var) in &issuer.vars {
        screen.fact("variable", &format!("{name}: {}", variable(var)));
    }
    screen.fact("grace", &grace(issuer));
    if let Some(risk) = &issuer.risk {
        screen.fact("risk", one_line(risk).as_str());
    }
    screen.fact("unchecked", one_line(&issuer.unchecked).as_str());
    screen.heading(if requests.is_empty() { "No request is sent" } else { "The requests of a rotation" });
    for request in &requests {
        show_request(screen, request);
    }
    screen.json(&ValidLine::new(issuer, &requests));
    Ok(())
}

fn show_request(screen: &Screen, request: &Masked) {
    let Masked { step, what, remark, method, url, headers, body } = request;
    let remark = if remark.is_empty() { String::new() } else { format!("  ({remark})") };
    screen.line(&format!("\n  {step}: {what}{}", screen.paint(Style::Dim, &remark)));
    screen.line(&format!("    {method} {url}"));
    for (name, value) in headers {
        screen.line(&format!("    {name}: {value}"));
    }
    if let Some(body) = body {
        screen.line(&format!("\n    {body}"));
    }
}

/// The word that a description uses.
pub(super) fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::CreateRevoke => "create_revoke",
        Strategy::RevokeCreate => "revoke_create",
        Strategy::SetValue => "set_value",
        Strategy::Roll => "roll",
        Strategy::RollGrace => "roll_grace",
        Strategy::Generate => "generate",
    }
}

fn order(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::CreateRevoke => "a second key is made, and the first is revoked after its grace",
        Strategy::RevokeCreate => "the key before the current one is revoked, and then the issuer makes the next",
        Strategy::SetValue => "the function makes the value and tells the issuer; the one before ends at once",
        Strategy::Roll => "one call exchanges the key; the one before ends at once",
        Strategy::RollGrace => "one call exchanges the key; the issuer keeps the one before for a time",
        Strategy::Generate => "the function makes the value, and whoever checks it accepts the previous one, too",
    }
}

fn admin(issuer: &Issuer) -> String {
    match issuer.admin {
        Admin::Secret => {
            let fields: Vec<_> = admin_names(issuer).into_iter().collect();
            format!("a secret of its own, with {}", fields.join(", "))
        }
        Admin::Itself => "the key itself makes its successor".to_owned(),
        Admin::None => "none".to_owned(),
    }
}

fn variable(var: &Var) -> String {
    let mut text = format!("`{}` in {}", var.field, holder(var.from));
    match var.kind {
        VarKind::String => {}
        VarKind::Integer => text.push_str(", a whole number"),
        VarKind::Json => text.push_str(", any JSON"),
    }
    match &var.default {
        Some(default) => text.push_str(&format!(", unless given {}", plain(default))),
        None => text.push_str(", required"),
    }
    if let Some(one_of) = &var.one_of {
        text.push_str(&format!(", one of {}", one_of.join(", ")));
    }
    if let Some(map) = &var.map {
        let pairs: Vec<_> = map.iter().map(|(from, to)| format!("{from} (filled in as {to})")).collect();
        text.push_str(&format!(", one of {}", pairs.join(", ")));
    }
    if let Some((pattern, _)) = &var.pattern {
        text.push_str(&format!(", matches {pattern}"));
    }
    if let Some(description) = &var.description {
        text.push_str(&format!(" ({})", one_line(description)));
    }
    text
}

fn holder(from: VarSource) -> &'static str {
    match from {
        VarSource::Secret => "the secret",
        VarSource::Admin => "the admin secret",
    }
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn grace(issuer: &Issuer) -> String {
    let overridden = "unless the secret says otherwise (rotation.revokePreviousAfterHours)";
    match (issuer.strategy, issuer.grace) {
        (Strategy::SetValue | Strategy::Roll, _) => "none: the previous key ends at once".to_owned(),
        (Strategy::Generate, _) => "the previous value stays in AWSPREVIOUS until the next rotation".to_owned(),
        (Strategy::RollGrace, Some(time)) => format!("{} s, kept by the issuer", time.as_secs()),
        (_, Some(time)) => format!("{} s, {overridden}", time.as_secs()),
        (_, None) => format!("the previous key lives until the next rotation, {overridden}"),
    }
}

/// Descriptions wrap their texts.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What `--json` prints of a sound description.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ValidLine<'a> {
    outcome: &'static str,
    issuer: &'a str,
    title: &'a str,
    strategy: &'static str,
    admin_fields: Vec<String>,
    vars: BTreeMap<&'a str, VarFields<'a>>,
    /// Absent: until the next rotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk: Option<String>,
    unchecked: String,
    requests: Vec<RequestFields<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VarFields<'a> {
    from: &'static str,
    field: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<&'a serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    one_of: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<&'a str>,
}

#[derive(Serialize)]
struct RequestFields<'a> {
    step: &'static str,
    call: &'a str,
    method: &'static str,
    url: &'a str,
    headers: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
}

impl<'a> ValidLine<'a> {
    fn new(issuer: &'a Issuer, requests: &'a [Masked]) -> Self {
        Self {
            outcome: "valid",
            issuer: &issuer.id,
            title: &issuer.title,
            strategy: strategy(issuer.strategy),
            admin_fields: admin_names(issuer).into_iter().collect(),
            vars: issuer.vars.iter().map(|(name, var)| (name.as_str(), VarFields::new(var))).collect(),
            grace_seconds: issuer.grace.map(|time| time.as_secs()),
            risk: issuer.risk.as_deref().map(one_line),
            unchecked: one_line(&issuer.unchecked),
            requests: requests.iter().map(RequestFields::new).collect(),
        }
    }
}

impl<'a> VarFields<'a> {
    fn new(var: &'a Var) -> Self {
        Self {
            from: if var.from == VarSource::Secret { "secret" } else { "admin" },
            field: &var.field,
            default: var.default.as_ref(),
            one_of: var.one_of.as_deref(),
            pattern: var.pattern.as_ref().map(|(pattern, _)| pattern.as_str()),
        }
    }
}

impl<'a> RequestFields<'a> {
    fn new(masked: &'a Masked) -> Self {
        Self {
            step: masked.step,
            call: &masked.what,
            method: masked.method,
            url: &masked.url,
            headers: masked.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            body: masked.body.as_deref(),
        }
    }
}
