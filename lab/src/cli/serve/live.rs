//! What happens in a running `cargo lab serve`, as it happens.

use crate::cli::screen::{Screen, Style};
use crate::cli::steps::show_report;
use crate::lambda::{Follower, StepEvent};

/// Shows rotations step by step, and what attached functions print.
pub(super) struct Live<'a> {
    screen: &'a Screen,
    /// The secret that the steps below are of, unless they say another.
    heading: Option<String>,
    output: Follower,
}

impl<'a> Live<'a> {
    /// Shows on this screen. Steps of the secret `heading` need not name it.
    pub(super) fn new(screen: &'a Screen, heading: Option<&str>, output: Follower) -> Self {
        Self { screen, heading: heading.map(str::to_owned), output }
    }

    /// Shows that a step has begun or ended.
    pub(super) fn show(&mut self, event: StepEvent) {
        match event {
            StepEvent::Started { step, secret_id } => {
                let secret = name(&secret_id);
                if step == "createSecret" {
                    self.screen.heading(&format!("Rotation of {secret}"));
                    self.heading = Some(secret.to_owned());
                }
                self.screen.pending(&format!("{step}{}", self.aside(secret)));
            }
            StepEvent::Ended(report) => {
                // What the function printed comes before the step's end, and what it printed in the next step does not.
                let lines = self.output.news_of(&report.outcome);
                self.print(lines);
                let aside = self.aside(name(&report.secret_id));
                show_report(self.screen, &report, &aside);
            }
        }
    }

    /// Shows what functions have printed by now.
    pub(super) fn show_output(&mut self) {
        let lines = self.output.news();
        self.print(lines);
    }

    fn print(&self, lines: Vec<(String, String)>) {
        for (function, line) in lines {
            self.screen.aside(&format!("{} {line}", self.screen.paint(Style::Dim, &format!("{function} |"))));
        }
    }

    /// The secret of a step, where rotations overlap and the step is not below its own heading.
    fn aside(&self, secret: &str) -> String {
        if self.heading.as_deref() == Some(secret) {
            return String::new();
        }
        self.screen.paint(Style::Dim, &format!("  ({secret})"))
    }
}

/// The name in a secret's ARN, which ends with a hyphen and six characters that the service chose.
fn name(secret_id: &str) -> &str {
    let name = secret_id.split_once(":secret:").and_then(|(_, name)| name.rsplit_once('-'));
    name.map_or(secret_id, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disturb::Disturb;
    use crate::lambda::Host;

    #[test]
    fn a_secret_is_named_as_its_owner_did() {
        for (id, expected) in [
            ("arn:aws:secretsmanager:us-east-1:123456789012:secret:lab/api-key-AbCdEf", "lab/api-key"),
            ("lab/api-key", "lab/api-key"),
        ] {
            assert_eq!(name(id), expected);
        }
    }

    #[test]
    fn steps_of_overlapping_rotations_name_their_secrets() {
        let screen = Screen::kept();
        let nothing = Follower::new(Host::new(&Disturb::new()).unwrap(), Vec::new());
        let mut live = Live::new(&screen, Some("a"), nothing);
        assert_eq!(live.aside("a"), "");
        let started =
            |secret: &str| StepEvent::Started { step: "createSecret".to_owned(), secret_id: secret.to_owned() };
        live.show(started("b"));
        assert_eq!((live.aside("a").as_str(), live.aside("b").as_str()), ("  (a)", ""));
        live.print(vec![("f".to_owned(), "hello".to_owned())]);
        assert_eq!(screen.text(), "\nRotation of b\n  f | hello\n");
    }
}
