//! What the tests share: a lab with the real function, a real server behind a relay, and secrets for its users.

pub mod browser;
pub mod certificates;
pub mod crash;
pub mod failure;
pub mod hostile;
pub mod issuer;
pub mod malformed;
pub mod network;
pub mod runbook;
mod secret;
mod server;
pub mod signing;
mod world;

use lab::Lab;
use lab::servers::postgres::Postgres;
pub use secret::Secret;
use serde_json::Value;
pub use server::{Options, Server, Strategy};
use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tokio::time::{sleep, timeout};
pub use world::{World, world, world_with};

/// The four steps, in order.
pub const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];
/// A function that has to give up by itself is given this much longer before it is ended: a machine with other work to do may hold
/// it up in the last moment. One that waits for something without regard to its time is later than that.
pub const OVERTIME: Duration = Duration::from_secs(2);
/// Calls that go out together overlap if each takes this long, also on a machine with other work to do. Calls that wait for one
/// another never do.
pub const OVERLAP: Duration = Duration::from_millis(250);

/// A connection or what was asked on one, as soon as there is a slot for it: those that were closed just now keep theirs for a moment.
pub async fn admitted<C, E: fmt::Debug>(connect: impl AsyncFn() -> Result<C, E>) -> C {
    let mut tries = 0;
    loop {
        match connect().await {
            Ok(connection) => return connection,
            Err(error) => assert!(tries < 500, "{error:?}"),
        }
        tries += 1;
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until none of the function's calls is under way: a good-bye to a server may come after the answer to Lambda.
pub async fn at_rest(lab: &Lab) {
    let rest = async {
        while lab.calls().iter().any(|call| call.ended.is_none()) {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(10), rest).await.expect("the function's calls end");
}

/// A program on which none of the person's or machine's own settings has an influence: no AWS profile, no proxy, no other server,
/// no other language. It has the lab's credentials, and still needs its address.
pub fn program(program: impl AsRef<OsStr>) -> Command {
    let kept = ["PATH", "HOME", "TMPDIR", "CARGO_HOME", "RUSTUP_HOME"];
    let kept = kept.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new(program);
    command.env_clear().envs(kept).env("LC_ALL", "C.UTF-8");
    command.envs([("AWS_CONFIG_FILE", "/dev/null"), ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"), ("AWS_PAGER", "")]);
    command.envs([("AWS_ACCESS_KEY_ID", "lab"), ("AWS_SECRET_ACCESS_KEY", "lab"), ("AWS_DEFAULT_REGION", "us-east-1")]);
    command
}

/// The release binary of the PostgreSQL function.
pub async fn function() -> PathBuf {
    Postgres::function().await
}

/// A version id.
pub fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// `base` with the fields of `more`; a null takes a field away.
pub fn merged(mut base: Value, more: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (base.as_object_mut(), more) {
        for (name, value) in more {
            if value.is_null() {
                fields.remove(&name);
            } else {
                fields.insert(name, value);
            }
        }
    }
    base
}
