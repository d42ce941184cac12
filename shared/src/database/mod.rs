//! What the database functions share: what a secret says, the pair of alternating users, what to do after which login
//! succeeded or failed, and the flow from one to the other. An [`Engine`] adds how a server is spoken to.

mod alternating;
mod endpoint;
mod engine;
mod login;
mod login_failure;
mod pair;
pub mod plan;
mod secret;
mod settings;
mod single;
mod superuser;
mod target;
mod versions;

pub use crate::protocol::observation::Observation;
pub use endpoint::{Endpoint, Transport};
pub use engine::{Engine, Evidence, Login, OwnChange, Turn};
pub use login_failure::LoginFailure;
pub use pair::{Pair, Side};
pub use settings::Settings;
pub use target::DatabaseTarget;
