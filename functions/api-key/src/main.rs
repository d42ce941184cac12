//! The Lambda function that rotates API keys.

use api_key::settings::Settings;
use api_key::target::ApiKey;
use std::process::ExitCode;

fn main() -> ExitCode {
    rotation::lambda::main("lockstep_api_key", |environment| ApiKey::new(Settings::read(environment)?))
}
