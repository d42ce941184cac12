//! A fleet of secrets, by the state machine that the template deploys.

mod emergency;
mod events;
mod leak;
mod rekey;
mod midway;
mod support;
mod together;
mod waves;
