//! What cargo does not bring, obtained as a fresh machine would.

use lab::port::Reserved;
use lab::process::Process;
use lab::provision::{Version, moto, postgres, python, rie};
use rustix::process::Signal;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

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
    let [port, api] = [(); 2].map(|()| Reserved::new().unwrap());
    let address = format!("127.0.0.1:{}", port.number());
    // It takes every argument that it does not know for the function, `--help` too, so it is asked to serve instead.
    let mut command = Command::new(rie().unwrap());
    command
        .args(["--runtime-interface-emulator-address", &address])
        .args(["--runtime-api-address", &format!("127.0.0.1:{}", api.number()), "/bin/true"])
        .stderr(Stdio::null());
    let _emulator = Process::spawn(&mut command, Signal::TERM).unwrap();
    let start = Instant::now();
    while TcpStream::connect(&address).is_err() {
        assert!(start.elapsed() < Duration::from_secs(120));
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn python_has_the_other_implementations() {
    let script = "import boto3, psycopg
from importlib.metadata import version
print(boto3.__version__, psycopg.__version__, psycopg.pq.__impl__, version('moto'))";
    let said = output(Command::new(python().unwrap()).args(["-c", script]));
    assert_eq!(said.trim(), "1.43.11 3.3.9 binary 5.2.1");
    let said = output(Command::new(moto().unwrap()).arg("--help"));
    assert!(said.contains("usage: moto_server"), "{said}");
}
