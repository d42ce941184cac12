//! HTML by type: a text enters it escaped, and markup is what stands in this crate's source.

use serde_json::Value;

/// The longest text that is shown. A secret's ARN has at most 600 characters; the advice of a diagnosis has about a thousand.
const LONGEST: usize = 2_000;

/// A piece of a page.
///
/// **Invariant:** a text that is not in the source enters HTML through [`text`](Self::text) or [`attribute`](Self::attribute)
/// alone, and both escape it in `escape`. Otherwise a secret's name could run a script in the browser of whoever looks at a
/// dashboard. Test: `whatever_a_text_holds_it_stays_text`.
#[derive(Clone, Debug, Default)]
pub struct Html(String);

impl Html {
    /// An empty piece.
    pub fn new() -> Self {
        Self::default()
    }

    /// Markup from the source. It takes no text that was made at run time.
    pub fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// A text between tags.
    pub fn text(&mut self, text: &str) -> &mut Self {
        escape(text, &mut self.0);
        self
    }

    /// An attribute, with a space before it.
    pub fn attribute(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.markup(" ").markup(name).markup("=\"").text(value).markup("\"")
    }

    /// A number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.0.push_str(&number.to_string());
        self
    }

    /// JSON between tags, for a reader that takes the text of the element, or its markup, for JSON. The characters that mean
    /// something in HTML are written as JSON writes any character, so both read the same.
    pub fn json(&mut self, value: &Value) -> &mut Self {
        for character in value.to_string().chars() {
            match character {
                '&' => self.0.push_str("\\u0026"),
                '<' => self.0.push_str("\\u003c"),
                '>' => self.0.push_str("\\u003e"),
                other => self.0.push(other),
            }
        }
        self
    }

    /// Another piece.
    pub fn append(&mut self, other: &Self) -> &mut Self {
        self.0.push_str(&other.0);
        self
    }

    /// The page.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// Writes a text so that it stays a text in any place of HTML. Characters that nobody sees, or that turn the direction of writing,
/// are replaced: two names would look the same, or one like another.
fn escape(text: &str, to: &mut String) {
    for (at, character) in text.chars().enumerate() {
        if at == LONGEST {
            to.push('…');
            return;
        }
        match character {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\'' => to.push_str("&#39;"),
            '`' => to.push_str("&#96;"),
            hidden if is_hidden(hidden) => to.push('\u{fffd}'),
            other => to.push(other),
        }
    }
}

/// Control characters, characters without a shape, and those that turn the direction of writing.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whatever_a_text_holds_it_stays_text() {
        for character in (0..=0x10_ffff_u32).filter_map(char::from_u32) {
            let mut html = Html::new();
            html.markup("<i").attribute("title", &character.to_string()).markup(">").text(&character.to_string());
            let written = html.into_string();
            let inside = written.strip_prefix("<i title=\"").unwrap();
            let (value, text) = inside.split_once("\">").unwrap();
            assert_eq!(value, text);
            assert!(!text.contains(['<', '>', '"', '\'', '`', '\0', '\n', '\u{202e}']), "{character:?}: {text}");
            assert!(!text.contains('&') || text.ends_with(';'), "{character:?}: {text}");
        }
        let mut html = Html::new();
        html.text(&"a".repeat(LONGEST + 5));
        assert_eq!(html.into_string().chars().count(), LONGEST + 1);
    }

    #[test]
    fn json_between_tags_has_no_markup_and_is_the_same_json() {
        let hostile = json!({"SecretId": "</cwdb-action><img src=x onerror=alert(1)>&lt;\"'"});
        let mut html = Html::new();
        html.json(&hostile);
        let written = html.into_string();
        assert!(!written.contains(['<', '>', '&']), "{written}");
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), hostile);
    }
}
