//! Which secrets have the leaked values, and what is proposed.

use super::fingerprint::{Age, Key};
use super::found::{self, Leaked, Report};
use super::values::Kind;
use crate::digest;
use crate::plan::member::Member;
use crate::plan::order::{Mode, Order, WHY};
use rotation::clock::Deadline;
use serde_json::{Value, json};
use std::collections::HashSet;

/// So many matches stand in an answer, and so many secrets in a proposal.
const NAMED: usize = 100;
/// So many proposals stand in an answer: with the matches, a line of the log has 256 KB.
const MOST_PROPOSALS: usize = 8;
/// How many secrets are compared between two looks at the clock.
const AT_ONCE: usize = 1_000;

/// A leaked credential and its secret.
#[derive(Debug)]
pub(super) struct Match<'a> {
    pub(super) member: &'a Member,
    pub(super) age: Age,
    pub(super) kind: Kind,
    pub(super) leaked: &'a Leaked,
    pub(super) fingerprint: String,
    /// Its emergency is started here, and is in no proposal.
    pub(super) starts: bool,
}

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Found<'a> {
    pub(super) matches: Vec<Match<'a>>,
    /// Leaked values that belong to no secret.
    pub(super) unknown: usize,
    /// Leaked values that were not looked for, or only in part.
    pub(super) not_looked_for: usize,
    /// Secrets whose fingerprints are under another key.
    pub(super) other_key: usize,
}

/// The secrets of leaked values: all that have one of them. Values with few texts come first, so that a long one keeps no other from being
/// looked for.
///
/// **Invariant:** what was not looked for until the time was over is counted. Otherwise whoever commits decoys hides a leak. Test:
/// `nothing_is_skipped_in_silence`.
pub(super) fn find<'a>(key: &Key, members: &'a [Member], leaked: &'a [Leaked], until: Deadline) -> Found<'a> {
    let tagged: Vec<_> = members.iter().filter_map(|member| Some((member, key.in_tag(member)?))).collect();
    let mut found =
        Found { other_key: members.iter().filter(|member| key.cannot_read(member)).count(), ..Found::default() };
    // A value stands in many commits.
    let mut known = HashSet::new();
    let new = leaked.iter().filter(|leaked| known.insert(leaked.value.expose()));
    let mut values: Vec<_> = new.map(|leaked| (leaked, found::parts(leaked.value.expose()))).collect();
    values.sort_by_key(|(_, (parts, _))| parts.len());
    for (leaked, (parts, all)) in values {
        let traces: Vec<_> = parts.iter().map(|part| key.of_value(part)).collect();
        let (mut known, mut looked) = (false, all);
        for some in tagged.chunks(AT_ONCE) {
            if until.left().is_zero() {
                looked = false;
                break;
            }
            for (member, tag) in some {
                let hit = traces.iter().map(|trace| trace.at(&member.arn)).find_map(|text| {
                    tag.prints
                        .iter()
                        .find(|print| print.text == text)
                        .map(|print| tag.age(print, &member.labels))
                        .map(|age| (text, age))
                });
                let Some((fingerprint, age)) = hit else { continue };
                known = true;
                if !found.matches.iter().any(|one| one.fingerprint == fingerprint) {
                    found.matches.push(Match { member, age, kind: tag.kind, leaked, fingerprint, starts: false });
                }
            }
        }
        found.not_looked_for += usize::from(!looked);
        found.unknown += usize::from(!known && looked);
    }
    found
}

impl Match<'_> {
    /// Whether an emergency can end it.
    pub(super) fn is_for_an_emergency(&self) -> bool {
        self.age != Age::Older && self.kind == Kind::Usual
    }

    /// The name of its emergency follows from the secret and the leaked value: whoever reports the leak again, or floods the hook, starts
    /// nothing a second time.
    pub(super) fn name(&self) -> String {
        format!("leak-{}", digest::key(&["leak", &self.member.arn, &self.fingerprint]))
    }

    fn shown(&self) -> Value {
        let mut shown = json!({
            "secret": self.member.name, "arn": self.member.arn, "value": self.age.as_str(),
            "rule": self.leaked.rule, "place": self.leaked.place, "sure": self.leaked.sure,
        });
        if let (Some(fields), instead) = (shown.as_object_mut(), self.kind.instead())
            && !instead.is_empty()
        {
            fields.insert("instead".to_owned(), instead.into());
        }
        shown
    }
}

/// The order of an emergency for these secrets.
pub(super) fn order(name: &str, matches: &[&Match<'_>]) -> Value {
    let secrets: Vec<_> = matches.iter().map(|one| one.member.arn.as_str()).collect();
    let mut why =
        matches.first().map(|one| format!("leaked: {} {}", one.leaked.rule, one.leaked.place)).unwrap_or_default();
    while why.len() > WHY {
        why.pop();
    }
    json!({"run": true, "name": name, "mode": Mode::Emergency, "why": why, "askedBy": "leak", "select": {"secrets": secrets}})
}

/// Orders that have all these secrets but those whose emergencies are started here. Each can be started as it stands; and how many secrets
/// have no place in them.
fn proposals(matches: &[Match<'_>]) -> (Vec<Value>, usize) {
    let mut known: HashSet<_> = matches.iter().filter(|one| one.starts).map(|one| one.member.arn.as_str()).collect();
    let alive = matches.iter().filter(|one| one.is_for_an_emergency() && known.insert(one.member.arn.as_str()));
    let mut left: &[&Match<'_>] = &alive.collect::<Vec<_>>();
    let mut proposals = Vec::new();
    while let Some(first) = left.first().filter(|_| proposals.len() < MOST_PROPOSALS) {
        let name = first.name();
        let fits = |size: &usize| {
            let order = order(&name, left.get(..*size).unwrap_or_default());
            Order::read(&order, &name).is_ok().then_some(order)
        };
        let sizes = (1..=NAMED.min(left.len())).rev();
        let Some((size, order)) = sizes.into_iter().find_map(|size| Some((size, fits(&size)?))) else { break };
        proposals.push(order);
        left = left.get(size..).unwrap_or_default();
    }
    (proposals, left.len())
}

impl Report {
    pub(super) fn answer(&self, found: &Found<'_>) -> Value {
        let (proposals, not_proposed) = proposals(&found.matches);
        json!({
            "matches": found.matches.iter().take(NAMED).map(Match::shown).collect::<Vec<_>>(),
            "matched": found.matches.len(),
            "unknown": found.unknown,
            "notLookedFor": self.beyond + found.not_looked_for,
            "ignored": self.ignored,
            "secretsUnderAnotherKey": found.other_key,
            "notices": self.notices,
            "proposals": proposals,
            "notProposed": not_proposed,
        })
    }
}
