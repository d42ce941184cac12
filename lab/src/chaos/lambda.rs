//! The product's four steps over the simulated seams.

use super::acme_line::AcmeLine;
use super::case::{Case, Target};
use super::engine::{MySqlLike, PostgresLike};
use super::line::{Aws, AwsLine};
use super::sender::Line;
use super::settings::Settings;
use super::store::Store;
use super::world::{FUNCTION, Looked, Process, Steps};
use api_key::target::ApiKey;
use rotation::aws::service::Service;
use rotation::clock::{Deadline, since_epoch};
use rotation::database::DatabaseTarget;
use rotation::protocol::event::Event;
use rotation::protocol::target;
use rotation::protocol::{Rotation, StepReport};
use signing_key::outlet::Outlets;
use signing_key::target::SigningKeys;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tls::target::Certificates;

struct Function<T>(Rotation<Store, T>);

impl<T: target::Target> Steps for Function<T> {
    fn run<'a>(
        &'a self,
        event: &'a Event,
        deadline: Deadline,
    ) -> Pin<Box<dyn Future<Output = StepReport> + Send + 'a>> {
        Box::pin(self.0.run(event, deadline))
    }

    fn look<'a>(&'a self, deadline: Deadline) -> Pin<Box<dyn Future<Output = Looked> + Send + 'a>> {
        Box::pin(self.0.watch(FUNCTION, since_epoch(), deadline))
    }
}

/// The steps of a process.
pub(super) fn steps(process: Arc<Process>, case: Case, settings: &Settings) -> Box<dyn Steps> {
    let store = Store(process.clone());
    let database = settings.database.clone();
    match case.target {
        Target::Postgres => {
            Box::new(Function(Rotation::new(store, DatabaseTarget::new(PostgresLike(process), database))))
        }
        Target::Mysql | Target::Mariadb => {
            Box::new(Function(Rotation::new(store, DatabaseTarget::new(MySqlLike(process), database))))
        }
        Target::Issuer => {
            let sender = Box::new(Line(process));
            let target = ApiKey::over(settings.api_key.clone(), settings.sources.clone(), sender);
            Box::new(Function(Rotation::new(store, target)))
        }
        Target::SigningKey => {
            let service = |name, aws| Service::over(name, Box::new(AwsLine(process.clone(), aws)));
            // No history has a key group.
            let cloudfront = Service::new("cloudfront", None);
            let outlets = Outlets::over(service("s3", Aws::S3), service("ssm", Aws::Ssm), cloudfront);
            Box::new(Function(Rotation::new(store, SigningKeys::over(outlets))))
        }
        Target::Tls => {
            let service = |name, aws| Service::over(name, Box::new(AwsLine(process.clone(), aws)));
            let client = tls::http::Client::over(Arc::new(AcmeLine(process.clone())));
            let route53 = tls::dns::Route53::over(service("route53", Aws::Route53));
            let outlets = tls::outlet::Outlets::over(service("acm", Aws::Acm), service("s3", Aws::S3));
            let target = Certificates::over(settings.tls.clone(), client, route53, outlets);
            Box::new(Function(Rotation::new(store, target)))
        }
    }
}
