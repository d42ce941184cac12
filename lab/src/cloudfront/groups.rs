//! Public keys and key groups, and what CloudFront refuses. No I/O.

use std::collections::BTreeMap;

/// The most public keys of a group, and of an account whose quota AWS has not raised.
///
/// <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html>
const MOST_IN_GROUP: usize = 5;
const MOST_KEYS: usize = 10;
const LONGEST_COMMENT: usize = 128;

/// A public key, as it was uploaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyConfig {
    /// What tells a repeated request.
    pub caller_reference: String,
    /// Its name.
    pub name: String,
    /// PEM text.
    pub encoded_key: String,
    /// A text of the caller's.
    pub comment: String,
}

/// A key group, as it was written last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupConfig {
    /// Its name.
    pub name: String,
    /// The ids of its public keys.
    pub items: Vec<String>,
    /// A text of the caller's.
    pub comment: String,
}

/// What CloudFront keeps, with the entity tag of its last change.
#[derive(Clone, Debug)]
pub struct Kept<T> {
    /// What it is.
    pub config: T,
    /// The entity tag.
    pub tag: String,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The error's name.
    pub code: &'static str,
}

/// All keys and groups of an account.
#[derive(Debug, Default)]
pub struct Groups {
    keys: BTreeMap<String, Kept<KeyConfig>>,
    groups: BTreeMap<String, Kept<GroupConfig>>,
    made: u32,
}

impl Groups {
    fn next(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    /// CreatePublicKey. The id of the new key.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn create_key(&mut self, config: KeyConfig) -> Result<String, Refusal> {
        let fits = config.encoded_key.trim().starts_with("-----BEGIN PUBLIC KEY-----")
            && !config.name.is_empty()
            && config.comment.len() <= LONGEST_COMMENT;
        if !fits {
            return Err(Refusal { status: 400, code: "InvalidArgument" });
        }
        let same = |key: &Kept<KeyConfig>| {
            key.config.caller_reference == config.caller_reference || key.config.name == config.name
        };
        if self.keys.values().any(same) {
            return Err(Refusal { status: 409, code: "PublicKeyAlreadyExists" });
        }
        if self.keys.len() >= MOST_KEYS {
            return Err(Refusal { status: 400, code: "TooManyPublicKeys" });
        }
        let number = self.next();
        let id = format!("K{number:013}");
        self.keys.insert(id.clone(), Kept { config, tag: format!("E{number:013}") });
        Ok(id)
    }

    /// GetPublicKey.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn key(&self, id: &str) -> Result<&Kept<KeyConfig>, Refusal> {
        self.keys.get(id).ok_or(Refusal { status: 404, code: "NoSuchPublicKey" })
    }

    /// ListPublicKeys, to its end.
    pub fn keys(&self) -> impl Iterator<Item = (&String, &Kept<KeyConfig>)> {
        self.keys.iter()
    }

    /// DeletePublicKey.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn delete_key(&mut self, id: &str, if_match: Option<&str>) -> Result<(), Refusal> {
        matched(&self.key(id)?.tag, if_match)?;
        if self.groups.values().any(|group| group.config.items.iter().any(|item| item == id)) {
            return Err(Refusal { status: 409, code: "PublicKeyInUse" });
        }
        self.keys.remove(id);
        Ok(())
    }

    fn check(&self, config: &GroupConfig) -> Result<(), Refusal> {
        if config.items.len() > MOST_IN_GROUP {
            return Err(Refusal { status: 400, code: "TooManyPublicKeysInKeyGroup" });
        }
        let known = config.items.iter().all(|id| self.keys.contains_key(id));
        let fits =
            known && !config.items.is_empty() && !config.name.is_empty() && config.comment.len() <= LONGEST_COMMENT;
        if fits { Ok(()) } else { Err(Refusal { status: 400, code: "InvalidArgument" }) }
    }

    /// CreateKeyGroup. The id of the new group.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn create_group(&mut self, config: GroupConfig) -> Result<String, Refusal> {
        self.check(&config)?;
        if self.groups.values().any(|group| group.config.name == config.name) {
            return Err(Refusal { status: 409, code: "KeyGroupAlreadyExists" });
        }
        let number = self.next();
        let id = format!("00000000-0000-4000-8000-{number:012}");
        self.groups.insert(id.clone(), Kept { config, tag: format!("E{number:013}") });
        Ok(id)
    }

    /// GetKeyGroup.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn group(&self, id: &str) -> Result<&Kept<GroupConfig>, Refusal> {
        self.groups.get(id).ok_or(Refusal { status: 404, code: "NoSuchResource" })
    }

    /// UpdateKeyGroup.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn update_group(&mut self, id: &str, config: GroupConfig, if_match: Option<&str>) -> Result<(), Refusal> {
        matched(&self.group(id)?.tag, if_match)?;
        self.check(&config)?;
        if self.groups.iter().any(|(other, group)| other != id && group.config.name == config.name) {
            return Err(Refusal { status: 409, code: "KeyGroupAlreadyExists" });
        }
        let tag = format!("E{:013}", self.next());
        self.groups.insert(id.to_owned(), Kept { config, tag });
        Ok(())
    }
}

fn matched(tag: &str, if_match: Option<&str>) -> Result<(), Refusal> {
    match if_match {
        None => Err(Refusal { status: 400, code: "InvalidIfMatchVersion" }),
        Some(known) if known == tag => Ok(()),
        Some(_) => Err(Refusal { status: 412, code: "PreconditionFailed" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> KeyConfig {
        let encoded_key = "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n".to_owned();
        KeyConfig { caller_reference: name.to_owned(), name: name.to_owned(), encoded_key, comment: String::new() }
    }

    fn group(items: &[&String]) -> GroupConfig {
        GroupConfig {
            name: "g".to_owned(),
            items: items.iter().map(|id| (*id).clone()).collect(),
            comment: String::new(),
        }
    }

    #[test]
    fn a_group_changes_only_if_it_is_as_it_was_read_and_its_keys_stay() {
        let mut groups = Groups::default();
        let ids: Vec<_> = (0..6).map(|number| groups.create_key(key(&number.to_string())).unwrap()).collect();
        let id = groups.create_group(group(&[&ids[0]])).unwrap();
        let tag = groups.group(&id).unwrap().tag.clone();
        let mut update =
            |items: &[&String], tag: Option<&str>| groups.update_group(&id, group(items), tag).map_err(|it| it.code);
        assert_eq!(update(&[&ids[1]], None), Err("InvalidIfMatchVersion"));
        assert_eq!(update(&[], Some(&tag)), Err("InvalidArgument"));
        assert_eq!(update(&ids.iter().collect::<Vec<_>>(), Some(&tag)), Err("TooManyPublicKeysInKeyGroup"));
        assert_eq!(update(&[&ids[0], &ids[1]], Some(&tag)), Ok(()));
        assert_eq!(update(&[&ids[1]], Some(&tag)), Err("PreconditionFailed"));
        let tag = groups.key(&ids[1]).unwrap().tag.clone();
        assert_eq!(groups.delete_key(&ids[1], Some(&tag)).unwrap_err().code, "PublicKeyInUse");
        let tag = groups.key(&ids[2]).unwrap().tag.clone();
        groups.delete_key(&ids[2], Some(&tag)).unwrap();
        assert_eq!(groups.key(&ids[2]).unwrap_err().code, "NoSuchPublicKey");
        assert_eq!(groups.create_key(key("0")).unwrap_err().code, "PublicKeyAlreadyExists");
    }
}
