//! The built command against throwaway clusters, from end to end.

mod foreign;
mod init;
mod names;
mod relations;
mod support;
mod types;
