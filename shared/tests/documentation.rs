//! What the documentation lists is what the code has.

#![allow(clippy::panic, reason = "a helper of a test")]

use rotation::Code;
use rotation::protocol::diagnose::Finding;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_error_code_stands_in_the_table_with_its_own_words() {
    let page = read("docs/errors.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| [`")).collect();
    let expected: Vec<String> = Code::ALL
        .iter()
        .map(|code| {
            let (class, summary, next) = (code.class().as_str(), code.summary(), code.next_action());
            format!("| [`{code}`](runbooks/codes/{code}.md) | {class} | {summary} | {next} |")
        })
        .collect();
    for (row, expected) in rows.iter().zip(&expected) {
        assert_eq!(row, expected);
    }
    assert_eq!(rows.len(), expected.len());
}

#[test]
fn every_error_code_and_every_finding_has_its_place_in_the_runbooks() {
    let folder = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/runbooks/codes")).unwrap();
    let files: BTreeSet<String> =
        folder.map(|entry| entry.unwrap().file_name().to_string_lossy().trim_end_matches(".md").to_owned()).collect();
    assert_eq!(files, Code::ALL.iter().map(ToString::to_string).collect());
    let longer = read("docs/runbooks/rotation-failed.md");
    for code in Code::ALL {
        let page = read(&format!("docs/runbooks/codes/{code}.md"));
        assert!(page.starts_with(&format!("# `{code}`\n")), "{code}: the title");
        // The page explains the code as the function does; its lines are broken elsewhere.
        let (first, rest) = code.summary().split_at(1);
        let means = format!("{}{rest}.", first.to_uppercase());
        let text =
            page.split("## What it means").nth(1).and_then(|rest| rest.split("## Find").next()).unwrap_or_default();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.starts_with(&means), "{code}: {text}");
        let class = format!("It is `{}`", code.class().as_str());
        assert!(text.contains(&class) || text.contains("It is a warning"), "{code}: {text}");
        assert!(longer.contains(&format!("[`{code}`](codes/{code}.md)")), "{code} is not in rotation-failed.md");
    }

    let page = read("docs/runbooks/README.md");
    for finding in Finding::ALL.iter().map(|finding| finding.as_str()) {
        let rows = page.lines().filter(|line| line.starts_with(&format!("| `{finding}` | ")));
        assert_eq!(rows.count(), 1, "{finding}");
    }
}

#[test]
fn every_environment_variable_and_option_is_documented() {
    let sources =
        ["postgres", "mysql", "api-key", "signing-key"].map(|function| format!("functions/{function}/src/settings.rs"));
    let sources = sources.iter().map(String::as_str).chain([
        "shared/src/environment.rs",
        "shared/src/database/settings.rs",
        "shared/src/lambda/mod.rs",
    ]);
    let source: String = sources.map(read).collect();
    let page = read("docs/configuration.md");
    let variables: Vec<&str> = source
        .split('"')
        .filter(|text| text.len() > 4 && text.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit()))
        .collect();
    for one_of_each in ["PASSWORD_LENGTH", "SUPERUSER_SECRET_ARNS", "ALLOW_MD5", "USERNAME_CHARACTER_LIMIT", "ISSUERS"]
    {
        assert!(variables.contains(&one_of_each), "{variables:?}");
    }
    // What Lambda says about the function; nobody sets it.
    for variable in
        variables.into_iter().filter(|name| !name.starts_with("AWS_LAMBDA_") || *name == "AWS_LAMBDA_LOG_LEVEL")
    {
        assert!(page.contains(variable), "{variable} is missing in docs/configuration.md");
    }
    let page = read("docs/secrets.md");
    for option in
        ["users", "superuserRescue", "setPasswordAs", "caBundle", "tlsServerName", "discardPreviousPasswordAfterHours"]
            .into_iter()
            .chain([
                "adminSecretArn",
                "revokePreviousAfterHours",
                "keyLifetimeDays",
                "value",
                "journal",
                "publish",
                "emergency",
            ])
    {
        assert!(page.contains(&format!("| `{option}` |")), "{option} is missing in docs/secrets.md");
    }
    let source = read("functions/tls/src/target/certificate_secret.rs");
    let options =
        source.split_once("const OPTIONS").and_then(|(_, rest)| rest.split_once("];")).expect("the options").0;
    let options: Vec<&str> = options.split('"').skip(1).step_by(2).collect();
    assert!(options.contains(&"accountSecretArn") && options.len() >= 10, "{options:?}");
    let page = read("docs/certificates.md");
    for option in options {
        assert!(page.contains(&format!("| `rotation.{option}` |")), "{option} is missing in docs/certificates.md");
    }
}

#[test]
fn every_finding_of_diagnose_is_described() {
    let page = read("events/README.md");
    let part = page.split("| finding |").nth(1).unwrap_or_default();
    let rows: Vec<&str> = part.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    let expected: Vec<String> =
        Finding::ALL.iter().map(|finding| format!("| `{}` | {} |", finding.as_str(), finding.summary())).collect();
    assert_eq!(rows, expected);
}

/// Whoever is told to follow a page finds it.
#[test]
fn every_page_that_a_finding_names_is_there() {
    let mut named = BTreeSet::new();
    for finding in Finding::ALL {
        for word in finding.next_action().split([' ', ',', ':']).filter(|word| word.starts_with("docs/")) {
            assert!(!read(word).is_empty(), "{word}");
            named.insert(word);
        }
    }
    let pages = ["locked-out", "roll-back", "stuck-awspending"].map(|page| format!("docs/runbooks/{page}.md"));
    assert_eq!(named, pages.iter().map(String::as_str).collect());
    assert!(read("docs/runbooks/stuck-awspending.md").contains("\n## The rotation is overdue\n"));
    assert!(read("docs/runbooks/roll-back.md").contains("\n## previous-in-effect\n"));
}

/// An invariant that names the test which holds it names one that is there.
#[test]
fn every_test_that_a_comment_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut folders, mut code, mut named) = (Vec::new(), String::new(), BTreeSet::new());
    folders.extend(["shared", "functions", "lab", "integration-tests"].map(|folder| root.join(folder)));
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                code.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let comments = code.lines().map(str::trim).filter_map(|line| line.strip_prefix("//"));
    let comments: Vec<&str> = comments.map(|line| line.trim_start_matches(['/', '!', ' '])).collect();
    for text in [comments.join(" "), read("ARCHITECTURE.md")] {
        for part in ["Test: `", "Tests: `"].iter().flat_map(|mark| text.split(mark).skip(1)) {
            // More than one: `a`, `b`.
            let names = part.split(['.', ';', '(']).next().unwrap_or_default();
            named.extend(
                names.split([',', ' ']).map(|it| it.trim_matches('`').to_owned()).filter(|it| it.contains('_')),
            );
        }
    }
    assert!(named.len() >= 5, "{named:?}");
    for name in named {
        let exists = ['(', '<'].iter().any(|next| code.contains(&format!("fn {name}{next}")));
        assert!(exists, "no test is called {name}");
    }
}
