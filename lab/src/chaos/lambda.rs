//! The product's four steps over the simulated seams.

use super::case::Target;
use super::engine::{MySqlLike, PostgresLike};
use super::store::Store;
use super::world::{Process, Steps};
use rotation::clock::Deadline;
use rotation::database::{DatabaseTarget, Engine, Settings};
use rotation::protocol::event::Event;
use rotation::protocol::{Rotation, StepReport};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

struct Function<E: Engine>(Rotation<Store, DatabaseTarget<E>>);

impl<E: Engine> Steps for Function<E> {
    fn run<'a>(
        &'a self,
        event: &'a Event,
        deadline: Deadline,
    ) -> Pin<Box<dyn Future<Output = StepReport> + Send + 'a>> {
        Box::pin(self.0.run(event, deadline))
    }
}

/// The steps of a process.
pub(super) fn steps(process: Arc<Process>, target: Target, settings: Settings) -> Box<dyn Steps> {
    let store = Store(process.clone());
    match target {
        Target::Postgres => {
            Box::new(Function(Rotation::new(store, DatabaseTarget::new(PostgresLike(process), settings))))
        }
        Target::Mysql | Target::Mariadb => {
            Box::new(Function(Rotation::new(store, DatabaseTarget::new(MySqlLike(process), settings))))
        }
    }
}
