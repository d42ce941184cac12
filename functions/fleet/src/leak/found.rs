//! What scanners report.

use rotation::error::{Code, Error, Fact, Result};
use rotation::secret::SecretText;
use serde_json::Value;

/// So many findings of a report are looked at. A repository with more has other problems; the rest is counted.
const MOST: usize = 1_000;
/// A longer text is a file, and no credential.
const LONGEST: usize = 16 * 1_024;

/// A leaked value and where it was found.
#[derive(Debug)]
pub(super) struct Leaked {
    pub(super) value: SecretText,
    /// The scanner's rule.
    pub(super) rule: String,
    /// File, line and commit, or an address.
    pub(super) place: String,
}

/// What a scanner, or an event, says.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) leaked: Vec<Leaked>,
    /// Findings beyond the limits.
    pub(super) ignored: usize,
    /// What only people can follow.
    pub(super) notices: Vec<String>,
}

impl Report {
    /// Reads a report of gitleaks (`--report-format json`: an array) or trufflehog (`--json`: one object per line; as an array, or as
    /// one text).
    pub(super) fn read(report: &Value) -> Result<Self> {
        let lines: Vec<Value>;
        let findings = match report {
            Value::Array(findings) => findings,
            Value::String(text) => {
                lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
                &lines
            }
            _ => {
                let error = Error::new(Code::EventMalformed).with(Fact::Field, "Report");
                return Err(error.with(Fact::Expected, "the JSON of gitleaks, or the lines of trufflehog"));
            }
        };
        let mut read = Self::default();
        for finding in findings {
            match leaked(finding) {
                Some(leaked) if read.leaked.len() < MOST => read.leaked.push(leaked),
                _ => read.ignored += 1,
            }
        }
        Ok(read)
    }
}

fn leaked(finding: &Value) -> Option<Leaked> {
    let text = |name: &str| finding.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let value = text("Secret").or_else(|| text("Raw"))?;
    if value.len() > LONGEST {
        return None;
    }
    let git =
        finding.pointer("/SourceMetadata/Data/Git").or_else(|| finding.pointer("/SourceMetadata/Data/Filesystem"));
    let in_git = |name: &str| git.and_then(|git| git.get(name));
    let file = text("File").or_else(|| in_git("file")?.as_str()).unwrap_or_default();
    let line = finding.get("StartLine").or_else(|| in_git("line")).and_then(Value::as_u64).unwrap_or_default();
    let commit = text("Commit").or_else(|| in_git("commit")?.as_str()).unwrap_or_default();
    let commit: String = commit.chars().take(12).collect();
    let place = format!("{file}:{line}") + &(if commit.is_empty() { commit } else { format!(" in {commit}") });
    let rule = text("RuleID").or_else(|| text("DetectorName")).unwrap_or("unknown");
    Some(Leaked { place: printable(&place, value), rule: printable(rule, value), value: value.into() })
}

/// A text of the scanner's as far as it can be printed. One that holds the leaked value is not.
pub(super) fn printable(text: &str, value: &str) -> String {
    if !value.is_empty() && text.contains(value) {
        return "(not shown)".to_owned();
    }
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// The texts of a leaked value that may be a credential: the value itself, the password in a URL, and the texts of a JSON object.
pub(super) fn parts(value: &str) -> Vec<String> {
    let mut parts = vec![value.to_owned()];
    if let Some((_, rest)) = value.split_once("://")
        && let Some((credential, _)) = rest.split('/').next().unwrap_or_default().rsplit_once('@')
        && let Some((_, password)) = credential.split_once(':')
    {
        parts.extend(decoded(password));
        parts.push(password.to_owned());
    }
    if let Ok(Value::Object(fields)) = serde_json::from_str(value) {
        parts.extend(fields.values().filter_map(|value| value.as_str().map(str::to_owned)));
    }
    parts
}

/// Percent-decoding.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit =
                    |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(rest.next())? * 16 + digit(rest.next())?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_scanners_are_understood() {
        let gitleaks = json!([{"RuleID": "r", "Secret": "s3cr3t", "File": "a/b.env", "StartLine": 7, "Commit": "0123456789abcdef"}]);
        let report = Report::read(&gitleaks).unwrap();
        assert_eq!(
            (report.leaked[0].rule.as_str(), report.leaked[0].place.as_str()),
            ("r", "a/b.env:7 in 0123456789ab")
        );
        let line = r#"{"DetectorName":"URI","Raw":"s3cr3t","SourceMetadata":{"Data":{"Git":{"commit":"0a","file":"b.env","line":2}}}}"#;
        let report = Report::read(&json!(format!("{line}\nnot JSON\n{line}"))).unwrap();
        assert_eq!((report.leaked.len(), report.leaked[0].place.as_str()), (2, "b.env:2 in 0a"));
        assert!(Report::read(&json!({})).is_err());
        assert_eq!(Report::read(&json!([{}, {"Secret": ""}])).unwrap().ignored, 2);
    }

    #[test]
    fn a_flood_is_counted() {
        let findings: Vec<_> = (0..1_500).map(|number| json!({"Secret": format!("s{number}")})).collect();
        let report = Report::read(&findings.into()).unwrap();
        assert_eq!((report.leaked.len(), report.ignored), (MOST, 500));
        assert_eq!(Report::read(&json!([{"Secret": "x".repeat(LONGEST + 1)}])).unwrap().ignored, 1);
    }

    #[test]
    fn a_value_in_a_file_name_is_not_printed() {
        let report = Report::read(&json!([{"Secret": "hunter2", "File": "hunter2.txt"}])).unwrap();
        assert_eq!(report.leaked[0].place, "(not shown)");
    }

    #[test]
    fn the_password_of_a_url_is_found() {
        assert_eq!(parts("mysql://app:a%2Fb%40c@db:3306/x")[1], "a/b@c");
        assert_eq!(parts("plain"), ["plain"]);
        assert!(decoded("%zz").is_none() && decoded("%4").is_none());
    }
}
