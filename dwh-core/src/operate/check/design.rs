//! The design of a bronze table: it has the columns and the key that are copied.

use super::about::About;
use super::server::Server;
use super::words::Word;
use crate::config::TargetConfig;
use crate::error::{ErrorKind, Result};
use crate::migrate::{design_of, try_design};
use crate::plan::Plan;

/// Tries the design with temporary tables. `present`: its table is there, and loads go on whatever the design says.
pub(super) async fn check(
    plan: &Plan,
    target: &TargetConfig,
    present: bool,
    server: &Server,
    about: &mut About<'_>,
) -> Result<()> {
    let tried = match design_of(&target.designs, &plan.table.target) {
        Ok(None) => return Ok(()),
        Ok(Some(design)) => try_design(&server.survey.client, target, &plan.load(false), &design)
            .await
            .map(|()| format!("`{}` has the columns and the key that are copied", design.file)),
        Err(error) => Err(error),
    };
    match tried {
        Ok(told) => about.ok(Word::Design, told),
        Err(error) if error.kind() == ErrorKind::Unreachable => return Err(error),
        Err(error) if present => about.warn(Word::Design, error.chain(), error.hint()),
        Err(error) => about.error(Word::Design, &error),
    }
    Ok(())
}
