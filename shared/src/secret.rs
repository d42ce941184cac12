//! Values that must not be printed. None of these types implements `Display` or `Serialize`, and their `Debug`
//! is a placeholder; reading one takes a call to `expose`, which is easy to search for.
//!
//! ```
//! # use rotation::secret::Password;
//! let password = Password::from("hunter2");
//! assert!(!format!("{password:?}").contains("hunter2"));
//! let text: &str = password.expose();
//! # assert_eq!(text, "hunter2");
//! ```
//! It cannot be printed:
//! ```compile_fail,E0277
//! # use rotation::secret::Password;
//! let password = Password::from("hunter2");
//! println!("{password}");
//! ```
//! nor serialized:
//! ```compile_fail,E0277
//! # use rotation::secret::Password;
//! let password = Password::from("hunter2");
//! serde_json::to_string(&password).unwrap();
//! ```
//! nor compared in a way that could leak through an assertion's message:
//! ```compile_fail,E0369
//! # use rotation::secret::Password;
//! assert!(Password::from("a") == Password::from("a"));
//! ```
//! The same holds for the rotation token:
//! ```compile_fail,E0277
//! # use rotation::secret::RotationToken;
//! let token = RotationToken::from("opaque".to_owned());
//! println!("{token}");
//! ```
//! ```compile_fail,E0277
//! # use rotation::secret::RotationToken;
//! let token = RotationToken::from("opaque".to_owned());
//! serde_json::to_string(&token).unwrap();
//! ```
//! and for a whole secret:
//! ```compile_fail,E0277
//! # use rotation::secret::SecretText;
//! let text = SecretText::from("{}".to_owned());
//! println!("{text}");
//! ```
//! ```compile_fail,E0277
//! # use rotation::secret::SecretText;
//! let text = SecretText::from("{}".to_owned());
//! serde_json::to_string(&text).unwrap();
//! ```

use secrecy::{ExposeSecret, SecretString};
use std::fmt;

macro_rules! secret_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SecretString);

        impl $name {
            /// The text itself. Keep it out of anything that is printed.
            pub fn expose(&self) -> &str {
                self.0.expose_secret()
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "([REDACTED])"))
            }
        }
    };
}

secret_text! {
    /// A password. Zeroized when dropped.
    Password
}

secret_text! {
    /// The opaque `RotationToken` of an event, to be handed on to PutSecretValue. Zeroized when dropped.
    RotationToken
}

secret_text! {
    /// A whole secret value, as Secrets Manager stores it. Zeroized when dropped.
    SecretText
}

impl Password {
    /// Whether both are the same text.
    pub fn same_as(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}
