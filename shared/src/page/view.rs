//! For whom a page is made: light or dark, in which time zone, and how its buttons act.

use super::html::Html;
use crate::clock::{date, moment};
use crate::encoding::percent_encoded;
use serde_json::{Value, json};
use std::time::Duration;

/// How a page is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    theme: Theme,
    /// Seconds east of UTC.
    offset: i64,
    links: Links,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    Light,
    Dark,
    /// As the browser says.
    Auto,
}

/// How buttons act.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Links {
    /// By CloudWatch, which invokes this function.
    Widget { function: String },
    /// By links to other pages.
    Pages,
}

impl View {
    /// The view of a custom widget: what CloudWatch says in `widgetContext`. `None` if the payload has no such object. `function`
    /// is the ARN that the buttons invoke.
    ///
    /// Whoever may invoke the function chooses everything in it. Nothing of it is repeated in the page.
    ///
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard_about.html>
    pub fn of_widget(payload: &Value, function: &str) -> Option<Self> {
        let context = payload.get("widgetContext").filter(|context| context.is_object())?;
        let text = |pointer: &str| context.pointer(pointer).and_then(Value::as_str);
        let theme = if text("/theme") == Some("dark") { Theme::Dark } else { Theme::Light };
        let offset = text("/timezone/offsetISO").and_then(seconds_east).unwrap_or_default();
        Some(Self { theme, offset, links: Links::Widget { function: function.to_owned() } })
    }

    /// The view of a browser, with links to `/details`, `/history` and `/rotate`.
    pub fn of_browser() -> Self {
        Self { theme: Theme::Auto, offset: 0, links: Links::Pages }
    }

    /// The classes of the page's outermost element.
    pub(super) fn classes(&self) -> &'static str {
        match self.theme {
            Theme::Light => "cwdb-no-default-styles lockstep",
            Theme::Dark => "cwdb-no-default-styles lockstep dark",
            Theme::Auto => "cwdb-no-default-styles lockstep auto",
        }
    }

    /// A date of an answer, in the view's time zone.
    pub fn time(&self, text: &str, html: &mut Html) {
        let Some(shown) = moment(text).and_then(|moment| self.shown(moment)) else {
            html.text(text);
            return;
        };
        html.markup("<time").attribute("datetime", text).markup(">").text(&shown).markup("</time>");
    }

    fn shown(&self, moment: Duration) -> Option<String> {
        let seconds = i64::try_from(moment.as_secs()).ok()?.checked_add(self.offset)?;
        let date = date(Duration::from_secs(u64::try_from(seconds).ok()?))?;
        let (day, time) = date.split_once('T')?;
        let minutes = self.offset.abs() / 60;
        let zone = match self.offset {
            0 => "UTC".to_owned(),
            offset => format!("{}{:02}:{:02}", if offset < 0 { '-' } else { '+' }, minutes / 60, minutes % 60),
        };
        Some(format!("{day} {} {zone}", time.get(..5)?))
    }

    /// A button that shows a question's answer about a secret in a window.
    pub(super) fn question(&self, act: Act, secret: &str, name: &str, function: &str, html: &mut Html) {
        let label = format!("{}: {name}", act.label());
        match &self.links {
            Links::Pages => {
                html.markup("<a class=\"btn\"").attribute("aria-label", &label);
                let query = format!("?function={}&secret={}", percent_encoded(function), percent_encoded(secret));
                html.attribute("href", &format!("{}{query}", act.page()))
                    .markup(">")
                    .markup(act.label())
                    .markup("</a>");
            }
            Links::Widget { .. } => self.call(
                &Call {
                    label: act.label(),
                    name: &label,
                    confirmation: act.confirmation().map(|question| format!("{question} {name}")),
                    in_place: false,
                    payload: json!({"Step": act.step(), "SecretId": secret}),
                },
                html,
            ),
        }
    }

    /// A button of a widget. A page in a browser has none.
    pub fn call(&self, call: &Call<'_>, html: &mut Html) {
        let Links::Widget { function } = &self.links else { return };
        html.markup("<button type=\"button\" class=\"btn\"").attribute("aria-label", call.name).markup(">");
        html.markup(call.label).markup("</button><cwdb-action action=\"call\" display=\"");
        html.markup(if call.in_place { "widget" } else { "popup" }).markup("\"").attribute("endpoint", function);
        if let Some(confirmation) = &call.confirmation {
            html.attribute("confirmation", confirmation);
        }
        html.markup(">").json(&call.payload).markup("</cwdb-action>");
    }
}

/// A button with which CloudWatch invokes the function, together with what stands in the widget's forms.
///
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard_about.html>
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// What stands on it.
    pub label: &'static str,
    /// What it is called by a screen reader.
    pub name: &'a str,
    /// What is asked before.
    pub confirmation: Option<String>,
    /// Whether the answer takes the widget's place. Otherwise it is in a window.
    pub in_place: bool,
    /// What the function is invoked with.
    pub payload: Value,
}

/// What a button does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Details,
    History,
    RotateNow,
}

impl Act {
    fn label(self) -> &'static str {
        match self {
            Self::Details => "Details",
            Self::History => "History",
            Self::RotateNow => "Rotate now",
        }
    }

    fn step(self) -> &'static str {
        match self {
            Self::Details => "diagnose",
            Self::History => "history",
            Self::RotateNow => "rotateNow",
        }
    }

    fn page(self) -> &'static str {
        match self {
            Self::Details => "/details",
            Self::History => "/history",
            Self::RotateNow => "/rotate",
        }
    }

    fn confirmation(self) -> Option<&'static str> {
        (self == Self::RotateNow)
            .then_some("The credential will be replaced by a new one. Begin a rotation of this secret?")
    }
}

/// An offset from UTC such as `+05:30`, in seconds. The longest there are have 14 hours.
fn seconds_east(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |digits: &str, most: i64| {
        let digits = Some(digits).filter(|it| it.len() == 2 && it.chars().all(|c| c.is_ascii_digit()))?;
        digits.parse::<i64>().ok().filter(|number| *number <= most)
    };
    Some(sign * (number(hours, 14)? * 3_600 + number(minutes, 59)? * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_the_zone_of_who_looks() {
        let shown = |offset: &Value| {
            let payload = json!({"widgetContext": {"timezone": {"offsetISO": offset}}});
            let mut html = Html::new();
            View::of_widget(&payload, "f").unwrap().time("2026-11-29T21:50:07Z", &mut html);
            html.into_string()
        };
        let begin = "<time datetime=\"2026-11-29T21:50:07Z\">";
        assert_eq!(shown(&json!("+05:30")), format!("{begin}2026-11-30 03:20 +05:30</time>"));
        assert_eq!(shown(&json!("-03:30")), format!("{begin}2026-11-29 18:20 -03:30</time>"));
        for unreadable in [json!("+00:00"), json!("<b>"), json!("+99:00"), json!(7), json!("+1:0"), json!("")] {
            assert_eq!(shown(&unreadable), format!("{begin}2026-11-29 21:50 UTC</time>"), "{unreadable}");
        }
        let mut html = Html::new();
        View::of_browser().time("<script>", &mut html);
        assert_eq!(html.into_string(), "&lt;script&gt;");
    }

    #[test]
    fn only_a_context_of_cloudwatch_makes_a_widget() {
        assert_eq!(View::of_widget(&json!({}), "f"), None);
        assert_eq!(View::of_widget(&json!({"widgetContext": "dark"}), "f"), None);
        let theme = |theme: Value| View::of_widget(&json!({"widgetContext": {"theme": theme}}), "f").unwrap().classes();
        assert!(theme(json!("dark")).ends_with(" dark"));
        assert!(theme(json!("\"><script>")).ends_with(" lockstep"));
    }
}
