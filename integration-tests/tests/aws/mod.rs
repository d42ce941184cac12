//! The functions and the lab as AWS and its clients know them.

mod clients;
mod emulator;
mod events;
mod invoke;
mod serve;
mod support;
