//! What AWS itself reports, over EventBridge.

use super::found::{Leaked, Report, printable};
use serde_json::Value;

/// The findings of GuardDuty that mean that somebody else has the credential.
///
/// <https://docs.aws.amazon.com/guardduty/latest/ug/guardduty_finding-types-iam.html>
const COMPROMISES: [&str; 4] =
    ["UnauthorizedAccess:IAMUser/", "CredentialAccess:IAMUser/", "Exfiltration:IAMUser/", "InitialAccess:IAMUser/"];

/// The report in an event of AWS Health (`AWS_RISK_CREDENTIALS_EXPOSED`) or GuardDuty. Both name the id of an access key, which stands in
/// the value of its secret, and so has a fingerprint. Any other event is a notice for people.
///
/// <https://docs.aws.amazon.com/health/latest/ug/cloudwatch-events-health.html>,
/// <https://docs.aws.amazon.com/guardduty/latest/ug/guardduty_findings_cloudwatch.html>
pub(super) fn report(event: &Value) -> Report {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (source, kind) = match text("/source") {
        "aws.health" => ("aws.health", text("/detail/eventTypeCode")),
        "aws.guardduty" => ("aws.guardduty", text("/detail/type")),
        _ => ("EventBridge", text("/detail-type")),
    };
    let (rule, place) = (printable(kind, ""), printable(&format!("{source} {}", text("/id")), ""));
    let entities = event.pointer("/detail/affectedEntities").and_then(Value::as_array);
    let entities = entities.into_iter().flatten().filter_map(|entity| entity.get("entityValue")?.as_str());
    let key = event.pointer("/detail/resource/accessKeyDetails/accessKeyId").and_then(Value::as_str);
    let exposed = source == "aws.guardduty" || kind.starts_with("AWS_RISK_CREDENTIALS_EXPOS");
    // GuardDuty suspects much, and can be told to make samples. Only what it is sure of starts anything by itself.
    let severe = event.pointer("/detail/severity").and_then(Value::as_f64).is_some_and(|severity| severity >= 7.0);
    let compromised = COMPROMISES.iter().any(|start| kind.starts_with(start));
    let sample = event.pointer("/detail/service/additionalInfo/sample").and_then(Value::as_bool) == Some(true)
        || text("/detail/title").starts_with("[SAMPLE]");
    let sure = match source {
        "aws.health" => kind == "AWS_RISK_CREDENTIALS_EXPOSED",
        _ => severe && compromised && !sample,
    };
    let ids: Vec<_> = entities.chain(key).filter(|_| exposed).filter(|id| !id.is_empty()).take(100).collect();
    let notices = if ids.is_empty() { vec![format!("{rule}, {place}: look at it")] } else { Vec::new() };
    let leaked = ids.into_iter().map(|id| Leaked { value: id.into(), rule: rule.clone(), place: place.clone(), sure });
    Report { leaked: leaked.collect(), notices, ..Report::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_key_that_aws_names_is_found() {
        let health = json!({"source": "aws.health", "detail-type": "AWS Health Event", "id": "e-1", "detail": {
            "eventTypeCode": "AWS_RISK_CREDENTIALS_EXPOSED", "affectedEntities": [{"entityValue": "AKIAIOSFODNN7EXAMPLE"}]}});
        let duty = json!({"source": "aws.guardduty", "detail-type": "GuardDuty Finding", "id": "e-2", "detail": {
            "type": "UnauthorizedAccess:IAMUser/MaliciousIPCaller", "resource": {"accessKeyDetails": {"accessKeyId": "AKIAIOSFODNN7EXAMPLE"}}}});
        for event in [health, duty] {
            let report = report(&event);
            assert_eq!(report.leaked[0].value.expose(), "AKIAIOSFODNN7EXAMPLE");
            assert!(report.notices.is_empty());
        }
    }

    #[test]
    fn only_what_guardduty_is_sure_of_starts_anything() {
        let sure = |kind: &str, severity: f64, sample: bool| {
            let event = json!({"source": "aws.guardduty", "detail-type": "GuardDuty Finding", "detail": {
                "type": kind, "severity": severity, "service": {"additionalInfo": {"sample": sample}},
                "resource": {"resourceType": "AccessKey", "accessKeyDetails": {"accessKeyId": "AKIAIOSFODNN7EXAMPLE"}}}});
            report(&event).leaked[0].sure
        };
        let outside = "UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.OutsideAWS";
        assert!(sure(outside, 8.0, false));
        assert!(
            !sure(outside, 8.0, true)
                && !sure(outside, 2.0, false)
                && !sure("Recon:IAMUser/UserPermissions", 8.0, false)
        );
        let suspected = json!({"source": "aws.health", "detail": {"eventTypeCode": "AWS_RISK_CREDENTIALS_EXPOSURE_SUSPECTED",
            "affectedEntities": [{"entityValue": "AKIAIOSFODNN7EXAMPLE"}]}});
        assert!(!report(&suspected).leaked[0].sure);
    }

    #[test]
    fn other_events_are_for_people() {
        let other = json!({"source": "aws.health", "detail": {"eventTypeCode": "AWS_EC2_X", "affectedEntities": [{"entityValue": "i-1"}]}});
        let report = report(&other);
        assert!(report.leaked.is_empty());
        assert_eq!(report.notices.len(), 1);
    }
}
