//! `cargo lab`, the demonstration, and `cargo lab rotate`.

use super::proof::{Before, Holder, Opened, Proof, prove};
use super::screen::{Screen, Style};
use super::setup::Bench;
use super::steps::{self, FailedLine, Rotated, milliseconds, rounded};
use super::stop::Stop;
use super::target::{Engine, Function, Strategy, Target};
use super::{certificate, database, issued_key, signing_key};
use crate::build::Profile;
use crate::lambda::StepReport;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// The demonstration: one rotation with all its proofs, on PostgreSQL, on MySQL and at an issuer of API keys.
pub(super) async fn demonstrate(screen: &Screen, profile: Profile) -> Result<(), Stop> {
    let function = || Function::Built(profile);
    let title = |text: &str| screen.line(&screen.paint(Style::Bold, text));
    title("Lockstep: a PostgreSQL password rotates on this machine, on real parts");
    rotate_password(screen, &Target::new(Engine::Postgres, Strategy::SingleUser, function()), 1).await?;
    title("\nAnd a MySQL password, with no moment in which the previous one is refused");
    rotate_password(screen, &Target::new(Engine::Mysql, Strategy::DualPassword, function()), 1).await?;
    title("\nAnd an API key, at an issuer that takes its time to know a new one");
    rotate_key(screen, &function(), 1).await?;
    screen.line(
        "\nNext: `cargo lab rotate api-key --times 3`, `cargo lab check-issuer --built-in datadog`, `cargo lab serve`, \
         `cargo lab --help`.",
    );
    Ok(())
}

/// Rotates a database password `times` times and proves each rotation.
pub(super) async fn rotate_password(screen: &Screen, target: &Target, times: u32) -> Result<(), Stop> {
    let bench = database::set_up(screen, target).await.inspect_err(|stop| setup_json(screen, stop))?;
    rotate(screen, bench, times).await
}

/// The same with an API key.
pub(super) async fn rotate_key(screen: &Screen, function: &Function, times: u32) -> Result<(), Stop> {
    let bench = issued_key::set_up(screen, function).await.inspect_err(|stop| setup_json(screen, stop))?;
    rotate(screen, bench, times).await
}

/// The same with a signing key.
pub(super) async fn rotate_signing_key(screen: &Screen, function: &Function, times: u32) -> Result<(), Stop> {
    let bench = signing_key::set_up(screen, function).await.inspect_err(|stop| setup_json(screen, stop))?;
    rotate(screen, bench, times).await
}

/// The same with a certificate.
pub(super) async fn rotate_certificate(screen: &Screen, function: &Function, times: u32) -> Result<(), Stop> {
    let bench = certificate::set_up(screen, function).await.inspect_err(|stop| setup_json(screen, stop))?;
    rotate(screen, bench, times).await
}

/// Rotates what is set up `times` times and proves each rotation.
pub(super) async fn rotate<O: Opened>(screen: &Screen, bench: Bench<O>, times: u32) -> Result<(), Stop> {
    let mut tally = Tally::<O>::new();
    for number in 1..=times {
        one(&bench, screen, number, &mut tally).await?;
    }
    bench.lab.shutdown().await;
    if times > 1 {
        tally.show(screen, &bench.opened, times);
    }
    screen.json(&tally.last_line(&bench.opened, times));
    Ok(())
}

/// Says as JSON why nothing could be done.
pub(super) fn setup_json(screen: &Screen, stop: &Stop) {
    if let Stop::Setup(reason) = stop {
        screen.json(&FailedLine::new(None, None, "setup", reason));
    }
}

async fn one<O: Opened>(bench: &Bench<O>, screen: &Screen, number: u32, tally: &mut Tally<O>) -> Result<(), Stop> {
    screen.heading(&format!("Rotation {number}"));
    let before = Before::read(bench).await.map_err(|error| unreadable(screen, number, &error))?;
    let holder = bench.opened.keeps_previous().then(|| Holder::start(bench, &before));
    let rotated = steps::rotate(bench, screen, number).await?;
    screen.line(&format!("    rotated in {:.0} ms", milliseconds(rotated.duration())));
    let mut proofs = prove(bench, &before, tally.earlier.as_ref(), &rotated).await;
    if let Some(holder) = holder {
        proofs.push(tally.held(holder.finish().await));
    }
    show_proofs(screen, number, &proofs)?;
    tally.rotations.push(rotated);
    tally.earlier = Some(before.credential);
    Ok(())
}

fn unreadable(screen: &Screen, number: u32, error: &str) -> Stop {
    screen.settle(false, &format!("the secret could not be read: {error}"));
    screen.json(&FailedLine::new(Some(number), None, "secret-unreadable", error));
    Stop::Failed
}

fn show_proofs(screen: &Screen, number: u32, proofs: &[Proof]) -> Result<(), Stop> {
    screen.line(&screen.paint(Style::Dim, "  proved:"));
    for proof in proofs {
        screen.settle(proof.holds, &proof.text);
    }
    let Some(failed) = proofs.iter().find(|proof| !proof.holds) else { return Ok(()) };
    screen.json(&FailedLine::new(Some(number), None, "proof-failed", &failed.text));
    Err(Stop::Failed)
}

/// What all rotations together show.
struct Tally<O: Opened> {
    rotations: Vec<Rotated>,
    /// Uses of a credential that was already superseded or about to be, none of them refused.
    uses: u32,
    /// What was current before the last rotation.
    earlier: Option<O::Credential>,
}

impl<O: Opened> Tally<O> {
    fn new() -> Self {
        Self { rotations: Vec::new(), uses: 0, earlier: None }
    }

    fn held(&mut self, uses: Result<u32, String>) -> Proof {
        match uses {
            Ok(uses) => {
                self.uses += uses;
                let used = O::USED;
                Proof::holds(format!("a client that kept the previous credential {used} {uses} times, never refused"))
            }
            Err(error) => Proof::fails(format!("a client that kept the previous credential was {error}")),
        }
    }

    /// The median time of each step, in the order of the steps, and of whole rotations.
    fn medians(&self) -> Vec<(String, Duration)> {
        let names: Option<Vec<_>> =
            self.rotations.first().map(|first| first.steps.iter().map(|step| step.step.clone()).collect());
        let mut medians: Vec<_> = names
            .unwrap_or_default()
            .into_iter()
            .map(|name| {
                let steps = self.rotations.iter().flat_map(|rotated| &rotated.steps);
                let times = steps.filter(|step| step.step == name).map(StepReport::duration).collect();
                (name, median(times))
            })
            .collect();
        medians.push(("rotation".to_owned(), median(self.rotations.iter().map(Rotated::duration).collect())));
        medians
    }

    fn show(&self, screen: &Screen, opened: &O, times: u32) {
        screen.heading(&format!("{times} rotations, all proved; median times"));
        for (name, time) in self.medians() {
            screen.line(&format!("  {name:<13}{:>8.1} ms", milliseconds(time)));
        }
        if self.uses > 0 {
            screen.line(&format!("  {} {} with a previous credential, none refused", self.uses, O::USES));
        }
        if let Some(remark) = opened.remark() {
            screen.line(&format!("  {remark}"));
        }
    }

    fn last_line(&self, opened: &O, times: u32) -> RotatedLine {
        let held = opened
            .keeps_previous()
            .then_some(HeldFields { logins_with_previous_credential: self.uses, refused_logins: 0 });
        let median_milliseconds = Medians(self.medians());
        RotatedLine { outcome: "rotated", rotations: times, strategy: opened.strategy(), median_milliseconds, held }
    }
}

/// The last line of `--json` where everything is proved.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RotatedLine {
    outcome: &'static str,
    rotations: u32,
    strategy: String,
    median_milliseconds: Medians,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    held: Option<HeldFields>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeldFields {
    /// Requests, where the credential is an API key.
    logins_with_previous_credential: u32,
    /// Always 0: one that is refused is a failed proof. Stated because it is the promise.
    refused_logins: u32,
}

/// Times by name, in the order of the steps.
struct Medians(Vec<(String, Duration)>);

impl Serialize for Medians {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, time)| (name, rounded(*time))))
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let upper = times.len() / 2;
    let lower = times.len().saturating_sub(1) / 2;
    match (times.get(lower), times.get(upper)) {
        (Some(lower), Some(upper)) => (*lower + *upper) / 2,
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        let of = |times: &[u64]| median(times.iter().copied().map(Duration::from_millis).collect());
        assert_eq!(of(&[]), Duration::ZERO);
        assert_eq!(of(&[9, 1, 5]), Duration::from_millis(5));
        assert_eq!(of(&[4, 1, 2, 100]), Duration::from_millis(3));
    }
}
