//! How much memory a JSON text takes once it is read.
//!
//! A limit of bytes is not enough: an object of seven bytes becomes a tree's node of more than six hundred. So the objects and
//! values of a text are counted before anything is made of them.

/// What an object costs, besides its text: a leaf of a `BTreeMap` of JSON values, or a structure of the AWS SDK, has 600 to 900 bytes.
const OBJECT: usize = 1024;
/// What another value or a key costs: a `String` with a short text of its own on the heap, and its share of a growing `Vec`.
const VALUE: usize = 128;

/// Weighs a JSON text that comes in pieces. A text that is no JSON is weighed as if it were.
#[derive(Clone, Debug)]
pub struct Weight {
    left: usize,
    in_string: bool,
    escaped: bool,
}

impl Weight {
    /// For texts that take at most this many bytes of memory.
    pub fn limited_to(bytes: usize) -> Self {
        Self { left: bytes, in_string: false, escaped: false }
    }

    /// Adds the next piece. False once the text is too heavy.
    #[must_use]
    pub fn takes(&mut self, piece: &[u8]) -> bool {
        for byte in piece {
            let cost = match byte {
                _ if self.escaped => {
                    self.escaped = false;
                    1
                }
                b'\\' if self.in_string => {
                    self.escaped = true;
                    1
                }
                b'"' => {
                    self.in_string = !self.in_string;
                    1
                }
                _ if self.in_string => 1,
                b'{' => OBJECT,
                b'[' | b',' | b':' => VALUE,
                _ => 1,
            };
            let Some(left) = self.left.checked_sub(cost) else {
                self.left = 0;
                return false;
            };
            self.left = left;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_string_weighs_nothing_more() {
        assert!(Weight::limited_to(20).takes(br#""{{{,,\"{{\\""#));
        assert!(!Weight::limited_to(20).takes(br#""{" {"#));
        assert!(!Weight::limited_to(20).takes(br#""\\", {"#));
    }

    #[test]
    fn pieces_weigh_as_much_as_the_whole() {
        let text = br#"[{"a":"\"{"},{"b":[1,2]}]"#;
        let whole = (0..10_000).find(|&limit| Weight::limited_to(limit).takes(text)).unwrap();
        let mut weight = Weight::limited_to(whole);
        assert!(text.chunks(1).all(|piece| weight.takes(piece)));
        assert!(!weight.takes(b" "));
    }
}
