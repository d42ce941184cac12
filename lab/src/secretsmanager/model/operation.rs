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

const ALL: [Operation; 19] = [
    Operation::BatchGetSecretValue,
    Operation::CancelRotateSecret,
    Operation::CreateSecret,
    Operation::DeleteResourcePolicy,
    Operation::DeleteSecret,
    Operation::DescribeSecret,
    Operation::GetRandomPassword,
    Operation::GetResourcePolicy,
    Operation::GetSecretValue,
    Operation::ListSecretVersionIds,
    Operation::ListSecrets,
    Operation::PutResourcePolicy,
    Operation::PutSecretValue,
    Operation::RestoreSecret,
    Operation::RotateSecret,
    Operation::TagResource,
    Operation::UntagResource,
    Operation::UpdateSecret,
    Operation::UpdateSecretVersionStage,
];

impl Operation {
    /// The operation that `X-Amz-Target` names after `secretsmanager.`.
    pub(crate) fn parse(name: &str) -> Result<Self, ServiceError> {
        let named = ALL.into_iter().find(|operation| operation.name() == name);
        named.ok_or_else(|| ServiceError::unknown_operation(name))
    }

    /// The name on the wire.
    pub(crate) fn name(self) -> String {
        format!("{self:?}")
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
