//! What a CA's refusal means (RFC 8555, section 6.7; RFC 9773, section 5; RFC 8659).
//!
//! **Invariant:** of a refusal only its type is told, and of that only what this list knows. The rest is text of the CA's own, which
//! may quote what it got. Test: `nothing_of_a_refusals_text_is_told`.

use rotation::{Code, Error, Fact};
use serde_json::Value;
use std::time::Duration;

const PREFIX: &str = "urn:ietf:params:acme:error:";

/// The types that RFCs and drafts name.
const KNOWN: [&str; 28] = [
    "accountDoesNotExist",
    "alreadyReplaced",
    "alreadyRevoked",
    "badCSR",
    "badNonce",
    "badPublicKey",
    "badRevocationReason",
    "badSignatureAlgorithm",
    "caa",
    "compound",
    "connection",
    "dns",
    "externalAccountRequired",
    "incorrectResponse",
    "invalidContact",
    "invalidProfile",
    "malformed",
    "orderNotReady",
    "rateLimited",
    "rejectedIdentifier",
    "serverInternal",
    "tls",
    "unauthorized",
    "unsupportedContact",
    "unsupportedIdentifier",
    "userActionRequired",
    "autoRenewalCanceled",
    "conflict",
];

/// A problem document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The type, if it is a known one.
    pub kind: Option<&'static str>,
    /// The HTTP status.
    pub status: u16,
    /// The identifier that it is about, if it names one.
    pub name: Option<String>,
    /// How long to wait.
    pub retry_after: Option<Duration>,
}

/// What was under way when a CA refused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// A request about the account.
    Account,
    /// The registration of an account.
    Registration,
    /// A new order, its finalization, or its certificate.
    Order,
    /// The validation of a name.
    Validation,
    /// A revocation, or a question about renewal.
    Other,
}

impl Problem {
    /// Reads a problem document, wherever it is.
    pub fn read(status: u16, document: &Value, retry_after: Option<Duration>) -> Self {
        let kind = kind_of(document);
        let sub = document.get("subproblems").and_then(Value::as_array).and_then(|all| all.first());
        // A compound error names what is wrong in its first part.
        let kind = match (kind, sub.and_then(kind_of)) {
            (None | Some("compound" | "malformed"), Some(inner)) => Some(inner),
            (kind, _) => kind,
        };
        let name = |document: &Value| document.pointer("/identifier/value").and_then(Value::as_str).map(str::to_owned);
        Self { kind, status, name: name(document).or_else(|| sub.and_then(name)), retry_after }
    }

    /// The error that it means.
    pub fn error(&self, doing: Doing) -> Error {
        let mut error = Error::new(self.code(doing)).with(Fact::Status, self.status);
        if let Some(kind) = self.kind {
            error = error.with(Fact::ServiceCode, kind);
        }
        // A CA may name anything; what is no domain is not repeated.
        if let Some(name) =
            self.name.as_deref().filter(|name| crate::settings::is_domain(name.trim_start_matches("*.")))
        {
            error = error.with(Fact::Host, name.trim_start_matches("*."));
        }
        if let Some(wait) = self.retry_after {
            error = error.with(Fact::What, format_args!("it asks to wait {} s", wait.as_secs()));
        }
        if error.code() == Code::AdminRejected {
            error = error.with(
                Fact::NextAction,
                "Rotate the account secret. If that fails with this code, too, the CA does not know the account any more: remove \
                 `accountKey` from the account secret and rotate it, which registers a new account.",
            );
        }
        error
    }

    fn code(&self, doing: Doing) -> Code {
        match (self.kind, doing) {
            (Some("accountDoesNotExist"), _) => Code::AdminRejected,
            // There is no account yet whose key could be refused. Pebble says so of a binding whose key it does not know.
            (Some("unauthorized"), Doing::Registration) => Code::BindingRequired,
            (Some("unauthorized"), Doing::Account | Doing::Order | Doing::Other) => Code::AdminRejected,
            (Some("externalAccountRequired"), _) => Code::BindingRequired,
            // Pebble and Boulder say so of a binding that they do not accept.
            (Some("malformed"), Doing::Account | Doing::Registration) => Code::BindingRequired,
            (Some("rateLimited"), _) => Code::CaRateLimited,
            (Some("caa"), _) => Code::CaaForbids,
            (Some("invalidProfile"), _) => Code::ProfileUnknown,
            (Some("serverInternal" | "badNonce"), _) => Code::IssuerUnavailable,
            (_, Doing::Validation) => Code::ValidationFailed,
            (Some("rejectedIdentifier" | "unsupportedIdentifier" | "badCSR" | "malformed"), Doing::Order) => {
                Code::OrderRefused
            }
            (Some("dns" | "connection" | "tls" | "incorrectResponse"), _) => Code::ValidationFailed,
            _ if self.status == 429 => Code::CaRateLimited,
            _ if self.status >= 500 => Code::IssuerUnavailable,
            _ => Code::CaRefused,
        }
    }
}

fn kind_of(document: &Value) -> Option<&'static str> {
    let kind = document.get("type")?.as_str()?.strip_prefix(PREFIX)?;
    KNOWN.into_iter().find(|known| *known == kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotation::Class;
    use serde_json::json;

    fn problem(kind: &str) -> Problem {
        Problem::read(403, &json!({"type": format!("{PREFIX}{kind}"), "detail": "hunter2"}), None)
    }

    #[test]
    fn each_fault_has_a_code() {
        for (kind, doing, code) in [
            ("accountDoesNotExist", Doing::Account, Code::AdminRejected),
            ("unauthorized", Doing::Order, Code::AdminRejected),
            ("unauthorized", Doing::Account, Code::AdminRejected),
            ("unauthorized", Doing::Registration, Code::BindingRequired),
            ("malformed", Doing::Registration, Code::BindingRequired),
            ("unauthorized", Doing::Validation, Code::ValidationFailed),
            ("dns", Doing::Validation, Code::ValidationFailed),
            ("dns", Doing::Order, Code::ValidationFailed),
            ("caa", Doing::Validation, Code::CaaForbids),
            ("caa", Doing::Order, Code::CaaForbids),
            ("rateLimited", Doing::Order, Code::CaRateLimited),
            ("rejectedIdentifier", Doing::Order, Code::OrderRefused),
            ("badCSR", Doing::Order, Code::OrderRefused),
            ("invalidProfile", Doing::Order, Code::ProfileUnknown),
            ("externalAccountRequired", Doing::Account, Code::BindingRequired),
            ("serverInternal", Doing::Validation, Code::IssuerUnavailable),
            ("badNonce", Doing::Order, Code::IssuerUnavailable),
            ("userActionRequired", Doing::Order, Code::CaRefused),
            ("of-the-ca's-own", Doing::Other, Code::CaRefused),
        ] {
            assert_eq!(problem(kind).error(doing).code(), code, "{kind} {doing:?}");
        }
        let status = |status| Problem::read(status, &Value::Null, None).error(Doing::Order).code();
        assert_eq!((status(429), status(503)), (Code::CaRateLimited, Code::IssuerUnavailable));
        assert_eq!(problem("rateLimited").error(Doing::Order).class(), Class::Retryable);
    }

    #[test]
    fn nothing_of_a_refusals_text_is_told() {
        let document = json!({
            "type": "urn:ietf:params:acme:error:compound", "detail": "hunter2",
            "subproblems": [{"type": "urn:ietf:params:acme:error:caa", "detail": "hunter2",
                "identifier": {"type": "dns", "value": "*.example.com"}}],
        });
        let error = Problem::read(403, &document, Some(Duration::from_secs(7))).error(Doing::Order);
        assert_eq!((error.code(), error.fact(Fact::Host)), (Code::CaaForbids, Some("example.com")));
        assert_eq!(error.fact(Fact::What), Some("it asks to wait 7 s"));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        for kind in ["hunter2", "urn:ietf:params:acme:error:hunter2"] {
            let named = json!({"type": kind, "identifier": {"value": "hunter2"}});
            let error = Problem::read(400, &named, None).error(Doing::Order);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
