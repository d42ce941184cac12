//! What the AWS SDK is told, all of it from the environment. The SDK's default also reads profiles, assumes roles and asks the
//! instance metadata service. A Lambda function has none of these, and the code for them is an eighth of a function's size.

use crate::environment::sdk_variable;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::ProvideRegion as _;
use aws_config::{AppName, BehaviorVersion, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;

/// The settings that all AWS services share. Credentials come from the environment, or from the endpoint that the variables
/// `AWS_CONTAINER_…` name.
pub(super) async fn from_env() -> SdkConfig {
    let credentials = CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
        .or_else("Container", EcsCredentialsProvider::builder().build());
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .region(EnvironmentVariableRegionProvider::new().region().await)
        .use_fips(is_true("AWS_USE_FIPS_ENDPOINT"))
        .use_dual_stack(is_true("AWS_USE_DUALSTACK_ENDPOINT"));
    config.set_endpoint_url(endpoint("AWS_ENDPOINT_URL"));
    config.set_app_name(sdk_variable("AWS_SDK_UA_APP_ID").and_then(|name| AppName::new(name).ok()));
    config.build()
}

/// The address that an endpoint variable holds.
pub(super) fn endpoint(variable: &str) -> Option<String> {
    sdk_variable(variable).filter(|_| !is_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"))
}

fn is_true(variable: &str) -> bool {
    sdk_variable(variable).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}
