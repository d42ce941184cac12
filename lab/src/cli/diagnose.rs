//! `cargo lab diagnose` and `cargo lab recover`: what is wrong with a secret of a running `cargo lab serve`.

use super::client::Client;
use super::screen::{Screen, Style};
use super::stop::Stop;
use serde_json::{Value, json};

/// The secret to look at, and the lab that has it.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Asked {
    /// The secret's name or ARN [default: the lab's only secret that rotates].
    secret: Option<String>,
    /// The port of the running `cargo lab serve`.
    #[arg(long, default_value_t = 4566)]
    port: u16,
    /// Print one JSON object to stdout; everything else goes to stderr.
    #[arg(long)]
    pub(super) json: bool,
}

/// A secret and its function, both as the lab names them.
struct Served {
    client: Client,
    secret: String,
    function: String,
}

/// Shows the diagnosis of a secret. It is a failure if the secret is not healthy.
pub(super) async fn diagnose(screen: &Screen, asked: &Asked) -> Result<(), Stop> {
    let served = Served::find(asked).await?;
    let diagnosis = served.ask("diagnose").await?;
    served.show(screen, &diagnosis);
    screen.json(&diagnosis);
    if diagnosis.get("healthy") == Some(&json!(true)) { Ok(()) } else { Err(Stop::Failed) }
}

/// Recovers a secret, and shows its diagnosis afterwards. It is a failure if the recovery is refused.
pub(super) async fn recover(screen: &Screen, asked: &Asked) -> Result<(), Stop> {
    let served = Served::find(asked).await?;
    let recovery = served.ask("recover").await?;
    let recovered = recovery.get("outcome").is_some();
    let said = if !is_lockstep(&recovery) {
        served.stranger()
    } else if recovered {
        format!("{}: {} ({})", text(&recovery, "outcome"), text(&recovery, "what"), text(&recovery, "finding"))
    } else {
        text(&recovery, "errorMessage").to_owned()
    };
    screen.settle(recovered, &said);
    let diagnosis = served.ask("diagnose").await?;
    if is_lockstep(&recovery) {
        served.show(screen, &diagnosis);
    }
    screen.json(&json!({ "recovery": recovery, "diagnosis": diagnosis }));
    if recovered { Ok(()) } else { Err(Stop::Failed) }
}

impl Served {
    async fn find(asked: &Asked) -> Result<Self, Stop> {
        let client = Client::new(format!("http://127.0.0.1:{}", asked.port));
        let secret = match &asked.secret {
            Some(secret) => secret.clone(),
            None => only_secret(&call(&client, asked.port, "ListSecrets", json!({ "MaxResults": 100 })).await?)?,
        };
        let described = call(&client, asked.port, "DescribeSecret", json!({ "SecretId": secret })).await?;
        match described.get("RotationLambdaARN").and_then(Value::as_str) {
            Some(function) => Ok(Self { client, secret, function: function.to_owned() }),
            None => Err(Stop::Setup(format!("no function rotates {secret}: attach one with `rotate-secret` first"))),
        }
    }

    async fn ask(&self, step: &str) -> Result<Value, Stop> {
        let event = json!({ "Step": step, "SecretId": self.secret });
        self.client.invoke(&self.function, &event).await.map_err(|error| Stop::Setup(error.to_string()))
    }

    fn show(&self, screen: &Screen, diagnosis: &Value) {
        if is_lockstep(diagnosis) { show(screen, diagnosis) } else { screen.settle(false, &self.stranger()) }
    }

    fn stranger(&self) -> String {
        format!(
            "{} is rotated by {}, which is not a function of Lockstep: no other answers this question",
            self.secret, self.function
        )
    }
}

/// Whether an answer can be one of Lockstep's functions: a finding, or an error with a code such as `secret-not-found`. Errors of
/// Lambda itself, such as `Sandbox.Timedout`, can be about any function.
fn is_lockstep(answer: &Value) -> bool {
    let is_code = |text: &str| text.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
    let is_lambdas = |text: &str| ["Runtime.", "Sandbox.", "Function."].iter().any(|start| text.starts_with(start));
    match answer.get("errorType") {
        Some(code) => code.as_str().is_some_and(|code| is_code(code) || is_lambdas(code)),
        None => answer.get("finding").is_some(),
    }
}

async fn call(client: &Client, port: u16, operation: &str, request: Value) -> Result<Value, Stop> {
    client.call(operation, request).await.map_err(|error| {
        Stop::Setup(match error.kind.as_str() {
            "Unreachable" => format!("no lab answers on port {port}: start `cargo lab serve`, or name its --port"),
            kind => format!("{operation} failed: {kind}: {}", error.message),
        })
    })
}

/// The only secret of ListSecrets that rotates.
fn only_secret(listed: &Value) -> Result<String, Stop> {
    let rotates = |secret: &&Value| secret.get("RotationLambdaARN").is_some();
    let names: Vec<_> = entries(listed, "SecretList").filter(rotates).map(|secret| text(secret, "Name")).collect();
    match names.as_slice() {
        [] => Err(Stop::Setup("the lab has no secret that rotates".to_owned())),
        [name] => Ok((*name).to_owned()),
        names => Err(Stop::Setup(format!("name one of the lab's secrets: {}", names.join(", ")))),
    }
}

fn show(screen: &Screen, diagnosis: &Value) {
    if diagnosis.get("errorType").is_some() {
        return screen.settle(false, text(diagnosis, "errorMessage"));
    }
    screen.heading(text(diagnosis, "secret"));
    for (number, line) in table(diagnosis).iter().enumerate() {
        let line = format!("  {line}");
        screen.line(&if number == 0 { screen.paint(Style::Dim, &line) } else { line });
    }
    let healthy = diagnosis.get("healthy") == Some(&json!(true));
    screen.settle(healthy, &format!("{}: {}", text(diagnosis, "finding"), text(diagnosis, "what")));
    if let Some(error) = diagnosis.get("error").filter(|error| !error.is_null()) {
        screen.line(&format!("    {}", text(error, "message")));
    }
    screen.fact("next", text(diagnosis, "nextAction"));
    if diagnosis.get("iamAuthentication") == Some(&json!(true)) {
        screen.fact("note", "the server takes tokens of IAM in place of passwords: docs/when-not-to-rotate.md");
    }
}

/// The versions of a diagnosis and the superuser's or admin's secret, one a line below a heading.
fn table(diagnosis: &Value) -> Vec<String> {
    let mut rows = vec![["version", "labels", "age", "credential"].map(str::to_owned)];
    for version in entries(diagnosis, "versions") {
        let labels: Vec<_> = entries(version, "labels").filter_map(Value::as_str).collect();
        let labels = if labels.is_empty() { "(none)".to_owned() } else { labels.join(" ") };
        let age = version.get("ageSeconds").and_then(Value::as_u64).map_or("-".to_owned(), age);
        rows.push([text(version, "version").to_owned(), labels, age, credential(version)]);
    }
    if let Some(companion) = diagnosis.get("companion").filter(|companion| !companion.is_null()) {
        let secret = text(companion, "secret").to_owned();
        rows.push([secret, "(companion)".to_owned(), "-".to_owned(), credential(companion)]);
    }
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let [first, second, third] = [width(0), width(1), width(2)];
    let line = |[version, labels, age, credential]: &[String; 4]| {
        format!("{version:first$}  {labels:second$}  {age:>third$}  {credential}")
    };
    rows.iter().map(line).collect()
}

/// Whether the credential opens the target, and the code of the reason why not.
fn credential(held: &Value) -> String {
    let code = held.get("error").map(|error| format!(" ({})", text(error, "code")));
    format!("{}{}", text(held, "credential"), code.unwrap_or_default())
}

/// A time in its largest whole unit: `3 h`, not `190 min`.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn entries<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_version_and_for_the_companion() {
        let refused = json!({"code": "current-rejected", "message": "…"});
        let diagnosis = json!({
            "versions": [
                {"version": "one", "labels": ["AWSCURRENT"], "ageSeconds": 59, "credential": "rejected", "error": refused},
                {"version": "three", "labels": ["AWSPREVIOUS"], "ageSeconds": 7_200, "credential": "not-tried"},
                {"version": "two", "labels": [], "credential": "works"},
            ],
            "companion": {"secret": "admin", "credential": "works"},
        });
        let lines = [
            "version  labels        age  credential",
            "one      AWSCURRENT   59 s  rejected (current-rejected)",
            "three    AWSPREVIOUS   2 h  not-tried",
            "two      (none)          -  works",
            "admin    (companion)     -  works",
        ];
        assert_eq!(table(&diagnosis), lines);
    }

    #[test]
    fn an_answer_of_another_function_is_told_apart() {
        for ours in [
            json!({"finding": "healthy", "healthy": true}),
            json!({"finding": "previous-in-effect", "outcome": "current-moved"}),
            json!({"errorType": "recover-refused", "errorMessage": "…"}),
            json!({"errorType": "Sandbox.Timedout", "errorMessage": "…"}),
        ] {
            assert!(is_lockstep(&ours), "{ours}");
        }
        for another in [
            json!(null),
            json!({"statusCode": 200}),
            json!({"errorType": "KeyError", "errorMessage": "'ClientRequestToken'"}),
        ] {
            assert!(!is_lockstep(&another), "{another}");
        }
    }

    #[test]
    fn an_age_has_the_largest_unit_of_which_there_is_one() {
        let ages = [0, 59, 60, 3_599, 3_600, 86_399, 86_400, 864_000].map(age);
        assert_eq!(ages, ["0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "1 d", "10 d"]);
    }

    #[test]
    fn the_only_secret_that_rotates_is_meant() {
        let secret = |name: &str| json!({"Name": name, "RotationLambdaARN": "f"});
        let listed = |secrets: &[Value]| only_secret(&json!({"SecretList": secrets})).ok();
        assert_eq!(listed(&[secret("a"), json!({"Name": "superuser"})]).as_deref(), Some("a"));
        assert_eq!(listed(&[secret("a"), secret("b")]), None);
        assert_eq!(listed(&[]), None);
    }
}
