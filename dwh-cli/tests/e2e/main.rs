//! The built command against throwaway clusters, from end to end.

mod crash;
mod first_minutes;
mod foreign;
mod hostile;
mod modes;
mod names;
mod relations;
mod support;
mod types;
