//! The XML that some services answer, as a tree.

use aws_smithy_xml::decode::{Document, ScopedDecoder, try_data};

/// No answer of these services is deeper.
const DEEPEST: usize = 8;

/// An element: its name, its text, and its children.
#[derive(Debug, Default)]
pub struct Element {
    /// The name, without a namespace.
    pub name: String,
    /// The text of a leaf.
    pub text: String,
    /// The elements in it.
    pub children: Vec<Element>,
}

/// The whole answer. An element below the root has a text if its name is one of `leaves`, and else children. `None` if it is no XML.
pub fn parsed(bytes: &[u8], leaves: &[&str]) -> Option<Element> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut document = Document::new(text);
    let mut root = document.root_element().ok()?;
    element(&mut root, &[], leaves, DEEPEST)
}

fn element(decoder: &mut ScopedDecoder<'_, '_>, here: &[&str], below: &[&str], depth: usize) -> Option<Element> {
    let name = decoder.start_el().local().to_owned();
    let mut read = Element { name, ..Element::default() };
    if here.contains(&read.name.as_str()) {
        read.text = try_data(decoder).ok()?.into_owned();
        return Some(read);
    }
    while let Some(mut child) = decoder.next_tag() {
        read.children.push(element(&mut child, below, below, depth.checked_sub(1)?)?);
    }
    Some(read)
}

impl Element {
    /// The first element of this name, however deep.
    pub fn find(&self, name: &str) -> Option<&Self> {
        self.all(name).into_iter().next()
    }

    /// The text of the first element of this name.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.find(name).map(|found| found.text.as_str())
    }

    /// All elements of this name, in order.
    pub fn all(&self, name: &str) -> Vec<&Self> {
        let mut found = Vec::new();
        for child in &self.children {
            if child.name == name {
                found.push(child);
            }
            found.extend(child.all(name));
        }
        found
    }
}

/// A text as it stands in an element.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_may_have_the_name_of_a_leaf() {
        let xml = br#"<?xml version="1.0"?><PublicKey xmlns="a"><Id>K1</Id><Keys><PublicKey>a&amp;b</PublicKey><PublicKey/></Keys></PublicKey>"#;
        let read = parsed(xml, &["Id", "PublicKey"]).unwrap();
        assert_eq!(read.text_of("Id"), Some("K1"));
        let texts: Vec<_> = read.all("PublicKey").into_iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts, ["a&b", ""]);
        assert_eq!(escaped("a&<b>\""), "a&amp;&lt;b&gt;&quot;");
        assert!(parsed(b"hunter2", &[]).is_none() && parsed(b"", &[]).is_none());
        let deep = format!("{}{}", "<a>".repeat(20), "</a>".repeat(20));
        assert!(parsed(deep.as_bytes(), &[]).is_none());
    }
}
