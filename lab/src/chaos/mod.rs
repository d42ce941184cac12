//! Histories of rotations, tried by a machine: what fails, what people do meanwhile, and whether a credential is lost by it.
//!
//! The protocol, the targets and everything that decides run unmodified. Simulated are the servers (`server`, `engine`), the requests
//! to issuers (`issuer`, `sender`), those to other services of AWS (`places`, `line`) and the calls to the lab's own Secrets Manager
//! (`store`). Waits end at once, by tokio's paused clock; where the product acts by the date, `time` is that.
//!
//! | file | what is there |
//! |---|---|
//! | `case` | the targets and strategies, and the secrets that a history begins with |
//! | `history` | a history as text: which fault or act comes at which call |
//! | `world` | the world of one history: numbered calls, processes that crash or are held up, the journal |
//! | `server` | a database server: users, passwords, privileges, locks |
//! | `engine` | PostgreSQL, MySQL and MariaDB on that server, behind the product's own seam |
//! | `issuer` | an issuer of API keys: the lab's own, and doubles of other APIs over the same keys |
//! | `sender` | the product's requests to that issuer, behind the product's own seam |
//! | `places` | S3 and Systems Manager, where public keys are published |
//! | `ca`, `jose` | a CA that speaks ACME, and the signatures of requests to it |
//! | `pki` | what certificates and accounts are judged by: the CA, a hosted zone, ACM |
//! | `acme_line` | the product's requests to a CA, behind the product's own seam |
//! | `line` | the product's requests to AWS's services, behind the product's own seam |
//! | `time` | the date, where the product acts by it |
//! | `settings` | the settings of the simulated functions |
//! | `lambda` | the product's four steps over these seams |
//! | `store` | the product's store over the lab's Secrets Manager |
//! | `person` | what people do, and what they do when they follow an error's advice |
//! | `by_hand` | what they do to the secret in Secrets Manager |
//! | `person_keys` | what they do with signing keys and published sets |
//! | `judge` | what must hold after each effect and at the end |
//! | `verifiers` | what must hold for those who verify tokens |
//! | `run` | one history from its beginning to its judgement |
//! | `simulated` | a simulated server by itself, to be compared with a real one |
//! | `explore` | all histories of a depth, or a sample of them |

mod acm;
mod acme_line;
mod by_hand;
mod ca;
mod case;
mod engine;
mod explore;
mod history;
mod issuer;
mod jose;
mod judge;
mod labels;
mod lambda;
mod line;
mod person;
mod person_keys;
mod pki;
mod places;
mod run;
mod sender;
mod server;
mod settings;
mod simulated;
mod store;
mod time;
mod verifiers;
mod world;

pub use case::{Case, Strategy, Target};
pub use explore::{Count, Explored, Found, Plan, explore};
pub use history::{Act, Event, Fault, History, What};
pub use judge::Violation;
pub use run::{Judged, replay};
pub use simulated::Simulated;
pub use world::Mutation;
