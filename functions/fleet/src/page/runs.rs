//! The latest runs, and the buttons that stop them.

use rotation::page::parts::{cell, list, number, table, text};
use rotation::page::{Call, Html, View};
use serde_json::{Value, json};

/// What was just done.
pub(super) fn said(answer: &Value, html: &mut Html) {
    let run = text(answer, "run");
    match text(answer, "does") {
        "run" if answer.get("started") == Some(&Value::Bool(true)) => {
            html.markup("<p role=\"status\"><strong class=\"good\">The run ").text(run);
            html.markup(" was started.</strong> Refresh the widget to see how it goes.</p>");
        }
        "run" => {
            html.markup("<p role=\"alert\"><strong class=\"bad\">There is an execution of the name ").text(run);
            html.markup(" already.</strong> Nothing was started.</p>");
        }
        _ => {}
    }
}

pub(super) fn body(answer: &Value, view: &View, html: &mut Html) {
    html.markup("<h3>Runs</h3>");
    flag(answer, view, html);
    if !text(answer, "trouble").is_empty() {
        html.markup("<p class=\"bad\" role=\"alert\">The runs could not be read: ")
            .text(text(answer, "trouble"))
            .markup("</p>");
        return;
    }
    if list(answer, "runs").next().is_none() {
        html.markup("<p>There was no run yet.</p>");
        return;
    }
    let columns = ["Execution", "State", "What", "Why", "Began", "Ended", "Outcome", "Actions"];
    table("The latest executions, the newest first", &columns, html);
    for run in list(answer, "runs") {
        row(answer, run, view, html);
    }
    html.markup("</tbody></table>");
}

/// The stop flag, where it is set.
fn flag(answer: &Value, view: &View, html: &mut Html) {
    let flag = text(answer, "flag");
    match flag {
        "" | "go" => return,
        "stop" => html.markup("<p><strong class=\"bad\">The stop flag stops every run.</strong></p>"),
        run => html.markup("<p>The stop flag stops the run <code>").text(run).markup("</code>.</p>"),
    };
    if may_run(answer) {
        html.markup("<div class=\"acts\">");
        let question =
            "The stop flag will be taken away, and runs can begin. A run that has stopped does not go on by itself.";
        let call = Call {
            label: "Let runs begin",
            name: "Let runs begin",
            confirmation: Some(question.to_owned()),
            in_place: true,
            payload: json!({"Do": "go"}),
        };
        view.call(&call, html);
        html.markup("</div>");
    }
}

fn may_run(answer: &Value) -> bool {
    answer.get("mayRun") == Some(&Value::Bool(true))
}

fn row(answer: &Value, run: &Value, view: &View, html: &mut Html) {
    let (class, words) = match (text(run, "status"), run.get("plan") == Some(&Value::Bool(true))) {
        ("RUNNING", _) => ("under-way", "Running"),
        ("SUCCEEDED", true) => ("in-time", "Planned"),
        ("SUCCEEDED", false) => ("in-time", "Succeeded"),
        ("ABORTED", _) => ("failed", "Aborted"),
        _ => ("failed", "Failed"),
    };
    html.markup("<tr role=\"row\" class=\"").markup(class).markup("\"><th role=\"rowheader\" scope=\"row\">");
    html.text(text(run, "execution")).markup("</th>");
    cell("State", html, |html| {
        html.markup("<span class=\"state\">").markup(words).markup("</span>");
    });
    cell("What", html, |html| {
        html.text(text(run, "mode"));
    });
    cell("Why", html, |html| {
        html.text(text(run, "why"));
        if !text(run, "askedBy").is_empty() {
            html.markup("<br><span class=\"dim\">").text(text(run, "askedBy")).markup("</span>");
        }
    });
    for (label, field) in [("Began", "began"), ("Ended", "ended")] {
        cell(label, html, |html| view.time(text(run, field), html));
    }
    cell("Outcome", html, |html| outcome(run, html));
    cell("Actions", html, |html| {
        if text(run, "status") == "RUNNING" && may_run(answer) {
            let name = text(run, "run");
            let call = Call {
                label: "Stop",
                name: &format!("Stop: {name}"),
                confirmation: Some(format!(
                    "No further secret begins. Those that have begun end by themselves. Stop the run {name}?"
                )),
                in_place: true,
                payload: json!({"Do": "stop", "Run": name}),
            };
            view.call(&call, html);
        }
    });
    html.markup("</tr>");
}

fn outcome(run: &Value, html: &mut Html) {
    html.text(text(run, "outcome"));
    let tally = run.get("tally").and_then(Value::as_object);
    for (at, (outcome, count)) in tally.into_iter().flatten().enumerate() {
        html.markup(if at == 0 { "<br><span class=\"dim\">" } else { "<span class=\"dim\">, " });
        html.number(count.as_u64().unwrap_or_default()).markup(" ").text(outcome).markup("</span>");
    }
    if number(run, "notReached") > 0 {
        html.markup("<br><span class=\"bad\">").number(number(run, "notReached")).markup(" not reached</span>");
    }
}
