//! Compiles predicates on answers.

use crate::description::compile::compiler::{Compiler, Offered};
use crate::description::{Expected, Pointer, Predicate, Predicates, written};
use std::collections::BTreeMap;

impl Compiler<'_> {
    pub(super) fn pointer(&mut self, path: &str, text: &str) -> Pointer {
        Pointer::parse(text).unwrap_or_else(|message| {
            self.problem(path, message);
            Pointer::default()
        })
    }

    pub(super) fn expectations(
        &mut self,
        path: &str,
        written: &BTreeMap<String, Expected>,
        allowed: Offered,
    ) -> Vec<(Pointer, Expected)> {
        let mut compiled = Vec::new();
        for (place, expected) in written {
            for template in expected.templates() {
                self.filled(&format!("{path}.{place}"), template, allowed, false);
            }
            compiled.push((self.pointer(path, place), expected.clone()));
        }
        compiled
    }

    pub(super) fn answers(&mut self, path: &str, written: &written::Predicates, allowed: Offered) -> Predicates {
        let list = match written {
            written::Predicates::One(one) => std::slice::from_ref(one),
            written::Predicates::Any(any) => any.as_slice(),
        };
        if list.is_empty() || list.iter().any(|answer| answer.status.as_ref().is_some_and(Vec::is_empty)) {
            self.problem(path, "expected at least one");
        }
        if list.iter().any(|answer| answer.text.as_ref().is_some_and(|text| text.trim().is_empty())) {
            self.problem(format!("{path}.text"), "expected some text, which only this answer contains");
        }
        let answers = list.iter().map(|answer| {
            let status = match &answer.status {
                None => vec![(200, 299)],
                Some(status) => status.iter().filter_map(|status| self.status(path, status)).collect(),
            };
            let fields = self.expectations(&format!("{path}.where"), &answer.fields, allowed);
            Predicate { status, fields, text: answer.text.clone() }
        });
        Predicates(answers.collect())
    }

    fn status(&mut self, path: &str, written: &written::Status) -> Option<(u16, u16)> {
        let range = match written {
            written::Status::Code(code) if (100..=599).contains(code) => Some((*code, *code)),
            written::Status::Code(_) => None,
            written::Status::Class(text) => {
                let digit = text.strip_suffix("xx").and_then(|digit| digit.parse::<u16>().ok());
                digit.filter(|digit| (1..=5).contains(digit)).map(|digit| (digit * 100, digit * 100 + 99))
            }
        };
        if range.is_none() {
            self.problem(format!("{path}.status"), "expected HTTP statuses, e.g. 204 or 2xx");
        }
        range
    }

    pub(super) fn ok(&mut self, path: &str, written: Option<&written::Predicates>, allowed: Offered) -> Predicates {
        match written {
            Some(written) => self.answers(path, written, allowed),
            None => Predicates::statuses(&[(200, 299)]),
        }
    }
}
