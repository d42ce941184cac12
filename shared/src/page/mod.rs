//! Pages for people, made from the answers to questions: HTML with a style and without a script, as a custom widget of a CloudWatch
//! dashboard and as a page of its own.
//!
//! A page is a pure function of an answer and a [`View`]. The answers are JSON that holds no secret, but names that strangers choose.
//! [`Html`] takes them as text alone.

mod details;
mod history;
mod html;
pub mod parts;
mod status;
mod view;

pub use html::Html;
pub use view::{Call, View};

use crate::error::Error;
use parts::text;
use serde_json::Value;

const STYLE: &str = include_str!("style.css");

/// What the widget's help says: `{"describe": true}`.
pub const HELP: &str = "\
## Rotations\n\
\n\
Shows every secret that this function rotates: its user, strategy, age, last outcome and next date, and whether it is late. \
*Details* tries which versions' credentials work, and says what to do next. *History* shows the versions, and who replaced whom. \
*Rotate now* is there where the deployer allows it.\n\
\n\
### Parameters\n\
\n\
| name | default | |\n\
|---|---|---|\n\
| `Values` | `true` | `false` leaves the secrets' values unread: user, strategy and age are not shown, and nothing is decrypted |\n\
\n\
### Example\n\
\n\
```yaml\n\
Values: false\n\
```\n";

/// The page of an answer to `status`, `diagnose`, `history` or `rotateNow`.
pub fn page(answer: &Value, view: &View) -> String {
    let body = match text(answer, "step") {
        "status" => status::body(answer, view),
        "diagnose" => details::body(answer, view),
        "history" => history::body(answer, view),
        _ => begun(answer),
    };
    frame(&body, view)
}

/// The page of a question without an answer.
pub fn refusal(error: &Error, view: &View) -> String {
    let mut body = Html::new();
    body.markup("<h2 class=\"bad\" role=\"alert\">No answer</h2><p>").text(&error.to_string());
    body.markup("</p><p class=\"dim\">").markup("Code: <code>").markup(error.code().as_str()).markup("</code></p>");
    frame(&body, view)
}

/// A page with this content: the style, and what the content's classes are for.
pub fn frame(body: &Html, view: &View) -> String {
    let mut page = Html::new();
    page.markup(STYLE).markup("<div class=\"").markup(view.classes()).markup("\">").append(body).markup("</div>");
    page.into_string()
}

fn begun(answer: &Value) -> Html {
    let mut body = Html::new();
    body.markup("<h2 role=\"status\">The rotation has begun</h2><p>Secret: <code>").text(text(answer, "secret"));
    body.markup("</code></p><p>New version: <code>").text(text(answer, "version"));
    body.markup("</code></p><p>It takes some seconds. Refresh the page to see how it went.</p>");
    body
}

#[cfg(test)]
mod tests;
