//! The real binaries against real servers.
