//! The pages of a list: which one is next, and how to request it.

use crate::description::{CursorInto, Find, Pages, Pointer};
use crate::http::Response;
use crate::http::request::Request;
use rotation::{Code, Error, Fact, Result};

/// A page of a list.
pub(super) enum Page {
    First,
    Parameter(String, String),
    Variable(String, String),
    Address(String),
}

impl Page {
    pub(super) fn apply(&self, request: &mut Request, issuer: &str) -> Result<()> {
        match self {
            Self::First => {}
            Self::Parameter(name, value) => request.parameter(name, value),
            Self::Variable(name, value) => request.variable(name, value),
            Self::Address(address) => {
                let elsewhere = || {
                    let error = Error::new(Code::HostDenied).with(Fact::Issuer, issuer).with(Fact::Call, &request.what);
                    error.with(Fact::Found, "a next page on another host")
                };
                let path = match address.strip_prefix("https://") {
                    Some(rest) => rest.strip_prefix(request.authority.as_str()).ok_or_else(elsewhere)?,
                    None => address.as_str(),
                };
                if !path.starts_with('/') || path.starts_with("//") {
                    return Err(elsewhere());
                }
                request.path = path.into();
            }
        }
        Ok(())
    }
}

/// The page after this one. `items` is the number on this page, `seen` the number on all pages so far.
pub(super) fn next_page(find: &Find, page: &Page, answer: &Response, items: usize, seen: usize) -> Option<Page> {
    let body = answer.body.as_ref();
    let text = |place: &Pointer| body.and_then(|body| place.text(body)).filter(|text| !text.is_empty());
    match find.pages.as_ref()? {
        Pages::Cursor { from, into: CursorInto::Query(query) } => {
            text(from).map(|it| Page::Parameter(query.clone(), it))
        }
        Pages::Cursor { from, into: CursorInto::Variable(name) } => {
            text(from).map(|it| Page::Variable(name.clone(), it))
        }
        Pages::Url(place) => text(place).map(Page::Address),
        Pages::Link(relation) => linked(answer.link.as_deref()?, relation).map(Page::Address),
        Pages::Number { query, first, last } if items > 0 => {
            let number = match page {
                Page::Parameter(_, number) => number.parse::<u32>().ok()?,
                _ => *first,
            };
            let last = last.as_ref().and_then(&text).and_then(|last| last.parse::<u32>().ok());
            if last.is_some_and(|last| number >= last) {
                return None;
            }
            Some(Page::Parameter(query.clone(), number.saturating_add(1).to_string()))
        }
        // Counted by the items received: a server may send fewer than requested.
        Pages::Offset(query) if items > 0 => Some(Page::Parameter(query.clone(), seen.to_string())),
        Pages::Number { .. } | Pages::Offset(_) => None,
    }
}

/// The target with this relation in a `Link` header (RFC 8288, section 3).
fn linked(header: &str, relation: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, link)) = rest.split_once('<') {
        let (target, tail) = link.split_once('>')?;
        let (mut parameters, next) = unquoted(tail, ',');
        while !parameters.is_empty() {
            let (parameter, others) = unquoted(parameters, ';');
            parameters = others;
            let Some((name, value)) = parameter.split_once('=') else { continue };
            if !name.trim().eq_ignore_ascii_case("rel") {
                continue;
            }
            if value.trim().trim_matches('"').split(' ').any(|known| known.eq_ignore_ascii_case(relation)) {
                return Some(target.to_owned());
            }
            // "Occurrences after the first MUST be ignored."
            break;
        }
        rest = next;
    }
    None
}

/// The text before and after the first separator outside quotes (RFC 9110, section 5.6.4).
fn unquoted(text: &str, separator: char) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if c == separator && !quoted => {
                let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
                return (before, after.strip_prefix(separator).unwrap_or_default());
            }
            _ => {}
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_link_is_found_by_its_relation() {
        let header = r#"<https://h/a?page=1>; rel="prev", <https://h/a?page=3>; title="x"; rel="next last""#;
        assert_eq!(linked(header, "next").as_deref(), Some("https://h/a?page=3"));
        assert_eq!(linked(header, "first"), None);
    }

    proptest! {
        #[test]
        fn any_link_is_read_or_not(header in "\\PC{0,80}|[<>;,=\"\\\\a-z ]{0,60}|(<[a-z,;/]{0,9}>; ?(rel|title)=\"[a-z,;<> ]{0,9}\",? ?){0,4}") {
            if let Some(target) = linked(&header, "next") {
                let bracketed = format!("<{target}>");
                prop_assert!(header.contains(&bracketed));
            }
        }

        /// A list that seems to end too early hides keys.
        #[test]
        fn the_next_page_is_found_whatever_is_beside_it(
            target in "/[a-z0-9,;=&%\"]{0,20}",
            title in "[a-z,;<> ]{0,20}",
            before in "(</[a-z,;]{0,9}>; rel=\"(prev|first)\"; title=\"[a-z,;<> ]{0,9}\", ?){0,3}",
        ) {
            let header = format!("{before}<{target}>; title=\"{title}\"; rel=next");
            prop_assert_eq!(linked(&header, "next"), Some(target));
        }
    }
}
