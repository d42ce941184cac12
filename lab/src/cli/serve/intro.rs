//! What `cargo lab serve` says at its start: what to type in another terminal.

use super::served::{Served, arn};
use crate::cli::certificate;
use crate::cli::database::DatabaseUser;
use crate::cli::issued_key::{ADMIN_SECRET, IssuedKey, SECRET};
use crate::cli::screen::{Screen, Style};
use crate::lambda::REGION;
use std::path::Path;

/// Says what can be done with the lab.
pub(super) fn introduce(screen: &Screen, served: &Served) {
    screen.heading("In another terminal");
    screen.line(&format!("  export AWS_ENDPOINT_URL={} AWS_DEFAULT_REGION={REGION}", served.lab.url()));
    screen.line("  export AWS_ACCESS_KEY_ID=lab AWS_SECRET_ACCESS_KEY=lab");
    match served.secrets().first() {
        Some((secret, _)) => ready_secrets(screen, served, secret),
        None => own_secret(screen, served),
    }
    let dim = |text: &str| screen.line(&screen.paint(Style::Dim, text));
    let superusers = served.databases.iter().map(DatabaseUser::superuser_secret);
    let powers: Vec<_> = superusers.chain(served.issuer.is_some().then_some(ADMIN_SECRET)).collect();
    if !powers.is_empty() {
        dim(
            "\nYour own secrets rotate, too: give `rotate-secret` the ARN of a function, above, as --rotation-lambda-arn.",
        );
        dim(&format!(
            "Credentials that make users and keys for them are in {}. docs/lab.md shows it.",
            powers.join(", ")
        ));
    }
    if powers.is_empty() {
        screen.line("");
    }
    let url = served.lab.url();
    let port = url.rsplit_once(':').map_or("", |(_, port)| port);
    if !served.secrets().is_empty() {
        dim(&format!(
            "{url}/ in a browser shows all secrets and their rotations. /status, /health and /ready are for programs."
        ));
        dim(&format!(
            "`cargo lab diagnose --port {port}{}` tells what is wrong with {} secret, and `recover` repairs it.",
            if served.only_secret().is_some() { "" } else { " SECRET" },
            if served.only_secret().is_some() { "the" } else { "a" },
        ));
    }
    dim("Rotations appear here. Ctrl-C stops and cleans up.");
}

fn ready_secrets(screen: &Screen, served: &Served, first: &str) {
    let many = served.only_secret().is_none();
    screen.heading(if many { "Read, rotate and watch a secret" } else { "Read, rotate and watch the secret" });
    screen.line(&format!("  {}", read(first)));
    screen.line(&format!("  aws secretsmanager rotate-secret --secret-id {first}"));
    screen.line(&format!("  aws secretsmanager describe-secret --secret-id {first}"));
    let ca = served.trust.lab.path();
    for opened in &served.databases {
        open_database(screen, opened, ca, many);
    }
    if let Some(issuer) = &served.issuer {
        use_key(screen, issuer, ca);
    }
    if let Some(published) = &served.published {
        screen.heading("Look at the keys that verifiers find (needs curl), once the secret was rotated");
        screen.line(&format!("  curl --silent {}", published.url()));
    }
    if served.certified.is_some() {
        screen.heading("Look at the certificate (needs jq and openssl), once the secret was rotated");
        screen.line(&format!("  {} --query SecretString --output text |", read(certificate::SECRET)));
        screen.line("    jq -r .certificate | openssl x509 -noout -dates -ext subjectAltName");
    }
}

fn read(secret: &str) -> String {
    format!("aws secretsmanager get-secret-value --secret-id {secret}")
}

fn open_database(screen: &Screen, opened: &DatabaseUser, ca: &Path, many: bool) {
    let database = &opened.database;
    let (host, port) = (database.host(), database.port());
    let ca = ca.display();
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
    let secret = opened.secret();
    let what = if many { secret } else { "it" };
    screen.heading(&format!("Open the database with {what} (needs jq and {client})"));
    screen.line(&format!("  secret=$({} --query SecretString --output text)", read(secret)));
    screen.line(&format!("  {variables} \\"));
    screen.line(&format!("    {command}"));
}

fn use_key(screen: &Screen, issuer: &IssuedKey, ca: &Path) {
    screen.heading("Use the API key (needs jq and curl)");
    screen.line(&format!("  secret=$({} --query SecretString --output text)", read(SECRET)));
    // Not as an argument of curl: all users of the machine see those.
    screen.line("  jq -r '\"Authorization: Bearer \" + .apiKey' <<<\"$secret\" |");
    screen.line(&format!("    curl --silent --cacert {} --header @- {}/v1/whoami", ca.display(), issuer.url()));
}

/// Where the person's own functions are all there is.
fn own_secret(screen: &Screen, served: &Served) {
    let Some(function) = served.attached.first() else { return };
    screen.heading("Make a secret, and have the function rotate it");
    screen.line("  aws secretsmanager create-secret --name mine --secret-string '{\"password\": \"the first\"}'");
    screen
        .line(&format!("  aws secretsmanager rotate-secret --secret-id mine --rotation-lambda-arn {}", arn(function)));
    screen.line("  aws secretsmanager describe-secret --secret-id mine");
}
