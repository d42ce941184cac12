//! Which of the stack's three functions this is. They are one program, and each has a role of its own. So whoever may invoke one of them can do
//! no more than that one answers.

use crate::plan::invalid::invalid;
use rotation::environment::Environment;
use rotation::error::{Code, Error, Fact, Result};
use serde_json::Value;

/// The setting.
const SERVES: &str = "SERVES";

/// A function of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serves {
    /// `PREFIX-fleet`: the steps of the state machine. Its caller hands it the state of a run.
    Runs,
    /// `PREFIX-fleet-page`: the page of a dashboard. It rotates nothing itself.
    Page,
    /// `PREFIX-fleet-leaks`: reports of leaks.
    Leaks,
}

use Serves::{Leaks, Page, Runs};

/// The functions, with their names in `SERVES`.
const ALL: [(Serves, &str); 3] = [(Runs, "runs"), (Page, "page"), (Leaks, "leaks")];

/// The words of `Do`, and who answers them.
const WORDS: [(&str, Serves); 12] = [
    ("begin", Runs),
    ("next", Runs),
    ("lane", Runs),
    ("report", Runs),
    ("fingerprints", Runs),
    ("plan", Page),
    ("spread", Page),
    ("runs", Page),
    ("run", Page),
    ("stop", Page),
    ("go", Page),
    ("leak", Leaks),
];

impl Serves {
    /// Reads the setting `SERVES`.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`]
    pub(crate) fn new(environment: &Environment) -> Result<Self> {
        let Some(text) = environment.text(SERVES)? else { return Ok(Runs) };
        let found = ALL.into_iter().find(|(_, name)| *name == text).map(|(serves, _)| serves);
        found.ok_or_else(|| {
            let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, SERVES);
            error.with(Fact::Found, "another word").with(Fact::Expected, "runs, page or leaks")
        })
    }

    fn name(self) -> &'static str {
        ALL.into_iter().find(|(serves, _)| *serves == self).map_or("", |(_, name)| name)
    }

    /// The word of a payload, if this function answers it.
    ///
    /// # Errors
    /// [`Code::OrderInvalid`]: it names the words that this function answers, and which function answers this one.
    pub(crate) fn word(self, payload: &Value) -> Result<&'static str> {
        let asked = payload.get("Do").and_then(Value::as_str).unwrap_or_default();
        let found = match WORDS.into_iter().find(|(word, _)| *word == asked) {
            Some((word, by)) if by == self => return Ok(word),
            Some((word, by)) => format!("{word}, which only the function with {SERVES}={} answers", by.name()),
            None if asked.is_empty() => "nothing".to_owned(),
            None => "another word".to_owned(),
        };
        let mut words: Vec<_> = self.words().collect();
        let last = words.pop().unwrap_or_default();
        let others = if words.is_empty() { String::new() } else { format!("{} or ", words.join(", ")) };
        Err(invalid("Do", &found, &format!("{others}{last}")))
    }

    fn words(self) -> impl Iterator<Item = &'static str> {
        WORDS.into_iter().filter(move |(_, by)| *by == self).map(|(word, _)| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_word_is_answered_by_one_function() {
        for (word, by) in WORDS {
            for (serves, _) in ALL {
                let answered = serves.word(&json!({"Do": word}));
                assert_eq!(answered.ok(), (serves == by).then_some(word), "{word} {serves:?}");
            }
        }
        // What takes the state of a run from its caller, or writes tags.
        let words: Vec<_> = Runs.words().collect();
        assert_eq!(words, ["begin", "next", "lane", "report", "fingerprints"]);
    }

    #[test]
    fn the_error_names_the_function_that_answers() {
        let said = |serves: Serves, asks: Value| serves.word(&asks).unwrap_err().to_string();
        let error = said(Page, json!({"Do": "lane"}));
        assert!(error.contains("lane, which only the function with SERVES=runs answers"), "{error}");
        assert!(error.contains("plan, spread, runs, run, stop or go"), "{error}");
        assert!(said(Leaks, json!({"Do": "fly"})).contains("another word"));
        assert!(said(Leaks, json!({})).contains("nothing"));
        assert!(!said(Leaks, json!({"Do": "a secret"})).contains("a secret"));
    }

    #[test]
    fn the_setting_has_three_words() {
        let of = |text: &str| Serves::new(&Environment::of(&[(SERVES, text)]).unwrap());
        for (serves, name) in ALL {
            assert_eq!(of(name).unwrap(), serves);
        }
        assert_eq!(Serves::new(&Environment::of(&[]).unwrap()).unwrap(), Runs);
        assert_eq!(of("all").unwrap_err().code(), Code::ConfigurationInvalid);
    }
}
