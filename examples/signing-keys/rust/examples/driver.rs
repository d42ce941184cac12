//! Drives `tokens` for the tests: for each line of standard input it signs a token, and verifies all of them. It prints how many these are,
//! and the id of the key that signed the last one.

use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::BufRead as _;
use tokens::{Error, Signer, Verifier};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    secret: String,
    secrets_manager: String,
    jwks: String,
    max_cache: u64,
    algorithm: Algorithm,
}

/// In place of the AWS SDK.
fn current(settings: &Settings) -> Result<String, Error> {
    let request = ureq::post(&settings.secrets_manager)
        .header("x-amz-target", "secretsmanager.GetSecretValue")
        .header("content-type", "application/x-amz-json-1.1");
    let asked = json!({"SecretId": settings.secret, "VersionStage": "AWSCURRENT"}).to_string();
    let answer: Value = serde_json::from_str(&request.send(asked)?.body_mut().read_to_string()?)?;
    Ok(answer["SecretString"].as_str().ok_or("a secret without text")?.to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let settings: Settings = serde_json::from_str(&std::env::args().nth(1).ok_or("no settings")?)?;
    let (settings, seconds) = (&settings, settings.max_cache / 2);
    let signer = Signer::new(|| async move { current(settings) });
    let published = || async move { Ok(ureq::get(&settings.jwks).call()?.body_mut().read_to_string()?) };
    let verifier = Verifier::new(published, seconds, Validation::new(settings.algorithm));
    let mut signed: Vec<String> = Vec::new();
    for _ in std::io::stdin().lock().lines() {
        signed.push(signer.sign(&json!({"sub": "somebody"}), 60).await?);
        for token in &signed {
            assert_eq!(verifier.verify::<Value>(token).await?["sub"], "somebody");
        }
        let header = jsonwebtoken::decode_header(signed.last().ok_or("nothing was signed")?)?;
        println!("{} {}", signed.len(), header.kid.unwrap_or_default());
    }
    let last = signed.last().ok_or("nothing was signed")?;
    let forged = format!("{}AAAAAAAA", &last[..last.len() - 8]);
    let too_long = signer.sign(&json!({}), 1_000_000_000).await.is_err();
    let refused = [too_long, verifier.verify::<Value>(&forged).await.is_err()];
    println!("refused {}", refused.iter().filter(|refused| **refused).count());
    Ok(())
}
