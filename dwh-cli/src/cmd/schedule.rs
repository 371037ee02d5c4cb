//! `dwh schedule`.

use dwh_core::operate::{self, ScheduleRequest, Scheduler};
use dwh_core::{Error, ErrorKind, Result};
use std::env;
use std::path::absolute;

use super::Context;
use crate::args::{ScheduleArgs, SchedulerName};
use crate::exit::Exit;

/// Prints what a scheduler is told.
pub fn schedule(args: &ScheduleArgs, context: &Context) -> Result<Exit> {
    let config = context.settings.load_config()?;
    let unknown = |what: &str, error| {
        Error::new(ErrorKind::Internal, format!("the path of {what} is not known")).with_source(error)
    };
    let scheduler = match args.scheduler {
        SchedulerName::Cron => Scheduler::Cron,
        SchedulerName::Systemd => Scheduler::Systemd,
    };
    let binary = env::current_exe().map_err(|error| unknown("this command", error))?;
    let config_file = absolute(&context.settings.config).map_err(|error| unknown("the configuration", error))?;
    let mut request = ScheduleRequest::new(scheduler, binary, config_file);
    request.hours = args.hours;
    let report = operate::schedule(&config, &request)?;
    report.notes.iter().for_each(|note| context.printer.note(note));
    context.printer.show(&report)?;
    Ok(Exit::DONE)
}
