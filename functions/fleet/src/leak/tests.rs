//! Tests of the search.

use super::fingerprint::Print;
use super::values::Kind;
use super::*;
use crate::service::Version;

const VALUE: &str =
    r#"{"engine":"postgres","host":"db.example.com","username":"app","password":"hunter2-hunter2-hunter2"}"#;

fn key() -> Key {
    Key::of("0123456789abcdef0123456789abcdef").unwrap()
}

fn version(text: &str) -> Version {
    Version { id: crate::digest::key(&[text]), text: text.into() }
}

fn member(name: &str, current: &str, previous: Option<&str>, known: &str) -> Member {
    let arn = format!("arn:{name}");
    let (current, previous) = (version(current), previous.map(version));
    let tag = key().tag(&arn, &current, previous.as_ref(), known).0;
    let labels = [("AWSCURRENT", Some(current.id)), ("AWSPREVIOUS", previous.map(|it| it.id))];
    let labels = labels.into_iter().filter_map(|(label, id)| Some((label.to_owned(), id?))).collect();
    Member { arn, name: name.to_owned(), tags: [(FINGERPRINTS.to_owned(), tag)].into(), labels, ..Member::default() }
}

fn find<'a>(key: &Key, members: &'a [Member], leaked: &'a [found::Leaked]) -> Found<'a> {
    super::find(key, members, leaked, later())
}

fn later() -> Deadline {
    Deadline::at_epoch(since_epoch() + Duration::from_secs(60))
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
    assert_eq!(answer["proposals"][0]["select"]["secrets"], json!(["arn:mine"]));
    assert_eq!(answer["proposals"][0]["mode"], "emergency");
    for text in [answer.to_string(), format!("{report:?}"), format!("{found:?}"), format!("{:?}", key())] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

/// Whoever finds an old value does not make a working credential rotate.
#[test]
fn an_older_value_is_told_and_not_proposed() {
    let (newer, newest) = (VALUE.replace("hunter2", "hunter5"), VALUE.replace("hunter2", "hunter6"));
    let tag = key().tag("arn:mine", &version(VALUE), None, "").0;
    let members = [member("mine", &newest, Some(&newer), &tag)];
    let report = gitleaks("hunter2-hunter2-hunter2");
    let answer = report.answer(&find(&key(), &members, &report.leaked));
    assert_eq!(answer["matches"][0]["value"], "older");
    assert_eq!(answer["proposals"], json!([]));
    // The one before the current one may work, and is proposed.
    let report = gitleaks("hunter5-hunter5-hunter5");
    let found = find(&key(), &members, &report.leaked);
    assert_eq!(found.matches[0].age, Age::Previous);
    assert!(report.answer(&found)["proposals"][0].is_object());
}

/// Whoever commits a file chooses its name.
#[test]
fn a_proposal_is_an_order_that_can_be_followed() {
    let members = [member("mine", VALUE, None, "")];
    for name in ["\u{4e2d}".repeat(300), "x".repeat(5_000)] {
        let finding = json!([{"RuleID": name, "Secret": "hunter2-hunter2-hunter2", "File": name}]);
        let report = Report::read(&finding).unwrap();
        let proposal = report.answer(&find(&key(), &members, &report.leaked))["proposals"][0].clone();
        Order::read(&proposal, "e").unwrap();
    }
}

/// A committer may put a thousand values before the one that leaked, or one of thousands of texts.
#[test]
fn nothing_is_skipped_in_silence() {
    let members: Vec<_> =
        (0..50).map(|number| member(&format!("s{number}"), &format!("value-{number}"), None, "")).collect();
    let decoys = (0..990).map(|number| json!({"Secret": format!("key={number}&unknown-{number:04}")}));
    let long: Vec<_> = (0..500).map(|number| format!("k{number}key=v{number}")).collect();
    let last = [json!({"Secret": long.join("&")}), json!({"Secret": "value-7"})];
    let report = Report::read(&decoys.chain(last).collect::<Vec<_>>().into()).unwrap();
    let found = find(&key(), &members, &report.leaked);
    assert_eq!((found.matches.len(), found.unknown, found.not_looked_for), (1, 990, 1));
    assert_eq!(report.answer(&found)["notLookedFor"], 1);
    // The time is over before the search begins.
    let found = super::find(&key(), &members, &report.leaked, Deadline::at_epoch(Duration::ZERO));
    assert_eq!((found.matches.len(), found.unknown, found.not_looked_for), (0, 0, 992));
}

/// In an emergency nobody has the time to split an order.
#[test]
fn each_proposal_can_be_started_and_all_have_all_secrets() {
    let name = |number: usize| format!("{}-{number}", "n".repeat(200));
    let members: Vec<_> = (0..300).map(|number| member(&name(number), VALUE, None, "")).collect();
    let report = gitleaks("hunter2-hunter2-hunter2");
    let answer = report.answer(&find(&key(), &members, &report.leaked));
    let mut secrets = std::collections::HashSet::new();
    let proposals = answer["proposals"].as_array().unwrap();
    for proposal in proposals {
        Order::read(proposal, "e").unwrap();
        secrets.extend(proposal["select"]["secrets"].as_array().unwrap().iter().map(ToString::to_string));
    }
    assert_eq!((secrets.len(), &answer["notProposed"]), (300, &json!(0)), "{} proposals", proposals.len());
    let many: Vec<_> = (0..2_000).map(|number| member(&name(number), VALUE, None, "")).collect();
    let answer = report.answer(&find(&key(), &many, &report.leaked));
    let proposed: usize = answer["proposals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["select"]["secrets"].as_array().unwrap().len())
        .sum();
    assert_eq!(answer["notProposed"].as_u64().unwrap() as usize, 2_000 - proposed);
    assert!(answer.to_string().len() < 250_000, "a line of the log has 256 KB: {}", answer.to_string().len());
}

/// docs/runbooks/leaked-credential.md: "Do not rotate a secret of the last two kinds before you have followed its link".
#[test]
fn a_key_that_ends_by_its_name_is_told_and_not_proposed() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEG\n-----END PRIVATE KEY-----\n";
    let signing = json!({"algorithm": "ES256", "maxTokenLifetime": 1, "next": {"privateKey": pem}});
    let certificate =
        json!({"directory": "https://ca.example.com/directory", "names": ["a.example.com"], "privateKey": pem});
    for (value, page) in [(signing, "signing-keys.md"), (certificate, "certificates.md")] {
        let members = [member("mine", &value.to_string(), None, "")];
        let report = gitleaks(pem.trim_end());
        let found = find(&key(), &members, &report.leaked);
        assert!(found.matches[0].kind != Kind::Usual && !found.matches[0].is_for_an_emergency());
        let answer = report.answer(&found);
        assert!(answer["matches"][0]["instead"].as_str().unwrap().contains(page), "{answer}");
        assert_eq!((&answer["matched"], &answer["proposals"]), (&json!(1), &json!([])));
    }
}

/// Of two secrets the emergency of one is started here. The proposal is for the other one, and has a name of its own.
#[test]
fn what_is_started_here_is_not_proposed() {
    let members = [member("one", VALUE, None, ""), member("copy", VALUE, None, "")];
    let report = gitleaks("hunter2-hunter2-hunter2");
    let mut found = find(&key(), &members, &report.leaked);
    found.matches[0].starts = true;
    let (started, answer) = (found.matches[0].name(), report.answer(&found));
    assert_eq!(answer["proposals"][0]["select"]["secrets"], json!([found.matches[1].member.arn]));
    assert_ne!(answer["proposals"][0]["name"], started);
}

#[test]
fn an_answer_of_a_search_names_no_fingerprint() {
    let tag = key().in_tag(&member("mine", VALUE, None, "")).unwrap();
    let Print { text, .. } = &tag.prints[0];
    let members = [member("mine", VALUE, None, "")];
    let report = gitleaks("hunter2-hunter2-hunter2");
    assert!(!report.answer(&find(&key(), &members, &report.leaked)).to_string().contains(text));
}
