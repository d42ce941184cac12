//! GetRandomPassword.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Context;
use crate::secretsmanager::ServiceError;

const LOWERCASE: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPERCASE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const NUMBERS: &str = "0123456789";
/// GetRandomPassword, ExcludePunctuation.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// The parameters of GetRandomPassword; defaults as in the API reference.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Parameters {
    password_length: i64,
    exclude_characters: String,
    exclude_numbers: bool,
    exclude_punctuation: bool,
    exclude_uppercase: bool,
    exclude_lowercase: bool,
    include_space: bool,
    require_each_included_type: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            password_length: 32,
            exclude_characters: String::new(),
            exclude_numbers: false,
            exclude_punctuation: false,
            exclude_uppercase: false,
            exclude_lowercase: false,
            include_space: false,
            require_each_included_type: true,
        }
    }
}

impl Parameters {
    pub(crate) fn generate(&self, context: &mut Context<'_>) -> Result<Value, ServiceError> {
        let length = self.length()?;
        let types = self.types();
        let all: Vec<char> = types.iter().flatten().copied().collect();
        if all.is_empty() {
            return Err(ServiceError::invalid_parameter(
                "The password can't be generated because all characters are excluded.",
            ));
        }
        let mut password = Vec::new();
        if self.require_each_included_type {
            if types.len() > length {
                return Err(ServiceError::invalid_parameter(
                    "Password length is too short based on the required types.",
                ));
            }
            password.extend(types.iter().filter_map(|characters| pick(characters, context)));
        }
        while password.len() < length {
            password.extend(pick(&all, context));
        }
        shuffle(&mut password, context);
        Ok(json!({"RandomPassword": password.into_iter().collect::<String>()}))
    }

    fn length(&self) -> Result<usize, ServiceError> {
        let bound = match self.password_length {
            ..1 => "greater than or equal to 1",
            4097.. => "less than or equal to 4096",
            length => return Ok(usize::try_from(length).unwrap_or(32)),
        };
        Err(ServiceError::constraint(
            Some(&self.password_length.to_string()),
            "passwordLength",
            &format!("Member must have value {bound}"),
        ))
    }

    /// The characters of each included type that are left after the exclusions.
    fn types(&self) -> Vec<Vec<char>> {
        let types = [
            (!self.exclude_lowercase, LOWERCASE),
            (!self.exclude_uppercase, UPPERCASE),
            (!self.exclude_numbers, NUMBERS),
            (!self.exclude_punctuation, PUNCTUATION),
            (self.include_space, " "),
        ];
        let included = types.into_iter().filter(|(included, _)| *included);
        let left = |characters: &str| characters.chars().filter(|c| !self.exclude_characters.contains(*c)).collect();
        included.map(|(_, characters)| left(characters)).filter(|left: &Vec<char>| !left.is_empty()).collect()
    }
}

fn pick(characters: &[char], context: &mut Context<'_>) -> Option<char> {
    characters.get(context.below(characters.len())).copied()
}

/// Fisher and Yates: the required characters must not sit at known places.
fn shuffle(password: &mut [char], context: &mut Context<'_>) {
    for last in (1..password.len()).rev() {
        password.swap(last, context.below(last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;

    fn password(parameters: Value) -> String {
        Bench::new().ok("GetRandomPassword", parameters)["RandomPassword"].as_str().unwrap().to_owned()
    }

    #[test]
    fn each_included_type_occurs() {
        let password = password(json!({"PasswordLength": 5, "IncludeSpace": true}));
        assert_eq!(password.len(), 5);
        for characters in [LOWERCASE, UPPERCASE, NUMBERS, PUNCTUATION, " "] {
            assert!(password.chars().any(|c| characters.contains(c)));
        }
    }

    #[test]
    fn exclusions_hold() {
        let password = password(json!({
            "PasswordLength": 4096, "ExcludePunctuation": true, "ExcludeNumbers": true, "ExcludeUppercase": true,
            "ExcludeCharacters": "abcdefghijklmnopqrstuvwx",
        }));
        assert_eq!(password.len(), 4096);
        assert!(password.chars().all(|c| c == 'y' || c == 'z') && password.contains('y') && password.contains('z'));
    }

    #[test]
    fn impossible_requests_are_refused() {
        let refused = |body| Bench::new().err("GetRandomPassword", body).0;
        assert_eq!(refused(json!({"PasswordLength": 0})), "ValidationException");
        assert_eq!(refused(json!({"PasswordLength": 4097})), "ValidationException");
        assert_eq!(refused(json!({"PasswordLength": 3})), "InvalidParameterException");
        let nothing = json!({
            "ExcludeLowercase": true, "ExcludeUppercase": true, "ExcludeNumbers": true, "ExcludePunctuation": true,
        });
        assert_eq!(refused(nothing), "InvalidParameterException");
    }
}
