//! What the database functions share: a database user as the target of a rotation. An [`Engine`] adds how to speak to one kind
//! of server.

mod alternating;
mod endpoint;
mod engine;
mod engine_names;
mod evidence;
mod key_names;
mod lock;
mod login;
mod login_failure;
mod pair;
pub mod plan;
mod retire;
mod secret;
mod settings;
mod single;
mod superuser;
mod target;
mod versions;

pub use crate::protocol::observation::Observation;
pub use endpoint::{Endpoint, Transport};
pub use engine::{Engine, Evidence, Hold, Login, PasswordChange, Turn, Work, expect_length, expect_user};
pub use login_failure::LoginFailure;
pub use pair::{Pair, Side};
pub use settings::Settings;
pub use target::DatabaseTarget;
