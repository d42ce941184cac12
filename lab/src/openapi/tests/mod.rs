//! One API in three formats, a description of it, and every kind of difference between them.

mod acme;
mod kept;

use super::{Compared, Document, compare};
use acme::{DESCRIPTION, OPENAPI, SWAGGER};
use api_key::description::{Issuer, read};

fn issuer(text: &str) -> Issuer {
    read(text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
}

fn document(text: &str) -> Document {
    Document::read("acme", text).unwrap()
}

/// `operation: place: description; document` of each difference.
fn lines(compared: &[Compared]) -> Vec<String> {
    let line = |operation: &Compared| {
        let of = operation.operation.clone();
        operation
            .differences
            .iter()
            .map(move |it| format!("{of}: {}: {}; {}", it.place, it.description, it.document))
            .collect::<Vec<_>>()
    };
    compared.iter().flat_map(line).collect()
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

#[test]
fn a_description_agrees_with_the_same_api_in_every_format() {
    let issuer = issuer(DESCRIPTION);
    let as_3_0 = replaced(OPENAPI, "openapi: 3.1.0", "openapi: 3.0.3");
    for text in [OPENAPI, &as_3_0, SWAGGER] {
        let compared = compare(&issuer, &[document(text)]);
        assert_eq!(lines(&compared), [""; 0], "{text}");
        let operations: Vec<_> = compared.iter().map(|it| it.operation.as_str()).collect();
        assert_eq!(operations, ["auth.admin", "find", "create", "verify", "revoke[0]"]);
        assert!(compared.iter().all(|it| it.told >= 2), "{compared:#?}");
        let found: Vec<_> = compared[1].found.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(found, ["/users/{owner}/keys", "/teams/{owner}/keys"], "one for each value of the variable");
    }
    let compared = compare(&issuer, &[document(OPENAPI)]);
    assert_eq!(compared[3].silent, ["works.where /extra/anything"], "an empty schema does not say");
}

#[test]
fn every_kind_of_difference_is_found_in_a_broken_description() {
    let document = document(OPENAPI);
    for (from, to, expected) in [
        ("get: /me", "get: /mee", "verify: path: sends GET /v1/mee; no such path; the nearest is"),
        ("get: /me", "post: /me", "verify: path: sends POST /v1/me; the path has GET alone"),
        ("acme.example/v1", "acme.example/v2", "verify: path: sends GET /v2/me; no such path"),
        ("{{key.id}}.json", "{{key.id}}.xml", "revoke[0]: path: sends DELETE"),
        ("token: /token", "token: /tokens", "auth.admin: path: sends POST /v1/tokens; no such path"),
        (
            "send: form",
            "send: form, audience: a",
            "auth.admin: form.audience: sends it; no such field; it has client_id",
        ),
        (
            "send: form",
            "send: json",
            "auth.admin: json: sends this format; another format; it has application/x-www-form",
        ),
        (
            "limit: \"100\"",
            "per_page: \"100\"",
            "find: query.per_page: sends it; no such parameter; it has after, limit, order",
        ),
        ("order: asc, ", "", "find: query.order: does not send it; requires it"),
        ("order: asc", "order: up", "find: query.order: sends `up`; another value; it has asc, desc"),
        ("query: after", "query: cursor", "find: query.cursor: sends it; no such parameter"),
        (", headers: {X-Version: \"7\"}", "", "find: header.X-Version: does not send it; requires it"),
        ("items: /data", "items: /keys", "find: find.items /keys: reads it; no `keys` of `/keys`; it has data, next"),
        ("items: /data", "items: /next", "find: find.items /next: reads it; it is a null or a string"),
        (
            "  id: /id\n",
            "  id: /uid\n",
            "find: find.id /data/0/uid: reads it; no `uid` of `/data/0/uid`; it has attributes, id, parent",
        ),
        (
            "name: /attributes/name",
            "name: /attributes",
            "find: find.name /data/0/attributes: reads it; it is an object",
        ),
        (
            "name: /attributes/name",
            "name: /parent/parent/attributes/title",
            "find: find.name /data/0/parent/parent/attributes/title",
        ),
        ("from: /next", "from: /nxt", "find: find.pages.cursor.from /nxt: reads it; no `nxt`"),
        (
            "{name: \"{{name}}\"",
            "{title: \"{{name}}\"",
            "create: json.title: sends it; no such field; it has created, kind",
        ),
        ("{name: \"{{name}}\"", "{title: \"{{name}}\"", "create: json.name: does not send it; requires it"),
        ("kind: api", "kind: web", "create: json.kind: sends `web`; another value; it has api, app"),
        ("kind: api", "kind: api, created: now", "create: json.created: sends it; only in answers (readOnly)"),
        ("level: \"{{vars.level}}\"", "level: \"{{lifetime.seconds}}\"", "create: json.level: sends text; an integer"),
        ("kind: api", "kind: \"{{vars.level}}\"", "create: json.kind: sends a number; a string"),
        ("kind: api", "kind: true", "create: json.kind: sends true or false; a string"),
        ("owner: {id: \"{{vars.owner}}\"}", "owner: \"{{vars.owner}}\"", "create: json.owner: sends text; an object"),
        (
            "owner: {id: \"{{vars.owner}}\"}",
            "owner: [\"{{vars.owner}}\"]",
            "create: json.owner: sends an array; an object",
        ),
        ("owner: {id: \"{{vars.owner}}\"}", "owner: {id: {a: b}}", "create: json.owner.id: sends an object; a string"),
        (
            "json: {name: \"{{name}}\"",
            "form: {name: \"{{name}}\"",
            "create: form: sends this format; another format; it has application/json",
        ),
        ("ok: {status: [201]}", "ok: {status: [200]}", "create: ok.status: expects 200; 201, 409"),
        ("ok: {status: [201]}", "ok: {status: [5xx]}", "create: ok.status: expects 500 to 599; 201, 409"),
        (
            "where: {/error: too_many}",
            "where: {/code: 7}",
            "create: limit.where /code: reads it; no `code` of `/code`; it has error",
        ),
        ("secret: /key", "secret: /secret", "create: create.extract.secret /secret: reads it; no `secret`"),
        ("where: {/active: true", "where: {/alive: true", "verify: works.where /alive: reads it; no `alive`"),
        (
            "where: {/active: true",
            "where: {/active/since: true",
            "verify: works.where /active/since: reads it; no `since` of `/active/since`; it is a boolean",
        ),
        ("identity: /id", "identity: /active", "verify: verify.identity /active: reads it; it is a boolean"),
        ("identity: /id", "identity: /token/id", "verify: verify.identity /token/id: reads it; no `token`"),
        ("done: {status: [204]}", "done: {status: [200]}", "revoke[0]: done.status: expects 200; 204"),
    ] {
        let found = lines(&compare(&issuer(&replaced(DESCRIPTION, from, to)), std::slice::from_ref(&document)));
        assert!(found.iter().any(|line| line.starts_with(expected)), "{from} -> {to}: {expected}\n{found:#?}");
    }
}

#[test]
fn every_kind_of_difference_is_found_in_a_broken_document() {
    let issuer = issuer(DESCRIPTION);
    for (text, from, to, expected) in [
        (
            OPENAPI,
            "  /teams/{owner}/keys:",
            "  /groups/{owner}/keys:",
            "find: path: sends GET /v1/{{vars.of}}/{{vars.owner}}/keys; no such path",
        ),
        (OPENAPI, "/v1/\"", "/v3\"", "verify: path: sends GET /v1/me; no such path"),
        (
            OPENAPI,
            "    delete:",
            "    put:",
            "revoke[0]: path: sends DELETE /v1/{{vars.of}}/{{vars.owner}}/keys/{{key.id}}.json; the path has PUT alone",
        ),
        (OPENAPI, "{id}.json", "{id}", "no difference"),
        (OPENAPI, "2XX:", "\"201\":", "verify: works.status: expects 200; 201"),
        (OPENAPI, "2XX:", "default:", "no difference"),
        (OPENAPI, "limit, in: query, ", "limit, in: header, ", "find: query.limit: sends it; no such parameter"),
        (OPENAPI, "after, in: query, ", "after, in: query, required: true, ", "no difference"),
        (
            OPENAPI,
            "style: deepObject, ",
            "",
            "find: query.page[size]: sends it; no such parameter; it has after, limit, order, page",
        ),
        (OPENAPI, "enum: [api, app]", "const: app", "create: json.kind: sends `api`; another value; it has app"),
        (OPENAPI, "enum: [api, app]", "const: api", "no difference"),
        (
            OPENAPI,
            "required: [name, kind, created]",
            "required: [name, expiry]",
            "create: json.expiry: does not send it; requires it",
        ),
        (
            OPENAPI,
            "additionalProperties: {type: string}",
            "additionalProperties: {type: integer}",
            "create: json.owner.id: sends text; an integer",
        ),
        (
            OPENAPI,
            "additionalProperties: {type: string}",
            "additionalProperties: false",
            "create: json.owner.id: sends it; no such field; it has none",
        ),
        (
            OPENAPI,
            "data: {type: array, items: {$ref: \"#/components/schemas/Key\"}}",
            "data: {$ref: \"#/components/schemas/Key\"}",
            "find: find.items /data: reads it; it is an object",
        ),
        (
            OPENAPI,
            "schemas/Key\"}\n              - {type: object, properties: {key:",
            "schemas/Key\"}\n              - {type: object, properties: {secret:",
            "create: create.extract.secret /key: reads it; no `key`",
        ),
        (
            OPENAPI,
            "$ref: \"#/components/schemas/NewKey\"",
            "$ref: \"#/components/schemas/Nothing\"",
            "create: document: needs it; refers to `#/components/schemas/Nothing`, which it does not have",
        ),
        (OPENAPI, "$ref: \"#/components/schemas/NewKey\"", "$ref: \"other.yaml#/NewKey\"", "no difference"),
        (SWAGGER, "\"basePath\": \"/v1\"", "\"basePath\": \"/v9\"", "verify: path: sends GET /v1/me; no such path"),
        (
            SWAGGER,
            "\"in\": \"formData\", \"type\": \"string\"}, {\"name\": \"client_secret\"",
            "\"in\": \"formData\", \"type\": \"string\"}, {\"name\": \"secret\"",
            "auth.admin: form.client_secret: sends it; no such field",
        ),
        (
            SWAGGER,
            "{\"name\": \"client_id\", ",
            "{\"name\": \"realm\", \"required\": true, \"in\": \"formData\"}, {\"name\": \"client_id\", ",
            "auth.admin: form.realm: does not send it; requires it",
        ),
        (
            SWAGGER,
            "\"access_token\"",
            "\"token\"",
            "auth.admin: auth.admin.oauth2 /access_token: reads it; no `access_token`",
        ),
        (
            SWAGGER,
            "\"required\": [\"name\"]",
            "\"required\": [\"name\", \"team\"]",
            "create: json.team: does not send it; requires it",
        ),
        (
            SWAGGER,
            "{\"name\": \"body\", \"in\": \"body\", \"required\": true, ",
            "{\"name\": \"body\", \"in\": \"query\", ",
            "create: json: sends a body; takes none",
        ),
        (
            SWAGGER,
            "\"/me\": {\"get\": {",
            "\"/me\": {\"get\": {\"parameters\": [{\"in\": \"body\", \"name\": \"b\", \"required\": true}], ",
            "verify: body: sends none; requires one",
        ),
    ] {
        let found = lines(&compare(&issuer, &[document(&replaced(text, from, to))]));
        match expected {
            "no difference" => assert_eq!(found, [""; 0], "{from} -> {to}"),
            _ => assert!(found.iter().any(|line| line.starts_with(expected)), "{from} -> {to}: {expected}\n{found:#?}"),
        }
    }
}

#[test]
fn what_is_no_difference_but_worth_knowing_is_noted() {
    let issuer = issuer(DESCRIPTION);
    let old = replaced(OPENAPI, "    delete:\n", "    delete:\n      deprecated: true\n");
    let old = replaced(&old, "\"201\": {$ref:", "\"202\": {description: later}\n          \"201\": {$ref:");
    let compared = compare(&issuer, &[document(&old)]);
    assert_eq!(lines(&compared), [""; 0]);
    let notes: Vec<_> =
        compared.iter().flat_map(|it| it.notes.iter().map(|note| format!("{}: {note}", it.operation))).collect();
    let expected = [
        "create: the document has another success, 202, which the description does not know",
        "revoke[0]: the document calls the operation deprecated",
    ];
    assert_eq!(notes, expected);
}

#[test]
fn schemas_that_lead_to_one_another_end() {
    let names = ["One", "Two", "Three", "Four", "Five", "Six"];
    let all: Vec<_> = names.iter().map(|name| format!("{{$ref: \"#/components/schemas/{name}\"}}")).collect();
    let circle: String = names.iter().map(|name| format!("    {name}: {{anyOf: [{}]}}\n", all.join(", "))).collect();
    let text = replaced(OPENAPI, "  schemas:\n", &format!("  schemas:\n{circle}"));
    let text = replaced(&text, "$ref: \"#/components/schemas/NewKey\"", "$ref: \"#/components/schemas/One\"");
    let start = std::time::Instant::now();
    assert_eq!(lines(&compare(&issuer(DESCRIPTION), &[document(&text)])), [""; 0]);
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn what_is_no_document_is_refused_with_the_reason() {
    let cyclic = replaced(OPENAPI, "    Grant:\n", "    Loop: {$ref: \"#/components/schemas/Loop\"}\n    Grant:\n");
    let cyclic = replaced(&cyclic, "$ref: \"#/components/schemas/Grant\"", "$ref: \"#/components/schemas/Loop\"");
    for (text, reason) in [
        ("", "acme: "),
        ("a: [", "acme: not YAML: "),
        ("{\"a\": ", "acme: not JSON: "),
        ("a: 1", "acme: no OpenAPI document: it has neither `openapi` nor `swagger`"),
        ("openapi: 4.0.0\npaths: {}", "acme: expected `openapi` 3.0 or 3.1, found 4.0.0"),
        ("swagger: \"1.2\"\npaths: {}", "acme: expected `swagger` 2.0, found 1.2"),
        ("openapi: 3.0.0", "acme: it has no `paths`"),
    ] {
        let found = Document::read("acme", text).unwrap_err().to_string();
        assert!(found.starts_with(reason), "{text:?}: {found}");
    }
    let found = lines(&compare(&issuer(DESCRIPTION), &[document(&cyclic)]));
    assert_eq!(
        found,
        ["auth.admin: document: needs it; refers to `#/components/schemas/Loop`, which it does not have"]
    );
}

#[test]
fn an_excerpt_has_the_facts_and_no_prose() {
    let issuer = issuer(DESCRIPTION);
    for text in [OPENAPI, SWAGGER] {
        let whole = document(text);
        let excerpt = whole.excerpt(&issuer).unwrap();
        assert!(!excerpt.to_string().contains("Prose."), "{excerpt:#}");
        let again = Document::read("acme", &excerpt.to_string()).unwrap();
        let facts = |document: &Document| {
            let compared = compare(&issuer, std::slice::from_ref(document));
            compared
                .into_iter()
                .map(|it| (it.operation, it.found, it.told, it.silent, it.differences))
                .collect::<Vec<_>>()
        };
        assert_eq!(facts(&whole), facts(&again));
    }
    let excerpt = document(OPENAPI).excerpt(&issuer).unwrap();
    let fields = excerpt.pointer("/paths/~1me/get/responses/2XX/content/application~1json/schema/properties").unwrap();
    assert!(fields.get("description").is_some(), "a field of this name is no prose");
    let nothing = document("openapi: 3.0.0\npaths: {/other: {get: {}}}");
    assert!(nothing.excerpt(&issuer).is_none());
}
