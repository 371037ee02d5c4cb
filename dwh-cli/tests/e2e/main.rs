//! The command from end to end, against throwaway clusters, in one binary so that they start once.

mod backfill;
mod check;
mod crash;
mod dry_run;
mod first_minutes;
mod foreign;
mod init;
mod lost_column;
mod modes;
mod names;
mod pgbouncer;
mod prune;
mod rebuild;
mod rebuild_more;
mod recover;
mod relations;
mod replay;
mod runbook;
mod runs;
mod set_aside;
mod states;
mod status;
mod support;
mod types;
mod verify;
