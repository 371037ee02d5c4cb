//! `dwh check`.

use dwh_core::Result;
use dwh_core::operate::Gate;

use super::Context;
use crate::args::{CheckArgs, GateName};
use crate::exit::Exit;
use crate::output::Checked;

/// Looks at everything a run depends on, or judges a gate.
pub async fn check(args: &CheckArgs, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    let gate = args.gate.map(|gate| match gate {
        GateName::Deploy => Gate::Deploy,
        GateName::FirstRun => Gate::FirstRun,
        GateName::Steady => Gate::Steady,
    });
    let look = async {
        match gate {
            Some(gate) => pipeline.gate(gate, &args.tables).await,
            None => pipeline.check(&args.tables).await,
        }
    };
    let report = context.unless_cancelled(look).await?;
    let code = report.exit_code();
    // A gate shows what it was passed by.
    context.printer.show(&Checked { report, all: args.all || gate.is_some() })?;
    Ok(Exit(code))
}
