//! Finds the operation of a path. Both sides have parts that they leave open: placeholders here, parameters there.

use super::document::{Document, Operation};
use api_key::description::{Issuer, RequestTarget, Template};

/// The place of a placeholder whose value is not known. No path has this character.
const OPEN: char = '\u{0}';
/// A path whose variables have few values is looked up with each of them.
const MAX_ROUTES: usize = 16;

/// A path that a description asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The path, with an [`OPEN`] character for each value that is not known.
    open: String,
    /// The path with the defaults of variables.
    with_defaults: String,
    /// The number of segments that are the description's base path.
    base_segments: usize,
}

/// How well a document's path fits. The greatest is the best.
type Fit = (usize, bool);

impl Route {
    /// The paths that a target stands for: one for each combination of the values that its variables can have.
    pub(super) fn of(issuer: &Issuer, target: &RequestTarget) -> Vec<Self> {
        let (base, path) = match target {
            RequestTarget::Path(path) => (issuer.http.as_ref().map(|http| &http.base.path), path),
            RequestTarget::Url(address) => (None, &address.path),
        };
        let base = base.map(Template::to_string).unwrap_or_default();
        let base = base.trim_end_matches('/');
        let empty = Self { open: String::new(), with_defaults: String::new(), base_segments: segments(base).count() };
        let mut routes = vec![empty];
        for piece in pieces(&format!("{base}{path}")) {
            let values = match piece {
                Piece::Text(text) => vec![(text.clone(), text)],
                Piece::Placeholder(name) => values(issuer, &name),
            };
            let longer = |route: &Self| {
                let route = route.clone();
                values.clone().into_iter().map(move |(open, default)| Self {
                    open: format!("{}{open}", route.open),
                    with_defaults: format!("{}{default}", route.with_defaults),
                    ..route.clone()
                })
            };
            routes = routes.iter().flat_map(longer).take(MAX_ROUTES).collect();
        }
        routes
    }

    /// The operations with this method that fit best. Several can fit alike, such as `/auth/{one}/login` and `/auth/{other}/login`.
    pub(super) fn find<'a>(&self, documents: &'a [Document], method: &str) -> Vec<Operation<'a>> {
        let operations = documents.iter().flat_map(Document::operations);
        let fitting = operations.filter(|it| it.method.eq_ignore_ascii_case(method));
        let fitting: Vec<_> = fitting.filter_map(|it| Some((self.fit(&it)?, it))).collect();
        let best = fitting.iter().map(|(fit, _)| *fit).max();
        fitting.into_iter().filter(|(fit, _)| Some(*fit) == best).map(|(_, it)| it).collect()
    }

    /// The methods that the documents have for this path.
    pub(super) fn methods(&self, documents: &[Document]) -> Vec<&'static str> {
        let operations = documents.iter().flat_map(Document::operations);
        let mut methods: Vec<_> = operations.filter(|it| self.fit(it).is_some()).map(|it| it.method).collect();
        methods.sort_unstable();
        methods.dedup();
        methods
    }

    /// The path of the documents that begins most like this one.
    pub(super) fn nearest(&self, documents: &[Document]) -> Option<String> {
        let mine: Vec<_> = segments(&self.with_defaults).collect();
        let paths = documents.iter().flat_map(Document::operations).flat_map(|it| {
            let path = it.path.to_owned();
            it.bases.into_iter().map(move |base| format!("{base}{path}"))
        });
        let alike = |path: &String| {
            let theirs = segments(path);
            let same = mine.iter().zip(theirs).take_while(|(mine, theirs)| matches(theirs, mine)).count();
            (same, usize::MAX - mine.len().abs_diff(segments(path).count()))
        };
        let nearest = paths.max_by_key(alike)?;
        (alike(&nearest).0 > self.base_segments).then_some(nearest)
    }

    fn fit(&self, operation: &Operation<'_>) -> Option<Fit> {
        let whole = operation.bases.iter().filter_map(|base| self.fit_path(&format!("{base}{}", operation.path), 0));
        let has_base = operation.bases.iter().any(|base| !base.is_empty());
        // Some documents leave the servers out, and with them the beginning of all paths.
        let bare = (!has_base).then(|| self.fit_path(operation.path, self.base_segments)).flatten();
        whole.chain(bare).max()
    }

    fn fit_path(&self, theirs: &str, skipped: usize) -> Option<Fit> {
        let of = |mine: &str| {
            let mine_segments: Vec<_> = segments(mine).skip(skipped).collect();
            let theirs_segments: Vec<_> = segments(theirs).collect();
            if mine_segments.is_empty() || mine_segments.len() != theirs_segments.len() {
                return None;
            }
            let mut literal = 0;
            for (mine, theirs) in mine_segments.iter().zip(&theirs_segments) {
                if !matches(theirs, mine) {
                    return None;
                }
                literal += usize::from(!theirs.contains('{'));
            }
            Some((literal, mine.ends_with('/') == theirs.ends_with('/')))
        };
        of(&self.open).max(of(&self.with_defaults))
    }
}

/// Text, or a placeholder's name.
enum Piece {
    Text(String),
    Placeholder(String),
}

fn pieces(written: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = written;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, tail) = after.split_once("}}").unwrap_or((after, ""));
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(Piece::Placeholder(name.to_owned()));
        rest = tail;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    pieces
}

/// The values of a placeholder: each as it is looked up, and with the variable's default.
fn values(issuer: &Issuer, name: &str) -> Vec<(String, String)> {
    let var = name.strip_prefix("vars.").and_then(|name| issuer.vars.get(name));
    let all = var.and_then(|var| match (&var.one_of, &var.map) {
        (Some(one_of), _) => Some(one_of.clone()),
        (None, Some(map)) => Some(map.values().cloned().collect()),
        (None, None) => None,
    });
    if let Some(all) = all {
        return all.into_iter().map(|value| (value.clone(), value)).collect();
    }
    let default = var.and_then(|var| var.default.as_ref()?.as_str()).filter(|text| !text.is_empty());
    vec![(OPEN.to_string(), default.map_or_else(|| OPEN.to_string(), str::to_owned))]
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Whether a segment such as `{id}.json` stands for one of a description.
fn matches(theirs: &str, mine: &str) -> bool {
    let mut theirs_chars = theirs.chars();
    match theirs_chars.next() {
        None => mine.is_empty(),
        Some('{') => {
            let rest = theirs.split_once('}').map(|(_, rest)| rest).unwrap_or_default();
            // A parameter is one character or more.
            mine.char_indices().any(|(at, it)| mine.get(at + it.len_utf8()..).is_some_and(|tail| matches(rest, tail)))
        }
        Some(first) => {
            let mut mine_chars = mine.chars();
            mine_chars.next() == Some(first) && matches(theirs_chars.as_str(), mine_chars.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_stands_for_any_text_and_a_text_for_itself() {
        for (theirs, mine, fits) in [
            ("keys", "keys", true),
            ("keys", "key", false),
            ("{id}", "\u{0}", true),
            ("{id}", "", false),
            ("{id}.json", "\u{0}.json", true),
            ("{id}.json", "\u{0}.xml", false),
            ("{id}", "Keys.json", true),
            ("keys", "\u{0}", false),
            ("a{b}c{d}", "axcy", true),
            ("a{b}c{d}", "axc", false),
        ] {
            assert_eq!(matches(theirs, mine), fits, "{theirs} {mine:?}");
        }
    }
}
