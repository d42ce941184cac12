//! The lab's Route 53 and moto's answer the same to the same operations, but for the differences that are listed here.

use integration_tests::certificates::python_with;
use lab::disturb::Disturb;
use lab::issuer::Https;
use lab::route53::Route53;
use lab::servers::moto::Moto;
use serde_json::Value;

/// What differs, and why, by <https://docs.aws.amazon.com/Route53/latest/APIReference/>. The double answers InvalidChangeBatch in the form of
/// that reference, of which botocore shows the status alone. The function reads both forms.
const DIFFERENCES: [(&str, &str); 9] = [
    ("zones from a name on", "the service lists the zones from that name on, moto the one of that name"),
    ("zones from a name below on", "the same"),
    ("created twice", "the service refuses: the record set exists already; moto replaces it"),
    ("deleted with other values", "the service says InvalidChangeBatch, moto InvalidInput"),
    ("deleted with another time to live", "the same"),
    ("deleted where nothing is", "the same"),
    ("several names, one of them wrong", "the same"),
    ("a name of another zone", "moto has InvalidChangeBatch in the form of all other errors"),
    ("an unknown change", "the service says NoSuchChange, moto knows every change"),
];

const SCRIPT: &str = include_str!("route53.py");

async fn said(environment: impl IntoIterator<Item = (&'static str, String)>) -> Vec<(String, Value)> {
    let said: Value = serde_json::from_str(&python_with(SCRIPT, environment).await).expect("JSON");
    let each = said.as_array().expect("a list").iter();
    each.map(|pair| (pair[0].as_str().expect("a title").to_owned(), pair[1].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_double_and_motos_answer_alike() {
    let route53 = Route53::new();
    route53.zones().add("Z1", "example.com", false);
    route53.zones().add("Z2", "example.org", false);
    let api = Https::without_tls(route53.router(), Disturb::new()).unwrap();
    let moto = Moto::start().await.unwrap();
    let (ours, motos) = (said([("AWS_ENDPOINT_URL_ROUTE_53", api.url())]).await, said(moto.environment()).await);
    assert_eq!(ours.len(), motos.len());
    let differing: Vec<String> = ours
        .iter()
        .zip(&motos)
        .filter(|(one, other)| one != other)
        .map(|(one, other)| format!("{}: the double says {}, moto {}", one.0, one.1, other.1))
        .collect();
    let is_listed = |line: &String| DIFFERENCES.iter().any(|(title, _)| line.starts_with(&format!("{title}: ")));
    let found = differing.len() == DIFFERENCES.len() && differing.iter().all(is_listed);
    assert!(found, "{differing:#?}, and expected {DIFFERENCES:#?}");
}
