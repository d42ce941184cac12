//! What to type in other terminals.

use super::files::{Files, typed};
use super::names::{resource, secret};
use super::stock::EVENT_SECRET;
use crate::Lab;
use crate::cli::screen::{Screen, Style};
use crate::cli::target::Kind;
use crate::lambda::REGION;

/// Says how the functions are invoked, by hand and in a rotation.
pub(super) fn introduce(screen: &Screen, lab: &Lab, kinds: &[Kind], files: &Files) {
    let configuration = typed(&files.configuration);
    let first = kinds.first().map_or("", |kind| resource(*kind));
    screen.heading("In other terminals");
    screen.line(&format!("  export AWS_ENDPOINT_URL={} AWS_DEFAULT_REGION={REGION}", lab.url()));
    screen.line("  export AWS_ACCESS_KEY_ID=lab AWS_SECRET_ACCESS_KEY=lab");
    screen.heading(&format!("One step after the other, for {EVENT_SECRET} (after `sam build`)"));
    for step in ["createSecret", "setSecret", "testSecret", "finishSecret", "diagnose"] {
        screen.line(&format!("  sam local invoke {first} --config-file {configuration} --event events/{step}.json"));
    }
    screen.heading("A whole rotation (while `sam local start-lambda` runs)");
    screen.line(&format!("  sam local start-lambda --config-file {configuration}"));
    for kind in kinds {
        screen.line(&format!("  aws secretsmanager rotate-secret --secret-id {}", secret(*kind)));
    }
    let variables = typed(&files.variables);
    let told = format!("\n{configuration} stands for --env-vars {variables} and --add-host.");
    screen.line(&screen.paint(Style::Dim, &told));
    screen.line(&screen.paint(Style::Dim, "Rotations appear here. Ctrl-C stops and cleans up."));
}
