//! A password that is not printed.

use secrecy::{ExposeSecret as _, SecretString};
use std::fmt;

/// A password of a throwaway server. Its `Debug` is a placeholder.
#[derive(Clone)]
pub struct Password(SecretString);

impl Password {
    /// 32 random letters and digits: about 190 bits, and no character that any tool treats specially.
    pub fn random() -> Self {
        use rand::RngExt as _;
        let letters = rand::rng().sample_iter(rand::distr::Alphanumeric).take(32).map(char::from);
        Self::from(letters.collect::<String>())
    }

    /// The text itself. Keep it out of anything that is printed.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_random_and_not_shown() {
        let (one, other) = (Password::random(), Password::random());
        assert_eq!(one.expose().len(), 32);
        assert_ne!(one.expose(), other.expose());
        assert_eq!(format!("{one:?}"), "Password([REDACTED])");
    }
}
