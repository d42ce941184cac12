//! A fleet of secrets, by the state machine that the template deploys.

mod emergency;
mod events;
mod github;
mod leak;
mod midway;
mod page;
mod rekey;
mod support;
mod together;
mod waves;
