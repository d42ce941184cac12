//! New passwords, drawn from the operating system's generator. Each password that the policy allows is equally likely.

use crate::error::{Code, Error, Fact, Result};
use crate::secret::Password;
use rand::TryRng;
use rand::rngs::SysRng;
use secrecy::zeroize::Zeroizing;

/// A source of random bytes. Tests use a repeatable one.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with random bytes that are fit for secrets.
    ///
    /// # Errors
    /// [`Code::EntropyUnavailable`] if the source fails.
    fn fill(&self, bytes: &mut [u8]) -> Result<()>;
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        SysRng.try_fill_bytes(bytes).map_err(|_| Error::new(Code::EntropyUnavailable))
    }
}

/// Which passwords are allowed. The options and their meaning are those of
/// [GetRandomPassword](https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetRandomPassword.html).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The length in characters.
    pub length: usize,
    /// Characters never to use.
    pub exclude_characters: String,
    /// Leave out `0-9`.
    pub exclude_numbers: bool,
    /// Leave out punctuation.
    pub exclude_punctuation: bool,
    /// Leave out `A-Z`.
    pub exclude_uppercase: bool,
    /// Leave out `a-z`.
    pub exclude_lowercase: bool,
    /// Use at least one character of each kind that is not left out.
    pub require_each_included_type: bool,
}

const LOWERCASE: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPERCASE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const NUMBERS: &str = "0123456789";
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

impl Policy {
    /// AWS's functions and GetRandomPassword use this length.
    pub const DEFAULT_LENGTH: usize = 32;
    /// GetRandomPassword's own limit.
    pub const MAX_LENGTH: usize = 4096;

    /// Whether any password satisfies the policy.
    ///
    /// # Errors
    /// [`Code::PolicyImpossible`] saying which rule leaves nothing.
    pub fn check(&self) -> Result<()> {
        self.classes().map(|_| ())
    }

    /// Draws a password.
    ///
    /// Whole candidates are drawn until one has every required kind of character. This keeps the choice uniform among all allowed
    /// passwords; to place one character of each kind first would not.
    ///
    /// # Errors
    /// [`Code::PolicyImpossible`], [`Code::EntropyUnavailable`].
    pub fn generate(&self, entropy: &dyn Entropy) -> Result<Password> {
        let classes = self.classes()?;
        let alphabet: Vec<u8> = classes.concat();
        let mut source = Bytes::new(entropy);
        loop {
            let mut candidate = Zeroizing::new(String::with_capacity(self.length));
            for _ in 0..self.length {
                candidate.push(char::from(source.pick(&alphabet)?));
            }
            let has = |class: &Vec<u8>| candidate.bytes().any(|byte| class.contains(&byte));
            if !self.require_each_included_type || classes.iter().all(has) {
                return Ok(Password::from(candidate.as_str()));
            }
        }
    }

    /// The kinds of characters in use, each without the excluded ones.
    fn classes(&self) -> Result<Vec<Vec<u8>>> {
        let impossible = |field: &str, found: String| {
            Err(Error::new(Code::PolicyImpossible).with(Fact::Field, field).with(Fact::Found, found))
        };
        let mut classes = Vec::new();
        for (name, characters, excluded) in [
            ("lowercase", LOWERCASE, self.exclude_lowercase),
            ("uppercase", UPPERCASE, self.exclude_uppercase),
            ("numbers", NUMBERS, self.exclude_numbers),
            ("punctuation", PUNCTUATION, self.exclude_punctuation),
        ] {
            if excluded {
                continue;
            }
            let left: Vec<u8> =
                characters.bytes().filter(|&byte| !self.exclude_characters.contains(char::from(byte))).collect();
            match (left.is_empty(), self.require_each_included_type) {
                (true, true) => {
                    return impossible("EXCLUDE_CHARACTERS", format!("all {name} excluded, but one is required"));
                }
                (true, false) => {}
                (false, _) => classes.push(left),
            }
        }
        if classes.is_empty() {
            return impossible("EXCLUDE_CHARACTERS", "every character excluded".to_owned());
        }
        if self.length == 0 || self.length > Self::MAX_LENGTH {
            return impossible("PASSWORD_LENGTH", format!("{}; allowed are 1 to {}", self.length, Self::MAX_LENGTH));
        }
        if self.require_each_included_type && self.length < classes.len() {
            return impossible("PASSWORD_LENGTH", format!("{}, but {} kinds are required", self.length, classes.len()));
        }
        Ok(classes)
    }
}

/// Draws `length` characters of an ASCII alphabet, each as likely as any other.
///
/// # Errors
/// [`Code::EntropyUnavailable`]; [`Code::PolicyImpossible`] if the alphabet is empty.
pub fn characters(alphabet: &str, length: usize, entropy: &dyn Entropy) -> Result<Password> {
    if alphabet.is_empty() || !alphabet.is_ascii() {
        return Err(Error::new(Code::PolicyImpossible).with(Fact::Field, "alphabet"));
    }
    let mut source = Bytes::new(entropy);
    let mut text = Zeroizing::new(String::with_capacity(length));
    for _ in 0..length {
        text.push(char::from(source.pick(alphabet.as_bytes())?));
    }
    Ok(Password::from(text.as_str()))
}

/// Random bytes, fetched in blocks: one system call serves a whole password.
struct Bytes<'a> {
    entropy: &'a dyn Entropy,
    block: Zeroizing<[u8; 64]>,
    used: usize,
}

impl<'a> Bytes<'a> {
    fn new(entropy: &'a dyn Entropy) -> Self {
        Self { entropy, block: Zeroizing::new([0; 64]), used: 64 }
    }

    fn next(&mut self) -> Result<u8> {
        if self.used == self.block.len() {
            self.entropy.fill(self.block.as_mut_slice())?;
            self.used = 0;
        }
        let byte = self.block.get(self.used).copied().unwrap_or_default();
        self.used += 1;
        Ok(byte)
    }

    /// A uniform choice. A byte beyond the last whole multiple of the alphabet's size is drawn again: modulo the size it would
    /// favour the first letters.
    fn pick(&mut self, alphabet: &[u8]) -> Result<u8> {
        let fair = 256 - 256 % alphabet.len();
        loop {
            let byte = usize::from(self.next()?);
            if byte < fair
                && let Some(&letter) = alphabet.get(byte % alphabet.len())
            {
                return Ok(letter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn policy() -> Policy {
        Policy {
            length: 32,
            exclude_characters: ":/@\"'\\".to_owned(),
            exclude_numbers: false,
            exclude_punctuation: false,
            exclude_uppercase: false,
            exclude_lowercase: false,
            require_each_included_type: true,
        }
    }

    #[test]
    fn every_letter_is_as_likely_as_any_other() {
        let policy = Policy { length: 4096, require_each_included_type: false, ..policy() };
        let mut seen: HashMap<char, u32> = HashMap::new();
        for _ in 0..50 {
            for letter in policy.generate(&OsEntropy).unwrap().expose().chars() {
                *seen.entry(letter).or_default() += 1;
            }
        }
        assert_eq!(seen.len(), 94 - 6);
        // 204,800 draws over 88 letters: 2327 each, standard deviation 48. Six deviations fail once in 10^7 runs;
        // a modulo without rejection would make the first 80 letters 1.5 times as likely as the rest.
        for (letter, count) in seen {
            assert!((2327 - 290..=2327 + 290).contains(&count), "{letter}: {count}");
        }
    }

    #[test]
    fn two_passwords_differ() {
        let (a, b) = (policy().generate(&OsEntropy).unwrap(), policy().generate(&OsEntropy).unwrap());
        assert!(!a.same_as(&b));
    }

    #[test]
    fn failing_entropy_is_an_error_and_not_a_weak_password() {
        struct Broken;
        impl Entropy for Broken {
            fn fill(&self, _: &mut [u8]) -> Result<()> {
                Err(Error::new(Code::EntropyUnavailable))
            }
        }
        assert_eq!(policy().generate(&Broken).unwrap_err().code(), Code::EntropyUnavailable);
    }

    proptest! {
        #[test]
        fn a_policy_is_kept_or_refused(
            length in 0_usize..70, exclude_characters in "[ -~]{0,40}", exclude_numbers: bool, exclude_punctuation: bool,
            exclude_uppercase: bool, exclude_lowercase: bool, require_each_included_type: bool,
        ) {
            let policy = Policy { length, exclude_characters, exclude_numbers, exclude_punctuation, exclude_uppercase,
                exclude_lowercase, require_each_included_type };
            let Ok(password) = policy.generate(&OsEntropy) else {
                prop_assert_eq!(policy.check().unwrap_err().code(), Code::PolicyImpossible);
                return Ok(());
            };
            let text = password.expose();
            prop_assert_eq!(text.len(), policy.length);
            prop_assert!(!text.contains(|c| policy.exclude_characters.contains(c)));
            for (class, excluded) in [(LOWERCASE, policy.exclude_lowercase), (UPPERCASE, policy.exclude_uppercase),
                (NUMBERS, policy.exclude_numbers), (PUNCTUATION, policy.exclude_punctuation)] {
                let present = text.contains(|c| class.contains(c));
                prop_assert!(!(excluded && present), "excluded {}", class);
                prop_assert!(excluded || !policy.require_each_included_type || present, "required {}", class);
            }
        }
    }
}
