//! Where a certificate is handed to, beside the secret: AWS Certificate Manager and S3.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rotation::aws::service::{CallError, Failure, Request, Service};
use rotation::clock::Deadline;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use serde_json::{Value, json};
use std::fmt;

/// The services that take certificates.
#[derive(Debug)]
pub struct Outlets {
    acm: Service,
    s3: Service,
}

/// An object in S3: the bucket and the beginning of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The bucket's name.
    pub name: String,
    /// What the objects' keys begin with; ends with a slash, or is empty.
    pub prefix: String,
}

/// What is handed on.
pub struct Handed<'a> {
    /// The certificate, as PEM text.
    pub certificate: &'a str,
    /// The certificates that lead to a root, as PEM text.
    pub chain: &'a str,
    /// The private key, as PEM text.
    pub key: &'a SecretText,
}

impl Outlets {
    /// The endpoints are those of the services, if they are not the default ones.
    pub fn new(acm: Option<&str>, s3: Option<&str>) -> Self {
        Self { acm: Service::new("acm", acm), s3: Service::new("s3", s3) }
    }

    /// Over these services.
    pub fn over(acm: Service, s3: Service) -> Self {
        Self { acm, s3 }
    }

    /// The number of throttled calls since the process began.
    pub fn throttles(&self) -> u32 {
        self.acm.throttles().saturating_add(self.s3.throttles())
    }

    /// Puts the certificate into the place of another one in ACM, whose ARN stays: what refers to it serves the new certificate within
    /// minutes. To do so again changes nothing.
    ///
    /// <https://docs.aws.amazon.com/acm/latest/APIReference/API_ImportCertificate.html>
    ///
    /// # Errors
    /// [`Code::OutletRefused`], [`Code::OutletUnavailable`].
    pub async fn import(&self, arn: &str, handed: &Handed<'_>, deadline: Deadline) -> Result<()> {
        let call = "acm:ImportCertificate";
        // The API takes bytes, which JSON carries in base64.
        let bytes = |text: &str| BASE64_STANDARD.encode(text);
        let mut body = json!({
            "CertificateArn": arn,
            "Certificate": bytes(handed.certificate),
            "PrivateKey": bytes(handed.key.expose()),
        });
        if let Some(fields) = body.as_object_mut().filter(|_| !handed.chain.is_empty()) {
            fields.insert("CertificateChain".to_owned(), bytes(handed.chain).into());
        }
        let target = [("x-amz-target", "CertificateManager.ImportCertificate")];
        let request = Request::post("application/x-amz-json-1.1", &target, body.to_string());
        let answer = self.acm.call(&request, deadline).await.map_err(|failure| unanswered(call, failure))?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match (answer.status, body.get("CertificateArn").and_then(Value::as_str)) {
            (200, Some(imported)) if imported == arn => Ok(()),
            (status, _) => {
                let kind = body
                    .get("__type")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .rsplit('#')
                    .next()
                    .unwrap_or_default();
                Err(refused(call, status, kind))
            }
        }
    }

    /// Puts the certificate into a bucket, without the private key: `certificate.pem`, `chain.pem` and `fullchain.pem`.
    ///
    /// # Errors
    /// [`Code::OutletRefused`], [`Code::OutletUnavailable`].
    pub async fn put(&self, bucket: &Bucket, handed: &Handed<'_>, deadline: Deadline) -> Result<()> {
        let full = format!("{}{}", handed.certificate, handed.chain);
        for (name, text) in
            [("certificate.pem", handed.certificate), ("chain.pem", handed.chain), ("fullchain.pem", &full)]
        {
            let call = "s3:PutObject";
            let path = format!("/{}/{}{name}", bucket.name, bucket.prefix);
            let media = "application/x-pem-file";
            let request = Request { method: "PUT", path, media, headers: Vec::new(), body: text.to_owned() };
            let answer = self.s3.call(&request, deadline).await;
            let answer = answer.map_err(|failure| unanswered(call, failure))?;
            if answer.status != 200 {
                return Err(refused(call, answer.status, &answer.error_name().unwrap_or_default()));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Handed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handed")
    }
}

fn refused(call: &'static str, status: u16, kind: &str) -> Error {
    let kind: String = kind.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    Error::new(Code::OutletRefused).with(Fact::Call, call).with(Fact::Status, status).with(Fact::ServiceCode, kind)
}

fn unanswered(call: &'static str, failure: Failure) -> Error {
    let code = match failure.trouble {
        CallError::Throttled | CallError::NoConnection | CallError::Silent | CallError::Unavailable(_) => {
            Code::OutletUnavailable
        }
        CallError::NotConfigured | CallError::TooLarge => Code::OutletRefused,
        CallError::BadEndpoint(misplaced) => return misplaced.error(),
    };
    let error = Error::new(code).with(Fact::Call, call).with(Fact::What, failure.trouble.as_str());
    error.with(Fact::Attempts, failure.attempts)
}
