//! All integration tests of the library in one binary, so that its clusters start once: a line for each module.

mod appears;
mod blob;
mod bounded;
mod catalog;
mod check;
mod clusters;
mod connect;
mod connect_tls;
mod examples;
mod faults;
mod hidden;
mod migrations;
mod routes;
mod safe_bound;
mod silence;
mod sink;
mod source;
mod standby;
mod watermark_kinds;
mod windows;
