//! The promise "never prints one": rotations that succeed and rotations that fail in every way, with all logged that can be,
//! and a search of all that the function puts out.

mod api_key;
mod bench;
mod mysql;
mod postgres;
mod search;
mod wiretap;
