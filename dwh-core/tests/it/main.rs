//! One test binary: a module for each thing that is tested against real servers.

mod clusters;
mod migrations;
mod sink;
