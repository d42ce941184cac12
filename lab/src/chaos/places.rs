//! The places that public keys are published in: an object in S3, and a parameter of Systems Manager.
//!
//! Both are strongly consistent: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel>. S3 refuses a write
//! whose condition does not hold; Systems Manager takes every write, numbers it, and keeps the last hundred.

use super::case::{OBJECT, Owned, PARAMETER, Strategy};
use rotation::aws::service::{Answer, Request};
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};

/// How the ids of keys begin that a person has added to a published set.
pub(super) const STRANGER: &str = "strangers-";

/// A kind of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// In S3.
    Object,
    /// In Systems Manager. A write that was held up stands until its writer notices that it was late.
    Parameter,
}

/// The places of the tested secret.
#[derive(Debug)]
pub(super) struct Places {
    kinds: Vec<Kept>,
    object: Option<String>,
    /// Its versions.
    parameter: Vec<String>,
    changes: u64,
    /// The ids of the published keys, in each place.
    kids: Vec<Vec<String>>,
    /// The keys that people have left in the first place when they last edited it.
    added: Vec<String>,
}

impl Places {
    /// Empty ones.
    pub(super) fn new(strategy: Strategy) -> Self {
        let kinds = match strategy {
            Strategy::Object => vec![Kept::Object],
            Strategy::Parameter => vec![Kept::Parameter],
            Strategy::TwoPlaces => vec![Kept::Object, Kept::Parameter],
            _ => Vec::new(),
        };
        let kids = kinds.iter().map(|_| Vec::new()).collect();
        Self { kinds, object: None, parameter: Vec::new(), changes: 0, kids, added: Vec::new() }
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn kinds(&self) -> &[Kept] {
        &self.kinds
    }

    fn text(&self, kept: Kept) -> Option<&str> {
        match kept {
            Kept::Object => self.object.as_deref(),
            Kept::Parameter => self.parameter.last().map(String::as_str),
        }
    }

    /// The published set of a place.
    fn set(&self, kept: Kept) -> Value {
        self.text(kept).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// The ids of the published keys, in each place.
    pub(super) fn kids(&self) -> &[Vec<String>] {
        &self.kids
    }

    /// Something was written.
    fn changed(&mut self) {
        self.changes += 1;
        let kids = |kept: &Kept| {
            let set = self.set(*kept);
            let keys = set.get("keys").and_then(Value::as_array).into_iter().flatten();
            keys.filter_map(|key| key.get("kid")?.as_str().map(str::to_owned)).collect()
        };
        self.kids = self.kinds.iter().map(kids).collect();
    }

    /// Whether verifiers find the key in all places. Before the first rotation there is none.
    pub(super) fn open(&self, kid: &str) -> bool {
        let has = |kids: &Vec<String>| kids.iter().filter(|known| *known == kid).count() == 1;
        kid.is_empty() || self.kids().iter().all(has)
    }

    /// The keys that people have added to an object. A parameter may lack one for the moment between two writes.
    pub(super) fn strangers(&self) -> Vec<Owned> {
        let is_object = |key: &Owned| self.kinds.first() == Some(&Kept::Object) && key.id == "0";
        self.living().into_iter().filter(|key| key.secret.starts_with(STRANGER) && is_object(key)).collect()
    }

    /// The keys that people have added to the first place and not removed, and that are gone.
    pub(super) fn lost_strangers(&self) -> impl Iterator<Item = &String> {
        self.added.iter().filter(|kid| !self.kids.first().is_some_and(|kids| kids.contains(*kid)))
    }

    /// All keys: each has its place as its id.
    pub(super) fn living(&self) -> Vec<Owned> {
        let places = self.kids.iter().enumerate();
        let owned = |place: usize| move |kid: &String| Owned { id: place.to_string(), secret: kid.clone() };
        places.flat_map(|(place, kids)| kids.iter().map(owned(place))).collect()
    }

    /// Changes the first place's set by hand. `None` deletes it.
    pub(super) fn edit(&mut self, edit: impl FnOnce(Value) -> Option<Value>) {
        let Some(first) = self.kinds.first().copied() else { return };
        let set = edit(self.set(first)).map(|set| set.to_string());
        match (first, set) {
            (Kept::Object, set) => self.object = set,
            (Kept::Parameter, Some(set)) => self.parameter.push(set),
            (Kept::Parameter, None) => self.parameter.clear(),
        }
        self.changed();
        let kids = self.kids.first().into_iter().flatten();
        self.added = kids.filter(|kid| kid.starts_with(STRANGER)).cloned().collect();
    }

    /// Deletes the sets of all places by hand.
    pub(super) fn clear(&mut self) {
        self.object = None;
        self.parameter.clear();
        self.changed();
        self.added.clear();
    }

    /// What S3 answers.
    pub(super) fn s3(&mut self, request: &Request) -> Answer {
        if request.path != format!("/{OBJECT}") {
            return refusal(404, "<Code>NoSuchBucket</Code>");
        }
        if request.method == "GET" {
            let Some(text) = &self.object else { return refusal(404, "<Code>NoSuchKey</Code>") };
            return Answer { status: 200, headers: vec![("etag".to_owned(), tag(text))], body: text.clone().into() };
        }
        let now = self.object.as_deref().map(tag);
        let holds = request.headers.iter().all(|(name, value)| match *name {
            "if-match" => now.as_ref() == Some(value),
            "if-none-match" => now.is_none(),
            _ => true,
        });
        if !holds {
            return refusal(412, "<Code>PreconditionFailed</Code>");
        }
        self.object = Some(request.body.clone());
        self.changed();
        Answer { status: 200, headers: Vec::new(), body: Vec::new() }
    }

    /// What Systems Manager answers.
    pub(super) fn ssm(&mut self, request: &Request) -> Answer {
        let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let name = body.get("Name").and_then(Value::as_str).unwrap_or_default();
        let (name, version) = name.split_once(':').map_or((name, None), |(name, version)| (name, Some(version)));
        if name != PARAMETER {
            return refusal(400, r#"{"__type":"ParameterNotFound"}"#);
        }
        if !is_write(request) {
            let number = version.map_or(Some(self.parameter.len()), |version| version.parse().ok());
            let text = number.and_then(|number| self.parameter.get(number.checked_sub(1)?));
            let Some(text) = text else {
                let missing = if version.is_some() { "ParameterVersionNotFound" } else { "ParameterNotFound" };
                return refusal(400, &json!({"__type": missing}).to_string());
            };
            return answered(&json!({"Parameter": {"Name": name, "Value": text, "Version": number}}));
        }
        if !self.parameter.is_empty() && body.get("Overwrite") != Some(&json!(true)) {
            return refusal(400, r#"{"__type":"ParameterAlreadyExists"}"#);
        }
        let value = body.get("Value").and_then(Value::as_str).unwrap_or_default();
        self.parameter.push(value.to_owned());
        self.changed();
        answered(&json!({"Version": self.parameter.len()}))
    }
}

/// Whether a request to Systems Manager is one to write.
pub(super) fn is_write(request: &Request) -> bool {
    request.headers.iter().any(|(_, value)| value == "AmazonSSM.PutParameter")
}

/// An entity tag follows from the content, as S3's does.
fn tag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("\"{:x}\"", hasher.finish())
}

fn answered(body: &Value) -> Answer {
    Answer { status: 200, headers: Vec::new(), body: body.to_string().into() }
}

fn refusal(status: u16, body: &str) -> Answer {
    Answer { status, headers: Vec::new(), body: body.into() }
}
