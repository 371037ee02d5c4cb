//! Tests against real servers.

mod safe_bound;
mod source;
mod standby;
