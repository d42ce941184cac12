//! The Lambda function that plans a fleet's rotation, takes each step of it, and finds the secret of a leaked credential.

use fleet::Fleet;
use std::process::ExitCode;

fn main() -> ExitCode {
    rotation::lambda::answer(env!("CARGO_CRATE_NAME"), Fleet::new)
}
