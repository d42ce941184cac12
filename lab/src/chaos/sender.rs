//! The product's requests to issuers, in memory.

use super::world::{Kind, Process, Verdict};
use api_key::http::request::Request;
use api_key::http::{Place, Response, SendError, Sender, Sending};
use rotation::clock::Deadline;
use rotation::{Code, Error};
use std::sync::Arc;
use std::time::Duration;

/// `Retry-After` of a throttle: longer than any step.
const LATER: Duration = Duration::from_secs(3600);

/// The requests of one process.
pub(super) struct Line(pub(super) Arc<Process>);

impl Sender for Line {
    fn send<'a>(&'a self, request: Request, _: Place<'a>, _: Deadline) -> Sending<'a> {
        Box::pin(self.exchange(request))
    }
}

impl Line {
    async fn exchange(&self, request: Request) -> Result<Response, SendError> {
        let kind = if request.method == "GET" { Kind::Ask } else { Kind::Order };
        let pass = self.0.enter(request.method, kind, &request.what).await.map_err(SendError::NotSent)?;
        let issuer = self.0.world().map_err(SendError::NotSent)?.inner().issuer.clone();
        match pass.verdict {
            // The function cannot know that the request never arrived.
            Verdict::TimeOut => return Err(SendError::Lost(Error::new(Code::ServerSilent))),
            Verdict::Throttle => {
                return Ok(Response { status: 429, retry_after: Some(LATER), link: None, body: None, text: None });
            }
            Verdict::SentTwice => drop(issuer.answer(&request, false).await),
            _ => {}
        }
        let answer = issuer.answer(&request, pass.verdict == Verdict::Stale).await;
        self.0.world().map_err(SendError::NotSent)?.note(|| format!("      answers {}", answer.status));
        self.0.leave(pass).await;
        match pass.verdict {
            Verdict::ReplyLost => Err(SendError::Lost(Error::new(Code::ConnectionLost))),
            Verdict::BadGateway => Ok(Response { status: 502, retry_after: None, link: None, body: None, text: None }),
            _ => Ok(answer),
        }
    }
}
