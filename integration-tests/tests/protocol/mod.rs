//! What no server has a part in, by the function of PostgreSQL.

mod bad_input;
mod disturbed;
mod hostile;
