//! What scanners report.

use super::values::canonical;
use crate::plan::invalid::invalid;
use crate::plan::member::is_credential;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rotation::encoding::percent_decoded;
use rotation::error::Result;
use rotation::secret::SecretText;
use serde_json::Value;

/// So many findings of a report are looked at. The rest is counted, and people are told.
const MOST: usize = 1_000;
/// So many texts of one value are looked for: a value with more is a file.
const MOST_PARTS: usize = 64;
/// A longer text is a file, and no credential.
pub(super) const LONGEST: usize = 16 * 1_024;

/// A leaked value and where it was found.
#[derive(Debug)]
pub(super) struct Leaked {
    pub(super) value: SecretText,
    /// The scanner's rule.
    pub(super) rule: String,
    /// File, line and commit, or an address.
    pub(super) place: String,
    /// Whether the source says that the value has leaked, and does not only suspect it.
    pub(super) sure: bool,
}

/// What a scanner, or an event, says.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) leaked: Vec<Leaked>,
    /// What has no value, such as a line of a scanner's log.
    pub(super) ignored: usize,
    /// Values beyond the limits, and those that the scanner does not tell.
    pub(super) beyond: usize,
    /// What only people can follow.
    pub(super) notices: Vec<String>,
}

impl Report {
    /// Reads a report of gitleaks (`--report-format json`: an array), trufflehog (`--json`: one object per line; as an array, or as
    /// one text), or a list as GitHub sends it to partners (`token`, `type`, `url`). A text may also be the array of gitleaks.
    ///
    /// <https://github.com/gitleaks/gitleaks/blob/master/report/finding.go>,
    /// <https://github.com/trufflesecurity/trufflehog/blob/main/pkg/output/json.go>,
    /// <https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partnership-program/secret-scanning-partner-program>
    pub(super) fn read(report: &Value) -> Result<Self> {
        let mut read = Self::default();
        let parsed: Value;
        let report = match report {
            Value::String(text) => {
                parsed = serde_json::from_str::<Value>(text).ok().filter(Value::is_array).unwrap_or_else(|| {
                    let lines = text.lines().filter(|line| !line.trim().is_empty());
                    lines.map(|line| serde_json::from_str(line).unwrap_or_default()).collect::<Vec<Value>>().into()
                });
                &parsed
            }
            other => other,
        };
        let unread = |found: &str| invalid("Report", found, "the JSON of gitleaks, or the lines of trufflehog");
        let Some(findings) = report.as_array() else { return Err(unread("something else")) };
        for finding in findings {
            match leaked(finding) {
                Finding::Leaked(leaked) if read.leaked.len() < MOST => read.leaked.push(leaked),
                Finding::Leaked(_) | Finding::Hidden => read.beyond += 1,
                Finding::Other => read.ignored += 1,
            }
        }
        if read.leaked.is_empty() && read.ignored + read.beyond > 0 {
            return Err(unread("findings without a value; a report without redaction is needed"));
        }
        Ok(read)
    }
}

/// What an entry of a report is.
enum Finding {
    Leaked(Leaked),
    /// A value that is not told, or too long to be looked for.
    Hidden,
    /// No finding.
    Other,
}

fn leaked(finding: &Value) -> Finding {
    let text = |name: &str| finding.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    // trufflehog has a secret of two parts, such as an access key, in `RawV2`.
    let value = text("Secret").or_else(|| text("RawV2")).or_else(|| text("Raw")).or_else(|| text("token"));
    let Some(value) = value else { return Finding::Other };
    if value.len() > LONGEST || value == "REDACTED" {
        return Finding::Hidden;
    }
    // The source's own name is the only key of `Data`: Git, Github, Gitlab, Filesystem, S3, Docker and others.
    let source =
        finding.pointer("/SourceMetadata/Data").and_then(Value::as_object).and_then(|data| data.values().next());
    let of_source = |names: &[&str]| {
        let mut found = names.iter().filter_map(|name| source?.get(*name));
        found.find(|value| value.is_number() || value.as_str().is_some_and(|text| !text.is_empty()))
    };
    let file = text("File").or_else(|| text("url")).or_else(|| of_source(&["file", "link", "path", "image"])?.as_str());
    let line = finding.get("StartLine").or_else(|| of_source(&["line"])).and_then(Value::as_u64);
    let commit = text("Commit").or_else(|| of_source(&["commit"])?.as_str()).unwrap_or_default();
    let commit: String = commit.chars().take(12).collect();
    let line = line.map(|line| format!(":{line}")).unwrap_or_default();
    let commit = if commit.is_empty() { commit } else { format!(" in {commit}") };
    let place = format!("{}{line}{commit}", file.unwrap_or_default());
    let rule = text("RuleID").or_else(|| text("DetectorName")).or_else(|| text("type")).unwrap_or("unknown");
    Finding::Leaked(Leaked {
        place: printable(&place, value),
        rule: printable(rule, value),
        value: value.into(),
        sure: true,
    })
}

/// A text of the scanner's as far as it can be printed: 200 bytes of letters, digits and ASCII. One that holds the leaked value, or a
/// credential in it, is not.
pub(super) fn printable(text: &str, value: &str) -> String {
    if parts(value).0.iter().any(|part| part.len() >= 4 && text.contains(part.as_str())) {
        return "(not shown)".to_owned();
    }
    let shown = text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() { c } else { '?' });
    let mut short = String::new();
    for c in shown {
        if short.len() + c.len_utf8() > 200 {
            break;
        }
        short.push(c);
    }
    short
}

/// The texts of a leaked value that may be a credential: the value itself, without what surrounds it, decoded, the password in a URL or
/// in a list of settings, the texts of a JSON object at any depth, and keys in PEM; and whether these are all.
pub(super) fn parts(value: &str) -> (Vec<String>, bool) {
    let (mut parts, mut all) = (vec![canonical(value)], true);
    let mut add = |part: &str| {
        let part = canonical(part);
        if !part.is_empty() && !parts.contains(&part) {
            all &= parts.len() < MOST_PARTS;
            parts.push(part);
            parts.truncate(MOST_PARTS);
        }
    };
    let bare = value.trim().trim_matches(['"', '\'', '`', ',', ';']).trim();
    add(bare);
    let unencoded = STANDARD.decode(bare).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    for text in [Some(bare.to_owned()), unencoded].into_iter().flatten() {
        add(&text);
        if let Some((_, rest)) = text.split_once("://")
            && let Some((credential, _)) = rest.rsplit_once('@')
            && let Some((_, password)) = credential.split_once(':')
        {
            percent_decoded(password).iter().for_each(|password| add(password));
            add(password);
        } else if let Some((name, credential)) = text.split_once(':') {
            // An id and its secret, as trufflehog joins them.
            add(name);
            add(credential);
        }
        strings(&serde_json::from_str(&text).unwrap_or_default(), &mut add);
        for block in text.split("-----BEGIN ").skip(1) {
            add(&format!("-----BEGIN {block}"));
        }
        for setting in text.split(['&', ';', ' ', '\n', '?', ',']) {
            if let Some((name, setting)) = setting.split_once('=')
                && is_credential(name)
            {
                let setting = setting.trim_matches(['"', '\'']);
                percent_decoded(setting).iter().for_each(|setting| add(setting));
                add(setting);
            }
        }
    }
    (parts, all)
}

/// The texts in a JSON object. `serde_json` reads 128 levels at most.
fn strings(value: &Value, add: &mut impl FnMut(&str)) {
    match value {
        Value::Object(fields) => fields.values().for_each(|value| strings_inside(value, add)),
        Value::Array(items) => items.iter().for_each(|value| strings_inside(value, add)),
        _ => {}
    }
}

fn strings_inside(value: &Value, add: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => add(text),
        other => strings(other, add),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_scanners_are_understood() {
        let gitleaks = json!([{"RuleID": "r", "Description": "d", "StartLine": 7, "EndLine": 7, "Match": "p=s3cr3t", "Secret": "s3cr3t",
            "File": "a/b.env", "SymlinkFile": "", "Commit": "0123456789abcdef", "Entropy": 3.1, "Author": "a", "Tags": [], "Fingerprint": "f"}]);
        for report in [gitleaks.clone(), json!(serde_json::to_string_pretty(&gitleaks).unwrap())] {
            let report = Report::read(&report).unwrap();
            let found = &report.leaked[0];
            assert_eq!((found.rule.as_str(), found.place.as_str()), ("r", "a/b.env:7 in 0123456789ab"));
        }
        assert!(Report::read(&json!({})).is_err());
        assert!(Report::read(&json!("a page of HTML\nof two lines")).is_err(), "nothing was understood");
        assert!(Report::read(&json!([{"RuleID": "r", "Secret": "REDACTED"}])).is_err());
        assert!(Report::read(&json!([])).unwrap().leaked.is_empty(), "a scan that found nothing");
    }

    /// The fields of trufflehog's `pkg/output/json.go`, from several sources.
    #[test]
    fn the_lines_of_trufflehog_are_understood() {
        let line = |source: &str, data: &str, raw: &str, second: &str| {
            format!(
                r#"{{"SourceMetadata":{{"Data":{{"{source}":{data}}}}},"SourceID":1,"SourceType":16,"SourceName":"trufflehog - x","DetectorType":17,"DetectorName":"URI","DecoderName":"PLAIN","Verified":false,"Raw":"{raw}","RawV2":"{second}","Redacted":"r","ExtraData":null,"StructuredData":null}}"#
            )
        };
        let git = line(
            "Git",
            r#"{"commit":"0a","file":"b.env","email":"e","repository":"r","timestamp":"t","line":2}"#,
            "s3cr3t",
            "",
        );
        let github = line(
            "Github",
            r#"{"link":"https://github.com/a/b","file":"c.env","commit":"0b","line":3}"#,
            "AKIA1",
            "AKIA1:s3cr3t",
        );
        let s3 = line("S3", r#"{"bucket":"b","file":"d.env","link":"l"}"#, "s3cr3t", "");
        let text = format!("{git}\n{github}\n\nsome words\n{s3}\n");
        let report = Report::read(&json!(text)).unwrap();
        let places: Vec<_> = report.leaked.iter().map(|leaked| leaked.place.as_str()).collect();
        assert_eq!((places.as_slice(), report.ignored), (&["b.env:2 in 0a", "c.env:3 in 0b", "d.env"][..], 1));
        assert!(parts(report.leaked[1].value.expose()).0.contains(&"s3cr3t".to_owned()), "the secret beside its id");
    }

    #[test]
    fn a_list_for_partners_is_understood() {
        let list = json!([{"token": "s3cr3t", "type": "our_key", "url": "https://github.com/a/b/blob/0a/c.txt", "source": "content"}]);
        let report = Report::read(&list).unwrap();
        assert_eq!(report.leaked[0].place, "https://github.com/a/b/blob/0a/c.txt");
        assert_eq!(report.leaked[0].rule, "our_key");
    }

    #[test]
    fn a_flood_is_counted() {
        let findings: Vec<_> = (0..1_500).map(|number| json!({"Secret": format!("s{number}")})).collect();
        let report = Report::read(&findings.into()).unwrap();
        assert_eq!((report.leaked.len(), report.beyond), (MOST, 500));
        let long = json!([{"Secret": "x".repeat(LONGEST + 1)}, {"Secret": "short"}]);
        assert_eq!(Report::read(&long).unwrap().beyond, 1);
        let redacted = json!([{"RuleID": "r", "Secret": "REDACTED"}, {"Secret": "short"}]);
        assert_eq!(Report::read(&redacted).unwrap().beyond, 1);
    }

    #[test]
    fn a_value_in_a_file_name_is_not_printed() {
        for secret in ["hunter2", "postgres://app:hunter2@db/x", r#"{"password":"hunter2"}"#, "aHVudGVyMg=="] {
            let report = Report::read(&json!([{"Secret": secret, "File": "a/hunter2.txt"}])).unwrap();
            assert_eq!(report.leaked[0].place, "(not shown)", "{secret}");
        }
        let report = Report::read(&json!([{"Secret": "x", "File": "\u{202e}a\u{200b}\n\u{4e2d}".repeat(90)}])).unwrap();
        let place = &report.leaked[0].place;
        assert!(place.len() <= 200 && !place.contains(['\u{202e}', '\u{200b}', '\n']), "{place}");
    }

    #[test]
    fn a_credential_is_found_in_what_surrounds_it() {
        for text in [
            "mysql://app:a%2Fb%40c@db:3306/x",
            "mysql://app:a/b@c@db:3306/x",
            "a/b@c\n",
            "\"a/b@c\",",
            "host=db user=app password=a/b@c sslmode=require",
            "jdbc:postgresql://db/x?user=app&password=a%2Fb%40c",
            "app:a/b@c",
            r#"{"username":"app","password":"a/b@c"}"#,
            r#"{"db":{"users":[{"password":" a/b@c\n"}]}}"#,
            "YS9iQGM=",
        ] {
            assert!(parts(text).0.contains(&"a/b@c".to_owned()), "{text}: {:?}", parts(text));
        }
        assert_eq!(parts("plain"), (vec!["plain".to_owned()], true));
        let many: Vec<_> = (0..100).map(|number| format!("key{number}=value-{number}")).collect();
        let (parts, all) = parts(&many.join("&"));
        assert_eq!((parts.len(), all), (MOST_PARTS, false), "and what is left out is told");
        assert!(percent_decoded("%zz").is_none() && percent_decoded("%4").is_none());
    }
}
