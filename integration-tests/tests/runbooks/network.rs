//! Ways that are blocked, to the database and to Secrets Manager, and a service that throttles.

use super::Script;
use super::support::{AGE, SHORT, attached, fails, postgres, well};
use integration_tests::World;
use integration_tests::network::full_listener;
use lab::disturb::Fault;
use lab::servers::postgres;
use lab::stack::Builder;
use serde_json::json;
use std::cell::RefCell;
use tokio::net::{TcpListener, TcpStream};

pub async fn no_route(script: Script<'_>) {
    let world = postgres().await;
    let (blocked, guests) = full_listener().await;
    let port = blocked.local_addr().expect("an address").port();
    let secret = world.user_with("app", json!({"port": port})).await;
    secret.attached().await;
    let said = fails(&world.lab, &secret.arn).await;
    let blocked = RefCell::new(Some((blocked, guests)));
    let play = script.about(&world.lab, &secret.arn).said(&said);
    play.play(script.terminal, async |what| {
        assert_eq!(what, "network-opens");
        drop(blocked.take());
        pass_on(port, world.server.port()).await;
        String::new()
    })
    .await;
    well(&world, &secret).await;
}

/// Passes connections to one local port on to another, for as long as the test runs.
pub async fn pass_on(from: u16, to: u16) {
    let listener = TcpListener::bind(("127.0.0.1", from)).await.expect("the port is free again");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", to)).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
}

pub async fn host_changed(script: Script<'_>) {
    let world = postgres().await;
    // Reserved for names that do not exist (RFC 6761).
    let secret = world.user_with("app", json!({"host": "db.invalid"})).await;
    secret.attached().await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said)).await;
    well(&world, &secret).await;
}

pub async fn no_way_to_secrets_manager(script: Script<'_>) {
    troubled_service(script, Fault::Fail(503), "service-returns").await;
}

pub async fn service_throttled(script: Script<'_>) {
    troubled_service(script, Fault::Throttle, "throttling-ends").await;
}

/// Every call of the function to Secrets Manager ends like this, until the test is asked for the end of it.
pub async fn troubled_service(script: Script<'_>, fault: Fault, end: &str) {
    let patient = |function: Builder| function.clock_behind(AGE).timeout(SHORT);
    let world = World::with(postgres::Options::default(), patient).await;
    let secret = attached(&world).await;
    for operation in ["DescribeSecret", "GetSecretValue"] {
        world.lab.disturb().on_every(operation, fault);
    }
    let said = fails(&world.lab, &secret.arn).await;
    let play = script.about(&world.lab, &secret.arn).said(&said);
    play.play(script.terminal, async |what| {
        assert_eq!(what, end);
        world.lab.disturb().restart();
        String::new()
    })
    .await;
    well(&world, &secret).await;
}
