//! `watch` with each function. What is late and what is not is tested with one of them, in `questions.rs`.

use integration_tests::{Server as _, issuer};
use lab::Lab;
use lab::servers::mysql::MySql;
use lab::servers::postgres::Postgres;
use serde_json::json;

#[tokio::test]
async fn every_function_can_be_asked_which_rotations_are_late() {
    for function in [Postgres::function().await, MySql::function().await, issuer::function().await] {
        let lab = Lab::builder(&function).start().await.expect("the lab starts");
        let outcome = lab.invoke(&json!({"Step": "watch"})).await;
        let answer = outcome.result().expect("an answer");
        assert_eq!((&answer["served"], &answer["late"]), (&json!(0), &json!([])), "{}", function.display());
    }
}
