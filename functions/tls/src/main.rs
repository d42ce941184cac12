//! The Lambda function that rotates TLS certificates.

use std::process::ExitCode;
use tls::settings::Settings;
use tls::target::Certificates;

fn main() -> ExitCode {
    rotation::lambda::main("lockstep_tls", |environment| Certificates::new(Settings::read(environment)?))
}
