//! No description and no value breaks the function. Strangers write descriptions; the writer of a secret or an issuer chooses
//! values.
//!
//! `PROPTEST_CASES=1000000 cargo test --release -p lockstep-api-key --test fuzz` searches for long. `fuzz-corpus` keeps a case that
//! fails, and later runs try it first.

#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of a test")]

use api_key::description::{Expiry, Issuer, Key, Scope, VarValue, read};
use api_key::http::request::{Request, auth, authenticate, request, token_request};
use api_key::sources::BUILT_IN;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use rotation::clock::Stopwatch;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz-corpus/descriptions");

/// A hundred times what the largest built-in description takes in a debug build. A longer time grows faster than the text.
const LIMIT: Duration = Duration::from_secs(5);

fn config() -> ProptestConfig {
    let kept = FileFailurePersistence::Direct("fuzz-corpus/regressions.txt");
    ProptestConfig { failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

/// Reads a text in time. Each mistake has a message; without mistakes, the requests can be shown.
fn judge(text: &str) -> Result<(), TestCaseError> {
    let since = Stopwatch::start();
    let result = read(text);
    prop_assert!(since.elapsed() < LIMIT, "{:?} for {} bytes", since.elapsed(), text.len());
    match result {
        Ok(issuer) => show(&issuer),
        Err(problems) => {
            prop_assert!(!problems.is_empty(), "refused without a reason");
            prop_assert!(problems.iter().all(|problem| !problem.message.trim().is_empty()), "{problems:?}");
        }
    }
    Ok(())
}

/// Makes every request of a description, with values for everything.
fn show(issuer: &Issuer) {
    let vars = issuer.vars.keys().map(|name| (name.clone(), VarValue::Text("v".to_owned()))).collect();
    let fields = BTreeMap::new();
    let key = Key { id: Some("i".to_owned()), secret: Some("s".into()), fields: BTreeMap::new() };
    let end = Some(Expiry { at: Duration::from_secs(1), after: Duration::from_secs(1) });
    let scope = Scope {
        vars: &vars,
        admin: &fields,
        key: Some(&key),
        name: Some("n"),
        name_prefix: "p",
        grace: end,
        lifetime: end,
    };
    for call in issuer.calls() {
        // The fields of the admin secret are unknown here, so there may be an error, but no panic.
        let Ok(mut made) = request(issuer, call, &scope) else { continue };
        if let Some(auth) = auth(issuer, call) {
            let _ = token_request(issuer, auth, &scope, call.timeout);
            let _ = authenticate(&mut made, auth, &scope, Some(&"t".into()), Duration::from_secs(1));
        }
        let _ = made.shown();
    }
}

/// Pieces of YAML, of this language, and of texts that break parsers.
const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{key.secret}}",
    "{{vars.}}",
    "{{admin.x}}",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "!!int ",
    "|\n",
    ">-\n",
    "- ",
    ": ",
    "\t",
    "\0",
    "\u{feff}",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "? ",
    "~",
    "null",
    "9999999999999999999999",
    "-1",
    "1e999",
    ".inf",
    ".nan",
    "0x",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "\\",
    "#",
    "\r",
    "\u{2028}",
    "ü",
    "issuer: x\n",
    "strategy: roll\n",
    "admin: self\n",
    "[2xx]",
    "/~2",
    "https://",
    "as: key",
    "[]",
    "{}",
];

/// One of the built-in descriptions, changed in a few places.
fn mutated() -> impl Strategy<Value = String> {
    let change = (any::<prop::sample::Index>(), 0_usize..20, prop::sample::select(PIECES), any::<bool>());
    (prop::sample::select(BUILT_IN), prop::collection::vec(change, 1..6)).prop_map(|((_, text), changes)| {
        let mut letters: Vec<char> = text.chars().collect();
        for (at, length, piece, remove) in changes {
            let at = at.index(letters.len() + 1);
            let end = if remove { (at + length).min(letters.len()) } else { at };
            letters.splice(at..end, piece.chars());
        }
        letters.into_iter().collect()
    })
}

/// A built-in description with one value exchanged for any other. It is still YAML, so it reaches the code after the parser.
fn exchanged() -> impl Strategy<Value = String> {
    (prop::sample::select(BUILT_IN), any::<prop::sample::Index>(), tree()).prop_map(|((_, text), at, other)| {
        let mut whole: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        let mut places = Vec::new();
        collect(&whole, String::new(), &mut places);
        let place = places.get(at.index(places.len())).unwrap();
        *whole.pointer_mut(place).unwrap() = other;
        whole.to_string()
    })
}

fn collect(value: &serde_json::Value, place: String, places: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            collect(field, format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")), places);
        }),
        serde_json::Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| collect(item, format!("{place}/{index}"), places));
        }
        _ => {}
    }
    places.push(place);
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
        prop::sample::select(PIECES).prop_map(Into::into),
        prop::sample::select(
            &["0ms", "30s", "3660d", "18446744073709551615d", "/", "(", "(a|a)*$", "[a-z]{999}{999}"][..]
        )
        .prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[a-z]{1,9}|get|post|status|where|query|exists", inner, 0..4)
                .prop_map(|fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_text_is_a_description_or_has_mistakes(text in "\\PC{0,200}|([a-z]{1,6}: ?[\\[\\]{}&*|>!\"'a-z0-9]{0,8}\n ?){0,20}") {
        judge(&text)?;
    }

    #[test]
    fn a_damaged_description_is_read_or_has_mistakes(text in mutated()) {
        judge(&text)?;
    }

    #[test]
    fn a_description_with_another_value_is_read_or_has_mistakes(text in exchanged()) {
        judge(&text)?;
    }

    #[test]
    fn what_nests_and_repeats_takes_no_time(depth in 1_usize..3000, open in "[\\[{]|- |a: |\\{a: |\\? |&a |&a \\[\\*a, ") {
        judge(&open.repeat(depth))?;
        let lines: String = (0..depth.min(200)).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        judge(&lines)?;
    }

    #[test]
    fn aliases_do_not_multiply(levels in 2_usize..40, width in 2_usize..20, merge in any::<bool>()) {
        let (open, close) = if merge { ("{<<: [", "]}") } else { ("[", "]") };
        let mut text = "a0: &a0 {x: y}\n".to_owned();
        for level in 1..levels {
            let aliases = vec![format!("*a{}", level - 1); width].join(", ");
            text.push_str(&format!("a{level}: &a{level} {open}{aliases}{close}\n"));
        }
        judge(&text)?;
    }
}

#[test]
fn the_corpus_has_mistakes_and_is_judged_in_time() {
    let files: Vec<_> = fs::read_dir(CORPUS).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 10, "the corpus is not there");
    for file in files {
        // Not all values are text.
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        judge(&text).unwrap_or_else(|failure| panic!("{}: {failure}", file.display()));
        assert!(read(&text).is_err(), "{} is no description", file.display());
    }
}

/// A description with a variable in every position.
const POSITIONS: &str = r#"
issuer: positions
title: t
sources: [here]
unchecked: u
strategy: create_revoke
risk: r
admin: self
vars: {x: {}, host: {}}
http:
  base: "https://{{vars.host}}/{{vars.x}}"
  hosts: ["*.example.com"]
  headers: {X-General: "a {{vars.x}} b"}
auth:
  admin: {basic: {user: "{{vars.x}}", password: "{{vars.x}}"}}
  key:
    oauth2: {token: "/t/{{vars.x}}", clientId: "{{vars.x}}", clientSecret: "{{key.secret}}", scope: "{{vars.x}}", send: json}
create:
  post: "/p/{{vars.x}}/q"
  query: {a: "{{vars.x}}", b: b}
  json: {a: "-{{vars.x}}-", b: ["{{vars.x}}"]}
  extract: {id: /id, secret: /s}
verify: {post: /v, form: {a: "{{vars.x}}", b: b}, works: {}, rejected: {status: [401]}}
revoke: [{post: /g, graphql: {query: q, variables: {a: "{{vars.x}}"}}}]
"#;

/// The requests of [`POSITIONS`]: create with its credential, verify, the token request, revoke.
fn positions(x: &str, host: &str) -> rotation::Result<[Request; 4]> {
    let issuer = read(POSITIONS).unwrap();
    let vars = BTreeMap::from([("x", x), ("host", host)]);
    let vars = vars.into_iter().map(|(name, text)| (name.to_owned(), VarValue::Text(text.to_owned()))).collect();
    let key = Key { id: Some("i".to_owned()), secret: Some("s".into()), fields: BTreeMap::new() };
    let admin = BTreeMap::new();
    let scope = Scope {
        vars: &vars,
        admin: &admin,
        key: Some(&key),
        name: None,
        name_prefix: "p",
        grace: None,
        lifetime: None,
    };
    let create = issuer.create.as_ref().unwrap();
    let verify = issuer.verify.as_ref().unwrap();
    let mut created = request(&issuer, &create.call, &scope)?;
    authenticate(&mut created, auth(&issuer, &create.call).unwrap(), &scope, None, Duration::ZERO)?;
    let by_key = auth(&issuer, &verify.call).unwrap();
    let token = token_request(&issuer, by_key, &scope, Duration::ZERO)?.unwrap();
    let revoke = issuer.revoke.first().unwrap();
    Ok([created, request(&issuer, &verify.call, &scope)?, token, request(&issuer, &revoke.call, &scope)?])
}

fn url(request: &Request) -> url::Url {
    url::Url::parse(&format!("https://{}{}", request.authority, request.path.expose())).unwrap()
}

fn body(request: &Request) -> serde_json::Value {
    serde_json::from_str(request.body.as_ref().unwrap().1.expose()).unwrap()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_value_is_one_value_in_every_position(x in "\\PC{0,20}|[ -~]{0,20}|[%&=+;?#/\\\\.\"'{}:@ ]{0,9}|(\r|\n|\0|a){0,5}") {
        let Ok([create, verify, token, revoke]) = positions(&x, "api.example.com") else {
            // A path or a header cannot have some values at all.
            let printable = x.chars().all(|c| (' '..='~').contains(&c));
            prop_assert!(!printable || matches!(x.as_str(), "" | "." | ".."), "{x:?} is refused");
            return Ok(());
        };
        let address = url(&create);
        prop_assert_eq!(address.host_str(), Some("api.example.com"));
        prop_assert_eq!(address.path_segments().unwrap().count(), 4);
        let query: Vec<_> = address.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        prop_assert_eq!(query, vec![("a".to_owned(), x.clone()), ("b".to_owned(), "b".to_owned())]);
        prop_assert_eq!(body(&create), serde_json::json!({"a": format!("-{x}-"), "b": [&x]}));
        let general = create.headers.iter().find(|(name, _)| name == "X-General").unwrap();
        prop_assert_eq!(general.1.expose(), &format!("a {x} b"));
        for (name, value) in create.headers.iter().chain(&token.headers) {
            prop_assert!(value.expose().chars().all(|c| (' '..='~').contains(&c)), "{name}");
        }
        let (_, form) = verify.body.as_ref().unwrap();
        let form: Vec<_> = url::form_urlencoded::parse(form.expose().as_bytes()).into_owned().collect();
        prop_assert_eq!(form, vec![("a".to_owned(), x.clone()), ("b".to_owned(), "b".to_owned())]);
        prop_assert_eq!(&body(&token)["client_id"], &serde_json::json!(x));
        prop_assert_eq!(url(&token).path_segments().unwrap().count(), 3);
        prop_assert_eq!(body(&revoke), serde_json::json!({"query": "q", "variables": {"a": x}}));
    }

    #[test]
    fn a_host_is_a_host_or_refused(host in "[a-z0-9.:/@?#\\\\%\\[\\] -]{0,20}|\\PC{0,10}|api.example.com[/?#@:\\\\]?[a-z0-9.]{0,9}") {
        if let Ok([create, ..]) = positions("x", &host) {
            prop_assert_eq!(create.authority.as_str(), host.as_str());
            // No part of the value becomes a user, a path, a query or a fragment.
            prop_assert!(host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c)), "{host}");
        }
    }
}
