//! The Lambda function that rotates signing keys.

use signing_key::settings::Settings;
use signing_key::target::SigningKeys;
use std::process::ExitCode;

fn main() -> ExitCode {
    rotation::lambda::main("lockstep_signing_key", |environment| SigningKeys::new(Settings::read(environment)?))
}
