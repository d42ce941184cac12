//! The options that say where functions run, if not in the lab.

use clap::Args;
use std::net::Ipv4Addr;

/// Where `sam local start-lambda` serves unless told otherwise.
const START_LAMBDA: &str = "http://127.0.0.1:3001";

/// Where the functions run.
#[derive(Args, Clone, Debug, Default)]
pub(in crate::cli) struct Elsewhere {
    /// Serve functions in containers, as `sam local` runs them: also at the container engine's bridge address, and at no other.
    /// ADDRESS is an address of this machine that containers reach, where the bridge's does not do.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, value_parser = address, conflicts_with_all = ["function", "release"])]
    for_containers: Option<Option<Ipv4Addr>>,
    /// Invoke the functions at this Lambda endpoint, and build none [default with --for-containers: http://127.0.0.1:3001,
    /// where `sam local start-lambda` serves].
    #[arg(long, value_name = "URL", value_parser = endpoint, conflicts_with_all = ["function", "release"])]
    lambda_endpoint: Option<String>,
}

impl Elsewhere {
    /// Whether the functions run elsewhere.
    pub(in crate::cli::serve) fn is_meant(&self) -> bool {
        self.for_containers.is_some() || self.lambda_endpoint.is_some()
    }

    /// Whether they run in containers, and the address of this machine that those reach, if it is given.
    pub(super) fn containers(&self) -> Option<Option<Ipv4Addr>> {
        self.for_containers
    }

    /// The Lambda endpoint that knows them.
    pub(super) fn endpoint(&self) -> &str {
        self.lambda_endpoint.as_deref().unwrap_or(START_LAMBDA)
    }
}

fn address(text: &str) -> Result<Ipv4Addr, String> {
    let address: Ipv4Addr = text.parse().map_err(|_| "not an IPv4 address".to_owned())?;
    if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
        return Err("not the address of one network, and the lab listens at one address alone".to_owned());
    }
    if address.is_loopback() {
        return Err("containers have a loopback interface of their own, and do not reach this machine's".to_owned());
    }
    Ok(address)
}

fn endpoint(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text).map_err(|_| "not a URL".to_owned())?;
    let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || !plain {
        return Err("not http:// or https:// with a host and perhaps a port".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}
