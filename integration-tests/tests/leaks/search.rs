//! Looks for values that must not be printed, in every form in which a program might print them.

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE, Engine};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

/// So many characters of a value are enough to recognise it: a text that was cut is found, too.
const PIECE: usize = 12;

/// So many bytes of a needle find the few that a place in a text has to be compared with: there are thousands.
const KEY: usize = 8;

/// Values that must not be printed.
#[derive(Default)]
pub struct Secrets {
    /// What to look for, and what it would be, by the first bytes.
    needles: HashMap<Vec<u8>, BTreeMap<String, String>>,
    values: usize,
}

impl Secrets {
    /// Adds a value. `what` stands for it in messages.
    pub fn add(&mut self, what: &str, value: &str) {
        let characters: Vec<char> = value.chars().collect();
        assert!(characters.len() >= PIECE, "{what} is too short to be told from ordinary text");
        let last = characters.len() - PIECE;
        for start in [0, last / 2, last] {
            let piece: String = characters[start..start + PIECE].iter().collect();
            for (form, needle) in forms(&piece) {
                let of_key = self.needles.entry(needle.as_bytes()[..KEY].to_owned()).or_default();
                of_key.entry(needle).or_insert_with(|| format!("{what} ({form})"));
            }
        }
        self.values += 1;
    }

    /// How many values were added.
    pub fn len(&self) -> usize {
        self.values
    }

    /// What of it is in this text: never the value itself.
    pub fn found_in(&self, text: &str) -> BTreeSet<&str> {
        let bytes = text.as_bytes();
        let candidates = |place: usize| self.needles.get(&bytes[place..place + KEY]).into_iter().flatten();
        let found_at =
            |place: usize| candidates(place).filter(move |(needle, _)| bytes[place..].starts_with(needle.as_bytes()));
        (0..(bytes.len() + 1).saturating_sub(KEY)).flat_map(found_at).map(|(_, what)| what.as_str()).collect()
    }
}

/// A piece of a value as it would look in the middle of a longer text.
fn forms(piece: &str) -> Vec<(&'static str, String)> {
    let json = |text: &str| serde_json::Value::from(text).to_string().trim_matches('"').to_owned();
    let bytes = piece.as_bytes();
    let decimal: Vec<String> = bytes.iter().map(u8::to_string).collect();
    let mut forms = vec![
        ("as it is", piece.to_owned()),
        ("in JSON", json(piece)),
        ("in JSON in JSON", json(&json(piece))),
        ("by Debug", format!("{piece:?}").trim_matches('"').to_owned()),
        ("as a byte string", bytes.escape_ascii().to_string()),
        ("in SQL", piece.replace('\'', "''")),
        (
            "in a URL",
            each_byte(
                bytes,
                |byte| if byte.is_ascii_alphanumeric() { (byte as char).into() } else { format!("%{byte:02X}") },
            ),
        ),
        ("as hexadecimal digits", each_byte(bytes, |byte| format!("{byte:02x}"))),
        ("as upper-case hexadecimal digits", each_byte(bytes, |byte| format!("{byte:02X}"))),
        ("as a list of bytes", decimal.join(", ")),
    ];
    for before in 0..3 {
        forms.push(("in base64", base64_after(&BASE64_STANDARD, before, bytes)));
        forms.push(("in base64 for URLs", base64_after(&BASE64_URL_SAFE, before, bytes)));
    }
    forms
}

fn each_byte(bytes: &[u8], form: impl Fn(u8) -> String) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{}", form(*byte));
        text
    })
}

/// The digits that depend on these bytes alone, when `before` bytes stand in front of them and any after them.
fn base64_after(alphabet: &impl Engine, before: usize, bytes: &[u8]) -> String {
    let padded: Vec<u8> = std::iter::repeat_n(0, before).chain(bytes.iter().copied()).collect();
    let digits = alphabet.encode(&padded);
    let (first, end) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
    digits[first..end].to_owned()
}

#[test]
fn every_form_is_found() {
    let value = "Pa'ss\\wo\"rd%ä-4711-0815";
    let mut secrets = Secrets::default();
    secrets.add("it", value);
    let json = serde_json::json!({ "password": value }).to_string();
    for text in [
        format!("login with {value} failed"),
        // Cut at either end.
        value.chars().take(13).collect(),
        value.chars().skip(11).collect(),
        serde_json::json!({ "body": json }).to_string(),
        format!("{:?}", json.as_bytes()),
        format!("{:?}", Some(value)),
        format!("b\"{}\"", value.as_bytes().escape_ascii()),
        format!("postgres://app:{}@db", "Pa%27ss%5Cwo%22rd%25%C3%A4%2D4711%2D0815"),
        format!("ALTER ROLE app PASSWORD '{}'", value.replace('\'', "''")),
        BASE64_STANDARD.encode(value),
        BASE64_STANDARD.encode(format!("x{json}")),
        BASE64_URL_SAFE.encode(format!("xx{json}")),
        each_byte(json.as_bytes(), |byte| format!("{byte:02x}")),
    ] {
        assert!(!secrets.found_in(&text).is_empty(), "not found in {text}");
        assert!(secrets.found_in(&text).iter().all(|what| !what.contains("4711")));
    }
    assert!(secrets.found_in("Password of the user app: 23 characters").is_empty());
    assert!(secrets.found_in("short").is_empty());
}
