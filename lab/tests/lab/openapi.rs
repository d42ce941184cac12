//! `cargo lab check-issuer --openapi`, and the document that a real server gives.

use lab::openapi::{Document, catalog};
use lab::servers::openbao::OpenBao;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

/// A document of an API that the description of the lab's issuer fits.
const DOCUMENT: &str = r##"
openapi: 3.0.3
info: {title: The lab's issuer, version: "1"}
servers: [{url: https://issuer.example.com/v1}]
paths:
  /keys:
    get:
      parameters: [{name: prefix, in: query, schema: {type: string}}, {name: cursor, in: query, schema: {type: string}}]
      responses:
        "200":
          description: a page
          content:
            application/json:
              schema: {type: object, properties: {data: {type: array, items: {$ref: "#/components/schemas/Key"}}, next: {type: string}}}
    post:
      requestBody: {content: {application/json: {schema: {type: object, required: [name], properties: {name: {type: string}}}}}}
      responses:
        "201":
          description: made
          content:
            application/json:
              schema: {allOf: [{$ref: "#/components/schemas/Key"}, {type: object, properties: {secret: {type: string}}}]}
  /keys/{id}:
    delete: {responses: {"204": {description: ended}}}
  /whoami:
    get: {responses: {"200": {description: who, content: {application/json: {schema: {$ref: "#/components/schemas/Key"}}}}}}
components:
  schemas:
    Key: {type: object, properties: {id: {type: string}, name: {type: string}, active: {type: boolean}}}
"##;

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn check(arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_lab")).arg("check-issuer").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn example() -> String {
    format!("{}/../examples/issuers/lab.yaml", env!("CARGO_MANIFEST_DIR"))
}

/// A directory with a document.
fn file(name: &str, text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    (directory, path.display().to_string())
}

fn lines(said: &Said) -> Vec<Value> {
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_description_that_agrees_is_0_and_shows_every_operation() {
    let (_directory, document) = file("lab.yaml", DOCUMENT);
    let said = check(&[&example(), "--openapi", &document]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{}", said.out);
    for line in [
        "✓ find: GET /v1/keys (",
        "✓ create: POST /v1/keys (",
        "✓ verify: GET /v1/whoami (",
        "✓ revoke[0]: DELETE /v1/keys/{{key.id}} (",
    ] {
        assert!(said.out.contains(line), "{line}\n{}", said.out);
    }
}

#[test]
fn all_differences_are_shown_at_once_with_both_sides_and_1() {
    let broken = DOCUMENT
        .replace("name: cursor", "name: after")
        .replace("secret: {type", "value: {type")
        .replace("/whoami", "/me");
    let (_directory, document) = file("lab.yaml", &broken);
    let said = check(&[&example(), "--openapi", &document]);
    assert_eq!(said.code, Some(1));
    for line in [
        "query.cursor: the description sends it; the document: no such parameter; it has after, prefix",
        "create.extract.secret /secret: the description reads it; the document: no `secret` of `/secret`; it has",
        "path: the description sends GET /v1/whoami; the document: no such path",
        "  3 differences",
    ] {
        assert!(said.out.contains(line), "{line}\n{}", said.out);
    }
    let [line] = &lines(&check(&[&example(), "--openapi", &document, "--json"]))[..] else { panic!("not one line") };
    assert_eq!((&line["outcome"], &line["issuer"]), (&json!("differs"), &json!("lab")));
    let create = line["operations"].as_array().unwrap().iter().find(|it| it["operation"] == "create").unwrap();
    assert_eq!(create["differences"][0]["place"], "create.extract.secret /secret", "{line:#}");
    assert_eq!(create["differences"][0]["description"], "reads it");
}

#[test]
fn what_cannot_be_compared_is_named() {
    let (_directory, document) = file("lab.yaml", "title: no document");
    let said = check(&[&example(), "--openapi", &document, "--json"]);
    assert_eq!((said.code, &lines(&said)[0]["code"]), (Some(3), &json!("setup")));
    assert!(said.err.contains("no OpenAPI document: it has neither `openapi` nor `swagger`"), "{}", said.err);
    let said = check(&[&example(), "--openapi", "/nonexistent/openapi.json"]);
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains("/nonexistent/openapi.json"), "{}", said.err);
    for (arguments, reason) in [
        (&["--openapi", &document][..], "for which description?"),
        (&[&example(), "--openapi"], "no document is kept for this description"),
        (&["--openapi", &document, "--excerpt", "/nonexistent/x.json"], "an excerpt is for one description"),
    ] {
        let said = check(arguments);
        assert_eq!(said.code, Some(2), "{arguments:?}");
        assert!(said.err.contains(reason), "{arguments:?}: {}", said.err);
    }
    let broken = format!("{}/../examples/issuers/broken/pointers.yaml", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(check(&[&broken, "--openapi", &document]).code, Some(1), "a mistake in the description comes first");
}

#[test]
fn every_built_in_description_is_compared_or_its_document_named() {
    let said = check(&["--openapi", "--json"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let lines = lines(&said);
    assert_eq!(lines.len(), api_key::sources::BUILT_IN.len());
    let outcome = |name: &str| &lines.iter().find(|line| line["issuer"] == name).unwrap()["outcome"];
    assert_eq!(outcome("vault-approle"), "agrees");
    assert_eq!(outcome("datadog"), "elsewhere");
    assert_eq!(outcome("generate"), "none");
    let said = check(&["--built-in", "datadog", "--openapi"]);
    assert_eq!(said.code, Some(0));
    assert!(said.out.contains("not kept here: github.com/DataDog/datadog-api-client-go: "), "{}", said.out);
}

#[test]
fn a_directory_has_documents_for_the_built_in_descriptions() {
    let (directory, _) = file("datadog.v1.yaml", DOCUMENT);
    std::fs::write(directory.path().join("datadogs.yaml"), "of another").unwrap();
    std::fs::write(directory.path().join("datadog.txt"), "no document").unwrap();
    let said = check(&["--openapi", directory.path().to_str().unwrap(), "--json"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    let lines = lines(&said);
    let differs: Vec<_> = lines.iter().filter(|line| line["outcome"] == "differs").collect();
    assert_eq!(differs.len(), 1, "one directory has one document");
    assert_eq!(differs[0]["issuer"], "datadog");
    assert_eq!(differs[0]["operations"].as_array().unwrap().len(), 4);
}

#[test]
fn an_excerpt_takes_the_place_of_the_document() {
    let (directory, document) = file("lab.yaml", DOCUMENT);
    let excerpt = directory.path().join("excerpt.json").display().to_string();
    let said = check(&[&example(), "--openapi", &document, "--excerpt", &excerpt]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(!std::fs::read_to_string(&excerpt).unwrap().contains("a page"), "prose");
    let said = check(&[&example(), "--openapi", &excerpt]);
    assert_eq!(said.code, Some(0), "{}", said.out);
}

/// The excerpt that is kept is what the server says today.
#[tokio::test(flavor = "multi_thread")]
async fn the_kept_excerpt_is_of_the_document_that_openbao_gives() {
    let server = OpenBao::start().await.unwrap();
    let mounted = server.root("POST", "/v1/sys/auth/approle", json!({"type": "approle"})).await.unwrap();
    assert_eq!(mounted.0, 204);
    let path = "/v1/sys/internal/specs/openapi?generic_mount_paths=true";
    let (status, given) = server.root("GET", path, Value::Null).await.unwrap();
    assert_eq!(status, 200);
    let given = Document::read("OpenBao", &given.to_string()).unwrap();
    let text = api_key::sources::BUILT_IN.iter().find(|(name, _)| *name == "vault-approle").unwrap().1;
    let issuer = api_key::description::read(text).unwrap();
    let kept = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("openapi/vault-approle.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(kept).unwrap()).unwrap();
    assert_eq!(given.excerpt(&issuer).unwrap(), kept);
    let entry = catalog().unwrap().into_iter().find(|entry| entry.issuer == "vault-approle").unwrap();
    let differences = lab::openapi::compare(&issuer, &[given]);
    for operation in &differences {
        for difference in &operation.differences {
            let known = entry.why(&operation.operation, &difference.place);
            assert!(known.is_some(), "{}: {difference:?}", operation.operation);
        }
    }
}
