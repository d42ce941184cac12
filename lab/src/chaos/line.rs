//! The product's requests to AWS services besides Secrets Manager, in memory.

use super::acm::Operation;
use super::places::is_write;
use super::world::{Kind, Process, Verdict};
use axum::body::{Body, to_bytes};
use rotation::aws::service::{Answer, CallError, Failure, Request, Sender, Sending};
use rotation::clock::Deadline;
use std::sync::Arc;
use tower::ServiceExt as _;

/// More than any answer of Route 53 has.
const MOST: usize = 1 << 20;

/// A service that is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aws {
    S3,
    Ssm,
    Route53,
    Acm,
}

/// The requests of one process to one service.
pub(super) struct AwsLine(pub(super) Arc<Process>, pub(super) Aws);

impl Sender for AwsLine {
    fn send<'a>(&'a self, request: &'a Request, _: Deadline) -> Sending<'a> {
        Box::pin(self.exchange(request))
    }
}

/// The service's own name of the call, and whether it changes something.
fn named(aws: Aws, request: &Request) -> (&'static str, Kind) {
    match (aws, request.method) {
        (Aws::S3, "GET") => ("GetObject", Kind::Get),
        (Aws::S3, _) => ("PutObject", Kind::Put),
        (Aws::Ssm, _) if is_write(request) => ("PutParameter", Kind::Put),
        (Aws::Ssm, _) => ("GetParameter", Kind::Get),
        (Aws::Route53, "GET") if request.path.contains("/change/") => ("GetChange", Kind::Get),
        (Aws::Route53, "GET") if request.path.contains("type=CNAME") => ("ListResourceRecordSets CNAME", Kind::Get),
        (Aws::Route53, "GET") => ("ListResourceRecordSets", Kind::Get),
        (Aws::Route53, _) => ("ChangeResourceRecordSets", Kind::Put),
        (Aws::Acm, _) => match Operation::of(request) {
            Some(Operation::ListTags) => ("ListTagsForCertificate", Kind::Get),
            Some(Operation::AddTags) => ("AddTagsToCertificate", Kind::Put),
            Some(Operation::Get) => ("GetCertificate", Kind::Get),
            Some(Operation::Import) | None => ("ImportCertificate", Kind::Put),
        },
    }
}

impl AwsLine {
    async fn exchange(&self, request: &Request) -> Result<Answer, Failure> {
        let Self(process, aws) = self;
        let silent = Failure { trouble: CallError::Silent, attempts: 2 };
        let (call, kind) = named(*aws, request);
        let pass = process.enter(call, kind, "").await.map_err(|_| silent)?;
        match pass.verdict {
            Verdict::TimeOut => return Err(silent),
            Verdict::Throttle => return Err(Failure { trouble: CallError::Throttled, attempts: 10 }),
            Verdict::SentTwice => drop(self.answer(request).await.ok_or(silent)?),
            _ => {}
        }
        let answered = self.answer(request).await.ok_or(silent)?;
        if let Ok(world) = process.world() {
            world.note(|| format!("      answers {}", answered.status));
        }
        process.leave(pass).await;
        if pass.verdict == Verdict::ReplyLost { Err(silent) } else { Ok(answered) }
    }

    /// What the service answers. `None` once the world is over.
    async fn answer(&self, request: &Request) -> Option<Answer> {
        let world = self.0.world().ok()?;
        match self.1 {
            Aws::S3 => Some(world.inner().places.s3(request)),
            Aws::Ssm => Some(world.inner().places.ssm(request)),
            Aws::Acm => Some(world.inner().pki.acm.answer(request)),
            Aws::Route53 => {
                let router = world.inner().pki.router.clone();
                let message = axum::http::Request::builder().method(request.method).uri(&request.path);
                let message = message.body(Body::from(request.body.clone())).ok()?;
                let Ok(reply) = router.oneshot(message).await;
                let status = reply.status().as_u16();
                let body = to_bytes(reply.into_body(), MOST).await.ok()?;
                Some(Answer { status, headers: Vec::new(), body: body.into() })
            }
        }
    }
}
