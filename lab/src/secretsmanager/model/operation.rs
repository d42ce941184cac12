//! The operations by their names on the wire.

use crate::secretsmanager::ServiceError;

/// An operation of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    BatchGetSecretValue,
    CancelRotateSecret,
    CreateSecret,
    DeleteResourcePolicy,
    DeleteSecret,
    DescribeSecret,
    GetRandomPassword,
    GetResourcePolicy,
    GetSecretValue,
    ListSecretVersionIds,
    ListSecrets,
    PutResourcePolicy,
    PutSecretValue,
    RestoreSecret,
    RotateSecret,
    TagResource,
    UntagResource,
    UpdateSecret,
    UpdateSecretVersionStage,
}

/// Each with its name on the wire.
const ALL: [(Operation, &str); 19] = [
    (Operation::BatchGetSecretValue, "BatchGetSecretValue"),
    (Operation::CancelRotateSecret, "CancelRotateSecret"),
    (Operation::CreateSecret, "CreateSecret"),
    (Operation::DeleteResourcePolicy, "DeleteResourcePolicy"),
    (Operation::DeleteSecret, "DeleteSecret"),
    (Operation::DescribeSecret, "DescribeSecret"),
    (Operation::GetRandomPassword, "GetRandomPassword"),
    (Operation::GetResourcePolicy, "GetResourcePolicy"),
    (Operation::GetSecretValue, "GetSecretValue"),
    (Operation::ListSecretVersionIds, "ListSecretVersionIds"),
    (Operation::ListSecrets, "ListSecrets"),
    (Operation::PutResourcePolicy, "PutResourcePolicy"),
    (Operation::PutSecretValue, "PutSecretValue"),
    (Operation::RestoreSecret, "RestoreSecret"),
    (Operation::RotateSecret, "RotateSecret"),
    (Operation::TagResource, "TagResource"),
    (Operation::UntagResource, "UntagResource"),
    (Operation::UpdateSecret, "UpdateSecret"),
    (Operation::UpdateSecretVersionStage, "UpdateSecretVersionStage"),
];

impl Operation {
    /// The operation that `X-Amz-Target` names after `secretsmanager.`.
    pub(crate) fn parse(name: &str) -> Result<Self, ServiceError> {
        let named = ALL.into_iter().find(|(_, known)| *known == name);
        named.map(|(operation, _)| operation).ok_or_else(|| ServiceError::unknown_operation(name))
    }

    /// The name on the wire.
    pub(crate) fn name(self) -> &'static str {
        ALL.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }

    /// Whether the operation only reads, so that an eventually consistent answer is possible.
    pub(crate) fn is_read(self) -> bool {
        matches!(
            self,
            Self::BatchGetSecretValue
                | Self::DescribeSecret
                | Self::GetRandomPassword
                | Self::GetResourcePolicy
                | Self::GetSecretValue
                | Self::ListSecretVersionIds
                | Self::ListSecrets
        )
    }
}
