//! The page of a running lab: the same page that the functions show on a dashboard, for a browser, with the steps of its rotations.
//!
//! It is served beside AWS's services, by GET:
//!
//! | path | what it answers |
//! |---|---|
//! | `/` | the page |
//! | `/status` | what it shows, as JSON |
//! | `/report.csv` | the report for auditors |
//! | `/health` | 200 while the lab runs |
//! | `/ready` | 200 once its secrets can be rotated, before that 503 |
//! | `/details`, `/history`, `/rotate` | what its buttons lead to |

mod ask;
mod gantt;
mod routes;

pub use gantt::Gantt;
pub(crate) use routes::{index, routes};

use crate::secretsmanager::Service;
use gantt::Rotation;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast::error::RecvError;

/// How many rotations are shown.
const SHOWN: usize = 12;

/// What the page shows besides what functions answer. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub struct Page(Arc<Shared>);

#[derive(Default)]
struct Shared {
    functions: Mutex<Vec<String>>,
    ready: AtomicBool,
    /// The newest first.
    rotations: Mutex<VecDeque<Rotation>>,
}

impl Page {
    /// Shows the secrets of these functions, by their names, and from now on the rotations of this service. Without a function there is no
    /// page.
    pub fn show(&self, functions: Vec<String>, service: &Service) {
        *lock(&self.0.functions) = functions;
        let (page, mut events) = (Arc::downgrade(&self.0), service.subscribe());
        tokio::spawn(async move {
            loop {
                let event = match events.recv().await {
                    Ok(event) => event,
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return,
                };
                let Some(page) = page.upgrade() else { return };
                let mut rotations = lock(&page.rotations);
                gantt::note(&mut rotations, event);
                rotations.truncate(SHOWN);
            }
        });
    }

    /// Says that the secrets can be rotated.
    pub fn ready(&self) {
        self.0.ready.store(true, Ordering::SeqCst);
    }

    fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::SeqCst)
    }

    fn functions(&self) -> Vec<String> {
        lock(&self.0.functions).clone()
    }

    fn rotations(&self) -> Vec<Rotation> {
        lock(&self.0.rotations).iter().cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
