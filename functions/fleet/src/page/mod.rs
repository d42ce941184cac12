//! The fleet's page, as a widget of a dashboard: a form, the plan for what was written into it, and the runs.
//!
//! Pure functions of the function's answers. Names that strangers choose enter through [`Html`] alone.

pub(crate) mod form;
mod plan;
mod runs;

use rotation::page::{Html, View, frame};
use serde_json::Value;

/// What the widget's help says: `{"describe": true}`.
pub(crate) const HELP: &str = "\
## The fleet\n\
\n\
Plans the rotation of many secrets, and shows the latest runs. *Plan* changes nothing. Where the deployer allows it, *Run* starts what was \
planned, and *Stop* ends a run before its next secrets. It has no parameters.\n";

/// The page of an answer to `runs`, `plan`, `run`, `stop` or `go`.
pub(crate) fn page(answer: &Value, view: &View) -> String {
    let mut body = Html::new();
    body.markup(STYLE).markup("<h2>Fleet</h2>");
    match answer.get("plan") {
        Some(plan) => plan::body(answer, plan, view, &mut body),
        None => {
            runs::said(answer, &mut body);
            form::select(None, "rotate", view, &mut body);
            runs::body(answer, view, &mut body);
        }
    }
    frame(&body, view)
}

const STYLE: &str = "<style>\
.lockstep .acts{margin:4px 0}.lockstep form{display:flex;flex-wrap:wrap;gap:8px;margin:4px 0}.lockstep label{display:flex;flex-direction:column;max-width:100%;color:var(--dim)}\
.lockstep input,.lockstep select{font:inherit;color:var(--ink);background:var(--paper);border:1px solid var(--dim);border-radius:4px;padding:3px 6px;\
max-width:100%}\
.lockstep input:focus-visible,.lockstep select:focus-visible{outline:3px solid var(--warn);outline-offset:2px}\
</style>";

#[cfg(test)]
mod tests;
