//! BatchGetSecretValue.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::list::{Filter, Page, check_filters, passes};
use super::{Context, State};
use crate::secretsmanager::ServiceError;

/// The most secrets in one answer (SecretIdListType, MaxResultsBatchType).
const MAX_BATCH: usize = 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BatchGetSecretValue {
    secret_id_list: Option<Vec<String>>,
    filters: Option<Vec<Filter>>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

impl State {
    pub(super) fn batch_get_secret_value(
        &mut self,
        request: BatchGetSecretValue,
        context: &Context<'_>,
    ) -> Result<Value, ServiceError> {
        let ids = match (request.secret_id_list, request.filters) {
            (Some(ids), None) if request.max_results.is_some() || ids.is_empty() || ids.len() > MAX_BATCH => {
                return Err(ServiceError::invalid_parameter(format!(
                    "SecretIdList takes 1 to {MAX_BATCH} secrets, and MaxResults only goes with Filters."
                )));
            }
            (Some(ids), None) => ids,
            (None, Some(filters)) => {
                check_filters(&filters)?;
                let live = self.secrets.iter().filter(|secret| secret.deleted.is_none());
                live.filter(|secret| passes(secret, &filters)).map(|secret| secret.arn.clone()).collect()
            }
            _ => {
                return Err(ServiceError::invalid_parameter(
                    "Either 'SecretIdList' or 'Filters' must be provided, but not both.",
                ));
            }
        };
        let page = Page::of(&ids, request.max_results, MAX_BATCH, request.next_token.as_deref())?;
        let (mut values, mut errors) = (Vec::new(), Vec::new());
        for id in page.items {
            match self.live(Some(id)).and_then(|secret| secret.read(None, None, context.now)) {
                Ok(value) => values.push(value),
                Err(error) => errors.push(json!({
                    "SecretId": id, "ErrorCode": error.error_type, "Message": error.message,
                })),
            }
        }
        let mut reply = Map::new();
        reply.insert("Errors".into(), Value::Array(errors));
        Ok(page.reply("SecretValues", values, reply))
    }
}
