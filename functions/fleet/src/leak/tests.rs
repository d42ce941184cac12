//! Tests of the search.

use super::*;

const VALUE: &str =
    r#"{"engine":"postgres","host":"db.example.com","username":"app","password":"hunter2-hunter2-hunter2"}"#;

fn key() -> Key {
    Key::of("0123456789abcdef0123456789abcdef").unwrap()
}

fn member(name: &str, current: &str, previous: Option<&str>, known: &str) -> Member {
    let arn = format!("arn:{name}");
    let tag = key().tag(&arn, current, previous, known).0;
    Member { arn, name: name.to_owned(), tags: [(FINGERPRINTS.to_owned(), tag)].into(), ..Member::default() }
}

fn gitleaks(secret: &str) -> Report {
    let finding =
        json!([{"RuleID": "generic-api-key", "Secret": secret, "File": "a.env", "StartLine": 3, "Commit": "0a1b"}]);
    Report::read(&finding).unwrap()
}

#[test]
fn a_leaked_value_leads_to_its_secret() {
    let other = VALUE.replace("hunter2", "hunter3");
    let members = [member("other", &other, None, ""), member("mine", VALUE, None, "")];
    for leaked in ["hunter2-hunter2-hunter2", "postgres://app:hunter2-hunter2-hunter2@db.example.com/orders", VALUE] {
        let report = gitleaks(leaked);
        let found = find(&key(), &members, &report.leaked);
        assert_eq!((found.matches.len(), found.unknown), (1, 0), "{leaked}");
        assert_eq!((found.matches[0].member.name.as_str(), found.matches[0].age), ("mine", Age::Current));
    }
    assert_eq!(find(&key(), &members, &gitleaks("hunter4-hunter4-hunter4").leaked).unknown, 1);
    // Neither does a fingerprint under another key, and people are told.
    let stranger = Key::of("another key, another key, another key").unwrap();
    let report = gitleaks("hunter2-hunter2-hunter2");
    let found = find(&stranger, &members, &report.leaked);
    assert_eq!((found.unknown, found.other_key), (1, 2));
}

/// Two secrets may hold the same value, and a file the values of two secrets.
#[test]
fn every_secret_of_a_leak_is_found() {
    let members = [member("one", VALUE, None, ""), member("copy", VALUE, None, "")];
    let report = gitleaks("hunter2-hunter2-hunter2");
    assert_eq!(find(&key(), &members, &report.leaked).matches.len(), 2);
    let other = VALUE.replace("hunter2", "hunter3");
    let members = [member("one", VALUE, None, ""), member("other", &other, None, "")];
    let report = gitleaks(r#"{"DB":"hunter2-hunter2-hunter2","CACHE":"hunter3-hunter3-hunter3"}"#);
    assert_eq!(find(&key(), &members, &report.leaked).matches.len(), 2);
}

/// Whoever may tag a secret copies the tag of another one.
#[test]
fn a_copied_tag_leads_nowhere() {
    let mine = member("mine", VALUE, None, "");
    let thief = Member { arn: "arn:thief".to_owned(), name: "thief".to_owned(), ..mine.clone() };
    let (members, report) = ([mine, thief], gitleaks("hunter2-hunter2-hunter2"));
    let found = find(&key(), &members, &report.leaked);
    let names: Vec<_> = found.matches.iter().map(|one| one.member.name.as_str()).collect();
    assert_eq!(names, ["mine"]);
}

#[test]
fn no_value_is_in_the_answer() {
    let members = [member("mine", VALUE, None, "")];
    let report = gitleaks("hunter2-hunter2-hunter2");
    let found = find(&key(), &members, &report.leaked);
    let answer = report.answer(&found);
    assert_eq!(answer["proposal"]["select"]["secrets"], json!(["arn:mine"]));
    assert_eq!(answer["proposal"]["mode"], "emergency");
    for text in [answer.to_string(), format!("{report:?}"), format!("{found:?}"), format!("{:?}", key())] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

/// Whoever finds an old value does not make a working credential rotate.
#[test]
fn an_older_value_is_told_and_not_proposed() {
    let (newer, newest) = (VALUE.replace("hunter2", "hunter5"), VALUE.replace("hunter2", "hunter6"));
    let tag = key().tag("arn:mine", VALUE, None, "").0;
    let members = [member("mine", &newest, Some(&newer), &tag)];
    let report = gitleaks("hunter2-hunter2-hunter2");
    let answer = report.answer(&find(&key(), &members, &report.leaked));
    assert_eq!(answer["matches"][0]["value"], "older");
    assert_eq!(answer["proposal"], Value::Null);
    // The one before the current one may work, and is proposed.
    let report = gitleaks("hunter5-hunter5-hunter5");
    let found = find(&key(), &members, &report.leaked);
    assert_eq!(found.matches[0].age, Age::Previous);
    assert!(report.answer(&found)["proposal"].is_object());
}

/// Whoever commits a file chooses its name.
#[test]
fn a_proposal_is_an_order_that_can_be_followed() {
    let members = [member("mine", VALUE, None, "")];
    for name in ["\u{4e2d}".repeat(300), "x".repeat(5_000)] {
        let finding = json!([{"RuleID": name, "Secret": "hunter2-hunter2-hunter2", "File": name}]);
        let report = Report::read(&finding).unwrap();
        let proposal = report.answer(&find(&key(), &members, &report.leaked))["proposal"].clone();
        Order::read(&proposal, "e").unwrap();
    }
}

#[test]
fn a_search_has_an_end() {
    let members: Vec<_> = (0..400).map(|number| member(&format!("s{number}"), VALUE, None, "")).collect();
    let findings: Vec<_> = (0..1_000).map(|number| json!({"Secret": format!("unknown-{number:04}")})).collect();
    let report = Report::read(&findings.into()).unwrap();
    let found = find(&key(), &members, &report.leaked);
    assert_eq!(found.unknown + found.skipped, 1_000);
    assert!(found.skipped > 0 && found.unknown > 500, "{}", found.unknown);
}
