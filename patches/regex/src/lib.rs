//! The part of the crate `regex` that `mysql_common` uses, over `regex-lite`.
//!
//! `mysql_common` has two regular expressions for the version that a MySQL or MariaDB server states, and four for times. The crate
//! `regex` would be 0.39 MB of the function's zip, an eighth. `regex-lite` is in every function already, because the AWS SDK
//! uses it. `Cargo.toml` of the workspace replaces `regex` by this crate.

/// Regular expressions over bytes.
pub mod bytes {
    /// A regular expression.
    #[derive(Debug)]
    pub struct Regex(regex_lite::Regex);

    /// The groups of a match.
    #[derive(Debug)]
    pub struct Captures<'t>(regex_lite::Captures<'t>);

    /// The text that a group matched.
    #[derive(Debug)]
    pub struct Match<'t>(&'t str);

    impl Regex {
        /// Compiles a pattern. `\d` is one of `0` to `9`, where `regex` takes the digits of all scripts.
        ///
        /// # Errors
        /// The pattern is not valid.
        pub fn new(pattern: &str) -> Result<Self, regex_lite::Error> {
            regex_lite::Regex::new(pattern).map(Self)
        }

        /// Whether the pattern matches anywhere in the text. It does not if the text is not UTF-8.
        pub fn is_match(&self, text: &[u8]) -> bool {
            std::str::from_utf8(text).is_ok_and(|text| self.0.is_match(text))
        }

        /// The groups of the first match. A text ends where it is no longer UTF-8.
        pub fn captures<'t>(&self, text: &'t [u8]) -> Option<Captures<'t>> {
            let text = text.utf8_chunks().next().map_or("", |chunk| chunk.valid());
            self.0.captures(text).map(Captures)
        }
    }

    impl<'t> Captures<'t> {
        /// A group by its number. Group 0 is the whole match.
        pub fn get(&self, group: usize) -> Option<Match<'t>> {
            self.0.get(group).map(|found| Match(found.as_str()))
        }
    }

    impl<'t> Match<'t> {
        /// The matched bytes.
        pub fn as_bytes(&self) -> &'t [u8] {
            self.0.as_bytes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bytes::Regex;

    /// The patterns of `mysql_common` (`src/packets/mod.rs`).
    const MARIADB: &str = r"^(?:5.5.5-)?(\d{1,2})\.(\d{1,2})\.(\d{1,3})-MariaDB";
    const ANY: &str = r"^(\d{1,2})\.(\d{1,2})\.(\d{1,3})(.*)";

    fn groups(pattern: &str, text: &[u8]) -> Option<[String; 3]> {
        let captures = Regex::new(pattern).ok()?.captures(text)?;
        Some([1, 2, 3].map(|group| String::from_utf8_lossy(captures.get(group).unwrap().as_bytes()).into_owned()))
    }

    #[test]
    fn versions_of_servers_are_read() {
        let numbers = |a: &str, b: &str, c: &str| Some([a, b, c].map(str::to_owned));
        assert_eq!(groups(ANY, b"8.0.36-0ubuntu0.22.04.1"), numbers("8", "0", "36"));
        assert_eq!(groups(ANY, b"8.4.10\xff\xfe"), numbers("8", "4", "10"));
        assert_eq!(groups(MARIADB, b"5.5.5-10.11.14-MariaDB-0+deb12u2"), numbers("10", "11", "14"));
        assert_eq!(groups(MARIADB, b"11.4.2-MariaDB-log"), numbers("11", "4", "2"));
        assert_eq!(groups(MARIADB, b"8.0.36"), None);
    }

    #[test]
    fn times_are_recognised() {
        let time = Regex::new(r"^\d{2}:[0-5]\d:[0-5]\d$").unwrap();
        assert!(time.is_match(b"23:59:59"));
        assert!(!time.is_match(b"23:59:60") && !time.is_match(b"23:59:59\xff"));
    }

    #[test]
    fn other_texts_are_not_versions() {
        // mysql_common takes for granted that each group is a number of ASCII digits.
        for text in ["", "x8.0.36", "8.0", "\u{668}.\u{660}.\u{663}"] {
            assert_eq!(groups(ANY, text.as_bytes()), None, "{text}");
        }
        assert_eq!(groups(ANY, b"\xff8.0.36"), None);
    }
}
