//! The body of ChangeResourceRecordSets, as clients write it.

use super::zones::{Change, RecordSet};
use crate::xml::{elements, unescaped};

/// The changes of a batch. `None` if the text is none.
pub(super) fn changes(body: &[u8]) -> Option<Vec<Change>> {
    let text = std::str::from_utf8(body).ok()?;
    let changes: Option<Vec<Change>> = elements(text, "Change").map(change).collect();
    changes.filter(|changes| !changes.is_empty())
}

fn change(text: &str) -> Option<Change> {
    let one = |name: &str| elements(text, name).next().map(unescaped);
    Some(Change {
        action: one("Action")?,
        name: one("Name")?.trim_end_matches('.').to_owned(),
        set: RecordSet {
            kind: one("Type")?,
            ttl: one("TTL")?.parse().ok()?,
            values: elements(text, "Value").map(unescaped).collect(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read() {
        let body = br#"<ChangeResourceRecordSetsRequest xmlns="a"><ChangeBatch><Changes><Change><Action>CREATE</Action>
<ResourceRecordSet><Name>a.example.com.</Name><Type>TXT</Type><TTL>60</TTL><ResourceRecords><ResourceRecord><Value>&quot;x&quot;</Value>
</ResourceRecord></ResourceRecords></ResourceRecordSet></Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"#;
        let changes = changes(body).unwrap();
        assert_eq!((changes[0].action.as_str(), changes[0].name.as_str()), ("CREATE", "a.example.com"));
        assert_eq!(changes[0].set.values, ["\"x\""]);
        assert_eq!(super::changes(b"<Changes></Changes>"), None);
    }
}
