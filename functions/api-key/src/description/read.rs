//! From text to a description. Each mistake has its place and says what was expected.

use crate::description::compile::compile;
use crate::description::{Issuer, Problem, structure};

/// A description is a page or two, far less than this.
const MAX_BYTES: usize = 256 * 1024;
/// The number of YAML events that aliases may replay. The largest built-in description has some hundred events, and no alias.
const MAX_REPLAYED: usize = 10_000;

/// Reads a description in YAML or JSON.
///
/// # Errors
/// The mistakes, at least one.
pub fn read(text: &str) -> Result<Issuer, Vec<Problem>> {
    let whole = |message: String| vec![Problem { path: String::new(), message }];
    if text.len() > MAX_BYTES {
        return Err(whole(format!("larger than {MAX_BYTES} bytes")));
    }
    let tree: serde_json::Value =
        serde_saphyr::from_str_with_options(text, limits()).map_err(|error| whole(first_line(&error.to_string())))?;
    if !tree.is_object() {
        return Err(whole("expected a mapping with `issuer`, `strategy` and so on".to_owned()));
    }
    let read = structure::read(tree);
    // A wrong form hides no other mistake.
    let compiled = read.description.as_ref().map(compile);
    match compiled {
        Some(compiled) if read.problems.is_empty() => compiled,
        Some(Err(further)) => {
            let further: Vec<_> = further.into_iter().filter(|problem| read.concerns_author(problem)).collect();
            Err(read.problems.into_iter().chain(further).collect())
        }
        _ => Err(read.problems),
    }
}

/// Without limits, a few hundred bytes of nested aliases or merge keys are seconds of work.
fn limits() -> serde_saphyr::Options {
    serde_saphyr::options! { alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED } }
}

/// The first line of a parser's message. The others quote the text around the mistake.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    format!("not YAML: {line}")
}

/// A description without mistakes, for tests.
#[cfg(test)]
pub(super) const SOUND: &str = r#"
issuer: acme
title: Acme
sources: [https://acme.example/docs]
unchecked: everything
strategy: create_revoke
vars: {site: {default: eu, oneOf: [eu, us]}, scopes: {type: json}}
http: {base: "https://{{vars.site}}.acme.example/v1"}
auth: {admin: {bearer: "{{admin.token}}"}, key: {headers: {X-Key: "{{key.secret}}"}}}
find: {get: /keys, query: {prefix: "{{namePrefix}}"}, items: /keys, id: /id, name: /name}
create: {post: /keys, json: {name: "{{name}}", scopes: "{{vars.scopes}}"}, ok: {status: [201]}, extract: {id: /id, secret: /key}}
verify: {get: /me, works: {status: [200]}, rejected: {status: [401]}, identity: /id, poll: {every: 1s, upTo: 10s}}
revoke: [{delete: "/keys/{{key.id}}", done: {status: [204]}}]
"#;

#[cfg(test)]
mod tests {
    use super::*;

    /// The problems of the sound description with one text in place of another.
    fn problems(from: &str, to: &str) -> Vec<String> {
        assert!(SOUND.contains(from), "{from}");
        match read(&SOUND.replacen(from, to, 1)) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn the_sound_description_is_sound() {
        assert_eq!(problems("acme", "acme"), [""; 0]);
    }

    #[test]
    fn every_mistake_has_a_place_and_says_what_was_expected() {
        for (from, to, expected) in [
            ("issuer: acme", "issuer: Acme", "issuer: expected lower-case letters, digits and hyphens, found `Acme`"),
            ("title: Acme\n", "", "missing field `title`"),
            ("strategy: create_revoke", "strategy: recreate", "strategy: unknown variant `recreate`"),
            ("unchecked: everything", "unchecked: ''", "unchecked: expected some words"),
            ("sources: [https://acme.example/docs]", "sources: []", "sources: expected the address"),
            ("{post: /keys", "{pst: /keys", "create.pst: unknown field `pst`"),
            ("{post: /keys", "{post: /keys, put: /keys", "create: expected exactly one of `get`"),
            ("{post: /keys", "{post: keys", "create.post: expected a path, which begins with `/`"),
            (
                "{post: /keys",
                "{post: http://acme.example/keys",
                "create.post: expected a path, which begins with `/`, or an `https://`",
            ),
            ("{post: /keys", "{post: /keys?a=b", "create.post: expected no `?`"),
            ("{{name}}", "{{name", "create.json.name: `{{` without `}}`"),
            ("{{name}}", "{{title}}", "create.json.name: `{{title}}` is unknown"),
            ("{{name}}", "{{vars.nothing}}", "create.json.name: there is no `vars.nothing`"),
            ("{{name}}", "{{key.id}}", "create.json.name: `{{key.id}}` is not there in this call"),
            ("{{name}}", "a {{vars.scopes}}", "create.json.name: `{{vars.scopes}}` is JSON"),
            ("{{admin.token}}", "{{key.secret}}", "auth.admin.bearer: `{{key.secret}}` is not there"),
            ("{{namePrefix}}", "{{admin.token}}", "find.query.prefix: `{{admin.token}}` would put a secret into a URL"),
            ("get: /me", "get: '/me/{{key.secret}}'", "verify.get: `/me/{{key.secret}}` would put a secret into a URL"),
            (
                "https://{{vars.site}}",
                "http://{{vars.site}}",
                "http.base: expected an address that begins with `https://`",
            ),
            ("https://{{vars.site}}", "https://u:p@{{vars.site}}", "http.base: expected no credential in an address"),
            (
                "https://{{vars.site}}",
                "https://{{key.id}}",
                "http.base: `{{key.id}}` cannot be in a host; only vars can",
            ),
            ("oneOf: [eu, us]", "pattern: '[a-z]+'", "http.base: whoever writes the secret chooses the host"),
            ("default: eu", "default: fr", "vars.site.default: expected one of eu, us"),
            ("X-Key:", "'X Key':", "auth.key.headers.X Key: expected the name of a header"),
            ("X-Key:", "Host:", "auth.key.headers.Host: this header is not a description's to set"),
            (
                "id: /id, secret: /key",
                "id: id, secret: /key",
                "create.extract.id: expected a JSON pointer, which begins with `/` or is empty, found `id`",
            ),
            ("id: /id, secret: /key", "id: /id", "create.extract: expected `secret`"),
            ("status: [201]", "status: [2000]", "create.ok.status: expected HTTP statuses, e.g. 204 or 2xx"),
            ("status: [201]", "status: [2yy]", "create.ok.status: expected HTTP statuses, e.g. 204 or 2xx"),
            (
                "name: /name}",
                "name: /name, pages: {cursor: {from: /next}}}",
                "find.pages.cursor: expected one of `query`",
            ),
            (", name: /name}", "}", "risk: missing: without `find.name`"),
            (
                "upTo: 10s",
                "upTo: 10",
                "verify.poll.upTo: invalid type: integer `10`, expected a whole number with a unit",
            ),
            ("upTo: 10s", "upTo: 20m", "verify.poll.upTo: expected at most 10m"),
            ("revoke:", "grace: soon\nrevoke:", "grace: expected `previous_cycle` or a length of time"),
            ("revoke:", "output: {apiKeyId: key.id}\nrevoke:", "output: expected a field for key.secret"),
            ("revoke:", "output: {site: key.secret}\nrevoke:", "output.site: this field has another meaning"),
            ("revoke:", "set: {put: /keys}\nrevoke:", "set: not used by this strategy"),
            ("revoke:", "value: {kind: hex, bytes: 32}\nrevoke:", "value: not used: `create` has no"),
            ("revoke:", "admin: none\nrevoke:", "admin: expected `secret` or `self`"),
            (
                "revoke: [{delete: \"/keys/{{key.id}}\", done: {status: [204]}}]",
                "",
                "revoke: missing: this strategy needs it",
            ),
            ("auth: {admin: {bearer: \"{{admin.token}}\"}, ", "auth: {", "auth.admin: missing"),
            ("get: /me", "get: /me, json: {}", "verify: expected no body with `get`"),
        ] {
            let found = problems(from, to);
            assert!(found.iter().any(|problem| problem.starts_with(expected)), "{from} -> {to}: {found:#?}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once_each_with_the_right_form() {
        let text = SOUND
            .replace("ok: {status: [201]}", "ok: 201")
            .replace("title: Acme\n", "")
            .replace("works: {status: [200]}", "works: {status: 200}")
            .replace("rejected: {status: [401]}", "rejected: [{statsu: [401]}]")
            .replace("upTo: 10s", "upTo: 10")
            .replace("get: /keys", "gte: /keys")
            .replace(
                "base: \"https://{{vars.site}}.acme.example/v1\"",
                "base: \"http://{{vars.site}}.acme.example/v1\"",
            )
            .replace("{delete: \"/keys/{{key.id}}\"", "{delete: [\"/keys/{{key.id}}\"]");
        let mut found: Vec<_> = read(&text).unwrap_err().iter().map(ToString::to_string).collect();
        found.sort();
        let starts = [
            "create.ok: expected `status` and `where`, or a list of such; the right form: `ok: {status: [201]}`",
            "find.gte: unknown field `gte`, expected one of",
            "http.base: expected an address that begins with `https://`",
            "missing field `title`; the right form: `title: Acme API key`",
            "revoke[0].delete: invalid type: sequence, expected text; the right form: `delete: '/keys/{{key.id}}'`",
            "verify.poll.upTo: invalid type: integer `10`, expected a whole number with a unit",
            "verify.rejected: statsu: unknown field `statsu`",
            "verify.works: status: invalid type: integer `200`, expected a sequence; the right form: `works: {status: [200]}`",
        ];
        assert_eq!(found.len(), starts.len(), "{found:#?}");
        for (found, start) in found.iter().zip(starts) {
            assert!(found.starts_with(start), "{found}\n{start}");
        }
    }

    #[test]
    fn many_mistakes_end() {
        let text = format!(
            "issuer: [{}]\nvars: {{{}}}",
            "x",
            (0..200).map(|n| format!("v{n}: 7")).collect::<Vec<_>>().join(", ")
        );
        assert!(read(&text).unwrap_err().len() <= 50);
    }

    #[test]
    fn what_is_no_description_is_refused_in_time() {
        for text in ["", "[]", "1", "a: [", "\u{0}", "a: &a [*a]", "issuer: a\nissuer: b"] {
            assert!(read(text).is_err(), "{text:?}");
        }
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(read(&" ".repeat(MAX_BYTES + 1)).is_err());
        let bomb = (1..30)
            .fold("a0: &a0 [x, x]\n".to_owned(), |text, n| format!("{text}a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1));
        assert!(read(&bomb).is_err());
    }
}
