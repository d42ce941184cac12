//! The XML of Route 53's API, version 2013-04-01.

use super::plan::{Change, RecordSet};
pub(super) use rotation::aws::xml::Element;
use rotation::aws::xml::{self, escaped};

const NAMESPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

/// The whole answer. `None` if it is no XML.
pub(super) fn parsed(bytes: &[u8]) -> Option<Element> {
    xml::parsed(bytes, &LEAVES)
}

/// The elements whose text is read.
const LEAVES: [&str; 10] =
    ["Id", "Name", "PrivateZone", "Type", "TTL", "Value", "Status", "Code", "IsTruncated", "Message"];

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
