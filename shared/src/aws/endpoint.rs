//! The address of an AWS service, and whether it is safe to send a signed request there.

use crate::error::{Code, Error, Fact};
use std::net::IpAddr;

/// A setting for a service's address that this function does not follow. It names the setting, and not its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEndpoint {
    /// The environment variable.
    pub field: &'static str,
    /// Why the function does not follow it.
    pub found: &'static str,
    /// What it would follow.
    pub expected: &'static str,
}

impl BadEndpoint {
    /// [`Code::ConfigurationInvalid`].
    pub fn error(self) -> Error {
        let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, self.field);
        error.with(Fact::Found, self.found).with(Fact::Expected, self.expected)
    }
}

/// Everything that decides where a service is.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) service: &'a str,
    /// The service's own endpoint variable, and its value.
    pub(super) endpoint: Option<(&'static str, &'a str)>,
    /// `AWS_ENDPOINT_URL`.
    pub(super) shared: Option<&'a str>,
    pub(super) region: &'a str,
    /// `AWS_USE_FIPS_ENDPOINT`.
    pub(super) fips: bool,
    /// `AWS_USE_DUALSTACK_ENDPOINT`.
    pub(super) dual_stack: bool,
}

impl Place<'_> {
    /// Scheme, host and perhaps port and path, without a slash at the end. It is the address that the SDKs' rules for this service
    /// give. If the rules give an error, or are not known here, this is an error, too.
    ///
    /// `endpoint-rule-set-1.json` of `rds` (2014-10-31), `ssm` (2014-11-06), `logs` (2014-03-28), `s3` (2006-03-01, with the bucket in the path), `acm`
    /// (2015-12-08), `kms` (2014-11-01), `cloudfront` (2020-05-31) and `route53` (2013-04-01) in botocore
    pub(super) fn address(&self) -> Result<String, BadEndpoint> {
        match self.endpoint.or(self.shared.map(|url| ("AWS_ENDPOINT_URL", url))) {
            Some((field, url)) => self.stated(field, url),
            None => self.usual(),
        }
    }

    fn stated(&self, field: &'static str, url: &str) -> Result<String, BadEndpoint> {
        if let Some(field) = self.variant() {
            let found = "true, together with an endpoint of one's own";
            return Err(BadEndpoint { field, found, expected: "one of the two, as for the AWS SDKs" });
        }
        checked(url).map_err(|found| BadEndpoint { field, found, expected: EXPECTED })
    }

    fn usual(&self) -> Result<String, BadEndpoint> {
        let Self { service, region, fips, dual_stack, .. } = *self;
        let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if region.is_empty() || !region.chars().all(label) {
            let expected = "a region's name, e.g. eu-central-1";
            return Err(BadEndpoint { field: "AWS_REGION", found: "text that is no region", expected });
        }
        let Some(partition) = Partition::of(region) else {
            return Err(self.unknown());
        };
        if is_global(service) {
            // Further addresses of these services are not known here.
            let known = !fips && !dual_stack && !region.starts_with("us-gov-") && partition.is_usual();
            return if known { Ok(format!("https://{service}.{}", partition.suffix)) } else { Err(self.unknown()) };
        }
        if service == "s3" {
            let (kind, stack) = (if fips { "-fips" } else { "" }, if dual_stack { ".dualstack" } else { "" });
            return Ok(format!("https://s3{kind}{stack}.{region}.{}", partition.suffix));
        }
        let suffix = if dual_stack { partition.dual_stack } else { partition.suffix };
        // In GovCloud the usual endpoints are FIPS endpoints, unless they are dual-stack. KMS has others for FIPS.
        let usual_is_fips = region.starts_with("us-gov-") && !dual_stack && service != "kms";
        let kind = if fips && !usual_is_fips { "-fips" } else { "" };
        Ok(format!("https://{service}{kind}.{region}.{suffix}"))
    }

    /// The error in a region whose addresses are not known here.
    fn unknown(&self) -> BadEndpoint {
        match self.variant() {
            Some(field) => {
                let found = "true, in a region whose addresses of that kind this function does not know";
                BadEndpoint { field, found, expected: "false, and the service's URL in its endpoint variable" }
            }
            None => BadEndpoint {
                field: variable(self.service),
                found: "nothing, in a region whose addresses this function does not know",
                expected: "the service's URL",
            },
        }
    }

    /// The setting that asks for FIPS or dual-stack, if there is one.
    fn variant(&self) -> Option<&'static str> {
        let dual_stack = self.dual_stack.then_some("AWS_USE_DUALSTACK_ENDPOINT");
        self.fips.then_some("AWS_USE_FIPS_ENDPOINT").or(dual_stack)
    }
}

/// The domains of a partition's services.
struct Partition {
    suffix: &'static str,
    dual_stack: &'static str,
}

impl Partition {
    /// From a region's name. The isolated partitions are not known here: deployers there set the endpoint variables. A region
    /// with an unknown name belongs to the public partition, as in the SDKs.
    ///
    /// `partitions.json` of botocore
    fn of(region: &str) -> Option<Self> {
        let mut parts = region.split('-');
        let (first, second) = (parts.next(), parts.next());
        match first {
            _ if second.is_some_and(|second| second.starts_with("iso")) => None,
            Some("cn") => Some(Self { suffix: "amazonaws.com.cn", dual_stack: "api.amazonwebservices.com.cn" }),
            Some("eusc") => Some(Self { suffix: "amazonaws.eu", dual_stack: "api.amazonwebservices.eu" }),
            _ => Some(Self { suffix: "amazonaws.com", dual_stack: "api.aws" }),
        }
    }
}

/// Whether a service has one address for all regions.
fn is_global(service: &str) -> bool {
    matches!(service, "cloudfront" | "route53")
}

/// The region that requests to a service are signed for.
pub(super) fn signing_region<'a>(service: &str, region: &'a str) -> &'a str {
    if is_global(service) { "us-east-1" } else { region }
}

/// The endpoint variable of one service.
pub(super) fn variable(service: &str) -> &'static str {
    match service {
        "rds" => "AWS_ENDPOINT_URL_RDS",
        "ssm" => "AWS_ENDPOINT_URL_SSM",
        "logs" => "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
        "s3" => "AWS_ENDPOINT_URL_S3",
        "acm" => "AWS_ENDPOINT_URL_ACM",
        "cloudfront" => "AWS_ENDPOINT_URL_CLOUDFRONT",
        "route53" => "AWS_ENDPOINT_URL_ROUTE_53",
        "kms" => "AWS_ENDPOINT_URL_KMS",
        "secretsmanager" => "AWS_ENDPOINT_URL_SECRETS_MANAGER",
        "states" => "AWS_ENDPOINT_URL_SFN",
        _ => "AWS_ENDPOINT_URL",
    }
}

impl Partition {
    /// Whether it is the public one, outside of China and the European sovereign cloud.
    fn is_usual(&self) -> bool {
        self.suffix == "amazonaws.com"
    }
}

/// What [`checked`] accepts.
pub(crate) const EXPECTED: &str =
    "https://, a host, and perhaps a port and a path; http:// for localhost and loopback addresses alone";

/// A URL that requests may go to, without a slash at the end; else why they may not. Requests carry the session's token and
/// answers carry secrets, so plain HTTP is allowed only within this machine.
pub(crate) fn checked(url: &str) -> Result<String, &'static str> {
    let url = url.trim().trim_end_matches('/');
    let (scheme, rest) = url.split_once("://").ok_or("text that is no URL")?;
    let scheme = scheme.to_ascii_lowercase();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let in_path = |c: char| c.is_ascii_alphanumeric() || "/-._~%".contains(c);
    let host = host_of(authority).filter(|_| path.chars().all(in_path)).ok_or("text that is no URL of that kind")?;
    match scheme.as_str() {
        "https" => {}
        "http" if is_loopback(host) => {}
        "http" => return Err("http:// and a host that is not this machine"),
        _ => return Err("text that is no URL of that kind"),
    }
    Ok(format!("{scheme}://{authority}{path}"))
}

/// The host of `host`, `host:port` or `[address]:port`. `None` if there is anything else, such as a user's name or a query.
fn host_of(authority: &str) -> Option<&str> {
    let in_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').filter(|(host, _)| host.parse::<IpAddr>().is_ok_and(|it| it.is_ipv6()))?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let named = authority.starts_with('[') || (!host.is_empty() && host.chars().all(in_host));
    let port_fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    (named && port_fits).then_some(host)
}

fn is_port(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port != 0)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place<'a>(service: &'a str, region: &'a str) -> Place<'a> {
        Place { service, endpoint: None, shared: None, region, fips: false, dual_stack: false }
    }

    #[test]
    fn a_service_is_where_its_partition_has_it() {
        let usual = |service, region| place(service, region).address().unwrap();
        assert_eq!(usual("rds", "eu-central-1"), "https://rds.eu-central-1.amazonaws.com");
        assert_eq!(usual("ssm", "cn-north-1"), "https://ssm.cn-north-1.amazonaws.com.cn");
        assert_eq!(usual("rds", "us-gov-west-1"), "https://rds.us-gov-west-1.amazonaws.com");
        assert_eq!(usual("rds", "eusc-de-east-1"), "https://rds.eusc-de-east-1.amazonaws.eu");
        let fips = |service| Place { fips: true, ..place(service, "us-gov-west-1") }.address().unwrap();
        assert_eq!(fips("rds"), "https://rds.us-gov-west-1.amazonaws.com");
        assert_eq!(fips("kms"), "https://kms-fips.us-gov-west-1.amazonaws.com");
    }

    #[test]
    fn a_global_service_has_one_address_and_is_signed_for_one_region() {
        for service in ["cloudfront", "route53"] {
            let at = |region| place(service, region).address();
            assert_eq!(at("eu-central-1").unwrap(), format!("https://{service}.amazonaws.com"));
            assert_eq!(signing_region(service, "eu-central-1"), "us-east-1");
            for other in ["cn-north-1", "us-gov-west-1", "eusc-de-east-1"] {
                assert_eq!(at(other).unwrap_err().field, variable(service), "{other}");
            }
            let fips = Place { fips: true, ..place(service, "eu-central-1") };
            assert_eq!(fips.address().unwrap_err().field, "AWS_USE_FIPS_ENDPOINT");
        }
        assert_eq!(signing_region("s3", "eu-central-1"), "eu-central-1");
    }

    #[test]
    fn s3_keeps_its_own_names_for_fips_and_dual_stack() {
        let at = |fips, dual_stack, region| Place { fips, dual_stack, ..place("s3", region) }.address().unwrap();
        assert_eq!(at(false, false, "eu-central-1"), "https://s3.eu-central-1.amazonaws.com");
        assert_eq!(at(true, false, "us-east-1"), "https://s3-fips.us-east-1.amazonaws.com");
        assert_eq!(at(false, true, "cn-north-1"), "https://s3.dualstack.cn-north-1.amazonaws.com.cn");
        assert_eq!(at(true, true, "us-gov-west-1"), "https://s3-fips.dualstack.us-gov-west-1.amazonaws.com");
    }

    #[test]
    fn fips_and_dual_stack_are_where_the_sdks_have_them() {
        let at = |region, fips, dual_stack| {
            ["rds", "ssm"].map(|it| Place { fips, dual_stack, ..place(it, region) }.address().unwrap())
        };
        let both = |rest: &str| ["rds", "ssm"].map(|service| format!("https://{service}{rest}"));
        assert_eq!(at("us-east-1", true, false), both("-fips.us-east-1.amazonaws.com"));
        assert_eq!(at("us-east-1", false, true), both(".us-east-1.api.aws"));
        assert_eq!(at("us-east-1", true, true), both("-fips.us-east-1.api.aws"));
        assert_eq!(at("us-gov-west-1", true, false), both(".us-gov-west-1.amazonaws.com"));
        assert_eq!(at("us-gov-west-1", true, true), both("-fips.us-gov-west-1.api.aws"));
        assert_eq!(at("cn-north-1", false, true), both(".cn-north-1.api.amazonwebservices.com.cn"));
        assert_eq!(at("eusc-de-east-1", false, true), both(".eusc-de-east-1.api.amazonwebservices.eu"));
    }

    #[test]
    fn an_address_that_is_not_certain_is_refused_and_the_setting_is_named() {
        let refused = |place: Place<'_>| place.address().unwrap_err().error();
        let own = Some(("AWS_ENDPOINT_URL_RDS", "https://rds.example"));
        let custom = Place { endpoint: own, ..place("rds", "us-east-1") };
        let error = refused(Place { fips: true, ..custom });
        assert_eq!(
            (error.code(), error.fact(Fact::Field)),
            (Code::ConfigurationInvalid, Some("AWS_USE_FIPS_ENDPOINT"))
        );
        let error = refused(Place { dual_stack: true, ..custom });
        assert_eq!(error.fact(Fact::Field), Some("AWS_USE_DUALSTACK_ENDPOINT"));
        let error = refused(Place { endpoint: None, shared: Some("https://a.example"), fips: true, ..custom });
        assert_eq!(error.fact(Fact::Field), Some("AWS_USE_FIPS_ENDPOINT"));

        for region in ["us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1"] {
            let error = refused(Place { fips: true, ..place("ssm", region) });
            assert_eq!(error.fact(Fact::Field), Some("AWS_USE_FIPS_ENDPOINT"), "{region}");
            assert_eq!(refused(place("ssm", region)).fact(Fact::Field), Some("AWS_ENDPOINT_URL_SSM"), "{region}");
            let stated = Place { endpoint: own, ..place("rds", region) };
            assert_eq!(stated.address().unwrap(), "https://rds.example");
        }
        for region in ["", "us-east-1.evil.example/", "us-east-1#", "a b"] {
            assert_eq!(refused(place("rds", region)).fact(Fact::Field), Some("AWS_REGION"), "{region}");
        }
    }

    #[test]
    fn a_service_has_its_own_variable_before_the_one_that_all_share() {
        let shared = Place { shared: Some("https://all.example/"), ..place("rds", "us-east-1") };
        assert_eq!(shared.address().unwrap(), "https://all.example");
        let own = Place { endpoint: Some((variable("rds"), "https://rds.example:8443/a/")), ..shared };
        assert_eq!(own.address().unwrap(), "https://rds.example:8443/a");
        let error = Place { endpoint: Some((variable("rds"), "http://rds.example")), ..shared }.address().unwrap_err();
        assert_eq!(error.field, "AWS_ENDPOINT_URL_RDS");
        let error = Place { shared: Some("http://all.example"), ..shared }.address().unwrap_err();
        assert_eq!(error.field, "AWS_ENDPOINT_URL");
    }

    #[test]
    fn nothing_is_sent_in_clear_but_within_this_machine() {
        for here in
            ["http://localhost:4566", "http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]:80", "HTTP://LOCALHOST"]
        {
            assert!(checked(here).is_ok(), "{here}");
        }
        for there in [
            "http://rds.us-east-1.amazonaws.com",
            "http://10.0.0.1",
            "http://169.254.169.254",
            "http://[fd00::1]",
            "http://[::ffff:10.0.0.1]",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://localhost@evil.example",
            "http://localhost:80@evil.example",
            "http://localhost\\@evil.example",
            "http://localhost#@evil.example",
            "http://localhost?@evil.example",
            "http://2130706433",
            "http://",
            "http:///a",
            "http://[localhost]",
            "http://[127.0.0.1]",
        ] {
            assert!(checked(there).is_err(), "{there}");
        }
        for bad in [
            "",
            "rds.example",
            "ftp://localhost",
            "https://",
            "https://a:0",
            "https://a:99999",
            "https://a:+1",
            "https://a/?b",
            "https://u@a",
            "https://a b",
        ] {
            assert!(checked(bad).is_err(), "{bad}");
        }
        assert!(checked("https://vpce-1.rds.eu-west-1.vpce.amazonaws.com").is_ok());
    }
}
