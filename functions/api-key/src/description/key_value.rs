//! What a key looks like that is made here.

use crate::description::{Checksum, Problem, ValueKind, written};

/// 128 bits: what nobody guesses. A quarter of the bytes of a JWT secret.
const MIN_BYTES: usize = 16;
const MAX_SIZE: usize = 4096;

/// What a value that is made here looks like.
#[derive(Clone, Debug)]
pub struct KeyValue {
    /// How it is drawn.
    pub kind: ValueKind,
    /// Bytes or characters.
    pub size: usize,
    /// For `characters`.
    pub alphabet: String,
    /// Put in front.
    pub prefix: String,
    /// Put at the end.
    pub checksum: Option<Checksum>,
}

impl KeyValue {
    /// Checks what somebody wrote.
    ///
    /// # Errors
    /// The mistakes.
    pub fn check(written: &written::KeyValue) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let value = Self::read(written, &mut problems);
        if problems.is_empty() { Ok(value) } else { Err(problems) }
    }

    /// Reads what somebody wrote, and lists the mistakes in it.
    pub(super) fn read(written: &written::KeyValue, problems: &mut Vec<Problem>) -> Self {
        let mut problem = |field: &str, message: String| {
            problems.push(Problem { path: format!("value.{field}"), message });
        };
        let by_bytes = matches!(written.kind, ValueKind::Hex | ValueKind::Base64 | ValueKind::Base64url);
        let (field, size, other, none) = if by_bytes {
            ("bytes", written.bytes, "length", written.length)
        } else {
            ("length", written.length, "bytes", written.bytes)
        };
        if none.is_some() {
            problem(other, format!("this kind has `{field}`"));
        }
        let size = size.unwrap_or_else(|| {
            problem(field, "missing: this kind needs it".to_owned());
            MIN_BYTES
        });
        if !(MIN_BYTES..=MAX_SIZE).contains(&size) {
            problem(field, format!("expected {MIN_BYTES} to {MAX_SIZE}"));
        }
        let alphabet = written.alphabet.clone().unwrap_or_default();
        match (written.kind, &written.alphabet) {
            (ValueKind::Characters, _) => {
                let mut letters: Vec<char> = alphabet.chars().collect();
                let all = letters.len();
                letters.sort_unstable();
                letters.dedup();
                let sound = letters.len() == all && alphabet.chars().all(|c| c.is_ascii_graphic()) && all >= 10;
                if !sound {
                    problem(
                        "alphabet",
                        "expected at least 10 different printable ASCII characters without space".to_owned(),
                    );
                }
            }
            (_, Some(_)) => problem("alphabet", "only for the kind `characters`".to_owned()),
            (_, None) => {}
        }
        if !written.prefix.chars().all(|c| c.is_ascii_graphic()) || written.prefix.len() > 64 {
            problem("prefix", "expected at most 64 printable ASCII characters without space".to_owned());
        }
        KeyValue { kind: written.kind, size, alphabet, prefix: written.prefix.clone(), checksum: written.checksum }
    }
}
