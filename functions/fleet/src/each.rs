//! The same for many secrets.

use rotation::error::{Code, Error, Fact, Result};
use std::future::Future;
use tokio::task::JoinSet;

/// Secrets at a time.
const READS: usize = 16;

/// Does the same with each, some at a time. The answers have no order.
pub(crate) async fn each<T, R, F>(items: Vec<T>, mut one: impl FnMut(T) -> F) -> Result<Vec<R>>
where
    F: Future<Output = Result<R>> + Send + 'static,
    R: Send + 'static,
{
    let (mut waiting, mut works, mut done) = (items.into_iter(), JoinSet::new(), Vec::new());
    loop {
        while works.len() < READS
            && let Some(item) = waiting.next()
        {
            works.spawn(one(item));
        }
        match works.join_next().await {
            Some(Ok(answer)) => done.push(answer?),
            Some(Err(_)) => {
                return Err(Error::new(Code::Internal).with(Fact::What, "panic; its place is in the log"));
            }
            None => return Ok(done),
        }
    }
}
