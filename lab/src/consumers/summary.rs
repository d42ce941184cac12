//! What is told of it.

use super::programs::ProgramRow;
use super::trouble::Troubles;
use super::worker::Seen;
use crate::load::{Kind, Times};
use lockstep_secret::Counts;
use serde::Serialize;

/// An engine with a strategy.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// `postgres`, …
    pub engine: &'static str,
    /// `single-user`, …
    pub strategy: &'static str,
    /// Rotations that succeeded.
    pub rotations: usize,
    /// Rotations that ended in an error, because of the trouble that was made, and were repeated.
    pub repeated_rotations: usize,
    /// How long all of it took.
    pub seconds: f64,
    /// What was made to go wrong.
    pub troubles: Troubles,
    /// Each adapter, refreshing and keeping.
    pub rows: Vec<Row>,
    /// Applications in other languages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<ProgramRow>,
    /// Logins that were refused to an application without the crate, which reads the password once before each rotation.
    pub refused_without: usize,
    /// What must not be.
    pub problems: Vec<String>,
}

/// The workers of one adapter with one secret in memory.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// `sqlx`, …
    pub adapter: &'static str,
    /// Whether the secret refreshes ahead, or learns of every rotation from a refused login.
    pub refreshing: bool,
    /// Queries that were answered.
    pub queries: usize,
    /// Queries that were not.
    pub failed: usize,
    /// How long queries took, with all that they waited for.
    pub wait_milliseconds: Times,
    /// Logins that were cut on their way, and repeated by the worker.
    pub reconnected: usize,
    /// What the secret counted.
    pub counts: Counts,
}

impl Row {
    pub(super) fn new(adapter: &'static str, refreshing: bool, seen: &Seen, counts: Counts) -> Self {
        Self {
            adapter,
            refreshing,
            queries: seen.waits.len(),
            failed: seen.failed,
            wait_milliseconds: Times::of(seen.waits.iter().copied()),
            reconnected: seen.reconnected,
            counts,
        }
    }
}

impl Summary {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            engine: kind.engine.name(),
            strategy: kind.strategy.name(),
            rotations: 0,
            repeated_rotations: 0,
            seconds: 0.0,
            troubles: Troubles::default(),
            rows: Vec::new(),
            programs: Vec::new(),
            refused_without: 0,
            problems: Vec::new(),
        }
    }

    pub(super) fn add_program(&mut self, row: ProgramRow) {
        let ProgramRow { program, ours, ref seen } = row;
        if ours && seen.failed > 0 {
            let first = seen.first.as_deref().unwrap_or("unknown");
            self.problems.push(format!("{program}: {} queries failed, the first with {first}", seen.failed));
        }
        if seen.queries == seen.failed && ours {
            self.problems.push(format!("{program}: no query was answered"));
        }
        self.programs.push(row);
    }

    pub(super) fn add(&mut self, row: Row, seen: &Seen) {
        let name = if row.refreshing { "refreshing" } else { "keeping" };
        if row.failed > 0 {
            let errors = seen.errors.join("; ");
            self.problems.push(format!("{} ({name}): {} queries failed: {errors}", row.adapter, row.failed));
        }
        if row.queries == 0 {
            self.problems.push(format!("{} ({name}): no query was answered", row.adapter));
        }
        self.rows.push(row);
    }
}
