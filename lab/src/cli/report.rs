//! `cargo lab report`: each secret's cadence, last rotation and exceptions, from the functions of a running `cargo lab serve`.

use super::client::Client;
use super::screen::Screen;
use super::stop::Stop;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The lab to report on.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Report {
    /// The port of the running `cargo lab serve`.
    #[arg(long, default_value_t = 4566)]
    port: u16,
    /// Print one JSON object in place of CSV.
    #[arg(long)]
    pub(super) json: bool,
}

/// Prints the report: CSV, or JSON. A function that is not Lockstep's has no part in it, and is named on stderr.
pub(super) async fn report(screen: &Screen, asked: &Report) -> Result<(), Stop> {
    let client = Client::new(format!("http://127.0.0.1:{}", asked.port));
    let mut secrets = Vec::new();
    for function in functions(&client, asked.port).await? {
        let answer = client.invoke(&function, &json!({ "Step": "report" })).await;
        let answer = answer.map_err(|error| Stop::Setup(error.to_string()))?;
        match answer.get("secrets").and_then(Value::as_array) {
            Some(rows) => secrets.extend(rows.iter().cloned()),
            None => screen.note(&format!("{function} does not answer this question")),
        }
    }
    screen.json(&json!({ "secrets": secrets }));
    if !asked.json {
        rotation::protocol::report::csv(&secrets).lines().for_each(|line| screen.line(line));
    }
    Ok(())
}

/// The functions that rotate secrets of the lab.
async fn functions(client: &Client, port: u16) -> Result<BTreeSet<String>, Stop> {
    let (mut found, mut page) = (BTreeSet::new(), None::<Value>);
    loop {
        let request = json!({ "MaxResults": 100, "NextToken": page });
        let listed = client.call("ListSecrets", request).await.map_err(|error| {
            Stop::Setup(match error.kind.as_str() {
                "Unreachable" => format!("no lab answers on port {port}: start `cargo lab serve`, or name its --port"),
                kind => format!("ListSecrets failed: {kind}: {}", error.message),
            })
        })?;
        let secrets = listed.get("SecretList").and_then(Value::as_array).into_iter().flatten();
        found.extend(secrets.filter_map(|secret| secret.get("RotationLambdaARN")?.as_str().map(str::to_owned)));
        page = listed.get("NextToken").cloned();
        if page.is_none() {
            return Ok(found);
        }
    }
}
