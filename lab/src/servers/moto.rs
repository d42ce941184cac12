//! A throwaway moto, which stands in for AWS services that the lab does not have itself: S3, Systems Manager, KMS, CloudFront, ACM and
//! Route 53. Others wrote it, so it does not repeat this project's misreadings. It keeps everything in memory, checks no signature, and
//! refuses nobody.

use super::error::{Result, blocking};
use super::home::Home;
use super::launch::{Launchable, Running, launch};
use crate::port::Reserved;
use crate::process::Process;
use crate::provision;
use rustix::process::Signal;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// The variables by which functions and AWS's tools find a service.
///
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
const VARIABLES: [&str; 6] = [
    "AWS_ENDPOINT_URL_KMS",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_ENDPOINT_URL_CLOUDFRONT",
    "AWS_ENDPOINT_URL_ACM",
    "AWS_ENDPOINT_URL_ROUTE_53",
];
/// The log's line once requests are answered.
const READY: &str = "Running on http://";

/// A throwaway moto. Dropping it stops it.
#[derive(Debug)]
pub struct Moto {
    // Dropped in this order: the server before its directory.
    running: Running,
    port: Arc<Reserved>,
    _server: Server,
}

#[derive(Debug)]
struct Server {
    program: PathBuf,
    home: Home,
    /// The port of the endpoint that tasks of state machines call; its own unless given.
    tasks: Option<u16>,
}

impl Moto {
    /// Starts a moto that has nothing yet.
    ///
    /// # Errors
    /// If it cannot be obtained or does not start.
    pub async fn start() -> Result<Self> {
        Self::launch(None).await
    }

    /// The same, for state machines: their tasks call the AWS services, Lambda among them, that listen on a port of this machine.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn with_tasks_at(port: u16) -> Result<Self> {
        Self::launch(Some(port)).await
    }

    async fn launch(tasks: Option<u16>) -> Result<Self> {
        blocking(move || {
            let server = Server { program: provision::moto()?, home: Home::new("moto")?, tasks };
            let (running, port) = launch(&server)?;
            Ok(Self { running, port, _server: server })
        })
        .await
    }

    /// The port of all its services.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where all its services are, without a slash at the end. It tells them apart by the signature of a request, so requests have to
    /// be signed, by whatever key.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// The environment of a function that is to call these services here, such as `AWS_ENDPOINT_URL_S3`.
    pub fn environment(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        Self::environment_behind(self.port())
    }

    /// The same for a function that reaches them through a [relay](crate::relay) on this port.
    pub fn environment_behind(port: u16) -> impl Iterator<Item = (&'static str, String)> {
        VARIABLES.into_iter().map(move |name| (name, format!("http://127.0.0.1:{port}")))
    }

    /// Stops the server.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn stop(&self) -> Result<()> {
        self.running.down(&"moto")
    }
}

impl Launchable for Server {
    const STOP: Signal = Signal::KILL;

    fn title(&self) -> String {
        "moto".to_owned()
    }

    fn home(&self) -> &Home {
        &self.home
    }

    /// It runs under the lab's own account: the servers' account may not read the lab's Python.
    fn program(&self, port: u16) -> Result<Command> {
        let mut command = Command::new(&self.program);
        // The watchdog recognises its processes by their directory.
        command.current_dir(self.home.path()).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
        if let Some(port) = self.tasks {
            command.env("MOTO_PORT", port.to_string());
            command.envs([("AWS_ACCESS_KEY_ID", "lab"), ("AWS_SECRET_ACCESS_KEY", "lab")]);
            command.env("AWS_EC2_METADATA_DISABLED", "true");
        }
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        Ok(command)
    }

    fn is_ready(&self, _: &Process, news: &str) -> bool {
        news.contains(READY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::command::run;
    use std::time::Duration;

    /// boto3 reads the same variables as functions do, and is not ours.
    const SCRIPT: &str = r#"
import boto3
s3, ssm = boto3.client("s3"), boto3.client("ssm")
assert s3.list_buckets()["Buckets"] == [], "it is not a moto of its own"
s3.create_bucket(Bucket="keys")
s3.put_object(Bucket="keys", Key="jwks.json", Body=b"{}", IfNoneMatch="*")
ssm.put_parameter(Name="/keys", Type="String", Value="{}")
assert ssm.get_parameter(Name="/keys")["Parameter"]["Value"] == "{}"
assert boto3.client("cloudfront").list_distributions()["DistributionList"]["Quantity"] == 0
assert boto3.client("acm").request_certificate(DomainName="a.example")["CertificateArn"].startswith("arn:aws:acm:")
zone = boto3.client("route53").create_hosted_zone(Name="a.example", CallerReference="1")
print(zone["HostedZone"]["Name"], s3.meta.endpoint_url)
"#;

    fn script(moto: &Moto) -> String {
        let mut command = Command::new(provision::python().unwrap());
        command.args(["-c", SCRIPT]).env_clear().env("PATH", "/usr/bin:/bin").envs(moto.environment()).envs([
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "lab"),
            ("AWS_DEFAULT_REGION", crate::lambda::REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]);
        run(&mut command, Duration::from_secs(300)).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_service_is_where_its_variable_says() {
        let (one, other) = tokio::join!(Moto::start(), Moto::start());
        for moto in [one.unwrap(), other.unwrap()] {
            assert_eq!(script(&moto).trim(), format!("a.example. {}", moto.url()));
            moto.stop().unwrap();
        }
    }
}
