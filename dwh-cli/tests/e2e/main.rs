//! The command from end to end, against throwaway clusters, in one binary so that they start once.

mod crash;
mod first_minutes;
mod hostile;
mod modes;
mod prune;
mod rebuild;
mod recover;
mod replay;
mod support;
