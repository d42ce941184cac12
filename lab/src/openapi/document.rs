//! An OpenAPI document: its operations, and the references in it.

use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// The methods that a description can use.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// A document of a whole cloud has some megabytes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// References that lead to one another end here.
const MAX_REFERENCES: usize = 32;

/// An OpenAPI document of version 3.0 or 3.1, or a Swagger document of version 2.0.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its name for people.
    pub name: String,
    pub(super) root: Value,
    pub(super) version: Version,
}

/// What the format of a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Swagger 2.0: `basePath`, `consumes`, and bodies among the parameters.
    Two,
    /// OpenAPI 3.0 and 3.1: `servers`, `requestBody` and `content`.
    Three,
}

/// Why a document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The document's name.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

impl std::error::Error for Unusable {}

/// A method of a path.
#[derive(Clone, Debug)]
pub(super) struct Operation<'a> {
    pub(super) document: &'a Document,
    /// The path as it is in `paths`.
    pub(super) path: &'a str,
    /// The paths of the servers, each empty or beginning with `/`.
    pub(super) bases: Vec<String>,
    /// The method in small letters.
    pub(super) method: &'static str,
    item: &'a Value,
    operation: &'a Value,
}

/// A body in one format: its media type, and its schema if there is one.
pub(super) type Content<'a> = (String, Option<Cow<'a, Value>>);

/// The body that an operation takes.
#[derive(Clone, Debug)]
pub(super) struct Takes<'a> {
    pub(super) required: bool,
    pub(super) contents: Vec<Content<'a>>,
}

/// A documented answer.
#[derive(Clone, Debug)]
pub(super) struct Response<'a> {
    /// `200`, `2XX` or `default`.
    pub(super) code: &'a str,
    pub(super) contents: Vec<Content<'a>>,
}

impl Document {
    /// Reads a document in JSON or YAML.
    ///
    /// # Errors
    /// [`Unusable`], if the text is neither, or no OpenAPI document of version 2.0, 3.0 or 3.1.
    pub fn read(name: &str, text: &str) -> Result<Self, Unusable> {
        let unusable = |reason: String| Unusable { name: name.to_owned(), reason };
        let root: Value = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| unusable(format!("not JSON: {error}")))?
        } else {
            serde_saphyr::from_str_with_options(text, limits()).map_err(|error| {
                unusable(format!("not YAML: {}", error.to_string().lines().next().unwrap_or_default()))
            })?
        };
        let version = version(&root).map_err(unusable)?;
        if !root.get("paths").is_some_and(Value::is_object) {
            return Err(unusable("it has no `paths`".to_owned()));
        }
        Ok(Self { name: name.to_owned(), root, version })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Unusable`], also if the file cannot be read.
    pub fn read_file(path: &Path) -> Result<Self, Unusable> {
        let name = path.display().to_string();
        let unusable = |reason: String| Unusable { name: name.clone(), reason };
        let bytes = std::fs::metadata(path).map_err(|error| unusable(error.to_string()))?.len();
        if bytes > MAX_BYTES {
            return Err(unusable(format!("larger than {MAX_BYTES} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        Self::read(&name, &text)
    }

    /// The value that a reference leads to, or the value itself.
    ///
    /// # Errors
    /// The reference, if the document does not have its target.
    pub(super) fn follow<'a>(&'a self, value: &'a Value) -> Result<&'a Value, &'a str> {
        let mut value = value;
        for _ in 0..MAX_REFERENCES {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Ok(value) };
            let place = reference.strip_prefix('#').ok_or(reference)?;
            value = self.root.pointer(&unescaped(place)).ok_or(reference)?;
        }
        Err(value.get("$ref").and_then(Value::as_str).unwrap_or_default())
    }

    /// All operations.
    pub(super) fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let paths = self.root.get("paths").and_then(Value::as_object);
        paths.into_iter().flatten().flat_map(move |(path, item)| {
            let item = self.follow(item).unwrap_or(item);
            METHODS.into_iter().filter_map(move |method| {
                let operation = item.get(method)?;
                let bases = self.bases(item, operation);
                Some(Operation { document: self, path, bases, method, item, operation })
            })
        })
    }

    fn bases(&self, item: &Value, operation: &Value) -> Vec<String> {
        if self.version == Version::Two {
            let base = self.root.get("basePath").and_then(Value::as_str).unwrap_or_default();
            return vec![base.trim_end_matches('/').to_owned()];
        }
        // The innermost ones replace the others.
        let servers = [operation, item, &self.root].into_iter().find_map(|of| of.get("servers")?.as_array());
        let mut bases: Vec<_> = servers.into_iter().flatten().filter_map(server_path).collect();
        if bases.is_empty() {
            bases.push(String::new());
        }
        bases.sort();
        bases.dedup();
        bases
    }
}

/// The path of a server's URL, which may have no host.
fn server_path(server: &Value) -> Option<String> {
    let url = server.get("url")?.as_str()?;
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map(|(_, path)| path).unwrap_or_default(),
        None => url,
    };
    let path = path.trim_matches('/');
    Some(if path.is_empty() { String::new() } else { format!("/{path}") })
}

/// A reference is a URL's fragment (RFC 6901, section 6).
fn unescaped(place: &str) -> String {
    place.replace("%7B", "{").replace("%7D", "}").replace("%7b", "{").replace("%7d", "}").replace("%20", " ")
}

fn version(root: &Value) -> Result<Version, String> {
    let written = |name: &str| match root.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    match (written("openapi"), written("swagger")) {
        (Some(version), _) if version == "3" || version.starts_with("3.0") || version.starts_with("3.1") => {
            Ok(Version::Three)
        }
        (None, Some(version)) if version == "2.0" || version == "2" => Ok(Version::Two),
        (Some(version), _) => Err(format!("expected `openapi` 3.0 or 3.1, found {version}")),
        (None, Some(version)) => Err(format!("expected `swagger` 2.0, found {version}")),
        (None, None) => Err("no OpenAPI document: it has neither `openapi` nor `swagger`".to_owned()),
    }
}

/// The defaults are for configuration files. These are enough for the largest vendors' documents.
fn limits() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_events: 20_000_000, max_nodes: 10_000_000, max_depth: 128 },
    }
}

impl<'a> Operation<'a> {
    /// The parameters of the path and of the operation. The operation's take the place of the path's.
    pub(super) fn parameters(&self) -> Vec<&'a Value> {
        let of = |value: &'a Value| value.get("parameters").and_then(Value::as_array).into_iter().flatten();
        let mut parameters: Vec<&Value> = Vec::new();
        for parameter in of(self.item).chain(of(self.operation)) {
            let parameter = self.document.follow(parameter).unwrap_or(parameter);
            parameters.retain(|known| key(known) != key(parameter));
            parameters.push(parameter);
        }
        parameters
    }

    /// The body, if the operation takes one.
    pub(super) fn takes(&self) -> Option<Takes<'a>> {
        if self.document.version == Version::Two {
            return self.takes_of_two();
        }
        let body = self.operation.get("requestBody")?;
        let body = self.document.follow(body).unwrap_or(body);
        Some(Takes { required: is_true(body.get("required")), contents: contents(body) })
    }

    fn takes_of_two(&self) -> Option<Takes<'a>> {
        let parameters = self.parameters();
        let is_in = |place: &str| {
            let place = place.to_owned();
            parameters.iter().copied().filter(move |it| text(it, "in") == Some(&place))
        };
        if let Some(body) = is_in("body").next() {
            let schema = body.get("schema").map(Cow::Borrowed);
            let media = self.media("consumes").into_iter();
            let contents = media.filter(|media| !is_any_form(media)).map(|media| (media, schema.clone())).collect();
            return Some(Takes { required: is_true(body.get("required")), contents });
        }
        let fields: Vec<_> = is_in("formData").collect();
        if fields.is_empty() {
            return None;
        }
        let named = |field: &&'a Value| Some((text(field, "name")?.to_owned(), (*field).clone()));
        let plain = |(name, mut field): (String, Value)| {
            // Of a field this says whether it must be sent. Of a schema it would be a list.
            if let Some(field) = field.as_object_mut() {
                field.remove("required");
            }
            (name, field)
        };
        let properties: Map<_, _> = fields.iter().filter_map(named).map(plain).collect();
        let required: Vec<_> =
            fields.iter().filter(|it| is_true(it.get("required"))).filter_map(|it| it.get("name").cloned()).collect();
        let schema = serde_json::json!({"type": "object", "properties": properties, "required": required});
        let mut media: Vec<_> = self.media("consumes").into_iter().filter(|media| is_any_form(media)).collect();
        if media.is_empty() {
            media.push(FORM.to_owned());
        }
        let content = |media| (media, Some(Cow::Owned(schema.clone())));
        Some(Takes { required: !required.is_empty(), contents: media.into_iter().map(content).collect() })
    }

    /// Whether the document calls the operation deprecated.
    pub(super) fn is_deprecated(&self) -> bool {
        is_true(self.operation.get("deprecated"))
    }

    /// The documented answers.
    pub(super) fn responses(&self) -> Vec<Response<'a>> {
        let responses = self.operation.get("responses").and_then(Value::as_object);
        let of = |(code, response): (&'a String, &'a Value)| {
            let response = self.document.follow(response).unwrap_or(response);
            let contents = match self.document.version {
                Version::Two => vec![("application/json".to_owned(), response.get("schema").map(Cow::Borrowed))],
                Version::Three => contents(response),
            };
            Response { code, contents }
        };
        responses.into_iter().flatten().map(of).collect()
    }

    fn media(&self, name: &str) -> Vec<String> {
        let given = [self.operation, &self.document.root].into_iter().find_map(|of| of.get(name)?.as_array());
        match given {
            Some(given) => given.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            None => vec!["application/json".to_owned()],
        }
    }
}

/// The name of a parameter, and where it is.
fn key(parameter: &Value) -> (Option<&str>, Option<&str>) {
    (text(parameter, "name"), text(parameter, "in"))
}

/// A text in an object.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// Whether a value is there, and true.
pub(super) fn is_true(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool) == Some(true)
}

/// The media type of the forms that descriptions send.
const FORM: &str = "application/x-www-form-urlencoded";

/// Whether a media type is that of the forms that descriptions send.
pub(super) fn is_form(media: &str) -> bool {
    media.starts_with(FORM)
}

fn is_any_form(media: &str) -> bool {
    is_form(media) || media.starts_with("multipart/form-data")
}

/// Whether a media type is JSON, or can be.
pub(super) fn is_json(media: &str) -> bool {
    let media = media.split(';').next().unwrap_or_default().trim();
    matches!(media, "application/json" | "text/json" | "*/*" | "application/*") || media.ends_with("+json")
}

fn contents(of: &Value) -> Vec<Content<'_>> {
    let content = of.get("content").and_then(Value::as_object);
    content
        .into_iter()
        .flatten()
        .map(|(media, content)| (media.to_lowercase(), content.get("schema").map(Cow::Borrowed)))
        .collect()
}
