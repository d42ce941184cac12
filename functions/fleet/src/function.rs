//! Which of the stack's three functions this is. They are one program, and each has a role of its own. So whoever may invoke one of them can do
//! no more than that one answers.
//!
//! **Invariant:** only `PREFIX-fleet`, which the state machine invokes, takes the state of a run from its caller. Otherwise whoever sees the page
//! could forge one, and have AWSCURRENT moved back without a proof. Test: `the_pages_function_takes_no_state_of_a_run`.

use crate::plan::invalid::invalid;
use rotation::environment::Environment;
use rotation::error::{Code, Error, Fact, Result};
use serde_json::Value;

/// The setting.
const SERVES: &str = "SERVES";

/// A function of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// `PREFIX-fleet`: the steps of the state machine, and the fingerprints.
    Runs,
    /// `PREFIX-fleet-page`: the page of a dashboard. It rotates nothing itself.
    Page,
    /// `PREFIX-fleet-leaks`: reports of leaks.
    Leaks,
}

/// What a payload asks for, in its field `Do`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Begin,
    Next,
    Lane,
    Report,
    Fingerprints,
    Plan,
    Spread,
    Runs,
    Run,
    Stop,
    Go,
    Leak,
}

impl Word {
    const ALL: [Self; 12] = [
        Self::Begin,
        Self::Next,
        Self::Lane,
        Self::Report,
        Self::Fingerprints,
        Self::Plan,
        Self::Spread,
        Self::Runs,
        Self::Run,
        Self::Stop,
        Self::Go,
        Self::Leak,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Next => "next",
            Self::Lane => "lane",
            Self::Report => "report",
            Self::Fingerprints => "fingerprints",
            Self::Plan => "plan",
            Self::Spread => "spread",
            Self::Runs => "runs",
            Self::Run => "run",
            Self::Stop => "stop",
            Self::Go => "go",
            Self::Leak => "leak",
        }
    }

    /// Who answers it.
    fn by(self) -> Function {
        match self {
            Self::Begin | Self::Next | Self::Lane | Self::Report | Self::Fingerprints => Function::Runs,
            Self::Plan | Self::Spread | Self::Runs | Self::Run | Self::Stop | Self::Go => Function::Page,
            Self::Leak => Function::Leaks,
        }
    }
}

impl Function {
    const ALL: [Self; 3] = [Self::Runs, Self::Page, Self::Leaks];

    /// Reads the setting `SERVES`. It has no default: a function that has lost it must not become the one that takes the state of a run.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`]
    pub(crate) fn new(environment: &Environment) -> Result<Self> {
        let text = environment.text(SERVES)?.unwrap_or_default();
        let function = Self::ALL.into_iter().find(|function| function.name() == text);
        function.ok_or_else(|| {
            let found = if text.is_empty() { "nothing" } else { "another word" };
            let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, SERVES).with(Fact::Found, found);
            error.with(Fact::Expected, "runs, page or leaks")
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Page => "page",
            Self::Leaks => "leaks",
        }
    }

    /// The name in the template, for people.
    pub(crate) fn deployed(self) -> &'static str {
        match self {
            Self::Runs => "PREFIX-fleet (SERVES=runs)",
            Self::Page => "PREFIX-fleet-page (SERVES=page)",
            Self::Leaks => "PREFIX-fleet-leaks (SERVES=leaks)",
        }
    }

    /// The word of a payload, if this function answers it.
    ///
    /// # Errors
    /// [`Code::OrderInvalid`]: it names the words that this function answers, and which function answers this one.
    pub(crate) fn word(self, payload: &Value) -> Result<Word> {
        let asked = payload.get("Do").and_then(Value::as_str).unwrap_or_default();
        let found = match Word::ALL.into_iter().find(|word| word.name() == asked) {
            Some(word) if word.by() == self => return Ok(word),
            Some(word) => format!("{}, which {} answers", word.name(), word.by().deployed()),
            None if asked.is_empty() => "nothing".to_owned(),
            None => "another word".to_owned(),
        };
        let mut words: Vec<_> = self.words().collect();
        let last = words.pop().unwrap_or_default();
        let others = if words.is_empty() { String::new() } else { format!("{} or ", words.join(", ")) };
        Err(invalid("Do", &found, &format!("{others}{last}")))
    }

    fn words(self) -> impl Iterator<Item = &'static str> {
        Word::ALL.into_iter().filter(move |word| word.by() == self).map(Word::name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_word_is_answered_by_one_function() {
        let answered = |function: Function| {
            let words = Word::ALL.into_iter().filter(|word| function.word(&json!({"Do": word.name()})).is_ok());
            words.map(Word::name).collect::<Vec<_>>()
        };
        assert_eq!(answered(Function::Runs), ["begin", "next", "lane", "report", "fingerprints"]);
        assert_eq!(answered(Function::Page), ["plan", "spread", "runs", "run", "stop", "go"]);
        assert_eq!(answered(Function::Leaks), ["leak"]);
    }

    #[test]
    fn the_error_names_the_function_that_answers() {
        let said = |function: Function, asks: Value| function.word(&asks).unwrap_err().to_string();
        let error = said(Function::Page, json!({"Do": "lane"}));
        assert!(error.contains("lane, which PREFIX-fleet (SERVES=runs) answers"), "{error}");
        assert!(error.contains("plan, spread, runs, run, stop or go"), "{error}");
        assert!(said(Function::Leaks, json!({"Do": "fly"})).contains("another word"));
        assert!(said(Function::Leaks, json!({})).contains("nothing"));
        assert!(!said(Function::Leaks, json!({"Do": "a secret"})).contains("a secret"));
    }

    #[test]
    fn the_setting_has_three_words_and_no_default() {
        let of = |settings: &[(&str, &str)]| Function::new(&Environment::of(settings).unwrap());
        for function in Function::ALL {
            assert_eq!(of(&[(SERVES, function.name())]).unwrap(), function);
        }
        for settings in [&[][..], &[(SERVES, "all")], &[(SERVES, "")], &[("ONLY_LEAKS", "true")]] {
            assert_eq!(of(settings).unwrap_err().code(), Code::ConfigurationInvalid, "{settings:?}");
        }
    }
}
