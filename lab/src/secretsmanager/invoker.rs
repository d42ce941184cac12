//! The service's only dependency: the means to invoke a rotation function.

use std::future::Future;
use std::pin::Pin;

/// Invokes Lambda functions, synchronously as Secrets Manager does.
pub trait Invoker: Send + Sync + 'static {
    /// Invokes `function_arn` with `payload` and waits for its answer.
    fn invoke<'a>(
        &'a self,
        function_arn: &'a str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invocation> + Send + 'a>>;

    /// Whether there is a function with this ARN. RotateSecret is refused where there is none. An invoker that cannot tell says yes.
    fn knows(&self, _function_arn: &str) -> bool {
        true
    }
}

/// The answer of an invocation.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The function's response, or the error object `{"errorType", "errorMessage"}`.
    pub payload: Vec<u8>,
    /// `Unhandled` where the function failed, as in the `X-Amz-Function-Error` header.
    pub function_error: Option<String>,
}
