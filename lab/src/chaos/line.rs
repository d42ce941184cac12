//! The product's requests to AWS services besides Secrets Manager, in memory.

use super::places::is_write;
use super::world::{Kind, Process, Verdict};
use rotation::aws::service::{Answer, CallError, Failure, Request, Sender, Sending};
use rotation::clock::Deadline;
use std::sync::Arc;

/// A service that is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aws {
    S3,
    Ssm,
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
    }
}

impl AwsLine {
    async fn exchange(&self, request: &Request) -> Result<Answer, Failure> {
        let Self(process, aws) = self;
        let silent = Failure { trouble: CallError::Silent, attempts: 2 };
        let (call, kind) = named(*aws, request);
        let pass = process.enter(call, kind, "").await.map_err(|_| silent)?;
        let answer = || {
            let world = process.world().map_err(|_| silent)?;
            let mut inner = world.inner();
            let places = &mut inner.places;
            Ok(match aws {
                Aws::S3 => places.s3(request),
                Aws::Ssm => places.ssm(request),
            })
        };
        match pass.verdict {
            Verdict::TimeOut => return Err(silent),
            Verdict::Throttle => return Err(Failure { trouble: CallError::Throttled, attempts: 10 }),
            Verdict::SentTwice => drop(answer()?),
            _ => {}
        }
        let answered = answer()?;
        if let Ok(world) = process.world() {
            world.note(|| format!("      answers {}", answered.status));
        }
        process.leave(pass).await;
        if pass.verdict == Verdict::ReplyLost { Err(silent) } else { Ok(answered) }
    }
}
