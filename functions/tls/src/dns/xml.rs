//! The XML of Route 53's API, version 2013-04-01.

use super::plan::{Change, RecordSet};
use aws_smithy_xml::decode::{Document, ScopedDecoder, try_data};

const NAMESPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";
/// No answer of this API is deeper.
const DEEPEST: usize = 8;

/// An element: its name, its text, and its children.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

/// The whole answer. `None` if it is no XML.
pub(super) fn parsed(bytes: &[u8]) -> Option<Element> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut document = Document::new(text);
    let mut root = document.root_element().ok()?;
    element(&mut root, DEEPEST)
}

fn element(decoder: &mut ScopedDecoder<'_, '_>, depth: usize) -> Option<Element> {
    let name = decoder.start_el().local().to_owned();
    let mut read = Element { name, ..Element::default() };
    // An element of this API has a text or children.
    if LEAVES.contains(&read.name.as_str()) {
        read.text = try_data(decoder).ok()?.into_owned();
        return Some(read);
    }
    while let Some(mut child) = decoder.next_tag() {
        read.children.push(element(&mut child, depth.checked_sub(1)?)?);
    }
    Some(read)
}

/// The elements whose text is read.
const LEAVES: [&str; 10] =
    ["Id", "Name", "PrivateZone", "Type", "TTL", "Value", "Status", "Code", "IsTruncated", "Message"];

impl Element {
    /// The first element of this name, however deep.
    pub(super) fn find(&self, name: &str) -> Option<&Self> {
        self.all(name).into_iter().next()
    }

    /// The text of the first element of this name.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.find(name).map(|found| found.text.as_str())
    }

    /// All elements of this name, in order.
    pub(super) fn all(&self, name: &str) -> Vec<&Self> {
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

/// A batch of changes.
pub(super) fn batch(changes: &[Change]) -> String {
    let mut text = format!("<ChangeResourceRecordSetsRequest xmlns=\"{NAMESPACE}\"><ChangeBatch><Changes>");
    for Change { action, name, set: RecordSet { ttl, values } } in changes {
        text.push_str(&format!(
            "<Change><Action>{action}</Action><ResourceRecordSet><Name>{}.</Name><Type>TXT</Type><TTL>{ttl}</TTL>\
             <ResourceRecords>",
            escaped(name)
        ));
        for value in values {
            text.push_str(&format!("<ResourceRecord><Value>{}</Value></ResourceRecord>", escaped(value)));
        }
        text.push_str("</ResourceRecords></ResourceRecordSet></Change>");
    }
    text.push_str("</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>");
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the API's reference, shortened.
    #[test]
    fn an_answer_is_read() {
        let xml = br#"<?xml version="1.0"?>
<ListResourceRecordSetsResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/">
  <ResourceRecordSets><ResourceRecordSet><Name>_acme-challenge.example.com.</Name><Type>TXT</Type><TTL>60</TTL>
    <ResourceRecords><ResourceRecord><Value>&quot;a&quot;</Value></ResourceRecord><ResourceRecord><Value>"b"</Value></ResourceRecord>
    </ResourceRecords></ResourceRecordSet></ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>1</MaxItems>
</ListResourceRecordSetsResponse>"#;
        let read = parsed(xml).unwrap();
        assert_eq!(read.text_of("Name"), Some("_acme-challenge.example.com."));
        let values: Vec<&str> = read.all("Value").into_iter().map(|value| value.text.as_str()).collect();
        assert_eq!(values, ["\"a\"", "\"b\""]);
        assert!(parsed(b"hunter2").is_none() && parsed(b"").is_none());
    }

    #[test]
    fn a_batch_says_what_it_changes() {
        let set = RecordSet { ttl: 60, values: vec!["\"a&<b>\"".to_owned()] };
        let text = batch(&[Change { action: "CREATE", name: "_acme-challenge.example.com".to_owned(), set }]);
        assert!(text.contains("<Name>_acme-challenge.example.com.</Name><Type>TXT</Type><TTL>60</TTL>"), "{text}");
        assert!(text.contains("<Value>&quot;a&amp;&lt;b&gt;&quot;</Value>"), "{text}");
    }
}
