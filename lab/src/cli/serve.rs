//! `cargo lab serve`: a local AWS that stays up.

use super::database::{DatabaseUser, set_up};
use super::screen::{Screen, Style};
use super::setup::Bench;
use super::steps::show_report;
use super::stop::Stop;
use super::target::Target;
use crate::lambda::{REGION, StepEvent};
use serde_json::json;
use std::io::Write;
use tempfile::NamedTempFile;
use tokio::sync::broadcast;

/// Serves until interrupted.
pub(super) async fn serve(screen: &Screen, port: u16, target: &Target) -> Result<(), Stop> {
    let bench = set_up(screen, target, port).await?;
    let ca = ca_file(&bench)?;
    // From before rotation is turned on: that already runs testSecret.
    let mut events = bench.lab.watch_steps();
    enable_rotation(&bench).await?;
    // Until the test is over, the service would refuse a rotation as "A previous rotation isn't complete".
    bench.lab.service().wait_rotation(bench.secret).await;
    while let Ok(event) = events.try_recv() {
        show(screen, event);
    }
    introduce(screen, &bench, &ca);
    log_rotations(screen, events).await
}

/// The CA in a file, for psql. Removed when dropped.
fn ca_file(bench: &Bench<DatabaseUser>) -> Result<NamedTempFile, Stop> {
    let write = || {
        let mut file = tempfile::Builder::new().prefix("lockstep-lab-ca-").suffix(".pem").tempfile()?;
        file.write_all(bench.opened.database.ca_pem().as_bytes())?;
        Ok(file)
    };
    write().map_err(|error: std::io::Error| Stop::Setup(format!("the CA could not be written to a file: {error}")))
}

/// Attaches the function to the secret without rotating it (the service only has it test the configuration), so that `rotate-secret` needs only the secret's name.
async fn enable_rotation(bench: &Bench<DatabaseUser>) -> Result<(), Stop> {
    let request = json!({
        "SecretId": bench.secret,
        "RotationLambdaARN": bench.lab.function_arn(),
        "RotationRules": { "AutomaticallyAfterDays": 30 },
        "RotateImmediately": false,
    });
    let answer = bench.client.call("RotateSecret", request).await;
    answer.map(drop).map_err(|error| Stop::Setup(format!("rotation could not be turned on: {error}")))
}

fn introduce(screen: &Screen, bench: &Bench<DatabaseUser>, ca: &NamedTempFile) {
    let database = &bench.opened.database;
    let (host, port) = (database.host(), database.port());
    let secret = bench.secret;
    let read = format!("aws secretsmanager get-secret-value --secret-id {secret}");
    screen.heading("In another terminal");
    screen.line(&format!("  export AWS_ENDPOINT_URL={} AWS_DEFAULT_REGION={REGION}", bench.lab.url()));
    screen.line("  export AWS_ACCESS_KEY_ID=lab AWS_SECRET_ACCESS_KEY=lab");
    screen.heading("Read, rotate and watch the secret");
    screen.line(&format!("  {read}"));
    screen.line(&format!("  aws secretsmanager rotate-secret --secret-id {secret}"));
    screen.line(&format!("  aws secretsmanager describe-secret --secret-id {secret}"));
    let ca = ca.path().display();
    let user = "$(jq -r .username <<<\"$secret\")";
    let password = "$(jq -r .password <<<\"$secret\")";
    // To MySQL's clients, localhost alone means a socket file.
    let tcp = format!("--protocol=TCP --host={host} --port={port} --user=\"{user}\"");
    let (client, variables, command) = match database.engine() {
        "postgres" => {
            let command =
                format!("psql 'host={host} port={port} dbname=postgres sslmode=verify-full sslrootcert={ca}'");
            ("psql", format!("PGUSER={user} PGPASSWORD={password}"), command)
        }
        "mysql" => {
            let command = format!("mysql {tcp} --ssl-mode=VERIFY_IDENTITY --ssl-ca={ca}");
            ("mysql", format!("MYSQL_PWD={password}"), command)
        }
        _ => {
            let command = format!("mariadb {tcp} --ssl-verify-server-cert --ssl-ca={ca}");
            ("mariadb", format!("MYSQL_PWD={password}"), command)
        }
    };
    screen.heading(&format!("Open the database with it (needs jq and {client})"));
    screen.line(&format!("  secret=$({read} --query SecretString --output text)"));
    screen.line(&format!("  {variables} \\"));
    screen.line(&format!("    {command}"));
    let url = bench.lab.url();
    let lab_port = url.rsplit_once(':').map_or("", |(_, port)| port);
    let ask = format!(
        "\n`cargo lab diagnose --port {lab_port}` tells what is wrong with the secret, and `recover` repairs it."
    );
    screen.line(&screen.paint(Style::Dim, &ask));
    screen.line(&screen.paint(Style::Dim, "Rotations appear here. Ctrl-C stops and cleans up."));
}

async fn log_rotations(screen: &Screen, mut events: broadcast::Receiver<StepEvent>) -> Result<(), Stop> {
    loop {
        match events.recv().await {
            Ok(event) => show(screen, event),
            // Too many to show in time: the next ones will do. It does not end while the lab lives.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

fn show(screen: &Screen, event: StepEvent) {
    match event {
        StepEvent::Started { step, secret_id } => {
            if step == "createSecret" {
                screen.heading(&format!("Rotation of {secret_id}"));
            }
            screen.pending(&step);
        }
        StepEvent::Ended(report) => show_report(screen, &report),
    }
}
