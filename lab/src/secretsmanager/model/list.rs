//! ListSecrets and ListSecretVersionIds: filters, order, pages.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::DEFAULT_KEY;
use super::request::required;
use super::secret::Secret;
use super::version::Version;
use super::{State, Timestamp};
use crate::secretsmanager::ServiceError;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListSecrets {
    #[serde(default)]
    include_planned_deletion: bool,
    max_results: Option<i64>,
    next_token: Option<String>,
    #[serde(default)]
    filters: Vec<Filter>,
    sort_order: Option<String>,
    sort_by: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListSecretVersionIds {
    secret_id: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
    #[serde(default)]
    include_deprecated: bool,
}

/// A filter: a secret passes where one of the values fits. Filters add up.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Filter {
    key: String,
    values: Vec<String>,
}

impl State {
    pub(super) fn list_secrets(&mut self, request: &ListSecrets) -> Result<Value, ServiceError> {
        check_filters(&request.filters)?;
        let mut secrets: Vec<&Secret> = self
            .secrets
            .iter()
            .map(AsRef::as_ref)
            .filter(|secret: &&Secret| request.include_planned_deletion || secret.deleted.is_none())
            .filter(|secret| passes(secret, &request.filters))
            .collect();
        sort(&mut secrets, request)?;
        let page = Page::of(&secrets, request.max_results, 100, request.next_token.as_deref())?;
        let entries = page.items.iter().map(|secret| secret.describe("SecretVersionsToStages")).collect();
        Ok(page.reply("SecretList", entries, Map::new()))
    }

    pub(super) fn list_secret_version_ids(&mut self, request: &ListSecretVersionIds) -> Result<Value, ServiceError> {
        let secret = self.find(required(request.secret_id.as_ref(), "secretId")?)?;
        // A version that a rotation registered and that has no value yet is not shown.
        let listed: Vec<&Version> = secret
            .versions
            .iter()
            .filter(|version| version.value.is_some())
            .filter(|version| request.include_deprecated || !version.stages.is_empty())
            .collect();
        let page = Page::of(&listed, request.max_results, 100, request.next_token.as_deref())?;
        let key = secret.kms_key_id.as_deref().unwrap_or(DEFAULT_KEY);
        let entries = page.items.iter().map(|version| version_json(version, key)).collect();
        Ok(page.reply("Versions", entries, secret.reference()))
    }
}

fn version_json(version: &Version, key: &str) -> Value {
    let mut entry = Map::new();
    entry.insert("CreatedDate".into(), version.created.to_json());
    entry.insert("KmsKeyIds".into(), json!([version.old_key.as_deref().unwrap_or(key)]));
    if let Some(date) = version.last_accessed {
        entry.insert("LastAccessedDate".into(), date.to_json());
    }
    entry.insert("VersionId".into(), json!(version.id));
    if !version.stages.is_empty() {
        entry.insert("VersionStages".into(), json!(version.stages));
    }
    Value::Object(entry)
}

/// One page of an answer. The token of the next page holds nothing but an offset.
pub(super) struct Page<'a, T> {
    pub(super) items: &'a [T],
    next: Option<usize>,
}

impl<'a, T> Page<'a, T> {
    pub(super) fn of(
        all: &'a [T],
        max_results: Option<i64>,
        limit: usize,
        token: Option<&str>,
    ) -> Result<Self, ServiceError> {
        let size = match max_results {
            None => limit,
            Some(n) => usize::try_from(n).ok().filter(|n| (1..=limit).contains(n)).ok_or_else(|| {
                let constraint = format!("Member must have value between 1 and {limit}");
                ServiceError::constraint(Some(&n.to_string()), "maxResults", &constraint)
            })?,
        };
        let start = token.map_or(Ok(0), decode_page_token)?;
        let rest = all.get(start..).ok_or_else(ServiceError::invalid_next_token)?;
        let items = rest.get(..size).unwrap_or(rest);
        let next = (items.len() < rest.len()).then_some(start + items.len());
        Ok(Self { items, next })
    }

    pub(super) fn reply(&self, key: &str, entries: Vec<Value>, mut reply: Map<String, Value>) -> Value {
        reply.insert(key.into(), Value::Array(entries));
        if let Some(next) = self.next {
            reply.insert("NextToken".into(), json!(URL_SAFE_NO_PAD.encode(format!("page:{next}"))));
        }
        Value::Object(reply)
    }
}

fn decode_page_token(token: &str) -> Result<usize, ServiceError> {
    let decode = || {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        String::from_utf8(bytes).ok()?.strip_prefix("page:")?.parse().ok()
    };
    decode().ok_or_else(ServiceError::invalid_next_token)
}

pub(super) fn check_filters(filters: &[Filter]) -> Result<(), ServiceError> {
    const KEYS: [&str; 7] = ["description", "name", "tag-key", "tag-value", "primary-region", "owning-service", "all"];
    for filter in filters {
        if !KEYS.contains(&filter.key.as_str()) {
            return Err(ServiceError::constraint(
                Some(&filter.key),
                "filters.key",
                &format!("Member must satisfy enum value set: [{}]", KEYS.join(", ")),
            ));
        }
        if filter.values.is_empty() || filter.values.len() > 10 {
            return Err(ServiceError::constraint(None, "filters.values", "Member must have length between 1 and 10"));
        }
    }
    Ok(())
}

pub(super) fn passes(secret: &Secret, filters: &[Filter]) -> bool {
    filters.iter().all(|filter| {
        filter.values.iter().any(|value| match value.strip_prefix('!') {
            Some(value) => !fits(secret, &filter.key, value),
            None => fits(secret, &filter.key, value),
        })
    })
}

/// Whether one value fits (Filter, API reference): prefixes, in lower and upper case alike only for the description and
/// for `all`, which looks for each word in every attribute.
fn fits(secret: &Secret, key: &str, value: &str) -> bool {
    let description = secret.description.as_deref().unwrap_or_default().to_lowercase();
    match key {
        "name" => secret.name.starts_with(value),
        "description" => description.starts_with(&value.to_lowercase()),
        "tag-key" => secret.tags.iter().any(|tag| tag.key.starts_with(value)),
        "tag-value" => secret.tags.iter().any(|tag| tag.value.starts_with(value)),
        "all" => {
            let tags = secret.tags.iter().flat_map(|tag| [tag.key.to_lowercase(), tag.value.to_lowercase()]);
            let attributes: Vec<_> = [secret.name.to_lowercase(), description].into_iter().chain(tags).collect();
            let holds = |word: &str| attributes.iter().any(|attribute| attribute.contains(&word.to_lowercase()));
            value.split_whitespace().all(holds)
        }
        // No secret of the lab is a replica or owned by a service.
        _ => false,
    }
}

fn sort(secrets: &mut [&Secret], request: &ListSecrets) -> Result<(), ServiceError> {
    match request.sort_by.as_deref() {
        None | Some("created-date") => {}
        Some("name") => secrets.sort_by(|a, b| a.name.cmp(&b.name)),
        Some("last-changed-date") => secrets.sort_by_key(|secret| secret.last_changed),
        Some("last-accessed-date") => secrets.sort_by_key(|secret| accessed(secret)),
        Some(other) => {
            let known = "Member must satisfy enum value set: \
                         [created-date, last-accessed-date, last-changed-date, name]";
            return Err(ServiceError::constraint(Some(other), "sortBy", known));
        }
    }
    match request.sort_order.as_deref() {
        None | Some("asc") => Ok(()),
        Some("desc") => {
            secrets.reverse();
            Ok(())
        }
        Some(other) => {
            Err(ServiceError::constraint(Some(other), "sortOrder", "Member must satisfy enum value set: [asc, desc]"))
        }
    }
}

fn accessed(secret: &Secret) -> Option<Timestamp> {
    secret.last_accessed
}
