//! All integration tests of the library, in one binary: a line for each module.

mod blob;
mod check;
mod clusters;
mod connect;
mod connect_tls;
