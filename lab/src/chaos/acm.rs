//! The certificate in AWS Certificate Manager that the tested secret is handed to, with its tags.

use super::ca::Ca;
use super::case::ACM;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rotation::aws::service::{Answer, Request};
use serde_json::{Value, json};

/// A certificate of ACM. A person has imported its first content.
pub(super) struct Acm {
    certificate: String,
    chain: String,
    tags: Vec<Value>,
    is_handed: bool,
    changes: u64,
}

/// An operation, by the name in the request's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    ListTags,
    AddTags,
    Get,
    Import,
}

impl Operation {
    /// What a request asks for. `None` if the function should not ask for it.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let target = request.headers.iter().find(|(name, _)| *name == "x-amz-target")?;
        match target.1.strip_prefix("CertificateManager.")? {
            "ListTagsForCertificate" => Some(Self::ListTags),
            "AddTagsToCertificate" => Some(Self::AddTags),
            "GetCertificate" => Some(Self::Get),
            "ImportCertificate" => Some(Self::Import),
            _ => None,
        }
    }
}

impl Acm {
    pub(super) fn new() -> Self {
        Self { certificate: Ca::root(), chain: String::new(), tags: Vec::new(), is_handed: false, changes: 0 }
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The certificate that the function has imported.
    pub(super) fn handed(&self) -> Option<&str> {
        self.is_handed.then_some(self.certificate.as_str())
    }

    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
        if body.get("CertificateArn") != Some(&json!(ACM)) {
            return answer(400, &json!({"__type": "ResourceNotFoundException"}));
        }
        let done = match Operation::of(request) {
            Some(Operation::ListTags) => Some(json!({"Tags": self.tags})),
            Some(Operation::AddTags) => self.add(&body).map(|()| json!({})),
            Some(Operation::Get) => Some(json!({"Certificate": self.certificate, "CertificateChain": self.chain})),
            Some(Operation::Import) => self.import(&body).map(|()| json!({"CertificateArn": ACM})),
            None => None,
        };
        done.map_or_else(|| answer(400, &json!({"__type": "ValidationException"})), |body| answer(200, &body))
    }

    /// A person takes all tags from the certificate.
    pub(super) fn untag(&mut self) {
        self.tags.clear();
        self.changes += 1;
    }

    /// A tag takes the place of one with the same key.
    fn add(&mut self, body: &Value) -> Option<()> {
        for tag in body.get("Tags")?.as_array()? {
            self.tags.retain(|known| known.get("Key") != tag.get("Key"));
            self.tags.push(tag.clone());
        }
        self.changes += 1;
        Some(())
    }

    fn import(&mut self, body: &Value) -> Option<()> {
        let text = |field: &str| {
            let bytes = BASE64_STANDARD.decode(body.get(field)?.as_str()?).ok()?;
            String::from_utf8(bytes).ok()
        };
        (self.certificate, self.chain) = (text("Certificate")?, text("CertificateChain").unwrap_or_default());
        self.is_handed = true;
        self.changes += 1;
        Some(())
    }
}

fn answer(status: u16, body: &Value) -> Answer {
    Answer { status, headers: Vec::new(), body: body.to_string().into() }
}
