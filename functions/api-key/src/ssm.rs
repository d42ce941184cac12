//! One call to AWS Systems Manager: a parameter with a description. The SDK for it would be larger than this whole function.
//!
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>

use crate::http::{Allowed, Client, converse, message};
use crate::request::{Request, signed};
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use rotation::clock::{Deadline, since_epoch};
use rotation::{Code, Error, Fact, Result};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;

/// The service answers in tens of milliseconds.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The value of a parameter. `endpoint` is where the service is, if not at its usual place.
///
/// # Errors
/// [`Code::DescriptionUnreadable`], with the service's own error code where it gave one.
pub(crate) async fn parameter(name: &str, endpoint: Option<&str>, deadline: Deadline) -> Result<String> {
    let unreadable = |what: &str| {
        let error = Error::new(Code::DescriptionUnreadable).with(Fact::Field, "ISSUERS");
        error.with(Fact::Found, format_args!("ssm:{name}")).with(Fact::What, what)
    };
    let work = async {
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12()).load().await;
        let (request, address) =
            request(name, endpoint, &config).await.ok_or_else(|| unreadable("no credentials or region"))?;
        let (status, body) = send(request, address, deadline).await.ok_or_else(|| unreadable("no answer"))?;
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        match (status, text("/Parameter/Value")) {
            (200, Some(value)) => Ok(value),
            _ => {
                let kind = text("/__type").unwrap_or_default();
                let kind = kind.rsplit('#').next().unwrap_or_default().to_owned();
                Err(unreadable("refused").with(Fact::Status, status).with(Fact::ServiceCode, kind))
            }
        }
    };
    deadline.within(TIMEOUT).limit(work).await.unwrap_or_else(|_| Err(unreadable("no answer in time")))
}

/// Where a request goes that is not for TLS.
type Plain = Option<String>;

async fn request(name: &str, endpoint: Option<&str>, config: &SdkConfig) -> Option<(Request, Plain)> {
    let region = config.region()?.as_ref().to_owned();
    let credentials = config.credentials_provider()?.provide_credentials().await.ok()?;
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    let usual = format!("https://ssm.{region}.amazonaws.com{suffix}");
    let address = endpoint.or_else(|| config.endpoint_url()).unwrap_or(&usual).trim_end_matches('/');
    let (plain, authority) = match address.strip_prefix("http://") {
        Some(authority) => (Some(authority.to_owned()), authority),
        None => (None, address.strip_prefix("https://")?),
    };
    let mut request = Request {
        what: "GetParameter".to_owned(),
        method: "POST",
        authority: authority.to_owned(),
        path: "/".into(),
        headers: vec![("X-Amz-Target".to_owned(), "AmazonSSM.GetParameter".into())],
        body: Some(("application/x-amz-json-1.1", json!({"Name": name, "WithDecryption": true}).to_string().into())),
        timeout: TIMEOUT,
    };
    signed(&mut request, credentials, &region, "ssm", since_epoch()).ok()?;
    Some((request, plain))
}

/// Status and body.
async fn send(request: Request, plain: Plain, deadline: Deadline) -> Option<(u16, Value)> {
    let Some(address) = plain else {
        // An interface endpoint in a VPC has a private address.
        let host = request.authority.split(':').next().unwrap_or_default().to_owned();
        let client = Client::new(None, Allowed { private_hosts: vec![host], ..Allowed::default() }).ok()?;
        let answer = client.send(request, &[], deadline).await.ok()?;
        return Some((answer.status, answer.body?));
    };
    // An emulator on this machine, which whoever sets the endpoint has chosen.
    let address = if address.contains(':') { address } else { format!("{address}:80") };
    let stream = TcpStream::connect(address).await.ok()?;
    let (head, body) = converse(stream, message(&request).ok()?).await.ok()?;
    Some((head.status.as_u16(), serde_json::from_slice(&body).ok()?))
}
