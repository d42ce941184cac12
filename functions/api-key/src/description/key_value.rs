//! The form of a key that the function draws.

use crate::description::{Checksum, Problem, ValueKind, written};

/// 128 bits, which cannot be guessed.
const MIN_BYTES: usize = 16;
const MAX_SIZE: usize = 4096;

/// The form of a key that the function draws.
#[derive(Clone, Debug)]
pub struct KeyValue {
    /// How it is drawn.
    pub kind: ValueKind,
    /// The number of bytes or characters.
    pub size: usize,
    /// The characters, for `characters`.
    pub alphabet: String,
    /// Text before the drawn part.
    pub prefix: String,
    /// The checksum at the end.
    pub checksum: Option<Checksum>,
}

impl KeyValue {
    /// Reads the form from a secret.
    ///
    /// # Errors
    /// The mistakes.
    pub fn check(written: &written::KeyValue) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let value = Self::read(written, &mut problems);
        if problems.is_empty() { Ok(value) } else { Err(problems) }
    }

    /// Reads a form, and adds its mistakes to `problems`.
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
