//! A certificate in AWS Certificate Manager. Its tag says which secret it belongs to.

use super::answer::{refused, unanswered};
use super::handed::Handed;
use super::holder::{HOLDER, Holder, taken};
use crate::certificate::Chain;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rotation::aws::service::{Answer, Request, Service};
use rotation::clock::Deadline;
use rotation::{Code, Error, Fact, Result};
use serde_json::{Value, json};

/// Makes sure that a certificate belongs to this secret. One that belongs to nobody becomes this secret's. Which ones the function can take
/// at all, its role says.
///
/// <https://docs.aws.amazon.com/acm/latest/APIReference/API_AddTagsToCertificate.html>
pub(super) async fn hold(acm: &Service, arn: &str, holder: &Holder, deadline: Deadline) -> Result<()> {
    let placed = |error: Error| advised(error, arn);
    if held(acm, arn, holder, deadline).await.map_err(placed)? {
        return Ok(());
    }
    let tags = json!({"CertificateArn": arn, "Tags": [{"Key": HOLDER, "Value": holder.0}]});
    let name = "acm:AddTagsToCertificate";
    let answer = call(acm, name, &tags, deadline).await?;
    if answer.status != 200 {
        return Err(refused(name, &answer));
    }
    // Another secret may have taken it at the same moment. The last one has it.
    match held(acm, arn, holder, deadline).await.map_err(placed)? {
        true => Ok(()),
        false => Err(placed(taken("no mark, although it was written"))),
    }
}

/// Whether the certificate is this secret's. False if it is nobody's.
async fn held(acm: &Service, arn: &str, holder: &Holder, deadline: Deadline) -> Result<bool> {
    let name = "acm:ListTagsForCertificate";
    let answer = call(acm, name, &json!({"CertificateArn": arn}), deadline).await?;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let (200, Some(tags)) = (answer.status, body.get("Tags").and_then(Value::as_array)) else {
        return Err(refused(name, &answer));
    };
    let own = tags.iter().find(|tag| tag.get("Key").and_then(Value::as_str) == Some(HOLDER));
    // A tag may have no value.
    holder.is(own.map(|tag| tag.get("Value").and_then(Value::as_str).unwrap_or_default()))
}

fn advised(error: Error, arn: &str) -> Error {
    if error.code() != Code::OutletTaken {
        return error;
    }
    let next = format!(
        "Nothing was imported. Let each secret name a certificate of its own. If this one is to be this secret's, take the tag from \
         it: `aws acm remove-tags-from-certificate --certificate-arn {arn} --tags Key={HOLDER}`."
    );
    error.with(Fact::Field, "rotation.acmCertificateArn").with(Fact::NextAction, next)
}

/// Whether ACM has this certificate and this chain. A role without this permission gets the certificate imported each time.
///
/// <https://docs.aws.amazon.com/acm/latest/APIReference/API_GetCertificate.html>
pub(super) async fn serves(acm: &Service, arn: &str, chain: &Chain, deadline: Deadline) -> Result<bool> {
    let answer = call(acm, "acm:GetCertificate", &json!({"CertificateArn": arn}), deadline).await?;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let whole = format!("{}\n{}", text("Certificate"), text("CertificateChain"));
    Ok(answer.status == 200 && Chain::read(&whole).is_ok_and(|there| there == *chain))
}

/// Imports a certificate under an ARN that is there already.
///
/// <https://docs.aws.amazon.com/acm/latest/APIReference/API_ImportCertificate.html>
pub(super) async fn import(acm: &Service, arn: &str, handed: &Handed<'_>, deadline: Deadline) -> Result<()> {
    // The API takes bytes, which JSON carries in base64.
    let bytes = |text: &str| BASE64_STANDARD.encode(text);
    let rest = handed.chain.rest_pem();
    let mut body = json!({
        "CertificateArn": arn,
        "Certificate": bytes(&handed.chain.own_pem()),
        "PrivateKey": bytes(handed.key.expose()),
    });
    if let Some(fields) = body.as_object_mut().filter(|_| !rest.is_empty()) {
        fields.insert("CertificateChain".to_owned(), bytes(&rest).into());
    }
    let name = "acm:ImportCertificate";
    let answer = call(acm, name, &body, deadline).await?;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match (answer.status, body.get("CertificateArn").and_then(Value::as_str)) {
        (200, Some(imported)) if imported == arn => Ok(()),
        _ => Err(refused(name, &answer)),
    }
}

/// Calls the operation of this name, which begins with `acm:`.
async fn call(acm: &Service, name: &'static str, body: &Value, deadline: Deadline) -> Result<Answer> {
    let target = format!("CertificateManager.{}", name.trim_start_matches("acm:"));
    let request = Request::post("application/x-amz-json-1.1", &[("x-amz-target", &target)], body.to_string());
    acm.call(&request, deadline).await.map_err(|failure| unanswered(name, failure))
}
