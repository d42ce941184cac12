//! Signature Version 4 of a request.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4::SigningParams;
use std::time::{Duration, SystemTime};

/// The parts of a request that are signed.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The whole URL.
    pub address: &'a str,
    /// All headers but `host`.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// The headers that sign a call at `now`, the time since the Unix epoch. `None` if the call is not a valid request.
pub fn signature(
    call: &Call<'_>,
    credentials: Credentials,
    region: &str,
    service: &str,
    now: Duration,
) -> Option<Vec<(String, String)>> {
    let identity = credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(SystemTime::UNIX_EPOCH + now)
        .settings(settings(service))
        .build()
        .ok()?
        .into();
    let body = SignableBody::Bytes(call.body);
    let request = SignableRequest::new(call.method, call.address, call.headers.iter().copied(), body).ok()?;
    let (instructions, _) = sign(request, &parameters).ok()?.into_parts();
    Some(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// S3 signs the path as it is, and wants the body's hash in a header.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>
fn settings(service: &str) -> SigningSettings {
    let mut settings = SigningSettings::default();
    if service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The credentials and the service are those of AWS's own examples of Signature Version 4.
    #[test]
    fn a_call_is_signed_for_its_region_and_service() {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let call =
            Call { method: "POST", address: "https://rds.eu-west-1.amazonaws.com/", headers: &headers, body: b"a=b" };
        let now = Duration::from_secs(1_440_938_160);
        let signed = signature(&call, credentials, "eu-west-1", "rds", now).unwrap();
        let header = |name: &str| signed.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str()).unwrap();
        assert_eq!(header("x-amz-date"), "20150830T123600Z");
        let begins = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/rds/aws4_request, \
                      SignedHeaders=content-type;host;x-amz-date, Signature=";
        assert!(header("authorization").starts_with(begins), "{}", header("authorization"));
    }
}
