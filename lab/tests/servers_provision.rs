//! What cargo does not bring, obtained as a fresh machine would.
#![expect(clippy::unwrap_used, reason = "a panic in a helper of tests is a failed test")]

use lab::provision::{Version, moto, postgres, python, rie};
use std::process::Command;
use std::thread;

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn several_that_ask_at_once_all_get_a_postgresql_that_runs() {
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let bin = postgres(Version::V18).unwrap();
                let said = output(Command::new(bin.join("postgres")).arg("--version"));
                assert!(said.contains("(PostgreSQL) 18"), "{said}");
            });
        }
    });
}

#[test]
fn the_emulator_of_lambda_runs() {
    let said = output(Command::new(rie().unwrap()).arg("--help"));
    assert!(said.contains("--runtime-interface-emulator-address"), "{said}");
}

#[test]
fn python_has_the_other_implementations() {
    let script = "import boto3, psycopg; print(boto3.__version__, psycopg.__version__, psycopg.pq.__impl__)";
    let said = output(Command::new(python().unwrap()).args(["-c", script]));
    assert_eq!(said.trim(), "1.43.11 3.3.9 binary");
    let said = output(Command::new(moto().unwrap()).arg("--version"));
    assert!(said.contains("5.2.1"), "{said}");
}
