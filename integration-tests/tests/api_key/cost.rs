//! What the normal path costs: calls in sequence, because each is a round trip that Lambda is paid for.

use super::support::by_hand;
use integration_tests::issuer::World;
use integration_tests::{OVERLAP, STEPS};
use lab::disturb::{ISSUER, critical_path};
use lab::issuer::Options;

#[tokio::test(flavor = "multi_thread")]
async fn the_normal_path_costs_what_it_has_to() {
    let (world, issuer) = World::lab(Options::default()).await;
    let secret = by_hand(&world, &issuer).await;
    // A key made by hand is in no list by its name; once it is forgotten, the path is the normal one.
    for _ in 0..3 {
        secret.rotated().await;
    }
    let token = secret.registered().await;
    let mut costs = Vec::new();
    for step in STEPS {
        world.lab.disturb().restart();
        world.lab.disturb().latency(OVERLAP);
        secret.steps(&[step], &token).await;
        let (issuers, service): (Vec<_>, Vec<_>) =
            world.lab.calls().into_iter().partition(|call| call.operation.starts_with(ISSUER));
        let asked: Vec<_> =
            issuers.iter().map(|call| call.operation.trim_start_matches("issuer ").to_owned()).collect();
        costs.push((critical_path(&service), service.len(), asked.join(" ")));
    }
    world.lab.disturb().restart();
    let expected = [(3, 5, "GET POST"), (1, 3, ""), (1, 3, "GET"), (4, 7, "GET DELETE")];
    let expected = expected.map(|(sequence, calls, asked)| (sequence, calls, asked.to_owned()));
    assert_eq!(costs, expected, "calls to Secrets Manager in sequence and in all, and to the issuer, per step");
}
