//! The Lambda function that rotates API keys.

use api_key::target::ApiKey;
use rotation::environment::Defaults;
use std::process::ExitCode;

/// What AWS's functions for anything but PostgreSQL leave out of a password.
const DEFAULTS: Defaults = Defaults { exclude_characters: "/@\"'\\" };

fn main() -> ExitCode {
    rotation::lambda::main("lockstep_api_key", DEFAULTS, ApiKey::new)
}
